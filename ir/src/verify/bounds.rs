//! Law 1, bounds: no file can ask for more work or memory than these constants allow.
//!
//! Relies on nothing; runs first. Promises: after it, every size that a later law allocates or loops by is small.

use super::error::{LawError, at_least, at_most};
use super::{Form, Place, Report};
use crate::circuit::Circuit;
use crate::layout::Layout;
use crate::op::Op;
use crate::scheme::Parameters;
use std::collections::BTreeSet;

/// Nodes of a circuit.
pub const MAX_NODES: u64 = 1 << 20;
/// Values of a circuit.
pub const MAX_VALUES: u64 = 1 << 21;
/// Operands of all nodes together.
pub const MAX_OPERANDS: u64 = 1 << 22;
/// Steps of all plans together.
pub const MAX_STEPS: u64 = 1 << 20;
/// Slots that one plan reads, of all its operands: gathered rows number them in 32 bits.
pub const MAX_PLAN_SLOTS: u64 = u32::MAX as u64;
/// Diagonal products of all plans together.
pub const MAX_DIAGONALS: u64 = 1 << 22;
/// Weights of all tensors together.
pub const MAX_WEIGHTS: u64 = 1 << 28;
/// Entries of each table: tensors, layouts, maps, origins, certificate.
pub const MAX_TABLE: u64 = 1 << 16;
/// Evaluation keys.
pub const MAX_KEYS: u64 = 1 << 12;
/// Inputs, and outputs.
pub const MAX_PORTS: u64 = 256;
/// Slots of all layouts together, over all of their ciphertexts.
pub const MAX_LAYOUT_SLOTS_TOTAL: u64 = 1 << 30;
/// Bytes of ciphertexts alive at once; whoever runs a circuit holds its own memory against
/// [`Verified::peak_value_bytes`](super::Verified::peak_value_bytes).
pub const MAX_LIVE_BYTES: u64 = 1 << 40;
/// Dimensions of a tensor or layout.
pub const MAX_RANK: u64 = 8;
/// Digits of one axis, of the replicas or of a fold.
pub const MAX_DIGITS: u64 = 32;
/// Operators of one map.
pub const MAX_OPERATORS: u64 = 64;
/// Bytes of a name.
pub const MAX_NAME_BYTES: u64 = 4096;
/// Labels of an output.
pub const MAX_LABELS: u64 = 1 << 20;
/// Steps left to the client, per output.
pub const MAX_CLIENT_STEPS: u64 = 2;
/// Ciphertext primes, those of mod-raise included.
pub const MAX_CHAIN: u64 = 64;
/// The same of a draft, which has as many as the network has levels.
pub const MAX_DRAFT_CHAIN: u64 = 1 << 12;
/// Special primes.
pub const MAX_SPECIAL: u64 = 32;

/// Sizes of tables and lists.
pub(super) fn check(circuit: &Circuit, form: Form, report: &mut Report) {
    report.check(Place::Circuit, || tables(circuit, form));
    report.check(Place::Circuit, || names(circuit));
    report.check(Place::Circuit, || work(circuit));
    report.check(Place::Circuit, || weights(circuit));
    for (k, entry) in circuit.layouts.iter().enumerate() {
        report.check(Place::Layout(k), || layout(entry));
    }
    for (k, map) in circuit.maps.iter().enumerate() {
        report.check(Place::Map(k), || {
            at_most("operators", map.operators.len() as u64, MAX_OPERATORS)?;
            at_most("fold digits", map.fold.len() as u64, MAX_DIGITS)
        });
    }
}

fn tables(circuit: &Circuit, form: Form) -> Result<(), LawError> {
    at_most("nodes", circuit.nodes.len() as u64, MAX_NODES)?;
    at_most("keys", circuit.keys.len() as u64, MAX_KEYS)?;
    at_most("tensors", circuit.tensors.len() as u64, MAX_TABLE)?;
    at_most("layouts", circuit.layouts.len() as u64, MAX_TABLE)?;
    at_most("maps", circuit.maps.len() as u64, MAX_TABLE)?;
    at_most("origins", circuit.origins.len() as u64, MAX_TABLE)?;
    at_most("certificates", circuit.certificate.len() as u64, MAX_TABLE)?;
    at_most("inputs", circuit.inputs.len() as u64, MAX_PORTS)?;
    at_most("outputs", circuit.outputs.len() as u64, MAX_PORTS)?;
    at_least("inputs", circuit.inputs.len() as u64, 1)?;
    at_least("outputs", circuit.outputs.len() as u64, 1)?;
    at_least("nodes", circuit.nodes.len() as u64, 1)?;
    primes(&circuit.parameters, form)
}

fn names(circuit: &Circuit) -> Result<(), LawError> {
    name(&circuit.name)?;
    circuit.tensors.iter().try_for_each(|t| name(&t.name))?;
    circuit.inputs.iter().try_for_each(|i| name(&i.name))?;
    circuit.origins.iter().try_for_each(|o| name(o))?;
    circuit.certificate.iter().try_for_each(|c| name(&c.tensor))?;
    circuit.outputs.iter().try_for_each(|o| port(&o.name, &o.labels, o.client_steps.len()))?;
    distinct("an input", circuit.inputs.iter().map(|i| i.name.as_str()))?;
    distinct("an output", circuit.outputs.iter().map(|o| o.name.as_str()))
}

/// No two ports have one name.
pub(super) fn distinct<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), LawError> {
    let mut seen = BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(LawError::SameName { what, name: name.to_owned() }),
        None => Ok(()),
    }
}

/// A name is short.
pub(super) fn name(text: &str) -> Result<(), LawError> {
    at_most("bytes of a name", text.len() as u64, MAX_NAME_BYTES)
}

/// The lists of an output are short.
pub(super) fn port(own: &str, labels: &[String], client_steps: usize) -> Result<(), LawError> {
    name(own)?;
    at_most("labels", labels.len() as u64, MAX_LABELS)?;
    at_most("client steps", client_steps as u64, MAX_CLIENT_STEPS)?;
    labels.iter().try_for_each(|l| name(l))
}

/// The lists of a layout are short.
pub(super) fn layout(layout: &Layout) -> Result<(), LawError> {
    at_most("dimensions", layout.shape.len() as u64, MAX_RANK)?;
    layout.axes.iter().try_for_each(|a| at_most("digits of an axis", a.len() as u64, MAX_DIGITS))?;
    at_most("replica digits", layout.replicas.len() as u64, MAX_DIGITS)
}

/// The prime lists are neither empty nor long.
pub(super) fn primes(parameters: &Parameters, form: Form) -> Result<(), LawError> {
    at_least("chain primes", parameters.chain.len() as u64, 1)?;
    let ciphertext = parameters.chain.len() as u64 + parameters.raised.len() as u64;
    let most = if form == Form::Draft { MAX_DRAFT_CHAIN } else { MAX_CHAIN };
    at_most("chain primes", ciphertext, most)?;
    at_most("special primes", parameters.special.len() as u64, MAX_SPECIAL)
}

/// Slots of these layouts together.
pub(super) fn slots<'a>(layouts: impl Iterator<Item = &'a Layout>) -> Result<(), LawError> {
    let slots = layouts.map(|l| u64::from(l.slots) * u64::from(l.ciphertexts));
    at_most("slots of all layouts", total(slots), MAX_LAYOUT_SLOTS_TOTAL)
}

fn work(circuit: &Circuit) -> Result<(), LawError> {
    let (mut values, mut operands, mut steps, mut diagonals) = (0u64, 0u64, 0u64, 0u64);
    for node in &circuit.nodes {
        values += u64::from(node.results);
        operands += node.op.operands().len() as u64;
        if let Op::Linear(plan) = &node.op {
            steps += (plan.babies.len() + plan.giants.len()) as u64;
            diagonals += plan.products.len() as u64;
        }
    }
    at_most("values", values, MAX_VALUES)?;
    at_most("operands", operands, MAX_OPERANDS)?;
    at_most("steps of plans", steps, MAX_STEPS)?;
    at_most("products of plans", diagonals, MAX_DIAGONALS)
}

fn weights(circuit: &Circuit) -> Result<(), LawError> {
    slots(circuit.layouts.iter())?;
    at_most("weights", total(circuit.tensors.iter().map(|t| t.values.len() as u64)), MAX_WEIGHTS)
}

fn total(items: impl Iterator<Item = u64>) -> u64 {
    items.fold(0, u64::saturating_add)
}
