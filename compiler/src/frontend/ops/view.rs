//! Operators that move elements: Transpose, Slice, Pad, Expand, Concat.

use super::along::{MAX_POSITIONS, Row, along_axes, copies};
use super::{EXPORT_AGAIN, Lowered, holds};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::linear::is_identity;
use crate::frontend::draft::{Draft, DraftKind, TensorRef, node_shape, size};
use crate::frontend::error::{Refusal, refuse};
use crate::frontend::reference::Constant;
use crate::graph::Kind;
use cipherloom_ir::{Operator, ViewAxis};

/// Axis `k` as it is.
fn whole(k: usize, extent: usize) -> ViewAxis {
    ViewAxis { extent: size(extent), input_axis: Some(size(k)), start: 0, step: 1 }
}

/// Walks a tensor; `axes` speak of its ONNX shape, batch included. No node where nothing moves.
pub(super) fn walked(draft: &mut Draft, x: &TensorRef, axes: Vec<ViewAxis>) -> Result<TensorRef, Refusal> {
    let shape: Vec<usize> = axes.iter().map(|a| a.extent as usize).collect();
    holds(&shape)?;
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

/// A tensor with its axes in another order.
pub(super) fn permuted(draft: &mut Draft, x: &TensorRef, order: &[usize]) -> Result<TensorRef, Refusal> {
    walked(draft, x, order.iter().map(|k| whole(*k, x.shape[*k])).collect())
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
    Ok(Value::Tensor(permuted(call.draft, &x, &axes)?))
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

/// Pad, in every mode; `pads` is an attribute before operator set 11, then an operand. Negative pads crop.
pub(in crate::frontend) fn pad(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
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
    let mode = call.string("mode", "constant")?;
    let mut maps: Vec<(usize, Vec<Row>)> = Vec::new();
    for (k, axis) in axes.iter().enumerate() {
        let axis = call.axis(*axis, rank)?;
        let (before, after) = (pads[k], pads[k + axes.len()]);
        let extent = x.shape[axis] as i64;
        let total = extent + before + after;
        if !(1..=MAX_POSITIONS as i64).contains(&total) {
            return refuse(format!("its pads {pads:?} leave {total} positions of axis {axis}"), EXPORT_AGAIN);
        }
        if (before, after) == (0, 0) {
            continue;
        }
        let positions = (0..total).map(|o| padded(&mode, o - before, extent));
        maps.push((axis, copies(&positions.collect::<Result<Vec<_>, _>>()?)));
    }
    along_axes(call.draft, &x, &maps, value)
}

/// The position that stands at `p` of an axis padded on both sides; none where the constant stands.
fn padded(mode: &str, p: i64, extent: i64) -> Result<Option<usize>, Refusal> {
    let inside = match mode {
        "constant" => return Ok((0..extent).contains(&p).then_some(p as usize)),
        "edge" => p.clamp(0, extent - 1),
        "wrap" => p.rem_euclid(extent),
        "reflect" if extent == 1 => 0,
        "reflect" => {
            let period = 2 * (extent - 1);
            let q = p.rem_euclid(period);
            q.min(period - q)
        }
        _ => return refuse(format!("padding mode `{mode}` is not known"), "pad with zeros"),
    };
    Ok(Some(inside as usize))
}

/// Concat of tensors along an axis.
pub(in crate::frontend) fn concat(call: &mut Call<'_>) -> Lowered {
    let parts = parts(call)?;
    let Some(first) = parts.first() else { return refuse("it has no operands", EXPORT_AGAIN) };
    let axis = call.axis(call.int("axis", 1)?, first.shape.len())?;
    Ok(Value::Tensor(joined(call.draft, &parts, axis)?))
}

/// Tensors one behind the other along an axis of their ONNX shapes; at least one.
pub(super) fn joined(draft: &mut Draft, parts: &[TensorRef], axis: usize) -> Result<TensorRef, Refusal> {
    let first = &parts[0];
    if parts.len() == 1 {
        return Ok(first.clone());
    }
    let others = |t: &TensorRef| {
        t.shape.iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, d)| *d).collect::<Vec<usize>>()
    };
    if parts.iter().any(|p| p.shape.len() != first.shape.len() || others(p) != others(first)) {
        return refuse("its operands differ in more than one axis", EXPORT_AGAIN);
    }
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
    let beside = [first.shape[..axis].iter().product(), first.shape[axis + 1..].iter().product()];
    let whole = [&shape];
    let extents = parts.iter().map(|p| &p.shape).chain(whole).map(|s| joint(s, beside));
    let own = extents.collect::<Option<Vec<usize>>>().filter(|axes| axes.iter().all(|a| *a == axes[0]));
    // Where the axis is none of the node's, the parts are read as [before, axis, behind].
    let (axis, node) = match own {
        Some(axes) => (axes[0], node_shape(&shape)),
        None => (1, vec![size(beside[0]), size(shape[axis]), size(beside[1])]),
    };
    let read = |draft: &mut Draft, part: &TensorRef| {
        let mut own = node.clone();
        let others = node.iter().enumerate().filter(|(k, _)| *k != axis).map(|(_, d)| *d as usize);
        own[axis] = size(part.elements() / others.product::<usize>());
        draft.read_as(part, own).node
    };
    let operands: Vec<usize> = parts.iter().map(|p| read(draft, p)).collect();
    let node = draft.push(DraftKind::Graph(Kind::Concat { axis: size(axis) }), operands, node);
    Ok(TensorRef { node, shape, shared: false, client: Vec::new() })
}

/// The operands of Concat; a constant joins the tensor before it, or behind it where there is none.
fn parts(call: &mut Call<'_>) -> Result<Vec<TensorRef>, Refusal> {
    let mut parts: Vec<TensorRef> = Vec::new();
    let mut leading: Vec<Constant> = Vec::new();
    for k in 0..call.operands.len() {
        if !matches!(call.operands[k], Some(Value::Constant(_))) {
            let mut part = call.tensor(k)?;
            while let Some(constant) = leading.pop() {
                part = beside(call, &part, &constant, Side::Before)?;
            }
            parts.push(part);
            continue;
        }
        let constant = call.weights(k)?;
        match parts.pop() {
            Some(last) => parts.push(beside(call, &last, &constant, Side::Behind)?),
            None => leading.push(constant),
        }
    }
    Ok(parts)
}

/// Where a constant stands.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Before,
    Behind,
}

/// A tensor with a constant beside it along the axis of Concat.
fn beside(call: &mut Call<'_>, x: &TensorRef, c: &Constant, side: Side) -> Result<TensorRef, Refusal> {
    let axis = call.axis(call.int("axis", 1)?, x.shape.len())?;
    let fits = |(k, (a, b)): (usize, (&usize, &usize))| k == axis || a == b;
    if c.shape.len() != x.shape.len() || !x.shape.iter().zip(&c.shape).enumerate().all(fits) {
        return refuse("its operands differ in more than one axis", EXPORT_AGAIN);
    }
    let (own, more) = (x.shape[axis], c.shape[axis]);
    let start = if side == Side::Before { more } else { 0 };
    let mut walks: Vec<ViewAxis> = (0..x.shape.len()).map(|k| whole(k, x.shape[k])).collect();
    walks[axis] = ViewAxis { extent: size(own + more), start: -(start as i64), ..walks[axis] };
    let y = walked(call.draft, x, walks)?;
    let inner: usize = x.shape[axis + 1..].iter().product();
    let first = if side == Side::Before { 0 } else { own };
    let value = |k: usize| {
        let (outer, at) = (k / inner / (own + more), k / inner % (own + more));
        let inside = at.checked_sub(first).filter(|p| *p < more);
        inside.map_or(0.0, |p| c.values[(outer * more + p) * inner + k % inner])
    };
    let fill = (0..y.elements()).map(value).collect();
    Ok(call.draft.shifted(&y, fill))
}

/// The axis of a node's shape that has these numbers of elements before and behind it.
fn joint(shape: &[usize], beside: [usize; 2]) -> Option<usize> {
    let node: Vec<usize> = node_shape(shape).iter().map(|d| *d as usize).collect();
    let product = |part: &[usize]| part.iter().product::<usize>();
    (0..node.len()).find(|k| [product(&node[..*k]), product(&node[k + 1..])] == beside)
}
