//! What the page shows of a circuit: layers in the order of evaluation, their nodes, and what each costs.
//!
//! Relies on a circuit that verifies, at least as a draft. Promises: a layer only reads what layers before it leave; the
//! costs of the nodes are those that the forecast adds up.

use cipherloom_compiler::cost::{CostModel, Profile};
use cipherloom_compiler::{Account, CompileError, KeyPoint, account, key_curve};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{
    Activation, Circuit, Degree, Layout, LinearMap, Node, Op, Operator, ValueType, value_types,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Most maps of a layer that are described.
const MAPS_MAX: usize = 4;

/// A circuit, ready to be shown.
pub(super) struct Facts<'a> {
    pub(super) circuit: &'a Circuit,
    pub(super) layers: Vec<Layer<'a>>,
    pub(super) account: Account,
    /// Keys against time; the circuit's own point is among them.
    pub(super) curve: Vec<KeyPoint>,
    /// Bytes of each key in memory.
    pub(super) key_bytes: Vec<u64>,
    types: Vec<ValueType>,
}

/// Nodes in a row that belong to one layer of the model.
pub(super) struct Layer<'a> {
    /// ONNX name.
    pub(super) name: &'a str,
    /// Its nodes.
    pub(super) nodes: Range<usize>,
    /// Earlier layers whose values it reads.
    pub(super) reads: BTreeSet<usize>,
    /// What it computes, in words.
    pub(super) what: String,
    /// Lowest level of what it reads of other layers, and of its results.
    pub(super) levels: [Level; 2],
    /// Where its results stand, if a linear map or the client put them there.
    pub(super) layout: Option<&'a Layout>,
    /// Predicted time.
    pub(super) ns: u64,
    /// Applications of Galois keys.
    pub(super) rotations: usize,
    /// Diagonal products.
    pub(super) diagonals: usize,
    /// Prepared plaintexts.
    pub(super) plaintext_bytes: u64,
}

impl<'a> Facts<'a> {
    pub(super) fn of(circuit: &'a Circuit, profile: &Profile) -> Result<Facts<'a>, CompileError> {
        let cost = CostModel::of_circuit(profile, circuit);
        let account = account(circuit, &cost)?;
        let curve = key_curve(circuit, profile)?;
        let key_bytes = circuit.keys.iter().map(|k| cost.key_bytes(k.level)).collect();
        let types = value_types(circuit)?;
        let mut facts = Facts { circuit, layers: vec![], account, curve, key_bytes, types };
        facts.layers = facts.layers();
        Ok(facts)
    }

    /// Predicted time of the circuit.
    pub(super) fn ns(&self) -> u64 {
        self.account.nanoseconds()
    }

    /// The circuit's levels.
    pub(super) fn top(&self) -> Level {
        self.circuit.parameters.top()
    }

    /// Level and degree of a node's results.
    pub(super) fn result(&self, node: &Node) -> (Level, Degree) {
        let kind = &self.types[node.first.0 as usize];
        (kind.level, kind.degree)
    }

    /// Level of what a node reads; the input is encrypted at its own.
    pub(super) fn operand_level(&self, node: &Node) -> Level {
        let lowest = node.op.operands().iter().map(|v| self.types[v.0 as usize].level).min();
        lowest.unwrap_or(self.result(node).0)
    }

    fn layers(&self) -> Vec<Layer<'a>> {
        let circuit = self.circuit;
        let mut layers: Vec<Layer<'a>> = Vec::new();
        let mut made_by: Vec<usize> = vec![usize::MAX; circuit.values()];
        let mut layouts: Vec<Option<&'a Layout>> = vec![None; circuit.values()];
        let mut start = 0;
        for run in circuit.nodes.chunk_by(|a, b| a.origin == b.origin) {
            let (index, nodes) = (layers.len(), start..start + run.len());
            start = nodes.end;
            let (mut reads, mut levels) = (BTreeSet::new(), [self.top(); 2]);
            for node in run {
                let operands = node.op.operands();
                let others = operands.iter().map(|v| v.0 as usize).filter(|v| made_by[*v] != index);
                for value in others {
                    reads.insert(made_by[value]);
                    levels[0] = levels[0].min(self.types[value].level);
                }
                levels[1] = levels[1].min(self.result(node).0);
                let layout = match &node.op {
                    Op::Input { input, .. } => Some(circuit.layout(circuit.inputs[*input as usize].layout)),
                    Op::Linear(plan) => Some(circuit.layout(circuit.map(plan.sources[0].map).output)),
                    _ => operands.first().and_then(|v| layouts[v.0 as usize]),
                };
                for value in node.first.0 as usize..(node.first.0 + node.results) as usize {
                    (made_by[value], layouts[value]) = (index, layout);
                }
            }
            let last = run.last().map_or(0, |n| n.first.0 as usize);
            let costs = &self.account.nodes[nodes.clone()];
            layers.push(Layer {
                name: circuit.origins.get(run[0].origin as usize).map_or("", String::as_str),
                reads,
                what: what(circuit, run),
                levels,
                layout: layouts.get(last).copied().flatten(),
                ns: costs.iter().map(|c| c.ns).sum(),
                rotations: run.iter().map(|n| n.op.rotations()).sum(),
                diagonals: run.iter().map(|n| n.op.diagonals()).sum(),
                plaintext_bytes: costs.iter().map(|c| c.plaintext_bytes).sum(),
                nodes,
            });
        }
        layers
    }
}

/// What some nodes compute: their linear maps, or else their operations.
fn what(circuit: &Circuit, run: &[Node]) -> String {
    let mut maps: Vec<String> = Vec::new();
    let mut operations: BTreeMap<String, usize> = BTreeMap::new();
    for node in run {
        let name = match &node.op {
            Op::Activation(_, function) => function_name(function),
            op => op.name().to_owned(),
        };
        *operations.entry(name).or_default() += 1;
        if let Op::Linear(plan) = &node.op {
            let texts = plan.sources.iter().map(|s| map_text(circuit, circuit.map(s.map)));
            maps.extend(texts.take(MAPS_MAX));
            maps.dedup();
            maps.truncate(MAPS_MAX);
        }
    }
    if !maps.is_empty() {
        return maps.join(" + ");
    }
    let list = operations.iter().map(|(name, n)| match n {
        1 => name.clone(),
        n => format!("{n} {name}"),
    });
    list.collect::<Vec<_>>().join(", ")
}

/// Name of an exact function, without its constants.
fn function_name(function: &Activation) -> String {
    format!("{function:?}").split('(').next().unwrap_or_default().to_lowercase()
}

fn map_text(circuit: &Circuit, map: &LinearMap) -> String {
    match map.operators.as_slice() {
        [] => "repack".into(),
        operators => operators.iter().map(|o| operator_text(circuit, o)).collect::<Vec<_>>().join(", then "),
    }
}

fn operator_text(circuit: &Circuit, operator: &Operator) -> String {
    let sizes = |sizes: [u32; 3], flat: bool| match sizes {
        [_, y, x] if flat => format!("{y}×{x}"),
        [z, y, x] => format!("{z}×{y}×{x}"),
    };
    let strided = |stride: [u32; 3], flat: bool| match stride {
        [1, 1, 1] => String::new(),
        [z, y, x] if y == x && (flat || z == y) => format!(", stride {y}"),
        other => format!(", stride {}", sizes(other, flat)),
    };
    match operator {
        Operator::Convolution { input, window, groups, weight } => {
            let maps = circuit.tensor(*weight).shape.first().copied().unwrap_or(0);
            let groups = if *groups == 1 { String::new() } else { format!(", {groups} groups") };
            let flat = window.is_flat();
            let (kernel, stride) = (sizes(window.kernel, flat), strided(window.stride, flat));
            format!("convolution {}→{maps}, {kernel}{stride}{groups}", input[0])
        }
        Operator::AveragePool { window, .. } => {
            let flat = window.is_flat();
            format!("average pool {}{}", sizes(window.kernel, flat), strided(window.stride, flat))
        }
        Operator::Dense { weight } => match circuit.tensor(*weight).shape.as_slice() {
            [rows, columns] => format!("dense {columns}→{rows}"),
            _ => "dense".into(),
        },
        Operator::View { .. } => "view".into(),
        _ => "scaling".into(),
    }
}
