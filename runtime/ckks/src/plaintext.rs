//! Encoded values: in evaluation form, ready to be multiplied, or as one word per coefficient, free of any level.

use cipherloom_ring::{Evaluation, Limb, Poly, SUBRING_WORDS_MIN};

use crate::{CkksError, Limbs};

/// An encoded value over `q_0 .. q_{limbs-1}, p_0 .. p_{special-1}`, in evaluation form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext {
    poly: Poly<Evaluation>,
    special: usize,
}

impl Plaintext {
    /// A plaintext whose last `special` limbs are modulo special primes.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] where there is no chain limb.
    pub fn new(poly: Poly<Evaluation>, special: usize) -> Result<Plaintext, CkksError> {
        if poly.limbs() <= special {
            return Err(CkksError::TooFewLimbs { have: poly.limbs(), need: special + 1 });
        }
        Ok(Plaintext { poly, special })
    }

    /// Number of chain primes.
    pub fn limbs(&self) -> Limbs {
        Limbs(self.poly.limbs() - self.special)
    }

    /// Number of special primes.
    pub fn special(&self) -> usize {
        self.special
    }

    /// All limbs: chain primes, then special primes.
    pub fn poly(&self) -> &Poly<Evaluation> {
        &self.poly
    }

    /// Limb `target` of a basis of `limbs` chain primes, not more than this has, and special primes.
    pub(crate) fn limb(&self, target: usize, limbs: usize) -> &[u64] {
        self.poly.limb(if target < limbs { target } else { self.limbs().0 + target - limbs })
    }
}

/// An encoded value as signed integers, one per coefficient of the subring that its slots need: `2 slots` words.
///
/// It belongs to no level; [`Encoder::expand`](crate::Encoder::expand) makes a [`Plaintext`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactPlaintext {
    /// Coefficient `j` belongs to `X^(j N / coefficients.len())`.
    coefficients: Box<[i64]>,
    largest: u64,
}

impl CompactPlaintext {
    pub(crate) fn new(coefficients: Vec<i64>) -> CompactPlaintext {
        let largest = coefficients.iter().map(|c| c.unsigned_abs()).max().unwrap_or(0);
        CompactPlaintext { coefficients: coefficients.into(), largest }
    }

    /// The coefficients of `X^(j N / len)`.
    pub fn coefficients(&self) -> &[i64] {
        &self.coefficients
    }

    /// The largest magnitude of a coefficient.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// How many values [`CompactPlaintext::values`] makes in a ring of degree `n`: those of the subring.
    pub(crate) fn value_count(&self, n: usize) -> usize {
        self.coefficients.len().max(SUBRING_WORDS_MIN).min(n)
    }

    /// out [0, q): the values at one prime, in evaluation form, of which the whole limb holds each equally often
    /// ([`repeat_each`](cipherloom_ring::repeat_each)). There are [`CompactPlaintext::value_count`] of them.
    pub(crate) fn values(&self, limb: &Limb, out: &mut [u64]) {
        let (gap, modulus) = (out.len() / self.coefficients.len(), limb.modulus());
        let q = modulus.value();
        let wrap = |c: i64| if c < 0 { (c as u64).wrapping_add(q) } else { c as u64 };
        if gap > 1 {
            out.fill(0);
        }
        let coefficients = self.coefficients.iter();
        match (gap, self.largest < q) {
            (1, true) => out.iter_mut().zip(coefficients).for_each(|(out, &c)| *out = wrap(c)),
            _ => {
                out.iter_mut()
                    .step_by(gap)
                    .zip(coefficients)
                    .for_each(|(out, &c)| *out = modulus.from_i64(c));
            }
        }
        limb.forward_subring(out);
    }
}
