//! Compiles ONNX CNNs to CKKS circuits.
#![forbid(unsafe_code)]

pub mod activation;
pub mod balance;
pub mod bootstrap;
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
pub mod refit;
mod report;
pub mod rotation;
mod samples;
pub mod saturate;
pub mod stages;
mod trail;
mod transcribe;

pub use compile::{Compiled, Watched, compile, compile_watched};
pub use error::CompileError;
pub use forecast::{Account, MemoryParts, NodeCost, account};
pub use options::{BATCH_MAX, Bootstrapping, CompileOptions, Packing, Purpose};
pub use report::{Bootstraps, EGraph, Layer, Report, bootstraps};
pub use saturate::rotation::curve::{KeyPoint, key_curve};
pub use trail::{Watch, cost_line};
