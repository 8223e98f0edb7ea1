//! The order in which a circuit uses its keys when its nodes run one after the other: what paging makes room by.
//!
//! Follows the evaluation of a node ([`crate::encrypted`]), of a bootstrap ([`crate::Bootstrapper::run_real`]) and of a linear sweep
//! ([`cipherloom_ckks::KeyStore`]). A use that comes otherwise costs time, never a wrong result.

use super::planned;
use cipherloom_ir::scheme::{BootstrapPlan, KeyKind, KeySpec, Transform};
use cipherloom_ir::{KeyId, LinearPlan, Op, Verified};
use std::collections::BTreeSet;

/// Numbers of the keys, use by use.
pub(super) fn uses(circuit: &Verified) -> Vec<usize> {
    let mut uses = Vec::new();
    for node in &circuit.nodes {
        match &node.op {
            Op::Relinearize(_, key) | Op::RelinearizeRescale(_, key) | Op::Conjugate(_, key) => {
                uses.push(place(*key));
            }
            Op::Rotate(_, step) => uses.extend(step.key.map(place)),
            Op::Linear(plan) => uses.extend(uses_of_plan(plan)),
            Op::Bootstrap(_) => {
                let plan = circuit.bootstrap_plan();
                uses.extend(plan.into_iter().flat_map(|plan| uses_of_bootstrap(plan, &circuit.keys)));
            }
            _ => {}
        }
    }
    uses
}

fn place(key: KeyId) -> usize {
    key.0 as usize
}

fn uses_of_plan(plan: &LinearPlan) -> Vec<usize> {
    let switches = plan.switches();
    let half = plan.pairing.and_then(|pairing| pairing.half.key);
    let babies = switches.babies.iter().filter_map(|(_, step)| plan.babies[*step as usize].key);
    let giants = switches.giants.iter().filter_map(|(_, step)| plan.giants[*step as usize].key);
    let conjugate = plan.pairing.map(|pairing| pairing.conjugate);
    half.into_iter().chain(babies).chain(giants).chain(conjugate).map(place).collect()
}

fn uses_of_bootstrap(plan: &BootstrapPlan, keys: &[KeySpec]) -> Vec<usize> {
    let high = |kind| planned(keys, kind, plan.gadget);
    let encapsulation = planned(keys, KeyKind::Encapsulation, plan.encapsulation_gadget());
    let steps = uses_of_transform(&plan.to_coefficients, keys).into_iter().map(Some);
    steps
        .chain([encapsulation, high(KeyKind::Decapsulation)])
        .chain(uses_of_transform(&plan.to_slots, keys).into_iter().map(Some))
        .chain([KeyKind::Conjugation, KeyKind::Relinearization, KeyKind::Conjugation].map(high))
        .flatten()
        .collect()
}

fn uses_of_transform(transform: &Transform, keys: &[KeySpec]) -> Vec<usize> {
    let mut uses = Vec::new();
    for factor in &transform.factors {
        let used: BTreeSet<u32> = factor.products.iter().map(|product| product.baby).collect();
        let babies = used.into_iter().map(|baby| factor.babies[baby as usize]);
        let carries = factor.carry_order().into_iter().map(|giant| factor.carry(giant));
        let steps = babies.chain(carries).filter(|step| *step != 0);
        uses.extend(steps.filter_map(|step| planned(keys, KeyKind::Rotation(step), transform.gadget)));
    }
    uses
}
