//! BatchNormalization: a factor and a constant per channel, merged into what stands before.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::error::{Refusal, refuse};

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
    if x.shape[0] != 1 || channels == 0 {
        return refuse(
            format!("its operand has shape {:?}", x.shape),
            "a batch of 1 and a channel axis are needed",
        );
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
    let inner = x.elements() / channels;
    let spread =
        |list: &[f64]| list.iter().flat_map(|v| std::iter::repeat_n(*v, inner)).collect::<Vec<f64>>();
    let y = call.draft.multiplied(&x, spread(&factor));
    Ok(Value::Tensor(call.draft.shifted(&y, spread(&shift))))
}

fn parameter(call: &Call<'_>, k: usize, channels: usize) -> Result<Vec<f64>, Refusal> {
    let values = call.weights(k)?.values;
    if values.len() == channels {
        return Ok(values);
    }
    refuse(format!("operand {k} has {} values for {channels} channels", values.len()), EXPORT_AGAIN)
}
