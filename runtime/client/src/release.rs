//! Scores that may be given away: rounded or flooded by what the manifest proves of their error.
//!
//! # Why
//! A decrypted score is exact score plus error, and the error depends on the secret key: whoever sees scores beside their
//! ciphertexts can solve for it (B. Li, D. Micciancio, ePrint 2020/1533). What is released must depend on the error as
//! little as possible.
//!
//! # How
//! `B` is the worst-case error of the output, which holds except with probability 2^-128 ([`cipherloom_ir::ManifestOutput::worst_error`], the
//! larger of both ways to encrypt). Average errors must not stand in for it.
//!
//! - [`Release::Round`] keeps multiples of a step of at least [`STEP_BOUNDS`] · B, after J.-P. Bossuat, A. Costache,
//!   C. Mouchet, L. Nürnberger, J. R. Troncoso-Pastoriza (ePrint 2024/853). A released number is that of the exact score
//!   unless the exact score lies within B of the middle between two steps. Nothing is proved against somebody that chooses
//!   inputs to make it lie there.
//! - [`Release::Flood`] adds a discrete Gaussian of deviation `√(24·n·t) · 2^(s/2) · 2B` to each of n scores, after B. Li,
//!   D. Micciancio, M. Schultz, J. Sorrell (ePrint 2022/816), s = [`STATISTICAL_BITS`], for t decryptions under one key. It is
//!   added to integers, multiples of a grid finer than B (hence 2B); what follows is a function of the sum.
//!
//! Relies on [`sample::wide_gaussian`](crate::sample). Promises: where B is infinite, or where fewer than
//! [`USEFUL_STEPS`] steps would lie between zero and the largest certified score, an error and no answer.

use crate::sample::{WIDE_DEVIATION, wide_gaussian};
use crate::scores::{Scores, scores};
use crate::{ClientError, Randomness};
use cipherloom_ir::Manifest;

/// A rounding step in bounds of the error.
const STEP_BOUNDS: f64 = 16.0;
/// Statistical security of flooding, in bits.
const STATISTICAL_BITS: i32 = 40;
/// Steps (or deviations of the flood) that a useful answer has at least between zero and its largest score.
const USEFUL_STEPS: f64 = 8.0;

/// How scores are made fit to be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Multiples of a step that is large beside the worst-case error.
    Round,
    /// Noise that is large beside the worst-case error, for this many decryptions under one key.
    Flood {
        /// Decryptions that are released, all circuits and answers of the key together.
        decryptions: u32,
    },
}

/// Scores of one output, fit to be given away.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    /// The scores, changed.
    pub scores: Scores,
    /// Worst-case error of what was decrypted.
    pub bound: f64,
    /// They are multiples of this.
    pub step: f64,
    /// Deviation of the noise that was added; 0 where they were rounded alone.
    pub flood: f64,
}

/// Changes the scores of an output of `manifest`.
pub(crate) fn release(manifest: &Manifest, own: Scores, how: Release) -> Result<Released, ClientError> {
    let output = manifest.outputs.iter().find(|o| o.name == own.name);
    let output = output.ok_or(ClientError::Count { what: "outputs of this name", found: 0, expected: 1 })?;
    let bound = output.worst_error.secret_key.max(output.worst_error.public_key);
    let largest = output.range.iter().fold(0f64, |m, x| m.max(x.abs()));
    let refused = |needed: f64| ClientError::Release { tensor: output.name.clone(), bound, needed, largest };
    if !bound.is_finite() {
        return Err(refused(f64::INFINITY));
    }
    let (values, step, flood) = match how {
        Release::Round => (own.values, power_of_two_above(STEP_BOUNDS * bound), 0.0),
        Release::Flood { decryptions } => {
            let values = own.values.len() as f64 * f64::from(output.layout.batch);
            let released = values * f64::from(decryptions.max(1));
            let ratio = (24.0 * released).sqrt() * f64::from(STATISTICAL_BITS / 2).exp2();
            let flood = 2.0 * ratio * bound;
            let grid = flood / WIDE_DEVIATION;
            if grid > bound || USEFUL_STEPS * flood > largest {
                return Err(refused(flood));
            }
            let mut randomness = Randomness::from_system()?;
            let mut flooded = |x: &f64| ((x / grid).round() + wide_gaussian(&mut randomness) as f64) * grid;
            let values = own.values.iter().map(&mut flooded).collect();
            (values, power_of_two_above(flood / 8.0), flood)
        }
    };
    if step > 0.0 && USEFUL_STEPS * step > largest {
        return Err(refused(step));
    }
    let rounded = |x: f64| if step > 0.0 { (x / step).round() * step } else { x };
    let values = values.into_iter().map(rounded).collect();
    Ok(Released { scores: scores(output, values), bound, step, flood })
}

/// The smallest power of two that is at least `x`; 0 for 0.
fn power_of_two_above(x: f64) -> f64 {
    if x > 0.0 { libm::exp2(libm::ceil(libm::log2(x))) } else { 0.0 }
}
