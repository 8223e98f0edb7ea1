//! Twenty networks in the styles of exporters and model zoos, and two over recordings: how far their circuits are from the files,
//! and encrypted answers from the circuits.
//!
//! `cargo bench --bench generated -- [NETWORK] [--record]`; rows `generated_NETWORK` go to `benches/results/generated.json`. A value is the
//! circuit's largest distance from tract, in percent of the span of its scores.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

#[path = "../tests/generated/answer.rs"]
mod answer;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;
#[allow(dead_code, reason = "depth is for the tests of random networks")]
#[path = "../tests/generated/judge.rs"]
mod judge;
#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;
#[path = "../models/generate/small.rs"]
mod small;

use harness::{Arguments, Row};
use judge::{Way, judge};
use serde_json::json;

fn main() {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    for network in small::all().into_iter().chain(small::recordings()) {
        let name = format!("generated_{}", network.name.replace('-', "_"));
        if !arguments.wants(&name) {
            continue;
        }
        let verdict = judge(&network, Way::Encrypted(16)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let percent = |share: f64| (share * 1e8).round() / 1e6;
        let more = json!({
            "log_n": verdict.log_n, "levels": verdict.levels,
            "encrypted_percent": percent(verdict.from_circuit.unwrap_or(f64::NAN)),
        });
        let row = Row { name, value: percent(verdict.from_model), unit: "%", threads: 1, more };
        harness::print(&row);
        rows.push(row);
    }
    harness::finish(&arguments, "generated", &rows);
}
