//! The only crate that knows a secret key: key generation, encryption, decryption.
//!
//! - [`Client`]: all that a client does for one circuit, from its manifest; holds parameters against a security policy.
//! - [`SecretKey`], [`KeyGenerator`]: the secret, and the keys that a server needs.
//! - [`encrypt_secret`], [`encrypt_public`], [`decrypt`], [`decrypt_slots`]: plaintexts to ciphertexts and back.
//! - [`Client::release`]: scores that may be given away; [`Alarm`]: scores that must not be trusted.
//! - [`sample`]: the distributions that secrets and errors are drawn from; [`Randomness`]: what they are drawn with.
//!
//! # Promises
//! Randomness comes from the operating system alone. Secrets are ternary, errors are Gaussian with standard deviation
//! 3.19; both are drawn with integers, without branches or addresses that depend on them. A secret is wiped when
//! dropped and never printed. What stands below [`Client`] checks mathematics only, not security. The code is not audited.

#![forbid(unsafe_code)]

mod client;
mod decrypt;
mod encrypt;
mod error;
mod files;
mod keygen;
mod randomness;
mod release;
pub mod sample;
mod scores;
mod secret;

pub use client::{Client, EncryptedInput, EncryptedOutput, FreshCiphertext, OutsideRange};
pub use decrypt::{decrypt, decrypt_slots};
pub use encrypt::{encrypt_public, encrypt_secret};
pub use error::ClientError;
pub use files::SECRET_KEY_BYTES_MAX;
pub use keygen::KeyGenerator;
pub use randomness::Randomness;
pub use release::{Release, Released};
pub use scores::{Alarm, Scores};
pub use secret::SecretKey;
