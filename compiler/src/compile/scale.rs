//! The smallest scale that is precise enough: a search over scales, with the trace of the finished circuit as judge.
//!
//! Relies on emission and rescale being pure functions of frame and network, so that the trace sees the circuit that
//! will be written. Promises: the smallest scale of the wanted precision, or the best precision found.

use super::search::{Job, MAX_SCALE_BITS};
use crate::error::CompileError;
use crate::parameters::Frame;
use crate::samples;
use crate::saturate::rotation::Rotated;
use cipherloom_ir::scheme::SCALE_BITS;
use cipherloom_ir::{Circuit, Encryption, Exact, Magnitudes, MapNorms, Trace};

/// Real inputs may exceed the samples' values by this factor.
const MAGNITUDE_MARGIN: f64 = 1.5;

/// How large the slots of a circuit are on the samples, times a margin.
pub(super) fn measured(
    job: &Job<'_>,
    circuit: &Circuit,
    exact: &Exact,
    margin: f64,
) -> Result<Magnitudes, CompileError> {
    let batch = job.options.batch as usize;
    let samples: Vec<Vec<Vec<f64>>> =
        samples::of(job.graph).into_iter().map(|x| vec![x.repeat(batch)]).collect();
    Magnitudes::measure(circuit, exact, &samples, margin).map_err(|e| CompileError::Internal(e.to_string()))
}

/// Whether a scale can be used at a ring degree.
pub(super) enum Fit<T> {
    /// It can.
    Sound(T),
    /// Small scales at large ring degrees run out of primes; larger ones may do.
    TooFewPrimes,
    /// The modulus exceeds the security bound, or a prime the engine's largest; smaller scales may do.
    Insecure,
}

/// Precision as a function of the scale, for one packing.
pub(super) struct Scales<'a> {
    job: &'a Job<'a>,
    guess: &'a Frame,
    packed: &'a Rotated,
    norms: MapNorms,
    magnitudes: Magnitudes,
}

impl<'a> Scales<'a> {
    /// Measures the values of the circuit in the guessed frame; circuits in other frames are the same but for primes.
    pub(super) fn of(
        job: &'a Job<'a>,
        guess: &'a Frame,
        packed: &'a Rotated,
    ) -> Result<Scales<'a>, CompileError> {
        let circuit = job.emitted(guess, packed, guess.cost())?;
        let (exact, norms) =
            Exact::with_norms(&circuit).map_err(|e| CompileError::Internal(e.to_string()))?;
        let magnitudes = measured(job, &circuit, &exact, MAGNITUDE_MARGIN)?;
        Ok(Scales { job, guess, packed, norms, magnitudes })
    }

    /// Frame and precision at a scale.
    fn at(&self, log_scale: u32) -> Result<Fit<(Frame, f64)>, CompileError> {
        let frame = match self.job.frame(self.guess.log_n, self.guess.top, log_scale) {
            Fit::Sound(frame) => frame,
            Fit::TooFewPrimes => return Ok(Fit::TooFewPrimes),
            Fit::Insecure => return Ok(Fit::Insecure),
        };
        let circuit = self.job.emitted(&frame, self.packed, self.guess.cost())?;
        let bits = self.bits(&circuit, Encryption::SecretKey)?;
        Ok(Fit::Sound((frame, bits)))
    }

    /// Precision that the trace predicts.
    pub(super) fn bits(&self, circuit: &Circuit, encryption: Encryption) -> Result<f64, CompileError> {
        let trace = Trace::new(circuit, &self.norms).measured(&self.magnitudes).encrypted(encryption);
        trace.precision_bits(circuit).map_err(|e| CompileError::Internal(e.to_string()))
    }

    /// Smallest scale of `wanted` bits; else the best precision found.
    pub(super) fn smallest(&self, wanted: f64) -> Result<Result<(Frame, f64), f64>, CompileError> {
        let (mut low, mut high) = (SCALE_BITS.0, MAX_SCALE_BITS);
        let mut found = None;
        let mut best = f64::NEG_INFINITY;
        // Precision grows with the scale until it is no longer secure.
        while low <= high {
            let middle = (low + high) / 2;
            match self.at(middle)? {
                Fit::Insecure => high = middle - 1,
                Fit::TooFewPrimes => low = middle + 1,
                Fit::Sound((frame, bits)) if bits >= wanted => {
                    found = Some((frame, bits));
                    high = middle - 1;
                }
                Fit::Sound((_, bits)) => {
                    best = best.max(bits);
                    low = middle + 1;
                }
            }
        }
        Ok(found.ok_or(best))
    }
}
