//! Emission of polynomials as nested squares, one ciphertext at a time.
//!
//! Relies on [`Form`]: leading coefficient ±1. Promises: the result is canonical, `Form::depth` levels below the
//! operand; every product with a number is taken at the scale of the square it joins, so it costs no level.

use super::Emitter;
use crate::activation::fit::to_powers;
use crate::activation::form::Form;
use crate::error::CompileError;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Plain, ValueId};

/// The form of a polynomial node.
pub fn form(coefficients: &[f64], range: [f64; 2], name: &str) -> Result<Form, CompileError> {
    let powers = to_powers(coefficients, range);
    let lead = powers.last().copied().unwrap_or(0.0);
    let unsupported = |reason: String| CompileError::Unsupported {
        stage: "emission",
        tensor: name.to_owned(),
        reason,
        remedy: "choose another activation degree".into(),
    };
    if (lead.abs() - 1.0).abs() > 1e-6 {
        return Err(unsupported(format!("a leading coefficient of {lead} is not ±1")));
    }
    Form::of(&powers).ok_or_else(|| unsupported(format!("degree {} has no form", powers.len() - 1)))
}

impl Emitter<'_> {
    pub(super) fn polynomial(&mut self, u: ValueId, form: &Form) -> Result<ValueId, CompileError> {
        match form {
            Form::Quadratic { sign, shift, constant } => {
                let shifted = self.plus(u, *shift)?;
                let square = self.square(shifted)?;
                self.finished(square, *sign, *constant)
            }
            Form::Cubic { sign, beta, alpha, constant } => {
                let v = self.inner_square(u, *beta, *alpha)?;
                let low = self.builder.adjust(u, self.builder.level(v))?;
                let product = self.builder.mul(low, v)?;
                let product = self.builder.relinearize_rescale(product, self.plan.gadget)?;
                self.finished(product, *sign, *constant)
            }
            Form::Quartic(q) => {
                let v = self.inner_square(u, q.beta, q.alpha)?;
                let r = self.outer_square(v, &[(u, q.linear)])?;
                self.finished(r, q.sign, q.constant)
            }
        }
    }

    /// u² + beta·u + alpha.
    fn inner_square(&mut self, u: ValueId, beta: f64, alpha: f64) -> Result<ValueId, CompileError> {
        let v = self.outer_square(u, &[(u, beta)])?;
        self.plus(v, alpha)
    }

    /// v² + Σ factor·x, rescaled; the x stand at v's level or above.
    fn outer_square(&mut self, v: ValueId, terms: &[(ValueId, f64)]) -> Result<ValueId, CompileError> {
        let level: Level = self.builder.level(v);
        let mut sum = self.builder.mul(v, v)?;
        for (x, factor) in terms.iter().filter(|t| t.1 != 0.0) {
            let low = self.down_to(*x, level)?;
            let term = self.builder.mul_scalar(low, *factor)?;
            sum = self.builder.add(sum, term)?;
        }
        Ok(self.builder.relinearize_rescale(sum, self.plan.gadget)?)
    }

    fn finished(&mut self, value: ValueId, sign: f64, constant: f64) -> Result<ValueId, CompileError> {
        let signed = if sign < 0.0 { self.builder.neg(value)? } else { value };
        self.plus(signed, constant)
    }

    pub(super) fn plus(&mut self, value: ValueId, constant: f64) -> Result<ValueId, CompileError> {
        if constant == 0.0 {
            Ok(value)
        } else {
            Ok(self.builder.add_plain(value, Plain::Constant(constant))?)
        }
    }
}
