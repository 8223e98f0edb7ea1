//! Gemm and MatMul with a constant matrix.
//!
//! One row times a matrix is a dense map; several rows are a 1×1 convolution over the rows.

use super::view::{broadcast, permuted};
use super::window::bounded_weight;
use super::{EXPORT_AGAIN, Lowered, arithmetic};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::linear::narrow;
use crate::frontend::draft::{TensorRef, size};
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::reference::Constant;
use cipherloom_ir::{Operator, Window};

/// Swaps the axes of a matrix.
fn transposed(matrix: &Constant) -> Constant {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    let values = (0..rows * columns).map(|k| matrix.values[k % rows * columns + k / rows]).collect();
    Constant { shape: vec![columns, rows], values }
}

/// A constant matrix; leading axes of size 1 are dropped.
fn matrix(call: &Call<'_>, k: usize) -> Result<Constant, Refusal> {
    let mut c = call.weights(k)?;
    while c.shape.len() > 2 && c.shape[0] == 1 {
        c.shape.remove(0);
    }
    if c.shape.len() != 2 {
        return refuse(
            format!("its constant has shape {:?}, not that of a matrix", c.shape),
            "use a constant matrix",
        );
    }
    Ok(c)
}

/// `[.., rows, inner] · matrix` where `weight` is the matrix transposed: `[outputs, inner]`.
pub(super) fn times(
    call: &mut Call<'_>,
    x: &TensorRef,
    weight: Constant,
    name: String,
) -> Result<TensorRef, Refusal> {
    let rank = x.shape.len();
    let (outputs, inner) = (weight.shape[0], weight.shape[1]);
    if rank == 0 || x.shape[rank - 1] != inner {
        return refuse(
            format!("shapes {:?} and {:?} do not multiply", x.shape, [inner, outputs]),
            EXPORT_AGAIN,
        );
    }
    let rows = x.elements() / inner;
    let mut shape = x.shape.clone();
    shape[rank - 1] = outputs;
    if rows == 1 {
        let matrix = vec![size(outputs), size(inner)];
        let weight = call.draft.named_weights(name, matrix, narrow(weight.values));
        return Ok(call.draft.apply(x, Operator::Dense { weight }, shape));
    }
    let columns = swapped(call, &x.reshaped(vec![1, rows, inner]))?;
    let y = over_columns(call, &columns, weight, name)?;
    Ok(swapped(call, &y)?.reshaped(shape))
}

/// `[1, rows, columns]` to `[1, columns, rows]`.
fn swapped(call: &mut Call<'_>, x: &TensorRef) -> Result<TensorRef, Refusal> {
    permuted(call.draft, x, &[0, 2, 1])
}

/// `weight [outputs, inner] · x [1, inner, columns]`: a 1×1 convolution whose channels are the rows.
fn over_columns(
    call: &mut Call<'_>,
    x: &TensorRef,
    weight: Constant,
    name: String,
) -> Result<TensorRef, Refusal> {
    let (outputs, inner, columns) = (weight.shape[0], weight.shape[1], x.shape[2]);
    let shape = vec![size(outputs), size(inner), 1, 1];
    let weight = call.draft.named_weights(name, shape, narrow(weight.values));
    let input = [size(inner), 1, 1, size(columns)];
    let operator = Operator::Convolution { input, window: Window::POINT, groups: 1, weight };
    Ok(call.draft.apply(x, operator, vec![1, outputs, columns]))
}

fn is_constant(call: &Call<'_>, k: usize) -> bool {
    matches!(call.operands.get(k), Some(Some(Value::Constant(_))))
}

/// MatMul.
pub(in crate::frontend) fn mat_mul(call: &mut Call<'_>) -> Lowered {
    if is_constant(call, 1) {
        let x = call.tensor(0)?;
        return Ok(Value::Tensor(from_right(call, &x)?));
    }
    if is_constant(call, 0) {
        let (weight, x) = (matrix(call, 0)?, call.tensor(1)?);
        let name = call.operand_name(0);
        return Ok(Value::Tensor(from_left(call, &x, weight, name)?));
    }
    refuse("it multiplies two encrypted matrices", "one operand must be a constant")
}

/// `x · operand 1`; vectors count as matrices of one row or column, which the result does not have.
fn from_right(call: &mut Call<'_>, x: &TensorRef) -> Result<TensorRef, Refusal> {
    let (mut constant, name) = (call.weights(1)?, call.operand_name(1));
    let column = constant.shape.len() == 1;
    if column {
        constant.shape.push(1);
    }
    let row = x.shape.len() == 1;
    let x = if row { x.reshaped(vec![1, x.shape[0]]) } else { x.clone() };
    let split = constant.shape.len().saturating_sub(2);
    let mut y = if x.shape.len() < 2 || constant.shape.len() < 2 {
        return refuse(
            format!("shapes {:?} and {:?} do not multiply", x.shape, constant.shape),
            EXPORT_AGAIN,
        );
    } else if constant.shape[..split].iter().all(|d| *d == 1) {
        let rank = x.shape.len().max(constant.shape.len());
        let shape = [vec![1; rank - x.shape.len()], x.shape.clone()].concat();
        let matrix = Constant { shape: constant.shape[split..].to_vec(), values: constant.values };
        times(call, &x.reshaped(shape), transposed(&matrix), name)?
    } else {
        by_batch(call, &x, constant, name)?
    };
    let mut shape = y.shape.clone();
    if column {
        shape.pop();
    }
    if row {
        shape.remove(shape.len() - 1 - usize::from(!column));
    }
    y.shape = shape;
    Ok(y)
}

/// A matrix for each element of the batch: a 1×1 convolution in groups over the rows.
fn by_batch(call: &mut Call<'_>, x: &TensorRef, w: Constant, name: String) -> Result<TensorRef, Refusal> {
    let ([xs @ .., rows, inner], [ws @ .., found, outputs]) = (&x.shape[..], &w.shape[..]) else {
        return refuse(format!("shapes {:?} and {:?} do not multiply", x.shape, w.shape), EXPORT_AGAIN);
    };
    if inner != found {
        return refuse(format!("shapes {:?} and {:?} do not multiply", x.shape, w.shape), EXPORT_AGAIN);
    }
    let (rows, inner, outputs) = (*rows, *inner, *outputs);
    let batch = arithmetic::common_shape(xs, ws)?;
    let count: usize = batch.iter().product();
    bounded_weight(&[count, inner, outputs])?;
    let full = arithmetic::spread(&w, &[&batch[..], &[inner, outputs]].concat());
    let x = broadcast(call.draft, x, &[&batch[..], &[rows, inner]].concat())?;
    let turned = permuted(call.draft, &x.reshaped(vec![count, rows, inner]), &[0, 2, 1])?;
    let values = full
        .chunks_exact(inner * outputs)
        .flat_map(|m| (0..outputs).flat_map(move |o| (0..inner).map(move |i| m[i * outputs + o])));
    let shape = vec![size(count * outputs), size(inner), 1, 1];
    let weight = call.draft.named_weights(name, shape, narrow(values.collect()));
    let input = [size(count * inner), 1, 1, size(rows)];
    let operator = Operator::Convolution { input, window: Window::POINT, groups: size(count), weight };
    let y = call.draft.apply(&turned, operator, vec![count, outputs, rows]);
    let shape = [&batch[..], &[rows, outputs]].concat();
    Ok(permuted(call.draft, &y, &[0, 2, 1])?.reshaped(shape))
}

/// `weight [outputs, inner] · x [.., inner, columns]` for a batch of one.
fn from_left(
    call: &mut Call<'_>,
    x: &TensorRef,
    weight: Constant,
    name: String,
) -> Result<TensorRef, Refusal> {
    let rank = x.shape.len();
    let fits = rank >= 2 && x.shape[rank - 2] == weight.shape[1];
    if !fits || x.shape[..rank - 2].iter().any(|d| *d != 1) {
        return refuse(format!("shapes {:?} and {:?} do not multiply", weight.shape, x.shape), EXPORT_AGAIN);
    }
    let flat = x.reshaped(vec![1, x.shape[rank - 2], x.shape[rank - 1]]);
    let mut shape = x.shape.clone();
    shape[rank - 2] = weight.shape[0];
    Ok(over_columns(call, &flat, weight, name)?.reshaped(shape))
}

/// Gemm: alpha · A' · B' + beta · C.
pub(in crate::frontend) fn gemm(call: &mut Call<'_>) -> Lowered {
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let (flip_a, flip_b) = (call.int("transA", 0)? != 0, call.int("transB", 0)? != 0);
    let product = if is_constant(call, 1) {
        let x = call.tensor(0)?;
        if x.shape.len() != 2 {
            return refuse(
                format!("its operand has shape {:?}", x.shape),
                "Gemm multiplies matrices; use MatMul",
            );
        }
        let x = if flip_a {
            let turned = swapped(call, &x.reshaped(vec![1, x.shape[0], x.shape[1]]))?;
            turned.reshaped(vec![x.shape[1], x.shape[0]])
        } else {
            x
        };
        let weight = matrix(call, 1)?;
        let (weight, name) = (if flip_b { weight } else { transposed(&weight) }, call.operand_name(1));
        times(call, &x, weight, name)?
    } else if is_constant(call, 0) && !flip_b {
        let (weight, x) = (matrix(call, 0)?, call.tensor(1)?);
        let (weight, name) = (if flip_a { transposed(&weight) } else { weight }, call.operand_name(0));
        from_left(call, &x, weight, name)?
    } else {
        return refuse("it multiplies two encrypted matrices", "one operand must be a constant");
    };
    let scaled = match alpha {
        1.0 => product,
        _ => call.draft.multiplied(&product, vec![alpha; product.elements()]),
    };
    let addend = match call.operands.get(2).cloned().flatten() {
        None => return Ok(Value::Tensor(scaled)),
        Some(Value::Constant(mut c)) => {
            c.values.iter_mut().for_each(|v| *v *= beta);
            Value::Constant(c)
        }
        Some(Value::Tensor(t)) if beta != 1.0 => {
            Value::Tensor(call.draft.multiplied(&t, vec![beta; t.elements()]))
        }
        Some(other) => other,
    };
    call.operands = vec![Some(Value::Tensor(scaled.clone())), Some(addend)];
    match arithmetic::add(call)? {
        Value::Tensor(sum) if sum.shape == scaled.shape => Ok(Value::Tensor(sum)),
        _ => refuse("its bias is larger than its product", EXPORT_AGAIN),
    }
}
