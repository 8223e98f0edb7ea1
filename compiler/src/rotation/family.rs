//! The family of splits of one support, from which packing takes the cheapest at each level.
//!
//! Promises: the members and their order depend on the support alone; the first of equally cheap members is taken.

use super::counts::Counts;
use super::pairs::{Pairs, reductions};
use super::{Policy, Split, Window, build, windows};
use crate::cost::CostModel;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, Support};
use std::collections::BTreeSet;

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
        for (pairs, sets) in reductions(support, slots) {
            for (window, counts) in windows(slots).zip(sets.counts()) {
                let counts = counts.paired(pairs, sets.inputs());
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
