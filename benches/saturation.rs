//! What saturation gains on the shipped networks: circuits of the three packings, evaluated in turn on one machine, and
//! forecasts of circuits that lack one stage.
//!
//! `cargo bench --bench saturation -- [MODEL] [--forecasts] [--record]`; rows go to `benches/results/saturation.json`:
//! `saturation_speedup_MODEL` is the time of the multiplexed baseline over the time of the saturated circuit, medians
//! over rounds in which each packing's process evaluates in turn; `forecast_ratio_MODEL` is measured time over
//! forecast, `forecast_memory_ratio_MODEL` the same of peak memory. `saturation_forecast_gain_MODEL` is the forecast of
//! the baseline over that of the saturated circuit, with what each stage contributes; `--forecasts` stops there.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "titles are for the tables")]
mod ablation;
mod command;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use ablation::{Variant, WHOLE, WITHOUT};
use command::command;
use harness::{Arguments, Row, median, root};
use serde_json::{Value, json};

/// Model, rounds, evaluations in each round.
const NETWORKS: [(&str, usize, usize); 5] =
    [("lola", 5, 11), ("mlp", 5, 11), ("cryptonets", 5, 11), ("lenet", 5, 3), ("lenet5-relu", 3, 3)];

fn main() {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    for (model, rounds, repeat) in NETWORKS {
        if arguments.wants(model) {
            rows.push(forecast(model));
            if !arguments.forecasts {
                rows.extend(network(model, rounds, repeat));
            }
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
    fn new(model: &str, variant: &Variant) -> Case {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let onnx = root().join(format!("models/{model}.onnx")).display().to_string();
        let (loom, manifest) = (at("m.loom"), at("m.manifest"));
        let mut words = vec!["compile", &onnx, "--packing", variant.packing];
        words.extend(["-o", &loom, "--manifest", &manifest]);
        variant.off.iter().for_each(|stage| words.extend(["--off", stage]));
        let compiled = command(&words);
        Case { folder, compiled }
    }

    /// Makes what an evaluation needs.
    fn prepare(&self) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let image = root().join("models/samples/digit-3.png").display().to_string();
        let (manifest, secret) = (at("m.manifest"), at("secret"));
        command(&["keygen", &manifest, "--secret", &secret, "--keys", &at("keys")]);
        command(&["encrypt", &manifest, "--secret", &secret, &image, "-o", &at("in")]);
    }

    fn forecast(&self, what: &str) -> f64 {
        self.compiled["forecast"][what].as_f64().expect("compile forecasts")
    }

    /// What the compilation tells of itself.
    fn facts(&self) -> Value {
        let c = &self.compiled;
        json!({
            "forecast_s": self.forecast("seconds"), "forecast_bytes": self.forecast("memory_bytes"),
            "rotations": c["rotations"], "rotation_keys": c["rotation_keys"], "levels": c["levels"],
            "log_n": c["log_n"], "compile_s": c["compile_seconds"], "egraphs": c["egraphs"],
        })
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

/// Forecasts of the baselines and of circuits that lack one stage.
fn forecast(model: &str) -> Row {
    let facts = |variant: &Variant| (variant.key.to_owned(), Case::new(model, variant).facts());
    let more: Value = WHOLE.iter().chain(&WITHOUT).map(facts).collect();
    let seconds = |key: &str| more[key]["forecast_s"].as_f64().expect("compile forecasts");
    let value = seconds(WHOLE[0].key) / seconds("saturated");
    let name = format!("saturation_forecast_gain_{}", model.replace('-', "_"));
    Row { name, value, unit: "x", threads: 1, more }
}

fn network(model: &str, rounds: usize, repeat: usize) -> Vec<Row> {
    let cases = WHOLE.map(|variant| Case::new(model, &variant));
    cases.iter().for_each(Case::prepare);
    let mut seconds = [(); WHOLE.len()].map(|()| Vec::new());
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
    let mut more = json!({});
    for (k, variant) in WHOLE.iter().enumerate() {
        let mut facts = cases[k].facts();
        (facts["measured_s"], facts["measured_bytes"]) = (json!(seconds[k]), json!(bytes[k]));
        more[variant.key] = facts;
    }
    let name = model.replace('-', "_");
    let row = |name: String, value: f64, unit| Row { name, value, unit, threads: 1, more: more.clone() };
    vec![
        row(format!("saturation_speedup_{name}"), seconds[0] / seconds[2], "x"),
        row(format!("saturation_gain_over_dynamic_{name}"), seconds[1] / seconds[2], "x"),
        row(format!("forecast_ratio_{name}"), seconds[2] / cases[2].forecast("seconds"), "x"),
        row(format!("forecast_memory_ratio_{name}"), bytes[2] / cases[2].forecast("memory_bytes"), "x"),
    ]
}
