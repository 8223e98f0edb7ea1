//! Why a model cannot be compiled: each error names the place, the numbers and what to do.

use thiserror::Error;

/// Error of a compiler stage behind the frontend.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum CompileError {
    /// The graph has no input or no output.
    #[error("the model has no {what}")]
    Incomplete {
        /// "input" or "output".
        what: &'static str,
    },
    /// A stage met something that it has no rule for.
    #[error("{stage}: tensor `{tensor}`: {reason}; {remedy}")]
    Unsupported {
        /// The stage.
        stage: &'static str,
        /// ONNX tensor name.
        tensor: String,
        /// What is unsupported.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// The network is too deep for leveled parameters.
    #[error(
        "the model needs {levels_needed} levels of {bits_per_level} bits, but the largest ring (log N = {log_n}) holds {levels_available} at 128 bits of security; it needs bootstrapping, which `--bootstrap never` forbids; remedy: leave that out, or use fewer layers or activations of lower degree"
    )]
    NeedsBootstrapping {
        /// Levels of the circuit.
        levels_needed: u32,
        /// Levels that the largest ring allows.
        levels_available: u32,
        /// Scale bits assumed.
        bits_per_level: u32,
        /// Largest ring degree tried.
        log_n: u32,
    },
    /// The base prime cannot hold the outputs.
    #[error(
        "the outputs reach {largest:.3e}: at the scale that the precision needs ({log_scale} bits) they take a base prime of {base_bits} bits, and primes have at most {max_bits}; remedy: scale the last layer down, calibrate with data if its range was not measured, or lower --precision"
    )]
    OutputRange {
        /// Largest magnitude of an output, as the circuit computes it.
        largest: f64,
        /// Smallest scale that is worth trying.
        log_scale: u32,
        /// Bits that the base prime would have.
        base_bits: u32,
        /// Largest size of a prime.
        max_bits: u32,
    },
    /// No parameter set reaches the precision.
    #[error(
        "no parameters reach {wanted_bits:.1} bits of precision (best: {best_bits:.1}); remedy: {remedy}",
        remedy = precision_remedy(*best_bits)
    )]
    Precision {
        /// Bits asked for.
        wanted_bits: f64,
        /// Best found.
        best_bits: f64,
    },
    /// No bootstrapping has room for the circuit.
    #[error(
        "bootstrapping does not help: of {sets} none is needed, or none leaves a place at which all values can be bootstrapped (slots beyond 2^16 cannot); remedy: calibrate with data unless ranges were measured; if they were, take a lower --activation-degree, or train for smaller values (a batch norm before each activation)"
    )]
    NoCut {
        /// Names of the sets.
        sets: String,
    },
    /// The batch is none.
    #[error("a batch of {found} images; remedy: take a power of two of at most {max}")]
    Batch {
        /// Images asked for.
        found: u32,
        /// Most that there can be.
        max: u32,
    },
    /// A stage is to be off that cannot be.
    #[error(transparent)]
    Stage(#[from] crate::stages::StageError),
    /// What a stage left breaks an invariant: a bug of the compiler.
    #[error("internal: stage {stage} left something broken: {what}")]
    Broken {
        /// The stage.
        stage: &'static str,
        /// What is broken, and where.
        what: String,
    },
    /// No choice of rotations has keys that fit.
    #[error(
        "the evaluation keys take {least_bytes} bytes of memory at least, more than the {limit_bytes} of --max-key-memory; remedy: allow {least_bytes}"
    )]
    KeyMemory {
        /// Bytes allowed.
        limit_bytes: u64,
        /// Fewest bytes found.
        least_bytes: u64,
    },
    /// A circuit that the compiler made breaks a law: a bug of the compiler.
    #[error("internal: {0}")]
    Internal(String),
}

/// Least `--precision`.
const LEAST_BITS: f64 = 1.0;
/// The forecast must exceed what is asked for by so much, rounding to a tenth included.
const MARGIN_BITS: f64 = 0.6;

/// What to do where the best precision is this.
fn precision_remedy(best_bits: f64) -> String {
    let within = libm::floor(best_bits - MARGIN_BITS);
    if within >= LEAST_BITS {
        return format!("--precision {within:.0}, with which `check` tells how many answers survive");
    }
    let what =
        if best_bits.is_finite() { "" } else { "values diverge, as polynomials do outside their ranges: " };
    format!(
        "{what}calibrate with data unless ranges were measured; if they were, with more of them, or train for narrower ranges, or take another \
         --activation-degree"
    )
}

/// Primes of a committed bootstrapping are always found.
impl From<cipherloom_ir::scheme::PrimeError> for CompileError {
    fn from(error: cipherloom_ir::scheme::PrimeError) -> CompileError {
        CompileError::Internal(error.to_string())
    }
}

impl CompileError {
    /// A linear map that `ir` refuses.
    pub(crate) fn map(stage: &'static str, tensor: &str, error: &cipherloom_ir::MapError) -> CompileError {
        CompileError::Unsupported {
            stage,
            tensor: tensor.to_owned(),
            reason: error.to_string(),
            remedy: "report the model: its operators should have been refused by the frontend".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_fit_the_precision_that_is_reached() {
        let said = |best_bits| CompileError::Precision { wanted_bits: 10.0, best_bits }.to_string();
        assert!(said(7.4).contains("remedy: --precision 6,"), "{}", said(7.4));
        assert!(said(7.7).contains("remedy: --precision 7,"), "{}", said(7.7));
        assert!(said(0.3).contains("remedy: calibrate with data unless"), "{}", said(0.3));
        assert!(said(f64::NEG_INFINITY).contains("values diverge"), "{}", said(f64::NEG_INFINITY));
    }
}
