//! Bootstrapping at full size: seconds, precision on four kinds of messages, bytes of keys, peak memory.
//!
//! `cargo bench -p cipherloom-runtime --bench bootstrap -- SET.. [--threads 1,2] [--record]`, SET being a name of
//! `BOOTSTRAP_SETS`; without one nothing runs, since a set at N = 2^16 needs about 8 GiB. Rows go to
//! `benches/results/bootstrap.json`. Time is that of one bootstrap after a first one, keys and diagonals in memory. Messages have as
//! many values as the set has slots, repeated where that is fewer than all; precision is that of one period.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom_ckks::{Complex, Context, KeyShape, Limbs};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, decrypt_slots, encrypt_secret};
use cipherloom_ir::scheme::{BOOTSTRAP_SETS, BootstrapRequest, KeySpec, Level, Scale, SecurityPolicy};
use cipherloom_ring::Path;
use cipherloom_runtime::{BootstrapKeys, Bootstrapper};
use harness::{Arguments, Row};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let arguments = Arguments::parse();
    for (name, request) in &BOOTSTRAP_SETS {
        if arguments.filters.iter().any(|wanted| wanted == name) {
            let rows = measure(name, request, arguments.threads.as_deref().unwrap_or(&[1]));
            rows.iter().for_each(harness::print);
            harness::finish(&arguments, "bootstrap", &rows);
        }
    }
}

fn measure(name: &str, request: &BootstrapRequest, threads: &[usize]) -> Vec<Row> {
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
    let kinds = messages(plan.slots()).map(|(kind, values)| {
        let result = bootstrapper.run(&encrypt(&values), &keys).unwrap();
        let found = decrypt_slots(&context, &secret, &result, scale(plan.output)).unwrap();
        let errors: Vec<f64> =
            found.iter().zip(&values).map(|(f, v)| (f.re - v.re).hypot(f.im - v.im)).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        (kind, -mean.log2(), -errors.iter().fold(0.0f64, |a, b| a.max(*b)).log2())
    });
    let fresh = encrypt(&messages(plan.slots())[0].1);
    let more = json!({
        "log_n": p.log_n, "log_qp": security.log_qp, "ephemeral_log_qp": security.ephemeral.map(|e| e.log_qp),
        "secret": "uniform ternary, ephemeral of weight 32", "usable_levels": plan.usable_levels(),
        "slots": plan.slots(),
        "precision_mean_bits": kinds[0].1, "precision_worst_bits": kinds[0].2,
        "kinds": kinds.iter().map(|(kind, mean, worst)| json!([kind, mean, worst])).collect::<Vec<Value>>(),
        "keys": plan.keys.len(), "key_bytes": key_bytes, "plaintext_bytes": bootstrapper.plaintext_bytes(),
    });
    let mut rows: Vec<Row> = threads
        .iter()
        .map(|&threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let seconds = pool.install(|| {
                let start = Instant::now();
                bootstrapper.run(&fresh, &keys).unwrap();
                start.elapsed().as_secs_f64()
            });
            let suffix = if threads == 1 { String::new() } else { format!("_{threads}t") };
            Row {
                name: format!("bootstrap_{name}{suffix}_s"),
                value: seconds,
                unit: "s",
                threads,
                more: more.clone(),
            }
        })
        .collect();
    let gib = peak_gib();
    rows.push(Row { name: format!("bootstrap_{name}_gib"), value: gib, unit: "gib", threads: 1, more });
    rows
}

/// Uniform in the unit square, constant, one-sided as after a ReLU, one-hot.
fn messages(slots: usize) -> [(&'static str, Vec<Complex>); 4] {
    let mut state = 1u64;
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

/// Largest resident size of this process so far.
fn peak_gib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / f64::from(1u32 << 20)
}
