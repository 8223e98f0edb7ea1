//! Operators that keep the elements in order: the same data under another shape, no node at all.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::error::refuse;
use tract_onnx::pb::tensor_proto::DataType;

/// Identity.
pub(in crate::frontend) fn identity(call: &mut Call<'_>) -> Lowered {
    match call.operands.first() {
        // What the client does last stays last.
        Some(Some(Value::Tensor(t))) => Ok(Value::Tensor(t.clone())),
        _ => Ok(Value::Tensor(call.tensor(0)?)),
    }
}

/// Dropout does nothing in inference.
pub(in crate::frontend) fn dropout(call: &mut Call<'_>) -> Lowered {
    if call.optional_constant(2)?.is_some_and(|c| c.values.iter().any(|v| *v != 0.0)) {
        return refuse("it is in training mode", "export the model in evaluation mode");
    }
    identity(call)
}

/// Cast to a float type.
pub(in crate::frontend) fn cast(call: &mut Call<'_>) -> Lowered {
    let to = call.int("to", 0)?;
    let kind = i32::try_from(to).ok().and_then(|t| DataType::try_from(t).ok());
    match kind {
        Some(DataType::Float | DataType::Double) => identity(call),
        _ => refuse(format!("it casts an encrypted tensor to type {to}"), "stay in float32"),
    }
}

/// Flatten.
pub(in crate::frontend) fn flatten(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let axis = call.int("axis", 1)?;
    let axis = if axis == rank as i64 { rank } else { call.axis(axis, rank)? };
    let (outer, inner) = x.shape.split_at(axis);
    Ok(Value::Tensor(x.reshaped(vec![outer.iter().product(), inner.iter().product()])))
}

/// Reshape with a constant shape.
pub(in crate::frontend) fn reshape(call: &mut Call<'_>) -> Lowered {
    let x = match call.operands.first() {
        Some(Some(Value::Tensor(t))) => t.clone(),
        _ => call.tensor(0)?,
    };
    let Some(wanted) = call.integers(1)? else { return refuse("its shape is missing", EXPORT_AGAIN) };
    let keep_zero = call.int("allowzero", 0)? != 0;
    let mut shape = Vec::new();
    for (k, dim) in wanted.iter().enumerate() {
        shape.push(match (*dim, x.shape.get(k)) {
            (-1, _) => 0,
            (0, Some(same)) if !keep_zero => *same,
            (d, _) if d > 0 => d as usize,
            _ => return refuse(format!("its shape is {wanted:?}"), EXPORT_AGAIN),
        });
    }
    let open: Vec<usize> = (0..wanted.len()).filter(|k| wanted[*k] == -1).collect();
    let known = shape.iter().filter(|d| **d != 0).try_fold(1usize, |n, d| n.checked_mul(*d)).unwrap_or(0);
    match open[..] {
        [] => {}
        [k] if known > 0 => shape[k] = x.elements() / known,
        _ => return refuse(format!("its shape is {wanted:?}"), EXPORT_AGAIN),
    }
    let total = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if total != Some(x.elements()) {
        return refuse(format!("it reshapes {:?} to {wanted:?}", x.shape), EXPORT_AGAIN);
    }
    Ok(Value::Tensor(x.reshaped(shape)))
}

/// Squeeze.
pub(in crate::frontend) fn squeeze(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let ones = (0..x.shape.len()).filter(|k| x.shape[*k] == 1).collect();
    let removed = call.axes(1, x.shape.len())?.unwrap_or(ones);
    if let Some(k) = removed.iter().find(|k| x.shape[**k] != 1) {
        return refuse(format!("axis {k} of {:?} is not of size 1", x.shape), EXPORT_AGAIN);
    }
    let kept = x.shape.iter().enumerate().filter(|(k, _)| !removed.contains(k)).map(|(_, d)| *d);
    Ok(Value::Tensor(x.reshaped(kept.collect())))
}

/// Unsqueeze.
pub(in crate::frontend) fn unsqueeze(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let count = match call.ints("axes")? {
        Some(axes) => axes.len(),
        None => call.integers(1)?.map_or(0, |a| a.len()),
    };
    let rank = x.shape.len() + count;
    let mut added = call.axes(1, rank)?.unwrap_or_default();
    added.sort_unstable();
    added.dedup();
    if added.len() != count {
        return refuse("its axes repeat", EXPORT_AGAIN);
    }
    let mut shape = x.shape.clone();
    added.iter().for_each(|k| shape.insert(*k, 1));
    Ok(Value::Tensor(x.reshaped(shape)))
}
