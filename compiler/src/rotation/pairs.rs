//! Which diagonals of a map share a product (`Pairing` of a plan; decision 0007).
//!
//! Relies on: pairs are a step apart that is a power of two, or stand at one step of neighbouring ciphertexts. Promises:
//! the products of the reduced support apply every diagonal of the support once.

use super::counts::StepSets;
use cipherloom_ir::{Step, Support};
use std::collections::BTreeMap;

/// Pairings by steps that are weighed for each support.
const TRIED_MAX: usize = 2;

/// Which diagonals share a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pairs {
    /// None.
    #[default]
    Apart,
    /// Those of neighbouring input ciphertexts.
    Ciphertexts,
    /// Those `half` slots apart, a power of two: the first is the one whose bit `half` is clear after adding `shift`.
    Steps {
        /// Distance of the two.
        half: u32,
        /// 0, or half of the distance: ranges around 0 pair up.
        shift: u32,
        /// Slots of a ciphertext.
        slots: u32,
    },
}

impl Pairs {
    /// The steps of the products: one for each pair.
    pub fn reduced(self, support: &Support) -> Support {
        let mut out: BTreeMap<(u32, u32), Vec<Step>> = BTreeMap::new();
        for ((output, input), steps) in &support.0 {
            match self {
                Pairs::Apart => out.entry((*output, *input)).or_default().extend(steps),
                Pairs::Ciphertexts => out.entry((*output, input / 2)).or_default().extend(steps),
                Pairs::Steps { half, shift, slots } => {
                    let mask = slots - 1;
                    let first = |s: &Step| Step(((s.0 + shift) & mask & !half).wrapping_sub(shift) & mask);
                    out.entry((*output, *input)).or_default().extend(steps.iter().map(first));
                }
            }
        }
        if self != Pairs::Apart {
            for steps in out.values_mut() {
                steps.sort_unstable();
                steps.dedup();
            }
        }
        Support(out)
    }

    /// The step of the plan's pairing; `None`: no pairing.
    pub fn half(self) -> Option<Step> {
        match self {
            Pairs::Apart => None,
            Pairs::Ciphertexts => Some(Step(0)),
            Pairs::Steps { half, .. } => Some(Step(half)),
        }
    }

    /// Ciphertexts that are rotated to be paired, of so many.
    pub fn turned(self, inputs: u64) -> u64 {
        if matches!(self, Pairs::Steps { .. }) { inputs } else { 0 }
    }

    /// Outputs whose real part is taken, of so many.
    pub fn conjugated(self, outputs: u64) -> u64 {
        if self == Pairs::Apart { 0 } else { outputs }
    }
}

/// The steps of the products of all pairings that may be worth their conjugations: those that leave the fewest products.
pub(super) fn reductions(support: &Support, slots: u32) -> Vec<(Pairs, StepSets)> {
    let apart = StepSets::of(support, slots);
    let all = apart.diagonals();
    let halves = (1..slots.trailing_zeros()).rev().flat_map(|k| [(1u32 << k, 0), (1 << k, 1 << (k - 1))]);
    let left = halves.map(|(half, shift)| (apart.left(half, shift), half, shift));
    let mut steps: Vec<(u64, u32, u32)> = left.filter(|(left, ..)| 4 * left <= 3 * all).collect();
    steps.sort_by_key(|(left, ..)| *left);
    steps.truncate(TRIED_MAX);
    let steps: Vec<(Pairs, StepSets)> = steps
        .into_iter()
        .map(|(_, half, shift)| (Pairs::Steps { half, shift, slots }, apart.paired(half, shift)))
        .collect();
    let neighbours = Pairs::Ciphertexts.reduced(support);
    let neighbours = (4 * neighbours.diagonals() as u64 <= 3 * all)
        .then(|| (Pairs::Ciphertexts, StepSets::of(&neighbours, slots)));
    [(Pairs::Apart, apart)].into_iter().chain(neighbours).chain(steps).collect()
}
