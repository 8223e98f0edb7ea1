//! Decisions by equality saturation: stages that hold all ways of computing a network at once, and choose at the end.
//!
//! Each stage has the shape that fits what it decides (docs/decisions/0004): packing is an e-graph over layers whose
//! physical classes are demands "this tensor in this layout"; rotation (0006) is an e-graph of plans and keys, chosen for
//! all maps at once; rescale (0005) is an e-graph over the operations of the
//! circuit, with exact scales as types; [`extract`] picks one alternative of every demanded
//! class, counting shared work once. egg is used here and nowhere else.

pub mod extract;
pub mod law;
pub mod packing;
pub mod rescale;
pub mod rotation;
