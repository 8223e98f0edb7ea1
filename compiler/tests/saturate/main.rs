//! Equality saturation: extraction against brute force, laws against meanings, stages against snapshots.

mod extract;
#[path = "../backend/nets.rs"]
#[allow(dead_code, reason = "each test binary uses its part of the networks")]
mod nets;
mod packing;
mod rescale;
