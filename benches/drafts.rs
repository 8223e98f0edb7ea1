//! Drafts of deep networks: rotations, and seconds on one thread from the file to the end of the last stage; of some, the
//! forecast beside that of the baselines and of circuits that lack one stage.
//!
//! `cargo bench --bench drafts -- [NETWORK] [--record]`; rows go to `benches/results/drafts.json`:
//! `saturation_forecast_gain_NETWORK` is the forecast of the multiplexed baseline over that of the saturated circuit. The
//! networks come from `models/generate`; drafts have exact activations and an unbounded chain.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "titles are for the tables")]
mod ablation;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;
#[path = "../models/generate/networks.rs"]
mod networks;
#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;

use ablation::{Variant, WHOLE, WITHOUT};
use cipherloom_compiler::frontend::{LoadOptions, load};
use cipherloom_compiler::{CompileOptions, Packing, Purpose, compile};
use harness::{Arguments, Row};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Networks of which the ablation is recorded.
const ABLATED: [&str; 3] = ["resnet20", "mobilenet", "squeezenet"];

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
    let all = WHOLE.iter().chain(&WITHOUT);
    let variants = all.filter(|v| v.key == "saturated" || ABLATED.contains(&name));
    let mut more = json!({});
    variants.for_each(|variant| more[variant.key] = draft(&path, variant));
    let saturated = more["saturated"].clone();
    let number = |facts: &Value, field: &str| facts[field].as_f64().expect("drafts tell numbers");
    let row =
        |name: String, value, unit, more: &Value| Row { name, value, unit, threads: 1, more: more.clone() };
    let mut rows = vec![
        row(format!("rotations_{name}"), number(&saturated, "rotations"), "", &saturated),
        row(format!("{name}_compile_s"), number(&saturated, "compile_s"), "s", &saturated),
    ];
    if ABLATED.contains(&name) {
        let gain = number(&more["multiplexed"], "forecast_s") / number(&saturated, "forecast_s");
        rows.push(row(format!("saturation_forecast_gain_{name}"), gain, "x", &more));
    }
    rows
}

/// Compiles a draft one way and tells its figures.
fn draft(path: &Path, variant: &Variant) -> Value {
    let packing = match variant.packing {
        "multiplexed" => Packing::Multiplexed,
        "dynamic" => Packing::DynamicProgram,
        _ => Packing::Saturated,
    };
    let off = variant.off.iter().map(|stage| stage.parse().expect("a stage")).collect();
    let options = CompileOptions { purpose: Purpose::Draft, packing, off, ..CompileOptions::default() };
    let start = Instant::now();
    let model = load(path, &LoadOptions::default()).expect("generated networks load");
    let compiled = compile(&model.graph, &options).expect("generated networks compile");
    let compile_s = start.elapsed().as_secs_f64();
    let report = &compiled.report;
    let most = compiled.circuit.layouts.iter().map(|l| l.ciphertexts).max().unwrap_or(0);
    let predicted_ns: u64 = report.layers.iter().map(|l| l.predicted_ns).sum();
    let egraph = |e: &cipherloom_compiler::EGraph| json!({ "stage": e.stage.name(), "terms": e.terms, "classes": e.classes, "rounds": e.rounds });
    json!({
        "levels": report.levels, "log_n": report.log_n, "rotations": report.rotations,
        "rotation_keys": report.rotation_keys, "ciphertexts_most": most,
        "forecast_s": predicted_ns as f64 / 1e9, "compile_s": compile_s,
        "egraphs": report.egraphs.iter().map(egraph).collect::<Vec<_>>(),
    })
}
