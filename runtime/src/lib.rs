//! Evaluates verified circuits on CKKS ciphertexts; knows no secret key.
//!
//! The runtime decides nothing: hoisting, mod-down, relinearisation, rescale, levels and keys all stand in the
//! circuit. Life of an evaluation: [`Evaluator::new`] builds the ring tables and takes the evaluation keys,
//! [`KeySet::paged`] leaves keys in their file, [`MemoryDemand`] says what either takes,
//! [`Evaluator::prepare`] materialises and encodes the described plaintexts under a memory budget, and
//! [`Evaluator::run`] takes input ciphertexts to output ciphertexts, any number of times, in parallel, with the
//! same bytes for every thread count.
#![forbid(unsafe_code)]

mod bootstrap;
mod encrypted;
mod error;
mod evaluator;
pub mod files;
mod keys;
mod memory;
mod observe;
mod plaintexts;
mod program;
mod schedule;

pub use bootstrap::{BootstrapKeys, Bootstrapper};
pub use error::RuntimeError;
pub use evaluator::{Evaluator, Options};
pub use keys::{KeySet, Paging, expanded_key_bytes};
pub use memory::MemoryDemand;
pub use observe::{NodeEvent, Observer, Silent, Trace};
pub use program::Program;
