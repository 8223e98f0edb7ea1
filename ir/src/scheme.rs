//! What compiler and engine must both know, as data and pure functions.

mod bootstrap;
pub mod noise;
mod params;
mod primes;
mod scale;
mod security;
mod soft_float;

pub use bootstrap::{
    BOOTSTRAP_SETS, BootstrapPlan, BootstrapRequest, EPHEMERAL_WEIGHT, Factor, FactorProduct, Iteration,
    RANGE, Reduction, ReductionProduct, ReductionStep, ReductionTerm, SlotVector, SparseSteps, Transform,
    TransformFactor,
};
pub use params::{Gadget, KeyKind, KeySpec, Level, Parameters, SCALE_BITS};
pub use primes::{
    ChainRequest, MAX_PRIME, PrimeError, SPECIAL_MARGIN_MAX_BITS, SPECIAL_MARGIN_MIN_BITS, is_prime,
    nearest_prime, special_primes,
};
pub use scale::{CanonicalScales, Scale};
pub use security::{EphemeralReport, SecurityError, SecurityPolicy, SecurityReport};
