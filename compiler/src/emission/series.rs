//! Emission of Chebyshev series, one ciphertext at a time.
//!
//! Relies on [`series`](crate::activation::series): `p = Σ high_m · T_m + a + b·t`, m falling from the largest power of two, each
//! `high_m` again of this kind. Promises: the result is canonical, as many levels below the operand as
//! [`Form::depth`](crate::activation::form::Form::depth) says; products with numbers are taken at the scale of the products that
//! they join.

use super::Emitter;
use crate::activation::series::{depth, divide};
use crate::error::CompileError;
use cipherloom_ir::ValueId;
use cipherloom_ir::scheme::Level;

/// T_1, T_2, T_4 … of a value, each a level below the one before.
struct Basis {
    top: Level,
    powers: Vec<ValueId>,
}

/// A part of a polynomial.
enum Part {
    Constant(f64),
    Value(ValueId),
}

impl Emitter<'_> {
    /// `Σ c_k T_k(t)` with `range` mapped to [−1, 1]; the range has width 2, so that the mapping is a shift.
    pub(super) fn series(
        &mut self,
        u: ValueId,
        coefficients: &[f64],
        [low, high]: [f64; 2],
    ) -> Result<ValueId, CompileError> {
        let t = self.plus(u, -(low + high) / 2.0)?;
        let mut basis = Basis { top: self.builder.level(t), powers: vec![t] };
        for _ in 1..depth(coefficients.len() - 1) {
            let last = basis.powers[basis.powers.len() - 1];
            let square = self.square(last)?;
            let doubled = self.builder.add(square, square)?;
            basis.powers.push(self.plus(doubled, -1.0)?);
        }
        match self.part(&basis, coefficients)? {
            Part::Value(value) => Ok(value),
            Part::Constant(_) => Err(CompileError::Internal("a polynomial is a constant".into())),
        }
    }

    /// The value of a part, `depth` levels below the variable.
    fn part(&mut self, basis: &Basis, coefficients: &[f64]) -> Result<Part, CompileError> {
        let degree = coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0);
        if degree == 0 {
            return Ok(Part::Constant(coefficients[0]));
        }
        let level = Level(basis.top.0 + 1 - depth(degree));
        let mut rest = coefficients[..=degree].to_vec();
        let (mut products, mut scaled) = (vec![], vec![]);
        for k in (1..depth(degree) as usize).rev() {
            if rest.len() <= 1 << k {
                continue;
            }
            let [high, low] = divide(&rest, 1 << k);
            match self.part(basis, &high)? {
                Part::Constant(factor) => scaled.push((basis.powers[k], factor)),
                Part::Value(value) => {
                    products.push((self.lowered(value, level)?, self.lowered(basis.powers[k], level)?));
                }
            }
            rest = low;
        }
        scaled.push((basis.powers[0], rest.get(1).copied().unwrap_or(0.0)));
        let mut sum = match products[..] {
            [] => None,
            [(x, y)] => Some(self.builder.mul(x, y)?),
            _ => Some(self.builder.sum_of_products(products)?),
        };
        let relinearised = sum.is_some();
        for (x, factor) in scaled.into_iter().filter(|(_, factor)| *factor != 0.0) {
            let x = self.down_to(x, level)?;
            let term = self.builder.mul_scalar(x, factor)?;
            sum = Some(match sum {
                Some(sum) => self.builder.add(sum, term)?,
                None => term,
            });
        }
        let sum = sum.ok_or_else(|| CompileError::Internal("a part of a polynomial has no terms".into()))?;
        let value = match relinearised {
            true => self.builder.relinearize_rescale(sum, self.plan.gadget)?,
            false => self.builder.rescale(sum)?,
        };
        Ok(Part::Value(self.plus(value, rest[0])?))
    }
}
