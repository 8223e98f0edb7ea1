//! Every operation against plain arithmetic on complex slots, on rings too small to be secure.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its data has failed")]

mod errors;
mod harness;
mod keyswitch;
mod operations;
mod parts;
mod sweep;
