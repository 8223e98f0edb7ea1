//! Stage 5, packing: the layout of every tensor and the kernel of every linear map.
//!
//! Does: walks the graph once; each tensor keeps its cheapest state per layout, each linear map tries its kernels on
//! every state of its operand, with the split of [`rotation`] as cost. On chains this is the exact
//! dynamic program over the kernels; tensors with several readers, and operands of sums, get the one multiplexed
//! layout, so that branches meet. With [`Packing::Multiplexed`] every tensor gets it. Needs: levels, slots, a cost
//! model. Leaves: [`Packed`]. Why here: kernels cost by level, and rotations and plaintexts follow from the kernels.

pub mod kernel;
pub mod layouts;
pub mod slotwise;
mod text;
mod verify;

use crate::activation::form::Form;
use crate::activation::series::relinearisations;
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::graph::{Function, Kind, NodeId, TensorGraph, TensorNode};
use crate::levels::Levels;
use crate::options::Packing;
use crate::rotation::{self, Policy, Split};
use crate::saturate::packing::Statistics;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Gap, Operator, PlacedMap, Support, feature_map, volume_of};
use kernel::Kernel;
use layouts::Placed;
use rayon::prelude::*;
use slotwise::{fills_gaps, same_places};
use std::collections::BTreeMap;

/// States kept per tensor.
const MAX_STATES: usize = 24;

/// How one tensor is computed.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The client's input, or an operation that keeps the layout.
    Keep,
    /// A linear map by diagonals and turns.
    Linear(Box<LinearChoice>),
}

/// Kernel, diagonals and split of a linear map.
#[derive(Clone, Debug)]
pub struct LinearChoice {
    /// The kernel.
    pub kernel: Kernel,
    /// Its diagonals' split.
    pub split: Split,
    /// Predicted time of the turns (folds and copies), with the price of their keys.
    pub turns_ns: u64,
}

/// The result: layout and choice of every tensor, by node.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Layout after the node.
    pub layouts: Vec<Placed>,
    /// How it is computed.
    pub choices: Vec<Choice>,
    /// Predicted cost of the whole circuit, price of memory included.
    pub priced_ns: u64,
}

/// A network whose layouts, kernels and levels are decided.
#[derive(Clone, Debug)]
pub struct Arranged {
    /// The layers.
    pub graph: TensorGraph,
    /// Their levels.
    pub levels: Levels,
    /// Their layouts and kernels.
    pub packed: Packed,
    /// The saturation that it was extracted from; a baseline has none.
    pub saturation: Option<Statistics>,
}

impl Arranged {
    /// Applications of Galois keys, hoisted ones and turns included.
    pub fn rotations(&self) -> usize {
        let of = |choice: &Choice| match choice {
            Choice::Keep => 0,
            Choice::Linear(c) => {
                c.split.rotations() + c.kernel.turns().count() * c.kernel.output.ciphertexts as usize
            }
        };
        self.packed.choices.iter().map(of).sum()
    }
}

/// What packing depends on.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The graph.
    pub graph: &'a TensorGraph,
    /// Levels of its tensors.
    pub levels: &'a Levels,
    /// Costs at the ring degree.
    pub cost: &'a CostModel,
    /// Slots of a ciphertext.
    pub slots: u32,
    /// Chooser.
    pub packing: Packing,
    /// How diagonals are split.
    pub rotation: Policy,
}

#[derive(Clone)]
struct State {
    placed: Placed,
    total: u64,
    from: Vec<usize>,
    choice: Choice,
}

/// Chooses layouts and kernels.
pub fn pack(target: &Target<'_>) -> Result<Packed, CompileError> {
    let graph = target.graph;
    let pinned = pinned(graph, target.packing);
    let mut states: Vec<Vec<State>> = Vec::new();
    for id in graph.order() {
        let list = match &graph.node(id).kind {
            Kind::Input => vec![input_state(target, id)?],
            Kind::Linear { operators, .. } => {
                linear_states(target, &states, id, operators, pinned[id.0 as usize])?
            }
            _ => kept_states(target, &states, id)?,
        };
        states.push(pruned(list));
    }
    let wanted: Vec<NodeId> = graph.outputs.iter().map(|o| o.node).collect();
    backtrack(graph, &states, &wanted)
}

fn input_state(target: &Target<'_>, id: NodeId) -> Result<State, CompileError> {
    let node = target.graph.node(id);
    let read = match target.packing {
        Packing::Multiplexed => node.shape.clone(),
        _ => read_as(target.graph, id),
    };
    let mut placed = layouts::input(&node.shape, &read, target.slots);
    let beyond = placed.grid.is_some_and(|g| g.block > target.slots);
    if beyond && volume_of(&read).is_some_and(|[_, depth, ..]| depth > 1) {
        // Plane after plane, each of which may fit.
        placed = Placed { grid: None, ..layouts::contiguous(&node.shape, target.slots) };
    } else if beyond {
        return Err(CompileError::Unsupported {
            stage: "packing",
            tensor: node.name.clone(),
            reason: format!("one channel of shape {:?} does not fit {} slots", node.shape, target.slots),
            remedy: "use smaller images or a smaller batch".into(),
        });
    }
    Ok(State { placed, total: 0, from: vec![], choice: Choice::Keep })
}

/// The shape that the first reader of a tensor reads it as: a feature map where a convolution follows, its own shape else. To a
/// convolution a signal `[channels, length]` is an image of one row.
pub fn read_as(graph: &TensorGraph, id: NodeId) -> Vec<u32> {
    let volume = graph.consumers(id).into_iter().find_map(|reader| match &graph.node(reader).kind {
        Kind::Linear { operators, .. } => kernel::volume_read(operators),
        _ => None,
    });
    volume.map_or_else(|| graph.node(id).shape.clone(), feature_map)
}

/// Tensors that get the one multiplexed layout: operands and results of two-operand nodes, tensors with several
/// readers, and what reaches these through elementwise nodes.
fn pinned(graph: &TensorGraph, packing: Packing) -> Vec<bool> {
    let ids: Vec<NodeId> = graph.order().collect();
    let mut out = vec![packing == Packing::Multiplexed; ids.len()];
    for id in ids.iter().rev() {
        let readers = graph.consumers(*id);
        let uses = readers.len() + graph.outputs.iter().filter(|o| o.node == *id).count();
        if uses > 1 || graph.operands(*id).len() > 1 {
            out[id.0 as usize] = true;
        }
        for reader in readers {
            let by_reader = match graph.node(reader).kind {
                Kind::Linear { .. } | Kind::Input => false,
                Kind::Elementwise(_) => out[reader.0 as usize],
                Kind::Add | Kind::Sub | Kind::Mul | Kind::Concat { .. } => true,
            };
            out[id.0 as usize] |= by_reader;
        }
    }
    out
}

fn linear_states(
    target: &Target<'_>,
    states: &[Vec<State>],
    id: NodeId,
    operators: &[Operator],
    pinned: bool,
) -> Result<Vec<State>, CompileError> {
    let graph = target.graph;
    let (node, operand) = (graph.node(id), graph.operands(id)[0]);
    let before = &states[operand.0 as usize];
    let level = target.levels.before(graph, id);
    if operators.is_empty() {
        let add = target.cost.pass(level) + target.cost.rescale(level);
        let scaled = |(k, s): (usize, &State)| State {
            placed: s.placed.clone(),
            total: s.total + add * u64::from(s.placed.layout.ciphertexts),
            from: vec![k],
            choice: Choice::Keep,
        };
        return Ok(before.iter().enumerate().map(scaled).collect());
    }
    let clean = needs_clean_gaps(graph, id);
    let tries: Vec<(usize, Kernel)> = before
        .iter()
        .enumerate()
        .flat_map(|(k, s)| {
            let kernels = if pinned {
                vec![kernel::fixed(&s.placed, operators, &node.shape)]
            } else {
                kernel::candidates(&s.placed, operators, &node.shape)
            };
            kernels.into_iter().map(move |kernel| (k, kernel))
        })
        .filter(|(_, kernel)| !(clean && kernel.result.layout.gap == Gap::Junk))
        .collect();
    tries
        .into_par_iter()
        .map(|(k, kernel)| {
            let choice = linear_choice(target, &before[k].placed, node, operators, kernel, level)?;
            Ok(State {
                placed: choice.kernel.result.clone(),
                total: before[k].total + choice.split.priced_ns + choice.turns_ns,
                from: vec![k],
                choice: Choice::Linear(Box::new(choice)),
            })
        })
        .collect()
}

fn linear_choice(
    target: &Target<'_>,
    input: &Placed,
    node: &TensorNode,
    operators: &[Operator],
    kernel: Kernel,
    level: Level,
) -> Result<LinearChoice, CompileError> {
    let map =
        PlacedMap { operators, scale: 1.0, input: &input.layout, output: &kernel.output, fold: &kernel.fold };
    let support =
        Support::of(&map, &target.graph.tensors).map_err(|e| CompileError::map("packing", &node.name, &e))?;
    let split = rotation::split(&support, target.slots, target.cost, level, target.rotation);
    let turns_ns = kernel.turns_ns(target.cost, Level(level.0 - 1));
    Ok(LinearChoice { kernel, split, turns_ns })
}

/// Whether a reader of the tensor multiplies its gaps so often that junk there could overflow.
fn needs_clean_gaps(graph: &TensorGraph, id: NodeId) -> bool {
    graph.consumers(id).iter().any(|c| match &graph.node(*c).kind {
        Kind::Elementwise(Function::Square) => needs_clean_gaps(graph, *c),
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => coefficients.len() > 3,
        Kind::Elementwise(Function::Exact(_)) => true,
        Kind::Add | Kind::Sub | Kind::Mul => true,
        Kind::Input | Kind::Linear { .. } | Kind::Concat { .. } => false,
    })
}

/// States of a node that works slot by slot.
fn kept_states(target: &Target<'_>, states: &[Vec<State>], id: NodeId) -> Result<Vec<State>, CompileError> {
    let graph = target.graph;
    let (node, operands) = (graph.node(id), graph.operands(id));
    let level = target.levels.before(graph, id);
    let mut out = Vec::new();
    for (k, first) in states[operands[0].0 as usize].iter().enumerate() {
        let mut state = State { from: vec![k], choice: Choice::Keep, ..first.clone() };
        for other in &operands[1..] {
            let found = states[other.0 as usize].iter().position(|s| same_places(&s.placed, &first.placed));
            let Some(found) = found else { break };
            state.from.push(found);
            let second = &states[other.0 as usize][found];
            state.total += second.total;
            if second.placed.layout.gap == Gap::Junk {
                state.placed.layout.gap = Gap::Junk;
            }
        }
        if state.from.len() < operands.len() {
            continue;
        }
        if fills_gaps(&node.kind, &state.placed.layout) {
            state.placed.layout.gap = Gap::Junk;
        }
        state.total +=
            u64::from(state.placed.layout.ciphertexts) * elementwise_ns(&node.kind, target.cost, level);
        out.push(state);
    }
    if out.is_empty() {
        return Err(apart(&node.name, "its operands stand in different layouts"));
    }
    Ok(out)
}

/// The error of a network that these packings cannot arrange: they have no repacks.
fn apart(tensor: &str, reason: &str) -> CompileError {
    CompileError::Unsupported {
        stage: "packing",
        tensor: tensor.into(),
        reason: reason.into(),
        remedy: "use the saturated packing, the default, which repacks".into(),
    }
}

/// Predicted time of a slotwise layer on one ciphertext that starts at `level`.
pub(crate) fn elementwise_ns(kind: &Kind, cost: &CostModel, level: Level) -> u64 {
    match kind {
        Kind::Elementwise(Function::Square) | Kind::Mul => cost.multiply(level),
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => {
            let degree = coefficients.len() - 1;
            let products = |k| if Form::has(degree) { 1 } else { u64::from(relinearisations(degree, k)) };
            let at = |k| products(k) * (cost.multiply(Level(level.0 - k)) + 2 * cost.pass(level));
            (0..Form::depth(degree)).map(at).sum()
        }
        _ => cost.pass(level),
    }
}

/// The cheapest state per layout, at most [`MAX_STATES`], cheapest first.
fn pruned(states: Vec<State>) -> Vec<State> {
    let mut best: BTreeMap<Placed, State> = BTreeMap::new();
    for state in states {
        match best.get(&state.placed) {
            Some(known) if known.total <= state.total => {}
            _ => {
                best.insert(state.placed.clone(), state);
            }
        }
    }
    let mut out: Vec<State> = best.into_values().collect();
    out.sort_by_key(|s| s.total);
    out.truncate(MAX_STATES);
    out
}

fn backtrack(graph: &TensorGraph, states: &[Vec<State>], wanted: &[NodeId]) -> Result<Packed, CompileError> {
    let mut chosen: Vec<Option<usize>> = vec![None; states.len()];
    let mut priced_ns = 0;
    for id in wanted {
        let index = chosen[id.0 as usize].get_or_insert(0);
        priced_ns += states[id.0 as usize][*index].total;
    }
    let ids: Vec<NodeId> = graph.order().collect();
    for id in ids.iter().rev() {
        let Some(index) = chosen[id.0 as usize] else { continue };
        let from = states[id.0 as usize][index].from.clone();
        for (operand, index) in graph.operands(*id).iter().zip(from) {
            let known = chosen[operand.0 as usize].get_or_insert(index);
            if *known != index {
                return Err(apart(&graph.node(*operand).name, "its readers ask for different layouts"));
            }
        }
    }
    let picked = |k: usize| &states[k][chosen[k].unwrap_or(0)];
    Ok(Packed {
        layouts: (0..states.len()).map(|k| picked(k).placed.clone()).collect(),
        choices: (0..states.len()).map(|k| picked(k).choice.clone()).collect(),
        priced_ns,
    })
}
