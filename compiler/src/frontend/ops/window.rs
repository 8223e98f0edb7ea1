//! Sliding windows: geometry from attributes (also for pools), and Conv.
//!
//! Kernels have three spatial axes: an image has a depth of 1, a signal a height of 1 too. A batch becomes part of the channels,
//! in groups of its own. Nothing moves for that: data are row-major.

use super::{EXPORT_AGAIN, Lowered, holds};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{TensorRef, linear::narrow, size};
use crate::frontend::error::{Refusal, refuse};
use cipherloom_ir::{Operator, Window};

/// Largest weight that a batch, or the depth of a transposed convolution, may make, in entries.
const MAX_WEIGHT: usize = 1 << 24;

/// Positions that all windows read along one axis, at most.
const MAX_READS: u64 = 1 << 22;

/// Windows along one spatial axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub extent: u32,
    pub kernel: u32,
    pub stride: u32,
    pub dilation: u32,
    /// Padding before and after.
    pub pads: [u32; 2],
    /// How far the last window reaches beyond the padding (ceil_mode).
    pub overhang: u32,
}

impl Axis {
    /// An axis that nothing slides along.
    pub const NONE: Axis = Axis { extent: 1, kernel: 1, stride: 1, dilation: 1, pads: [0; 2], overhang: 0 };

    /// Extent of a window.
    pub fn span(&self) -> u32 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Number of windows.
    pub fn outputs(&self) -> u32 {
        (self.extent + self.pads[0] + self.pads[1] + self.overhang - self.span()) / self.stride + 1
    }

    /// Position that tap `tap` of window `output` reads, counted from the first element.
    pub fn position(&self, output: u32, tap: u32) -> i64 {
        i64::from(output) * i64::from(self.stride) + i64::from(tap) * i64::from(self.dilation)
            - i64::from(self.pads[0])
    }

    /// Positions inside the operand that window `output` reads.
    pub fn inside(&self, output: u32) -> Vec<usize> {
        let all = (0..self.kernel).map(|tap| self.position(output, tap));
        all.filter(|p| (0..i64::from(self.extent)).contains(p)).map(|p| p as usize).collect()
    }
}

/// Geometry of a node's windows over `[batch, channels, depth, height, width]`.
pub(super) struct Geometry {
    pub batch: usize,
    pub channels: usize,
    pub axes: [Axis; 3],
    /// Spatial axes of the operand.
    pub rank: usize,
}

impl Geometry {
    /// ONNX shape of the result.
    pub fn output(&self, channels: usize) -> Vec<usize> {
        let spatial = self.axes[3 - self.rank..].iter().map(|a| a.outputs() as usize);
        [self.batch, channels].into_iter().chain(spatial).collect()
    }

    /// The operand as a volume: batch and channels are its channels.
    pub fn volume(&self) -> [u32; 4] {
        let [depth, height, width] = self.axes.map(|a| a.extent);
        [size(self.batch * self.channels), depth, height, width]
    }

    /// The operand as an image: the depth belongs to the channels too.
    pub fn planes(&self) -> [u32; 4] {
        let [channels, depth, height, width] = self.volume();
        [channels * depth, 1, height, width]
    }

    /// The windows.
    pub fn window(&self) -> Window {
        Window {
            kernel: self.axes.map(|a| a.kernel),
            stride: self.axes.map(|a| a.stride),
            dilation: self.axes.map(|a| a.dilation),
            pad_before: self.axes.map(|a| a.pads[0]),
            pad_after: self.axes.map(|a| a.pads[1] + a.overhang),
        }
    }
}

/// Batch, channels and spatial axes of an operand of three to five axes.
pub(super) fn spatial(x: &TensorRef) -> Result<(usize, usize, [u32; 3]), Refusal> {
    match x.shape[..] {
        [b, c, w] => Ok((b, c, [1, 1, size(w)])),
        [b, c, h, w] => Ok((b, c, [1, size(h), size(w)])),
        [b, c, d, h, w] => Ok((b, c, [size(d), size(h), size(w)])),
        _ => refuse(
            format!("its operand has shape {:?}; one to three spatial axes are needed", x.shape),
            "use operators of one, two or three spatial axes",
        ),
    }
}

/// Kernel, strides and dilations, without padding.
pub(super) fn unpadded(call: &Call<'_>, x: &TensorRef, kernel: &[u32]) -> Result<Geometry, Refusal> {
    let (batch, channels, extents) = spatial(x)?;
    let rank = x.shape.len() - 2;
    if kernel.len() != rank {
        return refuse(format!("its kernel has {} axes, its operand {rank}", kernel.len()), EXPORT_AGAIN);
    }
    let ones = || vec![1; rank];
    let strides = call.sizes("strides", rank)?.unwrap_or_else(ones);
    let dilations = call.sizes("dilations", rank)?.unwrap_or_else(ones);
    let mut axes = [Axis::NONE; 3];
    for k in 0..rank {
        axes[3 - rank + k] = Axis {
            extent: extents[3 - rank + k],
            kernel: kernel[k],
            stride: strides[k],
            dilation: dilations[k],
            ..Axis::NONE
        };
    }
    Ok(Geometry { batch, channels, axes, rank })
}

/// Reads a node's window attributes.
pub(super) fn geometry(call: &Call<'_>, x: &TensorRef, kernel: &[u32]) -> Result<Geometry, Refusal> {
    let mut geometry = unpadded(call, x, kernel)?;
    let rank = geometry.rank;
    let pads = explicit_pads(call, rank)?;
    let auto_pad = call.string("auto_pad", "NOTSET")?;
    let ceil = call.int("ceil_mode", 0)? != 0;
    for (k, axis) in geometry.axes[3 - rank..].iter_mut().enumerate() {
        match auto_pad.as_str() {
            "NOTSET" => axis.pads = [pads[k], pads[k + rank]],
            "VALID" => {}
            "SAME_UPPER" | "SAME_LOWER" => same_padding(axis, auto_pad == "SAME_UPPER"),
            other => return refuse(format!("auto_pad `{other}` is not known"), EXPORT_AGAIN),
        }
        if ceil {
            round_up(axis);
        }
        let padded = [axis.pads[0], axis.pads[1], axis.overhang].iter().map(|p| u64::from(*p)).sum::<u64>();
        let padded = padded + u64::from(axis.extent);
        let span = u64::from(axis.kernel - 1) * u64::from(axis.dilation);
        if padded <= span || padded > u64::from(u32::MAX) {
            return refuse(
                format!("its window is larger than its padded operand {:?}", x.shape),
                EXPORT_AGAIN,
            );
        }
        let reads = u64::from(axis.outputs()) * u64::from(axis.kernel);
        if reads > MAX_READS {
            return refuse(
                format!("its windows read {reads} positions along one axis"),
                format!("at most {MAX_READS} are taken; use smaller windows or images"),
            );
        }
    }
    holds(&geometry.output(geometry.channels))?;
    Ok(geometry)
}

/// The attribute `pads`: before each axis, then after each.
pub(super) fn explicit_pads(call: &Call<'_>, rank: usize) -> Result<Vec<u32>, Refusal> {
    let pads = call.ints("pads")?.unwrap_or_else(|| vec![0; 2 * rank]);
    call.bounded("attribute `pads`", &pads)?;
    if pads.len() != 2 * rank || pads.iter().any(|p| *p < 0) {
        return refuse(format!("attribute `pads` is {pads:?}; {} sizes are needed", 2 * rank), EXPORT_AGAIN);
    }
    Ok(pads.iter().map(|p| *p as u32).collect())
}

/// Padding that makes the output `ceil(input / stride)`, the odd row after (upper) or before (lower).
fn same_padding(axis: &mut Axis, upper: bool) {
    let (extent, stride) = (u64::from(axis.extent), u64::from(axis.stride));
    let span = u64::from(axis.kernel - 1) * u64::from(axis.dilation) + 1;
    let total = ((extent.div_ceil(stride) - 1) * stride + span).saturating_sub(extent);
    let total = u32::try_from(total).unwrap_or(u32::MAX / 4);
    let (small, large) = (total / 2, total - total / 2);
    axis.pads = if upper { [small, large] } else { [large, small] };
}

/// Lets the last, partial window in, if it starts inside the padded image.
fn round_up(axis: &mut Axis) {
    let span = u64::from(axis.kernel - 1) * u64::from(axis.dilation) + 1;
    let (extent, stride) = (u64::from(axis.extent), u64::from(axis.stride));
    let padded = extent + u64::from(axis.pads[0]) + u64::from(axis.pads[1]);
    let mut steps = padded.saturating_sub(span).div_ceil(stride);
    if steps * stride >= extent + u64::from(axis.pads[0]) {
        steps = steps.saturating_sub(1);
    }
    let missing = (steps * stride + span).saturating_sub(padded);
    axis.overhang = u32::try_from(missing).unwrap_or(0);
}

/// The attribute `group`, which must divide the channels.
pub(super) fn groups(call: &Call<'_>, channels: &[usize]) -> Result<usize, Refusal> {
    let groups = call.int("group", 1)?;
    let divides = |n: &usize| groups > 0 && n.is_multiple_of(groups as usize);
    if !channels.iter().all(divides) {
        return refuse(format!("{groups} groups do not divide {channels:?} channels"), EXPORT_AGAIN);
    }
    Ok(groups as usize)
}

/// Refuses a weight that a batch, or a depth, makes too large.
pub(super) fn bounded_weight(entries: &[usize]) -> Result<(), Refusal> {
    let total = entries.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    match total.filter(|n| *n <= MAX_WEIGHT) {
        Some(_) => Ok(()),
        None => refuse(
            format!(
                "as a map between images its weight would have {} entries",
                entries.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
            ),
            format!(
                "at most {MAX_WEIGHT} are taken; use a smaller batch, or a smaller depth where it is transposed"
            ),
        ),
    }
}

/// Conv.
pub(in crate::frontend) fn convolution(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let weight = call.weights(1)?;
    let (_, channels, _) = spatial(&x)?;
    let Some((&[out_channels, group_in], kernel)) = weight.shape.split_first_chunk::<2>() else {
        return refuse(format!("its weight has shape {:?}", weight.shape), EXPORT_AGAIN);
    };
    let groups = groups(call, &[channels, out_channels])?;
    if group_in * groups != channels {
        return refuse(
            format!("weight {:?} in {groups} groups does not fit {channels} channels", weight.shape),
            EXPORT_AGAIN,
        );
    }
    let kernel: Vec<u32> = kernel.iter().map(|d| size(*d)).collect();
    if call.sizes("kernel_shape", kernel.len())?.is_some_and(|k| k != kernel) {
        return refuse(format!("kernel_shape contradicts its weight {:?}", weight.shape), EXPORT_AGAIN);
    }
    let geometry = geometry(call, &x, &kernel)?;
    holds(&geometry.output(out_channels))?;
    let window = geometry.window();
    // Every image of a batch has the same weights.
    let values = match geometry.batch {
        1 => weight.values,
        batch => {
            bounded_weight(&[batch, weight.values.len()])?;
            weight.values.repeat(batch)
        }
    };
    let mut shape = vec![size(geometry.batch * out_channels), size(group_in)];
    shape.extend(&window.kernel[usize::from(window.is_flat())..]);
    let name = call.operand_name(1);
    let weight = call.draft.named_weights(name, shape, narrow(values));
    let groups = size(geometry.batch * groups);
    let operator = Operator::Convolution { input: geometry.volume(), window, groups, weight };
    let y = call.draft.apply(&x, operator, geometry.output(out_channels));
    Ok(Value::Tensor(biased(call, y, out_channels)?))
}

/// Adds operand 2, one value per channel, where it is given.
pub(super) fn biased(call: &mut Call<'_>, y: TensorRef, channels: usize) -> Result<TensorRef, Refusal> {
    if call.optional_constant(2)?.is_none() {
        return Ok(y);
    }
    let bias = call.weights(2)?.values;
    if bias.len() != channels {
        return refuse(format!("its bias has {} values for {channels} channels", bias.len()), EXPORT_AGAIN);
    }
    let inner = y.shape[2..].iter().product::<usize>();
    let full = (0..y.elements()).map(|k| bias[k / inner % channels]).collect();
    Ok(call.draft.shifted(&y, full))
}
