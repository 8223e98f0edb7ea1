//! A deep network from ONNX in a chain that is far too short for it: the encrypted answer is the circuit's, across bootstraps. The
//! ring is too small to be secure; `cipherloom predict` does the same at full size.

use crate::bootstrapped;
use crate::deep_cnn::deep_cnn;
use cipherloom::compiler::{Bootstrapping, CompileOptions};
use cipherloom::data::{Sample, Values};
use cipherloom::{Model, session};
use cipherloom_client::Client;
use cipherloom_ir::scheme::{BootstrapRequest, SecurityPolicy};
use cipherloom_ir::{Exact, Manifest, Op};
use cipherloom_ring::Path;

/// Five usable levels above an input level of 2.
const SMALL: BootstrapRequest = BootstrapRequest { log_n: 11, levels: 5, ..bootstrapped::SMALL };

#[test]
fn a_deep_network_is_bootstrapped_and_gives_the_right_encrypted_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep.onnx");
    std::fs::write(&path, deep_cnn(5)).expect("the folder is writable");
    let model = Model::open(&path).expect("it is a model");
    let policy = SecurityPolicy::insecure_for_tests();
    let options = CompileOptions {
        bootstrapping: Bootstrapping::Always,
        bootstrap_sets: vec![("small", SMALL)],
        policy: policy.clone(),
        precision_bits: 6.0,
        ..CompileOptions::default()
    };
    // Of more levels than any chain of files may have, before it is cut.
    let deepest = folder.path().join("deepest.onnx");
    std::fs::write(&deepest, deep_cnn(24)).expect("the folder is writable");
    let deepest =
        Model::open(&deepest).expect("it is a model").compile(&options).expect("it compiles").circuit;
    assert!(deepest.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count() > 12);

    let circuit = model.compile(&options).expect("it compiles").circuit;
    let bootstraps = circuit.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count();
    assert!(bootstraps >= 3, "{bootstraps} bootstraps");
    let values = crate::onnx::random(3 * 8 * 8, 1000).into_iter().map(|v| v + 0.5).collect();
    let sample = Sample { values: Values::Floats(values) };
    let exact = Exact::new(&circuit).expect("a verified circuit has a meaning");
    let wanted = session::exact_scores(&circuit, &exact, &sample).expect("it is evaluated");

    let manifest = Manifest::of(&circuit).expect("a verified circuit has a manifest");
    let client = Client::new(manifest, &policy, Path::best()).expect("the policy allows it");
    let secret = client.generate_secret().expect("randomness");
    let keys = session::evaluation_keys(&client, &secret).expect("keys");
    let (encrypted, _) = session::encrypt(&client, &secret, std::slice::from_ref(&sample)).expect("encrypts");
    let forecast = circuit.forecast.precision_bits;
    let mut server = session::Server::new("deep", circuit, keys, Default::default()).expect("keys fit");
    let input = server.receive(encrypted).expect("it is the circuit's input");
    let (answer, _) = server.run(&input, 1, None).expect("it runs");
    let found = session::decrypt(&client, &secret, answer).expect("decrypts").remove(0).remove(0).values;
    let error = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{bootstraps} bootstraps, largest error {error:.2e}, forecast {forecast:.1} bits: {found:.3?}");
    // Outputs reach 8 by the model's ranges.
    assert!(error < 8.0 * (-forecast).exp2(), "{error:e} from {wanted:?}, forecast {forecast:.1} bits");
    let best = |scores: &[f64]| (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    assert_eq!(best(&found), best(&wanted));
}
