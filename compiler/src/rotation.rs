//! Stage 5b, rotation: the baby-step giant-step split of one linear map.
//!
//! Does: writes every step `d` of a map's support as baby + giant. The family of splits is "baby = the residue of `d`
//! in a window of n1 slots, centred or not", over all powers of two n1: it contains √n splits of dense maps as well
//! as column × row splits of convolutions, whose offsets are small residues modulo the row pitch. Needs: a support.
//! Leaves: a [`Split`]. Why here: its cost is the packing stage's oracle, so packing calls it for each candidate. The
//! rotation stage proper ([`saturate::rotation`](crate::saturate::rotation)) chooses among the same windows, and some more,
//! for all maps of a network at once.
//!
//! [`Family`]: all splits of a support, counted on sets of steps; [`needs`]: what single windows take.

mod counts;
mod family;
pub mod pairs;

pub use family::{Best, Family};

use crate::cost::CostModel;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, Support};
use counts::{Counts, Quotient};
use pairs::Pairs;
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
        let signed = if step < slots.div_ceil(2) { base + step } else { base + step - slots };
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
        let (counts, keys) = Counts::of(&quotient, window);
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
