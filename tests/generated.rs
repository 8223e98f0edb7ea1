//! Networks that nobody here wrote by hand: twenty styles of exporters and model zoos, and random ones. They compile, circuits
//! mean what the files mean up to their polynomials, and encrypted answers are those of the circuits. Also a sample of the ONNX backend tests.

#[path = "generated/answer.rs"]
mod answer;
#[allow(dead_code, reason = "its circuit is for the tests of meanings")]
#[path = "../ir/tests/forms/bootstrapped.rs"]
mod bootstrapped;
#[path = "generated/deep.rs"]
mod deep;
#[allow(dead_code, reason = "the list is the generator's")]
#[path = "../models/generate/deep.rs"]
mod deep_cnn;
#[path = "generated/judge.rs"]
mod judge;
#[allow(dead_code, reason = "the writer of the compiler's tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;
#[path = "generated/sampled.rs"]
mod sampled;
#[path = "../models/generate/small.rs"]
mod small;
#[allow(dead_code, reason = "the lists are the compiler's test's to write")]
#[path = "../compiler/tests/conformance/suite.rs"]
mod suite;

use cipherloom::Model;
use cipherloom::compiler::CompileOptions;
use cipherloom::data::{Sample, Values};
use judge::{Way, is_too_deep, judge};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use small::{Layer, Network, conv};

/// Distance of encrypted scores from the circuit's that is allowed, as a share of their span.
const ENCRYPTED_MAX: f64 = 0.01;

#[test]
fn twenty_styles_compile_and_run_encrypted() {
    let networks = small::all();
    assert_eq!(networks.len(), 20);
    for network in networks {
        let verdict = judge(&network, Way::Encrypted(16)).unwrap_or_else(|e| panic!("{}: {e}", network.name));
        println!("{}: {verdict:?}", network.name);
        let found = verdict.from_circuit.expect("it was encrypted");
        assert!(found <= ENCRYPTED_MAX, "{}: {found} of the span from the circuit", network.name);
        assert!(verdict.from_model.is_finite(), "{}: {verdict:?}", network.name);
        assert!(verdict.levels > 0 && verdict.log_n >= 12, "{}: {verdict:?}", network.name);
    }
}

#[test]
fn recordings_run_encrypted() {
    for network in small::recordings() {
        let verdict = judge(&network, Way::Encrypted(15)).unwrap_or_else(|e| panic!("{}: {e}", network.name));
        println!("{}: {verdict:?}", network.name);
        assert!(verdict.from_model <= LINEAR_MAX, "{}: {verdict:?}", network.name);
        let found = verdict.from_circuit.expect("it was encrypted");
        assert!(found <= ENCRYPTED_MAX, "{}: {found} of the span from the circuit", network.name);
    }
}

/// The diagonals of a mean are equal plaintexts, which are rounded alike: on equal values the errors add up.
#[test]
fn means_of_equal_values_are_as_precise_as_forecast() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for shape in [[1, 2, 12, 12, 12], [1, 4, 12, 12, 12], [1, 2, 11, 11, 11]] {
        let path = folder.path().join("mean.onnx");
        let file = onnx::File::new(17, &shape).node(onnx::Node::new("GlobalAveragePool", "x", "y"));
        std::fs::write(&path, file.bytes("y")).expect("the folder is writable");
        let model = Model::open(&path).expect("a mean is supported");
        let circuit = model.compile(&CompileOptions::default()).expect("a mean compiles").circuit;
        let bits = circuit.forecast.precision_bits;
        let ones = Sample { values: Values::Floats(vec![1.0; shape.iter().product::<i64>() as usize]) };
        for score in answer::encrypted("mean", circuit, &ones).expect("it runs") {
            let error = (score - 1.0).abs();
            let found = error.log2();
            assert!(error <= (-bits).exp2(), "{shape:?}: 2^{found:.1} where {bits:.1} bits were forecast");
        }
    }
}

#[test]
fn a_sample_of_the_backend_tests_runs_encrypted() {
    let scratch = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-encrypted");
    let Some(cases) = suite::cases(&scratch) else { return };
    let sample = sampled::sample(&cases);
    assert!(sample.len() >= 60, "{} of {} tests", sample.len(), cases.len());
    let mut wrong = Vec::new();
    for case in sample {
        match sampled::error(case) {
            Ok(error) if error <= sampled::ERROR_MAX => println!("{}: {error:.1e}", case.name),
            Ok(error) => wrong.push(format!("{}: {error} of the largest value", case.name)),
            Err(why) => wrong.push(format!("{}: {why}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// So many networks, the same in every run: one may be beyond what the default options reach, which is for a person to judge.
/// `CIPHERLOOM_NETWORKS=500` and `CIPHERLOOM_NETWORKS_SEED=2` draw more and others.
fn config(cases: u32) -> Config {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let cases = number("CIPHERLOOM_NETWORKS").map_or(cases, |n| n as u32);
    let rng_seed = RngSeed::Fixed(number("CIPHERLOOM_NETWORKS_SEED").unwrap_or(1));
    Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 50, ..Config::default() }
}

/// A linear layer that keeps the size of the image.
fn kept() -> impl Strategy<Value = Layer> {
    let kernel = prop_oneof![Just(1i64), Just(3)];
    let conv = |(maps, kernel, dilation)| Layer::Conv { maps, kernel, stride: 1, dilation, groups: 1 };
    prop_oneof![(1..5i64, kernel, 1..3i64).prop_map(conv), Just(Layer::Norm)]
}

/// Any layer that an image of one to three spatial axes can go through.
fn layer() -> impl Strategy<Value = Layer> {
    let functions = vec!["Relu", "Square", "Silu", "LeakyRelu", "Sigmoid", "HardSwish"];
    prop_oneof![
        3 => kept(),
        1 => Just(Layer::Conv { maps: 4, kernel: 3, stride: 2, dilation: 1, groups: 1 }),
        2 => prop::sample::select(functions).prop_map(Layer::Act),
        1 => Just(Layer::Residual(vec![Layer::Norm, Layer::Act("Relu")])),
        1 => kept().prop_map(|inner| Layer::Branches(vec![vec![], vec![Layer::Norm, inner]])),
        1 => Just(Layer::Upsample),
        1 => (1..3i64).prop_map(Layer::Transposed),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let input = prop_oneof![
        prop::collection::vec(1..9i64, 2..=2).prop_map(|s| vec![s[0] % 3 + 1, s[1] + 4]),
        prop::collection::vec(1..6i64, 3..=3).prop_map(|s| vec![s[0] % 3 + 1, s[1] + 3, s[2] + 3]),
        prop::collection::vec(1..4i64, 4..=4).prop_map(|s| vec![s[0] % 2 + 1, s[1] + 1, s[2] + 1, s[3] + 1]),
    ];
    let dense = prop::option::of(1..6i64);
    (input, prop::collection::vec(layer(), 1..4), dense, any::<bool>()).prop_map(
        |(input, mut layers, dense, last)| {
            // An activation alone has nothing to be fitted to; a convolution in front gives it a range.
            layers.insert(0, conv(2, 3));
            layers.extend(dense.map(Layer::Dense));
            let channels_last = last && input.len() == 3;
            Network { name: "random".into(), input, channels_last, layers }
        },
    )
}

/// Distance from tract without activations that need polynomials.
const LINEAR_MAX: f64 = 1e-4;

/// A network that has only products and linear layers is met exactly.
fn has_polynomials(layers: &[Layer]) -> bool {
    layers.iter().any(|layer| match layer {
        Layer::Act(op) => *op != "Square",
        Layer::Residual(inner) => has_polynomials(inner),
        Layer::Branches(lists) => lists.iter().any(|inner| has_polynomials(inner)),
        _ => false,
    })
}

fn check(network: &Network, way: Way) {
    match judge(network, way) {
        Ok(verdict) => {
            let limit = if has_polynomials(&network.layers) { f64::INFINITY } else { LINEAR_MAX };
            assert!(verdict.from_model <= limit, "{network:?}: {verdict:?}");
            assert!(verdict.from_circuit.is_none_or(|d| d <= ENCRYPTED_MAX), "{network:?}: {verdict:?}");
        }
        Err(e) => assert!(is_too_deep(&e), "{network:?}: {e}"),
    }
}

proptest! {
    #![proptest_config(config(24))]
    #[test]
    fn random_networks_mean_what_their_files_mean(network in network()) {
        check(&network, Way::Exact);
    }
}

proptest! {
    #![proptest_config(config(6))]
    #[test]
    fn random_networks_run_encrypted(network in network()) {
        check(&network, Way::Encrypted(14));
    }
}
