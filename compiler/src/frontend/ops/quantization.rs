//! DequantizeLinear of constants. What rounds the encrypted tensor to integers belongs to another kind of model.

use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::{Call, Value};
use crate::frontend::error::refuse;
use crate::frontend::reference::Constant;

/// Operators of quantized models.
const QUANTIZED: &[&str] = &[
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
];

/// Whether an operator is one of quantized models.
pub(in crate::frontend) fn is_quantized(op: &str) -> bool {
    QUANTIZED.contains(&op)
}

/// DequantizeLinear of a constant: (x - zero point) · scale, rounded as float32 is, per tensor or per position of an axis.
pub(in crate::frontend) fn dequantize(call: &mut Call<'_>) -> Lowered {
    let (x, scale) = (call.weights(0)?, call.weights(1)?);
    let zero = match call.optional_constant(2)? {
        Some(_) => call.weights(2)?,
        None => Constant { shape: Vec::new(), values: vec![0.0] },
    };
    if call.int("block_size", 0)? != 0 {
        return refuse(
            "it has a scale per block",
            "quantize per tensor or per axis, or export the float model",
        );
    }
    let (extent, inner) = match scale.values.len().max(zero.values.len()) {
        1 => (1, x.values.len()),
        _ => {
            let axis = call.axis(call.int("axis", 1)?, x.shape.len())?;
            (x.shape[axis], x.shape[axis + 1..].iter().product())
        }
    };
    if [&scale, &zero].iter().any(|c| ![1, extent].contains(&c.values.len())) {
        let reason = format!("its scale or zero point does not have {extent} values, one per position");
        return refuse(reason, EXPORT_AGAIN);
    }
    let at = |c: &Constant, k: usize| c.values[k / inner % extent % c.values.len()];
    let value = |(k, q): (usize, &f64)| (q - at(&zero, k)) as f32 * at(&scale, k) as f32;
    let values = x.values.iter().enumerate().map(|v| f64::from(value(v))).collect();
    Ok(Value::Constant(Constant { shape: x.shape, values }))
}
