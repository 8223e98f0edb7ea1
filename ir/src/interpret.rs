//! One trait gives a circuit its meanings; see the crate documentation for the list.

mod exact;
mod gather;
mod magnitudes;
mod noisy;
mod norms;
mod trace;
mod worst_case;

pub use exact::{Exact, ExactError, ExactRun, SlotVector};
pub use magnitudes::Magnitudes;
pub use noisy::{Draw, Noisy, NoisyError, NoisyRun};
pub use norms::MapNorms;
pub use trace::{Encryption, LARGEST_ERROR_DEVIATIONS, Trace, TraceError, Traced};
pub use worst_case::{OutputBound, WorstError, output_bounds};

use crate::circuit::{Circuit, Node};
use crate::op::{Op, Plain, ValueId};

/// A meaning of circuits: what one node yields from its operands.
pub trait Interpretation {
    /// Meaning of one ciphertext.
    type Value;
    /// Why a node has no meaning.
    type Error;
    /// Results of `node` (as many as `node.results`) from its operands, in the order of [`Op::operands`].
    fn apply(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&Self::Value],
    ) -> Result<Vec<Self::Value>, Self::Error>;
}

/// Runs a meaning over a whole circuit in order, one value alive from definition to last use, and returns the
/// output values (outputs in order, their ciphertexts in order).
pub fn interpret<I: Interpretation>(circuit: &Circuit, meaning: &I) -> Result<Vec<I::Value>, I::Error>
where
    I::Value: Clone,
{
    let mut uses = vec![0u32; circuit.values()];
    for node in &circuit.nodes {
        node.op.operands().iter().for_each(|v| uses[v.0 as usize] += 1);
    }
    let wanted = || circuit.outputs.iter().flat_map(|o| &o.values);
    wanted().for_each(|v| uses[v.0 as usize] += 1);
    let mut values: Vec<Option<I::Value>> = (0..circuit.values()).map(|_| None).collect();
    for node in &circuit.nodes {
        let operands = node.op.operands();
        let borrowed: Vec<&I::Value> = operands.iter().map(|v| defined(&values, *v)).collect();
        let results = meaning.apply(circuit, node, &borrowed)?;
        for v in &operands {
            uses[v.0 as usize] -= 1;
            if uses[v.0 as usize] == 0 {
                values[v.0 as usize] = None;
            }
        }
        for (k, result) in results.into_iter().enumerate() {
            let id = node.first.0 as usize + k;
            if uses[id] > 0 {
                values[id] = Some(result);
            }
        }
    }
    Ok(wanted().map(|v| defined(&values, *v).clone()).collect())
}

fn defined<V>(values: &[Option<V>], id: ValueId) -> &V {
    values[id.0 as usize]
        .as_ref()
        .expect("circuit order: a value is defined before its uses and kept until the last")
}

impl Op {
    /// Values that the operation reads, in order, repeated where it reads one twice.
    pub fn operands(&self) -> Vec<ValueId> {
        match self {
            Op::Input { .. } => vec![],
            Op::Add(a, b) | Op::Sub(a, b) | Op::Mul(a, b) => vec![*a, *b],
            Op::Neg(a)
            | Op::AddPlain(a, _)
            | Op::MulPlain(a, _)
            | Op::MulScalar(a, _)
            | Op::Relinearize(a, _)
            | Op::Rescale(a)
            | Op::RelinearizeRescale(a, _)
            | Op::DropLevel(a, _)
            | Op::Adjust(a, _)
            | Op::Rotate(a, _)
            | Op::Conjugate(a, _)
            | Op::Bootstrap(a)
            | Op::Activation(a, _) => vec![*a],
            Op::SumOfProducts(pairs) => pairs.iter().flat_map(|(a, b)| [*a, *b]).collect(),
            Op::Linear(plan) => plan.sources.iter().flat_map(|s| s.values.iter().copied()).collect(),
        }
    }

    /// The same values, to be renamed.
    pub fn operands_mut(&mut self) -> Vec<&mut ValueId> {
        match self {
            Op::Input { .. } => vec![],
            Op::Add(a, b) | Op::Sub(a, b) | Op::Mul(a, b) => vec![a, b],
            Op::Neg(a)
            | Op::AddPlain(a, _)
            | Op::MulPlain(a, _)
            | Op::MulScalar(a, _)
            | Op::Relinearize(a, _)
            | Op::Rescale(a)
            | Op::RelinearizeRescale(a, _)
            | Op::DropLevel(a, _)
            | Op::Adjust(a, _)
            | Op::Rotate(a, _)
            | Op::Conjugate(a, _)
            | Op::Bootstrap(a)
            | Op::Activation(a, _) => vec![a],
            Op::SumOfProducts(pairs) => pairs.iter_mut().flat_map(|(a, b)| [a, b]).collect(),
            Op::Linear(plan) => plan.sources.iter_mut().flat_map(|s| s.values.iter_mut()).collect(),
        }
    }

    /// The plaintext that the operation holds, if any.
    pub fn plain(&self) -> Option<&Plain> {
        match self {
            Op::AddPlain(_, p) | Op::MulPlain(_, p) => Some(p),
            _ => None,
        }
    }
}
