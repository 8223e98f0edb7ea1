//! ConvTranspose.
//!
//! An output row at `stride · q + r` reads, for a fixed phase r, the same taps at the same distances from row q: each phase is
//! an ordinary convolution of stride 1 over a part of the kernel. All phases together are one convolution with a channel
//! for each, whose pixels are then interleaved by a view. Depth becomes part of the channels.

use super::along::MAX_POSITIONS;
use super::view::{permuted, walked};
use super::window::{Axis, Geometry, biased, bounded_weight, explicit_pads, groups, unpadded};
use super::{EXPORT_AGAIN, Lowered, holds};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::linear::narrow;
use crate::frontend::draft::{TensorRef, size};
use crate::frontend::error::{Refusal, refuse};
use cipherloom_ir::{Operator, ViewAxis, Window};

/// Windows of the phases along one axis.
struct Phases {
    /// Positions of the result.
    outputs: usize,
    /// Positions of each phase.
    each: usize,
    /// Distance from q that the first tap of the common window reads; at most 0.
    first: i64,
    /// Taps of the common window.
    taps: usize,
    padding: [u32; 2],
}

/// Tap of the kernel that phase `r` applies at distance `distance`.
fn tap(axis: &Axis, r: u32, distance: i64) -> Option<usize> {
    let reach = i64::from(r) + i64::from(axis.pads[0]) - distance * i64::from(axis.stride);
    let whole = reach >= 0 && reach % i64::from(axis.dilation) == 0;
    whole.then(|| (reach / i64::from(axis.dilation)) as usize).filter(|k| *k < axis.kernel as usize)
}

fn phases(axis: &Axis, outputs: usize) -> Phases {
    let (extent, each) = (i64::from(axis.extent), outputs.div_ceil(axis.stride as usize));
    let span = i64::from(axis.span());
    let reached = |d: &i64| (0..axis.stride).any(|r| tap(axis, r, *d).is_some());
    let bound = span / i64::from(axis.stride) + i64::from(axis.pads[0]) / i64::from(axis.stride) + 2;
    let distances: Vec<i64> = (-bound..=bound).filter(reached).collect();
    let first = distances.first().copied().unwrap_or(0).min(0);
    // So that windows never have to be cropped: the last one reaches the end.
    let last = distances.last().copied().unwrap_or(0).max(extent - each as i64);
    let padding = [-first, each as i64 - 1 + last - (extent - 1)];
    Phases { outputs, each, first, taps: (last - first + 1) as usize, padding: padding.map(|p| p as u32) }
}

/// ConvTranspose.
pub(in crate::frontend) fn convolution(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let weight = call.weights(1)?;
    let Some((&[channels, group_out], kernel)) = weight.shape.split_first_chunk::<2>() else {
        return refuse(format!("its weight has shape {:?}", weight.shape), EXPORT_AGAIN);
    };
    let kernel: Vec<u32> = kernel.iter().map(|d| size(*d)).collect();
    let mut geometry = unpadded(call, &x, &kernel)?;
    let groups = groups(call, &[channels])?;
    if channels != geometry.channels {
        return refuse(
            format!("weight {:?} does not fit {} channels", weight.shape, geometry.channels),
            EXPORT_AGAIN,
        );
    }
    let outputs = output_sizes(call, &mut geometry)?;
    let spatial = outputs[3 - geometry.rank..].iter().copied();
    let shape: Vec<usize> = [geometry.batch, group_out * groups].into_iter().chain(spatial).collect();
    holds(&shape)?;
    let [depth, height, width] = geometry.axes;
    let [rows, columns] = [phases(&height, outputs[1]), phases(&width, outputs[2])];
    let [sh, sw] = [height.stride as usize, width.stride as usize];
    let out_channels = group_out * groups;
    let (deep_in, deep_out) = (depth.extent as usize, outputs[0]);
    let group_in = channels / groups;
    let area = rows.taps * columns.taps;
    let planes = geometry.batch * out_channels * deep_out * sh * sw;
    let whole = [planes, group_in * deep_in, area];
    bounded_weight(&whole)?;
    let mut values = vec![0.0; whole.iter().product()];
    let own = kernel.iter().product::<u32>() as usize;
    for plane in 0..planes {
        let (pw, ph, to) = (plane % sw, plane / sw % sh, plane / sw / sh % deep_out);
        let out = plane / sw / sh / deep_out % out_channels;
        for i in 0..group_in {
            let source = (out / group_out * group_in + i) * group_out + out % group_out;
            let source = &weight.values[source * own..(source + 1) * own];
            for from in 0..deep_in {
                // Of depth, an output position reads all positions that the kernel joins it with.
                let reach = to as i64 + i64::from(depth.pads[0]) - (from * depth.stride as usize) as i64;
                let deep = reach.checked_rem(i64::from(depth.dilation)) == Some(0) && reach >= 0;
                let kd = (reach / i64::from(depth.dilation)) as usize;
                if !deep || kd >= depth.kernel as usize {
                    continue;
                }
                let target = ((plane * group_in + i) * deep_in + from) * area;
                for k in 0..area {
                    let (dy, dx) =
                        (rows.first + (k / columns.taps) as i64, columns.first + (k % columns.taps) as i64);
                    let taps = (tap(&height, ph as u32, dy), tap(&width, pw as u32, dx));
                    if let (Some(ky), Some(kx)) = taps {
                        let at = (kd * height.kernel as usize + ky) * width.kernel as usize + kx;
                        values[target + k] = source[at];
                    }
                }
            }
        }
    }
    let dims = vec![size(planes), size(whole[1]), size(rows.taps), size(columns.taps)];
    let name = call.operand_name(1);
    let weight = call.draft.named_weights(name, dims, narrow(values));
    let window = Window {
        kernel: [1, size(rows.taps), size(columns.taps)],
        pad_before: [0, rows.padding[0], columns.padding[0]],
        pad_after: [0, rows.padding[1], columns.padding[1]],
        ..Window::POINT
    };
    let groups = size(geometry.batch * groups);
    let operator = Operator::Convolution { input: geometry.planes(), window, groups, weight };
    let y = call.draft.apply(&x, operator, vec![1, planes, rows.each, columns.each]);
    let y = interleaved(call, &y, [sh, sw], [&rows, &columns])?;
    Ok(Value::Tensor(biased(call, y.reshaped(shape), out_channels)?))
}

/// Phases `[.., sh, sw]` in the channels become pixels; what stands beyond the outputs is dropped.
fn interleaved(
    call: &mut Call<'_>,
    y: &TensorRef,
    [sh, sw]: [usize; 2],
    [rows, columns]: [&Phases; 2],
) -> Result<TensorRef, Refusal> {
    let channels = y.shape[1] / sh / sw;
    let apart = y.reshaped(vec![channels, sh, sw, rows.each, columns.each]);
    let joined = permuted(call.draft, &apart, &[0, 3, 1, 4, 2])?;
    let joined = joined.reshaped(vec![1, channels, rows.each * sh, columns.each * sw]);
    let axis = |k: usize, extent: usize| ViewAxis {
        extent: size(extent),
        input_axis: Some(size(k)),
        start: 0,
        step: 1,
    };
    let kept = [(0, 1), (1, channels), (2, rows.outputs), (3, columns.outputs)];
    walked(call.draft, &joined, kept.map(|(k, extent)| axis(k, extent)).to_vec())
}

/// Sizes of the result along depth, height and width; fills in the padding that they imply.
fn output_sizes(call: &Call<'_>, geometry: &mut Geometry) -> Result<[usize; 3], Refusal> {
    let rank = geometry.rank;
    let pads = explicit_pads(call, rank)?;
    let more = match call.ints("output_padding")? {
        Some(list) if list.len() == rank => list,
        _ => vec![0; rank],
    };
    call.bounded("attribute `output_padding`", &more)?;
    let wanted = call.sizes("output_shape", rank)?;
    let auto_pad = call.string("auto_pad", "NOTSET")?;
    let mut outputs = [1; 3];
    for k in 0..rank {
        let axis = &mut geometry.axes[3 - rank + k];
        let (extent, stride) = (i64::from(axis.extent), i64::from(axis.stride));
        let full =
            stride * (extent - 1) + more[k] + i64::from(axis.kernel - 1) * i64::from(axis.dilation) + 1;
        let given = match (&wanted, auto_pad.as_str()) {
            (Some(sizes), _) => Some(i64::from(sizes[k])),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(extent * stride),
            (None, "NOTSET" | "VALID") => None,
            (None, other) => return refuse(format!("auto_pad `{other}` is not known"), EXPORT_AGAIN),
        };
        let output = match given {
            Some(output) => {
                let total = (full - output).max(0);
                let (small, large) = (total / 2, total - total / 2);
                let [before, after] = if auto_pad == "SAME_UPPER" { [small, large] } else { [large, small] };
                axis.pads = [before as u32, after as u32];
                output
            }
            None => {
                axis.pads = if auto_pad == "VALID" { [0; 2] } else { [pads[k], pads[k + rank]] };
                full - i64::from(axis.pads[0]) - i64::from(axis.pads[1])
            }
        };
        let bounded = [full, output].iter().all(|n| (1..=MAX_POSITIONS as i64).contains(n));
        if more[k] < 0 || !bounded {
            return refuse(
                format!("its result would have {output} positions on axis {}", k + 2),
                EXPORT_AGAIN,
            );
        }
        outputs[3 - rank + k] = output as usize;
    }
    Ok(outputs)
}
