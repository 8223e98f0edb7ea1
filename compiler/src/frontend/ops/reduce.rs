//! ReduceMean, ReduceSum and sums of squares over any axes: a mean over each run of neighbouring axes is an average pool over all of it.

use super::Lowered;
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{Draft, TensorRef, size};
use crate::frontend::error::Refusal;
use cipherloom_ir::{Activation, Operator, Window};
use std::ops::Range;

/// ReduceMean.
pub(in crate::frontend) fn mean(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    Ok(Value::Tensor(mean_of(call, x)?.0))
}

/// ReduceSum.
pub(in crate::frontend) fn sum(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    Ok(Value::Tensor(sum_over(call, x)?))
}

fn sum_over(call: &mut Call<'_>, x: TensorRef) -> Result<TensorRef, Refusal> {
    let (mean, count) = mean_of(call, x)?;
    let elements = mean.elements();
    Ok(match count {
        1 => mean,
        _ => call.draft.multiplied(&mean, vec![count as f64; elements]),
    })
}

/// ReduceSumSquare.
pub(in crate::frontend) fn sum_square(call: &mut Call<'_>) -> Lowered {
    Ok(Value::Tensor(sum_of_squares(call)?))
}

/// ReduceL2: the square root of a sum of squares, which must be positive.
pub(in crate::frontend) fn norm(call: &mut Call<'_>) -> Lowered {
    let sum = sum_of_squares(call)?;
    Ok(Value::Tensor(call.draft.activation(&sum, Activation::Power(0.5))))
}

fn sum_of_squares(call: &mut Call<'_>) -> Result<TensorRef, Refusal> {
    let x = call.tensor(0)?;
    let square = call.draft.product(&x, &x);
    sum_over(call, square)
}

/// Axes that are reduced, in order, and the shape that is left.
pub(super) fn reduction(call: &Call<'_>, shape: &[usize]) -> Result<(Vec<usize>, Vec<usize>), Refusal> {
    let mut axes = match call.axes(1, shape.len())?.unwrap_or_default() {
        none if none.is_empty() && call.int("noop_with_empty_axes", 0)? != 0 => none,
        none if none.is_empty() => (0..shape.len()).collect(),
        some => some,
    };
    axes.sort_unstable();
    axes.dedup();
    let mut left = shape.to_vec();
    if call.int("keepdims", 1)? == 0 {
        left = shape.iter().enumerate().filter(|(k, _)| !axes.contains(k)).map(|(_, d)| *d).collect();
    } else {
        axes.iter().for_each(|k| left[*k] = 1);
    }
    Ok((axes, left))
}

/// The mean, and of how many elements each is.
fn mean_of(call: &mut Call<'_>, x: TensorRef) -> Result<(TensorRef, usize), Refusal> {
    let (axes, shape) = reduction(call, &x.shape)?;
    let count = axes.iter().map(|k| x.shape[*k]).product();
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
