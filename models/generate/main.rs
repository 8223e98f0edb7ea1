//! Writes one of the generated networks as an ONNX file.
//!
//! `cargo run --release -p cipherloom-compiler --example generate -- NAME FILE`; the names stand in `networks::ALL`, `deep::ALL` and
//! `small::recordings`.
//! The same name gives the same bytes on every machine. Weights are random: these files are for measuring compilers.

#[allow(dead_code, reason = "the writer of the tests writes more kinds of files")]
#[path = "../../compiler/tests/frontend/onnx.rs"]
mod onnx;

mod deep;
mod networks;
#[allow(dead_code, reason = "the small ones are for tests")]
mod small;

use std::process::ExitCode;

/// Writes a network's file.
type Maker = Box<dyn Fn() -> Vec<u8>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, path] = words.as_slice() else { return refused("usage: generate NAME FILE") };
    let mut all: Vec<(String, Maker)> = Vec::new();
    for (known, make) in networks::ALL.into_iter().chain(deep::ALL) {
        all.push((known.to_owned(), Box::new(make)));
    }
    for recording in small::recordings() {
        all.push((recording.name.clone(), Box::new(move || recording.bytes())));
    }
    let Some((_, make)) = all.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = all.iter().map(|n| n.0.as_str()).collect();
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
