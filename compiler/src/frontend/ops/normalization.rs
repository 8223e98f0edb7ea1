//! Normalizations.
//!
//! BatchNormalization is a factor and a constant per channel, merged into what stands before. The others divide by a value of
//! the encrypted data: x · (variance + epsilon)^p, where the power is an activation on a positive range; that costs its
//! levels and two products, and the model's notes say so.

use super::along::along;
use super::arithmetic::{common_shape, spread};
use super::reduce::mean_over;
use super::view::broadcast;
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::TensorRef;
use crate::frontend::error::{Refusal, refuse};
use crate::graph::Kind;
use cipherloom_ir::Activation;
use std::ops::Range;

/// BatchNormalization in inference form.
pub(in crate::frontend) fn batch(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    if call.int("training_mode", 0)? != 0 {
        return refuse("it is in training mode", "export the model in evaluation mode");
    }
    if call.int("spatial", 1)? == 0 {
        return refuse(
            "spatial = 0 (one statistic per element) is not supported",
            "convert to operator set 9 or later",
        );
    }
    let channels = x.shape.get(1).copied().unwrap_or(0);
    if channels == 0 {
        return refuse(format!("its operand has shape {:?}", x.shape), "a channel axis is needed");
    }
    let parameters = (1..5).map(|k| parameter(call, k, channels)).collect::<Result<Vec<_>, _>>()?;
    let [gamma, beta, mean, variance] = &parameters[..] else {
        return refuse("it does not have four parameters", EXPORT_AGAIN);
    };
    let epsilon = call.float("epsilon", 1e-5)?;
    if variance.iter().any(|v| v + epsilon <= 0.0) {
        return refuse("a variance is not positive", EXPORT_AGAIN);
    }
    let factor: Vec<f64> = gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f64> = (0..channels).map(|c| beta[c] - mean[c] * factor[c]).collect();
    let y = call.draft.multiplied(&x, per_channel(&factor, &x));
    Ok(Value::Tensor(call.draft.shifted(&y, per_channel(&shift, &x))))
}

/// One value per channel (axis 1) as one per element.
fn per_channel(list: &[f64], x: &TensorRef) -> Vec<f64> {
    let inner = x.shape[2..].iter().product::<usize>();
    (0..x.elements()).map(|k| list[k / inner % list.len()]).collect()
}

fn parameter(call: &Call<'_>, k: usize, channels: usize) -> Result<Vec<f64>, Refusal> {
    let values = call.weights(k)?.values;
    if values.len() == channels {
        return Ok(values);
    }
    refuse(format!("operand {k} has {} values for {channels} channels", values.len()), EXPORT_AGAIN)
}

/// Entries of the matrix over channels that a local response takes, at most.
const MAX_LOCAL: usize = 1 << 22;

fn note(call: &mut Call<'_>, what: &str) {
    let text = format!(
        "{}: it divides by {what} of encrypted values: a polynomial of it and two products, a few levels",
        call.draft.origin
    );
    call.draft.notes.push(text);
}

/// Parts of a normalization over some axes.
struct Standard {
    /// Mean, with axes of size 1.
    mean: TensorRef,
    /// 1 / √(variance + epsilon), with axes of size 1.
    inverse: TensorRef,
    /// (x - mean) / √(variance + epsilon)
    result: TensorRef,
}

fn standardised(
    call: &mut Call<'_>,
    x: &TensorRef,
    axes: Range<usize>,
    epsilon: f64,
) -> Result<Standard, Refusal> {
    let draft = &mut *call.draft;
    let x = TensorRef { shared: true, ..x.clone() };
    let mean = TensorRef { shared: true, ..mean_over(draft, &x, axes.clone()) };
    let spread = broadcast(draft, &mean, &x.shape)?;
    let centred = TensorRef { shared: true, ..draft.binary(Kind::Sub, &x, &spread) };
    let square = draft.product(&centred, &centred);
    let variance = mean_over(draft, &square, axes);
    let variance = draft.shifted(&variance, vec![epsilon; mean.elements()]);
    let inverse = TensorRef { shared: true, ..draft.activation(&variance, Activation::Power(-0.5)) };
    let spread = broadcast(draft, &inverse, &x.shape)?;
    let result = draft.binary(Kind::Mul, &centred, &spread);
    Ok(Standard { mean, inverse, result })
}

/// LayerNormalization: the result, the mean, or the inverse deviation.
pub(in crate::frontend) fn layer(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    let axis = call.axis(call.int("axis", -1)?, rank)?;
    let epsilon = call.float("epsilon", 1e-5)?;
    let scale = call.weights(1)?;
    let shift = if call.optional_constant(2)?.is_some() { Some(call.weights(2)?) } else { None };
    for parameter in [Some(&scale), shift.as_ref()].into_iter().flatten() {
        if common_shape(&x.shape, &parameter.shape)? != x.shape {
            return refuse(format!("one of its parameters has shape {:?}", parameter.shape), EXPORT_AGAIN);
        }
    }
    let standard = standardised(call, &x, axis..rank, epsilon)?;
    if call.output == 0 {
        note(call, "the deviation");
    }
    match call.output {
        1 => return Ok(Value::Tensor(standard.mean)),
        2 => return Ok(Value::Tensor(standard.inverse)),
        _ => {}
    }
    let y = call.draft.multiplied(&standard.result, spread(&scale, &x.shape));
    Ok(Value::Tensor(match shift {
        Some(shift) => call.draft.shifted(&y, spread(&shift, &x.shape)),
        None => y,
    }))
}

/// InstanceNormalization.
pub(in crate::frontend) fn instance(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let rank = x.shape.len();
    if rank < 3 {
        return refuse(format!("its operand has shape {:?}", x.shape), "spatial axes are needed");
    }
    let channels = x.shape[1];
    let (scale, shift) = (parameter(call, 1, channels)?, parameter(call, 2, channels)?);
    let epsilon = call.float("epsilon", 1e-5)?;
    let standard = standardised(call, &x, 2..rank, epsilon)?;
    note(call, "the deviation");
    let y = call.draft.multiplied(&standard.result, per_channel(&scale, &x));
    Ok(Value::Tensor(call.draft.shifted(&y, per_channel(&shift, &x))))
}

/// GroupNormalization; before operator set 21 its parameters are per group, then per channel.
pub(in crate::frontend) fn group(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let groups = usize::try_from(call.int("num_groups", 0)?).unwrap_or(0);
    let channels = x.shape.get(1).copied().unwrap_or(0);
    if groups == 0 || channels == 0 || !channels.is_multiple_of(groups) {
        return refuse(format!("it makes {groups} groups of {channels} channels"), EXPORT_AGAIN);
    }
    let each = channels / groups;
    let per_group = call.opset < 21;
    let parameters = if per_group { groups } else { channels };
    let own = |k: usize| {
        let list = parameter(call, k, parameters)?;
        let times = if per_group { each } else { 1 };
        Ok(list.into_iter().flat_map(|v| vec![v; times]).collect::<Vec<f64>>())
    };
    let (scale, shift) = (own(1)?, own(2)?);
    let epsilon = call.float("epsilon", 1e-5)?;
    let grouped = x.reshaped(vec![x.shape[0], groups, x.elements() / x.shape[0] / groups]);
    let standard = standardised(call, &grouped, 2..3, epsilon)?;
    note(call, "the deviation");
    let y = call.draft.multiplied(&standard.result, per_channel(&scale, &x));
    Ok(Value::Tensor(call.draft.shifted(&y, per_channel(&shift, &x)).reshaped(x.shape)))
}

/// MeanVarianceNormalization. What it adds to the deviation, 1e-9, is below the precision of any ciphertext.
pub(in crate::frontend) fn mean_variance(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let listed = call.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = listed.iter().map(|a| call.axis(*a, x.shape.len())).collect::<Result<Vec<_>, _>>()?;
    let mut axes: Vec<usize> = axes.into_iter().filter(|k| x.shape[*k] > 1).collect();
    axes.sort_unstable();
    axes.dedup();
    let (Some(first), Some(last)) = (axes.first(), axes.last()) else {
        return refuse("each of its means is of one element", "remove the node");
    };
    if last - first + 1 != axes.len() {
        return refuse(format!("its axes {listed:?} are not neighbours"), "normalize over neighbouring axes");
    }
    let standard = standardised(call, &x, *first..last + 1, 0.0)?;
    note(call, "the deviation");
    Ok(Value::Tensor(standard.result))
}

/// RMSNormalization: x / √(mean of squares + epsilon) · scale.
pub(in crate::frontend) fn root_mean_square(call: &mut Call<'_>) -> Lowered {
    let x = TensorRef { shared: true, ..call.tensor(0)? };
    let rank = x.shape.len();
    let axis = call.axis(call.int("axis", -1)?, rank)?;
    let epsilon = call.float("epsilon", 1e-5)?;
    let scale = call.weights(1)?;
    if common_shape(&x.shape, &scale.shape)? != x.shape {
        return refuse(format!("its scale has shape {:?}", scale.shape), EXPORT_AGAIN);
    }
    let square = call.draft.product(&x, &x);
    let mean = mean_over(call.draft, &square, axis..rank);
    let y = over_root(call, &x, &mean, epsilon)?;
    note(call, "the root of the mean square");
    Ok(Value::Tensor(call.draft.multiplied(&y, spread(&scale, &x.shape))))
}

/// LpNormalization with p = 2: x / √(sum of squares).
pub(in crate::frontend) fn euclidean(call: &mut Call<'_>) -> Lowered {
    let x = TensorRef { shared: true, ..call.tensor(0)? };
    let p = call.int("p", 2)?;
    if p != 2 {
        return refuse(format!("its attribute `p` is {p}"), "only p = 2 is supported");
    }
    let axis = call.axis(call.int("axis", -1)?, x.shape.len())?;
    let square = call.draft.product(&x, &x);
    let mean = mean_over(call.draft, &square, axis..axis + 1);
    let sum = call.draft.multiplied(&mean, vec![x.shape[axis] as f64; mean.elements()]);
    note(call, "the norm");
    Ok(Value::Tensor(over_root(call, &x, &sum, 0.0)?))
}

/// `x / √(square + epsilon)`, where `square` has axes of size 1.
fn over_root(
    call: &mut Call<'_>,
    x: &TensorRef,
    square: &TensorRef,
    epsilon: f64,
) -> Result<TensorRef, Refusal> {
    let square = call.draft.shifted(square, vec![epsilon; square.elements()]);
    let inverse = call.draft.activation(&square, Activation::Power(-0.5));
    let inverse = broadcast(call.draft, &inverse, &x.shape)?;
    Ok(call.draft.binary(Kind::Mul, x, &inverse))
}

/// LRN: x · (bias + alpha / size · Σ x²)^-beta over neighbouring channels.
pub(in crate::frontend) fn local_response(call: &mut Call<'_>) -> Lowered {
    let x = TensorRef { shared: true, ..call.tensor(0)? };
    let channels = x.shape.get(1).copied().unwrap_or(0);
    let (alpha, beta) = (call.float("alpha", 0.0001)?, call.float("beta", 0.75)?);
    let (bias, window) = (call.float("bias", 1.0)?, call.int("size", 0)?);
    if window < 1 || channels == 0 || bias <= 0.0 || alpha < 0.0 {
        return refuse(format!("its size is {window}, its bias {bias}, its alpha {alpha}"), EXPORT_AGAIN);
    }
    let entries = channels.saturating_mul(channels.min(window as usize));
    if entries > MAX_LOCAL {
        return refuse(
            format!("its matrix over {channels} channels would have {entries} entries"),
            format!("at most {MAX_LOCAL} are taken; use BatchNormalization"),
        );
    }
    let (before, behind) = ((window - 1) / 2, window - 1 - (window - 1) / 2);
    let row = |c: i64| {
        let first = (c - before).max(0);
        let last = (c + behind).min(channels as i64 - 1);
        (first..=last).map(|k| (k as usize, alpha / window as f64)).collect()
    };
    let rows: Vec<_> = (0..channels as i64).map(row).collect();
    let square = call.draft.product(&x, &x);
    let sum = along(call.draft, &square, 1, &rows)?;
    let sum = call.draft.shifted(&sum, vec![bias; x.elements()]);
    let factor = call.draft.activation(&sum, Activation::Power(-beta));
    note(call, "a power of the local response");
    Ok(Value::Tensor(call.draft.binary(Kind::Mul, &x, &factor)))
}
