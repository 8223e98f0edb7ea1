//! Keys, encryption and decryption against their definitions. One binary; small rings.

mod circuit;
mod encryption;
mod fixture;
mod keys;
mod samples;
