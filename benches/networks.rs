//! The shipped networks, end to end by the command: one process compiles, makes keys and encrypts, another one
//! evaluates (its time and peak memory are the rows), a third decrypts.
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

/// Time and memory of an evaluation of `batch` images.
fn network(model: &str, threads: usize, repeat: usize, batch: usize) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let onnx = root().join(format!("models/{model}.onnx")).display().to_string();
    let images = root().join("models/samples").display().to_string();
    let (loom, manifest) = (at("m.loom"), at("m.manifest"));
    let batch_text = batch.to_string();
    let compiled = command(&["compile", &onnx, "-o", &loom, "--manifest", &manifest, "--batch", &batch_text]);
    command(&["keygen", &manifest, "--secret", &at("secret"), "--keys", &at("keys")]);
    let secret = at("secret");
    command(&["encrypt", &manifest, "--secret", &secret, &images, "--index", "1", "-o", &at("in")]);
    let run = command(&[
        "run",
        &loom,
        "--keys",
        &at("keys"),
        &at("in"),
        "-o",
        &at("out"),
        "--threads",
        &threads.to_string(),
        "--repeat",
        &repeat.to_string(),
    ]);
    let answer = command(&["decrypt", &manifest, "--secret", &at("secret"), &at("out")]);
    let number = |v: &Value, path: &str| {
        v.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {v}"))
    };
    let more = json!({
        "log_n": compiled["log_n"], "log_qp": compiled["log_qp"], "levels": compiled["levels"],
        "rotations": compiled["rotations"], "rotation_keys": compiled["rotation_keys"],
        "precision_bits_forecast": compiled["forecast"]["precision_bits"],
        "forecast_s": compiled["forecast"]["seconds"], "compile_s": compiled["compile_seconds"],
        "load_s": run["seconds"]["load"], "prepare_s": run["seconds"]["prepare"],
        "key_bytes": file_bytes(&at("keys")), "loom_bytes": compiled["file_bytes"],
        "upload_bytes": file_bytes(&at("in")), "download_bytes": file_bytes(&at("out")),
    });
    let answers = answer["images"].as_array().map_or(std::slice::from_ref(&answer), Vec::as_slice);
    assert_eq!(answers.len(), batch);
    for (digit, answer) in (1..).zip(answers) {
        assert_eq!(answer["class"], digit, "{model} takes the sample for another digit");
    }
    let name = model.replace('-', "_");
    let peak_gib = number(&run, "/peak_memory_bytes") / f64::from(1u32 << 30);
    vec![
        Row {
            name: format!("{name}_run_s"),
            value: number(&run, "/seconds/run"),
            unit: "s",
            threads,
            more: more.clone(),
        },
        Row { name: format!("{name}_run_gib"), value: peak_gib, unit: "gib", threads, more },
    ]
}

fn file_bytes(path: &str) -> u64 {
    std::fs::metadata(Path::new(path)).map_or(0, |m| m.len())
}
