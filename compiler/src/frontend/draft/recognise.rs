//! Exporters' patterns: a product that is one activation of one tensor, whatever its formula.
//!
//! `x · Sigmoid(x)`, Gelu written with Erf or Tanh in any association, Mish and Softsign, are found by evaluating the product as a
//! function of each of its elementwise ancestors and comparing with the activations that the compiler knows.

use super::{Draft, DraftKind, TensorRef};
use crate::graph::{Function, Kind, evaluate};
use cipherloom_ir::Activation;

/// Nodes of a pattern, at most.
const MAX_DEPTH: u32 = 12;
/// Largest difference from the activation, relative to the factor; exporters round their constants to float32.
const TOLERANCE: f64 = 1e-6;
/// Activations that are products.
const KNOWN: [Activation; 5] =
    [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Mish, Activation::Softsign];
/// Where functions are compared.
const POINTS: [f64; 15] =
    [-7.5, -5.0, -3.25, -2.0, -1.5, -1.0, -0.5, -0.125, 0.25, 0.75, 1.25, 2.25, 3.5, 5.5, 8.0];

impl Draft {
    /// The activation that a product stands for, if it is one.
    pub(super) fn recognised(&mut self, product: &TensorRef) -> Option<TensorRef> {
        let mut ancestors = Vec::new();
        self.elementwise_ancestors(product.node, MAX_DEPTH, &mut ancestors);
        ancestors.sort_unstable_by(|a, b| b.cmp(a));
        ancestors.dedup();
        for base in ancestors.into_iter().filter(|a| *a != product.node) {
            let sampled: Option<Vec<f64>> =
                POINTS.iter().map(|t| self.value_at(product.node, base, *t, MAX_DEPTH)).collect();
            let Some(values) = sampled else { continue };
            for activation in &KNOWN {
                let exact: Vec<f64> = POINTS.iter().map(|t| activation.value(*t)).collect();
                let factor = values[POINTS.len() - 1] / exact[POINTS.len() - 1];
                let close = |(v, e): (&f64, &f64)| (v - factor * e).abs() <= TOLERANCE * factor.abs();
                if factor.is_finite() && factor != 0.0 && values.iter().zip(&exact).all(close) {
                    let x = TensorRef { node: base, ..product.clone() };
                    let y = self.activation(&x, activation.clone());
                    let quarters = (factor * 4.0).round() / 4.0;
                    let near = (factor - quarters).abs() <= TOLERANCE * factor.abs();
                    let factor = if near { quarters } else { factor };
                    let elements = y.elements();
                    return Some(if factor == 1.0 { y } else { self.multiplied(&y, vec![factor; elements]) });
                }
            }
        }
        None
    }

    fn elementwise_ancestors(&self, node: usize, depth: u32, found: &mut Vec<usize>) {
        found.push(node);
        let inner = match &self.nodes[node].kind {
            DraftKind::Erf => true,
            DraftKind::Unsupported => false,
            DraftKind::Graph(Kind::Linear { operators, .. }) => operators.is_empty(),
            DraftKind::Graph(kind) => {
                matches!(kind, Kind::Elementwise(_) | Kind::Add | Kind::Sub | Kind::Mul)
            }
        };
        if inner && depth > 0 {
            self.nodes[node].operands.iter().for_each(|o| self.elementwise_ancestors(*o, depth - 1, found));
        }
    }

    /// Value of `node` when every element of `base` is `t`; none where it depends on anything else.
    fn value_at(&self, node: usize, base: usize, t: f64, depth: u32) -> Option<f64> {
        if node == base {
            return Some(t);
        }
        if depth == 0 || node < base {
            return None;
        }
        let this = &self.nodes[node];
        let operand = |k: usize| self.value_at(*this.operands.get(k)?, base, t, depth - 1);
        match &this.kind {
            DraftKind::Erf => Some(libm::erf(operand(0)?)),
            DraftKind::Unsupported => None,
            DraftKind::Graph(Kind::Elementwise(function)) => Some(evaluate::function(function, operand(0)?)),
            DraftKind::Graph(Kind::Add) => Some(operand(0)? + operand(1)?),
            DraftKind::Graph(Kind::Sub) => Some(operand(0)? - operand(1)?),
            DraftKind::Graph(Kind::Mul) => Some(operand(0)? * operand(1)?),
            DraftKind::Graph(Kind::Linear { operators, scale, bias }) if operators.is_empty() => {
                let shift = match bias {
                    Some(id) => {
                        let values = &self.values(*id).values;
                        values.iter().all(|v| *v == values[0]).then(|| f64::from(values[0]))?
                    }
                    None => 0.0,
                };
                Some(scale * operand(0)? + shift)
            }
            DraftKind::Graph(_) => None,
        }
    }

    /// `Function::Square` or the product of two tensors.
    pub fn product(&mut self, a: &TensorRef, b: &TensorRef) -> TensorRef {
        if a.node == b.node { self.elementwise(a, Function::Square) } else { self.binary(Kind::Mul, a, b) }
    }
}
