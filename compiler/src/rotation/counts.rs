//! What a cut needs, counted: by one window, step by step; or by all windows of powers of two, on sets of steps.
//!
//! Relies on: ciphertexts with equal steps to the same ciphertexts need the same. Promises: both ways count alike.

use super::Window;
use super::pairs::Pairs;
use crate::cost::{CostModel, PlanCounts};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, Residues, Step, Support};
use std::collections::BTreeMap;

/// What a cut needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// Inputs that are rotated.
    hoisted: u64,
    outputs: u64,
    diagonals: u64,
    /// Rotated (input, baby) pairs.
    babies: u64,
    /// Rotated (output, giant) pairs.
    giants: u64,
    /// Different baby steps that need a key.
    pub(super) baby_steps: u64,
    /// Different steps that need a key.
    keys: u64,
    /// Inputs that are rotated to be paired.
    turned: u64,
    /// Outputs whose real part is taken.
    conjugated: u64,
}

impl Counts {
    /// The counts of a cut, and the steps that need a key, ascending.
    pub(super) fn of(quotient: &Quotient, window: &Window) -> (Counts, Vec<u32>) {
        let Quotient { support, inputs, outputs } = quotient;
        let mut babies: BTreeMap<u32, Residues> = BTreeMap::new();
        let mut giants: BTreeMap<u32, Residues> = BTreeMap::new();
        let mut diagonals = 0;
        for ((output, input), steps) in &support.0 {
            diagonals += steps.len() as u64 * inputs[input] * outputs[output];
            let babies = babies.entry(*input).or_insert_with(|| Residues::new(window.slots));
            let giants = giants.entry(*output).or_insert_with(|| Residues::new(window.slots));
            for step in steps {
                let (baby, giant) = window.cut(step.0);
                babies.insert(baby);
                giants.insert(giant);
            }
        }
        let [mut keyed, giant_steps] = [&babies, &giants].map(|sets| union(window.slots, sets.values()));
        let baby_steps = keyed.count_nonzero();
        keyed.extend(&giant_steps);
        let weighed = |sets: &BTreeMap<u32, Residues>, weights: &BTreeMap<u32, u64>| -> u64 {
            sets.iter().map(|(at, set)| weights[at] * set.count_nonzero()).sum()
        };
        let hoisted = babies.iter().filter(|(_, set)| set.count_nonzero() > 0);
        let counts = Counts {
            hoisted: hoisted.map(|(input, _)| inputs[input]).sum(),
            outputs: outputs.values().sum(),
            diagonals,
            babies: weighed(&babies, inputs),
            giants: weighed(&giants, outputs),
            baby_steps,
            keys: keyed.count_nonzero(),
            turned: 0,
            conjugated: 0,
        };
        (counts, keyed.iter().filter(|step| *step != 0).collect())
    }

    /// The counts with what pairing takes.
    pub(super) fn paired(self, pairs: Pairs, inputs: u64) -> Counts {
        let turned = pairs.turned(inputs);
        Counts {
            turned,
            conjugated: pairs.conjugated(self.outputs),
            keys: self.keys + u64::from(turned > 0),
            ..self
        }
    }

    /// Whether every cost of this cut is at most that of the other.
    pub(super) fn no_more_than(&self, other: &Counts) -> bool {
        self.babies <= other.babies
            && self.diagonals <= other.diagonals
            && self.turned <= other.turned
            && self.conjugated <= other.conjugated
            && self.giants <= other.giants
            && self.keys <= other.keys
            && self.baby_steps == other.baby_steps
    }

    /// Time, and time with the price of memory.
    pub(super) fn priced(&self, cost: &CostModel, level: Level, hoisting: Hoisting) -> (u64, u64) {
        let plan = PlanCounts {
            hoisted: self.hoisted,
            babies: self.babies,
            products: self.diagonals,
            giants: self.giants,
            outputs: self.outputs,
        };
        let pairing = cost.pairing(self.turned, self.conjugated, level);
        let time = cost.linear(&plan, level, hoisting) + pairing;
        let bytes = self.keys * cost.key_bytes(level) + self.diagonals * cost.diagonal_bytes(level, hoisting);
        (time, time + cost.memory_price(bytes))
    }
}

fn union<'a>(slots: u32, sets: impl IntoIterator<Item = &'a Residues>) -> Residues {
    let mut all = Residues::new(slots);
    sets.into_iter().for_each(|set| all.extend(set));
    all
}

/// A support with one ciphertext for all those that have equal steps to the same ciphertexts on the other side: most
/// layers treat all groups of channels alike.
pub(super) struct Quotient {
    support: Support,
    /// How many each input and output stands for.
    inputs: BTreeMap<u32, u64>,
    outputs: BTreeMap<u32, u64>,
}

impl Quotient {
    pub(super) fn of(support: &Support) -> Quotient {
        let mut lists: BTreeMap<&[Step], usize> = BTreeMap::new();
        let mut rows: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
        for ((output, input), steps) in &support.0 {
            let next = lists.len();
            let list = *lists.entry(steps).or_insert(next);
            rows.entry(*input).or_default().push((*output, list));
        }
        let inputs = Quotient::alike(&rows);
        let mut columns: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
        for input in inputs.keys() {
            rows[input].iter().for_each(|(o, list)| columns.entry(*o).or_default().push((*input, *list)));
        }
        let outputs = Quotient::alike(&columns);
        let kept = support.0.iter().filter(|((o, i), _)| inputs.contains_key(i) && outputs.contains_key(o));
        Quotient { support: Support(kept.map(|(k, v)| (*k, v.clone())).collect()), inputs, outputs }
    }

    /// The first of all keys that have equal entries, and how many these are.
    fn alike(entries: &BTreeMap<u32, Vec<(u32, usize)>>) -> BTreeMap<u32, u64> {
        let mut groups: BTreeMap<&[(u32, usize)], (u32, u64)> = BTreeMap::new();
        for (key, list) in entries {
            groups.entry(list).or_insert((*key, 0)).1 += 1;
        }
        groups.into_values().collect()
    }
}

/// The steps of a quotient as sets.
pub(super) struct StepSets {
    slots: u32,
    /// Steps by pair of ciphertexts: output, input, how many pairs it stands for.
    sets: Vec<(u32, u32, u64, Residues)>,
    /// How many each input and output stands for.
    inputs: BTreeMap<u32, u64>,
    outputs: BTreeMap<u32, u64>,
}

impl StepSets {
    pub(super) fn of(support: &Support, slots: u32) -> StepSets {
        let Quotient { support, inputs, outputs } = Quotient::of(support);
        let set = |((output, input), steps): (&(u32, u32), &Vec<Step>)| {
            let set = Residues::of(slots, steps.iter().map(|s| s.0));
            (*output, *input, inputs[input] * outputs[output], set)
        };
        StepSets { slots, sets: support.0.iter().map(set).collect(), inputs, outputs }
    }

    /// The steps of the products where diagonals `half` slots apart share one ([`Pairs::Steps`]).
    pub(super) fn paired(&self, half: u32, shift: u32) -> StepSets {
        let reduced = |set: &Residues| set.rotated(shift).without_bit(half).rotated(shift.wrapping_neg());
        let sets = self.sets.iter().map(|(o, i, weight, set)| (*o, *i, *weight, reduced(set))).collect();
        StepSets { slots: self.slots, sets, inputs: self.inputs.clone(), outputs: self.outputs.clone() }
    }

    /// Number of diagonals, or products.
    pub(super) fn diagonals(&self) -> u64 {
        self.sets.iter().map(|(_, _, weight, set)| weight * set.count()).sum()
    }

    /// The number of products of [`StepSets::paired`].
    pub(super) fn left(&self, half: u32, shift: u32) -> u64 {
        self.sets
            .iter()
            .map(|(_, _, weight, set)| weight * set.rotated(shift).without_bit(half).count())
            .sum()
    }

    /// Input ciphertexts.
    pub(super) fn inputs(&self) -> u64 {
        self.inputs.values().sum()
    }

    /// The counts by all windows whose widths are powers of two, in the order of [`windows`](super::windows).
    ///
    /// Babies are the residues modulo the width, wherever windows begin; giants are the windows that hold a step. No giant
    /// is a baby.
    pub(super) fn counts(&self) -> Vec<Counts> {
        let mut read: BTreeMap<u32, Residues> = BTreeMap::new();
        let mut written: BTreeMap<u32, Residues> = BTreeMap::new();
        for (output, input, _, set) in &self.sets {
            read.entry(*input).or_insert_with(|| Residues::new(self.slots)).extend(set);
            written.entry(*output).or_insert_with(|| Residues::new(self.slots)).extend(set);
        }
        let all = union(self.slots, read.values());
        let babies: Vec<(u64, Vec<u64>)> =
            read.iter().map(|(i, set)| (self.inputs[i], babies(set))).collect();
        let giants: Vec<(u64, Vec<[u64; 2]>)> =
            written.iter().map(|(o, set)| (self.outputs[o], giants(set))).collect();
        let (baby_steps, giant_steps) = (self::babies(&all), self::giants(&all));
        let (diagonals, outputs) = (self.diagonals(), self.outputs.values().sum());
        let counts = |(k, shift): (usize, usize)| Counts {
            hoisted: babies.iter().filter(|(_, by)| by[k] > 0).map(|(weight, _)| weight).sum(),
            outputs,
            diagonals,
            babies: babies.iter().map(|(weight, by)| weight * by[k]).sum(),
            giants: giants.iter().map(|(weight, by)| weight * by[k][shift]).sum(),
            baby_steps: baby_steps[k],
            keys: baby_steps[k] + giant_steps[k][shift],
            turned: 0,
            conjugated: 0,
        };
        let widest = self.slots.trailing_zeros() as usize;
        let shifts = |k: usize| if k == 0 || k == widest { 0..1 } else { 0..2 };
        (0..=widest).flat_map(|k| shifts(k).map(move |shift| (k, shift))).map(counts).collect()
    }
}

/// For each width, 1, 2, 4, … up to all slots: how many residues but 0 the steps leave.
fn babies(set: &Residues) -> Vec<u64> {
    let mut counts = vec![set.count_nonzero()];
    let mut left = set.clone();
    for _ in 0..left.modulus().trailing_zeros() {
        left = left.halved();
        counts.push(left.count_nonzero());
    }
    counts.reverse();
    counts
}

/// For each width, 1, 2, 4, … up to all slots: how many windows but that of 0 hold a step, where they begin at multiples of
/// the width, and half a width before.
fn giants(set: &Residues) -> Vec<[u64; 2]> {
    let mut counts = vec![[set.count_nonzero(); 2]];
    let mut windows = set.clone();
    for _ in 0..windows.modulus().trailing_zeros() {
        let centred = windows.rotated(1).coarser();
        windows = windows.coarser();
        counts.push([&windows, &centred].map(Residues::count_nonzero));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::windows;
    use super::*;
    use proptest::prelude::*;

    /// Steps between up to 4 x 4 ciphertexts, many of them alike, and slots.
    fn supports() -> impl Strategy<Value = (Support, u32)> {
        (0u32..9).prop_flat_map(|log| {
            let list = proptest::collection::btree_set(0..1u32 << log, 1..(1usize << log).min(20) + 1);
            let kinds = proptest::collection::vec(list, 1..4);
            let places =
                proptest::collection::btree_map((0u32..4, 0u32..4), any::<prop::sample::Index>(), 1..17);
            (kinds, places).prop_map(move |(kinds, places)| {
                let steps = |at: prop::sample::Index| at.get(&kinds).iter().copied().map(Step).collect();
                let support = places.into_iter().map(|(pair, at)| (pair, steps(at))).collect();
                (Support(support), 1 << log)
            })
        })
    }

    fn one_by_one(support: &Support, slots: u32) -> Vec<Counts> {
        let quotient = Quotient::of(support);
        windows(slots).map(|window| Counts::of(&quotient, &window).0).collect()
    }

    proptest! {
        #[test]
        fn sets_count_like_windows((support, slots) in supports()) {
            let sets = StepSets::of(&support, slots);
            prop_assert_eq!(sets.diagonals(), support.diagonals() as u64);
            prop_assert_eq!(sets.counts(), one_by_one(&support, slots));
            for k in 1..slots.trailing_zeros() {
                for (half, shift) in [(1u32 << k, 0), (1 << k, 1 << (k - 1))] {
                    let reduced = Pairs::Steps { half, shift, slots }.reduced(&support);
                    prop_assert_eq!(sets.left(half, shift), reduced.diagonals() as u64);
                    prop_assert_eq!(sets.paired(half, shift).counts(), one_by_one(&reduced, slots));
                }
            }
        }
    }
}
