//! The kernels and the choice between their paths. All unsafe code of the workspace stands in this folder.
//!
//! - `dispatch`: the table of kernels, and the proof that the processor has a path's instructions.
//! - `scalar`: portable, every prime; the readable twin.
//! - `lanes`: the vector kernels, written once over 52-bit lanes, for primes below `2^50`.
//! - `ifma`, `avx2`: the lane operations of the two vector paths; `ifma` also has a transform.
//! - `pages`: large pages behind large buffers.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod pages;
mod scalar;

pub(crate) use dispatch::{BlockOrders, Kernel};
#[cfg(target_arch = "x86_64")]
pub(crate) use ifma::Detected as IfmaDetected;
pub(crate) use pages::prefer_large;
