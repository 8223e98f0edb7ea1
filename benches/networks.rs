//! The shipped networks and the generated ones over recordings, end to end by the command: one process compiles, makes keys and
//! encrypts, another one evaluates (its time and peak memory are the rows), a third decrypts.
//!
//! Rows `.._batch_image_s` are an image's share of an evaluation that classifies several, with what that gains over
//! evaluations of one image in the same run.
//!
//! `cargo bench --bench networks -- [MODEL] [batch] [--record]`; rows go to `benches/results/networks.json`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

mod command;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;
#[path = "../tests/command/npy.rs"]
mod npy;
#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;
#[allow(dead_code, reason = "the small ones are for tests")]
#[path = "../models/generate/small.rs"]
mod small;

use cipherloom::Model;
use cipherloom::data::{Sample, Values};
use command::command;
use harness::{Arguments, Row, root};
use serde_json::{Value, json};
use std::path::Path;

/// Model, threads, evaluations of which the median counts.
const NETWORKS: [(&str, usize, usize); 5] =
    [("lola", 1, 21), ("mlp", 1, 21), ("cryptonets", 1, 21), ("lenet", 1, 7), ("lenet5-relu", 2, 5)];

/// Model, and images of a batch.
const BATCHES: [(&str, usize); 5] =
    [("lola", 8), ("mlp", 8), ("cryptonets", 8), ("lenet", 4), ("lenet5-relu", 4)];

fn main() {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    for (model, threads, repeat) in NETWORKS {
        let name = model.replace('-', "_");
        let [run, gib] = ["run_s", "run_gib"].map(|what| format!("{name}_{what}"));
        let wanted = [run, gib].map(|name| arguments.wants(&name));
        if wanted.contains(&true) {
            rows.extend(network(model, threads, repeat, 1));
        }
    }
    for recording in small::recordings() {
        let [run, gib] = ["run_s", "run_gib"].map(|what| format!("{}_{what}", recording.name));
        if [run, gib].iter().any(|name| arguments.wants(name)) {
            rows.extend(recorded(&recording));
        }
    }
    for (model, batch) in BATCHES {
        let name = format!("{}_batch_image_s", model.replace('-', "_"));
        if arguments.wants(&name) {
            rows.push(batched(model, name, batch));
        }
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "networks", &rows);
}

/// An image's share of a batch, on one thread.
fn batched(model: &str, name: String, batch: usize) -> Row {
    let repeat = 5;
    let run_s = |batch: usize| network(model, 1, repeat, batch).swap_remove(0);
    let (one, many) = (run_s(1), run_s(batch));
    let value = many.value / batch as f64;
    let mut more = many.more;
    more["batch"] = json!(batch);
    more["alone_s"] = json!(one.value);
    more["gain"] = json!((one.value / value * 1e3).round() / 1e3);
    Row { name, value, unit: "s", threads: 1, more }
}

/// Time and memory of an evaluation of `batch` images of a shipped network, which it takes for their digits.
fn network(model: &str, threads: usize, repeat: usize, batch: usize) -> Vec<Row> {
    let onnx = root().join(format!("models/{model}.onnx")).display().to_string();
    let images = root().join("models/samples").display().to_string();
    let case =
        Case { name: model.replace('-', "_"), onnx, input: vec![images, "--index".into(), "1".into()] };
    let (rows, classes) = case.measured(threads, repeat, batch);
    let digits: Vec<u64> = (1..=batch as u64).collect();
    assert_eq!(classes, digits, "{model} takes a sample for another digit");
    rows
}

/// Time and memory of an evaluation of a random recording, whose class is that of the file.
fn recorded(recording: &small::Network) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (onnx, array) = (folder.path().join("model.onnx"), folder.path().join("recording.npy"));
    std::fs::write(&onnx, recording.bytes()).expect("the folder is writable");
    let elements: i64 = recording.input.iter().product();
    let values: Vec<f32> = onnx::random(elements as usize, 1).into_iter().map(|v| v + 0.5).collect();
    let sizes: Vec<String> = recording.input.iter().map(i64::to_string).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = npy::npy("<f4", &format!("({})", sizes.join(", ")), &bytes);
    std::fs::write(&array, file).expect("the folder is writable");
    let scores =
        Model::open(&onnx).unwrap().clear_scores(&Sample { values: Values::Floats(values) }).unwrap();
    let wanted = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    let case = Case {
        name: recording.name.clone(),
        onnx: onnx.display().to_string(),
        input: vec![array.display().to_string()],
    };
    let (rows, classes) = case.measured(1, 11, 1);
    assert_eq!(classes, [wanted as u64], "{}: the class of the file", recording.name);
    rows
}

/// A model and the words that name its input.
struct Case {
    name: String,
    onnx: String,
    input: Vec<String>,
}

impl Case {
    /// Rows of time and memory, and the classes of the answer.
    fn measured(&self, threads: usize, repeat: usize, batch: usize) -> (Vec<Row>, Vec<u64>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (loom, manifest, secret) = (at("m.loom"), at("m.manifest"), at("secret"));
        let [batch_text, threads_text, repeat_text] = [batch, threads, repeat].map(|n| n.to_string());
        let words = ["compile", &self.onnx, "-o", &loom, "--manifest", &manifest, "--batch", &batch_text];
        let compiled = command(&words);
        command(&["keygen", &manifest, "--secret", &secret, "--keys", &at("keys")]);
        let mut words = vec!["encrypt", &manifest, "--secret", &secret];
        words.extend(self.input.iter().map(String::as_str));
        let sent = at("in");
        words.extend(["-o", &sent]);
        command(&words);
        let (keys, out) = (at("keys"), at("out"));
        let mut words = vec!["run", &loom, "--keys", &keys, &sent, "-o", &out];
        words.extend(["--threads", &threads_text, "--repeat", &repeat_text]);
        let run = command(&words);
        let answer = command(&["decrypt", &manifest, "--secret", &secret, &out]);
        let number = |v: &Value, path: &str| {
            v.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {v}"))
        };
        let more = json!({
            "log_n": compiled["log_n"], "log_qp": compiled["log_qp"], "levels": compiled["levels"],
            "rotations": compiled["rotations"], "rotation_keys": compiled["rotation_keys"],
            "precision_bits_forecast": compiled["forecast"]["precision_bits"],
            "forecast_s": compiled["forecast"]["seconds"], "compile_s": compiled["compile_seconds"],
            "load_s": run["seconds"]["load"], "prepare_s": run["seconds"]["prepare"],
            "key_bytes": file_bytes(&keys), "loom_bytes": compiled["file_bytes"],
            "upload_bytes": file_bytes(&sent), "download_bytes": file_bytes(&out),
        });
        let answers = answer["images"].as_array().map_or(std::slice::from_ref(&answer), Vec::as_slice);
        let classes = answers.iter().map(|answer| answer["class"].as_u64().unwrap()).collect();
        let row = |what: &str, value: f64, unit: &'static str| Row {
            name: format!("{}_{what}", self.name),
            value,
            unit,
            threads,
            more: more.clone(),
        };
        let peak_gib = number(&run, "/peak_memory_bytes") / f64::from(1u32 << 30);
        let rows = vec![row("run_s", number(&run, "/seconds/run"), "s"), row("run_gib", peak_gib, "gib")];
        (rows, classes)
    }
}

fn file_bytes(path: &str) -> u64 {
    std::fs::metadata(Path::new(path)).map_or(0, |m| m.len())
}
