//! Candidate layouts: in which layouts each tensor may stand between layers.
//!
//! A pre-pass over the logical e-graph, operands first: every kernel is tried on every candidate of the operand, and
//! results are ranked by the cost of the cheapest tree that yields them, at the level that the tensor has when nothing
//! waits. The best [`CANDIDATES_MAX`] stay. Sharing is not seen here; extraction sees it.

use super::laws::Graph;
use super::tables::Tables;
use super::term::{LayoutIndex, NodeIndex, StepIndex, Term};
use crate::cost::CostModel;
use crate::graph::Kind;
use crate::packing::elementwise_ns;
use crate::packing::kernel::{self, Kernel};
use crate::packing::slotwise::{self, same_places};
use cipherloom_ir::Gap;
use cipherloom_ir::scheme::Level;
use egg::Id;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most candidate layouts of a tensor.
pub const CANDIDATES_MAX: usize = 8;

/// A layout and the cost of the cheapest tree that yields it.
type Ranked = BTreeMap<LayoutIndex, u64>;

/// What ranking depends on.
pub struct Ranking<'a> {
    /// Costs at the ring degree.
    pub cost: &'a CostModel,
    /// Levels of the circuit.
    pub top: u32,
    /// Levels above each logical class.
    pub heights: &'a BTreeMap<Id, u32>,
}

/// Fills [`Tables::candidates`] for the classes, which come operands first; returns the cost of the cheapest tree of
/// each class that has a candidate.
pub fn rank(graph: &mut Graph, classes: &[Id], ranking: &Ranking<'_>) -> BTreeMap<Id, u64> {
    let mut ranked: BTreeMap<Id, Vec<(LayoutIndex, u64)>> = BTreeMap::new();
    for &class in classes {
        let mut terms: Vec<Term> =
            graph[class].nodes.iter().filter(|t| !t.is_implementation()).cloned().collect();
        terms.sort();
        let mut own = Ranked::new();
        for term in terms {
            ranking.term(graph, class, &term, &ranked, &mut own);
        }
        let mut list: Vec<(LayoutIndex, u64)> = own.into_iter().collect();
        list.sort_by_key(|(layout, total)| (*total, *layout));
        list.truncate(CANDIDATES_MAX);
        graph.analysis.candidates.insert(class, list.iter().map(|c| c.0).collect());
        ranked.insert(class, list);
    }
    ranked.into_iter().filter_map(|(class, list)| Some((class, list.first()?.1))).collect()
}

impl Ranking<'_> {
    fn term(
        &self,
        graph: &mut Graph,
        class: Id,
        term: &Term,
        ranked: &BTreeMap<Id, Vec<(LayoutIndex, u64)>>,
        own: &mut Ranked,
    ) {
        let level = Level(self.top - self.heights.get(&class).copied().unwrap_or(0));
        match term {
            Term::Input(_) => {
                for placed in graph.analysis.sent.clone() {
                    let ns = self.cost.encryption(placed.layout.ciphertexts, Level(self.top));
                    offer(own, graph.analysis.add_layout(placed), ns);
                }
            }
            Term::Linear(node, [x]) if !graph.analysis.operators(Some(*node)).is_empty() => {
                self.linear(graph, (*node, graph.find(*x)), level, ranked, own);
            }
            Term::Linear(node, [x]) | Term::Function(node, [x]) => {
                let kind = graph.analysis.node(*node).kind.clone();
                for (layout, total) in &ranked[&graph.find(*x)] {
                    let placed = graph.analysis.layout(*layout).clone();
                    let Some(result) = slotwise::result(&kind, &placed) else { continue };
                    let values = u64::from(placed.layout.ciphertexts);
                    let before = Level(level.0 + crate::levels::depth(&kind));
                    let ns = values * elementwise_ns(&kind, self.cost, before);
                    offer(own, graph.analysis.add_layout(result), total + ns);
                }
            }
            Term::Pair(node, operands) => {
                let [left, right] = operands.map(|x| &ranked[&graph.find(x)]);
                let product = graph.analysis.node(*node).kind == Kind::Mul;
                for (layout, total) in left.iter().chain(right) {
                    let placed = graph.analysis.layout(*layout).clone();
                    // The other operand is made in this layout; what that costs is not known yet.
                    let same = |list: &[(LayoutIndex, u64)]| {
                        let found =
                            list.iter().find(|(l, _)| same_places(graph.analysis.layout(*l), &placed));
                        found.map_or(0, |(_, total)| *total)
                    };
                    let other = if left.iter().any(|l| l.0 == *layout) { same(right) } else { same(left) };
                    let clean = graph.analysis.with_gap(*layout, Gap::Zero);
                    offer(own, if product { clean } else { *layout }, total + other);
                }
            }
            _ => {}
        }
    }

    fn linear(
        &self,
        graph: &mut Graph,
        (node, x): (NodeIndex, Id),
        level: Level,
        ranked: &BTreeMap<Id, Vec<(LayoutIndex, u64)>>,
        own: &mut Ranked,
    ) {
        let before = Level(level.0 + 1);
        let mut tries: Vec<(u64, StepIndex)> = Vec::new();
        for (layout, total) in &ranked[&x] {
            let steps = steps_from(&mut graph.analysis, node, *layout);
            tries.extend(steps.iter().map(|step| (*total, *step)));
        }
        let steps: Vec<StepIndex> = tries.iter().map(|t| t.1).collect();
        graph.analysis.plan(&steps);
        for (total, step) in tries {
            if let Some((best, folds)) = graph.analysis.best(step, self.cost, before) {
                let result = graph.analysis.kernel(step).result.clone();
                offer(own, graph.analysis.add_layout(result), total + best.priced_ns + folds);
            }
        }
    }
}

fn offer(ranked: &mut Ranked, layout: LayoutIndex, total: u64) {
    let known = ranked.entry(layout).or_insert(total);
    *known = total.min(*known);
}

/// All steps of a linear node from a layout.
pub fn steps_from(tables: &mut Tables, node: NodeIndex, input: LayoutIndex) -> Arc<[StepIndex]> {
    if let Some(known) = tables.steps_from.get(&(node, input)) {
        return known.clone();
    }
    let from = tables.layout(input).clone();
    let shape = tables.node(node).shape.clone();
    let kernels = kernel::candidates(&from, tables.operators(Some(node)), &shape);
    let steps = kernels.into_iter().map(|kernel| tables.add_step(Some(node), input, kernel));
    let steps: Arc<[StepIndex]> = steps.collect();
    tables.steps_from.insert((node, input), steps.clone());
    steps
}

/// The steps of a linear node from a layout whose result stands in `wanted`.
pub fn steps_to(
    tables: &mut Tables,
    node: NodeIndex,
    input: LayoutIndex,
    wanted: LayoutIndex,
) -> Vec<StepIndex> {
    let result = tables.layout(wanted).clone();
    let mut out = steps_from(tables, node, input).to_vec();
    out.retain(|s| tables.kernel(*s).result == result);
    if result.layout.gap == Gap::Zero {
        let direct = Kernel::plain(result);
        out.push(tables.add_step(Some(node), input, direct));
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Whether a node only scales.
pub fn is_scaling(kind: &Kind) -> bool {
    matches!(kind, Kind::Linear { operators, .. } if operators.is_empty())
}
