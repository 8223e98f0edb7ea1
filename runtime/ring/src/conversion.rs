//! Fast base conversion: residues modulo `q_0 .. q_k`, `Q` their product, to residues modulo other primes.
//!
//! With `y_i = [x_i (Q/q_i)^-1]` modulo `q_i`, `x = sum y_i Q/q_i - u Q` for one `0 <= u < k`: the conversion gives
//! `x + u Q` modulo the target. The centred form takes the mean out of `u`, so that of what is divided by `Q` afterwards
//! no offset remains to meet the secret: for odd `k` it converts `x + (Q-1)/2` and subtracts `(Q-1)/2 + Q (k-1)/2`, for
//! even `k` it converts `x` and subtracts `Q k/2`. Its result is congruent to `x` modulo `Q`, at most `Q k/2` in
//! magnitude, and 0 in the mean for uniform `x`; for one prime it is the centred representative itself. Zeros are not uniform: a tile of
//! them is converted to zeros, else a multiple of `Q` in every coefficient would add up in the slots near the root of unity 1.
//!
//! The nearest form knows `u`, for it is `sum y_i / q_i` rounded: [`BaseConversion::quotients`] makes it in fixed point, as one
//! more source, whose weight is `-Q`. What is converted is the centred representative, or beside it where `x` is so near `Q/2`
//! that the sum's error decides: at most `Q (1/2 + k 2^-26)` in magnitude for primes above `2^28`, and 0 for 0. It is worth its
//! source where the result is divided by `Q`, since there a multiple of `Q` is an error of the size of rounding itself.
//!
//! Integer arithmetic only. Sources: Bajard, Eynard, Hasan, Zucca, SAC 2016 (ePrint 2016/510), section 3; for the quotient Halevi, Polyakov,
//! Shoup, CT-RSA 2019 (ePrint 2018/117), section 2.2, there in floats.

use std::ops::Range;
use std::sync::Arc;

use crate::kernel::{Fraction, Kernel};
use crate::modulus::Factor;
use crate::{Limb, RingError};

/// Words of each source that are converted to several targets while they are in the first cache.
const TILE_WORDS: usize = 256;

/// Bits of a fraction's two factors, if the primes have as many.
const FRACTION_BITS_MAX: u32 = 28;

/// Conversion from one basis of primes to several targets.
#[derive(Debug)]
pub struct BaseConversion {
    sources: Vec<Source>,
    targets: Vec<Target>,
    /// Bits after the point in sums of fractions.
    fraction_bits: u32,
}

#[derive(Debug)]
struct Source {
    limb: Arc<Limb>,
    /// `(Q/q_i)^-1`.
    scale: Factor,
    /// `(Q-1)/2 * (Q/q_i)^-1` for an odd number of sources, else 0.
    half_scaled: u64,
    /// What a residue adds to the quotient.
    fraction: Fraction,
}

#[derive(Debug)]
struct Target {
    limb: Arc<Limb>,
    kernel: Kernel,
    /// `Q/q_i` modulo the target, and `-Q` last, in the kernel's form.
    weights: Vec<u64>,
    /// What the centred form adds, modulo the target, in the kernel's form.
    minus_mean: u64,
}

impl BaseConversion {
    /// Most primes on the source side.
    pub const SOURCES_MAX: usize = 64;

    /// Prepares the constants from basis `from` to each prime of `to`.
    ///
    /// # Errors
    /// [`RingError::BasisLength`] unless `from` has 1 to 64 primes, [`RingError::RepeatedPrime`],
    /// [`RingError::DegreeMismatch`].
    pub fn new(from: &[Arc<Limb>], to: &[Arc<Limb>]) -> Result<BaseConversion, RingError> {
        if from.is_empty() || from.len() > Self::SOURCES_MAX {
            return Err(RingError::BasisLength { count: from.len(), max: Self::SOURCES_MAX });
        }
        let degree = from[0].degree();
        if let Some(other) = from.iter().chain(to).find(|limb| limb.degree() != degree) {
            return Err(RingError::DegreeMismatch { left: degree.n(), right: other.degree().n() });
        }
        let least_bits = from.iter().map(|limb| limb.modulus().bits()).min().unwrap_or(1);
        let half_bits = least_bits.min(FRACTION_BITS_MAX);
        let sources = (0..from.len()).map(|i| Source::new(from, i, half_bits)).collect::<Result<_, _>>()?;
        let targets = to.iter().map(|limb| Target::new(from, limb)).collect();
        Ok(BaseConversion { sources, targets, fraction_bits: 2 * half_bits })
    }

    /// Number of source primes.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Number of target primes.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// in [0, q_i), out [0, q_i): multiplies each limb by its `(Q/q_i)^-1`.
    pub fn scale_inputs(&self, x: &mut [&mut [u64]]) {
        assert_eq!(x.len(), self.sources.len(), "one limb per source prime");
        x.iter_mut().enumerate().for_each(|(i, x)| self.scale_input(i, x));
    }

    /// in [0, q_i), out [0, q_i): the same, for the centred form.
    pub fn scale_inputs_centred(&self, x: &mut [&mut [u64]]) {
        assert_eq!(x.len(), self.sources.len(), "one limb per source prime");
        x.iter_mut().enumerate().for_each(|(i, x)| self.scale_input_centred(i, x));
    }

    /// in [0, q_i), out [0, q_i): multiplies limb `i` by its `(Q/q_i)^-1`.
    pub fn scale_input(&self, i: usize, x: &mut [u64]) {
        let source = &self.sources[i];
        source.limb.check(x);
        source.limb.kernel().scale_offset(source.limb.modulus(), x, &source.scale, 0);
    }

    /// in [0, q_i), out [0, q_i): the same, for the centred form.
    pub fn scale_input_centred(&self, i: usize, x: &mut [u64]) {
        let source = &self.sources[i];
        source.limb.check(x);
        source.limb.kernel().scale_offset(source.limb.modulus(), x, &source.scale, source.half_scaled);
    }

    /// in [0, q_i), out [0, q_i): the same, for the nearest form.
    pub fn scale_input_nearest(&self, i: usize, x: &mut [u64]) {
        match self.quotient_limbs() {
            0 => self.scale_input_centred(i, x),
            _ => self.scale_input(i, x),
        }
    }

    /// Limbs of quotients that the nearest form needs: none for one source, for which the centred form is the nearest.
    pub fn quotient_limbs(&self) -> usize {
        usize::from(self.sources.len() > 1)
    }

    /// in [0, q_i) after [`BaseConversion::scale_input_nearest`], out [0, sources]: the multiple of `Q` that a sum of the sources
    /// has more than `x`.
    pub fn quotients(&self, scaled: &[&[u64]], out: &mut [u64]) {
        self.check_scaled(scaled);
        assert_eq!(out.len(), self.n(), "a limb has N words");
        let fractions: Vec<Fraction> = self.sources.iter().map(|source| source.fraction).collect();
        let kernel = self.sources[0].limb.kernel();
        self.for_each_tile(scaled, |tile, sources| {
            kernel.rounded_sum(&mut out[tile], sources, &fractions, self.fraction_bits);
        });
    }

    /// in [0, q_i) after [`BaseConversion::scale_input_nearest`], with the limbs of [`BaseConversion::quotients`] behind, out
    /// [0, p): residues of the centred representative of `x`, up to its neighbour next to `Q/2`, for several targets.
    pub fn convert_nearest(&self, scaled: &[&[u64]], outs: &mut [(usize, &mut [u64])]) {
        if self.quotient_limbs() == 0 {
            return self.convert_centred(scaled, outs);
        }
        assert_eq!(scaled.len(), self.sources.len() + 1, "one limb per source prime, and quotients");
        self.check_scaled(&scaled[..self.sources.len()]);
        debug_assert!(scaled[self.sources.len()].iter().all(|u| *u <= self.sources.len() as u64));
        outs.iter().for_each(|(_, out)| assert_eq!(out.len(), self.n(), "a limb has N words"));
        self.for_each_tile(scaled, |tile, sources| {
            for (target, out) in &mut *outs {
                self.targets[*target].convert(&mut out[tile.clone()], sources, 0);
            }
        });
    }

    /// in [0, q_i) after [`BaseConversion::scale_inputs`], out [0, p): residues modulo target `target` of `x + u Q`
    /// for some `0 <= u < sources`.
    pub fn convert_to(&self, target: usize, scaled: &[&[u64]], out: &mut [u64]) {
        self.check_scaled(scaled);
        assert_eq!(out.len(), self.n(), "a limb has N words");
        self.targets[target].convert(out, scaled, 0);
    }

    /// in [0, q_i) after [`BaseConversion::scale_inputs_centred`], out [0, p): residues of a number that is `x`
    /// modulo `Q`, at most `Q sources/2` in magnitude, 0 in the mean; for one source the centred representative.
    pub fn convert_centred_to(&self, target: usize, scaled: &[&[u64]], out: &mut [u64]) {
        self.convert_centred(scaled, &mut [(target, out)]);
    }

    /// [`BaseConversion::convert_centred_to`] for several targets and their limbs at once: each part of the sources
    /// is read from memory once for all of them.
    pub fn convert_centred(&self, scaled: &[&[u64]], outs: &mut [(usize, &mut [u64])]) {
        self.check_scaled(scaled);
        outs.iter().for_each(|(_, out)| assert_eq!(out.len(), self.n(), "a limb has N words"));
        self.for_each_tile(scaled, |tile, sources| {
            let zero = self.is_zero(sources);
            for (target, out) in &mut *outs {
                let (target, out) = (&self.targets[*target], &mut out[tile.clone()]);
                if zero {
                    out.fill(0);
                } else {
                    target.convert(out, sources, target.minus_mean);
                }
            }
        });
    }

    /// Calls `work` with each range of words that stays in the first cache, and that part of each source.
    fn for_each_tile(&self, scaled: &[&[u64]], mut work: impl FnMut(Range<usize>, &[&[u64]])) {
        let n = self.n();
        let mut sources: Vec<&[u64]> = Vec::with_capacity(scaled.len());
        for start in (0..n).step_by(TILE_WORDS) {
            let tile = start..n.min(start + TILE_WORDS);
            sources.clear();
            sources.extend(scaled.iter().map(|words| &words[tile.clone()]));
            work(tile, &sources);
        }
    }

    fn n(&self) -> usize {
        self.sources[0].limb.degree().n()
    }

    /// Whether scaled limbs are those of zeros in the centred form; other ones are found out at their first word.
    fn is_zero(&self, scaled: &[&[u64]]) -> bool {
        let mut pairs = scaled.iter().zip(&self.sources);
        pairs.all(|(words, source)| words.iter().all(|word| *word == source.half_scaled))
    }

    fn check_scaled(&self, scaled: &[&[u64]]) {
        assert_eq!(scaled.len(), self.sources.len(), "one limb per source prime");
        scaled.iter().zip(&self.sources).for_each(|(x, source)| source.limb.check(x));
    }
}

impl Source {
    fn new(from: &[Arc<Limb>], i: usize, half_bits: u32) -> Result<Source, RingError> {
        let modulus = from[i].modulus();
        let others = from.iter().enumerate().filter(|&(j, _)| j != i);
        let cofactor = others.fold(1, |product, (_, limb)| modulus.mul(product, limb.modulus().value()));
        // Primes are distinct unless the product of the others vanishes.
        let scale = modulus.inv(cofactor).ok_or(RingError::RepeatedPrime { q: modulus.value() })?;
        // (Q-1)/2 = -1/2 = (q-1)/2 modulo every odd divisor q of Q.
        let half_scaled = if from.len() % 2 == 1 { modulus.mul(scale, modulus.value() / 2) } else { 0 };
        // With y < q < 2^b and h bits: y >> (b-h) is below 2^h, the factor floor(2^(h+b) / q) below 2^(h+1), and their product
        // at most 2^2h y/q, less than 3 2^h short of it.
        let bits = modulus.bits();
        let factor = (1u128 << (half_bits + bits)) / u128::from(modulus.value());
        let fraction = Fraction { shift: bits - half_bits, factor: factor as u32 };
        Ok(Source { limb: from[i].clone(), scale: modulus.factor(scale), half_scaled, fraction })
    }
}

impl Target {
    fn new(from: &[Arc<Limb>], limb: &Arc<Limb>) -> Target {
        let modulus = limb.modulus();
        let kernel = from.iter().fold(limb.kernel(), |kernel, source| kernel.for_modulus(source.modulus()));
        let product = |skipped: Option<usize>| {
            let kept = from.iter().enumerate().filter(|&(j, _)| Some(j) != skipped);
            kept.fold(1, |product, (_, limb)| modulus.mul(product, limb.modulus().value()))
        };
        let all = product(None);
        // k/2 Q for even k; (Q-1)/2 + (k-1)/2 Q for odd k. The inverse of 2 is (p+1)/2.
        let half = modulus.mul(modulus.sub(all, 1), modulus.value().div_ceil(2));
        let multiple = modulus.mul(all, from.len() as u64 / 2);
        let mean = if from.len() % 2 == 1 { modulus.add(half, multiple) } else { multiple };
        let weights = (0..from.len()).map(|i| product(Some(i))).chain([modulus.neg(all)]);
        Target {
            limb: limb.clone(),
            kernel,
            weights: weights.map(|weight| kernel.prepare_weight(modulus, weight)).collect(),
            minus_mean: kernel.prepare_weight(modulus, modulus.neg(mean)),
        }
    }

    /// `offset` and the sources by their weights.
    fn convert(&self, out: &mut [u64], sources: &[&[u64]], offset: u64) {
        self.kernel.convert(self.limb.modulus(), out, sources, &self.weights[..sources.len()], offset);
    }
}
