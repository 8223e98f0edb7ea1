//! The only crate that knows a secret key: key generation, encryption, decryption.
//!
//! - [`SecretKey`], [`KeyGenerator`]: the secret, and the keys that a server needs.
//! - [`encrypt_secret`], [`encrypt_public`], [`decrypt`], [`decrypt_slots`]: plaintexts to ciphertexts and back.
//! - [`sample`]: the distributions that secrets and errors are drawn from; [`Randomness`]: what they are drawn with.
//!
//! # Promises
//! Randomness comes from the operating system alone. Secrets are ternary, errors are Gaussian with standard deviation
//! 3.19; both are drawn with integers, without branches or addresses that depend on them. A secret is wiped when
//! dropped and never printed. The code is not audited.

#![forbid(unsafe_code)]

mod decrypt;
mod encrypt;
mod error;
mod keygen;
mod randomness;
pub mod sample;
mod secret;

pub use decrypt::{decrypt, decrypt_slots};
pub use encrypt::{encrypt_public, encrypt_secret};
pub use error::ClientError;
pub use keygen::KeyGenerator;
pub use randomness::Randomness;
pub use secret::SecretKey;
