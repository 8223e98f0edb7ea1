//! What the rotation stage chooses for: the linear maps, folds and sums of a network, without weights.
//!
//! Relies on: splits and plans name every diagonal of their maps, so that supports follow from them. Promises: the same
//! demands for an arranged network and, the sums of maps apart, for the circuit that is emitted from it.

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::graph::{Function, Kind, NodeId};
use crate::packing::{Arranged, Choice, LinearChoice};
use crate::rotation::pairs::Pairs;
use cipherloom_ir::scheme::{KeyKind, Level};
use cipherloom_ir::{Circuit, Op, Step, Support, value_types};
use std::collections::{BTreeMap, BTreeSet};

/// A linear map that reads ciphertexts at a level.
#[derive(Clone, Debug)]
pub struct Map {
    /// Layer.
    pub name: String,
    /// Number of the node in its network.
    pub node: usize,
    /// Non-zero diagonals, or pairs of them.
    pub support: Support,
    /// Level of the ciphertexts that are read.
    pub level: Level,
    /// Time that the map takes besides its plan.
    pub extra_ns: u64,
}

/// One rotation of a fold, applied to several ciphertexts.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Layer.
    pub name: String,
    /// Number of the node in its network.
    pub node: usize,
    /// Slots to the left.
    pub step: u32,
    /// Level of the ciphertexts.
    pub level: Level,
    /// Number of ciphertexts.
    pub ciphertexts: u32,
}

/// Two maps whose results are added, and the map that does all of it.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Number of the sum's node.
    pub node: usize,
    /// The maps of the operands.
    pub parts: [usize; 2],
    /// The map of both, whose inputs are those of the parts in turn.
    pub whole: usize,
    /// Inputs of the first part.
    pub first_inputs: u32,
}

/// Everything that rotates.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Slots of a ciphertext.
    pub slots: u32,
    /// Linear maps; those of sums are among them.
    pub maps: Vec<Map>,
    /// Rotations of folds.
    pub turns: Vec<Turn>,
    /// Sums of two maps.
    pub sums: Vec<Sum>,
    /// Levels of the keys that are needed in any case, one per key.
    pub held: Vec<Level>,
}

impl Network {
    /// The rotations of an arranged network.
    pub fn of(arranged: &Arranged, slots: u32, cost: &CostModel) -> Network {
        let mut network = Network { slots, ..Network::default() };
        let (graph, levels) = (&arranged.graph, &arranged.levels);
        let mut map_of = vec![None; graph.order().count()];
        let mut relinearised: Option<Level> = None;
        for id in graph.order() {
            let (node, index) = (graph.node(id), id.0 as usize);
            let level = levels.before(graph, id);
            let multiplies = match &node.kind {
                Kind::Mul | Kind::Elementwise(Function::Square) => true,
                Kind::Elementwise(Function::Polynomial { coefficients, .. }) => coefficients.len() > 2,
                _ => false,
            };
            if multiplies {
                relinearised = relinearised.max(Some(level));
            }
            if let Choice::Linear(choice) = &arranged.packed.choices[index] {
                map_of[index] = Some(network.maps.len());
                let support = support_of(choice, slots);
                let extra_ns = pairing_ns(&support, choice.split.pairs, cost, level);
                network.maps.push(Map { name: node.name.clone(), node: index, support, level, extra_ns });
                network.turns.extend(choice.kernel.fold.iter().map(|digit| Turn {
                    name: node.name.clone(),
                    node: index,
                    step: digit.stride,
                    level: levels.at(id),
                    ciphertexts: choice.kernel.output.ciphertexts,
                }));
            }
        }
        for id in graph.order().filter(|id| graph.node(*id).kind == Kind::Add) {
            let parts: Vec<usize> =
                graph.operands(id).iter().filter_map(|operand| map_of[operand.0 as usize]).collect();
            if let [x, y] = parts[..]
                && x != y
                && mergeable(arranged, id)
            {
                network.add_sum(arranged, id, [x, y], cost);
            }
        }
        network.held = relinearised.into_iter().chain(pairing_keys(arranged)).collect();
        network
    }

    /// Adds the map of both operands of a sum.
    fn add_sum(&mut self, arranged: &Arranged, id: NodeId, parts: [usize; 2], cost: &CostModel) {
        let graph = &arranged.graph;
        let (mut support, mut first_inputs, mut extra_ns) = (Support::default(), 0, 0);
        for (position, operand) in graph.operands(id).into_iter().enumerate() {
            let read = graph.operands(operand)[0];
            let ciphertexts = arranged.packed.layouts[read.0 as usize].layout.ciphertexts;
            let before = arranged.levels.before(graph, operand);
            if arranged.levels.at(read) > before {
                // Sources of a plan share their scale: one that stands higher is adjusted, not dropped.
                let above = Level(before.0 + 1);
                extra_ns += u64::from(ciphertexts) * (cost.pass(above) + cost.rescale(above));
            }
            for ((output, input), steps) in &self.maps[parts[position]].support.0 {
                support.0.insert((*output, input + first_inputs), steps.clone());
            }
            if position == 0 {
                first_inputs = ciphertexts;
            }
        }
        let map = Map {
            name: graph.node(id).name.clone(),
            node: id.0 as usize,
            support,
            level: self.maps[parts[0]].level,
            extra_ns,
        };
        self.sums.push(Sum { node: id.0 as usize, parts, whole: self.maps.len(), first_inputs });
        self.maps.push(map);
    }

    /// The rotations of a circuit.
    pub fn of_circuit(circuit: &Circuit) -> Result<Network, CompileError> {
        let mut network = Network { slots: circuit.slots() as u32, ..Network::default() };
        let types = value_types(circuit)?;
        for (index, node) in circuit.nodes.iter().enumerate() {
            let name = circuit.origins[node.origin as usize].clone();
            let level = node.op.operands().first().map_or(Level(0), |v| types[v.0 as usize].level);
            match &node.op {
                // Two diagonals to a product: it stays as it is.
                Op::Linear(plan) if plan.pairing.is_some() => {
                    network.held.extend(node.op.keys().iter().map(|k| circuit.keys[k.0 as usize].level));
                }
                Op::Linear(plan) => {
                    let mut firsts = vec![0];
                    for source in &plan.sources {
                        firsts.push(firsts[firsts.len() - 1] + source.values.len() as u32);
                    }
                    let diagonals = plan.products.iter().map(|p| {
                        let steps =
                            [plan.babies[p.baby as usize].step.0, plan.giants[p.giant as usize].step.0];
                        (p.output, firsts[p.source as usize] + p.input, steps)
                    });
                    let support = support(diagonals, network.slots);
                    network.maps.push(Map { name, node: index, support, level, extra_ns: 0 });
                }
                Op::Rotate(_, keyed) if keyed.key.is_some() => {
                    network.turns.push(Turn { name, node: index, step: keyed.step.0, level, ciphertexts: 1 });
                }
                _ => {}
            }
        }
        let others = circuit.keys.iter().filter(|k| !matches!(k.kind, KeyKind::Rotation(_)));
        network.held.extend(others.map(|k| k.level));
        Ok(network)
    }
}

/// Whether a sum's operands may be one plan with it: two unpaired maps that nothing else reads, at one level, in one layout, and
/// without folds.
fn mergeable(arranged: &Arranged, id: NodeId) -> bool {
    let graph = &arranged.graph;
    let operands = graph.operands(id);
    let choice = |operand: &NodeId| match &arranged.packed.choices[operand.0 as usize] {
        Choice::Linear(choice) => Some(&**choice),
        Choice::Keep => None,
    };
    let alone = |operand: &NodeId| {
        graph.consumers(*operand).len() == 1
            && graph.outputs.iter().all(|o| o.node != *operand)
            && arranged.levels.at(*operand) == arranged.levels.at(id)
            && choice(operand).is_some_and(|c| c.kernel.fold.is_empty())
    };
    let layouts: BTreeSet<_> = operands.iter().filter_map(choice).map(|c| &c.kernel.output).collect();
    let apart = |operand: &NodeId| choice(operand).is_some_and(|c| c.split.pairs == Pairs::Apart);
    operands.iter().all(alone) && operands.iter().all(apart) && layouts.len() == 1
}

/// Levels of the keys that pairs of diagonals need: one for each step apart, and one to conjugate.
fn pairing_keys(arranged: &Arranged) -> Vec<Level> {
    let mut keys: BTreeMap<Option<Step>, Level> = BTreeMap::new();
    for id in arranged.graph.order() {
        let Choice::Linear(choice) = &arranged.packed.choices[id.0 as usize] else { continue };
        let Some(half) = choice.split.pairs.half() else { continue };
        let level = arranged.levels.before(&arranged.graph, id);
        for key in [None, Some(half).filter(|s| s.0 != 0)] {
            let known = keys.entry(key).or_insert(level);
            *known = level.max(*known);
        }
    }
    keys.into_values().collect()
}

/// Time that pairing the diagonals takes, whatever the split.
fn pairing_ns(support: &Support, pairs: Pairs, cost: &CostModel, level: Level) -> u64 {
    let inputs = support.0.keys().map(|(_, input)| input).collect::<BTreeSet<_>>().len() as u64;
    let outputs = support.0.keys().map(|(output, _)| output).collect::<BTreeSet<_>>().len() as u64;
    cost.pairing(pairs.turned(inputs), pairs.conjugated(outputs), level)
}

fn support_of(choice: &LinearChoice, slots: u32) -> Support {
    let split = &choice.split;
    let steps = |p: &crate::rotation::SplitProduct| {
        (p.output, p.input, [split.babies[p.baby as usize], split.giants[p.giant as usize]])
    };
    support(split.products.iter().map(steps), slots)
}

fn support(diagonals: impl Iterator<Item = (u32, u32, [u32; 2])>, slots: u32) -> Support {
    let mut out = Support::default();
    for (output, input, [baby, giant]) in diagonals {
        let step = Step(baby.wrapping_add(giant) & (slots - 1));
        out.0.entry((output, input)).or_default().push(step);
    }
    out.0.values_mut().for_each(|steps| steps.sort_unstable());
    out
}
