//! ONNX backend tests on ciphertexts: all that circuits pass, and a sample of them.
//!
//! Relies on the committed lists of tests that the circuit's slots pass. A linear or polynomial test must give what ONNX expects; in the other
//! tier a polynomial fitted on the test's own values stands for the function, and the answer must be that of the circuit's exact meaning.

use crate::answer::encrypted;
use crate::suite::{self, Case, Loaded, Meaning, Tier};
use cipherloom::data::{Sample, Values};
use cipherloom_compiler::{CompileOptions, compile};
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Exact, Verified};

/// A sample takes one of so many tests.
const ONE_OF: u64 = 6;
/// Largest error, as a share of the largest expected value.
pub const ERROR_MAX: f64 = 0.01;

/// All tests that circuits pass, in the order of their names.
pub fn all(cases: &[Case]) -> Vec<&Case> {
    let of = |tier| {
        let list = suite::committed(tier).into_iter().filter(|(_, meaning)| *meaning == Meaning::Circuit);
        let names: Vec<String> = list.map(|(name, _)| name).collect();
        cases.iter().filter(move |c| c.tier == tier && names.contains(&c.name))
    };
    Tier::ALL.into_iter().flat_map(of).collect()
}

/// One of [`ONE_OF`] of them: chosen by the name, so that a test that joins a list changes the choice of no other.
pub fn sample(cases: &[Case]) -> Vec<&Case> {
    all(cases).into_iter().filter(|case| fnv(&case.name).is_multiple_of(ONE_OF)).collect()
}

/// Hash of a name (Fowler, Noll, Vo, 64 bits, 1a).
fn fnv(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Error of the encrypted answer as a share of the largest expected value, or why there is none.
pub fn error(case: &Case) -> Result<f64, String> {
    let Loaded { mut model, input, expected } = suite::load(case)?;
    model.calibrate(std::slice::from_ref(&input)).map_err(|e| e.to_string())?;
    let circuit = compile(&model.graph, &CompileOptions::default()).map_err(|e| e.to_string())?.circuit;
    let circuit = Verified::new(circuit, &SecurityPolicy::standard_128()).map_err(|e| e.to_string())?;
    let aim = match case.tier {
        Tier::Linear => expected,
        Tier::NonPolynomial => {
            let x: Vec<f64> = input.iter().map(|v| f64::from(*v)).collect();
            let exact = Exact::new(&circuit).map_err(|e| e.to_string())?;
            exact.run(&circuit, &[x]).map_err(|e| e.to_string())?
        }
    };
    let values = Values::Floats(input.iter().copied().collect());
    let found = encrypted(&case.name, circuit, &Sample { values }).map_err(|e| e.to_string())?;
    let aim = aim.first().ok_or("it has no output")?;
    if found.len() != aim.len() {
        return Err(format!("{} values, not {}", found.len(), aim.len()));
    }
    let largest = aim.iter().fold(0f64, |m, v| m.max(v.abs()));
    let error = found.iter().zip(aim).map(|(f, a)| (f - a).abs()).fold(0.0, f64::max);
    Ok(error / if largest > 0.0 { largest } else { 1.0 })
}
