//! The operators that are supported: one table, from ONNX name to function.
//!
//! An operator that is not here, or an attribute that its row does not list, makes the node unsupported.

use super::call::{Call, Value};
use super::error::Refusal;
use super::ops::{activation, arithmetic, client, dense, normalization, pool, reshape, view, window};

/// A row of the table.
pub(super) struct Entry {
    pub op: &'static str,
    /// Attributes that the function reads, or that may be ignored.
    pub attributes: &'static [&'static str],
    pub lower: fn(&mut Call<'_>) -> Result<Value, Refusal>,
}

const fn row(
    op: &'static str,
    attributes: &'static [&'static str],
    lower: fn(&mut Call<'_>) -> Result<Value, Refusal>,
) -> Entry {
    Entry { op, attributes, lower }
}

const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
const POOL: &[&str] =
    &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"];
const NORM: &[&str] = &["epsilon", "momentum", "is_test", "spatial", "training_mode", "consumed_inputs"];
const BROADCAST: &[&str] = &["axis", "broadcast"];

/// All supported operators, by name.
const TABLE: &[Entry] = &[
    row("Add", BROADCAST, arithmetic::add),
    row("ArgMax", &["axis", "keepdims", "select_last_index"], client::arg_max),
    row("AveragePool", POOL, pool::average),
    row("BatchNormalization", NORM, normalization::batch),
    row("Cast", &["to", "saturate"], reshape::cast),
    row("Clip", &["max", "min"], activation::clip),
    row("Concat", &["axis"], view::concat),
    row("Conv", CONV, window::convolution),
    row("Div", BROADCAST, arithmetic::div),
    row("Dropout", &["is_test", "ratio", "seed"], reshape::dropout),
    row("Erf", &[], activation::erf),
    row("Expand", &[], view::expand),
    row("Flatten", &["axis"], reshape::flatten),
    row("Gelu", &["approximate"], activation::gelu),
    row("Gemm", &["alpha", "beta", "broadcast", "transA", "transB"], dense::gemm),
    row("GlobalAveragePool", &[], pool::global),
    row("HardSigmoid", &["alpha", "beta"], activation::hard_sigmoid),
    row("HardSwish", &[], activation::hard_swish),
    row("Identity", &[], reshape::identity),
    row("LeakyRelu", &["alpha"], activation::leaky_relu),
    row("LogSoftmax", &["axis"], client::log_softmax),
    row("MatMul", &[], dense::mat_mul),
    row("Mul", BROADCAST, arithmetic::mul),
    row("Neg", &[], arithmetic::neg),
    row("PRelu", &[], activation::p_relu),
    row("Pad", &["mode", "pads", "paddings", "value"], view::pad),
    row("Pow", BROADCAST, arithmetic::pow),
    row("ReduceMean", &["axes", "keepdims", "noop_with_empty_axes"], pool::reduce_mean),
    row("Relu", &[], activation::relu),
    row("Reshape", &["allowzero"], reshape::reshape),
    row("Sigmoid", &[], activation::sigmoid),
    row("Slice", &["axes", "ends", "starts"], view::slice),
    row("Softmax", &["axis"], client::softmax),
    row("Softplus", &[], activation::softplus),
    row("Squeeze", &["axes"], reshape::squeeze),
    row("Sub", BROADCAST, arithmetic::sub),
    row("Sum", &[], arithmetic::sum),
    row("Tanh", &[], activation::tanh),
    row("Transpose", &["perm"], view::transpose),
    row("Unsqueeze", &["axes"], reshape::unsqueeze),
];

/// What to do about operators that people are likely to meet.
const REMEDIES: &[(&str, &str)] = &[
    ("MaxPool", "train with AveragePool, or a convolution of stride 2, in its place"),
    ("GlobalMaxPool", "train with GlobalAveragePool in its place"),
    ("LRN", "train with BatchNormalization in its place"),
    ("InstanceNormalization", "train with BatchNormalization in its place"),
    ("LayerNormalization", "train with BatchNormalization in its place"),
    ("Elu", "train with Silu or Softplus in its place"),
    ("Selu", "train with Silu or Softplus in its place"),
];

/// The row of an operator.
pub(super) fn entry(op: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|e| e.op == op)
}

/// What to do about an operator that has no row.
pub(super) fn remedy(op: &str) -> &'static str {
    let known = REMEDIES.iter().find(|(name, _)| *name == op);
    known.map_or("replace it by supported operators, or cut the model before it", |(_, remedy)| remedy)
}
