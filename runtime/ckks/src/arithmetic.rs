//! Sums and products of ciphertexts and plaintexts, limb by limb.
//!
//! Binary operations need equal numbers of limbs; a plaintext may have more. Scales are not known here: to add values
//! of equal scales is the caller's duty.

use cipherloom_ring::{Evaluation, Poly};

use crate::{Ciphertext, CkksError, Context, Extended, Limbs, Plaintext};

/// Integer factors are below this in magnitude.
const SCALAR_MAX: f64 = (1u64 << 62) as f64;

impl Context {
    /// `a + b`, of the larger degree of the two.
    ///
    /// # Errors
    /// [`CkksError::LimbMismatch`], or an operand of another context.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check_pair(a, b)?;
        let (long, short) = if a.degree() >= b.degree() { (a, b) } else { (b, a) };
        Ciphertext::new(self.fill(long.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(long.part(part).limb(i));
            if let Some(other) = short.parts().get(part) {
                self.limb(i).add(out, other.limb(i));
            }
        }))
    }

    /// `a - b`, of the larger degree of the two.
    ///
    /// # Errors
    /// As [`Context::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check_pair(a, b)?;
        let parts = a.parts().len().max(b.parts().len());
        Ciphertext::new(self.fill(parts, limbs, |part, i, out| {
            match (a.parts().get(part), b.parts().get(part)) {
                (Some(a), b) => {
                    out.copy_from_slice(a.limb(i));
                    if let Some(b) = b {
                        self.limb(i).sub(out, b.limb(i));
                    }
                }
                (None, Some(b)) => {
                    out.copy_from_slice(b.limb(i));
                    self.limb(i).neg(out);
                }
                (None, None) => {}
            }
        }))
    }

    /// `-a`.
    ///
    /// # Errors
    /// Where `a` belongs to another context.
    pub fn neg(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            self.limb(i).neg(out);
        }))
    }

    /// `a + plain`.
    ///
    /// # Errors
    /// [`CkksError::PlaintextBasis`] where the plaintext has fewer limbs than `a`.
    pub fn add_plain(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        self.check_plain(plain, Limbs(limbs), 0)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            if part == 0 {
                self.limb(i).add(out, plain.poly().limb(i));
            }
        }))
    }

    /// `a plain`, slot by slot. Scales multiply.
    ///
    /// # Errors
    /// As [`Context::add_plain`].
    pub fn mul_plain(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        self.check_plain(plain, Limbs(limbs), 0)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            self.limb(i).mul(out, plain.poly().limb(i));
        }))
    }

    /// `a + i b`: the complex slots whose real and imaginary parts are those of real `a` and `b`. The imaginary unit is
    /// the monomial `X^(N/2)`: no noise, no scale.
    ///
    /// # Errors
    /// As [`Context::add`]; [`CkksError::CiphertextDegree`] unless both have the same degree.
    pub fn add_imaginary(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check_pair(a, b)?;
        self.check_degree(b, a.degree())?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            self.add_imaginary_multiple(i, out, b.part(part).limb(i), 1);
        }))
    }

    /// `out += factor i words` at chain prime `prime`, `i` the imaginary unit, the monomial `X^(N/2)`: at index `j`, for `psi^(2
    /// bitrev(j) + 1)`, it is `psi^(N/2)` in the first half of the indices and minus that in the second.
    pub(crate) fn add_imaginary_multiple(&self, prime: usize, out: &mut [u64], words: &[u64], factor: u64) {
        let (limb, half) = (self.limb(prime), self.n() / 2);
        let modulus = limb.modulus();
        let first = modulus.mul(modulus.pow(limb.root(), half as u64), factor);
        let halves = out.chunks_exact_mut(half).zip(words.chunks_exact(half));
        for ((out, words), factor) in halves.zip([first, modulus.neg(first)]) {
            limb.mul_scalar_add_tile(out, words, factor);
        }
    }

    /// `a` times the integer nearest to `constant`: a real constant times its scale. Scales multiply.
    ///
    /// # Errors
    /// [`CkksError::Coefficient`] unless `constant` is finite and below `2^62`.
    pub fn mul_scalar(&self, a: &Ciphertext, constant: f64) -> Result<Ciphertext, CkksError> {
        if !constant.is_finite() || constant.abs() >= SCALAR_MAX {
            return Err(CkksError::Coefficient { value: constant });
        }
        let integer = constant.round_ties_even() as i64;
        let limbs = self.check(a)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            self.limb(i).mul_scalar(out, self.limb(i).modulus().from_i64(integer));
        }))
    }

    /// `a b`, of degree 2. Scales multiply.
    ///
    /// # Errors
    /// [`CkksError::LimbMismatch`]; [`CkksError::CiphertextDegree`] unless both have degree 1.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.sum_of_products(&[(a, b)])
    }

    /// `sum of a_k b_k`, of degree 2, every coefficient reduced once.
    ///
    /// # Errors
    /// As [`Context::mul`]; [`CkksError::Empty`] for no terms.
    pub fn sum_of_products(&self, terms: &[(&Ciphertext, &Ciphertext)]) -> Result<Ciphertext, CkksError> {
        let &(first, _) = terms.first().ok_or(CkksError::Empty)?;
        let limbs = self.check_degree(first, 1)?;
        for (a, b) in terms {
            self.check_degree(a, 1)?;
            self.check_degree(b, 1)?;
            self.check_pair(first, a)?;
            self.check_pair(first, b)?;
        }
        Ciphertext::new(self.fill(3, limbs, |part, i, out| {
            let mut products = Vec::with_capacity(2 * terms.len());
            for (a, b) in terms {
                let product = |l: usize, r: usize| (a.part(l).limb(i), b.part(r).limb(i));
                match part {
                    0 => products.push(product(0, 0)),
                    1 => products.extend([product(0, 1), product(1, 0)]),
                    _ => products.push(product(1, 1)),
                }
            }
            self.limb(i).sum_of_products(out, &products);
        }))
    }

    /// The first `to` limbs of `a`: the same value at a lower level.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] unless `1 <= to <= limbs`.
    pub fn drop_to(&self, a: &Ciphertext, to: Limbs) -> Result<Ciphertext, CkksError> {
        let have = self.check(a)?;
        if to.0 == 0 || to.0 > have {
            return Err(CkksError::TooFewLimbs { have, need: to.0.max(1) });
        }
        let first =
            |part: &Poly<Evaluation>| Poly::from_slice(self.degree(), &part.as_slice()[..to.0 * self.n()]);
        let parts = a.parts().iter().map(first).collect::<Option<_>>();
        Ciphertext::new(parts.ok_or(CkksError::TooFewLimbs { have, need: to.0 })?)
    }

    /// Brings `a` to `to` limbs and another scale: its first `to + 1` limbs times `factor`, then rescaled.
    ///
    /// # Errors
    /// [`CkksError::TooFewLimbs`] unless `1 <= to < limbs`.
    pub fn adjust(&self, a: &Ciphertext, factor: u64, to: Limbs) -> Result<Ciphertext, CkksError> {
        let mut dropped = self.drop_to(a, Limbs(to.0.saturating_add(1)))?;
        for part in dropped.parts_mut() {
            let limbs = part.limbs_mut().zip(self.chain());
            self.for_each(limbs, 0, |(words, limb), _| limb.mul_scalar(words, factor));
        }
        self.rescale(&dropped)
    }

    /// Checks that `a` belongs to this context; gives its number of limbs.
    pub(crate) fn check(&self, a: &Ciphertext) -> Result<usize, CkksError> {
        self.check_poly(a.part(0))?;
        Ok(a.limbs().0)
    }

    pub(crate) fn check_poly(&self, poly: &Poly<Evaluation>) -> Result<(), CkksError> {
        if poly.degree() != self.degree() {
            return Err(CkksError::RingDegree { found: poly.degree().n(), expected: self.n() });
        }
        let (have, max) = (poly.limbs(), self.chain().len());
        if have > max { Err(CkksError::TooManyLimbs { have, max }) } else { Ok(()) }
    }

    pub(crate) fn check_extended(&self, a: &Extended) -> Result<(), CkksError> {
        for (have, max) in [(a.limbs().0, self.chain().len()), (a.special(), self.special().len())] {
            if have > max {
                return Err(CkksError::TooManyLimbs { have, max });
            }
        }
        let (found, expected) = (a.part(0).degree().n(), self.n());
        if found == expected { Ok(()) } else { Err(CkksError::RingDegree { found, expected }) }
    }

    pub(crate) fn check_degree(&self, a: &Ciphertext, expected: usize) -> Result<usize, CkksError> {
        if a.degree() != expected {
            return Err(CkksError::CiphertextDegree { found: a.degree(), expected });
        }
        self.check(a)
    }

    pub(crate) fn check_pair(&self, a: &Ciphertext, b: &Ciphertext) -> Result<usize, CkksError> {
        let (left, right) = (self.check(a)?, self.check(b)?);
        if left == right { Ok(left) } else { Err(CkksError::LimbMismatch { left, right }) }
    }

    pub(crate) fn check_plain(
        &self,
        plain: &Plaintext,
        need: Limbs,
        special: usize,
    ) -> Result<(), CkksError> {
        if plain.poly().degree() != self.degree() {
            return Err(CkksError::RingDegree { found: plain.poly().degree().n(), expected: self.n() });
        }
        if plain.limbs() < need || plain.special() < special {
            return Err(CkksError::PlaintextBasis {
                limbs: plain.limbs().0,
                special: plain.special(),
                need_limbs: need.0,
                need_special: special,
            });
        }
        Ok(())
    }
}
