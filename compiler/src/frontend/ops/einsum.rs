//! Einsum of the encrypted tensor and a constant, where it is a product of matrices.

use super::dense::times;
use super::view::permuted;
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::reference::Constant;

const REMEDY: &str = "write it as MatMul";

/// Einsum: axes that only the operands share are summed over; all others are in the result once.
pub(in crate::frontend) fn contraction(call: &mut Call<'_>) -> Lowered {
    let equation: String = call.string("equation", "")?.split_whitespace().collect();
    let terms = equation.split_once("->").and_then(|(from, to)| Some((from.split_once(',')?, to)));
    let Some(((first, second), result)) = terms else {
        return refuse(format!("its equation is `{equation}`, not a product of two tensors"), REMEDY);
    };
    let left = matches!(call.operands.first(), Some(Some(Value::Constant(_))));
    let (t, c) = if left { (1, 0) } else { (0, 1) };
    let (own, other) = if left { (second, first) } else { (first, second) };
    if !matches!(call.operands.get(c), Some(Some(Value::Constant(_)))) {
        return refuse("it multiplies two encrypted tensors", "one operand must be a constant");
    }
    let (x, weight) = (call.tensor(t)?, call.weights(c)?);
    let list = |term: &str| term.chars().collect::<Vec<char>>();
    let (own, other, result) = (list(own), list(other), list(result));
    let summed: Vec<char> = own.iter().copied().filter(|a| other.contains(a)).collect();
    let outer: Vec<char> = own.iter().copied().filter(|a| !summed.contains(a)).collect();
    let added: Vec<char> = other.iter().copied().filter(|a| !summed.contains(a)).collect();
    let made = [&outer[..], &added[..]].concat();
    let plain = [&own, &other, &result]
        .iter()
        .all(|term| term.iter().enumerate().all(|(k, a)| a.is_ascii_alphabetic() && !term[..k].contains(a)));
    if !plain || summed.is_empty() || made.len() != result.len() || !made.iter().all(|a| result.contains(a)) {
        return refuse(format!("its equation `{equation}` is no product of matrices"), REMEDY);
    }
    if own.len() != x.shape.len() || other.len() != weight.shape.len() {
        let reason = format!("`{equation}` does not fit shapes {:?} and {:?}", x.shape, weight.shape);
        return refuse(reason, EXPORT_AGAIN);
    }
    let rows = order(&own, &[&outer[..], &summed[..]].concat())?;
    let columns = order(&other, &[&added[..], &summed[..]].concat())?;
    let sizes = |of: &[usize], order: &[usize]| order.iter().map(|k| of[*k]).collect::<Vec<usize>>();
    let (from, to) = (sizes(&x.shape, &rows), sizes(&weight.shape, &columns));
    if from[outer.len()..] != to[added.len()..] {
        let reason = format!("`{equation}` does not fit shapes {:?} and {:?}", x.shape, weight.shape);
        return refuse(reason, EXPORT_AGAIN);
    }
    let inner: usize = from[outer.len()..].iter().product();
    let matrix = turned(&weight, &columns, inner);
    let flat = permuted(call.draft, &x, &rows)?.reshaped(vec![x.elements() / inner, inner]);
    let name = call.operand_name(c);
    let y = times(call, &flat, matrix, name)?;
    let y = y.reshaped([&from[..outer.len()], &to[..added.len()]].concat());
    Ok(Value::Tensor(permuted(call.draft, &y, &order(&made, &result)?)?))
}

/// Where each of `wanted` stands among `axes`.
fn order(axes: &[char], wanted: &[char]) -> Result<Vec<usize>, Refusal> {
    let place = |a: &char| axes.iter().position(|b| a == b);
    match wanted.iter().map(place).collect() {
        Some(order) => Ok(order),
        None => refuse("its equation names an axis that no operand has", EXPORT_AGAIN),
    }
}

/// A constant with its axes in another order, as a matrix of `inner` columns.
fn turned(c: &Constant, order: &[usize], inner: usize) -> Constant {
    let strides: Vec<usize> = order.iter().map(|k| c.shape[k + 1..].iter().product()).collect();
    let at = |k: usize| {
        let mut rest = k;
        let steps = order.iter().zip(&strides).rev();
        let steps = steps.map(|(axis, stride)| {
            let position = rest % c.shape[*axis];
            rest /= c.shape[*axis];
            position * stride
        });
        c.values[steps.sum::<usize>()]
    };
    Constant { shape: vec![c.values.len() / inner, inner], values: (0..c.values.len()).map(at).collect() }
}
