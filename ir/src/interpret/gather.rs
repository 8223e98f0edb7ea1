//! A linear plan as a sparse matrix over slots: which input slots, with which weights, each output slot sums.
//!
//! Relies on materialised diagonals. Promises: the sum of the plan's products exactly, junk in the gaps included;
//! rows list their terms in the order of the products, so that sums have the same bits everywhere. [`Gather::crossed`] says
//! what else the errors of paired inputs meet.

use super::SlotVector;
use crate::map::{Diagonals, MapId};
use crate::op::{LinearPlan, RealDiagonal};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A linear plan as rows: per output slot the (operand slot, weight) pairs, operands one after the other.
#[derive(Debug)]
pub(super) struct Gather {
    slots: usize,
    /// Rows of each output ciphertext.
    pub(super) outputs: Vec<GatherRows>,
}

/// Rows that lead to one output ciphertext.
#[derive(Debug)]
pub(super) struct GatherRows {
    starts: Vec<usize>,
    sources: Vec<u32>,
    weights: Vec<f64>,
}

impl Gather {
    /// `out[s] += diagonal_(baby + giant)[s] · in[s + baby + giant]`: the giant rotation of the plaintext and that
    /// of the sum cancel.
    pub(super) fn of(plan: &LinearPlan, maps: &BTreeMap<MapId, Diagonals>, slots: usize) -> Gather {
        Gather::reading(plan, maps, slots, |halves| halves.map(|half| Some((half?, half?))))
    }

    /// The weights by which errors' imaginary parts get into a paired plan's results: of `(p − i·q) · (x + i·y)` the real
    /// part is `p·Re x + q·Re y`, and `q·Im x − p·Im y`. So each weight stands at the place of the other half.
    pub(super) fn crossed(plan: &LinearPlan, maps: &BTreeMap<MapId, Diagonals>, slots: usize) -> Gather {
        Gather::reading(plan, maps, slots, |[p, q]| [p.zip(q), q.zip(p)])
    }

    /// Rows of the terms that `read` makes of each product: a diagonal, and where it reads.
    fn reading(
        plan: &LinearPlan,
        maps: &BTreeMap<MapId, Diagonals>,
        slots: usize,
        read: impl Fn([Option<RealDiagonal>; 2]) -> [Option<(RealDiagonal, RealDiagonal)>; 2] + Sync,
    ) -> Gather {
        let mut first_operand = vec![0usize];
        for source in &plan.sources {
            first_operand.push(first_operand[first_operand.len() - 1] + source.values.len());
        }
        let rows = |output: u32| {
            let products = plan.products.iter().filter(|p| p.output == output);
            let halves = products.flat_map(|p| {
                let source = p.source as usize;
                read(plan.diagonals(p, slots as u32)).into_iter().flatten().map(move |d| (source, d))
            });
            let terms: Vec<(usize, u32, &[u32], &[f64])> = halves
                .filter_map(|(source, ((input, step), (at, by)))| {
                    let diagonals = maps.get(&plan.sources[source].map)?;
                    let (places, weights) = diagonals.entries(diagonals.find(output, input, step)?);
                    Some((first_operand[source] + at as usize, by.0, places, weights))
                })
                .collect();
            GatherRows::of(&terms, slots)
        };
        Gather { slots, outputs: (0..plan.outputs).into_par_iter().map(rows).collect() }
    }

    /// Output slots from operand slots.
    pub(super) fn apply(&self, operands: &[&SlotVector]) -> Vec<SlotVector> {
        let joined: Vec<f64>;
        let input: &[f64] = match operands {
            [one] => one,
            many => {
                joined = many.iter().flat_map(|v| v.iter().copied()).collect();
                &joined
            }
        };
        let dot = |rows: &GatherRows, s: usize| -> f64 { rows.row(s).map(|(at, w)| w * input[at]).sum() };
        self.outputs.iter().map(|rows| Arc::new((0..self.slots).map(|s| dot(rows, s)).collect())).collect()
    }
}

impl GatherRows {
    /// (Slot over all operands, weight) of one output slot.
    pub(super) fn row(&self, slot: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.starts[slot]..self.starts[slot + 1];
        self.sources[range.clone()].iter().map(|at| *at as usize).zip(self.weights[range].iter().copied())
    }

    fn of(terms: &[(usize, u32, &[u32], &[f64])], slots: usize) -> GatherRows {
        let mut starts = vec![0usize; slots + 1];
        for (_, _, places, _) in terms {
            places.iter().for_each(|s| starts[*s as usize + 1] += 1);
        }
        for s in 0..slots {
            starts[s + 1] += starts[s];
        }
        let mut next = starts.clone();
        let (mut sources, mut weights) = (vec![0u32; starts[slots]], vec![0f64; starts[slots]]);
        for (operand, step, places, diagonal) in terms {
            for (s, w) in places.iter().zip(*diagonal) {
                let at = &mut next[*s as usize];
                sources[*at] = (operand * slots) as u32 + (s.wrapping_add(*step) & (slots as u32 - 1));
                weights[*at] = *w;
                *at += 1;
            }
        }
        GatherRows { starts, sources, weights }
    }
}
