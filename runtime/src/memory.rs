//! What an evaluation takes of memory, with all keys in it or with keys paged.
//!
//! Relies on the circuit's forecast, or on what its values and plaintexts take where that is more. Promises: sums of what is known before
//! anything is read; an evaluation that obeys [`MemoryDemand::key_limit`] stays below the memory that it was given.

use crate::keys::{key_memory_bytes, shape_of};
use cipherloom_ir::{Hoisting, LinearPlan, Op, PLAINTEXT_BYTES, Verified, prepared_plaintext_bytes};

/// Part of everything but keys that may come on top: peaks of the shipped networks are 0.96 to 1.05 times their forecasts
/// (`forecast_memory_ratio_*` in `benches/results/saturation.json`).
const MARGIN_PART: u64 = 8;
/// Part of the least memory that dropped buffers may keep, waiting to be used again.
const IDLE_PART: u64 = 16;
/// Most that they keep in any case.
const IDLE_BYTES_MAX: u64 = 1 << 30;

/// Bytes that an evaluation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDemand {
    /// All evaluation keys, expanded.
    pub keys: u64,
    /// The largest of them.
    pub largest_key: u64,
    /// Everything but keys, with a margin.
    pub program: u64,
    /// Rotated inputs of a linear map, which wait in memory while keys are paged: those of the map that has most.
    pub rotated: u64,
}

impl MemoryDemand {
    /// Of a circuit whose plaintexts are prepared within this budget.
    pub fn of(circuit: &Verified, plaintext_budget_bytes: u64) -> MemoryDemand {
        let n = circuit.parameters.n();
        let sizes = circuit.keys.iter().map(|spec| key_memory_bytes(&shape_of(n, spec), n));
        let (keys, largest_key) = (sizes.clone().sum(), sizes.max().unwrap_or(0));
        let plaintexts = prepared_plaintext_bytes(circuit, plaintext_budget_bytes);
        let transforms = circuit.bootstrap_plan().map_or(0, |plan| plan.plaintext_bytes());
        // The forecast is for the default budget.
        let forecast = sum([circuit.forecast.memory_bytes.saturating_sub(keys), plaintexts]);
        let forecast = forecast.saturating_sub(prepared_plaintext_bytes(circuit, PLAINTEXT_BYTES));
        let program = forecast.max(circuit.peak_value_bytes() + plaintexts + transforms);
        let program = sum([program, program / MARGIN_PART]);
        MemoryDemand { keys, largest_key, program, rotated: rotated_bytes(circuit) }
    }

    /// With all keys in memory.
    pub fn whole(&self) -> u64 {
        sum([self.program, self.keys, self.reading()])
    }

    /// With keys paged, one at a time.
    pub fn least(&self) -> u64 {
        sum([self.program, self.rotated, self.largest_key, self.reading(), self.idle_bytes()])
    }

    /// Bytes of keys that may be in memory where an evaluation has so much in all, unless that is below the least.
    pub fn key_limit(&self, memory_bytes: u64) -> Option<u64> {
        Some(memory_bytes.checked_sub(self.least())? + self.largest_key)
    }

    /// Bytes that dropped buffers may keep while keys are paged ([`cipherloom_ring::limit_idle_bytes`]).
    pub fn idle_bytes(&self) -> u64 {
        (sum([self.program, self.rotated, self.largest_key]) / IDLE_PART).min(IDLE_BYTES_MAX)
    }

    /// A key as it stands in its file, without the half that its seed stands for.
    fn reading(&self) -> u64 {
        self.largest_key / 2
    }
}

/// The sum, as far as a word goes: the forecast in a circuit's file may be any number.
fn sum<const K: usize>(parts: [u64; K]) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

/// Most bytes of rotated inputs over chain and special primes that a linear sweep holds if its keys are in a store.
fn rotated_bytes(circuit: &Verified) -> u64 {
    let limb_bytes = 8 * circuit.parameters.n() as u64;
    let of_plan = |plan: &LinearPlan| {
        let first = plan.sources.first().and_then(|source| source.values.first());
        let limbs = first.map_or(0, |value| circuit.value_type(*value).level.limbs());
        let pairs = if plan.hoisting == Hoisting::Double { plan.switches().babies.len() } else { 0 };
        2 * pairs as u64 * (limbs + plan.special_limbs(circuit) as usize) as u64 * limb_bytes
    };
    let plans = circuit.nodes.iter().map(|node| match &node.op {
        Op::Linear(plan) => of_plan(plan),
        _ => 0,
    });
    let transforms = circuit.bootstrap_plan().into_iter().flat_map(|plan| {
        [&plan.to_coefficients, &plan.to_slots].into_iter().flat_map(|transform| {
            transform.factors.iter().map(|factor| {
                let limbs = factor.level.limbs() + transform.gadget.special_limbs as usize;
                2 * (factor.babies.len() * limbs) as u64 * limb_bytes
            })
        })
    });
    plans.chain(transforms).max().unwrap_or(0)
}
