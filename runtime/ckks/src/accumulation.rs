//! A product and integer multiples of values in one sum: what one rescale then serves.
//!
//! `sum = copies * left * right + sum of factor_k value_k`. Polynomials in a ciphertext cost one relinearization and one rescale per
//! such sum, and the rounding of the rescale is the only noise that they add. Which factors bring the terms to the scale of
//! the product is the caller's knowledge. Relies on the imaginary unit being the monomial `X^(N/2)`.

use cipherloom_ring::{Evaluation, Poly};

use crate::{Ciphertext, CkksError, Complex, Context, Limbs};

/// What an integer factor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Multiples of 1.
    One,
    /// Multiples of the imaginary unit.
    Imaginary,
}

/// A value times an integer, or times `i` and an integer.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    /// A value of degree 1 with at least the limbs of the sum.
    pub value: &'a Ciphertext,
    /// How often it is added.
    pub factor: i64,
    /// Of what the factor is a multiple.
    pub unit: Unit,
}

/// A sum to be made over the first `limbs` chain primes; operands with more are used without the rest.
pub struct Accumulation<'a> {
    /// Chain primes of the sum.
    pub limbs: Limbs,
    /// Two factors of degree 1 and how often their product is added.
    pub product: Option<(&'a Ciphertext, &'a Ciphertext, u32)>,
    /// What is added to it.
    pub terms: Vec<Term<'a>>,
}

impl Context {
    /// The sum: of degree 2 where there is a product, else of degree 1.
    ///
    /// # Errors
    /// [`CkksError::Empty`] for no product and no term, [`CkksError::CiphertextDegree`], [`CkksError::TooFewLimbs`] for an
    /// operand with fewer limbs than the sum.
    pub fn accumulate(&self, sum: &Accumulation<'_>) -> Result<Ciphertext, CkksError> {
        let operands = sum.product.iter().flat_map(|(left, right, _)| [*left, *right]);
        for value in operands.chain(sum.terms.iter().map(|term| term.value)) {
            let have = self.check_degree(value, 1)?;
            if have < sum.limbs.0 {
                return Err(CkksError::TooFewLimbs { have, need: sum.limbs.0 });
            }
        }
        if sum.limbs.0 == 0 || (sum.product.is_none() && sum.terms.is_empty()) {
            return Err(CkksError::Empty);
        }
        let unit = self.imaginary_unit(sum.limbs)?;
        let parts = if sum.product.is_some() { 3 } else { 2 };
        Ciphertext::new(self.fill(parts, sum.limbs.0, |part, i, out| {
            out.fill(0);
            self.add_terms(sum, Unit::Imaginary, part, i, out);
            if sum.terms.iter().any(|term| term.unit == Unit::Imaginary) {
                self.limb(i).mul(out, unit.limb(i));
            }
            self.add_terms(sum, Unit::One, part, i, out);
            self.add_product(sum, part, i, out);
        }))
    }

    /// `i a`.
    ///
    /// # Errors
    /// Where `a` belongs to another context.
    pub fn mul_imaginary(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        let unit = self.imaginary_unit(Limbs(limbs))?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            self.limb(i).mul(out, unit.limb(i));
        }))
    }

    /// `a` plus an integer in every slot: a real constant times its scale.
    ///
    /// # Errors
    /// Where `a` belongs to another context.
    pub fn add_scalar(&self, a: &Ciphertext, constant: i64) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.copy_from_slice(a.part(part).limb(i));
            if part == 0 {
                // A constant polynomial has the same value everywhere.
                let modulus = self.limb(i).modulus();
                let residue = modulus.from_i64(constant);
                out.iter_mut().for_each(|x| *x = modulus.add(*x, residue));
            }
        }))
    }

    fn add_terms(&self, sum: &Accumulation<'_>, unit: Unit, part: usize, i: usize, out: &mut [u64]) {
        for term in sum.terms.iter().filter(|term| term.unit == unit) {
            if let Some(words) = term.value.parts().get(part) {
                let factor = self.limb(i).modulus().from_i64(term.factor);
                self.limb(i).mul_scalar_add(out, words.limb(i), factor);
            }
        }
    }

    fn add_product(&self, sum: &Accumulation<'_>, part: usize, i: usize, out: &mut [u64]) {
        let Some((left, right, copies)) = sum.product else { return };
        let limb = self.limb(i);
        for _ in 0..copies {
            for l in 0..2 {
                if let Some(r @ 0..2) = part.checked_sub(l) {
                    limb.mul_add(out, left.part(l).limb(i), right.part(r).limb(i));
                }
            }
        }
    }

    fn imaginary_unit(&self, limbs: Limbs) -> Result<Poly<Evaluation>, CkksError> {
        let plain = self.encoder().encode_complex(&[Complex { re: 0.0, im: 1.0 }], 1.0, limbs, 0)?;
        Ok(plain.poly().clone())
    }
}
