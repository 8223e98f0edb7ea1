//! What the caller of the compiler chooses. Everything else follows from the model.

use crate::cost::Profile;
use crate::error::CompileError;
use crate::rotation::Policy;
use crate::stages::Stage;
use cipherloom_ir::scheme::{BOOTSTRAP_SETS, BootstrapRequest, SecurityPolicy};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How layouts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Fixed multiplexed layouts, baby-step giant-step with n1 ≈ √n and eager rescaling, as if these stages were off:
    /// what a good engineer ships by hand.
    Multiplexed,
    /// Dynamic program over the same kernels, minimising predicted time.
    DynamicProgram,
    /// Equality saturation over layers, layouts and kernels.
    Saturated,
}

/// Most images of one evaluation.
pub const BATCH_MAX: u32 = 1 << 12;

/// What the circuit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run on ciphertexts: polynomials, secure parameters.
    Encrypted,
    /// To be looked at and evaluated in the clear: exact activations, a chain as long as needed, never verified.
    Draft,
}

/// Whether circuits bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrapping {
    /// Where no leveled parameters are long enough.
    Auto,
    /// Networks that are too deep are refused.
    Never,
    /// Always, for tests: leveled parameters are not tried.
    Always,
}

/// Options of [`compile`](crate::compile).
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// Bits of precision at the output: −log2(largest error / largest output).
    pub precision_bits: f64,
    /// Layout chooser.
    pub packing: Packing,
    /// Most that the degree of an activation's polynomial may be, one of [`DEGREES`](crate::activation::DEGREES).
    pub activation_degree: u32,
    /// Encrypted or draft.
    pub purpose: Purpose,
    /// Images that one evaluation classifies, interleaved in the slots: a power of two.
    pub batch: u32,
    /// Ring degree to use instead of the cheapest secure one (log2 N).
    pub log_n: Option<u32>,
    /// Measured costs, which the choices minimise.
    pub profile: Arc<Profile>,
    /// Most memory that evaluation keys may take: the fastest circuit whose keys fit is wanted.
    pub max_key_bytes: Option<u64>,
    /// Whether two diagonals may share a product.
    pub pairs: bool,
    /// Whether circuits bootstrap.
    pub bootstrapping: Bootstrapping,
    /// Bootstrappings to choose from, by name.
    pub bootstrap_sets: Vec<(&'static str, BootstrapRequest)>,
    /// What bootstrapped parameters must satisfy.
    pub policy: SecurityPolicy,
    /// Stages that are off; each must be one that can be.
    pub off: BTreeSet<Stage>,
}

impl CompileOptions {
    /// Whether a stage is off, by name or because packing is the baseline.
    pub fn is_off(&self, stage: Stage) -> bool {
        let baseline = self.packing == Packing::Multiplexed;
        let decides = matches!(stage, Stage::Packing | Stage::Rotation | Stage::Rescale);
        self.off.contains(&stage) || (baseline && decides)
    }

    /// How layouts are chosen, with packing off too.
    pub fn layouts(&self) -> Packing {
        if self.is_off(Stage::Packing) { Packing::Multiplexed } else { self.packing }
    }

    /// How diagonals are split, with rotation off too.
    pub fn splits(&self) -> Policy {
        match (self.is_off(Stage::Rotation), self.pairs) {
            (true, _) => Policy::SquareRoot,
            (false, true) => Policy::Cheapest,
            (false, false) => Policy::Apart,
        }
    }

    /// Whether all stages that are off can be, and the batch is one.
    pub(crate) fn check(&self) -> Result<(), CompileError> {
        if !self.batch.is_power_of_two() || self.batch > BATCH_MAX {
            return Err(CompileError::Batch { found: self.batch, max: BATCH_MAX });
        }
        let refused = self.off.iter().find_map(|s| s.switchable().err());
        refused.map_or(Ok(()), |e| Err(CompileError::Stage(e)))
    }
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions {
            precision_bits: 10.0,
            packing: Packing::Saturated,
            activation_degree: 4,
            purpose: Purpose::Encrypted,
            batch: 1,
            log_n: None,
            profile: Profile::committed(),
            pairs: true,
            off: BTreeSet::new(),
            max_key_bytes: None,
            bootstrapping: Bootstrapping::Auto,
            // Circuits bootstrap all slots.
            bootstrap_sets: BOOTSTRAP_SETS.into_iter().filter(|(_, set)| set.log_repeats() == 0).collect(),
            policy: SecurityPolicy::standard_128(),
        }
    }
}
