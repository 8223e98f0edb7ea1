//! Compiles ONNX CNNs to CKKS circuits.
#![forbid(unsafe_code)]

pub mod activation;
pub mod balance;
mod compile;
pub mod compose;
pub mod cost;
pub mod emission;
mod error;
mod forecast;
pub mod frontend;
pub mod graph;
pub mod levels;
mod options;
mod outputs;
pub mod packing;
pub mod parameters;
pub mod passes;
mod report;
pub mod rotation;
mod samples;
pub mod saturate;
pub mod stages;
mod trail;

pub use compile::{Compiled, Watched, compile, compile_watched};
pub use error::CompileError;
pub use forecast::{Account, MemoryParts, NodeCost, account};
pub use options::{BATCH_MAX, CompileOptions, Packing, Purpose};
pub use report::{EGraph, Layer, Report};
pub use saturate::rotation::curve::{KeyPoint, key_curve};
pub use trail::{Watch, cost_line};
