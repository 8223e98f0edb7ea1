//! The operators that are supported: one table, from ONNX name to function.
//!
//! An operator that is not here, or an attribute that its row does not list, makes the node unsupported.

use super::call::{Call, Value};
use super::error::Refusal;
use super::ops::{
    activation, arithmetic, client, dense, einsum, gather, maximum, normalization, pool, quantization,
    rearrange, reduce, reshape, resize, select, transposed, view, window,
};

/// A row of the table.
pub(super) struct Entry {
    pub op: &'static str,
    /// Attributes that the function reads, or that may be ignored.
    pub attributes: &'static [&'static str],
    pub outputs: Outputs,
    pub lower: Lower,
}

/// What an operator becomes.
type Lower = fn(&mut Call<'_>) -> Result<Value, Refusal>;

/// Which outputs of an operator can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    /// The first; others must be unused.
    First,
    /// All: the function is called for each that is used.
    Each,
}

const fn row(op: &'static str, attributes: &'static [&'static str], lower: Lower) -> Entry {
    Entry { op, attributes, outputs: Outputs::First, lower }
}

const fn parts(op: &'static str, attributes: &'static [&'static str], lower: Lower) -> Entry {
    Entry { op, attributes, outputs: Outputs::Each, lower }
}

const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
const POOL: &[&str] =
    &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"];
const TRANSPOSED: &[&str] =
    &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"];
const MAX_POOL: &[&str] =
    &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"];
const RESIZE: &[&str] = &[
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
];
const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];
const NORM: &[&str] = &["epsilon", "momentum", "is_test", "spatial", "training_mode", "consumed_inputs"];
const BROADCAST: &[&str] = &["axis", "broadcast"];

/// All supported operators, by name.
const TABLE: &[Entry] = &[
    row("Abs", &[], activation::abs),
    row("Add", BROADCAST, arithmetic::add),
    row("ArgMax", &["axis", "keepdims", "select_last_index"], client::arg_max),
    row("AveragePool", POOL, pool::average),
    row("BatchNormalization", NORM, normalization::batch),
    row("Cast", &["to", "saturate"], reshape::cast),
    row("Celu", &["alpha"], activation::celu),
    row("Clip", &["max", "min"], activation::clip),
    row("Concat", &["axis"], view::concat),
    row("Conv", CONV, window::convolution),
    row("ConvTranspose", TRANSPOSED, transposed::convolution),
    row("DepthToSpace", &["blocksize", "mode"], rearrange::depth_to_space),
    row("DequantizeLinear", &["axis", "block_size", "output_dtype"], quantization::dequantize),
    row("Div", BROADCAST, arithmetic::div),
    row("Dropout", &["is_test", "ratio", "seed"], reshape::dropout),
    row("Einsum", &["equation"], einsum::contraction),
    row("Elu", &["alpha"], activation::elu),
    row("Erf", &[], activation::erf),
    row("Exp", &[], activation::exp),
    row("Expand", &[], view::expand),
    row("Flatten", &["axis"], reshape::flatten),
    row("Gather", &["axis"], gather::gather),
    row("GatherND", &["batch_dims"], gather::gather_nd),
    row("Gelu", &["approximate"], activation::gelu),
    row("Gemm", &["alpha", "beta", "broadcast", "transA", "transB"], dense::gemm),
    row("GlobalAveragePool", &[], pool::global),
    row("GlobalMaxPool", &[], maximum::global),
    row("Greater", BROADCAST, select::greater),
    row("GreaterOrEqual", &[], select::greater),
    row("GroupNormalization", &["epsilon", "num_groups", "stash_type"], normalization::group),
    row("HardSigmoid", &["alpha", "beta"], activation::hard_sigmoid),
    row("HardSwish", &[], activation::hard_swish),
    row("Identity", &[], reshape::identity),
    row("InstanceNormalization", &["epsilon"], normalization::instance),
    row("LRN", &["alpha", "beta", "bias", "size"], normalization::local_response),
    parts("LayerNormalization", &["axis", "epsilon", "stash_type"], normalization::layer),
    row("LeakyRelu", &["alpha"], activation::leaky_relu),
    row("Less", BROADCAST, select::less),
    row("LessOrEqual", &[], select::less),
    row("LogSoftmax", &["axis"], client::log_softmax),
    row("LpNormalization", &["axis", "p"], normalization::euclidean),
    row("MatMul", &[], dense::mat_mul),
    row("Max", &[], maximum::max),
    row("MaxPool", MAX_POOL, maximum::pool),
    row("Mean", &[], arithmetic::mean),
    row("MeanVarianceNormalization", &["axes"], normalization::mean_variance),
    row("Min", &[], maximum::min),
    row("Mish", &[], activation::mish),
    row("Mul", BROADCAST, arithmetic::mul),
    row("Neg", &[], arithmetic::neg),
    row("PRelu", &[], activation::p_relu),
    row("Pad", &["mode", "pads", "paddings", "value"], view::pad),
    row("Pow", BROADCAST, arithmetic::pow),
    row("RMSNormalization", &["axis", "epsilon", "stash_type"], normalization::root_mean_square),
    row("Reciprocal", &[], activation::reciprocal),
    row("ReduceL2", REDUCE, reduce::norm),
    row("ReduceMax", REDUCE, maximum::reduce_max),
    row("ReduceMean", REDUCE, reduce::mean),
    row("ReduceMin", REDUCE, maximum::reduce_min),
    row("ReduceSum", REDUCE, reduce::sum),
    row("ReduceSumSquare", REDUCE, reduce::sum_square),
    row("Relu", &[], activation::relu),
    row("Reshape", &["allowzero"], reshape::reshape),
    row("Resize", RESIZE, resize::resize),
    row("Selu", &["alpha", "gamma"], activation::selu),
    row("Sigmoid", &[], activation::sigmoid),
    row("Sign", &[], activation::sign),
    row("Slice", &["axes", "ends", "starts"], view::slice),
    row("Softmax", &["axis"], client::softmax),
    row("Softplus", &[], activation::softplus),
    row("Softsign", &[], activation::softsign),
    row("SpaceToDepth", &["blocksize"], rearrange::space_to_depth),
    parts("Split", &["axis", "num_outputs", "split"], rearrange::split),
    row("Sqrt", &[], activation::sqrt),
    row("Squeeze", &["axes"], reshape::squeeze),
    row("Sub", BROADCAST, arithmetic::sub),
    row("Sum", &[], arithmetic::sum),
    row("Swish", &["alpha"], activation::swish),
    row("Tanh", &[], activation::tanh),
    row("ThresholdedRelu", &["alpha"], activation::thresholded_relu),
    row("Tile", &[], rearrange::tile),
    row("Transpose", &["perm"], view::transpose),
    row("Unsqueeze", &["axes"], reshape::unsqueeze),
    row("Where", &[], select::select),
];

/// What to do about operators that people are likely to meet.
const REMEDIES: &[(&str, &str)] = &[
    ("MaxPool", "train with AveragePool, or a convolution of stride 2, in its place"),
    ("LpPool", "train with AveragePool in its place"),
    (
        "Upsample",
        "convert the model to operator set 10 or later, where it is Resize; beside Slice this must be done by hand",
    ),
    (
        "If",
        "make its condition a constant or one that follows from shapes, or export the branch that is wanted alone",
    ),
    ("Loop", "unroll it before export"),
    ("Scan", "unroll it before export"),
    ("Log", "take the logarithm after decryption"),
];

/// The row of an operator.
pub(super) fn entry(op: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|e| e.op == op)
}

/// What to do about an operator that has no row.
pub(super) fn remedy(op: &str) -> &'static str {
    let known = REMEDIES.iter().find(|(name, _)| *name == op);
    known.map_or(
        "replace it by supported operators, or cut the model before it with `--output TENSOR`",
        |(_, remedy)| remedy,
    )
}
