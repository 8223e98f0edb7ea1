//! Keys against time, as `inspect` shows it: what a circuit would take with other rotations.
//!
//! Relies on a circuit alone: plans name their diagonals. Layouts, levels and merged sums stay as they are in it. Promises:
//! points by ascending memory, the circuit's own among them; none of the others beats another in both memory and time.

use super::choose::Cost;
use super::frontier::Sweep;
use super::network::Network;
use super::{Saturated, rules};
use crate::cost::{CostModel, Profile};
use crate::error::CompileError;
use crate::forecast::node_ns;
use cipherloom_ir::{Circuit, Op};

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyPoint {
    /// Memory of all evaluation keys.
    pub key_bytes: u64,
    /// Predicted time of the whole circuit on one thread.
    pub seconds: f64,
    /// Whether this is the circuit as it is.
    pub is_circuit: bool,
}

/// Keys against time for a circuit, its own point marked; nothing where it bootstraps, since the plan's keys are most of them.
pub fn key_curve(circuit: &Circuit, profile: &Profile) -> Result<Vec<KeyPoint>, CompileError> {
    if circuit.keys.is_empty() || circuit.bootstrap.is_some() {
        return Ok(vec![]);
    }
    let cost = CostModel::of_circuit(profile, circuit);
    let times = node_ns(circuit, &cost)?;
    let rotates = |op: &Op| matches!(op, Op::Linear(_) | Op::Rotate(..));
    let others: u64 =
        circuit.nodes.iter().zip(&times).filter(|(n, _)| !rotates(&n.op)).map(|(_, ns)| ns).sum();
    let own = Cost {
        key_bytes: circuit.keys.iter().map(|k| cost.key_bytes(k.level)).sum(),
        time_ns: times.iter().sum::<u64>() - others,
    };
    let points =
        Saturated::new(Network::of_circuit(circuit, &cost)?, &cost, &rules::rules())?.frontier(Sweep::Whole);
    let mut costs: Vec<Cost> = points.iter().map(|p| p.cost).filter(|c| *c != own).collect();
    costs.push(own);
    costs.sort();
    let point = |c: Cost| KeyPoint {
        key_bytes: c.key_bytes,
        seconds: (others + c.time_ns) as f64 / 1e9,
        is_circuit: c == own,
    };
    Ok(costs.into_iter().map(point).collect())
}
