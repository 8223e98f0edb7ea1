//! Law 15, bootstrapping: what the circuit asks for has a plan, and the plan agrees with parameters and keys.
//!
//! Relies on the bounds and on sorted keys. Promises: after it the plan can be carried out with the circuit's ring and keys, and its
//! diagonals are few enough to be encoded. What no law can see is the slots: bootstrapping keeps messages with |Re m|, |Im m|
//! ≤ 1 at the canonical scale, and whoever makes a circuit answers for that ([`crate::Trace`] refuses measured slots beyond
//! it, [`crate::output_bounds`] proves nothing of values behind a bootstrap).

use super::error::{LawError, at_most};
use super::{Place, Report};
use crate::circuit::Circuit;
use crate::op::Op;
use crate::scheme::{BootstrapPlan, KeySpec, Parameters};

/// Diagonals of one factor of a transform: products of seven layers have fewer.
pub const MAX_FACTOR_DIAGONALS: u64 = 256;

/// The plan of a circuit that bootstraps.
pub(super) fn check(circuit: &Circuit, report: &mut Report) -> Option<BootstrapPlan> {
    let Some(request) = &circuit.bootstrap else {
        report.check(Place::Bootstrap, || match circuit.parameters.raised.len() as u64 {
            0 => Ok(()),
            found => Err(LawError::Count { what: "primes above the chain", expected: 0, found }),
        });
        return None;
    };
    let plan = report.value(Place::Bootstrap, || Ok(request.plan()?))?;
    report.check(Place::Bootstrap, || {
        let largest = plan.factors().map(|factor| factor.products.len() as u64).max().unwrap_or(0);
        at_most("diagonals of a factor", largest, MAX_FACTOR_DIAGONALS)
    });
    report.check(Place::Bootstrap, || match plan.sparse {
        None => Ok(()),
        Some(_) => Err(LawError::SparseBootstrapping { log_slots: request.log_slots() }),
    });
    report.check(Place::Bootstrap, || check_parameters(&circuit.parameters, &plan.circuit()));
    for key in &plan.keys {
        report.check(Place::Bootstrap, || find_key(&circuit.keys, key).map(drop));
    }
    report.check(Place::Bootstrap, || match uses(circuit) {
        true => Ok(()),
        false => Err(LawError::UnusedBootstrapping),
    });
    Some(plan)
}

/// Whether an operation bootstraps.
pub(crate) fn uses(circuit: &Circuit) -> bool {
    circuit.nodes.iter().any(|node| matches!(node.op, Op::Bootstrap(_)))
}

/// The circuit has the plan's ring and primes.
fn check_parameters(found: &Parameters, planned: &Parameters) -> Result<(), LawError> {
    let differs = |what| Err(LawError::BootstrapParameters { what });
    match () {
        () if found.log_n != planned.log_n => differs("ring degree"),
        () if found.log_scale != planned.log_scale => differs("scale"),
        () if found.chain != planned.chain => differs("chain"),
        () if found.raised != planned.raised => differs("primes above the chain"),
        () if found.special != planned.special => differs("special primes"),
        () => Ok(()),
    }
}

/// The circuit's key of this kind and gadget that reaches highest, at least as high as is wanted.
pub(super) fn find_key(keys: &[KeySpec], wanted: &KeySpec) -> Result<usize, LawError> {
    let same = |key: &KeySpec| key.kind == wanted.kind && key.gadget == wanted.gadget;
    let highest = keys.iter().rposition(same);
    highest.filter(|k| keys[*k].level >= wanted.level).ok_or(LawError::MissingKey(*wanted))
}
