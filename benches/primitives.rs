//! Single operations of the engine, at the modulus sizes at which the peers were measured.
//!
//! `cargo bench -p cipherloom-client --bench primitives -- [NAME..] [--threads 1] [--record]`; rows go to
//! `benches/results/primitives.json`. Values are milliseconds, medians of calls that alternate between one thread and
//! two; a row on two threads is named `.._threads2` and says by what it is faster. Rows `tier_OPERATION_PATH` are N = 2^14 on
//! every kernel path of the processor in turn. It needs no compiler to build.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use cipherloom_ckks::{
    Ciphertext, Context, EvaluationKey, Gadget, Hoisting, KeyShape, KeyTarget, Limbs, LinearSweep, Plaintext,
    RotationStep, SweepProduct, SweepStep,
};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, encrypt_secret};
use cipherloom_ir::scheme::{nearest_prime, special_primes};
use cipherloom_ring::Path;
use harness::{Arguments, Row};
use rayon::ThreadPool;
use serde_json::json;

/// A ring: name suffix, log N, ciphertext primes of equal size, primes per digit.
struct Ring {
    suffix: &'static str,
    log_n: u32,
    primes: usize,
    prime_bits: f64,
    digit_limbs: usize,
}

const RINGS: [Ring; 3] = [
    Ring { suffix: "2p16", log_n: 16, primes: 26, prime_bits: 48.0, digit_limbs: 9 },
    Ring { suffix: "2p15", log_n: 15, primes: 13, prime_bits: 47.7, digit_limbs: 5 },
    Ring { suffix: "2p14", log_n: 14, primes: 6, prime_bits: 50.0, digit_limbs: 2 },
];

/// An operation, whose result is dropped.
type Call<'a> = Box<dyn Fn() + Sync + Send + 'a>;
/// A call, and where it runs.
type Take<'a> = (&'a ThreadPool, &'a (dyn Fn() + Sync + Send + 'a));

/// Baby and giant steps of the linear transformation.
const STEPS: u32 = 8;
/// Time that a row is given, and the calls that it has at least and at most.
const ROW_S: f64 = 1.5;
const CALLS_MIN: usize = 9;
const CALLS_MAX: usize = 301;

fn main() {
    let arguments = Arguments::parse();
    let threads = arguments.threads.clone().unwrap_or(vec![1, 2]);
    let pools: Vec<ThreadPool> = threads
        .iter()
        .map(|&threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads"))
        .collect();
    let mut rows = Vec::new();
    for ring in &RINGS {
        Operands::new(ring, Path::best()).measure(&arguments, &pools, &mut rows);
    }
    tiers(&arguments, &mut rows);
    harness::finish(&arguments, "primitives", &rows);
}

/// Makes a call from the operands of a ring.
type Maker = for<'a> fn(&'a Made) -> Call<'a>;

/// What is measured, by the word that its rows' names begin with.
const OPERATIONS: [(&str, Maker); 7] = [
    ("rotate", rotate),
    ("multiply", multiply),
    ("rotate8", rotate8),
    ("multiply_plain", multiply_plain),
    ("rescale", |made| Box::new(|| drop(made.context.rescale(&made.x).expect("a value")))),
    ("encode", encode),
    ("linear64", linear64),
];

fn rotate(made: &Made) -> Call<'_> {
    let key = made.rotation_key(1);
    Box::new(move || drop(made.context.rotate(&made.x, &key).expect("a rotation")))
}

fn multiply(made: &Made) -> Call<'_> {
    let key = made.key(KeyTarget::Relinearization);
    Box::new(move || {
        let product = made.context.mul(&made.x, &made.x).expect("a product");
        drop(made.context.relinearize_rescale(&product, &key).expect("a value"));
    })
}

fn rotate8(made: &Made) -> Call<'_> {
    let keys: Vec<_> = (1..=8).map(|step| made.rotation_key(step)).collect();
    Box::new(move || {
        let hoisted = made.context.hoist(&made.x, made.gadget).expect("digits");
        let rotated = |key| made.context.rotate_hoisted(&hoisted, &made.x, key).expect("a rotation");
        keys.iter().for_each(|key| drop(rotated(key)));
    })
}

fn multiply_plain(made: &Made) -> Call<'_> {
    Box::new(|| {
        let product = made.context.mul_plain(&made.x, &made.plaintext).expect("a product");
        drop(made.context.rescale(&product).expect("a value"));
    })
}

fn encode(made: &Made) -> Call<'_> {
    let limbs = Limbs(made.context.chain().len());
    Box::new(move || drop(made.context.encoder().encode(&made.values, SCALE, limbs, 0).expect("an encoding")))
}

fn linear64(made: &Made) -> Call<'_> {
    let steps = (1..STEPS).flat_map(|i| [i, i * STEPS]);
    let keys: BTreeMap<u32, EvaluationKey> = steps.map(|step| (step, made.rotation_key(step))).collect();
    let plaintexts: Vec<Arc<Plaintext>> = (0..(STEPS * STEPS) as usize)
        .map(|i| {
            let values: Vec<f64> = made.values.iter().map(|v| v + i as f64 / 64.0).collect();
            let limbs = Limbs(made.context.chain().len());
            let special = made.gadget.special_limbs;
            Arc::new(made.context.encoder().encode(&values, SCALE, limbs, special).expect("an encoding"))
        })
        .collect();
    Box::new(move || {
        let step = |i: u32| -> SweepStep<'_> { (RotationStep(i), keys.get(&i).map(Into::into)) };
        let product = |i: usize| SweepProduct {
            output: 0,
            giant: i / STEPS as usize,
            input: 0,
            baby: i % STEPS as usize,
        };
        let sweep = LinearSweep {
            inputs: vec![&made.x],
            babies: (0..STEPS).map(step).collect(),
            giants: (0..STEPS).map(|i| step(i * STEPS)).collect(),
            onto: vec![],
            products: (0..plaintexts.len()).map(product).collect(),
            outputs: 1,
            hoisting: Hoisting::Double,
            rescale: true,
            plaintext: &|i| Ok(plaintexts[i].clone().into()),
        };
        drop(made.context.linear(&sweep).expect("a sweep"));
    })
}

/// The operations of one ring by every path of this processor, on one thread: what the kernels are worth.
fn tiers(arguments: &Arguments, rows: &mut Vec<Row>) {
    let ring = RINGS.iter().find(|ring| ring.log_n == 14).expect("2^14 is among the rings");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let paths: Vec<Operands<'_>> =
        Path::available().into_iter().map(|path| Operands::new(ring, path)).collect();
    for (operation, call) in OPERATIONS {
        let name = |operands: &Operands<'_>| format!("tier_{operation}_{}", operands.path);
        if !paths.iter().any(|operands| arguments.wants(&name(operands))) {
            continue;
        }
        let calls: Vec<Call<'_>> = paths.iter().map(|operands| call(operands.made())).collect();
        let takes: Vec<Take<'_>> = calls.iter().map(|call| (&pool, &**call)).collect();
        let medians = medians(&takes);
        let best = medians[0];
        for (operands, value) in paths.iter().zip(medians) {
            let more = json!({ "path": operands.path.name(), "times_best": rounded(value / best), "log_n": ring.log_n });
            let row = Row { name: name(operands), value, unit: "ms", threads: 1, more };
            harness::print(&row);
            rows.push(row);
        }
    }
}

/// Medians of calls that take turns, ms.
fn medians(takes: &[Take<'_>]) -> Vec<f64> {
    let time = |(pool, call): &Take<'_>| {
        pool.install(|| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e3
        })
    };
    let once: f64 = takes.iter().map(|take| time(take).min(time(take))).sum();
    let calls = ((ROW_S * 1e3 / once) as usize).clamp(CALLS_MIN, CALLS_MAX);
    let mut samples: Vec<Vec<f64>> = vec![vec![]; takes.len()];
    for _ in 0..calls {
        samples.iter_mut().zip(takes).for_each(|(samples, take)| samples.push(time(take)));
    }
    samples.into_iter().map(harness::median).collect()
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1e3).round() / 1e3
}

/// What the operations of a ring work on, made when a row asks for it.
struct Operands<'a> {
    ring: &'a Ring,
    path: Path,
    made: OnceCell<Made>,
}

struct Made {
    context: Context,
    gadget: Gadget,
    secret: SecretKey,
    x: Ciphertext,
    plaintext: Plaintext,
    values: Vec<f64>,
    log_q: f64,
    log_qp: f64,
}

const SCALE: f64 = (1u64 << 40) as f64;

impl Operands<'_> {
    fn new(ring: &Ring, path: Path) -> Operands<'_> {
        Operands { ring, path, made: OnceCell::new() }
    }

    fn measure(&self, arguments: &Arguments, pools: &[ThreadPool], rows: &mut Vec<Row>) {
        for (operation, call) in OPERATIONS {
            let name = format!("{operation}_{}", self.ring.suffix);
            if arguments.wants(&name) {
                rows.extend(self.rows(&name, pools, &call(self.made())));
            }
        }
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| Made::new(self.ring, self.path))
    }

    /// One row per pool.
    fn rows(&self, name: &str, pools: &[ThreadPool], call: &Call<'_>) -> Vec<Row> {
        let takes: Vec<Take<'_>> = pools.iter().map(|pool| (pool, &**call)).collect();
        let medians = medians(&takes);
        let row = |(&value, pool): (&f64, &ThreadPool)| self.row(name, value, medians[0], pool);
        medians.iter().zip(pools).map(row).collect()
    }

    fn row(&self, name: &str, value: f64, first: f64, pool: &ThreadPool) -> Row {
        let (made, threads) = (self.made(), pool.current_num_threads());
        let name = if threads == 1 { name.to_owned() } else { format!("{name}_threads{threads}") };
        let mut more = json!({
            "ms_per_40_bits": (value * 40.0 / made.log_q * 1e4).round() / 1e4,
            "log_n": self.ring.log_n, "log_q": made.log_q, "log_qp": made.log_qp,
            "primes": self.ring.primes, "special_primes": made.gadget.special_limbs,
            "digit_limbs": self.ring.digit_limbs,
        });
        if threads > 1 {
            more["speedup"] = json!(rounded(first / value));
        }
        let row = Row { name, value, unit: "ms", threads, more };
        harness::print(&row);
        row
    }
}

impl Made {
    fn new(ring: &Ring, path: Path) -> Made {
        let mut chain = Vec::new();
        for _ in 0..ring.primes {
            let wanted = ring.prime_bits.exp2() as u64 - (1 << 22);
            chain.push(nearest_prime(wanted, ring.log_n, &chain).expect("a prime"));
        }
        let special = special_primes(ring.log_n, &chain, ring.digit_limbs as u32).expect("special primes");
        let context = Context::new(ring.log_n, &chain, &special, path).expect("a context");
        let mut randomness = Randomness::from_system().expect("randomness");
        let secret = SecretKey::generate(context.degree(), &mut randomness);
        let values: Vec<f64> = (0..context.slots()).map(|i| (i % 7) as f64 / 7.0).collect();
        let plaintext = context.encoder().encode(&values, SCALE, Limbs(chain.len()), 0).expect("an encoding");
        let seeded = encrypt_secret(&context, &secret, &plaintext, &mut randomness).expect("an encryption");
        let x = seeded.expand(&context).expect("a ciphertext");
        let bits = |primes: &[u64]| {
            let bits = primes.iter().map(|&q| (q as f64).log2()).sum::<f64>();
            (bits * 100.0).round() / 100.0
        };
        let (log_q, log_p) = (bits(&chain), bits(&special));
        let gadget = Gadget { digit_limbs: ring.digit_limbs, special_limbs: special.len() };
        Made { context, gadget, secret, x, plaintext, values, log_q, log_qp: log_q + log_p }
    }

    fn key(&self, target: KeyTarget) -> EvaluationKey {
        let shape = KeyShape { target, limbs: Limbs(self.context.chain().len()), gadget: self.gadget };
        let generator = KeyGenerator::new(&self.context, &self.secret).expect("a generator");
        let mut randomness = Randomness::from_system().expect("randomness");
        generator.evaluation_key(shape, &mut randomness).expect("a key")
    }

    fn rotation_key(&self, step: u32) -> EvaluationKey {
        self.key(KeyTarget::Galois(RotationStep(step).element(self.context.degree())))
    }
}
