//! 100 MNIST test images through every shipped model: encrypted answer against the clear model (tract) and against
//! the exact meaning of the same circuit; and the accuracy of that exact meaning on the whole test set.
//!
//! `cargo bench --bench accuracy -- [MODEL] [--record]` (needs the data folder); rows go to
//! `benches/results/accuracy.json`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::compiler::CompileOptions;
use cipherloom::ir::{Circuit, Exact};
use cipherloom::{Compiled, Model, data, session, slot_values};
use harness::{Arguments, MODELS, Row, root};
use serde_json::json;

const IMAGES: usize = 100;

fn main() {
    let arguments = Arguments::parse();
    let Some(folder) = harness::data() else {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return;
    };
    let mut rows = Vec::new();
    for name in MODELS.into_iter().filter(|m| arguments.wants(m)) {
        let model = Model::open(root().join(format!("models/{name}.onnx"))).expect("a shipped model");
        let images = folder.join("mnist/t10k-images-idx3-ubyte.gz");
        let mut dataset = data::read(&images, &model.input_shape()).expect("MNIST");
        let labels =
            data::read_labels(&folder.join("mnist/t10k-labels-idx1-ubyte.gz")).expect("MNIST labels");
        let compiled = model.compile(&CompileOptions::default()).expect("a circuit");
        rows.push(exact_accuracy(name, &compiled.circuit, &dataset, &labels));
        dataset.samples.truncate(IMAGES);
        rows.extend(measure(name, &model, compiled, &dataset));
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "accuracy", &rows);
}

/// Correct classes of the exact meaning, percent of the whole test set.
fn exact_accuracy(name: &str, circuit: &Circuit, dataset: &data::Dataset, labels: &[u32]) -> Row {
    let exact = Exact::new(circuit).expect("an exact meaning");
    let input = &circuit.inputs[0];
    let shape = &circuit.layout(input.layout).shape;
    let slots = |s: &data::Sample| vec![slot_values(s, &input.preprocessing, shape)];
    let mut correct = 0;
    for (samples, labels) in dataset.samples.chunks(500).zip(labels.chunks(500)) {
        let batch: Vec<Vec<Vec<f64>>> = samples.iter().map(slots).collect();
        let outputs = exact.run_batch(circuit, &batch).expect("exact scores");
        correct += outputs.iter().zip(labels).filter(|(o, label)| argmax(&o[0]) == **label as usize).count();
    }
    let images = dataset.samples.len();
    Row {
        name: format!("{}_exact_accuracy", name.replace('-', "_")),
        value: 100.0 * correct as f64 / images as f64,
        unit: "%",
        threads: rayon::current_num_threads(),
        more: json!({ "images": images }),
    }
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |b, i| if values[i] > values[b] { i } else { b })
}

fn measure(name: &str, model: &Model, compiled: Compiled, dataset: &data::Dataset) -> Vec<Row> {
    let exact = Exact::new(&compiled.circuit).expect("an exact meaning");
    let client = session::client(name, compiled.manifest.clone()).expect("a client");
    let secret = client.generate_secret().expect("a secret key");
    let keys = session::evaluation_keys(&client, &secret).expect("evaluation keys");
    let log_qp = compiled.report.log_qp;
    let circuit = compiled.circuit.clone();
    let mut server =
        session::Server::new(name, compiled.circuit, keys, Default::default()).expect("a server");
    let (mut agree, mut error_max, mut span, mut largest) = (0, 0f64, 0f64, 0f64);
    for sample in &dataset.samples {
        let (encrypted, _) =
            session::encrypt(&client, &secret, std::slice::from_ref(sample)).expect("an encryption");
        let input = server.receive(encrypted).expect("ciphertexts");
        let (answer, _) = server.run(&input, 1, None).expect("an answer");
        let scores = session::decrypt(&client, &secret, answer).expect("scores").remove(0);
        let clear = model.clear_scores(sample).expect("clear scores");
        let clear: Vec<f64> = clear.into_iter().map(f64::from).collect();
        agree += usize::from(argmax(&clear) == scores.class);
        let wanted = session::exact_scores(&circuit, &exact, sample).expect("exact scores");
        let low = wanted.iter().copied().fold(f64::INFINITY, f64::min);
        let high = wanted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        span = span.max(high - low);
        largest = largest.max(high.abs()).max(low.abs());
        for (a, b) in scores.values.iter().zip(&wanted) {
            error_max = error_max.max((a - b).abs());
        }
    }
    let name = name.replace('-', "_");
    let more = json!({
        "images": dataset.samples.len(), "max_logit_error": error_max, "logit_span": span, "largest_logit": largest,
        "log_n": circuit.parameters.log_n, "log_qp": log_qp,
    });
    let row = |what: &str, value, unit| Row {
        name: format!("{name}_{what}"),
        value,
        unit,
        threads: rayon::current_num_threads(),
        more: more.clone(),
    };
    vec![
        row("agree", agree as f64, "images"),
        row("precision_bits", -(error_max / largest).log2(), "bits"),
        row("logit_error_percent", 100.0 * error_max / span, "%"),
    ]
}
