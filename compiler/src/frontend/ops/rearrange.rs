//! Operators that cut, repeat and regroup elements: Split, Tile, DepthToSpace, SpaceToDepth.

use super::view::{permuted, walked};
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{TensorRef, size};
use crate::frontend::error::{Refusal, refuse};
use cipherloom_ir::ViewAxis;

/// Split: one of its parts. Sizes are an attribute before operator set 13, then an operand; without them the parts are
/// equal, the last one smaller where that does not divide.
pub(in crate::frontend) fn split(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let axis = call.axis(call.int("axis", 0)?, x.shape.len())?;
    let (extent, count) = (x.shape[axis], call.node.output.len());
    let listed = match call.ints("split")? {
        Some(list) => Some(list),
        None => call.integers(1)?,
    };
    let sizes: Vec<usize> = match listed {
        Some(list) => list.iter().map(|s| usize::try_from(*s).unwrap_or(0)).collect(),
        None => {
            let each = extent.div_ceil(count);
            (0..count).map(|k| extent.saturating_sub(k * each).min(each)).collect()
        }
    };
    if sizes.len() != count || sizes.iter().try_fold(0usize, |n, s| n.checked_add(*s)) != Some(extent) {
        return refuse(format!("it splits {extent} positions into {sizes:?}"), EXPORT_AGAIN);
    }
    if sizes[call.output] == 0 {
        return refuse("one of its parts is empty", "remove the empty part");
    }
    let start = sizes[..call.output].iter().sum::<usize>() as i64;
    let axes = x.shape.iter().enumerate().map(|(k, d)| match k == axis {
        true => ViewAxis { extent: size(sizes[call.output]), input_axis: Some(size(k)), start, step: 1 },
        false => ViewAxis { extent: size(*d), input_axis: Some(size(k)), start: 0, step: 1 },
    });
    Ok(Value::Tensor(walked(call.draft, &x, axes.collect())?))
}

/// Tile.
pub(in crate::frontend) fn tile(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let Some(repeats) = call.integers(1)? else { return refuse("its repeats are missing", EXPORT_AGAIN) };
    call.bounded("its repeats", &repeats)?;
    if repeats.len() != x.shape.len() || repeats.iter().any(|r| *r < 1) {
        return refuse(format!("it repeats {:?} by {repeats:?}", x.shape), EXPORT_AGAIN);
    }
    let mut axes = Vec::new();
    let mut shape = Vec::new();
    for (k, (d, times)) in x.shape.iter().zip(&repeats).enumerate() {
        axes.push(ViewAxis { extent: *times as u32, input_axis: None, start: 0, step: 0 });
        axes.push(ViewAxis { extent: size(*d), input_axis: Some(size(k)), start: 0, step: 1 });
        shape.push(d.saturating_mul(*times as usize));
    }
    Ok(Value::Tensor(walked(call.draft, &x, axes)?.reshaped(shape)))
}

/// Batch, channels, height, width, and the block size.
fn blocks(call: &Call<'_>, x: &TensorRef) -> Result<([usize; 4], usize), Refusal> {
    let block = call.int("blocksize", 0)?;
    match x.shape[..] {
        [b, c, h, w] if block > 0 => Ok(([b, c, h, w], block as usize)),
        _ => refuse(format!("its operand has shape {:?}, its block size is {block}", x.shape), EXPORT_AGAIN),
    }
}

/// DepthToSpace: blocks of channels become blocks of pixels.
pub(in crate::frontend) fn depth_to_space(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let ([b, c, h, w], s) = blocks(call, &x)?;
    if s > c || !c.is_multiple_of(s * s) {
        return refuse(format!("{c} channels do not hold blocks of {s} x {s}"), EXPORT_AGAIN);
    }
    let left = c / s / s;
    let (dims, order) = match call.string("mode", "DCR")?.as_str() {
        "DCR" => ([b, s, s, left, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([b, left, s, s, h, w], [0, 1, 4, 2, 5, 3]),
        other => return refuse(format!("mode `{other}` is not known"), EXPORT_AGAIN),
    };
    let y = permuted(call.draft, &x.reshaped(dims.to_vec()), &order)?;
    Ok(Value::Tensor(y.reshaped(vec![b, left, h * s, w * s])))
}

/// SpaceToDepth: blocks of pixels become blocks of channels.
pub(in crate::frontend) fn space_to_depth(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let ([b, c, h, w], s) = blocks(call, &x)?;
    if !h.is_multiple_of(s) || !w.is_multiple_of(s) {
        return refuse(format!("{h} x {w} pixels do not divide into blocks of {s} x {s}"), EXPORT_AGAIN);
    }
    let apart = x.reshaped(vec![b, c, h / s, s, w / s, s]);
    let y = permuted(call.draft, &apart, &[0, 3, 5, 1, 2, 4])?;
    Ok(Value::Tensor(y.reshaped(vec![b, c * s * s, h / s, w / s])))
}
