//! Softmax, LogSoftmax and ArgMax at the end of a model: the client does them on the decrypted scores.

use super::Lowered;
use crate::frontend::call::{Call, Value};
use crate::frontend::draft::TensorRef;
use crate::frontend::error::{Refusal, refuse};
use cipherloom_ir::ClientStep;

/// The operand, if `axis` runs over all of its elements.
fn scores(call: &Call<'_>, default_axis: i64) -> Result<(TensorRef, usize), Refusal> {
    let x = match call.operands.first() {
        Some(Some(Value::Tensor(t))) => t.clone(),
        _ => call.tensor(0)?,
    };
    let axis = call.axis(call.int("axis", default_axis)?, x.shape.len())?;
    // Before operator set 13 Softmax ran over all axes from `axis` on.
    let all = x.shape[axis] == x.elements();
    let from = call.opset < 13 && x.shape[..axis].iter().all(|d| *d == 1);
    if all || from && call.node.op_type != "ArgMax" {
        return Ok((x, axis));
    }
    refuse(
        format!("it works on axis {axis} of {:?}; the client does it over all scores only", x.shape),
        "cut the model before it with `--output TENSOR`",
    )
}

fn soft(call: &mut Call<'_>) -> Lowered {
    let default_axis = if call.opset < 13 { 1 } else { -1 };
    let (mut x, _) = scores(call, default_axis)?;
    if !x.client.is_empty() {
        return refuse("it follows another Softmax or ArgMax", "keep one of them");
    }
    x.client.push(ClientStep::Softmax);
    Ok(Value::Tensor(x))
}

/// Softmax.
pub(in crate::frontend) fn softmax(call: &mut Call<'_>) -> Lowered {
    soft(call)
}

/// LogSoftmax: the client shows probabilities instead of their logarithms.
pub(in crate::frontend) fn log_softmax(call: &mut Call<'_>) -> Lowered {
    let note = format!("{}: LogSoftmax becomes Softmax at the client", call.draft.origin);
    call.draft.notes.push(note);
    soft(call)
}

/// ArgMax.
pub(in crate::frontend) fn arg_max(call: &mut Call<'_>) -> Lowered {
    let (mut x, axis) = scores(call, 0)?;
    if x.client.contains(&ClientStep::ArgMax) {
        return refuse("it follows another ArgMax", "keep one of them");
    }
    if call.int("select_last_index", 0)? != 0 {
        return refuse("select_last_index is not supported", "take the first index");
    }
    x.client.push(ClientStep::ArgMax);
    if call.int("keepdims", 1)? == 0 {
        x.shape.remove(axis);
    } else {
        x.shape[axis] = 1;
    }
    Ok(Value::Tensor(x))
}
