//! Stage 5b, rotation: the baby-step giant-step split of one linear map.
//!
//! Does: writes every step `d` of a map's support as baby + giant. The family of splits is "baby = the residue of `d`
//! in a window of n1 slots, centred or not", over all powers of two n1: it contains √n splits of dense maps as well
//! as column × row splits of convolutions, whose offsets are small residues modulo the row pitch. Needs: a support.
//! Leaves: a [`Split`]. Why here: its cost is the packing stage's oracle, so packing calls it for each candidate.

use crate::cost::CostModel;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, LinearPlan, Support};
use std::collections::{BTreeMap, BTreeSet};

/// One product of a split: indices into babies and giants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitProduct {
    /// Output ciphertext.
    pub output: u32,
    /// Index of the giant step.
    pub giant: u32,
    /// Input ciphertext.
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
    /// Sorted products, one per diagonal.
    pub products: Vec<SplitProduct>,
    /// Rotation form.
    pub hoisting: Hoisting,
    /// Predicted time without the price of memory.
    pub time_ns: u64,
    /// Predicted time with the price of memory: what is minimised.
    pub priced_ns: u64,
}

/// Which split to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The cheapest of the family.
    Cheapest,
    /// The one whose number of babies is nearest to √n, double hoisted.
    SquareRoot,
}

/// Splits a support.
pub fn split(support: &Support, slots: u32, cost: &CostModel, level: Level, policy: Policy) -> Split {
    let mut distinct: BTreeSet<u32> = BTreeSet::new();
    support.0.values().flatten().for_each(|s| {
        distinct.insert(s.0);
    });
    let mut best: Option<(u64, Window, Hoisting)> = None;
    for window in windows(slots) {
        let counts = Counts::of(support, &window);
        for hoisting in [Hoisting::Double, Hoisting::Single] {
            let key = match policy {
                Policy::Cheapest => counts.priced(cost, level, hoisting).1,
                Policy::SquareRoot if hoisting == Hoisting::Double => {
                    let n = counts.distinct_babies.len() as u64;
                    (n * n).abs_diff(distinct.len() as u64)
                }
                Policy::SquareRoot => continue,
            };
            if best.as_ref().is_none_or(|(b, ..)| key < *b) {
                best = Some((key, window, hoisting));
            }
        }
    }
    let (_, window, hoisting) = best.expect("the family of windows is not empty");
    let counts = Counts::of(support, &window);
    let (time_ns, priced_ns) = counts.priced(cost, level, hoisting);
    build(
        support,
        &window,
        Split { babies: vec![], giants: vec![], products: vec![], hoisting, time_ns, priced_ns },
    )
}

/// A rule that cuts steps in two.
#[derive(Clone, Copy, Debug)]
struct Window {
    slots: u32,
    width: u32,
    shift: u32,
}

impl Window {
    fn cut(&self, step: u32) -> (u32, u32) {
        let mask = self.slots - 1;
        let baby = ((step + self.shift) & (self.width - 1)).wrapping_sub(self.shift) & mask;
        (baby, step.wrapping_sub(baby) & mask)
    }
}

fn windows(slots: u32) -> impl Iterator<Item = Window> {
    (0..=slots.trailing_zeros()).flat_map(move |k| {
        let width = 1u32 << k;
        let shifts = if k == 0 || width == slots { vec![0] } else { vec![0, width / 2] };
        shifts.into_iter().map(move |shift| Window { slots, width, shift })
    })
}

/// What a cut costs.
struct Counts {
    inputs: u64,
    outputs: u64,
    diagonals: u64,
    /// Rotated (input, baby) pairs.
    babies: u64,
    /// Rotated (output, giant) pairs.
    giants: u64,
    distinct_babies: BTreeSet<u32>,
    distinct_giants: BTreeSet<u32>,
}

impl Counts {
    fn of(support: &Support, window: &Window) -> Counts {
        let (mut babies, mut giants) = (BTreeSet::new(), BTreeSet::new());
        let (mut inputs, mut outputs, mut diagonals) = (BTreeSet::new(), BTreeSet::new(), 0);
        for ((output, input), steps) in &support.0 {
            inputs.insert(*input);
            outputs.insert(*output);
            for step in steps {
                let (baby, giant) = window.cut(step.0);
                diagonals += 1;
                if baby != 0 {
                    babies.insert((*input, baby));
                }
                if giant != 0 {
                    giants.insert((*output, giant));
                }
            }
        }
        Counts {
            inputs: inputs.len() as u64,
            outputs: outputs.len() as u64,
            diagonals,
            babies: babies.len() as u64,
            giants: giants.len() as u64,
            distinct_babies: babies.iter().map(|b| b.1).collect(),
            distinct_giants: giants.iter().map(|g| g.1).collect(),
        }
    }

    /// Time, and time with the price of memory.
    fn priced(&self, cost: &CostModel, level: Level, hoisting: Hoisting) -> (u64, u64) {
        let hoists = if self.babies > 0 { self.inputs * cost.decompose(level) } else { 0 };
        let keys = self.distinct_babies.union(&self.distinct_giants).count() as u64;
        let time = match hoisting {
            Hoisting::Double => {
                hoists
                    + self.babies * cost.extended_baby(level)
                    + self.diagonals * cost.extended_product(level)
                    + self.giants * cost.extended_giant(level)
                    + self.outputs * cost.mod_down(level, 2)
            }
            Hoisting::Single => {
                hoists
                    + self.babies * cost.reduced_baby(level)
                    + self.diagonals * cost.reduced_product(level)
                    + self.giants * cost.rotate(level)
                    + self.outputs * cost.rescale(level)
            }
        };
        let bytes = keys * cost.key_bytes(level) + self.diagonals * cost.diagonal_bytes(level);
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

/// (source, input ciphertext, baby).
pub type BabyUse = (u32, u32, u32);
/// (output ciphertext, giant).
pub type GiantUse = (u32, u32);

/// Rotated babies and giants of a plan, sorted: each is one application of a key.
pub fn rotated_pairs(plan: &LinearPlan) -> (Vec<BabyUse>, Vec<GiantUse>) {
    let (mut babies, mut giants) = (BTreeSet::new(), BTreeSet::new());
    for p in &plan.products {
        if plan.babies[p.baby as usize].step.0 != 0 {
            babies.insert((p.source, p.input, p.baby));
        }
        if plan.giants[p.giant as usize].step.0 != 0 {
            giants.insert((p.output, p.giant));
        }
    }
    (babies.into_iter().collect(), giants.into_iter().collect())
}
