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
use cipherloom_ir::{Circuit, KeyId, Op, PlacedMap, Step, Support, value_types};
use std::collections::{BTreeMap, BTreeSet};

/// A linear map that reads ciphertexts at a level.
#[derive(Clone, Debug)]
pub struct Map {
    /// Layer.
    pub name: String,
    /// Number of the node in its network.
    pub node: usize,
    /// Its diagonals, or pairs of them.
    pub support: Support,
    /// Level of the ciphertexts that are read.
    pub level: Level,
    /// Time that the map takes besides its plan.
    pub extra_ns: u64,
}

/// One rotation of a fold or of copies, applied to several ciphertexts.
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

/// Two maps whose results are added, and the maps that do all of it.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Number of the sum's node.
    pub node: usize,
    /// The maps of the operands.
    pub parts: [usize; 2],
    /// The maps of both, one for each pairing of diagonals that a part has.
    pub wholes: Vec<Whole>,
}

/// The map of both operands of a sum, whose inputs are those of the parts in turn.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Number of the map.
    pub map: usize,
    /// Which diagonals share a product.
    pub pairs: Pairs,
    /// Inputs of the first part; where ciphertexts are paired, pairs of them.
    pub first_inputs: u32,
}

/// Everything that rotates.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Slots of a ciphertext.
    pub slots: u32,
    /// Linear maps; those of sums are among them.
    pub maps: Vec<Map>,
    /// Rotations of folds and copies.
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
                network.turns.extend(choice.kernel.turns().map(|step| Turn {
                    name: node.name.clone(),
                    node: index,
                    step,
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

    /// Adds the maps of both operands of a sum.
    fn add_sum(&mut self, arranged: &Arranged, id: NodeId, parts: [usize; 2], cost: &CostModel) {
        let graph = &arranged.graph;
        let operands = graph.operands(id);
        let (mut adjust_ns, mut ciphertexts, mut pairings) = (0, Vec::new(), BTreeSet::from([Pairs::Apart]));
        for &operand in &operands {
            let read = graph.operands(operand)[0];
            let values = arranged.packed.layouts[read.0 as usize].layout.ciphertexts;
            let before = arranged.levels.before(graph, operand);
            if arranged.levels.at(read) > before {
                // Sources of a plan share their scale: one that stands higher is adjusted, not dropped.
                let above = Level(before.0 + 1);
                adjust_ns += u64::from(values) * (cost.pass(above) + cost.rescale(above));
            }
            ciphertexts.push(values);
            pairings.extend(choice_of(arranged, operand).map(|c| c.split.pairs));
        }
        let Some(supports) = operands.iter().map(|o| real_support(arranged, *o)).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let level = self.maps[parts[0]].level;
        let mut wholes = Vec::new();
        for pairs in pairings {
            // Pairs of ciphertexts do not reach from one source into the next.
            let unit = if pairs == Pairs::Ciphertexts { 2 } else { 1 };
            let first_inputs = ciphertexts[0].div_ceil(unit);
            let mut both = Support::default();
            for (position, support) in supports.iter().enumerate() {
                let shift = if position == 0 { 0 } else { first_inputs * unit };
                both.0.extend(support.0.iter().map(|((o, i), steps)| ((*o, i + shift), steps.clone())));
            }
            let support = pairs.reduced(&both);
            let extra_ns = adjust_ns + pairing_ns(&support, pairs, cost, level);
            wholes.push(Whole { map: self.maps.len(), pairs, first_inputs });
            let name = graph.node(id).name.clone();
            self.maps.push(Map { name, node: id.0 as usize, support, level, extra_ns });
        }
        self.sums.push(Sum { node: id.0 as usize, parts, wholes });
    }

    /// What a map is, if it is that of a sum.
    pub fn whole(&self, map: usize) -> Option<&Whole> {
        self.sums.iter().flat_map(|s| &s.wholes).find(|w| w.map == map)
    }

    /// The rotations of a circuit.
    pub fn of_circuit(circuit: &Circuit, cost: &CostModel) -> Result<Network, CompileError> {
        let mut network = Network { slots: circuit.slots() as u32, ..Network::default() };
        let types = value_types(circuit)?;
        // Keys of the steps between two diagonals of a product, which no choice changes.
        let mut turning: BTreeSet<KeyId> = BTreeSet::new();
        for (index, node) in circuit.nodes.iter().enumerate() {
            let name = circuit.origins[node.origin as usize].clone();
            let level = node.op.operands().first().map_or(Level(0), |v| types[v.0 as usize].level);
            match &node.op {
                Op::Linear(plan) => {
                    let mut firsts = vec![0];
                    for source in 0..plan.sources.len() {
                        firsts.push(firsts[source] + plan.inputs(source));
                    }
                    let diagonals = plan.products.iter().map(|p| {
                        let steps =
                            [plan.babies[p.baby as usize].step.0, plan.giants[p.giant as usize].step.0];
                        (p.output, firsts[p.source as usize] + p.input, steps)
                    });
                    let support = support(diagonals, network.slots);
                    let mut extra_ns = 0;
                    if let Some(pairing) = &plan.pairing {
                        let switches = plan.switches();
                        extra_ns = cost.pairing(switches.halves as u64, switches.conjugated as u64, level);
                        turning.extend(pairing.half.key);
                    }
                    network.maps.push(Map { name, node: index, support, level, extra_ns });
                }
                Op::Rotate(_, keyed) if keyed.key.is_some() => {
                    network.turns.push(Turn { name, node: index, step: keyed.step.0, level, ciphertexts: 1 });
                }
                _ => {}
            }
        }
        let others = circuit.keys.iter().filter(|k| !matches!(k.kind, KeyKind::Rotation(_)));
        network.held = others.map(|k| k.level).collect();
        network.held.extend(turning.into_iter().map(|k| circuit.keys[k.0 as usize].level));
        Ok(network)
    }
}

/// Whether a sum's operands may be one plan with it: two maps that nothing else reads, at one level, in one layout, and
/// without folds or copies.
fn mergeable(arranged: &Arranged, id: NodeId) -> bool {
    let graph = &arranged.graph;
    let operands = graph.operands(id);
    let alone = |operand: &NodeId| {
        graph.consumers(*operand).len() == 1
            && graph.outputs.iter().all(|o| o.node != *operand)
            && arranged.levels.at(*operand) == arranged.levels.at(id)
            && choice_of(arranged, *operand).is_some_and(|c| c.kernel.turns().next().is_none())
    };
    let layouts: BTreeSet<_> =
        operands.iter().filter_map(|o| choice_of(arranged, *o)).map(|c| &c.kernel.output).collect();
    operands.iter().all(alone) && layouts.len() == 1
}

/// How packing computes a linear map.
fn choice_of(arranged: &Arranged, id: NodeId) -> Option<&LinearChoice> {
    match &arranged.packed.choices[id.0 as usize] {
        Choice::Linear(choice) => Some(choice),
        Choice::Keep => None,
    }
}

/// The diagonals of a map without folds, each by itself.
fn real_support(arranged: &Arranged, id: NodeId) -> Option<Support> {
    let (graph, choice) = (&arranged.graph, choice_of(arranged, id)?);
    let input = &arranged.packed.layouts[graph.operands(id)[0].0 as usize].layout;
    let Kind::Linear { operators, .. } = &graph.node(id).kind else { return None };
    let map = PlacedMap { operators, scale: 1.0, input, output: &choice.kernel.output, fold: &[] };
    Support::of(&map, &graph.tensors).ok()
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
