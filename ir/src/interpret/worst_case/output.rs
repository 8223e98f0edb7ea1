//! What the worst case says of a circuit's outputs: their error, and whether they fit the modulus.
//!
//! A polynomial with slots z_s has coefficients of at most the mean of |z_s| over all slots, times its scale (each is a
//! mean of slots times roots of unity). Decryption is right while that stays below half the modulus; the mean runs over
//! everything that the slots hold, gaps and errors included. Promises: [`OutputBound::proved`] is finite only where this is
//! proved for every input inside its range.

use super::{Bounded, WorstCase};
use crate::circuit::Circuit;
use crate::interpret::interpret;
use crate::interpret::trace::TraceError;
use serde::{Deserialize, Serialize};

/// Relative rounding of the comparison with the modulus.
const COMPARED: f64 = 1e-9;

/// Bounds of an output's error for the two ways to encrypt; infinite (null in JSON) where nothing is proved.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct WorstError {
    /// Inputs encrypted with the secret key.
    #[serde(with = "bound")]
    pub secret_key: f64,
    /// Inputs encrypted with a public key.
    #[serde(with = "bound")]
    pub public_key: f64,
}

/// What is known of an output tensor for every input inside its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputBound {
    /// Bounds of its error, provided that it does not leave the modulus.
    pub error: WorstError,
    /// Bound of the mean of |slot| over any of its ciphertexts, the error under a public key included, in the tensor's
    /// units. Some input may reach it, or none.
    pub reach: f64,
    /// What that mean must stay below for decryption to be right.
    pub room: f64,
}

impl OutputBound {
    /// Whether it is proved that no input inside its range makes the output wrap around.
    pub fn fits(&self) -> bool {
        self.reach < self.room * (1.0 - COMPARED)
    }

    /// Bounds of the error without any proviso: infinite unless the output fits.
    pub fn proved(&self) -> WorstError {
        match self.fits() {
            true => self.error,
            false => WorstError { secret_key: f64::INFINITY, public_key: f64::INFINITY },
        }
    }
}

/// Bounds of the error, reach and room of each output tensor (after its client-side factor): see the header of the
/// parent for what counts as error.
///
/// # Errors
/// A circuit that breaks a law, or a draft.
pub fn output_bounds(circuit: &Circuit) -> Result<Vec<OutputBound>, TraceError> {
    let meaning = WorstCase::of(circuit);
    let values = interpret(circuit, &meaning)?;
    let mut rest = &values[..];
    let bound = |output: &crate::OutputSpec| {
        let (own, after) = rest.split_at(output.values.len());
        rest = after;
        let layout = circuit.layout(output.layout);
        let factor = output.scale.abs();
        let [secret_key, public_key] = [0, 1].map(|way| {
            let errors: Vec<Vec<f64>> = own.iter().map(|v| v.errors(way)).collect();
            let errors = layout.unpack(&errors).into_iter().map(|e| e * factor);
            errors.fold(0.0, |a: f64, e| if e.is_nan() { f64::INFINITY } else { a.max(e) })
        });
        let reach = own.iter().map(|v| v.mean(1)).fold(0.0, f64::max);
        let room = own.iter().map(|v| meaning.room(circuit, v)).fold(f64::INFINITY, f64::min);
        let error = WorstError { secret_key, public_key };
        OutputBound { error, reach: reach * factor, room: room * factor }
    };
    Ok(circuit.outputs.iter().map(bound).collect())
}

impl WorstCase {
    /// Half the modulus at a value's level over its scale.
    fn room(&self, circuit: &Circuit, value: &Bounded) -> f64 {
        let primes = circuit.parameters.chain.iter().take(value.kind.level.limbs());
        let modulus: f64 = primes.map(|q| libm::log2(*q as f64)).sum();
        libm::exp2(modulus - 1.0 - self.scales.log2(&value.kind.scale))
    }
}

/// A bound as a number, and in JSON null where it is infinite; files hold the number itself.
mod bound {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(bound: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => bound.is_finite().then_some(*bound).serialize(serializer),
            false => bound.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match deserializer.is_human_readable() {
            true => Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY)),
            false => f64::deserialize(deserializer),
        }
    }
}
