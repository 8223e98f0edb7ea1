//! Stage 7, parameters: ring degree, chain, special primes and gadget.
//!
//! Does: for one ring degree, finds the gadget that makes key switching cheapest within the security bound. Needs: the
//! number of levels, the scale and the range of the output. Leaves: a [`Frame`], from which packing takes its costs and
//! the emission its primes. Why here: the scale follows from the trace of an emitted circuit, so this stage is asked
//! twice, with a guess before packing and with the scale that the trace demands after it.

use crate::cost::{CostModel, Profile};
use crate::error::CompileError;
use crate::graph::{NodeId, TensorGraph};
use cipherloom_ir::scheme::{
    BootstrapPlan, BootstrapRequest, ChainRequest, Gadget, Level, Parameters, SPECIAL_MARGIN_MAX_BITS,
    SPECIAL_MARGIN_MIN_BITS,
};

/// Largest size of a prime: the engine's kernels want less than 2^50.
pub const MAX_PRIME_BITS: u32 = 50;
/// Most bits that one special prime contributes, in tenths: what the prime search calls 49.9.
const MAX_SPECIAL_TENTHS: u32 = 499;
/// The base prime exceeds the largest output by this factor, for noise and for outputs beyond the calibrated range.
const HEADROOM_BITS: u32 = 3;
/// Output bound of drafts without a range, which nobody encrypts.
const DRAFT_OUTPUT: f64 = 64.0;
/// Security policies round the bits of a modulus up by this much at most.
const LOG_ROUNDING: f64 = 1e-3;
/// Scale bits of a draft, which nobody encrypts.
const DRAFT_SCALE_BITS: u32 = 40;

/// Sizes of a parameter set, before primes are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Rescales after encryption.
    pub top: Level,
    /// Bits of the scale.
    pub log_scale: u32,
    /// Bits of the base prime.
    pub base_bits: u32,
    /// Gadget of every key.
    pub gadget: Gadget,
    /// Bits of P.
    pub special_bits: u32,
    /// What operations cost with this gadget.
    cost: CostModel,
}

/// Sizes for which a gadget is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Rescales after encryption.
    pub top: Level,
    /// Bits of the scale.
    pub log_scale: u32,
    /// Bits of the base prime.
    pub base_bits: u32,
}

impl Frame {
    /// Cheapest frame of these sizes within `bound` bits of QP, if there is one.
    pub fn cheapest(sizes: Sizes, bound: u32, profile: &Profile) -> Option<Frame> {
        let Sizes { log_n, top, log_scale, base_bits } = sizes;
        if base_bits > MAX_PRIME_BITS {
            return None;
        }
        let q_bits = base_bits + top.0 * log_scale;
        let frames = (1..=top.limbs() as u32).filter_map(|digit_limbs| {
            let largest = base_bits + (digit_limbs - 1) * log_scale;
            let special_bits = largest + SPECIAL_MARGIN_MAX_BITS;
            let gadget = Gadget { digit_limbs, special_limbs: special_limbs(largest) };
            let fits = q_bits + special_bits <= bound;
            let cost = CostModel::new(profile, log_n, gadget);
            fits.then_some(Frame { log_n, top, log_scale, base_bits, gadget, special_bits, cost })
        });
        frames.min_by_key(Frame::typical_ns)
    }

    /// This frame with the largest base prime, up to `more` bits larger, that leaves key switching as it is.
    pub fn widened(self, more: u32, bound: u32) -> Frame {
        let larger = (1..=more.min(MAX_PRIME_BITS.saturating_sub(self.base_bits))).rev();
        let mut frames = larger.map(|more| Frame {
            base_bits: self.base_bits + more,
            special_bits: self.special_bits + more,
            ..self.clone()
        });
        let same = |f: &Frame| {
            let largest = f.base_bits + (f.gadget.digit_limbs - 1) * f.log_scale;
            f.gadget.special_limbs == special_limbs(largest) && f.log_qp() <= bound
        };
        frames.find(|f| same(f) && f.is_within(bound).is_ok_and(|within| within)).unwrap_or(self)
    }

    /// A frame for drafts: long enough, never secure, never encrypted.
    pub fn draft(log_n: u32, top: Level, profile: &Profile) -> Frame {
        let gadget = Gadget { digit_limbs: 1, special_limbs: 2 };
        let base_bits = DRAFT_SCALE_BITS + 8;
        let (log_scale, special_bits) = (DRAFT_SCALE_BITS, base_bits + 6);
        let cost = CostModel::new(profile, log_n, gadget);
        Frame { log_n, top, log_scale, base_bits, gadget, special_bits, cost }
    }

    /// A frame of as many levels as it takes, at the ring, scale and gadget of a bootstrapping, which shortens it: never secure.
    /// Levels above the middle of the bootstrapping's cost what that does: between two bootstraps it is the average.
    pub fn unbounded(plan: &BootstrapPlan, top: Level, profile: &Profile) -> Frame {
        let BootstrapRequest { log_n, log_scale, base_bits, .. } = plan.request;
        let largest = base_bits + plan.gadget.digit_limbs.saturating_sub(1) * log_scale;
        let special_bits = largest + SPECIAL_MARGIN_MAX_BITS;
        let middle = Level(plan.input.0 + plan.usable_levels().div_ceil(2));
        let cost = CostModel::new(profile, log_n, plan.gadget).up_to(middle);
        let gadget = Gadget { special_limbs: special_limbs(largest), ..plan.gadget };
        Frame { log_n, top, log_scale, base_bits, gadget, special_bits, cost }
    }

    /// Bits of Q and P together.
    pub fn log_qp(&self) -> u32 {
        self.base_bits + self.top.0 * self.log_scale + self.special_bits
    }

    /// Cost model of this frame; of an unbounded one for choosing only.
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// The primes of this frame.
    pub fn parameters(&self) -> Result<Parameters, CompileError> {
        let request = ChainRequest {
            log_n: self.log_n,
            log_scale: self.log_scale,
            base_bits: self.base_bits,
            levels: self.top.0,
        };
        let found = request.parameters(self.gadget.digit_limbs);
        found.map_err(|e| CompileError::Internal(format!("primes of 2^{}: {e}", self.log_n)))
    }

    /// Whether the primes themselves stay within so many bits: they lie on both sides of powers of two. An error where there are
    /// too few of their size.
    pub fn is_within(&self, bound: u32) -> Result<bool, CompileError> {
        let Parameters { chain, special, .. } = self.parameters()?;
        let bits: f64 = chain.iter().chain(&special).map(|prime| libm::log2(*prime as f64)).sum();
        Ok(bits + LOG_ROUNDING <= f64::from(bound))
    }

    /// Key switches and baby steps at the top and halfway down: what a typical circuit spends.
    fn typical_ns(&self) -> u64 {
        let cost = self.cost();
        let at = |level: Level| {
            cost.key_switch(level) + 4 * cost.extended_baby(level) + 16 * cost.extended_product(level)
        };
        at(self.top) + at(Level(self.top.0 / 2))
    }
}

/// Special primes for digits of at most this many bits.
fn special_limbs(largest: u32) -> u32 {
    (10 * (largest + SPECIAL_MARGIN_MIN_BITS)).div_ceil(MAX_SPECIAL_TENTHS)
}

/// Bits of a base prime that holds an output of this range at `2^log_scale`.
pub fn base_bits(log_scale: u32, range: [f64; 2]) -> u32 {
    let bound = range[0].abs().max(range[1].abs()).clamp(1.0, f64::MAX);
    // One bit for the sign.
    let bits = libm::ceil(libm::log2(bound)) as u32 + 1 + HEADROOM_BITS;
    log_scale + bits
}

/// Largest scale, in bits, whose base prime holds an output of this range.
pub fn largest_scale(range: [f64; 2]) -> u32 {
    MAX_PRIME_BITS.saturating_sub(base_bits(0, range))
}

/// Range of an output: calibrated, or as the stage `outputs` assumed.
pub fn output_range(graph: &TensorGraph, id: NodeId) -> [f64; 2] {
    graph.node(id).range.unwrap_or([-DRAFT_OUTPUT, DRAFT_OUTPUT])
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipherloom_ir::scheme::SecurityPolicy;

    #[test]
    fn frames_within_a_bound_pass_the_policy_and_others_are_seen() {
        let policy = SecurityPolicy::standard_128();
        let (log_n, mut within, mut beyond) = (14, 0, 0);
        let bound = policy.bound(log_n).expect("a known ring");
        let sizes = (24..=45).flat_map(|log_scale| (2..=14).map(move |top| (log_scale, Level(top))));
        for (log_scale, top) in sizes {
            for base_bits in log_scale + 2..=MAX_PRIME_BITS {
                let sizes = Sizes { log_n, top, log_scale, base_bits };
                let Some(frame) = Frame::cheapest(sizes, bound, &Profile::committed()) else { continue };
                let Ok(parameters) = frame.parameters() else { continue };
                let bits: f64 =
                    parameters.chain.iter().chain(&parameters.special).map(|q| (*q as f64).log2()).sum();
                assert_eq!(frame.is_within(bound).expect("primes"), bits <= f64::from(bound) - LOG_ROUNDING);
                *(if bits <= f64::from(bound) { &mut within } else { &mut beyond }) += 1;
            }
        }
        assert!(within > 100 && beyond > 0, "{within} within, {beyond} beyond");
    }
}
