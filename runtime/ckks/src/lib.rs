//! Leveled RNS-CKKS: parameters, ciphertexts, evaluation keys and evaluation; knows no secret key.
//!
//! - [`Context`]: ring degree and primes, with their tables. Every operation is a method of it.
//! - [`Encoder`]: complex slots to plaintexts and back.
//! - [`Ciphertext`], [`Plaintext`], [`CompactPlaintext`], [`Extended`]: values, always in evaluation form.
//! - [`EvaluationKey`], [`KeyShape`], [`Gadget`]: hybrid key switching; the gadget belongs to the key.
//! - [`KeyHandle`], [`KeyStore`]: keys that are brought into memory when they are used.
//! - [`Accumulation`]: a product and multiples of values, summed before one relinearization and one rescale.
//! - [`LinearSweep`]: many products of rotated inputs with diagonals, in one sweep.
//!
//! # Relies on
//! `cipherloom-ring` for everything modulo one prime.
//!
//! # Promises
//! The scheme is J. Cheon, K. Han, A. Kim, M. Kim and Y. Song, *A full RNS variant of approximate homomorphic
//! encryption* (ePrint 2018/931). Values carry no scale: which scale a value has is the circuit's knowledge. Results
//! are the same bits for every path, machine and number of threads. Whatever is wrong with an operand is a
//! [`CkksError`], not a panic.

#![forbid(unsafe_code)]

mod accumulation;
mod arithmetic;
mod ciphertext;
mod context;
mod conversion;
mod division;
mod encoder;
mod error;
mod gadget;
mod galois;
mod key;
mod keyswitch;
mod parallel;
mod plaintext;
mod raise;
mod rotation;
pub mod seed;
mod store;
mod sweep;
pub mod wire;

pub use accumulation::{Accumulation, Term, Unit};
pub use ciphertext::{Ciphertext, Extended, Limbs};
pub use context::Context;
pub use encoder::{Complex, Encoder};
pub use error::CkksError;
pub use gadget::Gadget;
pub use galois::{GaloisElement, RotationStep};
pub use key::{EvaluationKey, KeyError, KeyShape, KeyTarget, PublicKey};
pub use keyswitch::Hoisted;
pub use plaintext::{CompactPlaintext, Plaintext};
pub use seed::{SEED_BYTES, Seed};
pub use store::{KeyHandle, KeyStore, TakenKey};
pub use sweep::{Hoisting, LinearSweep, SweepPlaintext, SweepPlaintexts, SweepProduct, SweepStep};
pub use wire::{SeededCiphertext, WireError};
