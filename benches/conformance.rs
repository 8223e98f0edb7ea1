//! How many of the ONNX backend tests pass, by tier and operator.
//!
//! `cargo bench --bench conformance -- [--record]`; rows go to `benches/results/conformance.json`: `onnx_linear_pass` and
//! `onnx_nonpoly_pass` are counts, with the number of tests, how many are judged by the draft circuit's slots, and passes and
//! tests by operator. `onnx_encrypted_pass` counts the tests that circuits pass whose encrypted answer is right (`tests/generated/sampled.rs`).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[path = "../tests/generated/answer.rs"]
mod answer;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;
#[allow(dead_code, reason = "the sample is the test's")]
#[path = "../tests/generated/sampled.rs"]
mod sampled;
#[allow(dead_code, reason = "the lists are the test's")]
#[path = "../compiler/tests/conformance/suite.rs"]
mod suite;

use harness::{Arguments, Row};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use suite::{Case, Meaning, Tier};

fn main() {
    let arguments = Arguments::parse();
    let scratch = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-bench");
    let Some(cases) = suite::cases(&scratch) else { return };
    let verdicts = suite::judge_all(&cases);
    let row = |tier: Tier| {
        let judged: Vec<_> = cases.iter().zip(&verdicts).filter(|(c, _)| c.tier == tier).collect();
        let passes = |v: &suite::Verdict| u32::from(v.is_ok());
        let mut operators: BTreeMap<&str, [u32; 2]> = BTreeMap::new();
        for (case, verdict) in &judged {
            let counts = operators.entry(&case.operators).or_default();
            *counts = [counts[0] + passes(verdict), counts[1] + 1];
        }
        let operators: Map<_, _> = operators
            .into_iter()
            .map(|(name, [passed, all])| (name.to_owned(), json!([passed, all])))
            .collect();
        let circuits = judged.iter().filter(|(_, v)| **v == Ok(Meaning::Circuit)).count();
        Row {
            name: format!("onnx_{}_pass", tier.name()),
            value: judged.iter().map(|(_, v)| f64::from(passes(v))).sum(),
            unit: "",
            threads: rayon::current_num_threads(),
            more: json!({ "of": judged.len(), "by_circuit": circuits, "operators": operators }),
        }
    };
    let error = |case: &Case| {
        let error = sampled::error(case).unwrap_or_else(|why| {
            println!("{}: {why}", case.name);
            f64::INFINITY
        });
        if error > sampled::ERROR_MAX {
            println!("{}: an error of {error} of the largest value", case.name);
        }
        error
    };
    let errors: Vec<f64> = sampled::all(&cases).into_iter().map(error).collect();
    let passes = errors.iter().filter(|e| **e <= sampled::ERROR_MAX).count();
    let encrypted = Row {
        name: "onnx_encrypted_pass".into(),
        value: passes as f64,
        unit: "",
        threads: rayon::current_num_threads(),
        more: json!({ "of": errors.len(), "largest_error": errors.iter().fold(0f64, |m, e| m.max(*e)) }),
    };
    let rows: Vec<Row> = Tier::ALL.map(row).into_iter().chain([encrypted]).collect();
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "conformance", &rows);
}
