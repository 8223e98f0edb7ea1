//! 100 MNIST test images through every shipped model: encrypted answer against the clear model (tract) and against
//! the exact meaning of the same circuit.
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
use cipherloom::ir::Exact;
use cipherloom::{Model, data, session};
use harness::{Arguments, Row, root};
use serde_json::json;

const MODELS: [&str; 5] = ["lola", "mlp", "cryptonets", "lenet", "lenet5-relu"];
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
        dataset.samples.truncate(IMAGES);
        rows.extend(measure(name, &model, &dataset));
    }
    harness::finish(&arguments, "accuracy", &rows);
}

fn measure(name: &str, model: &Model, dataset: &data::Dataset) -> Vec<Row> {
    let compiled = model.compile(&CompileOptions::default()).expect("a circuit");
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
        let (encrypted, _) = session::encrypt(&client, &secret, sample).expect("an encryption");
        let input = server.receive(encrypted).expect("ciphertexts");
        let (answer, _) = server.run(&input, 1, None).expect("an answer");
        let scores = session::decrypt(&client, &secret, answer).expect("scores");
        let clear = model.clear_scores(sample).expect("clear scores");
        let best = (0..clear.len()).fold(0, |b, i| if clear[i] > clear[b] { i } else { b });
        agree += usize::from(best == scores.class);
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
