//! A circuit by hand: three bootstraps of a parameter set with activations between them, every slot by itself.
//!
//! `cargo run --release -p cipherloom-ir --example three_bootstraps -- SET NAME` writes `NAME.loom` and `NAME.manifest`, which
//! `cipherloom keygen`, `encrypt`, `run` and `decrypt` take like those of a compiled model.

#[allow(dead_code, reason = "tests use more of it")]
#[path = "../tests/forms/bootstrapped.rs"]
mod bootstrapped;

use cipherloom_ir::scheme::{BOOTSTRAP_SETS, SecurityPolicy};
use cipherloom_ir::{Manifest, Verified};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [set, name] = &arguments[..] else {
        return Err("give the name of a set and that of the files".into());
    };
    let sets = || BOOTSTRAP_SETS.iter().filter(|(_, request)| request.sparse_log_slots.is_none());
    let request = sets().find(|(known, _)| known == set).map(|(_, request)| *request).ok_or_else(|| {
        let names: Vec<_> = sets().map(|(name, _)| *name).collect();
        format!("{set} is no set of full slots; there are {}", names.join(", "))
    })?;
    let circuit = Verified::new(bootstrapped::bootstrapped(request), &SecurityPolicy::standard_128())?;
    std::fs::write(format!("{name}.loom"), circuit.to_bytes())?;
    std::fs::write(format!("{name}.manifest"), Manifest::of(&circuit)?.to_bytes())?;
    Ok(())
}
