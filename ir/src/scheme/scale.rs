//! Exact scales.
//!
//! The chain fixes one canonical scale per level: `Δ_L = 2^log_scale` and `Δ_{l-1} = Δ_l² / q_l`. Then
//! `q_l = Δ_l² / Δ_{l-1}`, so every scale that a circuit can reach is a product of integer powers of canonical
//! scales. [`Scale`] holds those exponents: comparison is exact, and the common cases are short (`Δ_l`, `Δ_l²`).

use super::params::Level;
use std::collections::BTreeMap;

/// `Π Δ_level^exponent`, in normal form (no zero exponent).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scale(BTreeMap<Level, i32>);

impl Scale {
    /// `Δ_level`.
    pub fn canonical(level: Level) -> Scale {
        Scale(BTreeMap::from([(level, 1)]))
    }
    /// `Δ_level²`, the scale of a product that waits for its rescale.
    pub fn product(level: Level) -> Scale {
        Scale(BTreeMap::from([(level, 2)]))
    }
    /// Product of two scales.
    pub fn times(&self, other: &Scale) -> Scale {
        self.combine(other, 1)
    }
    /// Quotient of two scales.
    pub fn over(&self, other: &Scale) -> Scale {
        self.combine(other, -1)
    }
    /// Scale after division by `q_level` (level ≥ 1).
    pub fn rescaled(&self, level: Level) -> Scale {
        debug_assert!(level.0 >= 1, "level 0 has no prime to divide by");
        let below = Level(level.0.saturating_sub(1));
        self.combine(&Scale(BTreeMap::from([(level, 2), (below, -1)])), -1)
    }
    /// Exponents by level.
    pub fn exponents(&self) -> impl Iterator<Item = (Level, i32)> + '_ {
        self.0.iter().map(|(l, e)| (*l, *e))
    }

    fn combine(&self, other: &Scale, sign: i32) -> Scale {
        let mut out = self.0.clone();
        for (level, exponent) in &other.0 {
            let e = out.entry(*level).or_insert(0);
            *e += sign * exponent;
            if *e == 0 {
                out.remove(level);
            }
        }
        Scale(out)
    }
}
