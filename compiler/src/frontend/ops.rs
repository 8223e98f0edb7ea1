//! What each ONNX operator becomes; one file per family, one function per row of the registry.

pub(super) mod activation;
mod along;
pub(super) mod arithmetic;
pub(super) mod client;
pub(super) mod dense;
pub(super) mod einsum;
pub(super) mod gather;
pub(super) mod maximum;
pub(super) mod normalization;
pub(super) mod pool;
pub(super) mod quantization;
pub(super) mod rearrange;
pub(super) mod reduce;
pub(super) mod reshape;
pub(super) mod resize;
pub(super) mod select;
pub(super) mod transposed;
pub(super) mod view;
pub(super) mod window;

use super::call::Value;
use super::draft::MAX_ELEMENTS;
use super::error::{Refusal, refuse};

/// Outcome of an operator's function.
type Lowered = Result<Value, Refusal>;

/// Remedy for what a sound exporter does not write.
const EXPORT_AGAIN: &str = "export the model again";

/// Refuses results that memory should not be asked for, before anything of their size is made.
fn holds(shape: &[usize]) -> Result<(), Refusal> {
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    match elements.filter(|n| (1..=MAX_ELEMENTS).contains(n)) {
        Some(_) => Ok(()),
        None => refuse(
            format!("its result has shape {shape:?}"),
            format!("tensors need at least one element and at most {MAX_ELEMENTS}"),
        ),
    }
}
