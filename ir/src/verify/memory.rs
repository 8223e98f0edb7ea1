//! Law 14, memory: what the values of a circuit take while it runs in order.

use super::bounds::MAX_LIVE_BYTES;
use super::error::{LawError, at_most};
use super::value::{Degree, ValueType};
use crate::circuit::Circuit;
use crate::op::{Op, ValueId};
use crate::scheme::BootstrapPlan;

/// Bytes of one ciphertext: two or three polynomials of one word per coefficient and prime.
fn value_bytes(circuit: &Circuit, known: &ValueType) -> u64 {
    let polynomials = match known.degree {
        Degree::One => 2,
        Degree::Two => 3,
    };
    polynomials * known.level.limbs() as u64 * circuit.parameters.n() as u64 * 8
}

/// Largest number of ciphertext bytes alive at once: a value lives from its node to its last use, outputs to the
/// end, what a bootstrap makes while it runs. The circuit has obeyed all other laws; `plan` is its bootstrapping's.
pub(super) fn check_peak(
    circuit: &Circuit,
    types: &[ValueType],
    plan: Option<&BootstrapPlan>,
) -> Result<u64, LawError> {
    let raised = plan.map_or(0, BootstrapPlan::working_bytes);
    let outputs = || circuit.outputs.iter().flat_map(|o| o.values.iter().copied());
    let mut last_use: Vec<Option<usize>> = vec![None; types.len()];
    for (index, node) in circuit.nodes.iter().enumerate() {
        node.op.operands().iter().for_each(|v| last_use[v.0 as usize] = Some(index));
    }
    outputs().for_each(|v| last_use[v.0 as usize] = Some(circuit.nodes.len()));
    let bytes = |v: ValueId| value_bytes(circuit, &types[v.0 as usize]);
    let (mut alive, mut peak) = (0u64, 0u64);
    for (index, node) in circuit.nodes.iter().enumerate() {
        let results = (0..node.results).map(|k| ValueId(node.first.0 + k));
        alive = results.clone().map(bytes).fold(alive, u64::saturating_add);
        let inside = if matches!(node.op, Op::Bootstrap(_)) { raised } else { 0 };
        peak = peak.max(alive.saturating_add(inside));
        let mut dying = node.op.operands();
        dying.sort_unstable();
        dying.dedup();
        dying.retain(|v| last_use[v.0 as usize] == Some(index));
        dying.extend(results.filter(|v| last_use[v.0 as usize].is_none()));
        alive = dying.into_iter().map(bytes).fold(alive, u64::saturating_sub);
    }
    at_most("bytes of ciphertexts alive at once", peak, MAX_LIVE_BYTES)?;
    Ok(peak)
}
