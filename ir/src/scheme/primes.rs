//! Search of primes: deterministic, so that equal requests give equal chains on every machine.
//!
//! All primes are 1 modulo 2N (the ring has roots of unity) and below [`MAX_PRIME`]. Primes in [2^50, 2^51) must
//! never be used (the tfhe-ntt 0.7.1 transform computes wrong results for many of them), so the bound
//! stands just below. The chain is chosen top-down: `q_l` is the unused prime nearest to `Δ_l² / 2^log_scale`,
//! which keeps every canonical scale near `2^log_scale` without errors adding up.

use super::params::{Parameters, SCALE_BITS};
use super::soft_float::SoftFloat;
use thiserror::Error;

/// Primes are below this: products of two fit in 52-bit lanes twice, and no prime lies in [2^50, 2^51).
pub const MAX_PRIME: u64 = 1 << 50;

/// The special modulus exceeds the largest digit by at least this many bits …
pub const SPECIAL_MARGIN_MIN_BITS: u32 = 5;
/// … and by about this many at most, so that no modulus is wasted.
pub const SPECIAL_MARGIN_MAX_BITS: u32 = 6;

/// Why there are no such primes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrimeError {
    /// No unused prime of the wanted size.
    #[error("no unused prime near {target} that is 1 modulo 2^{}", .log_n + 1)]
    Exhausted {
        /// Wanted size.
        target: u64,
        /// log2 of the ring degree.
        log_n: u32,
    },
    /// A scale or prime size outside what the engine takes.
    #[error("{what} of {bits} bits, between {least} and {most} are possible")]
    Size {
        /// What has this size.
        what: &'static str,
        /// Its bits.
        bits: u32,
        /// Smallest.
        least: u32,
        /// Largest.
        most: u32,
    },
}

/// Whether `n` is prime: Miller-Rabin with the first twelve primes as bases, which decides all of `u64`
/// (Sorenson and Webster, Strong pseudoprimes to twelve prime bases, 2015).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    if let Some(base) = BASES.iter().find(|b| n.is_multiple_of(**b)) {
        return n == *base;
    }
    let times = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let (odd, twos) = ((n - 1) >> (n - 1).trailing_zeros(), (n - 1).trailing_zeros());
    BASES.iter().all(|base| {
        let (mut x, mut square, mut exponent) = (1, *base, odd);
        while exponent > 0 {
            if exponent & 1 == 1 {
                x = times(x, square);
            }
            square = times(square, square);
            exponent >>= 1;
        }
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = times(x, x);
            x == n - 1
        })
    })
}

/// The prime nearest to `target` that is 1 modulo `2^(log_n + 1)`, below [`MAX_PRIME`] and not in `used`; of two
/// at equal distance the smaller one. Looks as far as half of `target`.
pub fn nearest_prime(target: u64, log_n: u32, used: &[u64]) -> Result<u64, PrimeError> {
    let (step, exhausted) = (1u64 << (log_n + 1), PrimeError::Exhausted { target, log_n });
    if target >= 2 * MAX_PRIME || target < step {
        return Err(exhausted);
    }
    let fits = |p: &u64| *p < MAX_PRIME && !used.contains(p) && is_prime(*p);
    let below = (target - 1) / step * step + 1;
    let (mut down, mut up) = (below, below + step);
    while down > target / 2 || up < target + target / 2 {
        let lower_first = down > target / 2 && target - down <= up - target;
        let candidate = if lower_first { down } else { up };
        if fits(&candidate) {
            return Ok(candidate);
        }
        if lower_first {
            down = down.saturating_sub(step);
        } else {
            up += step;
            if up >= MAX_PRIME && down <= target / 2 {
                break;
            }
        }
    }
    Err(exhausted)
}

/// What a chain must offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRequest {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Canonical scales stay near `2^log_scale`.
    pub log_scale: u32,
    /// Bits of the base prime `q_0`.
    pub base_bits: u32,
    /// Rescales available.
    pub levels: u32,
}

impl ChainRequest {
    /// The primes `q_0 … q_levels`.
    pub fn chain(&self) -> Result<Vec<u64>, PrimeError> {
        let sized = |what, bits, (least, most)| match bits {
            _ if (least..=most).contains(&bits) => Ok(()),
            _ => Err(PrimeError::Size { what, bits, least, most }),
        };
        sized("scale", self.log_scale, SCALE_BITS)?;
        sized("base prime", self.base_bits, (self.log_n + 2, 50))?;
        let mut top_down: Vec<u64> = vec![nearest_prime(1 << self.base_bits, self.log_n, &[])?];
        let mut scale = SoftFloat::power_of_two(self.log_scale as i32);
        for _ in 0..self.levels {
            let square = scale.times(scale);
            let wanted = square.over(SoftFloat::power_of_two(self.log_scale as i32)).round();
            let prime = nearest_prime(wanted, self.log_n, &top_down)?;
            top_down.push(prime);
            scale = square.over(SoftFloat::from(prime));
        }
        top_down[1..].reverse();
        Ok(top_down)
    }

    /// Parameters with that chain and special primes for digits of `digit_limbs` primes.
    pub fn parameters(&self, digit_limbs: u32) -> Result<Parameters, PrimeError> {
        let chain = self.chain()?;
        let special = special_primes(self.log_n, &chain, digit_limbs)?;
        Ok(Parameters { log_n: self.log_n, chain, raised: vec![], special, log_scale: self.log_scale })
    }
}

/// Special primes for digits of `digit_limbs` chain primes: as few as possible, of equal size, with a product
/// above the largest digit by [`SPECIAL_MARGIN_MIN_BITS`] to about [`SPECIAL_MARGIN_MAX_BITS`] bits.
pub fn special_primes(log_n: u32, chain: &[u64], digit_limbs: u32) -> Result<Vec<u64>, PrimeError> {
    let log2 = |q: &u64| libm::log2(*q as f64);
    let digits = chain.chunks(digit_limbs.max(1) as usize);
    let largest = digits.map(|d| d.iter().map(log2).sum::<f64>()).fold(0.0, f64::max);
    let least = largest + f64::from(SPECIAL_MARGIN_MIN_BITS);
    let count = libm::ceil(least / 49.9).max(1.0);
    let wanted = largest + f64::from(SPECIAL_MARGIN_MIN_BITS + SPECIAL_MARGIN_MAX_BITS) / 2.0;
    let each = (wanted / count).max(f64::from(log_n) + 3.0).min(49.999);
    let mut used = chain.to_vec();
    for _ in 0..count as usize {
        let prime = nearest_prime(libm::exp2(each) as u64, log_n, &used)?;
        used.push(prime);
    }
    Ok(used.split_off(chain.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{CanonicalScales, Level, Scale};

    #[test]
    fn primality_agrees_with_trial_division_and_known_pseudoprimes() {
        let slow = |n: u64| n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        assert!((0..5000).all(|n| is_prime(n) == slow(n)));
        for composite in [3_215_031_751, 3_474_749_660_383, 341_550_071_728_321, (1 << 61) + 1, u64::MAX] {
            assert!(!is_prime(composite), "{composite}");
        }
        assert!([(1 << 61) - 1, 18_446_744_073_709_551_557, 1_125_899_906_826_241].into_iter().all(is_prime));
    }

    #[test]
    fn nearest_means_nearest() {
        for target in [1 << 20, 1_000_003, (1 << 30) + 77] {
            let found = nearest_prime(target, 10, &[]).unwrap();
            let distance = found.abs_diff(target);
            let closer = (target - distance + 1..target + distance).filter(|p| p % 2048 == 1 && is_prime(*p));
            assert_eq!(closer.count(), 0);
        }
        assert!(nearest_prime(1 << 50, 15, &[]).unwrap() < MAX_PRIME);
        assert!(nearest_prime(1 << 12, 15, &[]).is_err());
    }

    #[test]
    fn chains_keep_the_canonical_scale() {
        for (log_n, log_scale, levels, tolerance) in
            [(12, 30, 2, 0.01), (14, 40, 8, 1e-4), (15, 45, 20, 1e-4), (16, 49, 30, 1e-4), (15, 35, 30, 0.02)]
        {
            let request = ChainRequest { log_n, log_scale, base_bits: 50, levels };
            let parameters = request.parameters(3).unwrap();
            let all = [&parameters.chain[..], &parameters.special].concat();
            let mut distinct = all.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), all.len());
            assert!(all.iter().all(|p| is_prime(*p) && p % (2 << log_n) == 1 && *p < MAX_PRIME));
            let scales = CanonicalScales::new(&parameters);
            for level in 0..=levels {
                let drift = scales.log2(&Scale::canonical(Level(level))) - f64::from(log_scale);
                assert!(drift.abs() < tolerance, "{request:?}: level {level} drifts by {drift}");
            }
        }
    }

    #[test]
    fn special_modulus_exceeds_the_largest_digit_by_the_margin() {
        for (log_n, log_scale, levels) in [(13, 34, 4), (14, 42, 7), (15, 45, 16), (16, 48, 29)] {
            let chain = ChainRequest { log_n, log_scale, base_bits: 50, levels }.chain().unwrap();
            for digit_limbs in 1..=8 {
                let special = special_primes(log_n, &chain, digit_limbs).unwrap();
                let log2 = |primes: &[u64]| primes.iter().map(|p| (*p as f64).log2()).sum::<f64>();
                let largest = chain.chunks(digit_limbs as usize).map(log2).fold(0.0, f64::max);
                let margin = log2(&special) - largest;
                assert!((5.0..6.1).contains(&margin), "{log_n} {digit_limbs}: margin {margin}");
            }
        }
    }
}
