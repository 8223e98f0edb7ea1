//! Bootstrapping of n slots that repeat, for every n below that of the ring.

use crate::bootstrap::{World, shape, uniform};
use crate::bootstrapped::SMALL;
use cipherloom_ckks::{Ciphertext, CkksError, Complex, Context};
use cipherloom_client::{KeyGenerator, decrypt};
use cipherloom_ir::scheme::{BootstrapRequest, KeyKind, KeySpec, Level, RANGE};
use cipherloom_ring::Path;
use cipherloom_runtime::{BootstrapKeys, Bootstrapper};
use std::sync::Arc;

fn sparse(log_slots: u32) -> BootstrapRequest {
    BootstrapRequest { sparse_log_slots: Some(log_slots), ..SMALL }
}

/// The result repeats too, and its error is the stated one.
#[test]
fn every_count_of_slots_comes_back() {
    for log_slots in 0..SMALL.log_n - 1 {
        let mut world = World::new(sparse(log_slots));
        let (n, slots) = (1usize << log_slots, world.context.slots());
        let values = uniform(n, 1);
        let fresh = world.encrypt(&values);
        let result = world.bootstrapper.run(&fresh, &world.keys).unwrap();
        let repeated = values.repeat(slots / n);
        let (mean, worst) = world.precision_of(&result, &repeated);
        println!("2^{log_slots} slots: mean {mean:.1} worst {worst:.1}");
        assert!(mean > 21.0 && worst > 20.0, "2^{log_slots} slots: mean {mean:.1}, worst {worst:.1} bits");
        let plan = world.plan();
        let found = world.slots(&result, world.scale(plan.output));
        let parts = found.iter().zip(&repeated).flat_map(|(f, m)| [(f.re, m.re), (f.im, m.im)]);
        let squares: f64 = parts.map(|(found, m)| (found - plan.reduced(m)).powi(2)).sum();
        let (deviation, stated) = ((squares / (2 * slots) as f64).sqrt(), plan.noise());
        println!("deviation {deviation:e}, stated {stated:e}");
        // In so small a ring the error of the polynomial leads, a mean over messages and multiples of q_0: of few slots only a bound.
        let (most, least) = if n < 32 { (10.0, 0.0) } else { (2.0, 0.5) };
        assert!(deviation < most * stated && deviation > least * stated, "{deviation:e}, stated {stated:e}");
    }
}

#[test]
fn each_kind_of_message_comes_back() {
    let mut world = World::new(sparse(5));
    let mut one_hot = vec![Complex::default(); 32];
    one_hot[11].re = 1.0;
    let one_sided = uniform(32, 2).iter().map(|z| Complex { re: z.re.abs(), im: 0.0 }).collect();
    for values in [vec![Complex { re: 1.0, im: -1.0 }; 32], one_sided, one_hot] {
        let fresh = world.encrypt(&values);
        let result = world.bootstrapper.run(&fresh, &world.keys).unwrap();
        let (mean, worst) = world.precision_of(&result, &values.repeat(world.context.slots() / 32));
        assert!(mean > 22.0 && worst > 20.0, "mean {mean:.1}, worst {worst:.1} bits");
    }
}

#[test]
fn steps_of_sparse_slots_do_what_they_say() {
    const LOG_SLOTS: u32 = 6;
    let mut world = World::new(sparse(LOG_SLOTS));
    let (n, slots) = (1usize << LOG_SLOTS, world.context.slots());
    let repeats = slots / n;
    let values = uniform(n, 3);
    let fresh = world.encrypt(&values);
    let reversed = |j: usize| j.reverse_bits() >> (usize::BITS - LOG_SLOTS);
    let (bootstrapper, keys) = (&world.bootstrapper, &world.keys);
    let q_0 = world.plan().parameters.chain[0] as f64;
    let read = |a: &Ciphertext| {
        let message = decrypt(&world.context, &world.secret, a).unwrap();
        world.context.encoder().centred(&message).unwrap()
    };
    let coefficients = bootstrapper.slots_to_coefficients(&fresh, keys).unwrap();
    let message = read(&coefficients);
    for (j, value) in values.iter().enumerate() {
        for (at, value) in [(reversed(j), value.re), (n + reversed(j), value.im)] {
            let error = message[at * repeats] * 128.0 / q_0 - value;
            assert!(error.abs() < 1e-7, "coefficient {at}: {error:e}");
        }
    }
    let raised = bootstrapper.raise(&coefficients, keys).unwrap();
    let with_multiples = read(&raised);
    let traced = bootstrapper.trace(raised, keys).unwrap();
    for (at, found) in read(&traced).iter().enumerate() {
        let wanted = if at % repeats == 0 { repeats as f64 * with_multiples[at] } else { 0.0 };
        assert!((found - wanted).abs() / q_0 < 1e-9, "coefficient {at}: {found:e}, {wanted:e}");
    }
    let halves = bootstrapper.coefficients_to_slots(&traced, keys).unwrap();
    assert_eq!(halves.len(), 1);
    for (s, found) in world.slots(&halves[0], world.plan().reduction.input_scale).iter().enumerate() {
        let at = (s % (2 * n) / n * n + reversed(s % n)) * repeats;
        let wanted = with_multiples[at] / q_0 / RANGE;
        assert!(wanted.abs() <= 1.0 && (found.re - wanted).abs() < 1e-9 && found.im.abs() < 1e-9, "slot {s}");
    }
}

#[test]
fn paths_and_threads_do_not_change_a_bit() {
    for log_slots in [0, 4, 8] {
        let mut world = World::new(sparse(log_slots));
        let fresh = world.encrypt(&uniform(1 << log_slots, 4));
        let run = |bootstrapper: &Bootstrapper, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrapper.run(&fresh, &world.keys).unwrap())
        };
        let wanted = run(&world.bootstrapper, 1);
        let p = &world.plan().parameters;
        for path in Path::available() {
            let context = Arc::new(Context::new(p.log_n, &p.chain, &p.special, path).unwrap());
            let bootstrapper = Bootstrapper::new(world.plan().clone(), context).unwrap();
            assert!(run(&bootstrapper, 3) == wanted, "2^{log_slots} slots, {path:?}");
        }
    }
}

/// No key is missing, none is there for nothing, and none reaches higher than it is used.
#[test]
fn the_list_of_keys_is_what_is_used() {
    for log_slots in [0, 1, 5, 8] {
        let mut world = World::new(sparse(log_slots));
        let fresh = world.encrypt(&uniform(1 << log_slots, 5));
        let plan = world.plan().clone();
        for k in (0..plan.keys.len()).filter(|k| plan.keys[*k].kind != KeyKind::Encapsulation) {
            let mut lower = plan.clone();
            lower.keys[k].level = Level(plan.keys[k].level.0 - 1);
            let generator = KeyGenerator::new(&world.context, &world.secret).unwrap();
            let key = |spec: &KeySpec| {
                generator.evaluation_key(shape(spec, &world.context), &mut world.randomness).unwrap()
            };
            let keys = lower.keys.iter().map(key).collect();
            let keys = BootstrapKeys::new(&world.context, &lower, keys).unwrap();
            let refused = world.bootstrapper.run(&fresh, &keys).unwrap_err();
            assert!(matches!(refused, CkksError::KeyLimbs { .. }), "{}: {refused}", plan.keys[k].kind);
        }
    }
}
