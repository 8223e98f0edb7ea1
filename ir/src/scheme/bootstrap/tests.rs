//! Transforms against the embedding, the reduction against the modular reduction, sets against their bounds.

use super::*;
use crate::scheme::{CanonicalScales, SecurityPolicy};
use std::f64::consts::TAU;

/// The set with at least nine levels.
const NINE_LEVELS: BootstrapRequest = BOOTSTRAP_SETS[0].1;

fn toy(log_n: u32, to_coefficients: u32, to_slots: u32) -> BootstrapRequest {
    BootstrapRequest { log_n, to_coefficients, to_slots, levels: 2, digit_limbs: 3, ..NINE_LEVELS }
}

fn times([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a * c - b * d, a * d + b * c]
}

/// A factor on slots, by its baby and giant steps.
fn apply(factor: &TransformFactor, input: &SlotVector) -> SlotVector {
    let slots = input.len();
    let mut out = vec![[0.0; 2]; slots];
    for (product, diagonal) in factor.products.iter().zip(factor.diagonals()) {
        let giant = factor.giants[product.giant as usize] as usize;
        let baby = factor.babies[product.baby as usize] as usize;
        for (s, out) in out.iter_mut().enumerate() {
            let at = (s + giant) % slots;
            let term = times(diagonal[at % diagonal.len()], input[(at + baby) % slots]);
            *out = [out[0] + term[0], out[1] + term[1]];
        }
    }
    out
}

fn transformed(transform: &Transform, input: &SlotVector) -> SlotVector {
    transform.factors.iter().fold(input.clone(), |slots, factor| apply(factor, &slots))
}

/// Slot k of the polynomial with these coefficients: its value at `zeta^(5^k)`.
fn slots_of(coefficients: &[f64]) -> SlotVector {
    let order = 2 * coefficients.len();
    let powers = std::iter::successors(Some(1usize), |p| Some(p * 5 % order));
    let value = |power: usize| {
        let term = |(j, c): (usize, &f64)| {
            let angle = TAU * (power * j % order) as f64 / order as f64;
            [c * angle.cos(), c * angle.sin()]
        };
        coefficients.iter().enumerate().map(term).fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    };
    powers.take(coefficients.len() / 2).map(value).collect()
}

#[test]
fn transforms_are_the_embedding_and_its_inverse() {
    for (log_n, to_coefficients, to_slots) in [(6, 1, 1), (7, 2, 3), (9, 3, 3), (8, 3, 4)] {
        let plan = toy(log_n, to_coefficients, to_slots).plan().unwrap();
        let slots = 1usize << (log_n - 1);
        let reversed = |j: usize| j.reverse_bits() >> (usize::BITS - (log_n - 1));
        let coefficients: Vec<f64> =
            (0..2 * slots).map(|j| ((j * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect();
        let expected: SlotVector =
            (0..slots).map(|j| [coefficients[reversed(j)], coefficients[slots + reversed(j)]]).collect();
        let values = slots_of(&coefficients);
        let close = |found: &SlotVector, expected: &SlotVector, constant: f64| {
            for (found, expected) in found.iter().zip(expected) {
                for part in 0..2 {
                    let error = found[part] / constant - expected[part];
                    assert!(error.abs() < 1e-9, "N = 2^{log_n}: {found:?} and {expected:?}");
                }
            }
        };
        let scale = CanonicalScales::new(&plan.circuit()).value(&Scale::canonical(plan.input));
        let down = plan.parameters.chain[0] as f64 / 128.0 / scale;
        close(&transformed(&plan.to_coefficients, &expected), &values, down);
        let up = plan.reduction.input_scale / (2.0 * plan.parameters.chain[0] as f64 * RANGE);
        close(&transformed(&plan.to_slots, &values), &expected, up);
    }
}

/// What the two conjugated sums make of `y`: the real part of a slot of the result, in message units.
fn reduced(plan: &BootstrapPlan, ratio_bits: u32, m: f64, i: f64) -> f64 {
    let x = m / libm::exp2(f64::from(ratio_bits)) + i;
    let [_, imaginary] = plan.reduction.evaluate([x / RANGE, 0.0], |_| [0.0; 2]);
    let last = plan.reduction.log2_scales[plan.reduction.log2_scales.len() - 1];
    let scale = CanonicalScales::new(&plan.circuit()).value(&Scale::canonical(plan.output));
    -2.0 * imaginary * libm::exp2(last) / scale
}

#[test]
fn reduction_takes_multiples_of_the_base_prime_away() {
    for (log_degree, squarings, ratio_bits, bound) in
        [(4, 5, 7, 2e-7), (5, 3, 7, 1e-7), (5, 4, 8, 5e-9), (4, 6, 10, 1e-9)]
    {
        let request = BootstrapRequest { log_degree, squarings, ratio_bits, ..toy(10, 2, 2) };
        let plan = request.plan().unwrap();
        let mut worst = 0.0f64;
        for i in -16..=16 {
            for step in -16..=16 {
                let m = f64::from(step) / 16.0;
                worst = worst.max((reduced(&plan, ratio_bits, m, f64::from(i)) - m).abs());
            }
        }
        assert!(worst < bound, "degree 2^{log_degree} - 1, {squarings} squarings: {worst:e}");
        // Beyond the stated bound of 1 the error grows with the fifth power; it stays defined.
        let beyond = (reduced(&plan, ratio_bits, 2.0, 3.0) - 2.0).abs();
        assert!(beyond < 400.0 * bound, "{beyond:e}");
    }
}

#[test]
fn steps_use_what_stands_at_their_level_or_above() {
    for (log_degree, squarings) in [(2, 1), (3, 7), (4, 5), (5, 3), (6, 2)] {
        let plan = BootstrapRequest { log_degree, squarings, ..toy(10, 2, 2) }.plan().unwrap();
        let mut levels = vec![plan.reduced_from];
        for step in plan.reduction.steps.iter().chain([&plan.reduction.last]) {
            let product = step.product.iter().flat_map(|p| [p.left, p.right]);
            product.clone().for_each(|value| assert_eq!(levels[value as usize], step.level));
            step.terms.iter().for_each(|term| assert!(levels[term.value as usize] >= step.level));
            levels.push(Level(step.level.0 - 1));
            step.addend.iter().for_each(|value| assert_eq!(levels[*value as usize], Level(step.level.0 - 1)));
        }
        assert_eq!(levels.last(), Some(&plan.output));
    }
}

#[test]
fn every_set_is_secure_and_has_its_levels() {
    for ((name, request), levels) in BOOTSTRAP_SETS.iter().zip([9, 14, 17, 4, 9]) {
        let plan = request.plan().unwrap();
        let report = SecurityPolicy::standard_128().check(&plan.parameters, &plan.keys);
        let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.ephemeral.is_some_and(|ephemeral| ephemeral.log_qp <= 100.0), "{name}");
        assert_eq!(plan.usable_levels(), levels, "{name}");
        let distinct: std::collections::BTreeSet<_> = plan.keys.iter().collect();
        assert_eq!(distinct.len(), plan.keys.len());
        assert!(plan.keys.is_sorted());
        // Scales rise towards the input, up to the size of the primes.
        assert!(plan.reduction.log2_scales.is_sorted_by(|a, b| a > b), "{name}");
        assert!(plan.reduction.log2_scales[0] > f64::from(request.prime_bits) - 0.1, "{name}");
    }
}

/// The slots of the ring that n slots repeat in.
fn repeated(values: &SlotVector, slots: usize) -> SlotVector {
    values.repeat(slots / values.len())
}

#[test]
fn sparse_transforms_are_those_of_the_subring() {
    const LOG_N: u32 = 8;
    for log_slots in 0..LOG_N - 1 {
        for count in 1..=log_slots.clamp(2, 3) {
            let request = BootstrapRequest { sparse_log_slots: Some(log_slots), ..toy(LOG_N, count, count) };
            let plan = request.plan().unwrap();
            let (n, slots) = (1usize << log_slots, 1usize << (LOG_N - 1));
            assert_eq!(plan.slots(), n);
            let reversed = |j: usize| if n == 1 { 0 } else { j.reverse_bits() >> (usize::BITS - log_slots) };
            let coefficients: Vec<f64> =
                (0..2 * n).map(|j| ((j * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect();
            let values = slots_of(&coefficients);
            let part = |j: usize, half: usize| coefficients[half * n + reversed(j)];
            let close = |found: &SlotVector, expected: &SlotVector, constant: f64| {
                for (found, expected) in found.iter().zip(&repeated(expected, slots)) {
                    for part in 0..2 {
                        let error = found[part] / constant - expected[part];
                        assert!(error.abs() < 1e-9, "2^{log_slots} slots: {found:?} and {expected:?}");
                    }
                }
            };
            let scale = |level| CanonicalScales::new(&plan.circuit()).value(&Scale::canonical(level));
            let q_0 = plan.parameters.chain[0] as f64;
            let complex: SlotVector = (0..n).map(|j| [part(j, 0), part(j, 1)]).collect();
            let found = transformed(&plan.to_coefficients, &repeated(&complex, slots));
            close(&found, &values, q_0 / 128.0 / scale(plan.input));

            // The real part of the result: both halves side by side.
            let mut found = transformed(&plan.to_slots, &repeated(&values, slots));
            found.iter_mut().for_each(|[_, im]| *im = 0.0);
            let halves: SlotVector = (0..2 * n).map(|j| [part(j % n, j / n), 0.0]).collect();
            let up = plan.reduction.input_scale / (2.0 * q_0 * RANGE) / (slots / n) as f64;
            close(&found, &halves, up);

            let sparse = plan.sparse.as_ref().unwrap();
            let joined = apply(&sparse.join, &repeated(&halves, slots));
            close(&joined, &complex, scale(plan.output) / sparse.join_scale);
            let steps: Vec<u32> = (log_slots..LOG_N - 1).map(|k| 1 << k).collect();
            assert_eq!(sparse.trace, steps);
        }
    }
}

#[test]
fn fewer_slots_are_fewer_key_switches_and_all_slots_need_no_more() {
    let full = NINE_LEVELS.plan().unwrap();
    let all = BootstrapRequest { sparse_log_slots: Some(15), ..NINE_LEVELS };
    let same = BootstrapPlan { request: NINE_LEVELS, ..all.plan().unwrap() };
    assert_eq!(same, full);
    assert!(full.sparse.is_none() && full.reductions() == 2);
    let factors = full.factors().count();
    let mut before = full;
    for log_slots in (6..15).rev() {
        let plan = BootstrapRequest { sparse_log_slots: Some(log_slots), ..NINE_LEVELS }.plan().unwrap();
        assert_eq!((plan.usable_levels(), plan.reductions()), (9, 1));
        // One more joins the halves.
        assert_eq!(plan.factors().count(), factors + 1);
        assert!(plan.plaintext_bytes() < before.plaintext_bytes());
        before = plan;
    }
}

#[test]
fn impossible_requests_are_refused() {
    for request in [
        BootstrapRequest { to_slots: 0, ..NINE_LEVELS },
        BootstrapRequest { to_coefficients: 20, ..NINE_LEVELS },
        BootstrapRequest { squarings: 0, ..NINE_LEVELS },
        BootstrapRequest { log_degree: 1, ..NINE_LEVELS },
        BootstrapRequest { base_bits: 51, ..NINE_LEVELS },
        BootstrapRequest { log_scale: 60, ..NINE_LEVELS },
        BootstrapRequest { digit_limbs: 0, ..NINE_LEVELS },
        BootstrapRequest { prime_bits: 51, ..NINE_LEVELS },
        BootstrapRequest { ratio_bits: 30, ..NINE_LEVELS },
        BootstrapRequest { sparse_log_slots: Some(16), ..NINE_LEVELS },
        BootstrapRequest { sparse_log_slots: Some(2), to_slots: 3, ..NINE_LEVELS },
    ] {
        assert!(matches!(request.plan(), Err(PrimeError::Size { .. })), "{request:?}");
    }
}
