//! Encrypted runs of shipped models stay within their worst-case error, provided that no output wraps around.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its data has failed")]

use cipherloom::compiler::graph::{Function, GraphInput, GraphOutput, Kind, TensorGraph, TensorNode};
use cipherloom::compiler::{CompileOptions, compile};
use cipherloom::ir::scheme::SecurityPolicy;
use cipherloom::ir::{Exact, Manifest, Preprocessing, Verified, output_bounds};
use cipherloom::{Model, data, session};

/// Largest error of the scores over the shipped samples, under the secret key and under a public key.
fn measured(model: &Model, compiled: cipherloom::Compiled) -> [f64; 2] {
    let client = session::client("test", compiled.manifest).unwrap();
    let secret = client.generate_secret().unwrap();
    let public = client.public_key(&secret).unwrap();
    let keys = session::evaluation_keys(&client, &secret).unwrap();
    let circuit = compiled.circuit.clone();
    let exact = Exact::new(&circuit).unwrap();
    let mut server = session::Server::new("test", compiled.circuit, keys, Default::default()).unwrap();
    let mut largest = [0f64; 2];
    for digit in [3, 5, 7] {
        let path = format!("{}/models/samples/digit-{digit}.png", env!("CARGO_MANIFEST_DIR"));
        let sample = data::read_one(path.as_ref(), &model.input_shape(), 0).unwrap();
        let wanted = session::exact_scores(&circuit, &exact, &sample).unwrap();
        let sent = [
            session::encrypt(&client, &secret, std::slice::from_ref(&sample)).unwrap().0,
            session::encrypt_public(&client, &public, std::slice::from_ref(&sample)).unwrap().0,
        ];
        for (largest, sent) in largest.iter_mut().zip(sent) {
            let (answer, _) = server.run(&server.receive(sent).unwrap(), 1, None).unwrap();
            let scores = session::decrypt(&client, &secret, answer).unwrap().remove(0).remove(0);
            let errors = scores.values.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
            *largest = errors.fold(*largest, f64::max);
        }
    }
    largest
}

#[test]
fn shipped_models_stay_within_their_bound() {
    for name in ["lola", "cryptonets"] {
        let path = format!("{}/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let model = Model::open(path).unwrap();
        let compiled = model.compile(&CompileOptions::default()).unwrap();
        let output = compiled.manifest.outputs[0].clone();
        let forecast = compiled.manifest.forecast;
        let bound = output_bounds(&compiled.circuit).unwrap()[0].error;
        let [secret_key, public_key] = measured(&model, compiled);
        assert!(output.worst_error.secret_key.is_infinite(), "{name}: a proof is news for docs/security.md");
        assert!(secret_key <= bound.secret_key, "{name}: {secret_key} is above {bound:?}");
        assert!(public_key <= bound.public_key, "{name}: {public_key} is above {bound:?}");
        // The forecast's largest error is an average: the bound lies above it, and the measurement near or below.
        let largest = output.range.iter().fold(0f64, |m, x| m.max(x.abs()));
        for (found, bound, bits) in [
            (secret_key, bound.secret_key, forecast.precision_bits),
            (public_key, bound.public_key, forecast.public_key_precision_bits),
        ] {
            let average = largest * (-bits).exp2();
            assert!(bound > average, "{name}: {bound} is below the forecast {average}");
            assert!(found < 2.0 * average, "{name}: {found} is above the forecast {average}");
        }
    }
}

/// `(8x)^4` on [0, 1] without calibrated ranges: its outputs exceed what is assumed of outputs by far.
#[test]
fn outputs_that_nobody_calibrated_do_not_wrap_around() {
    let mut graph = TensorGraph::new("power");
    let node = |kind, name: &str| {
        let (name, shape) = (name.to_owned(), vec![64]);
        TensorNode { kind, name, shape, range: None, density: None, fitting: None }
    };
    let x = graph.add(node(Kind::Input, "x"), &[]);
    let preprocessing = Preprocessing { scale: 1.0 / 255.0, mean: vec![0.0], std: vec![1.0] };
    graph.input = Some(GraphInput { node: x, preprocessing, samples: vec![] });
    let scaled = Kind::Linear { operators: vec![], scale: 8.0, bias: None };
    let scaled = graph.add(node(scaled, "scaled"), &[x]);
    let square = graph.add(node(Kind::Elementwise(Function::Square), "square"), &[scaled]);
    let power = graph.add(node(Kind::Elementwise(Function::Square), "power"), &[square]);
    let (name, labels, client_steps) = ("power".to_owned(), vec![], vec![]);
    graph.outputs.push(GraphOutput { node: power, name, labels, client_steps });

    let circuit = compile(&graph, &CompileOptions::default()).unwrap().circuit;
    let circuit = Verified::new(circuit, &SecurityPolicy::standard_128()).unwrap();
    let client = session::client("test", Manifest::of(&circuit).unwrap()).unwrap();
    let bound = client.manifest().outputs[0].worst_error.secret_key;
    let secret = client.generate_secret().unwrap();
    let keys = session::evaluation_keys(&client, &secret).unwrap();
    let image: Vec<f64> = (0..64).map(|k| f64::from(k) / 63.0).collect();
    let sent = client.encrypt(&secret, &[&image]).unwrap();
    let mut server = session::Server::new("test", circuit, keys, Default::default()).unwrap();
    let (answer, _) = server.run(&server.receive(sent).unwrap(), 1, None).unwrap();
    let scores = session::decrypt(&client, &secret, answer).unwrap().remove(0).remove(0);
    for (x, y) in image.iter().zip(&scores.values) {
        let wanted = (8.0 * x).powi(4);
        assert!((y - wanted).abs() <= bound.min(40.0), "{x}: {y} instead of {wanted} (bound {bound})");
    }
}
