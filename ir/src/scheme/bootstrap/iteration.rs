//! A second bootstrapping, of what the first one left.
//!
//! With `b` the bootstrapped `a`, the difference `a - b` is as small as the bootstrapping is precise. It is made at the input's level,
//! multiplied by `2^shift_bits`, bootstrapped like any message, and its `2^-shift_bits`-fold added to `b`: what remains is the error
//! of `b` once more, divided by `2^shift_bits`, and the roundings on the way. (Bae, Cheon, Cho, Kim, Kim, ePrint 2022/1167.)
//!
//! No step has a scale of its own: `b` is adjusted to the input's canonical scale, and the sum at the end is two
//! integer factors and one rescale to the canonical scale a level below the output's.

use super::BootstrapPlan;
use crate::scheme::{CanonicalScales, Level, Scale};

/// Largest part of a message that the shifted difference may have, in deviations of its noise.
const DEVIATIONS: f64 = 8.0;

/// What a second bootstrapping adds to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iteration {
    /// The difference is multiplied by two to this power.
    pub shift_bits: u32,
    /// What brings the first result to the input's level and scale: the factor of an adjustment.
    pub lower: u64,
    /// Factor of the first result in the sum.
    pub first: u64,
    /// Factor of the second.
    pub second: u64,
    /// Level of the result, at its canonical scale.
    pub output: Level,
}

impl BootstrapPlan {
    /// How a second bootstrapping follows, with the same keys; one usable level less. `None` where the plan has one alone.
    pub fn iteration(&self) -> Option<Iteration> {
        let output = Level(self.output.0.checked_sub(1).filter(|level| *level > self.input.0)?);
        let scales = CanonicalScales::new(&self.circuit());
        let top = Scale::canonical(self.output);
        let largest = DEVIATIONS * libm::hypot(self.noise(), self.series_error(1.0));
        let shift_bits = (-libm::log2(largest)).max(0.0) as u32;
        let first = scales.adjust_factor(&top, output);
        let half = (1 << shift_bits) >> 1;
        Some(Iteration {
            shift_bits,
            lower: scales.adjust_factor(&top, self.input),
            first,
            second: (first + half) >> shift_bits,
            output,
        })
    }
}
