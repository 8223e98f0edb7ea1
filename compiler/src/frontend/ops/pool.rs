//! Average pools.
//!
//! A mean over a window is the product of means along its axes, divisors included; where the divisor is not the same for all
//! windows of an image, the axes are taken one by one.

use super::along::{Row, along};
use super::reduce::mean_over;
use super::window::{Axis, Geometry, geometry, spatial};
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::error::refuse;
use cipherloom_ir::Operator;

/// AveragePool.
pub(in crate::frontend) fn average(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len().saturating_sub(2);
    let Some(kernel) = call.sizes("kernel_shape", rank)? else {
        return refuse("attribute `kernel_shape` is missing", EXPORT_AGAIN);
    };
    let mut geometry = geometry(call, &x, &kernel)?;
    let includes = call.int("count_include_pad", 0)? != 0;
    let empty = |a: &Axis| (0..a.outputs()).any(|o| a.inside(o).is_empty());
    if !includes && geometry.axes.iter().any(empty) {
        return refuse("one of its windows holds padding only", EXPORT_AGAIN);
    }
    let mut y = x;
    let along_first = if uniform(&geometry, includes) { 0..0 } else { 3 - rank..3 };
    for k in along_first {
        let rows = means(&geometry.axes[k], includes);
        y = along(call.draft, &y, k + rank - 1, &rows)?;
        geometry.axes[k] = Axis { extent: geometry.axes[k].outputs(), ..Axis::NONE };
    }
    let window = geometry.window();
    if window.kernel == [1; 3] && window.stride == [1; 3] {
        return Ok(Value::Tensor(y));
    }
    // The part of a window beyond the padding (ceil_mode) is never counted.
    let padded = window.pad_before != [0; 3] || window.pad_after != [0; 3];
    let count_padding = !padded || includes && geometry.axes.iter().all(|a| a.overhang == 0);
    let operator = Operator::AveragePool { input: geometry.volume(), window, count_padding };
    let shape = geometry.output(geometry.channels);
    Ok(Value::Tensor(call.draft.apply(&y, operator, shape)))
}

/// Whether all axes are a pool with one rule for its divisors.
fn uniform(geometry: &Geometry, includes: bool) -> bool {
    let axes = &geometry.axes;
    let overhang = axes.iter().any(|a| a.overhang > 0);
    let pads = axes.iter().any(|a| a.pads != [0; 2]);
    let outside = |a: &Axis| a.pads[0] >= a.span() || a.pads[1] + a.overhang >= a.span();
    !(includes && overhang && pads || axes.iter().any(outside))
}

/// The mean along one axis.
fn means(axis: &Axis, includes: bool) -> Vec<Row> {
    let padded = -i64::from(axis.pads[0])..i64::from(axis.extent + axis.pads[1]);
    let row = |o: u32| {
        let inside = axis.inside(o);
        let counted = match includes {
            true => (0..axis.kernel).filter(|tap| padded.contains(&axis.position(o, *tap))).count(),
            false => inside.len(),
        };
        inside.into_iter().map(|k| (k, 1.0 / counted as f64)).collect()
    };
    (0..axis.outputs()).map(row).collect()
}

/// GlobalAveragePool.
pub(in crate::frontend) fn global(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    spatial(&x)?;
    let rank = x.shape.len();
    Ok(Value::Tensor(mean_over(call.draft, &x, 2..rank)))
}
