//! A circuit of three bootstraps with activations between them, from a client's keys to its answer, in a ring too small to
//! be secure.

use crate::bootstrapped::{SMALL, bootstrapped, meaning};
use crate::{Ready, decrypted, policy, ready_for};
use cipherloom_ir::scheme::KeyKind;
use cipherloom_ir::{Encryption, Exact, Magnitudes, MapNorms, Node, Op, Trace, ValueId, Verified};
use cipherloom_runtime::{Evaluator, Options, RuntimeError, Silent, expanded_key_bytes};

/// Root mean square of an error, and the largest.
fn errors(found: &[f64], exact: &[f64]) -> (f64, f64) {
    let squares: f64 = found.iter().zip(exact).map(|(a, b)| (a - b) * (a - b)).sum();
    let largest = found.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    ((squares / exact.len() as f64).sqrt(), largest)
}

#[test]
fn three_bootstraps_keep_the_exact_meaning() {
    let mut r: Ready = ready_for(bootstrapped(SMALL), Options::default());
    let circuit = r.evaluator.circuit().clone();
    let x = crate::values(&circuit);
    for (exact, x) in r.exact.iter().zip(&x) {
        assert!((exact - meaning(*x)).abs() < 1e-12);
    }
    let answer = r.evaluator.run(&r.inputs.clone(), &Silent).unwrap();
    let (deviation, largest) = errors(&decrypted(&r, answer), &r.exact);

    // The trace predicts it.
    let norms = MapNorms::of(&circuit).unwrap();
    let exact = Exact::new(&circuit).unwrap();
    let magnitudes = Magnitudes::measure(&circuit, &exact, &[vec![&x]], 1.0).unwrap();
    let trace = Trace::new(&circuit, &norms).measured(&magnitudes).encrypted(Encryption::SecretKey);
    let traced = trace.values(&circuit).unwrap();
    let predicted = traced.last().unwrap().slots.noise;
    println!("deviation {deviation:e}, predicted {predicted:e}, largest {largest:e}");
    assert!(largest < 1e-5, "largest error {largest:e}");
    assert!(deviation < 2.0 * predicted && predicted < 2.0 * deviation, "{deviation:e}, {predicted:e}");
}

/// A bootstrap alone leaves the error that the plan states.
#[test]
fn the_noise_of_a_bootstrap_is_that_of_its_plan() {
    let r = ready_for(bootstrapped(SMALL), Options::default());
    let circuit = r.evaluator.circuit().clone();
    let plan = circuit.bootstrap_plan().unwrap();
    let mut alone = circuit.clone().into_inner();
    alone.nodes.truncate(1);
    let node = |op, first| Node { op, first: ValueId(first), results: 1, origin: 0 };
    alone.nodes.push(node(Op::Adjust(ValueId(0), plan.input), 1));
    alone.nodes.push(node(Op::Bootstrap(ValueId(1)), 2));
    alone.outputs[0].values = vec![ValueId(2)];
    alone.keys = plan.keys.clone();
    let mut r = ready_for(alone, Options::default());
    let answer = r.evaluator.run(&r.inputs.clone(), &Silent).unwrap();
    let (deviation, _) = errors(&decrypted(&r, answer), &r.exact);
    let stated = plan.noise().hypot(plan.series_error(1.0));
    println!("measured {deviation:e}, noise {:e}, series {:e}", plan.noise(), plan.series_error(1.0));
    assert!(deviation < 2.0 * stated && stated < 2.0 * deviation, "{deviation:e}, stated {stated:e}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut r = ready_for(bootstrapped(SMALL), Options::default());
    let inputs = r.inputs.clone();
    let mut run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| r.evaluator.run(&inputs, &Silent)).unwrap()
    };
    assert_eq!(run(1), run(3));
}

/// Whoever has a public key encrypts at the circuit's top, below the primes of mod-raise.
#[test]
fn inputs_under_a_public_key_are_bootstrapped_too() {
    let mut r = ready_for(bootstrapped(SMALL), Options::default());
    let public = r.client.public_key(&r.secret).unwrap();
    let sent = r.client.encrypt_public(&public, &[crate::values(r.evaluator.circuit())]).unwrap();
    let context = Evaluator::context(r.evaluator.circuit(), &Options::default()).unwrap();
    let inputs = vec![sent.ciphertexts.into_iter().map(|c| c.expand(&context).unwrap()).collect()];
    let answer = r.evaluator.run(&inputs, &Silent).unwrap();
    let (_, largest) = errors(&decrypted(&r, answer), &r.exact);
    assert!(largest < 1e-5, "largest error {largest:e}");
}

#[test]
fn keys_of_the_plan_are_the_clients_to_make() {
    let r = ready_for(bootstrapped(SMALL), Options::default());
    let circuit = r.evaluator.circuit().clone();
    let plan = circuit.bootstrap_plan().unwrap();
    for kind in [KeyKind::Encapsulation, KeyKind::Decapsulation, KeyKind::Relinearization] {
        assert!(r.client.manifest().keys.iter().any(|key| key.kind == kind), "{kind}");
    }
    // The circuit's own key comes on top of the plan's.
    assert_eq!(circuit.keys.len(), plan.keys.len() + 1);
    let bytes = |limbs: usize, gadget: cipherloom_ir::scheme::Gadget| {
        let digits = limbs.div_ceil(gadget.digit_limbs as usize);
        (2 * digits * (limbs + gadget.special_limbs as usize) * 1024 * 8) as u64
    };
    let counted: u64 = circuit.keys.iter().map(|key| bytes(key.level.limbs(), key.gadget)).sum();
    assert_eq!(expanded_key_bytes(&circuit), counted);
    // Both halves of a pair of keys must come from one ephemeral secret, in the order of the table.
    let mut keys = r.client.evaluation_keys(&r.secret).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let at = |kind| circuit.keys.iter().position(|key| key.kind == kind).unwrap();
    keys.swap(at(KeyKind::Encapsulation), at(KeyKind::Decapsulation));
    let context = Evaluator::context(&circuit, &Options::default()).unwrap();
    let swapped = Evaluator::new(circuit, context, keys, Options::default());
    assert!(matches!(swapped.err(), Some(RuntimeError::WrongKey { .. })));
}

#[test]
fn a_bootstrap_without_its_keys_does_not_reach_the_runtime() {
    let mut circuit = bootstrapped(SMALL);
    circuit.keys.retain(|key| key.kind != KeyKind::Decapsulation);
    assert!(Verified::new(circuit, &policy()).is_err());
}
