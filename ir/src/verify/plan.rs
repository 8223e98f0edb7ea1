//! Laws of linear plans: steps, keys, products and ciphertext counts fit each other and the plan's maps.
//!
//! Relies on: layouts and maps whose own laws hold. Levels and scales of the operands are the op law's affair.

use super::bounds;
use super::error::{LawError, at_least, at_most, count, entry};
use super::value::{ValueType, check_key, check_step, index};
use crate::circuit::Circuit;
use crate::op::{Hoisting, KeyedStep, LinearPlan, Product};
use crate::scheme::{Gadget, KeyKind, Level};

/// A linear plan is well-formed for operands of these types.
pub(crate) fn check_plan(
    circuit: &Circuit,
    plan: &LinearPlan,
    operands: &[&ValueType],
) -> Result<(), LawError> {
    let level = operands.first().map_or(Level(0), |x| x.level);
    check_sources(circuit, plan)?;
    let slots = plan.sources.iter().map(|s| s.values.len() as u64).sum::<u64>() * circuit.slots() as u64;
    at_most("slots that the plan reads", slots, bounds::MAX_PLAN_SLOTS)?;
    check_steps(circuit, "baby steps", &plan.babies, level)?;
    check_steps(circuit, "giant steps", &plan.giants, level)?;
    check_gadgets(circuit, plan)?;
    check_pairing(circuit, plan, level)?;
    check_products(plan)
}

/// The step of a pairing and its conjugation have their keys.
fn check_pairing(circuit: &Circuit, plan: &LinearPlan, level: Level) -> Result<(), LawError> {
    let Some(pairing) = &plan.pairing else { return Ok(()) };
    check_step(circuit, &pairing.half, level)?;
    check_key(circuit, pairing.conjugate, KeyKind::Conjugation, level)
}

/// Sources name existing maps that share the output layout; each has as many ciphertexts as its input layout.
fn check_sources(circuit: &Circuit, plan: &LinearPlan) -> Result<(), LawError> {
    at_least("sources", plan.sources.len() as u64, 1)?;
    let mut shared = None;
    for source in &plan.sources {
        let map = entry("map", &circuit.maps, source.map.0)?;
        let input = entry("layout", &circuit.layouts, map.input.0)?;
        let output = entry("layout", &circuit.layouts, map.output.0)?;
        count("ciphertexts of the source", source.values.len() as u64, input.ciphertexts.into())?;
        count("outputs of the plan", plan.outputs.into(), output.ciphertexts.into())?;
        let first = *shared.get_or_insert(map.output.0);
        count("output layout of the sources", map.output.0.into(), first.into())?;
    }
    Ok(())
}

/// Steps are distinct and keyed exactly when not 0.
fn check_steps(
    circuit: &Circuit,
    what: &'static str,
    steps: &[KeyedStep],
    level: Level,
) -> Result<(), LawError> {
    at_least(what, steps.len() as u64, 1)?;
    steps.iter().try_for_each(|step| check_step(circuit, step, level))?;
    sorted(what, steps.iter().map(|s| s.step))
}

/// Keys of the baby steps share one gadget; in double form the giant steps share it too, since all of them are
/// summed extended by the same special primes. In single form the giant steps share these primes alone.
fn check_gadgets(circuit: &Circuit, plan: &LinearPlan) -> Result<(), LawError> {
    let gadgets = |steps: &[KeyedStep]| -> Result<Vec<Gadget>, LawError> {
        steps
            .iter()
            .filter_map(|s| s.key)
            .map(|key| entry("key", &circuit.keys, key.0).map(|k| k.gadget))
            .collect()
    };
    let (babies, giants) = (gadgets(&plan.babies)?, gadgets(&plan.giants)?);
    if plan.hoisting == Hoisting::Double {
        return alike("steps of a double plan", &[babies, giants].concat(), |g| *g);
    }
    alike("baby steps", &babies, |g| *g)?;
    alike("giant steps", &giants, |g| g.special_limbs)
}

/// Gadgets agree in this.
fn alike<T: PartialEq>(
    what: &'static str,
    gadgets: &[Gadget],
    of: impl Fn(&Gadget) -> T,
) -> Result<(), LawError> {
    match gadgets.iter().find(|g| of(g) != of(&gadgets[0])) {
        Some(second) => Err(LawError::GadgetsDiffer { what, first: gadgets[0], second: *second }),
        None => Ok(()),
    }
}

/// Products are sorted, their indices exist, and every output, giant and baby step has one.
fn check_products(plan: &LinearPlan) -> Result<(), LawError> {
    sorted("products", plan.products.iter().copied())?;
    let mut outputs = vec![false; plan.outputs as usize];
    let mut giants = vec![false; plan.giants.len()];
    let mut babies = vec![false; plan.babies.len()];
    for Product { output, giant, source, input, baby } in plan.products.iter().copied() {
        index("output ciphertext", output, plan.outputs)?;
        index("giant step", giant, plan.giants.len() as u32)?;
        index("baby step", baby, plan.babies.len() as u32)?;
        entry("source", &plan.sources, source)?;
        index("input ciphertext", input, plan.inputs(source as usize))?;
        outputs[output as usize] = true;
        giants[giant as usize] = true;
        babies[baby as usize] = true;
    }
    for (what, used) in [("output", outputs), ("giant step", giants), ("baby step", babies)] {
        if let Some(index) = used.iter().position(|u| !u) {
            return Err(LawError::Unused { what, index });
        }
    }
    Ok(())
}

/// A list is strictly increasing.
pub(crate) fn sorted<T: Ord>(what: &'static str, items: impl IntoIterator<Item = T>) -> Result<(), LawError> {
    let mut previous: Option<T> = None;
    for (index, item) in items.into_iter().enumerate() {
        if previous.as_ref().is_some_and(|p| *p >= item) {
            return Err(LawError::Unsorted { what, index });
        }
        previous = Some(item);
    }
    Ok(())
}
