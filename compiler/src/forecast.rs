//! The cost meaning of a circuit: predicted time and memory, before anything is run.
//!
//! Relies on [`cost`](crate::cost) and on the levels that the op laws give. Promises: integers from the committed
//! profile; the same circuit has the same forecast everywhere.

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::rotation::rotated_pairs;
use cipherloom_ir::scheme::{KeyKind, Level};
use cipherloom_ir::{Circuit, Forecast, Hoisting, LinearPlan, Op, ValueType, value_types};

/// Bytes of code, tables and buffers that every evaluation needs.
const FIXED_BYTES: u64 = 48 << 20;

/// Predicted nanoseconds of every node, in order.
pub fn node_ns(circuit: &Circuit, cost: &CostModel) -> Result<Vec<u64>, CompileError> {
    let types = value_types(circuit)?;
    Ok(circuit.nodes.iter().map(|node| op_ns(&node.op, &types, cost)).collect())
}

fn op_ns(op: &Op, types: &[ValueType], cost: &CostModel) -> u64 {
    let level = op.operands().first().map_or(Level(0), |v| types[v.0 as usize].level);
    match op {
        Op::Input { .. } | Op::DropLevel(..) | Op::Activation(..) => 0,
        Op::Add(..) | Op::Sub(..) | Op::Neg(_) | Op::AddPlain(..) | Op::MulScalar(..) => cost.pass(level),
        Op::MulPlain(..) => cost.reduced_product(level),
        Op::Mul(..) => 2 * cost.reduced_product(level),
        Op::SumOfProducts(pairs) => 2 * pairs.len() as u64 * cost.reduced_product(level),
        Op::Relinearize(..) | Op::RelinearizeRescale(..) => cost.key_switch(level),
        Op::Rescale(_) | Op::Adjust(..) => cost.rescale(level),
        Op::Rotate(..) | Op::Conjugate(..) => cost.rotate(level),
        Op::Linear(plan) => plan_ns(plan, level, cost),
    }
}

fn plan_ns(plan: &LinearPlan, level: Level, cost: &CostModel) -> u64 {
    let (babies, giants) = rotated_pairs(plan);
    let mut hoisted: Vec<(u32, u32)> = babies.iter().map(|b| (b.0, b.1)).collect();
    hoisted.dedup();
    let (babies, giants) = (babies.len() as u64, giants.len() as u64);
    let (products, outputs) = (plan.products.len() as u64, u64::from(plan.outputs));
    let work = match plan.hoisting {
        Hoisting::Double => {
            babies * cost.extended_baby(level)
                + products * cost.extended_product(level)
                + giants * cost.extended_giant(level)
                + outputs * cost.mod_down(level, 2)
        }
        Hoisting::Single => {
            babies * cost.reduced_baby(level)
                + products * cost.reduced_product(level)
                + giants * cost.rotate(level)
                + outputs * cost.rescale(level)
        }
    };
    hoisted.len() as u64 * cost.decompose(level) + work
}

/// The forecast of a circuit, with the precision that its trace predicts.
pub fn forecast(circuit: &Circuit, cost: &CostModel, precision_bits: f64) -> Result<Forecast, CompileError> {
    let types = value_types(circuit)?;
    let nanoseconds: u64 = circuit.nodes.iter().map(|node| op_ns(&node.op, &types, cost)).sum();
    let key_bytes: u64 = circuit.keys.iter().map(|k| cost.key_bytes(k.level)).sum();
    let mut plain_bytes = 0;
    for node in &circuit.nodes {
        if let Op::Linear(plan) = &node.op {
            let level = types[plan.sources[0].values[0].0 as usize].level;
            plain_bytes += plan.products.len() as u64 * cost.diagonal_bytes(level);
        }
    }
    let top = circuit.parameters.top();
    let ciphertexts: u64 =
        circuit.inputs.iter().map(|i| u64::from(circuit.layout(i.layout).ciphertexts)).sum();
    let widest =
        circuit.nodes.iter().map(|n| n.op.operands().len().max(n.results as usize)).max().unwrap_or(1);
    let live_bytes = (widest as u64 + 8) * cost.ciphertext_bytes(top);
    let weight_bytes: u64 = circuit.tensors.iter().map(|t| 4 * t.values.len() as u64).sum();
    let download_bytes = circuit
        .outputs
        .iter()
        .flat_map(|o| &o.values)
        .map(|v| cost.ciphertext_bytes(types[v.0 as usize].level))
        .sum();
    Ok(Forecast {
        seconds: nanoseconds as f64 / 1e9,
        memory_bytes: key_bytes + plain_bytes + live_bytes + weight_bytes + FIXED_BYTES,
        // The uniform halves are seeds on disk and wire.
        key_bytes: key_bytes / 2,
        upload_bytes: ciphertexts * cost.ciphertext_bytes(top) / 2,
        download_bytes,
        precision_bits,
    })
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
