//! How intervals and errors go through the weights of a linear plan.
//!
//! With paired diagonals the result is the real part of complex products, so that the imaginary parts of errors count as
//! well, by the weights that stand at their places in [`Gather::crossed`].
//!
//! Relies on materialised diagonals, which are dropped with the rows. Promises: sums in the order of the rows' terms.

use super::bounded::Bounded;
use super::{Both, RADIUS, sq};
use crate::circuit::Circuit;
use crate::interpret::TraceError;
use crate::interpret::gather::Gather;
use crate::map::{Diagonals, MapError, MapId};
use crate::op::{LinearPlan, ValueId};
use crate::verify::ValueType;
use std::collections::BTreeMap;

/// The rows of a plan, and what random errors go through them.
pub(super) struct Rows {
    gather: Gather,
    /// Where the imaginary parts of errors get in; only with pairs.
    crossed: Option<Gather>,
    slots: usize,
    /// Operand, root (numbered), deviation per unit of the row's Euclidean norm over that operand.
    random: Vec<(usize, usize, Both)>,
    roots: usize,
}

impl Rows {
    pub(super) fn of(
        circuit: &Circuit,
        plan: &LinearPlan,
        (operands, names): (&[&Bounded], &[ValueId]),
        baby: f64,
    ) -> Result<Rows, TraceError> {
        let mut maps: BTreeMap<MapId, Diagonals> = BTreeMap::new();
        for source in &plan.sources {
            let map = circuit.maps.get(source.map.0 as usize).ok_or(MapError::UnknownMap(source.map.0))?;
            maps.insert(source.map, Diagonals::materialise(map, &circuit.layouts, &circuit.tensors)?);
        }
        let gather = Gather::of(plan, &maps, circuit.slots());
        let crossed = plan.pairing.map(|_| Gather::crossed(plan, &maps, circuit.slots()));
        // A baby rotation of a value is one error for all sources that name the value.
        let mut numbers: BTreeMap<(bool, ValueId), usize> = BTreeMap::new();
        let mut random = vec![];
        for (operand, (x, id)) in operands.iter().zip(names).enumerate() {
            // Rotated copies of a root may meet in one slot of a row: counted as if all did.
            let through = x.random.iter().map(|r| {
                let count = r.offsets.len() as f64;
                ((false, r.root), r.deviation.map(|d| d * count))
            });
            for (key, deviation) in through.chain([((true, *id), [baby; 2])]) {
                let next = numbers.len();
                random.push((operand, *numbers.entry(key).or_insert(next), deviation));
            }
        }
        Ok(Rows { gather, crossed, slots: circuit.slots(), random, roots: numbers.len() })
    }

    /// Interval and error of one output, without what the plan itself adds.
    pub(super) fn apply(&self, output: usize, operands: &[&Bounded], kind: &ValueType) -> Bounded {
        let rows = &self.gather.outputs[output];
        let mut out = Bounded {
            kind: kind.clone(),
            low: vec![0.0; self.slots],
            high: vec![0.0; self.slots],
            settled: [vec![0.0; self.slots], vec![0.0; self.slots]],
            random: vec![],
        };
        let mut squares = vec![0.0; operands.len()];
        let mut roots = vec![[0.0; 2]; self.roots];
        for s in 0..self.slots {
            squares.fill(0.0);
            roots.fill([0.0; 2]);
            for (at, w) in rows.row(s) {
                let (operand, slot) = (at / self.slots, at % self.slots);
                let x = operands[operand];
                let (low, high) =
                    if w < 0.0 { (x.high[slot], x.low[slot]) } else { (x.low[slot], x.high[slot]) };
                out.low[s] += w * low;
                out.high[s] += w * high;
                for way in [0, 1] {
                    out.settled[way][s] += w.abs() * x.settled[way][slot];
                }
                squares[operand] += w * w;
            }
            if let Some(crossed) = &self.crossed {
                for (at, w) in crossed.outputs[output].row(s) {
                    let (operand, slot) = (at / self.slots, at % self.slots);
                    for way in [0, 1] {
                        out.settled[way][s] += w.abs() * operands[operand].settled[way][slot];
                    }
                    // A slot may be the real half of one pair and the imaginary half of another: (a + b)² ≤ 2a² + 2b².
                    squares[operand] += 2.0 * w * w;
                }
                // The result is real: one deviation in place of the two that the radius counts.
                squares.iter_mut().for_each(|sum| *sum /= 2.0);
            }
            for (operand, root, deviation) in &self.random {
                let norm = squares[*operand].sqrt();
                roots[*root].iter_mut().zip(deviation).for_each(|(sum, d)| *sum += d * norm);
            }
            for way in [0, 1] {
                out.settled[way][s] += RADIUS * roots.iter().map(|r| sq(r[way])).sum::<f64>().sqrt();
            }
        }
        out
    }
}
