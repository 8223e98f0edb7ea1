//! Compiles ONNX CNNs to CKKS circuits.
#![forbid(unsafe_code)]

pub mod graph;
