//! Stage 5b, rotation: the baby-step giant-step split of one linear map.
//!
//! Does: writes every step `d` of a map's support as baby + giant. The family of splits is "baby = the residue of `d`
//! in a window of n1 slots, centred or not", over all powers of two n1: it contains √n splits of dense maps as well
//! as column × row splits of convolutions, whose offsets are small residues modulo the row pitch. Needs: a support.
//! Leaves: a [`Split`]. Why here: its cost is the packing stage's oracle, so packing calls it for each candidate. The
//! rotation stage proper ([`saturate::rotation`](crate::saturate::rotation)) chooses among the same windows, and some more,
//! for all maps of a network at once.
//!
//! Above the soft cap: windows, their counts and what is written out of them read the same cuts.

pub mod pairs;

use crate::cost::{CostModel, PlanCounts};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, Step, Support};
use pairs::{Pairs, reductions};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One product of a split: indices into babies and giants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitProduct {
    /// Output ciphertext.
    pub output: u32,
    /// Index of the giant step.
    pub giant: u32,
    /// Input ciphertext, or pair of them.
    pub input: u32,
    /// Index of the baby step.
    pub baby: u32,
}

/// A baby-step giant-step split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Baby steps, ascending.
    pub babies: Vec<u32>,
    /// Giant steps, ascending.
    pub giants: Vec<u32>,
    /// Sorted products, one per diagonal or pair of diagonals.
    pub products: Vec<SplitProduct>,
    /// Which diagonals share a product.
    pub pairs: Pairs,
    /// Rotation form.
    pub hoisting: Hoisting,
    /// Predicted time without the price of memory.
    pub time_ns: u64,
    /// Predicted time with the price of memory: what is minimised.
    pub priced_ns: u64,
}

impl Split {
    /// Rotated (input, baby) and (output, giant) pairs.
    pub fn rotations(&self) -> usize {
        let rotated = |step: u32| step != 0;
        let babies = self.products.iter().filter(|p| rotated(self.babies[p.baby as usize]));
        let giants = self.products.iter().filter(|p| rotated(self.giants[p.giant as usize]));
        let inputs = self.products.iter().map(|p| p.input).collect::<BTreeSet<_>>().len() as u64;
        let outputs = self.products.iter().map(|p| p.output).collect::<BTreeSet<_>>().len() as u64;
        let pairing = self.pairs.turned(inputs) + self.pairs.conjugated(outputs);
        babies.map(|p| (p.input, p.baby)).collect::<BTreeSet<_>>().len()
            + giants.map(|p| (p.output, p.giant)).collect::<BTreeSet<_>>().len()
            + pairing as usize
    }
}

/// Which split to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// The cheapest of the family.
    #[default]
    Cheapest,
    /// The cheapest of those in which every diagonal has a product of its own.
    Apart,
    /// The one whose number of babies is nearest to √n, double hoisted.
    SquareRoot,
}

/// Splits a support.
pub fn split(support: &Support, slots: u32, cost: &CostModel, level: Level, policy: Policy) -> Split {
    let family = Family::of(support, slots);
    family.split(support, &family.best(cost, level, policy))
}

/// All splits of one support, with what each needs; costs of any level follow from that.
#[derive(Clone, Debug)]
pub struct Family {
    /// Different steps.
    steps: u64,
    members: Vec<(Cut, Counts)>,
}

/// Which diagonals share a product, and how the steps that remain are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    pairs: Pairs,
    window: Window,
}

/// A member of a family at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    cut: Cut,
    hoisting: Hoisting,
    /// Predicted time without the price of memory.
    pub time_ns: u64,
    /// Predicted time with the price of memory: what is minimised.
    pub priced_ns: u64,
}

impl Family {
    /// The family of a support; a split that needs no less of anything than an earlier one is left out.
    pub fn of(support: &Support, slots: u32) -> Family {
        let steps: BTreeSet<u32> = support.0.values().flatten().map(|s| s.0).collect();
        let mut members: Vec<(Cut, Counts)> = Vec::new();
        for (pairs, reduced) in reductions(support, slots) {
            let quotient = Quotient::of(&reduced);
            for window in windows(slots) {
                let counts = Counts::of(&quotient, &window).0.paired(pairs, &quotient);
                if !members.iter().any(|(_, known)| known.no_more_than(&counts)) {
                    members.push((Cut { pairs, window }, counts));
                }
            }
        }
        Family { steps: steps.len() as u64, members }
    }

    /// The member that a policy takes at a level.
    pub fn best(&self, cost: &CostModel, level: Level, policy: Policy) -> Best {
        let forms: &[Hoisting] = match policy {
            Policy::Cheapest | Policy::Apart => &[Hoisting::Single, Hoisting::Double],
            Policy::SquareRoot => &[Hoisting::Double],
        };
        let mut best: Option<(u64, Best)> = None;
        let allowed = |m: &&(Cut, Counts)| policy == Policy::Cheapest || m.0.pairs == Pairs::Apart;
        for (cut, counts) in self.members.iter().filter(allowed) {
            for &hoisting in forms {
                let (time_ns, priced_ns) = counts.priced(cost, level, hoisting);
                let key = match policy {
                    Policy::Cheapest | Policy::Apart => priced_ns,
                    Policy::SquareRoot => (counts.baby_steps * counts.baby_steps).abs_diff(self.steps),
                };
                if best.as_ref().is_none_or(|(b, _)| key < *b) {
                    best = Some((key, Best { cut: *cut, hoisting, time_ns, priced_ns }));
                }
            }
        }
        best.expect("the family of windows is not empty").1
    }

    /// Writes a member of the family of `support` out.
    pub fn split(&self, support: &Support, best: &Best) -> Split {
        let Best { cut: Cut { pairs, window }, hoisting, time_ns, priced_ns } = *best;
        let split =
            Split { babies: vec![], giants: vec![], products: vec![], pairs, hoisting, time_ns, priced_ns };
        build(&pairs.reduced(support), &window, split)
    }
}

/// A rule that cuts steps in two: the baby is the residue of the step, counted from 0 both ways, modulo a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    slots: u32,
    width: u32,
    shift: u32,
}

impl Window {
    /// (baby, giant) of a step.
    pub fn cut(&self, step: u32) -> (u32, u32) {
        let Window { slots, width, shift } = *self;
        // Windows start at multiples of the width on both sides of 0, in slots − base, …, slots − width, 0, width, …
        let base = (slots / 2).div_ceil(width) * width;
        let signed = if step < slots / 2 { base + step } else { base + step - slots };
        let baby = ((signed + shift) % width).wrapping_sub(shift) & (slots - 1);
        (baby, step.wrapping_sub(baby) & (slots - 1))
    }

    /// Splits a support by this window.
    pub fn split(&self, support: &Support, cost: &CostModel, level: Level, hoisting: Hoisting) -> Split {
        let (time_ns, priced_ns) = Counts::of(&Quotient::of(support), self).0.priced(cost, level, hoisting);
        let pairs = Pairs::Apart;
        let split =
            Split { babies: vec![], giants: vec![], products: vec![], pairs, hoisting, time_ns, priced_ns };
        build(support, self, split)
    }
}

/// What a split needs by some window: predicted time of each form, and the steps that need keys.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The window.
    pub window: Window,
    /// Predicted time by form.
    pub forms: [(Hoisting, u64); 2],
    /// Steps that need keys, ascending.
    pub keys: Vec<u32>,
}

/// What the splits of a support need, by window.
pub fn needs(support: &Support, windows: &[Window], cost: &CostModel, level: Level) -> Vec<Needs> {
    let quotient = Quotient::of(support);
    let of = |window: &Window| {
        let (counts, keyed) = Counts::of(&quotient, window);
        let keys = steps(&keyed);
        let forms = [Hoisting::Double, Hoisting::Single];
        let forms = forms.map(|hoisting| (hoisting, counts.priced(cost, level, hoisting).0));
        Needs { window: *window, forms, keys }
    };
    windows.par_iter().map(of).collect()
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.width, if self.shift > 0 { " centred" } else { "" })
    }
}

/// All windows whose widths are powers of two.
pub fn windows(slots: u32) -> impl Iterator<Item = Window> {
    (0..=slots.trailing_zeros()).flat_map(move |k| {
        let width = 1u32 << k;
        let shifts = if k == 0 || width == slots { vec![0] } else { vec![0, width / 2] };
        shifts.into_iter().map(move |shift| Window { slots, width, shift })
    })
}

/// Windows between the powers of two: three times a power of two.
pub fn thirds(slots: u32) -> impl Iterator<Item = Window> {
    let widths = (0..slots.trailing_zeros()).map(|k| 3u32 << k).take_while(move |width| *width < slots);
    widths.flat_map(move |width| [0, width / 2].map(|shift| Window { slots, width, shift }))
}

/// Steps other than 0, one set for each ciphertext.
struct Rotated {
    slots: u32,
    sets: Vec<Vec<u64>>,
}

impl Rotated {
    fn new(slots: u32) -> Rotated {
        Rotated { slots, sets: vec![] }
    }

    fn push(&mut self, (step, ciphertext): (u32, u32)) {
        let at = ciphertext as usize;
        if at >= self.sets.len() {
            let words = self.slots.div_ceil(64) as usize;
            self.sets.resize_with(at + 1, || vec![0; words]);
        }
        self.sets[at][step as usize / 64] |= u64::from(step != 0) << (step % 64);
    }

    /// Pairs of step and ciphertext; each set stands for as many ciphertexts as its weight says.
    fn count(&self, weights: &BTreeMap<u32, u64>) -> u64 {
        weights.iter().filter_map(|(at, weight)| Some(weight * ones(self.sets.get(*at as usize)?))).sum()
    }

    /// The steps of all ciphertexts.
    fn union(&self) -> Vec<u64> {
        let mut union = vec![0; self.slots.div_ceil(64) as usize];
        for set in &self.sets {
            union.iter_mut().zip(set).for_each(|(all, word)| *all |= word);
        }
        union
    }
}

/// How many steps a set has.
fn ones(set: &[u64]) -> u64 {
    set.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// The steps of a set, ascending.
fn steps(set: &[u64]) -> Vec<u32> {
    let mut steps = vec![];
    for (base, word) in (0u32..).step_by(64).zip(set) {
        let mut left = *word;
        while left != 0 {
            steps.push(base + left.trailing_zeros());
            left &= left - 1;
        }
    }
    steps
}

/// What a cut needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// Inputs that are rotated.
    hoisted: u64,
    outputs: u64,
    diagonals: u64,
    /// Rotated (input, baby) pairs.
    babies: u64,
    /// Rotated (output, giant) pairs.
    giants: u64,
    /// Different baby steps that need a key.
    baby_steps: u64,
    /// Different steps that need a key.
    keys: u64,
    /// Inputs that are rotated to be paired.
    turned: u64,
    /// Outputs whose real part is taken.
    conjugated: u64,
}

/// A support with one ciphertext for all those that have equal steps to the same ciphertexts on the other side: most
/// layers treat all groups of channels alike.
struct Quotient {
    support: Support,
    /// How many each input and output stands for.
    inputs: BTreeMap<u32, u64>,
    outputs: BTreeMap<u32, u64>,
}

impl Quotient {
    fn of(support: &Support) -> Quotient {
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

impl Counts {
    /// The counts of a cut, and the set of steps that need a key.
    fn of(quotient: &Quotient, window: &Window) -> (Counts, Vec<u64>) {
        let Quotient { support, inputs, outputs } = quotient;
        let (mut babies, mut giants) = (Rotated::new(window.slots), Rotated::new(window.slots));
        let (mut diagonals, mut hoisted) = (0, BTreeSet::new());
        for ((output, input), steps) in &support.0 {
            diagonals += steps.len() as u64 * inputs[input] * outputs[output];
            for step in steps {
                let (baby, giant) = window.cut(step.0);
                if baby != 0 {
                    hoisted.insert(*input);
                }
                babies.push((baby, *input));
                giants.push((giant, *output));
            }
        }
        let (baby_steps, mut keyed) = (babies.union(), giants.union());
        keyed.iter_mut().zip(&baby_steps).for_each(|(all, word)| *all |= word);
        let counts = Counts {
            hoisted: hoisted.iter().map(|input| inputs[input]).sum(),
            outputs: outputs.values().sum(),
            diagonals,
            babies: babies.count(inputs),
            giants: giants.count(outputs),
            baby_steps: ones(&baby_steps),
            keys: ones(&keyed),
            turned: 0,
            conjugated: 0,
        };
        (counts, keyed)
    }

    /// The counts with what pairing takes.
    fn paired(self, pairs: Pairs, quotient: &Quotient) -> Counts {
        let turned = pairs.turned(quotient.inputs.values().sum());
        Counts {
            turned,
            conjugated: pairs.conjugated(self.outputs),
            keys: self.keys + u64::from(turned > 0),
            ..self
        }
    }

    /// Whether every cost of this cut is at most that of the other.
    fn no_more_than(&self, other: &Counts) -> bool {
        self.babies <= other.babies
            && self.diagonals <= other.diagonals
            && self.turned <= other.turned
            && self.conjugated <= other.conjugated
            && self.giants <= other.giants
            && self.keys <= other.keys
            && self.baby_steps == other.baby_steps
    }

    /// Time, and time with the price of memory.
    fn priced(&self, cost: &CostModel, level: Level, hoisting: Hoisting) -> (u64, u64) {
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

fn build(support: &Support, window: &Window, mut split: Split) -> Split {
    let cut: Vec<(u32, u32, u32, u32)> = support
        .0
        .iter()
        .flat_map(|((output, input), steps)| {
            steps.iter().map(move |s| {
                let (baby, giant) = window.cut(s.0);
                (*output, giant, *input, baby)
            })
        })
        .collect();
    split.babies = cut.iter().map(|c| c.3).collect::<BTreeSet<_>>().into_iter().collect();
    split.giants = cut.iter().map(|c| c.1).collect::<BTreeSet<_>>().into_iter().collect();
    let index = |steps: &[u32]| -> BTreeMap<u32, u32> { steps.iter().copied().zip(0u32..).collect() };
    let (babies, giants) = (index(&split.babies), index(&split.giants));
    split.products = cut
        .into_iter()
        .map(|(output, giant, input, baby)| SplitProduct {
            output,
            giant: giants[&giant],
            input,
            baby: babies[&baby],
        })
        .collect();
    split.products.sort_unstable();
    split
}
