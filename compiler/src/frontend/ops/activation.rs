//! Elementwise functions.

use super::arithmetic::{common_shape, spread};
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{DraftKind, TensorRef};
use crate::frontend::error::refuse;
use crate::graph::Kind;
use cipherloom_ir::Activation;

fn apply(call: &mut Call<'_>, activation: Activation) -> Lowered {
    let x = call.tensor(0)?;
    Ok(Value::Tensor(call.draft.activation(&x, activation)))
}

/// Relu.
pub(in crate::frontend) fn relu(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Relu)
}

/// Sigmoid.
pub(in crate::frontend) fn sigmoid(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Sigmoid)
}

/// Tanh.
pub(in crate::frontend) fn tanh(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Tanh)
}

/// Softplus.
pub(in crate::frontend) fn softplus(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Softplus)
}

/// LeakyRelu.
pub(in crate::frontend) fn leaky_relu(call: &mut Call<'_>) -> Lowered {
    let alpha = call.float("alpha", 0.01)?;
    apply(call, Activation::LeakyRelu(alpha))
}

/// PRelu; with several slopes s it is `s · x + (1 - s) · Relu(x)`.
pub(in crate::frontend) fn p_relu(call: &mut Call<'_>) -> Lowered {
    let mut slope = call.weights(1)?;
    let alpha = slope.values[0];
    if slope.values.iter().all(|v| *v == alpha) {
        return apply(call, Activation::LeakyRelu(alpha));
    }
    let x = TensorRef { shared: true, ..call.tensor(0)? };
    if call.opset < 7 && slope.shape.len() == 1 && x.shape.len() > 2 {
        slope.shape.resize(x.shape.len() - 1, 1);
    }
    if common_shape(&x.shape, &slope.shape)? != x.shape {
        return refuse(format!("its slope has shape {:?}", slope.shape), EXPORT_AGAIN);
    }
    let slopes = spread(&slope, &x.shape);
    let rest = slopes.iter().map(|s| 1.0 - s).collect();
    let line = call.draft.multiplied(&x, slopes);
    let relu = call.draft.activation(&x, Activation::Relu);
    let bent = call.draft.multiplied(&relu, rest);
    Ok(Value::Tensor(call.draft.binary(Kind::Add, &line, &bent)))
}

/// Abs: a Relu with a slope of -1.
pub(in crate::frontend) fn abs(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::LeakyRelu(-1.0))
}

/// Mish.
pub(in crate::frontend) fn mish(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Mish)
}

/// Softsign.
pub(in crate::frontend) fn softsign(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Softsign)
}

/// Sign.
pub(in crate::frontend) fn sign(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Sign)
}

/// Exp.
pub(in crate::frontend) fn exp(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Exp)
}

/// Sqrt, of positive values.
pub(in crate::frontend) fn sqrt(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Power(0.5))
}

/// Reciprocal, of positive values.
pub(in crate::frontend) fn reciprocal(call: &mut Call<'_>) -> Lowered {
    apply(call, Activation::Power(-1.0))
}

/// Elu.
pub(in crate::frontend) fn elu(call: &mut Call<'_>) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    apply(call, Activation::Elu(alpha))
}

/// ThresholdedRelu.
pub(in crate::frontend) fn thresholded_relu(call: &mut Call<'_>) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    apply(call, Activation::ThresholdedRelu(alpha))
}

/// Selu: gamma · Elu(x).
pub(in crate::frontend) fn selu(call: &mut Call<'_>) -> Lowered {
    let (alpha, gamma) = (call.float("alpha", 1.673_263_2)?, call.float("gamma", 1.050_701)?);
    let x = call.tensor(0)?;
    Ok(Value::Tensor(between(call, &x, [1.0, gamma], Activation::Elu(alpha))))
}

/// Celu: alpha · Elu(x / alpha).
pub(in crate::frontend) fn celu(call: &mut Call<'_>) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    // Of a negative alpha it is another function.
    if alpha <= 0.0 {
        return refuse("its alpha is not positive", EXPORT_AGAIN);
    }
    let x = call.tensor(0)?;
    Ok(Value::Tensor(between(call, &x, [1.0 / alpha, alpha], Activation::Elu(1.0))))
}

/// Swish: x · Sigmoid(alpha · x), a Silu of alpha · x.
pub(in crate::frontend) fn swish(call: &mut Call<'_>) -> Lowered {
    let alpha = call.float("alpha", 1.0)?;
    if alpha == 0.0 {
        return refuse("its alpha is 0", EXPORT_AGAIN);
    }
    let x = call.tensor(0)?;
    Ok(Value::Tensor(between(call, &x, [alpha, 1.0 / alpha], Activation::Silu)))
}

/// `after · f(before · x)`
fn between(call: &mut Call<'_>, x: &TensorRef, [before, after]: [f64; 2], function: Activation) -> TensorRef {
    let n = x.elements();
    let scaled = |call: &mut Call<'_>, y: TensorRef, factor: f64| match factor {
        1.0 => y,
        _ => call.draft.multiplied(&y, vec![factor; n]),
    };
    let inner = scaled(call, x.clone(), before);
    let y = call.draft.activation(&inner, function);
    scaled(call, y, after)
}

/// Clip; bounds are attributes before operator set 11, then operands.
pub(in crate::frontend) fn clip(call: &mut Call<'_>) -> Lowered {
    let bound = |k: usize| Ok(call.optional_constant(k)?.and_then(|c| c.values.first().copied()));
    let (low, high) = if call.opset < 11 {
        (call.optional_float("min")?, call.optional_float("max")?)
    } else {
        (bound(1)?, bound(2)?)
    };
    let limit = f64::from(f32::MAX);
    let (low, high) = (low.unwrap_or(-limit).max(-limit), high.unwrap_or(limit).min(limit));
    if low.is_nan() || high.is_nan() || low > high {
        return refuse(format!("its bounds are {low} and {high}"), EXPORT_AGAIN);
    }
    match (low == -limit, high == limit) {
        (true, true) => Ok(Value::Tensor(call.tensor(0)?)),
        (false, true) if low == 0.0 => apply(call, Activation::Relu),
        _ => apply(call, Activation::Clip(low, high)),
    }
}

/// HardSigmoid: clip(alpha · x + beta, 0, 1).
pub(in crate::frontend) fn hard_sigmoid(call: &mut Call<'_>) -> Lowered {
    let (alpha, beta) = (call.float("alpha", 0.2)?, call.float("beta", 0.5)?);
    let x = call.tensor(0)?;
    Ok(Value::Tensor(clipped_line(call, &x, alpha, beta)))
}

/// HardSwish: x · clip(x / 6 + 1/2, 0, 1).
pub(in crate::frontend) fn hard_swish(call: &mut Call<'_>) -> Lowered {
    let x = TensorRef { shared: true, ..call.tensor(0)? };
    let gate = clipped_line(call, &x, 1.0 / 6.0, 0.5);
    Ok(Value::Tensor(call.draft.product(&x, &gate)))
}

fn clipped_line(call: &mut Call<'_>, x: &TensorRef, factor: f64, shift: f64) -> TensorRef {
    let n = x.elements();
    let y = call.draft.multiplied(x, vec![factor; n]);
    let y = call.draft.shifted(&y, vec![shift; n]);
    call.draft.activation(&y, Activation::Clip(0.0, 1.0))
}

/// Gelu, both forms.
pub(in crate::frontend) fn gelu(call: &mut Call<'_>) -> Lowered {
    match call.string("approximate", "none")?.as_str() {
        "none" => apply(call, Activation::Gelu),
        "tanh" => apply(call, Activation::GeluTanh),
        other => refuse(format!("attribute `approximate` is `{other}`"), EXPORT_AGAIN),
    }
}

/// Erf, which must turn out to be part of a Gelu.
pub(in crate::frontend) fn erf(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let node = call.draft.push(DraftKind::Erf, vec![x.node], call.draft.nodes[x.node].shape.clone());
    Ok(Value::Tensor(TensorRef { node, shared: false, ..x }))
}
