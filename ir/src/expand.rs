//! The law of linear plans: a plan equals its expansion into rotations, plaintext products, sums and a rescale.
//!
//! Relies on a circuit whose op laws hold. Promises: the same outputs in every meaning, up to rounding and the
//! noise of mod-downs that a plan merges. Nothing but tests and explanations needs the expansion: the engine
//! executes plans in one sweep.

use crate::circuit::{Circuit, Node};
use crate::op::{KeyedStep, LinearPlan, Op, Plain, Step, ValueId};
use std::collections::BTreeMap;

/// The circuit with every linear plan replaced by simple ops; values are renumbered, keys stay.
pub fn expand_plans(circuit: &Circuit) -> Circuit {
    let mut writer = Writer { nodes: vec![], next: 0, origin: 0 };
    let mut renamed: Vec<ValueId> = vec![];
    for node in &circuit.nodes {
        writer.origin = node.origin;
        let mut op = node.op.clone();
        op.operands_mut().into_iter().for_each(|v| *v = renamed[v.0 as usize]);
        match op {
            Op::Linear(plan) => renamed.extend(plan.expand(&mut writer, circuit.slots() as u32)),
            simple => renamed.push(writer.push(simple)),
        }
    }
    let mut out = Circuit { nodes: writer.nodes, ..circuit.clone() };
    for value in out.outputs.iter_mut().flat_map(|o| &mut o.values) {
        *value = renamed[value.0 as usize];
    }
    out
}

struct Writer {
    nodes: Vec<Node>,
    next: u32,
    origin: u32,
}

impl Writer {
    fn push(&mut self, op: Op) -> ValueId {
        let first = ValueId(self.next);
        self.nodes.push(Node { op, first, results: 1, origin: self.origin });
        self.next += 1;
        first
    }

    fn add(&mut self, sum: Option<ValueId>, term: ValueId) -> Option<ValueId> {
        Some(sum.map_or(term, |sum| self.push(Op::Add(sum, term))))
    }
}

impl LinearPlan {
    /// Writes `out_o = Σ_g rot_g( Σ diagonal ⊙ rot_b(in_i) )` out, one value per output; paired diagonals one by one, the
    /// second of a pair on its input rotated by the pairing's step.
    fn expand(&self, writer: &mut Writer, slots: u32) -> Vec<ValueId> {
        let mut rotated: BTreeMap<(u32, u32, u32, Step), ValueId> = BTreeMap::new();
        let mut sums: BTreeMap<(u32, u32), Option<ValueId>> = BTreeMap::new();
        for product in &self.products {
            let (source, baby) = (&self.sources[product.source as usize], self.babies[product.baby as usize]);
            let giant = self.giants[product.giant as usize].step;
            let halves = self.diagonals(product, slots).into_iter().enumerate();
            for (half, (input, step)) in halves.filter_map(|(k, h)| Some((k, h?))) {
                let half = match self.pairing {
                    Some(pairing) if half == 1 => pairing.half,
                    _ => KeyedStep { step: Step(0), key: None },
                };
                let place = (product.source, input, product.baby, half.step);
                let turned = *rotated.entry(place).or_insert_with(|| {
                    let turns = [half, baby].into_iter().filter(|s| s.step.0 != 0);
                    turns.fold(source.values[input as usize], |v, by| writer.push(Op::Rotate(v, by)))
                });
                let diagonal =
                    Plain::Diagonal { map: source.map, output: product.output, input, step, giant };
                let term = writer.push(Op::MulPlain(turned, diagonal));
                let sum = sums.entry((product.output, product.giant)).or_default();
                *sum = writer.add(*sum, term);
            }
        }
        (0..self.outputs).map(|output| self.gather(writer, &sums, output)).collect()
    }

    /// Giant steps, their sum, and the rescale of one output.
    fn gather(
        &self,
        writer: &mut Writer,
        sums: &BTreeMap<(u32, u32), Option<ValueId>>,
        output: u32,
    ) -> ValueId {
        let mut total = None;
        for ((_, giant), sum) in sums.range((output, 0)..(output + 1, 0)) {
            let Some(sum) = *sum else { continue };
            let giant = self.giants[*giant as usize];
            let turned = if giant.step.0 == 0 { sum } else { writer.push(Op::Rotate(sum, giant)) };
            total = writer.add(total, turned);
        }
        // The plan law gives every output a product; without one the output would be zero.
        let total = total.unwrap_or_else(|| writer.push(Op::MulScalar(self.sources[0].values[0], 0.0)));
        if self.rescale { writer.push(Op::Rescale(total)) } else { total }
    }
}
