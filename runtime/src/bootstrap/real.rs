//! Bootstrapping of real slots: imaginary parts are not reduced, and vanish.
//!
//! Half of the coefficients hold the real parts and half the imaginary ones. One real value needs the reduction of the first half alone; two
//! values, the second as the imaginary part of the first, share everything but their reductions and joins.

use super::Bootstrapper;
use crate::keys::KeySet;
use cipherloom_ckks::{Ciphertext, CkksError};
use cipherloom_ir::scheme::KeyKind;

impl Bootstrapper {
    /// The real parts of `a`'s slots, with `a` as [`Bootstrapper::run`] takes it: one reduction instead of two.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn run_real(&self, a: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let raised = self.raise(&self.slots_to_coefficients(a, keys)?, keys)?;
        let [real, _] = self.coefficients_to_slots(&raised, keys)?;
        self.join_real(&self.reduce(&real, keys)?, keys)
    }

    /// Two values with real slots, each as [`Bootstrapper::run_real`] gives it, by one pass through the transforms. Both must be real: what `b`
    /// has of imaginary parts is taken from `a`.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`], and the engine's where the two have different levels.
    pub fn run_pair(&self, [a, b]: [&Ciphertext; 2], keys: &KeySet) -> Result<[Ciphertext; 2], CkksError> {
        let both = self.context.add(a, &self.context.mul_imaginary(b)?)?;
        let raised = self.raise(&self.slots_to_coefficients(&both, keys)?, keys)?;
        let [real, imaginary] = self.coefficients_to_slots(&raised, keys)?;
        let single = |half| self.join_real(&self.reduce(half, keys)?, keys);
        Ok([single(&real)?, single(&imaginary)?])
    }

    /// Step 5 of one half: a real value, at the canonical scale of the output's level.
    fn join_real(&self, half: &Ciphertext, keys: &KeySet) -> Result<Ciphertext, CkksError> {
        let turned = self.context.mul_imaginary(half)?;
        let key = keys.planned(KeyKind::Conjugation, self.plan.gadget)?;
        let conjugate = self.context.conjugate(&turned, key)?;
        self.context.rescale(&self.context.add(&turned, &conjugate)?)
    }
}
