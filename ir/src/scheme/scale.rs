//! Exact scales.
//!
//! The chain fixes one canonical scale per level: `Δ_L = 2^log_scale` and `Δ_{l-1} = Δ_l² / q_l`. Then
//! `q_l = Δ_l² / Δ_{l-1}`, so every scale that a circuit can reach is a product of integer powers of canonical
//! scales. [`Scale`] holds those exponents: comparison is exact, and the common cases are short (`Δ_l`, `Δ_l²`).
//! [`CanonicalScales`] gives them values, by a recurrence in 128-bit mantissas: the relative error of `Δ_l` is below
//! 2^(L - l + 2 - 127), so the `f64` is the nearest one (or its neighbour at a tie) for every secure chain.

use super::params::{Level, Parameters};
use super::soft_float::SoftFloat;
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

impl Scale {
    /// Value under these parameters; see [`CanonicalScales`] for many of them.
    pub fn value(&self, parameters: &Parameters) -> f64 {
        CanonicalScales::new(parameters).value(self)
    }
}

/// The canonical scales `Δ_0 … Δ_L` of a chain, as numbers.
#[derive(Clone, Debug)]
pub struct CanonicalScales {
    scales: Vec<SoftFloat>,
    chain: Vec<u64>,
}

impl CanonicalScales {
    /// Evaluates `Δ_L = 2^log_scale`, `Δ_{l-1} = Δ_l² / q_l`.
    pub fn new(parameters: &Parameters) -> CanonicalScales {
        let mut scales = vec![SoftFloat::power_of_two(parameters.log_scale as i32)];
        for prime in parameters.chain.iter().skip(1).rev() {
            let above = scales[scales.len() - 1];
            scales.push(above.times(above).over(SoftFloat::from(*prime)));
        }
        scales.reverse();
        CanonicalScales { scales, chain: parameters.chain.clone() }
    }

    /// Value of a scale. Its levels must be levels of the chain (the op laws see to that).
    pub fn value(&self, scale: &Scale) -> f64 {
        self.soft(scale).value()
    }

    /// log2 of a scale.
    pub fn log2(&self, scale: &Scale) -> f64 {
        self.soft(scale).log2()
    }

    /// Scale at which the plaintext of a product is encoded at `level`: `Δ_level² / scale`.
    pub fn plain(&self, level: Level, scale: &Scale) -> f64 {
        self.value(&Scale::product(level).over(scale))
    }

    /// The integer `round(Δ_to · q_{to+1} / scale)` by which `adjust` multiplies at level `to + 1`.
    pub fn adjust_factor(&self, scale: &Scale, to: Level) -> u64 {
        let prime = self.chain.get(to.0 as usize + 1).copied().unwrap_or(1);
        self.scales[to.0 as usize].times(SoftFloat::from(prime)).over(self.soft(scale)).round()
    }

    fn soft(&self, scale: &Scale) -> SoftFloat {
        let one = SoftFloat::power_of_two(0);
        scale.0.iter().fold(one, |p, (level, e)| p.times(self.scales[level.0 as usize].power(*e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::ChainRequest;

    /// A product of powers, as a big natural number.
    fn product(factors: &[(u64, u32)]) -> Vec<u64> {
        let mut words = vec![1u64];
        for factor in factors.iter().flat_map(|(f, e)| (0..*e).map(move |_| *f)) {
            let mut carry = 0u128;
            for word in &mut words {
                carry += u128::from(*word) * u128::from(factor);
                *word = carry as u64;
                carry >>= 64;
            }
            words.push(carry as u64);
        }
        while words.last() == Some(&0) {
            words.pop();
        }
        words
    }

    #[test]
    fn values_are_exact_rationals() {
        let parameters =
            ChainRequest { log_n: 12, log_scale: 30, base_bits: 40, levels: 4 }.parameters(1).unwrap();
        let scales = CanonicalScales::new(&parameters);
        let q = &parameters.chain;
        // Δ_0 = 2^(30·16) / (q_4^8 q_3^4 q_2^2 q_1), compared as big integers: Δ_0 · denominator against 2^480.
        let denominator = product(&[(q[4], 8), (q[3], 4), (q[2], 2), (q[1], 1)]);
        let value = scales.value(&Scale::canonical(Level(0)));
        let bits = value.to_bits();
        let (mantissa, exponent) = ((bits & ((1 << 52) - 1)) | 1 << 52, (bits >> 52) as i32 - 1075);
        let scaled = |m: u64| big_times(&[m], &denominator);
        // mantissa · denominator · 2^exponent ≤ 2^480 < (mantissa + 1) · denominator · 2^exponent, up to rounding.
        let target = 480 - exponent;
        assert!(bit_length(&scaled(mantissa - 1)) as i32 <= target);
        assert!(bit_length(&scaled(mantissa + 1)) as i32 > target);
    }

    fn big_times(a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut out = vec![0u64; a.len() + b.len()];
        for (i, x) in a.iter().enumerate() {
            let mut carry = 0u128;
            for (j, y) in b.iter().enumerate() {
                carry += u128::from(*x) * u128::from(*y) + u128::from(out[i + j]);
                out[i + j] = carry as u64;
                carry >>= 64;
            }
            out[i + b.len()] = carry as u64;
        }
        out
    }

    fn bit_length(words: &[u64]) -> usize {
        let top = words.iter().rposition(|w| *w != 0).unwrap_or(0);
        top * 64 + 64 - words[top].leading_zeros() as usize
    }

    #[test]
    fn adjust_reaches_the_canonical_scale() {
        let parameters =
            ChainRequest { log_n: 14, log_scale: 40, base_bits: 50, levels: 6 }.parameters(2).unwrap();
        let scales = CanonicalScales::new(&parameters);
        for (from, to) in [(6, 5), (6, 2), (4, 0)] {
            let source = Scale::canonical(Level(from));
            let factor = scales.adjust_factor(&source, Level(to));
            let reached = scales.value(&source) * factor as f64 / parameters.chain[to as usize + 1] as f64;
            let wanted = Scale::canonical(Level(to)).value(&parameters);
            assert!((reached / wanted - 1.0).abs() < 1e-11, "{from} to {to}");
        }
        let plain = scales.plain(Level(3), &Scale::canonical(Level(3)));
        assert_eq!(plain, scales.value(&Scale::canonical(Level(3))));
    }
}
