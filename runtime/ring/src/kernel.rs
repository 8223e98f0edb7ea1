//! The kernels and the choice between their paths. All unsafe code of the workspace stands in this folder.
//!
//! - `dispatch`: the table of kernels, and the proof that the processor has a path's instructions.
//! - `scalar`: portable, every prime; the readable twin.
//! - `ifma`: eight lanes of 52-bit integers, `avx2`: four lanes of floats, both for primes below `2^50` and with a transform.
//! - `pages`: large pages behind large buffers.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod pages;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Detected as Avx2Detected;
pub(crate) use dispatch::{BlockOrders, Fraction, Kernel};
#[cfg(target_arch = "x86_64")]
pub(crate) use ifma::Detected as IfmaDetected;
pub(crate) use pages::prefer_large;
