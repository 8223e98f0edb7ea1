//! Fast base conversion: residues modulo `q_0 .. q_k`, `Q` their product, to residues modulo other primes.
//!
//! With `y_i = [x_i (Q/q_i)^-1]` modulo `q_i`, `x = sum y_i Q/q_i - u Q` for one `0 <= u < k`: the conversion gives
//! `x + u Q` modulo the target. The centred form takes the mean out of `u`, so that of what is divided by `Q` afterwards
//! no offset remains to meet the secret: for odd `k` it converts `x + (Q-1)/2` and subtracts `(Q-1)/2 + Q (k-1)/2`, for
//! even `k` it converts `x` and subtracts `Q k/2`. Its result is congruent to `x` modulo `Q`, at most `Q k/2` in
//! magnitude, and 0 in the mean for uniform `x`; for one prime it is the centred representative itself. Zeros are not uniform: a tile of
//! them is converted to zeros, else a multiple of `Q` in every coefficient would add up in the slots near the root of unity 1.
//! Integer arithmetic only. Source: Bajard, Eynard, Hasan, Zucca, SAC 2016 (ePrint 2016/510), section 3.

use std::sync::Arc;

use crate::kernel::Kernel;
use crate::modulus::Factor;
use crate::{Limb, RingError};

/// Words of each source that are converted to several targets while they are in the first cache.
const TILE_WORDS: usize = 256;

/// Conversion from one basis of primes to several targets.
#[derive(Debug)]
pub struct BaseConversion {
    sources: Vec<Source>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Source {
    limb: Arc<Limb>,
    /// `(Q/q_i)^-1`.
    scale: Factor,
    /// `(Q-1)/2 * (Q/q_i)^-1` for an odd number of sources, else 0.
    half_scaled: u64,
}

#[derive(Debug)]
struct Target {
    limb: Arc<Limb>,
    kernel: Kernel,
    /// `Q/q_i` modulo the target, in the kernel's form.
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
        let sources = (0..from.len()).map(|i| Source::new(from, i)).collect::<Result<_, _>>()?;
        let targets = to.iter().map(|limb| Target::new(from, limb)).collect();
        Ok(BaseConversion { sources, targets })
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

    /// in [0, q_i) after [`BaseConversion::scale_inputs`], out [0, p): residues modulo target `target` of `x + u Q`
    /// for some `0 <= u < sources`.
    pub fn convert_to(&self, target: usize, scaled: &[&[u64]], out: &mut [u64]) {
        self.check_scaled(scaled);
        let target = &self.targets[target];
        assert_eq!(out.len(), target.limb.degree().n(), "a limb has N words");
        target.kernel.convert(target.limb.modulus(), out, scaled, &target.weights, 0);
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
        if outs.is_empty() {
            return;
        }
        let n = self.sources[0].limb.degree().n();
        outs.iter().for_each(|(_, out)| assert_eq!(out.len(), n, "a limb has N words"));
        let mut sources: Vec<&[u64]> = Vec::with_capacity(scaled.len());
        for start in (0..n).step_by(TILE_WORDS) {
            let tile = start..n.min(start + TILE_WORDS);
            sources.clear();
            sources.extend(scaled.iter().map(|words| &words[tile.clone()]));
            let zero = self.is_zero(&sources);
            for (target, out) in &mut *outs {
                let target = &self.targets[*target];
                let (modulus, out) = (target.limb.modulus(), &mut out[tile.clone()]);
                if zero {
                    out.fill(0);
                    continue;
                }
                target.kernel.convert(modulus, out, &sources, &target.weights, target.minus_mean);
            }
        }
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
    fn new(from: &[Arc<Limb>], i: usize) -> Result<Source, RingError> {
        let modulus = from[i].modulus();
        let others = from.iter().enumerate().filter(|&(j, _)| j != i);
        let cofactor = others.fold(1, |product, (_, limb)| modulus.mul(product, limb.modulus().value()));
        // Primes are distinct unless the product of the others vanishes.
        let scale = modulus.inv(cofactor).ok_or(RingError::RepeatedPrime { q: modulus.value() })?;
        // (Q-1)/2 = -1/2 = (q-1)/2 modulo every odd divisor q of Q.
        let half_scaled = if from.len() % 2 == 1 { modulus.mul(scale, modulus.value() / 2) } else { 0 };
        Ok(Source { limb: from[i].clone(), scale: modulus.factor(scale), half_scaled })
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
        Target {
            limb: limb.clone(),
            kernel,
            weights: (0..from.len()).map(|i| kernel.prepare_weight(modulus, product(Some(i)))).collect(),
            minus_mean: kernel.prepare_weight(modulus, modulus.neg(mean)),
        }
    }
}
