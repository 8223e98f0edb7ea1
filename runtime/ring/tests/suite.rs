//! Every operation against its definition, on every path of this machine: smallest and largest primes, several
//! degrees, range edges.

#[path = "suite/definition.rs"]
mod definition;
#[path = "suite/extremes.rs"]
mod extremes;
#[path = "suite/laws.rs"]
mod laws;
#[path = "suite/nearest.rs"]
mod nearest;
#[path = "suite/pointwise.rs"]
mod pointwise;
#[path = "suite/refusals.rs"]
mod refusals;
#[path = "suite/structure.rs"]
mod structure;
#[path = "suite/transforms.rs"]
mod transforms;
