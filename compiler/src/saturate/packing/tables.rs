//! What the indices in terms stand for: tensor nodes, layouts, steps; and the memoised plans of steps.
//!
//! The tables are the e-graph's analysis, so that laws can add to them. Equal entries share an index. Promises:
//! indices depend on the order of insertion alone.

use super::term::{LayoutIndex, NodeIndex, StepIndex, Term};
use crate::compose::composed;
use crate::cost::CostModel;
use crate::graph::{Kind, TensorNode};
use crate::packing::kernel::Kernel;
use crate::packing::layouts::Placed;
use crate::rotation::{Best, Family, Policy};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Digit, Gap, Layout, MapError, Operator, PlacedMap, Support, Tensor, TensorId};
use egg::{Analysis, DidMerge, EGraph, Id};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A linear map from one layout by one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The linear node; `None` for a repack.
    pub node: Option<NodeIndex>,
    /// Layout that is read.
    pub input: LayoutIndex,
    /// Index of the kernel.
    kernel: u32,
}

/// The diagonals of a step and its splits.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its diagonals.
    pub support: Support,
    /// Their splits.
    pub family: Family,
}

/// What a plan depends on: the geometry of the operators (not their weights, so that equal blocks share plans), the
/// layouts of both sides, and the fold.
type PlanKey = (Option<u32>, Layout, Layout, Vec<Digit>);

/// Side tables of the e-graph.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Slots of a ciphertext.
    pub slots: u32,
    /// How diagonals are split.
    pub rotation: Policy,
    /// Weights.
    pub tensors: Vec<Tensor>,
    /// Layouts in which the client may encrypt the input.
    pub sent: Vec<Placed>,
    nodes: Vec<TensorNode>,
    /// Geometry of each node's operators.
    geometries: Vec<u32>,
    geometry: Interned<String>,
    layouts: Interned<Placed>,
    kernels: Interned<Kernel>,
    steps: Interned<Step>,
    /// `None` where the map has no meaning in these layouts.
    plans: BTreeMap<StepIndex, Option<Arc<Planned>>>,
    /// All plans that were ever made for this network, also in other ring degrees and families of layouts.
    known: Arc<Mutex<BTreeMap<PlanKey, Option<Arc<Planned>>>>>,
    /// All steps of a linear node from a layout, once they were listed.
    pub steps_from: BTreeMap<(NodeIndex, LayoutIndex), Arc<[StepIndex]>>,
    /// By (first, second); `None` where they do not compose.
    compositions: BTreeMap<(NodeIndex, NodeIndex), Option<NodeIndex>>,
    /// Layouts that each logical tensor may stand in between layers, cheapest first.
    pub candidates: BTreeMap<Id, Vec<LayoutIndex>>,
}

#[derive(Clone, Debug)]
struct Interned<T> {
    list: Vec<T>,
    index: FxHashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Interned<T> {
        Interned { list: Vec::new(), index: FxHashMap::default() }
    }
}

impl<T: Eq + Hash + Clone> Interned<T> {
    fn add(&mut self, value: T) -> u32 {
        if let Some(index) = self.index.get(&value) {
            return *index;
        }
        let index = self.list.len() as u32;
        self.list.push(value.clone());
        self.index.insert(value, index);
        index
    }
}

impl Tables {
    /// Adds a tensor node.
    pub fn add_node(&mut self, node: TensorNode) -> NodeIndex {
        let known = self.nodes.iter().position(|n| *n == node);
        NodeIndex(known.unwrap_or_else(|| {
            let geometry = self.geometry_of(&node);
            self.geometries.push(self.geometry.add(geometry));
            self.nodes.push(node);
            self.nodes.len() - 1
        }) as u32)
    }

    /// The operators of a node with the shapes of weights instead of their numbers.
    fn geometry_of(&self, node: &TensorNode) -> String {
        let Kind::Linear { operators, .. } = &node.kind else { return String::new() };
        let text = |operator: &Operator| {
            let mut bare = operator.clone();
            let weight = match &mut bare {
                Operator::Convolution { weight, .. } | Operator::Dense { weight } => Some(weight),
                Operator::AxisScale { factor, .. } | Operator::ElementScale { factor } => Some(factor),
                Operator::AveragePool { .. } | Operator::View { .. } => None,
            };
            let id = weight.map(|w| std::mem::replace(w, TensorId(0)));
            let shape = id.and_then(|id| self.tensors.get(id.0 as usize)).map(|t| &t.shape);
            format!("{bare:?} {shape:?}; ")
        };
        operators.iter().map(text).collect()
    }

    /// Adds a layout.
    pub fn add_layout(&mut self, placed: Placed) -> LayoutIndex {
        LayoutIndex(self.layouts.add(placed))
    }

    /// The same layout with other content of its gaps.
    pub fn with_gap(&mut self, index: LayoutIndex, gap: Gap) -> LayoutIndex {
        let mut placed = self.layout(index).clone();
        placed.layout.gap = gap;
        self.add_layout(placed)
    }

    /// Adds a step.
    pub fn add_step(&mut self, node: Option<NodeIndex>, input: LayoutIndex, kernel: Kernel) -> StepIndex {
        let kernel = self.kernels.add(kernel);
        StepIndex(self.steps.add(Step { node, input, kernel }))
    }

    /// A tensor node.
    pub fn node(&self, index: NodeIndex) -> &TensorNode {
        &self.nodes[index.0 as usize]
    }

    /// A layout.
    pub fn layout(&self, index: LayoutIndex) -> &Placed {
        &self.layouts.list[index.0 as usize]
    }

    /// A step.
    pub fn step(&self, index: StepIndex) -> Step {
        self.steps.list[index.0 as usize]
    }

    /// The kernel of a step.
    pub fn kernel(&self, index: StepIndex) -> &Kernel {
        &self.kernels.list[self.step(index).kernel as usize]
    }

    /// The operators of a linear node; none for other nodes.
    pub fn operators(&self, node: Option<NodeIndex>) -> &[Operator] {
        match node.map(|n| &self.node(n).kind) {
            Some(Kind::Linear { operators, .. }) => operators,
            _ => &[],
        }
    }

    /// The composition of two linear nodes, of which the first is no composition itself: so a chain has one form for
    /// each of its parts. `None` where they do not compose, or where the bias would leave float32.
    pub fn compose(&mut self, first: NodeIndex, second: NodeIndex) -> Option<NodeIndex> {
        if let Some(known) = self.compositions.get(&(first, second)) {
            return *known;
        }
        let composite = self.compositions.values().flatten().any(|n| *n == first);
        let (f, g) = (self.node(first).clone(), self.node(second).clone());
        let made = if composite { None } else { composed(&mut self.tensors, &f, &g).ok() };
        let finite = |node: &TensorNode| match node.kind {
            Kind::Linear { bias: Some(b), .. } => {
                self.tensors[b.0 as usize].values.iter().all(|v| v.is_finite())
            }
            _ => true,
        };
        let made = made.filter(finite).map(|node| self.add_node(node));
        self.compositions.insert((first, second), made);
        made
    }

    /// Plans steps that have no plan yet.
    pub fn plan(&mut self, steps: &[StepIndex]) {
        let mut missing: Vec<StepIndex> =
            steps.iter().copied().filter(|s| !self.plans.contains_key(s)).collect();
        missing.sort_unstable();
        missing.dedup();
        let mut store = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<PlanKey> = missing.iter().map(|s| self.key(*s)).collect();
        let mut new: Vec<(&PlanKey, StepIndex)> =
            keys.iter().zip(missing.iter().copied()).filter(|(key, _)| !store.contains_key(*key)).collect();
        new.sort_unstable();
        new.dedup_by(|a, b| a.0 == b.0);
        let made: Vec<(PlanKey, Option<Arc<Planned>>)> =
            new.into_par_iter().map(|(key, step)| (key.clone(), self.planned(step).map(Arc::new))).collect();
        store.extend(made);
        let found = keys.iter().map(|key| store.get(key).cloned().flatten());
        self.plans.extend(missing.into_iter().zip(found));
    }

    fn key(&self, index: StepIndex) -> PlanKey {
        let (step, kernel) = (self.step(index), self.kernel(index));
        let geometry = step.node.map(|n| self.geometries[n.0 as usize]);
        (geometry, self.layout(step.input).layout.clone(), kernel.output.clone(), kernel.fold.clone())
    }

    fn planned(&self, index: StepIndex) -> Option<Planned> {
        let support = self.support(index).ok()?;
        let family = Family::of(&support, self.slots);
        Some(Planned { support, family })
    }

    fn support(&self, index: StepIndex) -> Result<Support, MapError> {
        let (step, kernel) = (self.step(index), self.kernel(index));
        let input = &self.layout(step.input).layout;
        let operators = self.operators(step.node);
        let map = PlacedMap { operators, scale: 1.0, input, output: &kernel.output, fold: &kernel.fold };
        Support::of(&map, &self.tensors)
    }

    /// Why a linear node has no plan, where it is too large for one in the first layouts that were tried.
    pub fn refusal(&self, node: NodeIndex) -> Option<MapError> {
        let first = self.steps.list.iter().position(|step| step.node == Some(node))?;
        self.support(StepIndex(first as u32)).err().filter(|e| matches!(e, MapError::TooLarge { .. }))
    }

    /// The plan of a step; `None` where the map has no meaning in these layouts.
    pub fn plan_of(&self, index: StepIndex) -> Option<&Planned> {
        self.plans.get(&index)?.as_deref()
    }

    /// The cheapest split of a step that starts at `level`, and the predicted time of its turns.
    pub fn best(&self, index: StepIndex, cost: &CostModel, level: Level) -> Option<(Best, u64)> {
        let best = self.plan_of(index)?.family.best(cost, level, self.rotation);
        Some((best, self.kernel(index).turns_ns(cost, Level(level.0 - 1))))
    }
}

impl Analysis<Term> for Tables {
    type Data = ();

    fn make(_egraph: &mut EGraph<Term, Self>, _term: &Term, _id: Id) {}

    fn merge(&mut self, _a: &mut (), _b: ()) -> DidMerge {
        DidMerge(false, false)
    }
}
