//! Bootstrapping in rings too small to be secure: each step against its definition, and the whole on four kinds of messages.

use crate::bootstrapped::SMALL;
use cipherloom_ckks::{Ciphertext, Complex, Context, Limbs};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, decrypt, decrypt_slots, encrypt_secret};
use cipherloom_ir::scheme::{BootstrapPlan, BootstrapRequest, CanonicalScales, KeySpec, Level, RANGE, Scale};
use cipherloom_ring::Path;
use cipherloom_runtime::{BootstrapKeys, Bootstrapper};
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) context: Arc<Context>,
    pub(crate) secret: SecretKey,
    pub(crate) bootstrapper: Bootstrapper,
    pub(crate) keys: BootstrapKeys,
    pub(crate) randomness: Randomness,
}

impl World {
    pub(crate) fn new(request: BootstrapRequest) -> World {
        let plan = request.plan().unwrap();
        let p = &plan.parameters;
        let context = Arc::new(Context::new(p.log_n, &p.chain, &p.special, Path::best()).unwrap());
        let mut randomness = Randomness::from_system().unwrap();
        let secret = SecretKey::generate(context.degree(), &mut randomness);
        let generator = KeyGenerator::new(&context, &secret).unwrap();
        let key = |spec: &KeySpec| generator.evaluation_key(shape(spec, &context), &mut randomness).unwrap();
        let keys = BootstrapKeys::new(&context, &plan, plan.keys.iter().map(key).collect()).unwrap();
        let bootstrapper = Bootstrapper::new(plan, context.clone()).unwrap();
        World { context, secret, bootstrapper, keys, randomness }
    }

    pub(crate) fn plan(&self) -> &BootstrapPlan {
        self.bootstrapper.plan()
    }

    pub(crate) fn scale(&self, level: Level) -> f64 {
        CanonicalScales::new(&self.plan().circuit()).value(&Scale::canonical(level))
    }

    pub(crate) fn encrypt(&mut self, values: &[Complex]) -> Ciphertext {
        let (level, scale) = (self.plan().input, self.scale(self.plan().input));
        let encoder = self.context.encoder();
        let plain = encoder.encode_complex(values, scale, Limbs(level.limbs()), 0).unwrap();
        let sent = encrypt_secret(&self.context, &self.secret, &plain, &mut self.randomness).unwrap();
        sent.expand(&self.context).unwrap()
    }

    pub(crate) fn slots(&self, a: &Ciphertext, scale: f64) -> Vec<Complex> {
        decrypt_slots(&self.context, &self.secret, a, scale).unwrap()
    }

    /// Mean and largest distance in bits of a bootstrapped value from what was encrypted.
    fn precision(&mut self, values: &[Complex]) -> (f64, f64) {
        let fresh = self.encrypt(values);
        let result = self.bootstrapper.run(&fresh, &self.keys).unwrap();
        self.precision_of(&result, values)
    }

    /// The same of any result.
    pub(crate) fn precision_of(&self, result: &Ciphertext, values: &[Complex]) -> (f64, f64) {
        assert_eq!(result.limbs(), Limbs(self.plan().output.limbs()));
        let found = self.slots(result, self.scale(self.plan().output));
        let errors: Vec<f64> =
            found.iter().zip(values).map(|(f, v)| libm_hypot(f.re - v.re, f.im - v.im)).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        (-mean.log2(), -errors.iter().fold(0.0f64, |a, b| a.max(*b)).log2())
    }
}

fn libm_hypot(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

pub(crate) fn shape(spec: &KeySpec, context: &Context) -> cipherloom_ckks::KeyShape {
    let KeySpec { kind, level, gadget } = spec;
    let code = kind.code(context.n());
    cipherloom_ckks::KeyShape::of(code, level.limbs(), gadget.digit_limbs, gadget.special_limbs)
}

/// Reproducible numbers in [-1, 1).
fn numbers(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    })
}

pub(crate) fn uniform(slots: usize, seed: u64) -> Vec<Complex> {
    let mut next = numbers(seed);
    let mut number = || next.next().unwrap();
    (0..slots).map(|_| Complex { re: number(), im: number() }).collect()
}

#[test]
fn every_kind_of_message_comes_back() {
    for (log_n, to_coefficients, to_slots) in [(10, 2, 2), (11, 3, 3)] {
        let mut world = World::new(BootstrapRequest { log_n, to_coefficients, to_slots, ..SMALL });
        let slots = world.context.slots();
        let constant = vec![Complex { re: 1.0, im: -1.0 }; slots];
        let one_sided: Vec<_> =
            uniform(slots, 2).iter().map(|z| Complex { re: z.re.abs(), im: 0.0 }).collect();
        let mut one_hot = vec![Complex::default(); slots];
        one_hot[slots / 3].re = 1.0;
        for (name, values) in [
            ("uniform", uniform(slots, 1)),
            ("constant", constant),
            ("one-sided", one_sided),
            ("one-hot", one_hot),
        ] {
            let (mean, worst) = world.precision(&values);
            println!("N = 2^{log_n}, {name}: mean {mean:.1} worst {worst:.1}");
            assert!(
                mean > 22.0 && worst > 20.0,
                "N = 2^{log_n}, {name}: mean {mean:.1}, worst {worst:.1} bits"
            );
        }
    }
}

#[test]
fn each_step_does_what_it_says() {
    let mut world = World::new(SMALL);
    let slots = world.context.slots();
    let values = uniform(slots, 3);
    let fresh = world.encrypt(&values);
    let reversed = |j: usize| j.reverse_bits() >> (usize::BITS - slots.trailing_zeros());

    let (bootstrapper, keys) = (&world.bootstrapper, &world.keys);
    let q_0 = world.plan().parameters.chain[0] as f64;
    let coefficients = bootstrapper.slots_to_coefficients(&fresh, keys).unwrap();
    assert_eq!(coefficients.limbs(), Limbs(1));
    let read = |a: &Ciphertext| {
        let message = decrypt(&world.context, &world.secret, a).unwrap();
        world.context.encoder().centred(&message).unwrap()
    };
    let message = read(&coefficients);
    for (j, value) in values.iter().enumerate() {
        for (at, value) in [(reversed(j), value.re), (slots + reversed(j), value.im)] {
            let error = message[at] * 128.0 / q_0 - value;
            assert!(error.abs() < 1e-7, "coefficient {at}: {error:e}");
        }
    }

    let raised = bootstrapper.raise(&coefficients, keys).unwrap();
    let with_multiples = read(&raised);
    let multiples = with_multiples.iter().zip(&message).map(|(raised, message)| (raised - message) / q_0);
    for multiple in multiples {
        assert!((multiple - multiple.round()).abs() < 1e-8 && multiple.abs() <= RANGE, "{multiple}");
    }

    let halves = bootstrapper.coefficients_to_slots(&raised, keys).unwrap();
    let scale = world.plan().reduction.input_scale;
    let halves = [world.slots(&halves[0], scale), world.slots(&halves[1], scale)];
    for j in 0..slots {
        for (half, at) in [(&halves[0], reversed(j)), (&halves[1], slots + reversed(j))] {
            let error = half[j].re - with_multiples[at] / q_0 / RANGE;
            assert!(error.abs() < 1e-9 && half[j].im.abs() < 1e-9, "slot {j}: {error:e}");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut world = World::new(SMALL);
    let values = uniform(world.context.slots(), 4);
    let fresh = world.encrypt(&values);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| world.bootstrapper.run(&fresh, &world.keys).unwrap())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn real_slots_take_one_reduction_and_two_values_one_bootstrap() {
    let mut world = World::new(SMALL);
    let slots = world.context.slots();
    let real = |seed| -> Vec<Complex> {
        uniform(slots, seed).iter().map(|z| Complex { re: z.re, im: 0.0 }).collect()
    };
    let values = [real(7), real(8)];
    let [a, b] = [0, 1].map(|k| world.encrypt(&values[k]));
    let [both_a, both_b] = world.bootstrapper.run_pair([&a, &b], &world.keys).unwrap();
    let alone = world.bootstrapper.run_real(&a, &world.keys).unwrap();
    for (result, values) in [(both_a, &values[0]), (both_b, &values[1]), (alone, &values[0])] {
        let (mean, worst) = world.precision_of(&result, values);
        assert!(mean > 23.0 && worst > 20.5, "mean {mean:.1}, worst {worst:.1}");
        // Nothing but rounding is left in the imaginary part.
        let imaginary = world.slots(&result, world.scale(world.plan().output));
        assert!(imaginary.iter().all(|z| z.im.abs() < 1e-8));
    }
}

#[test]
fn values_beyond_the_bound_are_defined() {
    let mut world = World::new(SMALL);
    let slots = world.context.slots();
    // The series of two sines leaves an error of the fifth power; at 4 the angle is 0.2, and 1e-4 of the value remain.
    let values: Vec<_> =
        uniform(slots, 5).iter().map(|z| Complex { re: 4.0 * z.re, im: 4.0 * z.im }).collect();
    let (mean, worst) = world.precision(&values);
    assert!(mean > 12.0 && worst > 10.0, "mean {mean:.1}, worst {worst:.1} bits");
}

#[test]
fn foreign_values_and_keys_are_refused() {
    let mut world = World::new(SMALL);
    let fresh = world.encrypt(&uniform(world.context.slots(), 6));
    let low = world.context.drop_to(&fresh, Limbs(2)).unwrap();
    assert!(world.bootstrapper.run(&low, &world.keys).is_err());
    let plan = world.plan();
    assert!(BootstrapKeys::new(&world.context, plan, vec![]).is_err());
    let small = Arc::new(Context::new(10, &plan.parameters.chain[..3], &[], Path::best()).unwrap());
    assert!(Bootstrapper::new(plan.clone(), small).is_err());
}

#[test]
fn a_second_bootstrapping_mends_the_first() {
    let mut world = World::new(SMALL);
    let values = uniform(world.context.slots(), 5);
    let iteration = world.plan().iteration().unwrap();
    assert!(iteration.shift_bits >= 16 && iteration.output.0 + 1 == world.plan().output.0);
    let fresh = world.encrypt(&values);
    let result = world.bootstrapper.run_twice(&fresh, &iteration, &world.keys).unwrap();
    assert_eq!(result.limbs(), Limbs(iteration.output.limbs()));
    let error = |found: Vec<Complex>| {
        let errors = found.iter().zip(&values).map(|(f, v)| libm_hypot(f.re - v.re, f.im - v.im));
        -(errors.sum::<f64>() / values.len() as f64).log2()
    };
    let once = world.bootstrapper.run(&fresh, &world.keys).unwrap();
    let once = error(world.slots(&once, world.scale(world.plan().output)));
    let twice = error(world.slots(&result, world.scale(iteration.output)));
    println!("{once:.1} bits by one, {twice:.1} by two");
    assert!(twice > once + 4.0, "{once:.1} bits by one bootstrapping, {twice:.1} by two");
}
