//! Single operations of the engine on one thread, at the modulus sizes at which the peers were measured.
//!
//! `cargo bench --bench primitives -- [NAME] [--record]`; rows go to `benches/results/primitives.json`. Values are
//! milliseconds, medians of repeated calls.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::ckks::{
    Ciphertext, Context, EvaluationKey, Gadget, KeyShape, KeyTarget, Limbs, RotationStep,
};
use cipherloom::client::{KeyGenerator, Randomness, SecretKey, encrypt_secret};
use cipherloom::ir::scheme::{nearest_prime, special_primes};
use cipherloom::ring::Path;
use harness::{Arguments, Row};
use serde_json::json;
use std::time::Instant;

/// A ring: name suffix, log N, ciphertext primes of equal size, primes per digit, calls that are timed.
struct Ring {
    suffix: &'static str,
    log_n: u32,
    primes: usize,
    prime_bits: u32,
    digit_limbs: usize,
    calls: usize,
}

const RINGS: [Ring; 2] = [
    Ring { suffix: "2p15", log_n: 15, primes: 13, prime_bits: 48, digit_limbs: 4, calls: 61 },
    Ring { suffix: "2p14", log_n: 14, primes: 6, prime_bits: 50, digit_limbs: 2, calls: 201 },
];

fn main() {
    let arguments = Arguments::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let rows = pool.install(|| RINGS.iter().flat_map(|r| measure(r, &arguments)).collect::<Vec<Row>>());
    harness::finish(&arguments, "primitives", &rows);
}

fn measure(ring: &Ring, arguments: &Arguments) -> Vec<Row> {
    let names = ["rotate", "multiply", "rescale"].map(|op| format!("{op}_{}", ring.suffix));
    if !names.iter().any(|n| arguments.wants(n)) {
        return vec![];
    }
    let mut chain = Vec::new();
    for _ in 0..ring.primes {
        let prime = nearest_prime((1 << ring.prime_bits) - (1 << 20), ring.log_n, &chain).expect("a prime");
        chain.push(prime);
    }
    let special = special_primes(ring.log_n, &chain, ring.digit_limbs as u32).expect("special primes");
    let context = Context::new(ring.log_n, &chain, &special, Path::best()).expect("a context");
    let gadget = Gadget { digit_limbs: ring.digit_limbs, special_limbs: special.len() };
    let mut randomness = Randomness::from_system().expect("randomness");
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let generator = KeyGenerator::new(&context, &secret).expect("a generator");
    let mut key = |target| -> EvaluationKey {
        let shape = KeyShape { target, limbs: Limbs(chain.len()), gadget };
        generator.evaluation_key(shape, &mut randomness).expect("a key")
    };
    let rotation = key(KeyTarget::Galois(RotationStep(1).element(context.degree())));
    let relinearization = key(KeyTarget::Relinearization);
    let values: Vec<f64> = (0..context.slots()).map(|i| (i % 7) as f64 / 7.0).collect();
    let scale = (1u64 << 40) as f64;
    let plaintext = context.encoder().encode(&values, scale, Limbs(chain.len()), 0).expect("an encoding");
    let x: Ciphertext = {
        let seeded = encrypt_secret(&context, &secret, &plaintext, &mut randomness).expect("an encryption");
        seeded.expand(&context).expect("a ciphertext")
    };
    let bits = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).sum::<f64>();
    let more = json!({
        "log_n": ring.log_n, "log_q": bits(&chain), "log_qp": bits(&chain) + bits(&special),
        "primes": chain.len(), "special_primes": special.len(), "digit_limbs": ring.digit_limbs,
    });
    let row =
        |name: &String, value| Row { name: name.clone(), value, unit: "ms", threads: 1, more: more.clone() };
    vec![
        row(&names[0], time(ring.calls, || context.rotate(&x, &rotation).expect("a rotation"))),
        row(
            &names[1],
            time(ring.calls, || {
                let product = context.mul(&x, &x).expect("a product");
                context.relinearize_rescale(&product, &relinearization).expect("a value")
            }),
        ),
        row(&names[2], time(ring.calls, || context.rescale(&x).expect("a value"))),
    ]
}

/// Median milliseconds of a call, after three that are not counted.
fn time<T>(calls: usize, mut call: impl FnMut() -> T) -> f64 {
    (0..3).for_each(|_| drop(call()));
    let samples = (0..calls).map(|_| {
        let start = Instant::now();
        let result = call();
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        drop(result);
        elapsed
    });
    harness::median(samples.collect())
}
