//! Sliding windows: geometry from attributes (also for pools), and Conv.
//!
//! One spatial axis is treated as two with a height of 1. What ONNX counts in a batch of one image stands here
//! without the batch.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{TensorRef, linear::narrow, size};
use crate::frontend::error::{Refusal, refuse};
use crate::graph::evaluate::window_output;
use cipherloom_ir::{Operator, Window};

/// Geometry of a node's windows.
pub(super) struct Geometry {
    /// `[channels, height, width]`.
    pub input: [u32; 3],
    pub window: Window,
    /// Whether windows reach beyond the padding (ceil_mode).
    pub overhang: bool,
    one_dimensional: bool,
}

impl Geometry {
    /// ONNX shape of the result.
    pub fn output(&self, channels: usize) -> Vec<usize> {
        let [rows, columns] = window_output(&self.input, &self.window);
        if self.one_dimensional { vec![1, channels, columns] } else { vec![1, channels, rows, columns] }
    }
}

/// Channels and spatial sizes of an operand `[1, channels, width]` or `[1, channels, height, width]`.
pub(super) fn image(x: &TensorRef) -> Result<[u32; 3], Refusal> {
    match x.shape[..] {
        [1, c, w] => Ok([size(c), 1, size(w)]),
        [1, c, h, w] => Ok([size(c), size(h), size(w)]),
        _ => refuse(
            format!("its operand has shape {:?}; one image with one or two spatial axes is needed", x.shape),
            "use 1-D or 2-D operators and a batch of 1",
        ),
    }
}

/// Reads a node's window attributes.
pub(super) fn geometry(call: &Call<'_>, x: &TensorRef, kernel: &[u32]) -> Result<Geometry, Refusal> {
    let input = image(x)?;
    let axes = x.shape.len() - 2;
    if kernel.len() != axes {
        return refuse(format!("its kernel has {} axes, its operand {axes}", kernel.len()), EXPORT_AGAIN);
    }
    let pair = |list: Vec<u32>, missing: u32| if axes == 1 { [missing, list[0]] } else { [list[0], list[1]] };
    let ones = || vec![1; axes];
    let mut window = Window {
        kernel: pair(kernel.to_vec(), 1),
        stride: pair(call.sizes("strides", axes)?.unwrap_or_else(ones), 1),
        dilation: pair(call.sizes("dilations", axes)?.unwrap_or_else(ones), 1),
        pad_before: [0; 2],
        pad_after: [0; 2],
    };
    let pads = call.ints("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
    call.bounded("attribute `pads`", &pads)?;
    if pads.len() != 2 * axes || pads.iter().any(|p| *p < 0) {
        return refuse(format!("attribute `pads` is {pads:?}; {} sizes are needed", 2 * axes), EXPORT_AGAIN);
    }
    let auto_pad = call.string("auto_pad", "NOTSET")?;
    match auto_pad.as_str() {
        "NOTSET" => {
            window.pad_before = pair(pads[..axes].iter().map(|p| *p as u32).collect(), 0);
            window.pad_after = pair(pads[axes..].iter().map(|p| *p as u32).collect(), 0);
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => same_padding(&mut window, &input, auto_pad == "SAME_UPPER"),
        other => return refuse(format!("auto_pad `{other}` is not known"), EXPORT_AGAIN),
    }
    let overhang = call.int("ceil_mode", 0)? != 0 && round_up(&mut window, &input);
    let fits = |k: usize| {
        let padded =
            u64::from(input[k + 1]) + u64::from(window.pad_before[k]) + u64::from(window.pad_after[k]);
        padded > u64::from(window.kernel[k] - 1) * u64::from(window.dilation[k])
    };
    if !(fits(0) && fits(1)) {
        return refuse(format!("its window is larger than its padded operand {:?}", x.shape), EXPORT_AGAIN);
    }
    Ok(Geometry { input, window, overhang, one_dimensional: axes == 1 })
}

/// Padding that makes the output `ceil(input / stride)`, the odd row after (upper) or before (lower).
fn same_padding(window: &mut Window, input: &[u32; 3], upper: bool) {
    for k in 0..2 {
        let extent = u64::from(input[k + 1]);
        let stride = u64::from(window.stride[k]);
        let span = u64::from(window.kernel[k] - 1) * u64::from(window.dilation[k]) + 1;
        let total = ((extent.div_ceil(stride) - 1) * stride + span).saturating_sub(extent);
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let (small, large) = (total / 2, total - total / 2);
        (window.pad_before[k], window.pad_after[k]) = if upper { (small, large) } else { (large, small) };
    }
}

/// Lets the last, partial window in, if it starts inside the padded image. Whether it changed anything.
fn round_up(window: &mut Window, input: &[u32; 3]) -> bool {
    let before = window.pad_after;
    for k in 0..2 {
        let span = u64::from(window.kernel[k] - 1) * u64::from(window.dilation[k]) + 1;
        let (extent, stride) = (u64::from(input[k + 1]), u64::from(window.stride[k]));
        let padded = extent + u64::from(window.pad_before[k]) + u64::from(window.pad_after[k]);
        let mut steps = padded.saturating_sub(span).div_ceil(stride);
        if steps * stride >= extent + u64::from(window.pad_before[k]) {
            steps = steps.saturating_sub(1);
        }
        let missing = (steps * stride + span).saturating_sub(padded);
        window.pad_after[k] += u32::try_from(missing).unwrap_or(0);
    }
    window.pad_after != before
}

/// Conv.
pub(in crate::frontend) fn convolution(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let weight = call.weights(1)?;
    let [channels, ..] = image(&x)?;
    let groups = call.int("group", 1)?;
    let Some((&[out_channels, group_in], kernel)) = weight.shape.split_first_chunk::<2>() else {
        return refuse(format!("its weight has shape {:?}", weight.shape), EXPORT_AGAIN);
    };
    let divides = |n: usize| groups > 0 && n.is_multiple_of(groups as usize);
    if !divides(channels as usize)
        || !divides(out_channels)
        || group_in * groups as usize != channels as usize
    {
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
    let shape =
        vec![size(out_channels), size(group_in), geometry.window.kernel[0], geometry.window.kernel[1]];
    let name = call.operand_name(1);
    let weight = call.draft.named_weights(name, shape, narrow(weight.values));
    let (input, window) = (geometry.input, geometry.window);
    let operator = Operator::Convolution { input, window, groups: groups as u32, weight };
    let shape = geometry.output(out_channels);
    let y = call.draft.apply(&x, operator, shape.clone());
    if call.optional_constant(2)?.is_none() {
        return Ok(Value::Tensor(y));
    }
    let bias = call.weights(2)?;
    if bias.values.len() != out_channels {
        return refuse(
            format!("its bias has {} values for {out_channels} channels", bias.values.len()),
            EXPORT_AGAIN,
        );
    }
    let inner = y.elements() / out_channels;
    let full = bias.values.iter().flat_map(|b| std::iter::repeat_n(*b, inner)).collect();
    Ok(Value::Tensor(call.draft.shifted(&y, full)))
}
