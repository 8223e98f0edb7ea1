//! Elementwise arithmetic with constants and between tensors, with ONNX broadcasting.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::TensorRef;
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::ops::view::broadcast;
use crate::frontend::reference::Constant;
use crate::graph::Kind;
use cipherloom_ir::Activation;

/// Largest exponent of Pow.
const MAX_POWER: u32 = 8;

/// Two operands under their common shape.
enum Pair {
    Tensors(TensorRef, TensorRef),
    /// Tensor (first operand), constant with one value per element.
    Right(TensorRef, Vec<f64>),
    /// Constant (first operand), tensor.
    Left(Vec<f64>, TensorRef),
}

/// Shape of the result under ONNX broadcasting.
pub(in crate::frontend) fn common_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Refusal> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], k: usize| (k + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    let merged = (0..rank).map(|k| match (dim(a, k), dim(b, k)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    });
    match merged.collect() {
        Some(shape) => Ok(shape),
        None => refuse(format!("shapes {a:?} and {b:?} do not broadcast"), EXPORT_AGAIN),
    }
}

/// A constant with one value per element of `shape`.
pub(in crate::frontend) fn spread(c: &Constant, shape: &[usize]) -> Vec<f64> {
    let lead = shape.len() - c.shape.len();
    let elements: usize = shape.iter().product();
    let at = |k: usize| {
        let (mut rest, mut index, mut stride) = (k, 0, 1);
        for axis in (0..shape.len()).rev() {
            let position = rest % shape[axis];
            rest /= shape[axis];
            if axis >= lead && c.shape[axis - lead] != 1 {
                index += position * stride;
                stride *= c.shape[axis - lead];
            }
        }
        c.values[index]
    };
    (0..elements).map(at).collect()
}

fn pair(call: &mut Call<'_>) -> Result<Pair, Refusal> {
    if call.opset < 7 && call.node.attribute.iter().any(|a| a.name == "axis") {
        return refuse(
            "operator sets before 7 broadcast along `axis`",
            "convert the model to operator set 7 or later",
        );
    }
    let constant = |k: usize| matches!(call.operands.get(k), Some(Some(Value::Constant(_))));
    match (constant(0), constant(1)) {
        (false, false) => {
            let (a, b) = (call.tensor(0)?, call.tensor(1)?);
            let shape = common_shape(&a.shape, &b.shape)?;
            Ok(Pair::Tensors(broadcast(call.draft, &a, &shape)?, broadcast(call.draft, &b, &shape)?))
        }
        (left, _) => {
            let (t, c) = if left { (1, 0) } else { (0, 1) };
            let (x, c) = (call.tensor(t)?, call.weights(c)?);
            let shape = common_shape(&x.shape, &c.shape)?;
            let (x, full) = (broadcast(call.draft, &x, &shape)?, spread(&c, &shape));
            Ok(if left { Pair::Left(full, x) } else { Pair::Right(x, full) })
        }
    }
}

fn uniform(x: &TensorRef, value: f64) -> Vec<f64> {
    vec![value; x.elements()]
}

fn negated(list: Vec<f64>) -> Vec<f64> {
    list.into_iter().map(|v| -v).collect()
}

/// Add.
pub(in crate::frontend) fn add(call: &mut Call<'_>) -> Lowered {
    let sum = match pair(call)? {
        Pair::Tensors(a, b) => sum_of(call, &a, &b),
        Pair::Right(x, c) | Pair::Left(c, x) => call.draft.shifted(&x, c),
    };
    Ok(Value::Tensor(sum))
}

/// a + b of one ONNX shape.
pub(super) fn sum_of(call: &mut Call<'_>, a: &TensorRef, b: &TensorRef) -> TensorRef {
    if a.node == b.node {
        return call.draft.multiplied(a, uniform(a, 2.0));
    }
    call.draft.binary(Kind::Add, a, b)
}

/// Sum of any number of tensors.
pub(in crate::frontend) fn sum(call: &mut Call<'_>) -> Lowered {
    let count = call.operands.len();
    if count == 1 {
        return Ok(Value::Tensor(call.tensor(0)?));
    }
    let operands = std::mem::take(&mut call.operands);
    let mut operands = operands.into_iter();
    let mut total = operands.next().flatten();
    for next in operands {
        call.operands = vec![total, next];
        // The partial sum of two constants keeps being one.
        total = match &call.operands[..] {
            [Some(Value::Constant(a)), Some(Value::Constant(b))] => {
                let shape = common_shape(&a.shape, &b.shape)?;
                let values = spread(a, &shape).iter().zip(spread(b, &shape)).map(|(x, y)| x + y).collect();
                Some(Value::Constant(Constant { shape, values }))
            }
            _ => Some(add(call)?),
        };
    }
    match total {
        Some(total) => Ok(total),
        None => refuse("it has no operands", EXPORT_AGAIN),
    }
}

/// Mean of any number of tensors.
pub(in crate::frontend) fn mean(call: &mut Call<'_>) -> Lowered {
    let count = call.operands.len() as f64;
    match sum(call)? {
        Value::Tensor(total) => {
            Ok(Value::Tensor(call.draft.multiplied(&total, uniform(&total, 1.0 / count))))
        }
        other => Ok(other),
    }
}

/// Sub.
pub(in crate::frontend) fn sub(call: &mut Call<'_>) -> Lowered {
    let difference = match pair(call)? {
        Pair::Tensors(a, b) if a.node == b.node => {
            return refuse("it subtracts a tensor from itself", "remove the node");
        }
        Pair::Tensors(a, b) => call.draft.binary(Kind::Sub, &a, &b),
        Pair::Right(x, c) => call.draft.shifted(&x, negated(c)),
        Pair::Left(c, x) => {
            let minus = call.draft.multiplied(&x, uniform(&x, -1.0));
            call.draft.shifted(&minus, c)
        }
    };
    Ok(Value::Tensor(difference))
}

/// Mul.
pub(in crate::frontend) fn mul(call: &mut Call<'_>) -> Lowered {
    let product = match pair(call)? {
        Pair::Tensors(a, b) => call.draft.product(&a, &b),
        Pair::Right(x, c) | Pair::Left(c, x) => call.draft.multiplied(&x, c),
    };
    Ok(Value::Tensor(product))
}

/// Div; an encrypted divisor must be positive.
pub(in crate::frontend) fn div(call: &mut Call<'_>) -> Lowered {
    match pair(call)? {
        Pair::Right(x, c) if c.iter().all(|v| *v != 0.0) => {
            Ok(Value::Tensor(call.draft.multiplied(&x, c.into_iter().map(|v| 1.0 / v).collect())))
        }
        Pair::Right(..) => refuse("it divides by zero", EXPORT_AGAIN),
        Pair::Left(c, x) => {
            let inverse = call.draft.activation(&x, Activation::Power(-1.0));
            Ok(Value::Tensor(call.draft.multiplied(&inverse, c)))
        }
        Pair::Tensors(a, b) => {
            let inverse = call.draft.activation(&b, Activation::Power(-1.0));
            Ok(Value::Tensor(call.draft.product(&a, &inverse)))
        }
    }
}

/// Neg.
pub(in crate::frontend) fn neg(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    Ok(Value::Tensor(call.draft.multiplied(&x, uniform(&x, -1.0))))
}

/// Pow: integer exponents, which may differ by element; another exponent takes positive values.
pub(in crate::frontend) fn pow(call: &mut Call<'_>) -> Lowered {
    let Pair::Right(x, exponents) = pair(call)? else {
        return refuse("its exponent is not a constant", "use a constant integer exponent");
    };
    let first = exponents[0];
    let whole = |e: f64| (1..=MAX_POWER).find(|n| f64::from(*n) == e);
    if exponents.iter().all(|e| *e == first) {
        return Ok(Value::Tensor(match whole(first) {
            Some(n) => power(call, &x, n),
            None if first.fract() == 0.0 && first > 0.0 => {
                return refuse(format!("exponent {first}; at most {MAX_POWER}"), "use a smaller exponent");
            }
            None => call.draft.activation(&x, Activation::Power(first)),
        }));
    }
    let mut distinct: Vec<u32> = Vec::new();
    for exponent in &exponents {
        match whole(*exponent) {
            Some(n) if distinct.contains(&n) => {}
            Some(n) => distinct.push(n),
            None => {
                return refuse(
                    format!("its exponents differ, and one is {exponent}"),
                    format!("integer exponents from 1 to {MAX_POWER} are supported, or one for all"),
                );
            }
        }
    }
    distinct.sort_unstable();
    let x = TensorRef { shared: true, ..x };
    let mut total: Option<TensorRef> = None;
    for n in distinct {
        let mask = exponents.iter().map(|e| f64::from(u8::from(*e == f64::from(n)))).collect();
        let powered = power(call, &x, n);
        let part = call.draft.multiplied(&powered, mask);
        total = Some(match total {
            None => part,
            Some(sum) => sum_of(call, &sum, &part),
        });
    }
    match total {
        Some(total) => Ok(Value::Tensor(total)),
        None => refuse("it has no exponents", EXPORT_AGAIN),
    }
}

/// x^n by squaring; x is used several times.
fn power(call: &mut Call<'_>, x: &TensorRef, n: u32) -> TensorRef {
    if n == 1 {
        return x.clone();
    }
    let base = TensorRef { shared: true, ..x.clone() };
    let half = power(call, &base, n / 2);
    let square = call.draft.product(&half, &half);
    if n.is_multiple_of(2) { square } else { call.draft.product(&square, &base) }
}
