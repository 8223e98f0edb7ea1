//! Rotation, conjugation, relinearization, encapsulation: a key switch, then at most one automorphism.
//!
//! The key of element `g` switches `s` to `phi_g^-1(s)`, so that `phi_g` is applied to the two results and digits are
//! never permuted; one decomposition serves any number of rotations (hoisting: Halevi and Shoup, ePrint 2018/244).

use cipherloom_ring::{Evaluation, Poly};

use crate::division::{Division, Source, pair, transposed};
use crate::keyswitch::{Addend, Digits, Hoisted};
use crate::{
    Ciphertext, CkksError, Context, EvaluationKey, Extended, Gadget, GaloisElement, KeyTarget, Limbs,
    Plaintext, RotationStep,
};

impl Context {
    /// The image of `a` under the automorphism of `key`: a rotation of the slots.
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] unless `a` has degree 1, [`CkksError::KeyTarget`] for a relinearization key,
    /// [`CkksError::KeyLimbs`] for a key of fewer limbs.
    pub fn rotate(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        let (_, element) = self.check_rotation(a, key)?;
        let digits = self.digits(a.part(1), key.gadget())?;
        self.rotate_digits(&digits, a, key, element)
    }

    /// The conjugate of every slot.
    ///
    /// # Errors
    /// As [`Context::rotate`]; [`CkksError::KeyTarget`] unless the key is for conjugation.
    pub fn conjugate(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        let expected = KeyTarget::Galois(GaloisElement::conjugation(self.degree()));
        self.check_key(key, expected, self.check_degree(a, 1)?)?;
        self.rotate(a, key)
    }

    /// Brings a product of degree 2 back to degree 1.
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] unless `a` has degree 2, [`CkksError::KeyTarget`], [`CkksError::KeyLimbs`].
    pub fn relinearize(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        self.relinearize_dropping(a, key, 0)
    }

    /// Relinearizes and rescales with one division by `P q`, where `q` is the last prime of `a`.
    ///
    /// # Errors
    /// As [`Context::relinearize`], and [`CkksError::TooFewLimbs`] for a value of one limb.
    pub fn relinearize_rescale(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        self.relinearize_dropping(a, key, 1)
    }

    /// The same message under the ephemeral sparse secret (ePrint 2022/024).
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] unless `a` has degree 1, [`CkksError::KeyTarget`], [`CkksError::KeyLimbs`].
    pub fn encapsulate(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        self.switch(a, key, KeyTarget::Encapsulation)
    }

    /// The same message, from the ephemeral sparse secret back to the main one.
    ///
    /// # Errors
    /// As [`Context::encapsulate`].
    pub fn decapsulate(&self, a: &Ciphertext, key: &EvaluationKey) -> Result<Ciphertext, CkksError> {
        self.switch(a, key, KeyTarget::Decapsulation)
    }

    /// Decomposes `a` once for many rotations by keys of this gadget.
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] unless `a` has degree 1, [`CkksError::Gadget`].
    pub fn hoist(&self, a: &Ciphertext, gadget: Gadget) -> Result<Hoisted, CkksError> {
        self.check_degree(a, 1)?;
        self.decompose(a.part(1), gadget)
    }

    /// [`Context::rotate`] of the ciphertext `a` that `hoisted` was made from.
    ///
    /// # Errors
    /// As [`Context::rotate`]; [`CkksError::GadgetMismatch`] or [`CkksError::LimbMismatch`] where the three do not
    /// belong together.
    pub fn rotate_hoisted(
        &self,
        hoisted: &Hoisted,
        a: &Ciphertext,
        key: &EvaluationKey,
    ) -> Result<Ciphertext, CkksError> {
        let (limbs, element) = self.check_rotation(a, key)?;
        self.check_hoisted(hoisted, limbs, key)?;
        self.rotate_digits(hoisted, a, key, element)
    }

    /// `P` times [`Context::rotate_hoisted`], without its division by `P`.
    ///
    /// # Errors
    /// As [`Context::rotate_hoisted`].
    pub fn rotate_extended(
        &self,
        hoisted: &Hoisted,
        a: &Ciphertext,
        key: &EvaluationKey,
    ) -> Result<Extended, CkksError> {
        let (limbs, element) = self.check_rotation(a, key)?;
        self.check_hoisted(hoisted, limbs, key)?;
        let automorphism = self.automorphism(element)?;
        let special = key.gadget().special_limbs;
        let source = self.switched(hoisted, key, limbs, [Addend::Plain(a.part(0)), Addend::None])?;
        let mut parts: Vec<_> = (0..2).map(|_| Poly::unspecified(self.degree(), limbs + special)).collect();
        self.for_each(transposed(&mut parts).enumerate(), 2, |(target, outs), room| {
            let ready = source.prepare(&[target], &mut []);
            for (out, words) in outs.into_iter().zip(source.load(target, &ready[0], room)) {
                automorphism.apply_evaluation(words, out);
            }
        });
        Extended::new(parts, special)
    }

    /// `P a` over chain and special primes: a value that was not rotated, to be summed with values that were.
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] unless `a` has degree 1, [`CkksError::TooManyLimbs`] for too many special primes.
    pub fn extend(&self, a: &Ciphertext, special: usize) -> Result<Extended, CkksError> {
        let limbs = self.check_degree(a, 1)?;
        if special > self.special().len() {
            return Err(CkksError::TooManyLimbs { have: special, max: self.special().len() });
        }
        let product = self.special_product(special)?;
        let parts = self.fill(2, limbs + special, |part, target, out| {
            if target < limbs {
                out.copy_from_slice(a.part(part).limb(target));
                self.limb(target).mul_scalar(out, product.product[target]);
            } else {
                out.fill(0);
            }
        });
        Extended::new(parts, special)
    }

    /// `sum of a_k plain_k` over chain and special primes.
    ///
    /// # Errors
    /// [`CkksError::Empty`], [`CkksError::LimbMismatch`], [`CkksError::PlaintextBasis`].
    pub fn sum_of_products_extended(&self, terms: &[(&Extended, &Plaintext)]) -> Result<Extended, CkksError> {
        let &(first, _) = terms.first().ok_or(CkksError::Empty)?;
        let (Limbs(limbs), special) = (first.limbs(), first.special());
        for (a, plain) in terms {
            self.check_extended(a)?;
            for (left, right) in [(limbs, a.limbs().0), (special, a.special())] {
                if left != right {
                    return Err(CkksError::LimbMismatch { left, right });
                }
            }
            self.check_plain(plain, Limbs(limbs), special)?;
        }
        let mut parts: Vec<_> = (0..2).map(|_| Poly::unspecified(self.degree(), limbs + special)).collect();
        self.for_each(transposed(&mut parts).enumerate(), 0, |(target, outs), _| {
            let plains: Vec<&[u64]> = terms.iter().map(|(_, plain)| plain.limb(target, limbs)).collect();
            let part = |part: usize| -> Vec<&[u64]> {
                terms.iter().map(|(a, _)| a.part(part).limb(target)).collect()
            };
            self.basis_limb(limbs, target).pair_of_sums(pair(outs), &plains, [&part(0), &part(1)]);
        });
        Extended::new(parts, special)
    }

    /// `P` times a polynomial over the chain primes, over these.
    pub(crate) fn times_special(
        &self,
        a: &Poly<Evaluation>,
        special: usize,
    ) -> Result<Poly<Evaluation>, CkksError> {
        let product = self.special_product(special)?;
        let mut result = Poly::unspecified(self.degree(), a.limbs());
        self.for_each(result.limbs_mut().enumerate(), 0, |(i, out), _| {
            out.copy_from_slice(a.limb(i));
            self.limb(i).mul_scalar(out, product.product[i]);
        });
        Ok(result)
    }

    fn relinearize_dropping(
        &self,
        a: &Ciphertext,
        key: &EvaluationKey,
        rescales: usize,
    ) -> Result<Ciphertext, CkksError> {
        let limbs = self.check_degree(a, 2)?;
        self.check_key(key, KeyTarget::Relinearization, limbs)?;
        let digits = self.digits(a.part(2), key.gadget())?;
        let source =
            self.switched(&digits, key, limbs, [Addend::Plain(a.part(0)), Addend::Plain(a.part(1))])?;
        let division = Division { limbs, special: key.gadget().special_limbs, rescales };
        Ciphertext::new(self.divide(division, &source, None)?)
    }

    fn switch(
        &self,
        a: &Ciphertext,
        key: &EvaluationKey,
        expected: KeyTarget,
    ) -> Result<Ciphertext, CkksError> {
        let limbs = self.check_degree(a, 1)?;
        self.check_key(key, expected, limbs)?;
        let digits = self.digits(a.part(1), key.gadget())?;
        let source = self.switched(&digits, key, limbs, [Addend::Plain(a.part(0)), Addend::None])?;
        let division = Division { limbs, special: key.gadget().special_limbs, rescales: 0 };
        Ciphertext::new(self.divide(division, &source, None)?)
    }

    /// Inner product, division by `P`, automorphism.
    fn rotate_digits(
        &self,
        digits: &impl Digits,
        a: &Ciphertext,
        key: &EvaluationKey,
        element: GaloisElement,
    ) -> Result<Ciphertext, CkksError> {
        let limbs = a.limbs().0;
        let automorphism = self.automorphism(element)?;
        let source = self.switched(digits, key, limbs, [Addend::Plain(a.part(0)), Addend::None])?;
        let division = Division { limbs, special: key.gadget().special_limbs, rescales: 0 };
        Ciphertext::new(self.divide(division, &source, Some(&automorphism))?)
    }

    fn check_rotation(
        &self,
        a: &Ciphertext,
        key: &EvaluationKey,
    ) -> Result<(usize, GaloisElement), CkksError> {
        let limbs = self.check_degree(a, 1)?;
        let KeyTarget::Galois(element) = key.target() else {
            let expected = KeyTarget::Galois(RotationStep(1).element(self.degree()));
            return Err(CkksError::KeyTarget { found: key.target(), expected });
        };
        self.check_key(key, key.target(), limbs)?;
        Ok((limbs, element))
    }

    fn check_hoisted(&self, hoisted: &Hoisted, limbs: usize, key: &EvaluationKey) -> Result<(), CkksError> {
        if hoisted.limbs != limbs {
            return Err(CkksError::LimbMismatch { left: hoisted.limbs, right: limbs });
        }
        check_gadgets(hoisted.gadget, key.gadget())
    }
}

/// Checks that two gadgets are the same.
pub(crate) fn check_gadgets(a: Gadget, b: Gadget) -> Result<(), CkksError> {
    let pairs = [
        ("limbs per digit", a.digit_limbs, b.digit_limbs),
        ("special primes", a.special_limbs, b.special_limbs),
    ];
    match pairs.into_iter().find(|(_, left, right)| left != right) {
        Some((what, left, right)) => Err(CkksError::GadgetMismatch { what, left, right }),
        None => Ok(()),
    }
}
