//! What the caller of the compiler chooses. Everything else follows from the model.

use crate::cost::Profile;
use std::sync::Arc;

/// How layouts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Fixed multiplexed layouts and baby-step giant-step with n1 ≈ √n: what a good engineer ships by hand.
    Multiplexed,
    /// Dynamic program over the same kernels, minimising predicted time.
    DynamicProgram,
    /// Equality saturation over layers, layouts and kernels.
    Saturated,
}

/// What the circuit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run on ciphertexts: polynomials, secure parameters.
    Encrypted,
    /// To be looked at and evaluated in the clear: exact activations, a chain as long as needed, never verified.
    Draft,
}

/// Options of [`compile`](crate::compile).
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// Bits of precision at the output: −log2(largest error / largest output).
    pub precision_bits: f64,
    /// Layout chooser.
    pub packing: Packing,
    /// Degree of activation polynomials: 2, 3, 4 or 8.
    pub activation_degree: u32,
    /// Encrypted or draft.
    pub purpose: Purpose,
    /// Ring degree to use instead of the cheapest secure one (log2 N).
    pub log_n: Option<u32>,
    /// Measured costs, which the choices minimise.
    pub profile: Arc<Profile>,
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions {
            precision_bits: 10.0,
            packing: Packing::Saturated,
            activation_degree: 4,
            purpose: Purpose::Encrypted,
            log_n: None,
            profile: Profile::committed(),
        }
    }
}
