//! Compiles ONNX CNNs to CKKS circuits.
#![forbid(unsafe_code)]

pub mod frontend;
pub mod graph;
