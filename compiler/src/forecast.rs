//! The cost meaning of a circuit: predicted time and memory, before anything is run.
//!
//! Relies on [`cost`](crate::cost) and on the levels that the op laws give. Promises: integers from the committed
//! profile; the same circuit has the same forecast everywhere.

use crate::cost::{CostModel, PlanCounts, Work};
use crate::error::CompileError;
use crate::rotation::rotated_pairs;
use cipherloom_ir::scheme::{KeyKind, KeySpec, Level, Parameters};
use cipherloom_ir::{Circuit, Forecast, LinearPlan, Op, Plain, ValueType, value_types};

/// Bytes of code, tables and buffers that every evaluation needs.
const FIXED_BYTES: u64 = 48 << 20;
/// Bytes of the seed that stands for uniform polynomials on disk and wire.
const SEED_BYTES: u64 = 32;

/// Predicted nanoseconds of every node, in order.
pub fn node_ns(circuit: &Circuit, cost: &CostModel) -> Result<Vec<u64>, CompileError> {
    let types = value_types(circuit)?;
    Ok(circuit.nodes.iter().map(|node| op_ns(&node.op, &types, cost)).collect())
}

/// Predicted nanoseconds of an operation; its operands name entries of `types`.
pub(crate) fn op_ns(op: &Op, types: &[ValueType], cost: &CostModel) -> u64 {
    let level = op.operands().first().map_or(Level(0), |v| types[v.0 as usize].level);
    match op {
        Op::Input { .. } | Op::DropLevel(..) | Op::Activation(..) => 0,
        Op::Add(..) | Op::Sub(..) | Op::Neg(_) => cost.ns(Work::Add, level),
        Op::AddPlain(..) => cost.ns(Work::AddPlain, level),
        Op::MulScalar(..) | Op::MulPlain(_, Plain::Constant(_)) => cost.ns(Work::MulScalar, level),
        Op::MulPlain(..) => cost.ns(Work::MulPlain, level),
        Op::Mul(..) => cost.ns(Work::Mul, level),
        Op::SumOfProducts(pairs) => pairs.len() as u64 * cost.ns(Work::Mul, level),
        Op::Relinearize(..) | Op::RelinearizeRescale(..) => cost.key_switch(level),
        Op::Rescale(_) => cost.rescale(level),
        Op::Adjust(_, to) => {
            let above = Level(to.0 + 1);
            cost.ns(Work::MulScalar, above) + cost.rescale(above)
        }
        Op::Rotate(_, step) if step.key.is_none() => 0,
        Op::Rotate(..) | Op::Conjugate(..) => cost.rotate(level),
        Op::Linear(plan) => cost.linear(&counts(plan), level, plan.hoisting),
    }
}

/// What a plan consists of.
fn counts(plan: &LinearPlan) -> PlanCounts {
    let (babies, giants) = rotated_pairs(plan);
    let mut hoisted: Vec<(u32, u32)> = babies.iter().map(|b| (b.0, b.1)).collect();
    hoisted.dedup();
    PlanCounts {
        hoisted: hoisted.len() as u64,
        babies: babies.len() as u64,
        products: plan.products.len() as u64,
        giants: giants.len() as u64,
        outputs: u64::from(plan.outputs),
    }
}

/// Precision that the trace predicts, for inputs encrypted under the secret key and under a public key.
#[derive(Clone, Copy, Debug)]
pub struct PrecisionBits {
    /// With the secret key.
    pub secret_key: f64,
    /// With a public key.
    pub public_key: f64,
}

/// The forecast of a circuit, with the precision that its trace predicts.
pub fn forecast(
    circuit: &Circuit,
    cost: &CostModel,
    precision: PrecisionBits,
) -> Result<Forecast, CompileError> {
    let types = value_types(circuit)?;
    let nanoseconds: u64 = circuit.nodes.iter().map(|node| op_ns(&node.op, &types, cost)).sum();
    let key_bytes: u64 = circuit.keys.iter().map(|k| cost.key_bytes(k.level)).sum();
    let mut plain_bytes = 0;
    for node in &circuit.nodes {
        if let Op::Linear(plan) = &node.op {
            let level = types[plan.sources[0].values[0].0 as usize].level;
            plain_bytes += plan.products.len() as u64 * cost.diagonal_bytes(level, plan.hoisting);
        }
    }
    let top = circuit.parameters.top();
    let ciphertexts: u64 =
        circuit.inputs.iter().map(|i| u64::from(circuit.layout(i.layout).ciphertexts)).sum();
    let widest =
        circuit.nodes.iter().map(|n| n.op.operands().len().max(n.results as usize)).max().unwrap_or(1);
    let live_bytes = (widest as u64 + 8) * cost.ciphertext_bytes(top);
    let weight_bytes: u64 = circuit.tensors.iter().map(|t| 4 * t.values.len() as u64).sum();
    let wire = Wire(&circuit.parameters);
    let outputs = circuit.outputs.iter().flat_map(|o| &o.values);
    let download_bytes = outputs.map(|v| wire.ciphertext_bytes(types[v.0 as usize].level)).sum();
    Ok(Forecast {
        seconds: nanoseconds as f64 / 1e9,
        memory_bytes: key_bytes + plain_bytes + live_bytes + weight_bytes + FIXED_BYTES,
        key_bytes: circuit.keys.iter().map(|k| wire.key_bytes(k)).sum(),
        upload_bytes: ciphertexts * wire.seeded_bytes(top),
        download_bytes,
        precision_bits: precision.secret_key,
        public_key_precision_bits: precision.public_key,
        profile: Some(cost.profile()),
    })
}

/// Sizes on disk and wire, without headers: a residue takes the whole bytes that its prime needs.
struct Wire<'a>(&'a Parameters);

impl Wire<'_> {
    fn poly_bytes(&self, primes: &[u64]) -> u64 {
        let residues: u64 =
            primes.iter().map(|q| u64::from((u64::BITS - q.leading_zeros()).div_ceil(8))).sum();
        residues << self.0.log_n
    }

    fn chain(&self, level: Level) -> &[u64] {
        &self.0.chain[..level.limbs()]
    }

    /// A ciphertext of two polynomials.
    fn ciphertext_bytes(&self, level: Level) -> u64 {
        2 * self.poly_bytes(self.chain(level))
    }

    /// A fresh ciphertext: one polynomial, and the seed of the other.
    fn seeded_bytes(&self, level: Level) -> u64 {
        SEED_BYTES + self.poly_bytes(self.chain(level))
    }

    /// An evaluation key: one polynomial per digit over the chain and P, and the seed of the others.
    fn key_bytes(&self, key: &KeySpec) -> u64 {
        let digits = (key.level.limbs() as u64).div_ceil(u64::from(key.gadget.digit_limbs));
        let special = &self.0.special[..key.gadget.special_limbs as usize];
        SEED_BYTES + digits * (self.poly_bytes(self.chain(key.level)) + self.poly_bytes(special))
    }
}

/// Rotations that a circuit applies, hoisted ones included, and the rotation keys it needs.
pub fn rotations(circuit: &Circuit) -> (u64, u64) {
    let count = |op: &Op| match op {
        Op::Rotate(..) | Op::Conjugate(..) => 1,
        Op::Linear(plan) => {
            let (babies, giants) = rotated_pairs(plan);
            (babies.len() + giants.len()) as u64
        }
        _ => 0,
    };
    let keys = circuit.keys.iter().filter(|k| matches!(k.kind, KeyKind::Rotation(_))).count();
    (circuit.nodes.iter().map(|n| count(&n.op)).sum(), keys as u64)
}
