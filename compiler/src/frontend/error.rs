//! What can be wrong with a model, said so that its author can mend it.
//!
//! Promises: every message names the place (tensor, node, metadata key), what was found, and what to do.

use cipherloom_ir::printable::one_line;
use std::fmt;
use std::path::PathBuf;

/// A node that the compiler cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Name of the ONNX node (of its first output if it has none).
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why it is refused.
    pub reason: String,
    /// What the model's author can do.
    pub remedy: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [node, op, reason, remedy] =
            [&self.node, &self.op, &self.reason, &self.remedy].map(|text| one_line(text));
        write!(f, "{node} ({op}): {reason}; {remedy}")
    }
}

/// A weight tensor that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTensor {
    /// Its ONNX name.
    pub tensor: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor `{}`: {}", one_line(&self.tensor), one_line(&self.reason))
    }
}

/// Why a model was not loaded. [`FrontendError::Unsupported`] is a sound model that this compiler cannot take;
/// [`FrontendError::Read`] is the file system's; everything else is bad input.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than allowed.
    #[error("the model has at least {bytes} bytes; at most {limit_bytes} are accepted")]
    TooLarge {
        /// Its size, as far as it was read.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The bytes are no ONNX model, or not a whole one.
    #[error("not a valid ONNX model: {reason}; export it again (onnx.checker names the fault)")]
    NotOnnx {
        /// What is wrong.
        reason: String,
    },
    /// Operator set out of range.
    #[error("ONNX operator set {found}: {first} to {last} are accepted; convert the model with onnx.version_converter",
        first = super::OPSETS.start(), last = super::OPSETS.end())]
    OperatorSet {
        /// Version that the model asks for.
        found: i64,
    },
    /// Broken weight tensors.
    #[error("{}", listed("the model's weights are unusable", tensors))]
    Weights {
        /// All of them.
        tensors: Vec<BadTensor>,
    },
    /// Not exactly one image goes in, or an output does not depend on it.
    #[error("{reason}; one float32 input of shape [1, …] and outputs computed from it are needed")]
    Interface {
        /// What was found.
        reason: String,
    },
    /// More than one image at once.
    #[error(
        "input `{input}` has a batch of {found}; a circuit takes one image: export with batch size 1 or a dynamic batch"
    )]
    Batch {
        /// The input.
        input: String,
        /// Its first dimension.
        found: u64,
    },
    /// A dimension that nothing fixes.
    #[error(
        "input `{input}`: dimension `{dimension}` (axis {axis}) has no fixed size; export with a fixed size or give `shape` in the `cipherloom.input` metadata"
    )]
    Dynamic {
        /// The input.
        input: String,
        /// Axis, counted with the batch.
        axis: usize,
        /// Its symbolic name, or `?`.
        dimension: String,
    },
    /// Metadata that does not say what it should.
    #[error("metadata `{key}`: {reason}")]
    Metadata {
        /// Key in metadata_props.
        key: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// Nodes that are not supported, all of them.
    #[error("{}", listed("the model uses what this compiler does not support", nodes))]
    Unsupported {
        /// In the model's order.
        nodes: Vec<Unsupported>,
    },
    /// The reference evaluator refuses the model, or the shapes in it contradict each other.
    #[error("the model cannot be evaluated: {reason}")]
    Reference {
        /// The evaluator's words.
        reason: String,
    },
    /// A tensor given to the model has the wrong shape.
    #[error("the model takes a tensor of shape {expected:?}, this one has {found:?}")]
    Shape {
        /// Shape of the input.
        expected: Vec<usize>,
        /// Shape that was given.
        found: Vec<usize>,
    },
    /// Calibration without an image.
    #[error("the calibration set holds no samples; give at least one image")]
    NoSamples,
    /// A value given to the model is NaN or infinite.
    #[error("image {image}: value {index} is not a finite number")]
    NotFinite {
        /// Which image.
        image: usize,
        /// Which element, row-major.
        index: usize,
    },
}

fn listed<T: fmt::Display>(title: &str, items: &[T]) -> String {
    let lines: Vec<String> = items.iter().map(|i| format!("\n  {i}")).collect();
    format!("{title}:{}", lines.concat())
}

/// Why one node cannot be lowered; the walk adds the node's name.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub reason: String,
    pub remedy: String,
}

/// Shorthand for an `Err` with a [`Refusal`].
pub(super) fn refuse<T>(reason: impl Into<String>, remedy: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { reason: reason.into(), remedy: remedy.into() })
}
