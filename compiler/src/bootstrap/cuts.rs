//! Where a circuit is cut: a dynamic program over its levels, from the outputs up.
//!
//! A segment costs its operations at their new levels and a bootstrap for each value from above the cut that it uses. A value that
//! several segments use is counted in each, though it is bootstrapped once: few are. Segments end as low as the next
//! bootstrap, or the output, allows, since low levels are cheap. Promises: the cheapest cuts by this account; of equal ones the
//! lowest.

use super::{Segment, Values};
use crate::cost::CostModel;
use crate::forecast::op_ns;
use cipherloom_ir::scheme::{BootstrapPlan, Level};
use cipherloom_ir::{Circuit, ValueId, ValueType};
use std::collections::{BTreeMap, BTreeSet};

/// Segments from the inputs to the outputs; `None` where no cuts make them short enough. The outputs end at `last`.
pub(super) fn cut(
    circuit: &Circuit,
    values: &Values,
    plan: &BootstrapPlan,
    last: Level,
    cost: &CostModel,
) -> Option<Vec<Segment>> {
    let network = Network::of(circuit, values, plan, cost);
    let top = circuit.parameters.top().0;
    let mut best: Vec<Option<(u64, Segment)>> = vec![None; top as usize + 1];
    for to in 1..=top {
        for above in 0..to {
            let below = match above {
                0 => Some(0),
                _ if network.is_cut(values, above) => best[above as usize].map(|(ns, _)| ns),
                _ => None,
            };
            let Some(below) = below else { continue };
            let end = if above == 0 { last.0 } else { plan.input.0 + network.scaled_at(values, above) };
            let segment = Segment { above, to: if to == top { u32::MAX } else { to }, end };
            if segment.level(Level(to)) > plan.output {
                continue;
            }
            let ns = below + network.work(&segment) + network.bootstraps(&segment) * network.bootstrap_ns;
            if best[to as usize].is_none_or(|(known, _)| ns < known) {
                best[to as usize] = Some((ns, segment));
            }
        }
    }
    let mut segments = vec![];
    let mut to = top;
    while to > 0 {
        let (_, segment) = best[to as usize]?;
        segments.push(segment);
        to = segment.above;
    }
    Some(segments)
}

/// What the cuts are judged by.
struct Network {
    /// By rank and level of operations: their time at each new level.
    work: BTreeMap<(u32, u32), Vec<u64>>,
    /// Roots that are no inputs, with their rank and the ranks of what reads them.
    reads: BTreeMap<ValueId, (u32, BTreeSet<u32>)>,
    bootstrap_ns: u64,
}

impl Network {
    fn of(circuit: &Circuit, values: &Values, plan: &BootstrapPlan, cost: &CostModel) -> Network {
        let levels: Vec<Level> = (0..=plan.output.0).map(Level).collect();
        let at = |level: &Level| -> Vec<ValueType> {
            values.types.iter().map(|kind| ValueType { level: *level, ..kind.clone() }).collect()
        };
        let types: Vec<Vec<ValueType>> = levels.iter().map(at).collect();
        let mut work: BTreeMap<(u32, u32), Vec<u64>> = BTreeMap::new();
        let mut reads: BTreeMap<ValueId, (u32, BTreeSet<u32>)> = BTreeMap::new();
        for (node, rank) in circuit.nodes.iter().zip(&values.nodes) {
            let (operands, Some(rank)) = (node.op.operands(), rank) else { continue };
            let Some(first) = operands.first() else { continue };
            let sums = work.entry((*rank, values.level(*first).0)).or_insert_with(|| vec![0; types.len()]);
            for (sum, types) in sums.iter_mut().zip(&types) {
                *sum += op_ns(&node.op, types, cost);
            }
            for x in operands {
                let root = values.root(x);
                let defined = values.ranks[root.0 as usize];
                if defined != u32::MAX {
                    reads.entry(root).or_insert_with(|| (defined, BTreeSet::new())).1.insert(*rank);
                }
            }
        }
        Network { work, reads, bootstrap_ns: cost.bootstrap(plan) }
    }

    /// Roots from above a cut that are read below it.
    fn crossing(&self, cut: u32) -> impl Iterator<Item = ValueId> {
        let reads = self.reads.iter();
        reads
            .filter(move |(_, (rank, readers))| *rank > cut && readers.first().is_some_and(|r| *r <= cut))
            .map(|(root, _)| *root)
    }

    /// Whether all that crosses can be bootstrapped.
    fn is_cut(&self, values: &Values, cut: u32) -> bool {
        self.crossing(cut).all(|root| values.crosses(root))
    }

    /// 1 where a value of the cut's own level must be scaled, which takes a level, before it is bootstrapped.
    fn scaled_at(&self, values: &Values, cut: u32) -> u32 {
        let scaled = |root: ValueId| {
            values.level(root).0 == cut && values.doublings[root.0 as usize].is_some_and(|k| k > 0)
        };
        u32::from(self.crossing(cut).any(scaled))
    }

    /// Time of a segment's operations.
    fn work(&self, segment: &Segment) -> u64 {
        let lowest = if segment.above == 0 { 0 } else { segment.above + 1 };
        let ranks = self.work.range((lowest, 0)..=(segment.to, u32::MAX));
        ranks
            .map(|((_, level), ns)| ns.get(segment.level(Level(*level)).0 as usize).copied().unwrap_or(0))
            .sum()
    }

    /// Values from above that a segment reads.
    fn bootstraps(&self, segment: &Segment) -> u64 {
        let lowest = if segment.above == 0 { 0 } else { segment.above + 1 };
        let read = |(rank, readers): &&(u32, BTreeSet<u32>)| {
            *rank > segment.to && readers.range(lowest..=segment.to).next().is_some()
        };
        self.reads.values().filter(read).count() as u64
    }
}
