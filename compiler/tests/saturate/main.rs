//! Equality saturation: extraction against brute force, laws against meanings, stages against snapshots.

mod extract;
#[path = "../backend/nets.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the networks")]
mod nets;
#[path = "../../../models/generate/networks.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the networks")]
mod networks;
#[path = "../frontend/onnx.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the writer")]
mod onnx;
mod packing;
mod rescale;
mod rotation;
mod wide;
