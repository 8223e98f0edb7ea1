//! A product and integer multiples of values in one sum: what one rescale then serves.
//!
//! `sum = copies * left * right + sum of factor_k value_k`. Polynomials in a ciphertext cost one relinearization and one rescale per
//! such sum, and the rounding of the rescale is the only noise that they add. Which factors bring the terms to the scale of
//! the product is the caller's knowledge.

use crate::{Ciphertext, CkksError, Context, Limbs};

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
        let parts = if sum.product.is_some() { 3 } else { 2 };
        Ciphertext::new(self.fill(parts, sum.limbs.0, |part, i, out| {
            self.set_product(sum, part, i, out);
            let terms = sum.terms.iter().filter_map(|term| Some((term, term.value.parts().get(part)?)));
            for (term, words) in terms {
                let factor = self.limb(i).modulus().from_i64(term.factor);
                match term.unit {
                    Unit::One => self.limb(i).mul_scalar_add(out, words.limb(i), factor),
                    Unit::Imaginary => self.add_imaginary_multiple(i, out, words.limb(i), factor),
                }
            }
        }))
    }

    /// `i a`.
    ///
    /// # Errors
    /// Where `a` belongs to another context.
    pub fn mul_imaginary(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let limbs = self.check(a)?;
        Ciphertext::new(self.fill(a.parts().len(), limbs, |part, i, out| {
            out.fill(0);
            self.add_imaginary_multiple(i, out, a.part(part).limb(i), 1);
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

    /// out: the product's part, or zero.
    fn set_product(&self, sum: &Accumulation<'_>, part: usize, i: usize, out: &mut [u64]) {
        let Some((left, right, copies)) = sum.product else { return out.fill(0) };
        let pairs = (0..2).filter_map(|l| Some((l, part.checked_sub(l).filter(|r| *r < 2)?)));
        let products: Vec<_> = pairs.map(|(l, r)| (left.part(l).limb(i), right.part(r).limb(i))).collect();
        self.limb(i).sum_of_products(out, &products);
        if copies != 1 {
            self.limb(i).mul_scalar(out, copies.into());
        }
    }
}
