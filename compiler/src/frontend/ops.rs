//! What each ONNX operator becomes; one file per family, one function per row of the registry.

pub(super) mod activation;
pub(super) mod arithmetic;
pub(super) mod client;
pub(super) mod dense;
pub(super) mod normalization;
pub(super) mod pool;
pub(super) mod reshape;
pub(super) mod view;
pub(super) mod window;

use super::call::Value;
use super::error::Refusal;

/// Outcome of an operator's function.
type Lowered = Result<Value, Refusal>;

/// Remedy for what a sound exporter does not write.
const EXPORT_AGAIN: &str = "export the model again";
