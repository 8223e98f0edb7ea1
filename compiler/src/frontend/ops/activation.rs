//! Elementwise functions.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::{DraftKind, TensorRef};
use crate::frontend::error::refuse;
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

/// PRelu with one slope.
pub(in crate::frontend) fn p_relu(call: &mut Call<'_>) -> Lowered {
    let slope = call.weights(1)?;
    let alpha = slope.values[0];
    if slope.values.iter().any(|v| *v != alpha) {
        return refuse("it has a slope per channel", "use LeakyRelu, or one slope for all channels");
    }
    apply(call, Activation::LeakyRelu(alpha))
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
        "none" => {}
        "tanh" => {
            let note = format!("{}: the Tanh form of Gelu is taken as the exact one", call.draft.origin);
            call.draft.notes.push(note);
        }
        other => return refuse(format!("attribute `approximate` is `{other}`"), EXPORT_AGAIN),
    }
    apply(call, Activation::Gelu)
}

/// Erf, which must turn out to be part of a Gelu.
pub(in crate::frontend) fn erf(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    let node = call.draft.push(DraftKind::Erf, vec![x.node], call.draft.nodes[x.node].shape.clone());
    Ok(Value::Tensor(TensorRef { node, shared: false, ..x }))
}
