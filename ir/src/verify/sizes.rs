//! Law 10, second half: scales fit where they are used, in bits.
//!
//! The exact laws say that scales agree; these say that values at those scales fit the modulus, and that the
//! plaintext scales and integer factors that follow from them are such that an engine can encode.

use super::error::LawError;
use super::value::ValueType;
use crate::op::Op;
use crate::scheme::{CanonicalScales, Level, Parameters, Scale};

/// Bits between a value's scale and the modulus at its level, at least: values up to 1 with sign.
pub const MIN_HEADROOM_BITS: f64 = 1.0;
/// Largest scale of a plaintext, in bits.
pub const MAX_PLAIN_SCALE_BITS: f64 = 100.0;
/// Largest integer factor of an adjust, in bits.
pub const MAX_ADJUST_BITS: f64 = 60.0;

/// Sizes of the scales that a chain can express, in bits.
pub(super) struct Sizes {
    canonical: CanonicalScales,
    primes: Vec<f64>,
}

impl Sizes {
    /// Sizes under these parameters.
    pub(super) fn new(parameters: &Parameters) -> Sizes {
        let primes = parameters.chain.iter().map(|&q| libm::log2(q as f64)).collect();
        Sizes { canonical: CanonicalScales::new(parameters), primes }
    }

    fn log2_modulus(&self, level: Level) -> f64 {
        self.primes.iter().take(level.limbs()).sum()
    }

    /// The results of an operation fit their moduli, and what it encodes can be encoded.
    pub(super) fn check(
        &self,
        op: &Op,
        operands: &[&ValueType],
        results: &[ValueType],
    ) -> Result<(), LawError> {
        let product = |x: &ValueType| Scale::product(x.level).over(&x.scale);
        match (op, operands) {
            (Op::MulPlain(..) | Op::MulScalar(..) | Op::Linear(_), [x, ..]) => {
                self.within("plaintext scale", &product(x), 0.0, MAX_PLAIN_SCALE_BITS)?;
            }
            (Op::AddPlain(..), [x]) => {
                self.within("plaintext scale", &x.scale, 0.0, MAX_PLAIN_SCALE_BITS)?;
            }
            (Op::Adjust(_, to), [x]) => {
                let above = Level(to.0 + 1);
                let factor = Scale::product(above).over(&x.scale);
                self.within("integer factor", &factor, 0.0, MAX_ADJUST_BITS)?;
            }
            _ => {}
        }
        results.iter().try_for_each(|x| {
            let most = self.log2_modulus(x.level) - MIN_HEADROOM_BITS;
            self.within("scale of the result", &x.scale, 0.0, most)
        })
    }

    fn within(&self, what: &'static str, scale: &Scale, least: f64, most: f64) -> Result<(), LawError> {
        let found = self.canonical.log2(scale);
        if (least..=most).contains(&found) {
            return Ok(());
        }
        let scale = scale.clone();
        Err(LawError::ScaleSize { what, scale, log2_found: found, log2_least: least, log2_most: most })
    }
}
