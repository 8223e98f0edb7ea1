//! Where an evaluation keeps its prepared plaintexts under a memory budget: a rule that the runtime follows and the forecast
//! predicts.
//!
//! In node order, plaintexts are made compact (one word per coefficient) as far as the budget goes; what is left of it
//! then turns them into kept ones, in evaluation form. What has no room is encoded at every use.

use crate::op::{Hoisting, LinearPlan, Op, Plain};
use crate::{Circuit, Node, Verified};

/// Memory for prepared plaintexts unless the caller says otherwise, bytes.
pub const PLAINTEXT_BYTES: u64 = 3 << 29;

/// Where a plaintext waits between uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In evaluation form.
    Kept,
    /// As one word per coefficient.
    Compact,
    /// Nowhere: it is encoded at every use.
    Described,
}

/// What is left of a budget, bytes.
#[derive(Clone, Debug)]
pub struct PlaintextBudget {
    compact: u64,
    keep: u64,
    word: u64,
}

impl PlaintextBudget {
    /// The budget of a circuit.
    pub fn new(circuit: &Circuit, bytes: u64) -> PlaintextBudget {
        let word = 8 * circuit.parameters.n() as u64;
        let all = circuit.nodes.iter().map(|node| node.plaintexts() as u64).sum::<u64>() * word;
        let compact = all.min(bytes);
        PlaintextBudget { compact, keep: bytes - compact, word }
    }

    /// The place of the next plaintext, which takes so many limbs in evaluation form.
    pub fn place(&mut self, limbs: usize) -> Place {
        if self.compact < self.word {
            return Place::Described;
        }
        self.compact -= self.word;
        let more = (limbs as u64 - 1) * self.word;
        if self.keep < more {
            return Place::Compact;
        }
        self.keep -= more;
        Place::Kept
    }
}

/// Bytes of a circuit's prepared plaintexts under this budget.
pub fn prepared_plaintext_bytes(circuit: &Verified, budget_bytes: u64) -> u64 {
    let mut budget = PlaintextBudget::new(circuit, budget_bytes);
    let word = budget.word;
    let of_node = |node: &Node| {
        let level = node.op.operands().first().map_or(0, |v| circuit.value_type(*v).level.limbs());
        let special = match &node.op {
            Op::Linear(plan) => plan.special_limbs(circuit) as usize,
            _ => 0,
        };
        let limbs = level + special;
        let places = (0..node.plaintexts()).map(|_| match budget.place(limbs) {
            Place::Kept => limbs as u64 * word,
            Place::Compact => word,
            Place::Described => 0,
        });
        places.sum::<u64>()
    };
    circuit.nodes.iter().map(of_node).sum()
}

impl Node {
    /// Plaintexts that its evaluation multiplies or adds. Constant factors are scalars, not plaintexts.
    pub fn plaintexts(&self) -> usize {
        match &self.op {
            Op::MulPlain(_, Plain::Constant(_)) => 0,
            Op::AddPlain(..) | Op::MulPlain(..) => 1,
            Op::Linear(plan) => plan.products.len(),
            _ => 0,
        }
    }
}

impl LinearPlan {
    /// Special primes that its diagonals carry.
    pub fn special_limbs(&self, circuit: &Circuit) -> u32 {
        if self.hoisting == Hoisting::Single {
            return 0;
        }
        let key = self.babies.iter().chain(&self.giants).find_map(|step| step.key);
        key.and_then(|key| circuit.keys.get(key.0 as usize)).map_or(0, |key| key.gadget.special_limbs)
    }
}
