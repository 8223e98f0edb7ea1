//! Bootstrapping at full size: seconds, precision on four kinds of messages, bytes of keys, peak memory.
//!
//! `cargo bench -p cipherloom-runtime --bench bootstrap -- SET.. [--threads 1,2] [--vectors 100] [--record]`, SET being a name of
//! `BOOTSTRAP_SETS`, or `2p16_sparseK` for another number 2^K of slots, K from 0 to 14; without one nothing runs, since a set at
//! N = 2^16 needs about 8 GiB. Rows go to `benches/results/bootstrap.json`. Time is the median of three calls after others, keys
//! and diagonals in memory. Messages have as many values as the set has slots, repeated where that is fewer than all; precision is
//! that of one period, over so many uniform vectors; it must be the predicted one within a factor of 2. The other kinds of messages are measured once.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom_ckks::{Ciphertext, Complex, Context, KeyShape, Limbs};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, decrypt_slots, encrypt_secret};
use cipherloom_ir::scheme::{BOOTSTRAP_SETS, BootstrapRequest, KeySpec, Level, Scale, SecurityPolicy};
use cipherloom_ring::Path;
use cipherloom_runtime::{BootstrapKeys, Bootstrapper};
use harness::{Arguments, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let arguments = Arguments::parse();
    let mut sets: BTreeMap<String, BootstrapRequest> = (0..=14).map(sparse).collect();
    sets.extend(BOOTSTRAP_SETS.iter().map(|(name, request)| ((*name).into(), *request)));
    for (name, request) in &sets {
        if arguments.filters.iter().any(|wanted| wanted == name) {
            let rows = measure(
                name,
                request,
                arguments.threads.as_deref().unwrap_or(&[1]),
                arguments.count.unwrap_or(1),
            );
            rows.iter().for_each(harness::print);
            harness::finish(&arguments, "bootstrap", &rows);
        }
    }
}

/// The levels and the reduction of the sparse set, for `2^log_slots` slots, in factors of about three layers.
fn sparse(log_slots: u32) -> (String, BootstrapRequest) {
    let set = BOOTSTRAP_SETS.iter().find(|(_, request)| request.sparse_log_slots.is_some());
    let to_slots = log_slots.div_ceil(3).max(2);
    let request = BootstrapRequest { sparse_log_slots: Some(log_slots), to_slots, ..set.unwrap().1 };
    (format!("2p16_sparse{log_slots}"), request)
}

fn measure(name: &str, request: &BootstrapRequest, threads: &[usize], vectors: usize) -> Vec<Row> {
    let plan = request.plan().unwrap();
    let security = SecurityPolicy::standard_128().check(&plan.parameters, &plan.keys).unwrap();
    let p = &plan.parameters;
    let context = Arc::new(Context::new(p.log_n, &p.chain, &p.special, Path::best()).unwrap());
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let generator = KeyGenerator::new(&context, &secret).unwrap();
    let shape = |KeySpec { kind, level, gadget }: &KeySpec| {
        KeyShape::of(kind.code(context.n()), level.limbs(), gadget.digit_limbs, gadget.special_limbs)
    };
    let keys: Vec<_> = plan
        .keys
        .iter()
        .map(|spec| generator.evaluation_key(shape(spec), &mut randomness).unwrap())
        .collect();
    let key_bytes: usize = keys.iter().map(|key| key.memory_bytes()).sum();
    let keys = BootstrapKeys::new(&context, &plan, keys).unwrap();
    let bootstrapper = Bootstrapper::new(plan.clone(), context.clone()).unwrap();
    let scale = |level: Level| Scale::canonical(level).value(&plan.circuit());

    let mut encrypt = |values: &[Complex]| {
        let limbs = Limbs(plan.input.limbs());
        let plain = context.encoder().encode_complex(values, scale(plan.input), limbs, 0).unwrap();
        encrypt_secret(&context, &secret, &plain, &mut randomness).unwrap().expand(&context).unwrap()
    };
    let errors = |result: &Ciphertext, level: Level, values: &[Complex]| {
        let found = decrypt_slots(&context, &secret, result, scale(level)).unwrap();
        let mut errors = Errors::default();
        found.iter().zip(values).for_each(|(f, v)| errors.add((f.re - v.re).hypot(f.im - v.im)));
        errors
    };
    let kinds = messages(plan.slots(), 1).map(|(kind, values)| {
        let result = bootstrapper.run(&encrypt(&values), &keys).unwrap();
        (kind, errors(&result, plan.output, &values))
    });
    let mut uniform = kinds[0].1;
    for seed in 2..=vectors as u64 {
        let [(_, values), ..] = messages(plan.slots(), seed);
        let result = bootstrapper.run(&encrypt(&values), &keys).unwrap();
        uniform.join(&errors(&result, plan.output, &values));
    }
    // The mean modulus of a complex error is sqrt(pi/2) deviations of a part, that of the secret's value at a slot, which multiplies
    // it, sqrt(pi)/2 of its root mean square.
    let deviation = plan.noise().hypot(plan.series_error(1.0));
    let predicted = -(deviation * std::f64::consts::PI / 8f64.sqrt()).log2();
    assert!(
        (uniform.mean_bits() - predicted).abs() < 1.0,
        "measured noise is the predicted one within a factor of 2"
    );

    let [(_, values), _, (_, one_sided), _] = messages(plan.slots(), 1);
    let fresh = encrypt(&values);
    let twice = plan.iteration().map(|iteration| {
        let result = bootstrapper.run_twice(&fresh, &iteration, &keys).unwrap();
        errors(&result, iteration.output, &values).mean_bits()
    });
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let real = encrypt(&one_sided);
    let real_s = (plan.reductions() == 2)
        .then(|| pool(1).install(|| seconds(|| bootstrapper.run_real(&real, &keys).unwrap())));
    let more = json!({
        "log_n": p.log_n, "log_qp": security.log_qp, "ephemeral_log_qp": security.ephemeral.map(|e| e.log_qp),
        "secret": "uniform ternary, ephemeral of weight 32", "usable_levels": plan.usable_levels(),
        "slots": plan.slots(), "vectors": vectors,
        "precision_mean_bits": uniform.mean_bits(), "precision_worst_bits": uniform.worst_bits(),
        "predicted_mean_bits": predicted, "twice_mean_bits": twice, "real_s": real_s,
        "kinds": kinds.iter().map(|(kind, e)| json!([kind, e.mean_bits(), e.worst_bits()])).collect::<Vec<Value>>(),
        "keys": plan.keys.len(), "key_bytes": key_bytes, "plaintext_bytes": bootstrapper.plaintext_bytes(),
    });
    let mut rows: Vec<Row> = threads
        .iter()
        .map(|&threads| {
            let value = pool(threads).install(|| seconds(|| bootstrapper.run(&fresh, &keys).unwrap()));
            let suffix = if threads == 1 { String::new() } else { format!("_{threads}t") };
            Row { name: format!("bootstrap_{name}{suffix}_s"), value, unit: "s", threads, more: more.clone() }
        })
        .collect();
    let gib = harness::peak_gib();
    rows.push(Row { name: format!("bootstrap_{name}_gib"), value: gib, unit: "gib", threads: 1, more });
    rows
}

/// Median seconds of three calls.
fn seconds<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut once = || {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    harness::median((0..3).map(|_| once()).collect())
}

/// Absolute errors of slots.
#[derive(Clone, Copy, Default)]
struct Errors {
    count: usize,
    sum: f64,
    largest: f64,
}

impl Errors {
    fn add(&mut self, error: f64) {
        self.join(&Errors { count: 1, sum: error, largest: error });
    }

    fn join(&mut self, other: &Errors) {
        self.count += other.count;
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
    }

    fn mean_bits(&self) -> f64 {
        -(self.sum / self.count as f64).log2()
    }

    fn worst_bits(&self) -> f64 {
        -self.largest.log2()
    }
}

/// Uniform in the unit square, constant, one-sided as after a ReLU, one-hot.
fn messages(slots: usize, seed: u64) -> [(&'static str, Vec<Complex>); 4] {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let uniform: Vec<_> = (0..slots).map(|_| Complex { re: next(), im: next() }).collect();
    let one_sided = uniform.iter().map(|z| Complex { re: z.re.abs(), im: 0.0 }).collect();
    let mut one_hot = vec![Complex::default(); slots];
    one_hot[slots / 3].re = 1.0;
    let constant = vec![Complex { re: 1.0, im: -1.0 }; slots];
    [("uniform", uniform), ("constant", constant), ("one-sided", one_sided), ("one-hot", one_hot)]
}
