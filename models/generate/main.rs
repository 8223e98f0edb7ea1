//! Writes one of the generated networks as an ONNX file.
//!
//! `cargo run --release -p cipherloom-compiler --example generate -- NAME FILE`; the names stand in `networks::ALL` and `deep::ALL`.
//! The same name gives the same bytes on every machine. Weights are random: these files are for measuring compilers.

#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../../compiler/tests/frontend/onnx.rs"]
mod onnx;

mod deep;
mod networks;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, path] = words.as_slice() else { return refused("usage: generate NAME FILE") };
    let all = || networks::ALL.iter().chain(&deep::ALL);
    let Some((_, make)) = all().find(|(known, _)| known == name) else {
        let names: Vec<&str> = all().map(|n| n.0).collect();
        return refused(&format!("no network `{name}`; there are {}", names.join(", ")));
    };
    match std::fs::write(path, make()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(&format!("{path}: {error}")),
    }
}

fn refused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}
