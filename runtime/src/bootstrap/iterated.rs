//! Bootstrapping what a bootstrapping left, after `ir/src/scheme/bootstrap/iteration.rs`: more precision for twice the time.

use super::{Bootstrapper, limbs};
use crate::keys::KeySet;
use cipherloom_ckks::{Accumulation, Ciphertext, CkksError, Term, Unit};
use cipherloom_ir::scheme::Iteration;

impl Bootstrapper {
    /// The value of `a`, at the plan's input level and its canonical scale, at the iteration's output level, by two bootstrappings.
    ///
    /// # Errors
    /// As [`Bootstrapper::run`].
    pub fn run_twice(
        &self,
        a: &Ciphertext,
        iteration: &Iteration,
        keys: &KeySet,
    ) -> Result<Ciphertext, CkksError> {
        let context = &self.context;
        let input = limbs(self.plan.input);
        let first = self.run(a, keys)?;
        let a = context.drop_to(a, input)?;
        let difference = context.sub(&a, &context.adjust(&first, iteration.lower, input)?)?;
        let shifted = context.mul_scalar(&difference, 2f64.powi(iteration.shift_bits as i32))?;
        let second = self.run(&shifted, keys)?;
        let term = |value, factor: u64| Term { value, factor: factor as i64, unit: Unit::One };
        let sum = Accumulation {
            limbs: limbs(self.plan.output),
            product: None,
            terms: vec![term(&first, iteration.first), term(&second, iteration.second)],
        };
        context.rescale(&context.accumulate(&sum)?)
    }
}
