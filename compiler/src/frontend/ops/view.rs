//! Operators that move elements: Transpose, Slice, Pad, Expand, Concat.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::linear::is_identity;
use crate::frontend::draft::{Draft, DraftKind, MAX_ELEMENTS, TensorRef, size, stripped};
use crate::frontend::error::{Refusal, refuse};
use crate::graph::Kind;
use cipherloom_ir::{Operator, ViewAxis};

/// Axis `k` as it is.
fn whole(k: usize, extent: usize) -> ViewAxis {
    ViewAxis { extent: size(extent), input_axis: Some(size(k)), start: 0, step: 1 }
}

/// Walks a tensor; `axes` speak of its ONNX shape, batch included. No node where nothing moves.
pub(super) fn walked(draft: &mut Draft, x: &TensorRef, axes: Vec<ViewAxis>) -> Result<TensorRef, Refusal> {
    let shape: Vec<usize> = axes.iter().map(|a| a.extent as usize).collect();
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if elements.is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
        return refuse(format!("its result has shape {shape:?}"), EXPORT_AGAIN);
    }
    let mut axes = axes;
    if axes.len() > 1 && axes[0].extent == 1 && axes[0].start == 0 {
        axes.remove(0);
    }
    let mut input: Vec<u32> = x.shape.iter().map(|d| size(*d)).collect();
    if input.len() > 1 && input[0] == 1 && axes.iter().all(|a| a.input_axis != Some(0)) {
        input.remove(0);
        axes.iter_mut().for_each(|a| a.input_axis = a.input_axis.map(|k| k - 1));
    }
    let operator = Operator::View { input, axes };
    if is_identity(&operator) {
        return Ok(x.reshaped(shape));
    }
    Ok(draft.apply(x, operator, shape))
}

/// A tensor repeated to a larger shape.
pub(super) fn broadcast(draft: &mut Draft, x: &TensorRef, shape: &[usize]) -> Result<TensorRef, Refusal> {
    let lead = shape.len() - x.shape.len();
    let axis = |k: usize| {
        let own = k.checked_sub(lead);
        match own {
            Some(own) if x.shape[own] == shape[k] => whole(own, shape[k]),
            _ => ViewAxis { extent: size(shape[k]), input_axis: None, start: 0, step: 0 },
        }
    };
    walked(draft, x, (0..shape.len()).map(axis).collect())
}

/// Expand.
pub(in crate::frontend) fn expand(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let Some(wanted) = call.integers(1)? else { return refuse("its shape is missing", EXPORT_AGAIN) };
    call.bounded("its shape", &wanted)?;
    let rank = wanted.len().max(x.shape.len());
    let mut shape = vec![1usize; rank];
    for (k, target) in shape.iter_mut().enumerate() {
        let own = (k + x.shape.len()).checked_sub(rank).map_or(1, |k| x.shape[k]);
        let asked = (k + wanted.len()).checked_sub(rank).map_or(1, |k| wanted[k].max(0) as usize);
        *target = match (own, asked) {
            (own, asked) if own == asked || asked == 1 => own,
            (1, asked) => asked,
            _ => return refuse(format!("it expands {:?} to {wanted:?}", x.shape), EXPORT_AGAIN),
        };
    }
    Ok(Value::Tensor(broadcast(call.draft, &x, &shape)?))
}

/// Transpose.
pub(in crate::frontend) fn transpose(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let perm = call.ints("perm")?.unwrap_or_else(|| (0..rank as i64).rev().collect());
    let axes = perm.iter().map(|p| call.axis(*p, rank)).collect::<Result<Vec<usize>, _>>()?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<usize>>() {
        return refuse(format!("its permutation is {perm:?}"), EXPORT_AGAIN);
    }
    let axes = axes.iter().map(|k| whole(*k, x.shape[*k])).collect();
    Ok(Value::Tensor(walked(call.draft, &x, axes)?))
}

/// Slice; bounds are attributes before operator set 10, then operands.
pub(in crate::frontend) fn slice(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let (starts, ends, axes, steps) = if call.opset < 10 {
        (call.ints("starts")?, call.ints("ends")?, call.ints("axes")?, None)
    } else {
        (call.integers(1)?, call.integers(2)?, call.integers(3)?, call.integers(4)?)
    };
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return refuse("its bounds are missing", EXPORT_AGAIN);
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return refuse("its bounds differ in number", EXPORT_AGAIN);
    }
    call.bounded("its steps", &steps)?;
    let mut walks: Vec<ViewAxis> = (0..rank).map(|k| whole(k, x.shape[k])).collect();
    for k in 0..starts.len() {
        let axis = call.axis(axes[k], rank)?;
        let (extent, step) = (x.shape[axis] as i64, steps[k]);
        if step == 0 {
            return refuse("its step is 0", EXPORT_AGAIN);
        }
        let from_end = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let start = from_end(starts[k]).clamp(low.max(0), high);
        let end = from_end(ends[k]).clamp(low, high);
        let count = if step > 0 { (end - start + step - 1) / step } else { (start - end - step - 1) / -step };
        if count <= 0 {
            return refuse(format!("it leaves nothing of axis {axis} of {:?}", x.shape), EXPORT_AGAIN);
        }
        walks[axis] = ViewAxis { extent: size(count as usize), input_axis: Some(size(axis)), start, step };
    }
    Ok(Value::Tensor(walked(call.draft, &x, walks)?))
}

/// Pad with a constant; `pads` is an attribute before operator set 11, then an operand.
pub(in crate::frontend) fn pad(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let mode = call.string("mode", "constant")?;
    if mode != "constant" {
        return refuse(format!("padding mode `{mode}` is not supported"), "pad with zeros");
    }
    let (pads, axes, value) = if call.opset < 11 {
        let pads = call.ints("pads")?.or(call.ints("paddings")?);
        (pads, None, call.float("value", 0.0)?)
    } else {
        let value = call.optional_constant(2)?.and_then(|c| c.values.first().copied());
        (call.integers(1)?, call.integers(3)?, value.unwrap_or(0.0))
    };
    let Some(pads) = pads else { return refuse("its pads are missing", EXPORT_AGAIN) };
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() || !value.is_finite() {
        return refuse(format!("its pads are {pads:?} and its value is {value}"), EXPORT_AGAIN);
    }
    call.bounded("its pads", &pads)?;
    if pads.iter().any(|p| *p < 0) {
        return refuse(format!("its pads {pads:?} are negative in part"), "crop with Slice");
    }
    let mut walks: Vec<ViewAxis> = (0..rank).map(|k| whole(k, x.shape[k])).collect();
    for (k, axis) in axes.iter().enumerate() {
        let axis = call.axis(*axis, rank)?;
        let (before, after) = (pads[k], pads[k + axes.len()]);
        let extent = x.shape[axis] as i64 + before + after;
        walks[axis] =
            ViewAxis { extent: size(extent as usize), input_axis: Some(size(axis)), start: -before, step: 1 };
    }
    let inside = |k: &usize| padding_mask(&walks, &x.shape, *k);
    let total = walks.iter().try_fold(1usize, |n, a| n.checked_mul(a.extent as usize)).unwrap_or(usize::MAX);
    if value != 0.0 && total <= MAX_ELEMENTS {
        let fill = (0..total).map(|k| if inside(&k) { 0.0 } else { value }).collect();
        let y = walked(call.draft, &x, walks.clone())?;
        return Ok(Value::Tensor(call.draft.shifted(&y, fill)));
    }
    Ok(Value::Tensor(walked(call.draft, &x, walks)?))
}

/// Whether element `k` of the result comes from the operand.
fn padding_mask(walks: &[ViewAxis], shape: &[usize], k: usize) -> bool {
    let mut rest = k;
    walks.iter().zip(shape).rev().all(|(a, extent)| {
        let position = a.start + (rest % a.extent as usize) as i64;
        rest /= a.extent as usize;
        (0..*extent as i64).contains(&position)
    })
}

/// Concat of tensors along an axis other than the batch.
pub(in crate::frontend) fn concat(call: &mut Call<'_>) -> Lowered {
    let parts = (0..call.operands.len()).map(|k| call.tensor(k)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = parts.first() else { return refuse("it has no operands", EXPORT_AGAIN) };
    let axis = call.axis(call.int("axis", 1)?, first.shape.len())?;
    if parts.len() == 1 {
        return Ok(Value::Tensor(first.clone()));
    }
    let others = |t: &TensorRef| {
        t.shape.iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, d)| *d).collect::<Vec<usize>>()
    };
    if parts.iter().any(|p| p.shape.len() != first.shape.len() || others(p) != others(first)) {
        return refuse("its operands differ in more than one axis", EXPORT_AGAIN);
    }
    if axis == 0 || first.shape[0] != 1 {
        return refuse("it concatenates along the batch", "concatenate along another axis");
    }
    let parts: Vec<TensorRef> = parts.iter().map(|p| call.draft.materialised(p)).collect();
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
    let operands = parts.iter().map(|p| p.node).collect();
    let node =
        call.draft.push(DraftKind::Graph(Kind::Concat { axis: size(axis - 1) }), operands, stripped(&shape));
    Ok(Value::Tensor(TensorRef { node, shape, shared: false, client: Vec::new() }))
}
