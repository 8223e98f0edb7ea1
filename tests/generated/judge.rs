//! What becomes of a generated network: its circuit beside the file in tract, and the encrypted answer beside the circuit.

use crate::answer::encrypted;
use crate::small::Network;
use cipherloom::compiler::{Bootstrapping, CompileError, CompileOptions};
use cipherloom::data::{Sample, Values};
use cipherloom::{Error, Model, session};
use cipherloom_ir::Exact;

/// Images of which ranges are measured, and on which circuit and file are compared.
const CALIBRATED: u64 = 24;
const COMPARED: u64 = 8;
/// Bits of precision: an error of 1 % of the span is between 6 and 7.
const PRECISION_BITS: f64 = 8.0;

/// How far apart the scores are, as shares of the span of the circuit's exact scores over all images.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Levels of the circuit.
    pub levels: u32,
    /// Exact meaning of the circuit from tract, largest.
    pub from_model: f64,
    /// Decrypted scores of one image from the exact meaning, largest; `None` where it was not encrypted.
    pub from_circuit: Option<f64>,
}

/// Whether an answer is wanted from ciphertexts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The exact meaning alone.
    Exact,
    /// Encrypted as well, one image, where the ring degree is at most two to this.
    Encrypted(u32),
}

/// Compiles a network and compares; an error where it does not compile.
pub fn judge(network: &Network, way: Way) -> Result<Verdict, Error> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("network.onnx");
    std::fs::write(&path, network.bytes()).expect("the folder is writable");
    let mut model = Model::open(&path)?;
    let elements = model.input_shape().iter().product::<u32>() as usize;
    let sample = |seed: u64| {
        let values = crate::onnx::random(elements, seed).into_iter().map(|v| v + 0.5).collect();
        Sample { values: Values::Floats(values) }
    };
    model.calibrate(&(1..=CALIBRATED).map(sample).collect::<Vec<_>>())?;
    let compiled = model.compile(&CompileOptions {
        precision_bits: PRECISION_BITS,
        bootstrapping: Bootstrapping::Never,
        ..CompileOptions::default()
    })?;
    let circuit = compiled.circuit.clone();
    let exact = Exact::new(&circuit).expect("a verified circuit has a meaning");
    let images: Vec<Sample> = (1..=COMPARED).map(|k| sample(1000 + k)).collect();
    let scores =
        images.iter().map(|i| session::exact_scores(&circuit, &exact, i)).collect::<Result<Vec<_>, _>>()?;
    let all = || scores.iter().flatten().copied();
    let span = all().fold(f64::NEG_INFINITY, f64::max) - all().fold(f64::INFINITY, f64::min);
    let apart = |a: &[f64], b: &[f64]| {
        assert_eq!(a.len(), b.len(), "{}: as many scores", network.name);
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / span
    };
    let mut from_model = 0f64;
    for (image, scores) in images.iter().zip(&scores) {
        let clear: Vec<f64> = model.clear_scores(image)?.into_iter().map(f64::from).collect();
        from_model = from_model.max(apart(&clear, scores));
    }
    let from_circuit = match way {
        Way::Encrypted(log_n_max) if circuit.parameters.log_n <= log_n_max => {
            let found = encrypted(&network.name, compiled.circuit, &images[0])?;
            Some(apart(&found, &scores[0]))
        }
        _ => None,
    };
    let (log_n, levels) = (circuit.parameters.log_n, circuit.parameters.top().0);
    Ok(Verdict { log_n, levels, from_model, from_circuit })
}

/// Whether a network was refused for its depth alone.
pub fn is_too_deep(error: &Error) -> bool {
    let needs = CompileError::NeedsBootstrapping {
        levels_needed: 0,
        levels_available: 0,
        bits_per_level: 0,
        log_n: 0,
    };
    let text = needs.to_string();
    let (_, reason) = text.split_once("; it ").unwrap_or_default();
    let (reason, _) = reason.split_once(';').unwrap_or_default();
    error.to_string().contains(reason)
}
