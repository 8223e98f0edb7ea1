//! Linear maps between slot vectors, described and not stored.
//!
//! A [`LinearMap`] composes tensor-level [`Operator`]s (geometry and a reference to a weight tensor) and says in
//! which layouts its input and output stand. Its slot matrix is a sum of diagonals: with step `d`,
//! `out[s] += diagonal_d[s] · in[(s + d) mod slots]`, one family for each pair (output ciphertext, input
//! ciphertext). A diagonal is named by `(map, output, input, step)` and materialised by a pure function.
//!
//! Folded maps: with `fold` digits, the diagonals yield *partial sums*: the result of output element `o` is
//! spread over the slots `address(o) + f`, `f` in the span of `fold`, and rotate-and-add steps that follow in
//! the circuit gather it. Among the candidates (input replica, fold offset) of one product the one with the
//! smallest step in `[0, slots)` is taken (of equal steps the smallest fold offset); that rule makes the set of
//! diagonals unique.
//!
//! Copies between elements: a replica digit lies *between* where `extent · stride` is no multiple of the slots, and a step
//! *misfits* it where `⌊(step + ⌊stride / 2⌋) / stride⌋` is no multiple of its extent: it leads from a place to another copy than the
//! one in the digit's own place. Steps that misfit fewer digits are taken before smaller ones, unless replicas and folds
//! add more than 1024 different numbers (modulo the slots) to a distance. Decision 0017.
//!
//! An output ciphertext in which the map has no entry (a concatenation fills the rest of it) has one diagonal of zeros, of
//! input ciphertext 0 and step 0, so that every output of a plan is a sum of products.

mod diagonals;
mod distances;
mod plain;
mod residues;
mod rows;
mod shape;
mod stored;
mod structure;
mod support;

pub use diagonals::{Diagonal, Diagonals, PlacedMap};
pub use plain::{plain_values, plain_values_with};
pub use residues::Residues;
pub use rows::{RowNorms, SparseRows, matrix_rows};
pub use shape::{MAX_ELEMENTS, MAX_ENTRIES, MapError};
pub use support::Support;

use crate::layout::{Digit, LayoutId};
use serde::{Deserialize, Serialize};

/// Index of a weight tensor in its circuit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TensorId(pub u32);

/// Index of a linear map in its circuit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MapId(pub u32);

/// A named constant tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name in the ONNX file (or derived from it).
    pub name: String,
    /// Dimensions.
    pub shape: Vec<u32>,
    /// Row-major values, finite.
    pub values: Vec<f32>,
}

/// Sliding-window geometry over `[channels, depth, height, width]`; every field has one entry for depth, height and width. An
/// image has a depth of 1, a signal a height of 1 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Kernel sizes.
    pub kernel: [u32; 3],
    /// Strides.
    pub stride: [u32; 3],
    /// Dilations.
    pub dilation: [u32; 3],
    /// Zero padding before the first plane, row and column.
    pub pad_before: [u32; 3],
    /// Zero padding after the last plane, row and column.
    pub pad_after: [u32; 3],
}

impl Window {
    /// One element.
    pub const POINT: Window =
        Window { kernel: [1; 3], stride: [1; 3], dilation: [1; 3], pad_before: [0; 3], pad_after: [0; 3] };
}

/// Shape of a feature map `[channels, depth, height, width]` as a tensor's: a depth of 1 is left out.
pub fn feature_map([channels, depth, height, width]: [u32; 4]) -> Vec<u32> {
    if depth == 1 { vec![channels, height, width] } else { vec![channels, depth, height, width] }
}

/// A tensor's shape as a feature map `[channels, depth, height, width]`, which [`feature_map`] undoes; `None` for other shapes.
pub fn volume_of(shape: &[u32]) -> Option<[u32; 4]> {
    match *shape {
        [channels, height, width] => Some([channels, 1, height, width]),
        [channels, depth, height, width] if depth > 1 => Some([channels, depth, height, width]),
        _ => None,
    }
}

/// One output axis of a [`Operator::View`]: it walks `input_axis` from `start` by `step`; positions outside
/// the input read zero. `input_axis: None` is an axis of extent 1 (or, with `extent > 1`, a broadcast). An input
/// axis that several output axes walk is read at the sum of their positions; one that none walks, at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewAxis {
    /// Size of the output axis.
    pub extent: u32,
    /// Axis of the input that it walks.
    pub input_axis: Option<u32>,
    /// Input index that belongs to output index 0 (negative: padding).
    pub start: i64,
    /// Input indices per output index.
    pub step: i64,
}

/// A linear operator on one tensor (batch axis dropped).
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "stored::Stored", into = "stored::Stored")]
pub enum Operator {
    /// Cross-correlation, weight `[out_channels, in_channels / groups, kd, kh, kw]`, without `kd` where the window is flat
    /// ([`Window::is_flat`]).
    Convolution {
        /// Input `[channels, depth, height, width]`.
        input: [u32; 4],
        /// Geometry.
        window: Window,
        /// Channel groups.
        groups: u32,
        /// Weights.
        weight: TensorId,
    },
    /// Mean over windows; the divisor counts the padding or not.
    AveragePool {
        /// Input `[channels, depth, height, width]`.
        input: [u32; 4],
        /// Geometry.
        window: Window,
        /// Whether padded positions count in the divisor (ONNX `count_include_pad`).
        count_padding: bool,
    },
    /// `y = W x` over the row-major flattened input, weight `[rows, columns]`.
    Dense {
        /// Weights.
        weight: TensorId,
    },
    /// Transposes, slices, pads, reshapes: the input is first reshaped to `input`, then walked by `axes`.
    View {
        /// Shape that the input is read as.
        input: Vec<u32>,
        /// One entry per output axis.
        axes: Vec<ViewAxis>,
    },
    /// Multiplies index `i` of axis `axis` by `factor[i]` (batch norm that could not be folded).
    AxisScale {
        /// Shape of input and output.
        shape: Vec<u32>,
        /// Scaled axis.
        axis: u32,
        /// One factor per index, a 1-D tensor.
        factor: TensorId,
    },
    /// Multiplies every element by its own factor (a tensor of the same shape).
    ElementScale {
        /// Factors.
        factor: TensorId,
    },
}

/// A linear map between two layouts: operators in order of application, times `scale`.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LinearMap {
    /// Operators, first applied first. Empty: the identity (a repack).
    pub operators: Vec<Operator>,
    /// Uniform factor of the whole map.
    pub scale: f64,
    /// Layout of the input tensor.
    pub input: LayoutId,
    /// Layout of the output tensor; with `fold`, of the gathered result's first copy.
    pub output: LayoutId,
    /// Partial-sum digits; empty for a map whose diagonals give the result directly.
    pub fold: Vec<Digit>,
}
