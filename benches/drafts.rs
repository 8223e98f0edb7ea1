//! Drafts of deep networks: rotations, and seconds on one thread from the file to the end of the last stage.
//!
//! `cargo bench --bench drafts -- [NETWORK] [--record]`; rows go to `benches/results/drafts.json`. The networks come from
//! `models/generate`; drafts have exact activations and an unbounded chain.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;
#[path = "../models/generate/networks.rs"]
mod networks;
#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;

use cipherloom_compiler::frontend::{LoadOptions, load};
use cipherloom_compiler::{CompileOptions, Purpose, compile};
use harness::{Arguments, Row};
use serde_json::json;
use std::time::Instant;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the pool is not built before");
    let arguments = Arguments::parse();
    let wanted = networks::ALL.iter().filter(|(name, _)| arguments.wants(name));
    let rows: Vec<Row> = wanted.flat_map(|(name, make)| network(name, &make())).collect();
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "drafts", &rows);
}

fn network(name: &str, bytes: &[u8]) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(format!("{name}.onnx"));
    std::fs::write(&path, bytes).expect("the folder is writable");
    let start = Instant::now();
    let model = load(&path, &LoadOptions::default()).expect("generated networks load");
    let options = CompileOptions { purpose: Purpose::Draft, ..CompileOptions::default() };
    let compiled = compile(&model.graph, &options).expect("generated networks compile");
    let seconds = start.elapsed().as_secs_f64();
    let report = &compiled.report;
    let most = compiled.circuit.layouts.iter().map(|l| l.ciphertexts).max().unwrap_or(0);
    let more = json!({
        "levels": report.levels, "log_n": report.log_n, "rotation_keys": report.rotation_keys,
        "ciphertexts_most": most, "compile_s": seconds, "rotations": report.rotations,
    });
    let row = |name: String, value, unit| Row { name, value, unit, threads: 1, more: more.clone() };
    vec![
        row(format!("rotations_{name}"), report.rotations as f64, ""),
        row(format!("{name}_compile_s"), seconds, "s"),
    ]
}
