//! What saturation gains on the shipped networks: circuits of the three packings, evaluated in turn on one machine.
//!
//! `cargo bench --bench saturation -- [MODEL] [--record]`; rows go to `benches/results/saturation.json`:
//! `saturation_speedup_MODEL` is the time of the multiplexed baseline over the time of the saturated circuit, medians
//! over rounds in which each packing's process evaluates in turn; `forecast_ratio_MODEL` is measured time over
//! forecast, `forecast_memory_ratio_MODEL` the same of peak memory.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

mod command;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use command::command;
use harness::{Arguments, Row, median, root};
use serde_json::{Value, json};

/// Model, rounds, evaluations in each round.
const NETWORKS: [(&str, usize, usize); 5] =
    [("lola", 5, 11), ("mlp", 5, 11), ("cryptonets", 5, 11), ("lenet", 5, 3), ("lenet5-relu", 3, 3)];
const PACKINGS: [&str; 3] = ["multiplexed", "dynamic", "saturated"];

fn main() {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    for (model, rounds, repeat) in NETWORKS {
        if arguments.wants(model) {
            rows.extend(network(model, rounds, repeat));
        }
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "saturation", &rows);
}

/// A compiled circuit, with keys and an input of its own.
struct Case {
    folder: tempfile::TempDir,
    compiled: Value,
}

impl Case {
    fn new(model: &str, packing: &str) -> Case {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let onnx = root().join(format!("models/{model}.onnx")).display().to_string();
        let image = root().join("models/samples/digit-3.png").display().to_string();
        let (loom, manifest, secret) = (at("m.loom"), at("m.manifest"), at("secret"));
        let compiled =
            command(&["compile", &onnx, "--packing", packing, "-o", &loom, "--manifest", &manifest]);
        command(&["keygen", &manifest, "--secret", &secret, "--keys", &at("keys")]);
        command(&["encrypt", &manifest, "--secret", &secret, &image, "-o", &at("in")]);
        Case { folder, compiled }
    }

    /// Seconds of one evaluation on one thread, the median of `repeat`, and peak memory of its process in bytes.
    fn run(&self, repeat: usize) -> [f64; 2] {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let (loom, keys, input, output) = (at("m.loom"), at("keys"), at("in"), at("out"));
        let repeat = repeat.to_string();
        let run =
            ["run", &loom, "--keys", &keys, &input, "-o", &output, "--threads", "1", "--repeat", &repeat];
        let ran = command(&run);
        [&ran["seconds"]["run"], &ran["peak_memory_bytes"]]
            .map(|v| v.as_f64().expect("run tells time and memory"))
    }
}

fn network(model: &str, rounds: usize, repeat: usize) -> Vec<Row> {
    let cases = PACKINGS.map(|packing| Case::new(model, packing));
    let mut seconds = [(); PACKINGS.len()].map(|()| Vec::new());
    let mut bytes = seconds.clone();
    for _ in 0..rounds {
        for ((case, seconds), bytes) in cases.iter().zip(&mut seconds).zip(&mut bytes) {
            let [time, memory] = case.run(repeat);
            seconds.push(time);
            bytes.push(memory);
        }
    }
    let bytes = bytes.map(median);
    let seconds = seconds.map(median);
    let told =
        |k: usize, what: &str| cases[k].compiled["forecast"][what].as_f64().expect("compile forecasts");
    let forecast = |k: usize| told(k, "seconds");
    let about = |k: usize| {
        let c = &cases[k].compiled;
        json!({
            "measured_s": seconds[k], "forecast_s": forecast(k),
            "measured_bytes": bytes[k], "forecast_bytes": told(k, "memory_bytes"), "rotations": c["rotations"],
            "rotation_keys": c["rotation_keys"], "levels": c["levels"], "log_n": c["log_n"],
            "compile_s": c["compile_seconds"],
        })
    };
    let mut more = json!({});
    PACKINGS.iter().enumerate().for_each(|(k, packing)| more[*packing] = about(k));
    let name = model.replace('-', "_");
    let row = |name: String, value: f64, unit| Row { name, value, unit, threads: 1, more: more.clone() };
    vec![
        row(format!("saturation_speedup_{name}"), seconds[0] / seconds[2], "x"),
        row(format!("saturation_gain_over_dynamic_{name}"), seconds[1] / seconds[2], "x"),
        row(format!("forecast_ratio_{name}"), seconds[2] / forecast(2), "x"),
        row(format!("forecast_memory_ratio_{name}"), bytes[2] / told(2, "memory_bytes"), "x"),
    ]
}
