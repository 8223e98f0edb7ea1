//! Decisions by equality saturation: stages that hold all ways of computing a network at once, and choose at the end.
//!
//! Each stage has the shape that fits what it decides (docs/decisions/0004): packing is an e-graph over layers whose
//! physical classes are demands "this tensor in this layout"; [`extract`] picks one alternative of every demanded
//! class, counting shared work once. egg is used here and nowhere else.

pub mod extract;
pub mod packing;
