//! ReduceMean and ReduceSum over any axes: a mean over each run of neighbouring axes is an average pool over all of it.

use super::Lowered;
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{Draft, TensorRef, size};
use crate::frontend::error::Refusal;
use cipherloom_ir::{Operator, Window};
use std::ops::Range;

/// ReduceMean.
pub(in crate::frontend) fn mean(call: &mut Call<'_>) -> Lowered {
    Ok(Value::Tensor(reduced(call)?.0))
}

/// ReduceSum.
pub(in crate::frontend) fn sum(call: &mut Call<'_>) -> Lowered {
    let (mean, count) = reduced(call)?;
    let elements = mean.elements();
    Ok(Value::Tensor(match count {
        1 => mean,
        _ => call.draft.multiplied(&mean, vec![count as f64; elements]),
    }))
}

/// The mean, and of how many elements each is.
fn reduced(call: &mut Call<'_>) -> Result<(TensorRef, usize), Refusal> {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let mut axes = match call.axes(1, rank)?.unwrap_or_default() {
        none if none.is_empty() && call.int("noop_with_empty_axes", 0)? != 0 => return Ok((x, 1)),
        none if none.is_empty() => (0..rank).collect(),
        some => some,
    };
    axes.sort_unstable();
    axes.dedup();
    let count = axes.iter().map(|k| x.shape[*k]).product();
    let mut shape = x.shape.clone();
    if call.int("keepdims", 1)? == 0 {
        shape = shape.iter().enumerate().filter(|(k, _)| !axes.contains(k)).map(|(_, d)| *d).collect();
    } else {
        axes.iter().for_each(|k| shape[*k] = 1);
    }
    let mut y = x;
    for run in axes.chunk_by(|a, b| a + 1 == *b) {
        y = mean_over(call.draft, &y, run[0]..run[run.len() - 1] + 1);
    }
    Ok((y.reshaped(shape), count))
}

/// The mean over neighbouring axes, which keep a size of 1.
pub(super) fn mean_over(draft: &mut Draft, x: &TensorRef, axes: Range<usize>) -> TensorRef {
    let count = |part: &[usize]| size(part.iter().product());
    let (before, behind) = (count(&x.shape[..axes.start]), count(&x.shape[axes.end..]));
    let reduced = &x.shape[axes.clone()];
    // Two or three last axes are the image's own; other runs are its columns, or rows of whatever stands behind.
    let (kernel, columns) = match *reduced {
        [depth, height, width] if behind == 1 => ([depth, height, width].map(size), 1),
        [height, width] if behind == 1 => ([1, size(height), size(width)], 1),
        _ if behind == 1 => ([1, 1, count(reduced)], 1),
        _ => ([1, count(reduced), 1], behind),
    };
    let input = [before, kernel[0], kernel[1], kernel[2] * columns];
    let mut shape = x.shape.clone();
    shape[axes].fill(1);
    if kernel == [1; 3] {
        return x.reshaped(shape);
    }
    let window = Window { kernel, ..Window::POINT };
    draft.apply(x, Operator::AveragePool { input, window, count_padding: true }, shape)
}
