//! Encoded values: in evaluation form, ready to be multiplied, or as one word per coefficient, free of any level.

use cipherloom_ring::{Evaluation, Limb, Modulus, Poly};

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

    /// out [0, q): the values at one prime, in evaluation form. There are no more coefficients than the limb has.
    pub(crate) fn expand_limb(&self, limb: &Limb, out: &mut [u64]) {
        spread(out, &self.coefficients, self.largest, limb.modulus());
        limb.forward(out);
    }
}

/// out [0, q): the coefficients, of magnitude up to `largest`, at equal distances.
fn spread(out: &mut [u64], coefficients: &[i64], largest: u64, modulus: &Modulus) {
    let gap = out.len() / coefficients.len();
    let q = modulus.value();
    let wrap = |c: i64| if c < 0 { (c as u64).wrapping_add(q) } else { c as u64 };
    if gap > 1 {
        out.fill(0);
    }
    match (gap, largest < q) {
        (1, true) => out.iter_mut().zip(coefficients).for_each(|(out, &c)| *out = wrap(c)),
        (_, true) => out.iter_mut().step_by(gap).zip(coefficients).for_each(|(out, &c)| *out = wrap(c)),
        _ => out.iter_mut().step_by(gap).zip(coefficients).for_each(|(out, &c)| *out = modulus.from_i64(c)),
    }
}
