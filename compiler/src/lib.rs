//! Compiles ONNX CNNs to CKKS circuits.
#![forbid(unsafe_code)]

pub mod activation;
pub mod balance;
mod compile;
pub mod compose;
pub mod cost;
mod error;
mod forecast;
pub mod frontend;
pub mod graph;
pub mod levels;
mod options;
pub mod packing;
pub mod parameters;
mod report;
pub mod rescale;
pub mod rotation;
mod samples;
pub mod saturate;

pub use compile::{Compiled, compile};
pub use error::CompileError;
pub use options::{CompileOptions, Packing, Purpose};
pub use report::{Layer, Report};
