//! Every committed input of the fuzzers, findings among them, goes through the functions that were fuzzed: no panic, and no memory
//! out of proportion. `UPDATE_CORPUS=1 cargo test --test hostile` writes the seeds anew (docs/fuzzing.md).

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

/// What replaying the corpus may add to the peak of this process's memory.
const MEMORY_MAX: u64 = 1 << 30;
/// Largest committed input.
const FILE_BYTES_MAX: usize = 1 << 16;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

#[test]
fn the_corpus_is_answered_without_panics_and_within_memory() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        for (target, name, bytes) in targets::seeds() {
            std::fs::create_dir_all(corpus().join(target)).unwrap();
            std::fs::write(corpus().join(target).join(name), bytes).unwrap();
        }
    }
    for (name, target) in targets::TARGETS {
        let files =
            std::fs::read_dir(corpus().join(name)).unwrap_or_else(|e| panic!("corpus of {name}: {e}"));
        let mut files: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has a corpus");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            assert!(bytes.len() <= FILE_BYTES_MAX, "{} is too large to be committed", file.display());
            println!("{}", file.display());
            let before = cipherloom::memory::peak_bytes();
            target(&bytes);
            let more = cipherloom::memory::peak_bytes().saturating_sub(before);
            assert!(more <= MEMORY_MAX, "{} took {more} bytes", file.display());
        }
    }
}

/// The seeds are what the readers take: mutations of them get past the first check.
#[test]
fn seeds_are_accepted() {
    use cipherloom::data;
    for (target, name, bytes) in targets::seeds() {
        let accepted = match target {
            "circuit" => cipherloom::ir::Circuit::from_bytes(&bytes).is_ok(),
            "manifest" => cipherloom::ir::Manifest::from_bytes(&bytes).is_ok(),
            "onnx" => cipherloom::compiler::frontend::load_bytes(&bytes, &Default::default()).is_ok(),
            "images" | "arrays" => {
                let wanted: [&[u32]; 3] = [&[1, 4, 4], &[3, 2, 2], &[5]];
                wanted.iter().any(|w| data::read_bytes("seed".as_ref(), &bytes, w).is_ok())
            }
            _ => true,
        };
        assert!(accepted, "{target} {name}");
    }
}
