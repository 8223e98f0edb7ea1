//! What compiler and engine must both know, as data and pure functions.

mod params;
mod scale;

pub use params::{Gadget, KeyKind, KeySpec, Level, Parameters};
pub use scale::Scale;
