//! Fewer slots than the ring has: `n = 2^log_slots` slots that repeat through all N/2.
//!
//! Such a message is a polynomial in `X^(N/2n)`, of 2n coefficients. Mod-raise leaves multiples of `q_0` in the other
//! coefficients too; the trace onto the subring, a sum over rotations by the multiples of n, takes them away and multiplies what stays by
//! N/2n. Coefficients-to-slots divides by that power of two again, which is exact. Real and imaginary parts of n
//! slots are 2n numbers, so they stand side by side, `[Re | Im]` with period 2n, and are reduced as one.
//!
//! The last step, `[a | b]` to `a + i b`, is a product with a plaintext, one level ([`SparseSteps::join`]). No cheaper way
//! was found: sums of rotations, conjugates and products with constants or monomials treat both halves alike. A mask could go for free into
//! the polynomial of the exponential, whose coefficients may differ from slot to slot, and squarings keep a mask of phases; but
//! then `Im`, which is taken at the end, takes the sine of one half and the cosine of the other. A second exponential,
//! masked, would need every squaring again: five key switches and more, against one and a level.

use super::transform::TransformFactor;
use super::{BootstrapRequest, Level};

/// What the steps of sparse slots need beside those of full ones.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseSteps {
    /// Rotations of the trace, in slots to the left: the raised value is added to itself, rotated by each in turn. At the top level.
    pub trace: Vec<u32>,
    /// `[a | b]` to `a + i b`, repeated: a factor as those of the transforms, on the level above the output's.
    pub join: TransformFactor,
    /// Scale of its input; it ends at the output's canonical scale.
    pub join_scale: f64,
}

impl SparseSteps {
    /// Steps that end at `output`, whose scale is `output_scale`; `prime` is the one that the join's rescale removes.
    pub(super) fn new(
        request: &BootstrapRequest,
        output: Level,
        output_scale: f64,
        prime: u64,
    ) -> SparseSteps {
        let log_slots = request.log_slots();
        // Value and mask share the room that there is, by the rule of the reduction's scales.
        let join_scale = (output_scale * prime as f64).sqrt();
        SparseSteps {
            trace: (log_slots..request.log_n - 1).map(|k| 1 << k).collect(),
            join: TransformFactor::join(Level(output.0 + 1), log_slots, output_scale / join_scale),
            join_scale,
        }
    }
}

impl BootstrapRequest {
    /// log2 of the number of slots.
    pub fn log_slots(&self) -> u32 {
        self.sparse_log_slots.unwrap_or(self.log_n.saturating_sub(1))
    }

    /// log2 of how often they repeat: 0 for full slots.
    pub fn log_repeats(&self) -> u32 {
        self.log_n.saturating_sub(1).saturating_sub(self.log_slots())
    }

    /// What the trace multiplies by.
    pub(super) fn repeats(&self) -> f64 {
        libm::exp2(f64::from(self.log_repeats()))
    }
}
