//! Average pools, and means that are one.

use super::window::{geometry, image};
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::TensorRef;
use crate::frontend::error::refuse;
use cipherloom_ir::{Operator, Window};

/// AveragePool.
pub(in crate::frontend) fn average(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let axes = x.shape.len().saturating_sub(2);
    let Some(kernel) = call.sizes("kernel_shape", axes)? else {
        return refuse("attribute `kernel_shape` is missing", EXPORT_AGAIN);
    };
    let geometry = geometry(call, &x, &kernel)?;
    let window = geometry.window;
    let includes = call.int("count_include_pad", 0)? != 0;
    let plain_pads = call.ints("pads")?.is_some_and(|p| p.iter().any(|p| *p != 0));
    if includes && geometry.overhang && plain_pads {
        return refuse(
            "ceil_mode with padding that is counted has no uniform divisor",
            "export without ceil_mode, or with count_include_pad = 0",
        );
    }
    let span = |k: usize| (window.kernel[k] - 1) * window.dilation[k] + 1;
    if (0..2).any(|k| window.pad_before[k] >= span(k) || window.pad_after[k] >= span(k)) {
        return refuse("its padding is as large as its window, so a window may be empty", EXPORT_AGAIN);
    }
    // The part of a window beyond the padding (ceil_mode) is never counted.
    let padded = window.pad_before != [0; 2] || window.pad_after != [0; 2];
    let count_padding = !padded || includes && !geometry.overhang;
    let shape = geometry.output(geometry.input[0] as usize);
    let operator = Operator::AveragePool { input: geometry.input, window, count_padding };
    Ok(Value::Tensor(call.draft.apply(&x, operator, shape)))
}

/// GlobalAveragePool.
pub(in crate::frontend) fn global(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    image(&x)?;
    let mut shape = x.shape.clone();
    shape[2..].fill(1);
    mean(call, &x, shape)
}

/// ReduceMean over the spatial axes.
pub(in crate::frontend) fn reduce_mean(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    image(&x)?;
    let rank = x.shape.len();
    let listed = match call.ints("axes")? {
        Some(axes) => axes,
        None => call.integers(1)?.unwrap_or_default(),
    };
    let mut axes = listed.iter().map(|a| call.axis(*a, rank)).collect::<Result<Vec<usize>, _>>()?;
    axes.sort_unstable();
    if axes != (2..rank).collect::<Vec<usize>>() {
        return refuse(
            format!("it reduces axes {listed:?}; only the mean over all spatial axes is supported"),
            "reduce the spatial axes, or use GlobalAveragePool",
        );
    }
    let mut shape = x.shape.clone();
    if call.int("keepdims", 1)? == 0 {
        shape.truncate(2)
    } else {
        shape[2..].fill(1)
    }
    mean(call, &x, shape)
}

fn mean(call: &mut Call<'_>, x: &TensorRef, shape: Vec<usize>) -> Lowered {
    let input = image(x)?;
    let window = Window {
        kernel: [input[1], input[2]],
        stride: [1; 2],
        dilation: [1; 2],
        pad_before: [0; 2],
        pad_after: [0; 2],
    };
    if window.kernel == [1; 2] {
        return Ok(Value::Tensor(x.reshaped(shape)));
    }
    let operator = Operator::AveragePool { input, window, count_padding: true };
    let pooled = [&x.shape[..2], &vec![1; x.shape.len() - 2]].concat();
    Ok(Value::Tensor(call.draft.apply(x, operator, pooled).reshaped(shape)))
}
