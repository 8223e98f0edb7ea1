//! Gather and GatherND of the encrypted tensor at constant indices: a selection along an axis.
//!
//! Indices at equal distances are one walk; a few such runs are walks joined again; others become a matrix. The one image of a batch
//! may be named, which moves nothing.

use super::along::{along, copies, is_view};
use super::view::joined;
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{Draft, TensorRef};
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::reference::Constant;

/// Runs of indices that are joined, at most; more become a matrix.
const MAX_RUNS: usize = 8;

/// Gather.
pub(in crate::frontend) fn gather(call: &mut Call<'_>) -> Lowered {
    let (x, indices) = (call.tensor(0)?, indices(call)?);
    let axis = call.axis(call.int("axis", 0)?, x.shape.len())?;
    Ok(Value::Tensor(selected(call.draft, &x, axis, &indices)?))
}

/// GatherND: each index speaks of as many of the first axes as it has parts.
pub(in crate::frontend) fn gather_nd(call: &mut Call<'_>) -> Lowered {
    let (x, indices) = (call.tensor(0)?, indices(call)?);
    if call.int("batch_dims", 0)? != 0 {
        return refuse("its attribute `batch_dims` is not 0", "select along one axis (Gather)");
    }
    if let Some(index) = indices.values.iter().find(|i| **i < 0.0) {
        let reason = format!("one of its indices is {index}, which the reference evaluator does not take");
        return refuse(reason, "count indices from the front");
    }
    let Some((&depth, shape)) = indices.shape.split_last().filter(|(d, _)| (1..=x.shape.len()).contains(*d))
    else {
        return refuse(format!("its indices have shape {:?}", indices.shape), EXPORT_AGAIN);
    };
    let part = |k: usize| indices.values.iter().skip(k).step_by(depth).copied().collect();
    let parts: Vec<Constant> =
        (0..depth).map(|k| Constant { shape: shape.to_vec(), values: part(k) }).collect();
    if let Some([rows, columns]) = apart(&parts) {
        let first = selected(call.draft, &x, 0, &rows)?;
        return Ok(Value::Tensor(selected(call.draft, &first, rows.shape.len(), &columns)?));
    }
    let mut values = vec![0.0; shape.iter().product()];
    for (k, part) in parts.iter().enumerate() {
        let extent = x.shape[k];
        for (value, index) in values.iter_mut().zip(&part.values) {
            *value = *value * extent as f64 + position(*index, k, &x.shape)? as f64;
        }
    }
    let (indexed, rest) = x.shape.split_at(depth);
    let flat = x.reshaped([&[indexed.iter().product()], rest].concat());
    Ok(Value::Tensor(selected(call.draft, &flat, 0, &Constant { shape: shape.to_vec(), values })?))
}

fn indices(call: &Call<'_>) -> Result<Constant, Refusal> {
    let indices = call.weights(1)?;
    match indices.values.iter().find(|v| v.fract() != 0.0) {
        Some(other) => refuse(format!("one of its indices is {other}"), EXPORT_AGAIN),
        None => Ok(indices),
    }
}

/// Whether an axis is that of the batch, which has one image.
fn is_batch(x: &TensorRef, axis: usize) -> bool {
    axis == 0 && x.shape.len() > 1 && x.shape[0] == 1
}

/// Where an index points, counted from the front.
fn position(index: f64, axis: usize, shape: &[usize]) -> Result<usize, Refusal> {
    let extent = shape[axis] as f64;
    match index {
        i if (0.0..extent).contains(&i) => Ok(i as usize),
        i if (-extent..0.0).contains(&i) => Ok((i + extent) as usize),
        _ => refuse(format!("index {index} is out of range for axis {axis} of {shape:?}"), EXPORT_AGAIN),
    }
}

/// The positions that `indices` name along an axis, whose place their own axes take.
fn selected(draft: &mut Draft, x: &TensorRef, axis: usize, indices: &Constant) -> Result<TensorRef, Refusal> {
    let positions =
        indices.values.iter().map(|i| position(*i, axis, &x.shape)).collect::<Result<Vec<usize>, _>>()?;
    if is_batch(x, axis) && positions.len() > 1 {
        return refuse(
            "it repeats along the axis of the batch; a circuit takes one image",
            "export without this node, or drop the axis by Squeeze",
        );
    }
    let rows = |list: &[usize]| copies(&list.iter().map(|p| Some(*p)).collect::<Vec<_>>());
    let runs = runs(&positions);
    let y = if !is_view(&rows(&positions), x.shape[axis]) && runs.len() <= MAX_RUNS {
        let whole = TensorRef { shared: true, ..x.clone() };
        let parts = runs.iter().map(|run| along(draft, &whole, axis, &rows(run)));
        let parts = parts.collect::<Result<Vec<TensorRef>, _>>()?;
        joined(draft, &parts, axis)?
    } else {
        along(draft, x, axis, &rows(&positions))?
    };
    Ok(y.reshaped([&x.shape[..axis], &indices.shape[..], &x.shape[axis + 1..]].concat()))
}

/// Cuts a list where the distance of neighbours changes to another than 0.
fn runs(list: &[usize]) -> Vec<&[usize]> {
    let mut runs = Vec::new();
    let mut rest = list;
    while let Some(first) = rest.first() {
        let step = rest.get(1).map_or(0, |next| *next as i64 - *first as i64);
        let follows = |k: &usize| rest[*k] as i64 == *first as i64 + step * *k as i64;
        let count = if step == 0 { 1 } else { (0..rest.len()).take_while(follows).count() };
        let (run, behind) = rest.split_at(count);
        runs.push(run);
        rest = behind;
    }
    runs
}

/// Two parts of indices, if the first changes along leading axes only, and the second along those behind.
fn apart(parts: &[Constant]) -> Option<[Constant; 2]> {
    let [rows, columns] = parts else { return None };
    (1..rows.shape.len()).find_map(|split| {
        let (before, behind) = rows.shape.split_at(split);
        let inner: usize = behind.iter().product();
        let first: Vec<f64> = rows.values.iter().step_by(inner.max(1)).copied().collect();
        let second = columns.values.get(..inner)?.to_vec();
        let agree = (0..rows.values.len())
            .all(|k| rows.values[k] == first[k / inner] && columns.values[k] == second[k % inner]);
        let part = |shape: &[usize], values| Constant { shape: shape.to_vec(), values };
        agree.then(|| [part(before, first), part(behind, second)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_their_distance() {
        assert_eq!(runs(&[5, 3, 1, 0]), [&[5, 3, 1][..], &[0]]);
        assert_eq!(runs(&[0, 1, 2, 1, 1]), [&[0, 1, 2][..], &[1], &[1]]);
        assert!(runs(&[]).is_empty());
    }
}
