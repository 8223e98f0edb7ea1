//! Stage 5b, rotation by equality saturation: the plan of every linear map, the steps of every fold, and which maps share
//! a plan, for all of the network at once.
//!
//! Does: puts maps, folds and sums of an arranged network in an e-graph, saturates the rules ([`rules`]), and
//! chooses one implementation of each, keys shared by several maps counted once ([`choose`]). The memory of keys against
//! time is swept ([`frontier`]): the default is the cheapest choice at the usual price of memory that is no slower than each
//! map's own cheapest plan; with a limit it is the fastest choice that fits. Needs: a packing, a cost model. Leaves: a
//! [`Rotated`] network. Why here: packing must know what each map costs by itself; who shares keys with whom is known
//! when all layouts are.

pub mod choose;
pub mod curve;
pub mod frontier;
pub mod network;
pub mod rules;
pub mod saturated;
pub mod tables;
mod term;
mod text;

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::graph::NodeId;
use crate::packing::{Arranged, Choice};
use crate::rotation::Split;
use choose::{Cost, Price};
use cipherloom_ir::Hoisting;
use egg::Rewrite;
use frontier::{Point, Sweep};
use network::Network;
pub use saturated::Saturated;
use std::collections::BTreeMap;
use tables::Tables;
pub use term::Term;

/// A plan for both operands of a sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The plan; inputs of the second operand's map follow those of the first.
    pub split: Split,
    /// Inputs of the first operand's map.
    pub first_inputs: u32,
}

/// What the stage decides besides the splits of single maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Sums whose operands are one plan, by node.
    pub merged: BTreeMap<usize, Merged>,
    /// Steps in place of a fold's, by node and step.
    pub detours: BTreeMap<(usize, u32), Vec<u32>>,
}

impl Rotation {
    /// Steps that a fold's rotation takes.
    pub fn steps(&self, node: usize, step: u32) -> Vec<u32> {
        self.detours.get(&(node, step)).cloned().unwrap_or_else(|| vec![step])
    }
}

/// A network whose rotations are decided.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Layers, levels, layouts, kernels and splits.
    pub arranged: Arranged,
    /// Sums and folds.
    pub rotation: Rotation,
    /// What was chosen among.
    pub statistics: Statistics,
    /// Key memory against time of the rotations, by ascending bytes; of [`rotate_at_usual_price`] a few points of it.
    pub curve: Vec<Cost>,
}

impl Rotated {
    /// The plans that packing chose.
    pub fn unchanged(arranged: Arranged) -> Rotated {
        Rotated { arranged, rotation: Rotation::default(), statistics: Statistics::default(), curve: vec![] }
    }

    /// What the choice saved, in one line, if there was one.
    pub fn saved(&self) -> Option<String> {
        let Statistics { before, after, .. } = self.statistics;
        let ms = |ns: u64| ns as f64 / 1e6;
        (self.statistics != Statistics::default()).then(|| {
            format!(
                "rotations in {:.2} ms and {} MB of keys, {:.2} ms and {} MB each map for itself",
                ms(after.time_ns),
                after.key_bytes / 1_000_000,
                ms(before.time_ns),
                before.key_bytes / 1_000_000
            )
        })
    }

    /// Applications of rotation keys, hoisted ones and folds included.
    pub fn rotations(&self) -> usize {
        let graph = &self.arranged.graph;
        let in_sum = |id: NodeId| {
            graph.consumers(id).iter().any(|c| self.rotation.merged.contains_key(&(c.0 as usize)))
        };
        let of = |id: NodeId| match &self.arranged.packed.choices[id.0 as usize] {
            Choice::Linear(choice) if !in_sum(id) => {
                let steps = |turn| self.rotation.steps(id.0 as usize, turn).len();
                let turns: usize = choice.kernel.turns().map(steps).sum();
                choice.split.rotations() + turns * choice.kernel.output.ciphertexts as usize
            }
            _ => 0,
        };
        let sums: usize = self.rotation.merged.values().map(|m| m.split.rotations()).sum();
        graph.order().map(of).sum::<usize>() + sums
    }
}

/// What a saturation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Terms of the e-graph.
    pub terms: usize,
    /// Classes of the e-graph.
    pub classes: usize,
    /// Rounds of rules.
    pub rounds: usize,
    /// Cost of the plans that packing chose, each for itself.
    pub before: Cost,
    /// Cost of the answer.
    pub after: Cost,
    /// Time with the usual price of memory, of the answer.
    pub priced_ns: u64,
    /// No answer has less.
    pub lower_bound_ns: u64,
}

/// The point that is wanted: the fastest within a limit of key bytes; without a limit the cheapest at a price that takes no
/// longer than `before`.
pub fn wanted(
    points: &[Point],
    before: Cost,
    price: Price,
    key_bytes_max: Option<u64>,
) -> Result<&Point, CompileError> {
    let Some(limit_bytes) = key_bytes_max else {
        let fast = points.iter().filter(|p| p.cost.time_ns <= before.time_ns);
        let best = fast.min_by_key(|p| (p.cost.priced(price), p.cost));
        return best.ok_or_else(|| CompileError::Internal("rotation lost the packing's plans".into()));
    };
    let fitting = points.iter().filter(|p| p.cost.key_bytes <= limit_bytes);
    let least_bytes = points.iter().map(|p| p.cost.key_bytes).min().unwrap_or(0);
    let fastest = fitting.min_by_key(|p| (p.cost.time_ns, p.cost.key_bytes));
    fastest.ok_or(CompileError::KeyMemory { limit_bytes, least_bytes })
}

/// The usual price of memory.
pub fn usual_price(cost: &CostModel) -> Price {
    Price(cost.memory_price(1 << 20))
}

/// Chooses the rotations of an arranged network; keys take at most `key_bytes_max` of memory, if that is given.
pub fn rotate(
    arranged: Arranged,
    cost: &CostModel,
    key_bytes_max: Option<u64>,
) -> Result<Rotated, CompileError> {
    rotate_by(arranged, cost, key_bytes_max, &rules::rules())
}

/// The same without a limit and without the frontier: what the usual price chooses, from all starts at that price alone.
pub fn rotate_at_usual_price(arranged: Arranged, cost: &CostModel) -> Result<Rotated, CompileError> {
    rotate_in(arranged, (cost, Sweep::Price(usual_price(cost))), None, &rules::rules())
}

/// [`rotate`] with other rules.
pub fn rotate_by(
    arranged: Arranged,
    cost: &CostModel,
    key_bytes_max: Option<u64>,
    rules: &[Rewrite<Term, Tables>],
) -> Result<Rotated, CompileError> {
    rotate_in(arranged, (cost, Sweep::Whole), key_bytes_max, rules)
}

fn rotate_in(
    mut arranged: Arranged,
    (cost, sweep): (&CostModel, Sweep),
    key_bytes_max: Option<u64>,
    rules: &[Rewrite<Term, Tables>],
) -> Result<Rotated, CompileError> {
    // Of one image: in a batch all steps are multiples of those.
    let slots = arranged.packed.layouts.first().map_or(1, |placed| placed.layout.slots);
    let network = Network::of(&arranged, slots, cost);
    let saturated = Saturated::new(network, cost, rules)?;
    let points = saturated.frontier(sweep);
    let price = usual_price(cost);
    let before = saturated.before(&arranged);
    let point = wanted(&points, before, price, key_bytes_max)?;
    let rotation = saturated.apply(&point.choice, &mut arranged)?;
    let ns = |priced: u128| (priced >> 20) as u64;
    let [terms, classes, rounds] = saturated.size();
    let statistics = Statistics {
        terms,
        classes,
        rounds,
        before,
        after: point.cost,
        priced_ns: ns(point.cost.priced(price)),
        lower_bound_ns: ns(saturated.problem.lower_bound(price)),
    };
    Ok(Rotated { arranged, rotation, statistics, curve: points.iter().map(|p| p.cost).collect() })
}

/// Name of a form of rotations.
fn form(hoisting: Hoisting) -> &'static str {
    match hoisting {
        Hoisting::Single => "single",
        Hoisting::Double => "double",
    }
}
