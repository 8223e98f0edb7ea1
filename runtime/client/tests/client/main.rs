//! Keys, encryption and decryption against their definitions. One binary; small rings.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its data has failed")]

mod circuit;
mod encryption;
mod files;
mod fixture;
mod keys;
mod release;
mod samples;
