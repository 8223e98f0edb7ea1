//! Exact elementwise functions, which drafts hold where encrypted circuits have polynomials.
//!
//! Relies on `libm`, so that values are the same on every machine. Promises: one table ([`FORMS`]) gives every function its
//! name and parameters, and the text form is made from it; values are finite wherever the function is, and zero where
//! it is not defined (gaps of layouts hold zeros and must stay finite).

use serde::{Deserialize, Serialize};
use std::mem::discriminant;

/// An exact elementwise function; only drafts hold it.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
    /// x · sigmoid(x)
    Silu,
    /// x · Φ(x), exact (erf) form
    Gelu,
    /// ln(1 + exp(x))
    Softplus,
    /// max(x, 0) + alpha · min(x, 0)
    LeakyRelu(f64),
    /// min(max(x, low), high)
    Clip(f64, f64),
    /// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
    GeluTanh,
    /// x · tanh(ln(1 + exp(x)))
    Mish,
    /// x / (1 + |x|)
    Softsign,
    /// -1, 0 or 1
    Sign,
    /// exp(x)
    Exp,
    /// max(x, 0) + alpha · (exp(min(x, 0)) - 1)
    Elu(f64),
    /// x where x > alpha, else 0
    ThresholdedRelu(f64),
    /// x^p where x > 0, else 0
    Power(f64),
}

/// A function's name and parameters in the text form.
pub(crate) struct Form {
    pub name: &'static str,
    pub parameters: usize,
    /// The function from its parameters.
    pub make: fn([f64; 2]) -> Activation,
}

const fn form(name: &'static str, parameters: usize, make: fn([f64; 2]) -> Activation) -> Form {
    Form { name, parameters, make }
}

/// All functions.
pub(crate) const FORMS: [Form; 16] = [
    form("relu", 0, |_| Activation::Relu),
    form("sigmoid", 0, |_| Activation::Sigmoid),
    form("tanh", 0, |_| Activation::Tanh),
    form("silu", 0, |_| Activation::Silu),
    form("gelu", 0, |_| Activation::Gelu),
    form("softplus", 0, |_| Activation::Softplus),
    form("leaky_relu", 1, |[alpha, _]| Activation::LeakyRelu(alpha)),
    form("clip", 2, |[low, high]| Activation::Clip(low, high)),
    form("gelu_tanh", 0, |_| Activation::GeluTanh),
    form("mish", 0, |_| Activation::Mish),
    form("softsign", 0, |_| Activation::Softsign),
    form("sign", 0, |_| Activation::Sign),
    form("exp", 0, |_| Activation::Exp),
    form("elu", 1, |[alpha, _]| Activation::Elu(alpha)),
    form("thresholded_relu", 1, |[alpha, _]| Activation::ThresholdedRelu(alpha)),
    form("power", 1, |[p, _]| Activation::Power(p)),
];

impl Activation {
    /// Its name in the text form.
    pub fn name(&self) -> &'static str {
        let own = FORMS.iter().find(|f| discriminant(&(f.make)([0.0; 2])) == discriminant(self));
        own.map_or("?", |f| f.name)
    }

    /// Its parameters, in order.
    pub fn parameters(&self) -> Vec<f64> {
        match self {
            Activation::Clip(low, high) => vec![*low, *high],
            Activation::LeakyRelu(p)
            | Activation::Elu(p)
            | Activation::ThresholdedRelu(p)
            | Activation::Power(p) => vec![*p],
            _ => vec![],
        }
    }

    /// Whether the function is defined for positive numbers only.
    pub fn wants_positive(&self) -> bool {
        matches!(self, Activation::Power(_))
    }

    /// The function at `x`.
    pub fn value(&self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        let softplus = |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
        match self {
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => libm::tanh(x),
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::Softplus => softplus(x),
            Activation::LeakyRelu(alpha) => x.max(0.0) + alpha * x.min(0.0),
            Activation::Clip(low, high) => x.max(*low).min(*high),
            Activation::GeluTanh => {
                let inner = libm::sqrt(2.0 / std::f64::consts::PI) * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + libm::tanh(inner))
            }
            Activation::Mish => x * libm::tanh(softplus(x)),
            Activation::Softsign => x / (1.0 + x.abs()),
            Activation::Sign if x == 0.0 => 0.0,
            Activation::Sign => x.signum(),
            Activation::Exp => libm::exp(x),
            Activation::Elu(alpha) => x.max(0.0) + alpha * libm::expm1(x.min(0.0)),
            Activation::ThresholdedRelu(alpha) if x > *alpha => x,
            Activation::ThresholdedRelu(_) => 0.0,
            Activation::Power(p) if x > 0.0 => libm::pow(x, *p),
            Activation::Power(_) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_name_of_its_own_and_its_parameters() {
        for form in &FORMS {
            let made = (form.make)([0.25, 0.5]);
            assert_eq!((made.name(), made.parameters().len()), (form.name, form.parameters));
            assert_eq!((form.make)([0.25, 0.5]), made);
            assert!((-4..=4).all(|x| made.value(f64::from(x)).is_finite()), "{made:?}");
        }
    }
}
