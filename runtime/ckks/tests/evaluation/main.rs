//! Every operation against plain arithmetic on complex slots, on rings too small to be secure.

mod errors;
mod harness;
mod keyswitch;
mod operations;
mod sweep;
