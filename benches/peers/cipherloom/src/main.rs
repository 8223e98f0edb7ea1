//! Single operations of this engine on one thread, timed for `benches/peers/measure.py`.
//!
//! Relies on `key=value` arguments (log_n, primes, prime_bits, digit_limbs, seconds, operations); prints one JSON object:
//! library, version, parameters, and per operation the median milliseconds, the calls and the precision of the result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use cipherloom_ckks::{
    Ciphertext, Context, EvaluationKey, Gadget, Hoisting, KeyShape, KeyTarget, Limbs, LinearSweep, Plaintext,
    RotationStep, SweepProduct, SweepStep,
};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, decrypt_slots, encrypt_secret};
use cipherloom_ir::scheme::{nearest_prime, special_primes};
use cipherloom_ring::Path;

/// Baby and giant steps of the linear transformation.
const STEPS: u32 = 8;
const CALLS_MIN: usize = 3;

fn main() {
    let arguments = Arguments::parse();
    let engine = Engine::new(&arguments);
    let operations: Vec<String> = arguments
        .text("operations")
        .split(',')
        .map(|operation| {
            let timed = engine.run(operation, arguments.number("seconds"));
            let precision = timed.precision_bits.map_or("null".to_owned(), |bits| format!("{bits:.1}"));
            format!(
                r#""{operation}":{{"ms":{:.4},"calls":{},"precision_bits":{precision}}}"#,
                timed.ms, timed.calls
            )
        })
        .collect();
    println!(
        r#"{{"library":"cipherloom","version":"{}","parameters":{},"operations":{{{}}}}}"#,
        env!("CARGO_PKG_VERSION"),
        engine.parameters(),
        operations.join(",")
    );
}

struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn parse() -> Arguments {
        let pair = |word: String| {
            let (key, value) = word.split_once('=').expect("arguments are key=value");
            (key.to_owned(), value.to_owned())
        };
        Arguments(std::env::args().skip(1).map(pair).collect())
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("{key}=.. is missing"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        self.text(key).parse().unwrap_or_else(|_| panic!("{key}=.. is no number"))
    }
}

struct Timed {
    ms: f64,
    calls: usize,
    precision_bits: Option<f64>,
}

/// Median of calls after a first one that is not counted, and the last result.
fn time<T>(seconds: f64, mut call: impl FnMut() -> T) -> (Timed, T) {
    let mut last = call();
    let mut samples = Vec::new();
    let begin = Instant::now();
    while samples.len() < CALLS_MIN || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        last = call();
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    samples.sort_by(f64::total_cmp);
    (Timed { ms: samples[(samples.len() - 1) / 2], calls: samples.len(), precision_bits: None }, last)
}

/// A context at the top of its chain, a secret, and two encrypted vectors.
struct Engine {
    context: Context,
    gadget: Gadget,
    secret: SecretKey,
    scale: f64,
    values: [Vec<f64>; 2],
    inputs: [Ciphertext; 2],
}

impl Engine {
    fn new(arguments: &Arguments) -> Engine {
        let (log_n, bits): (u32, u32) = (arguments.number("log_n"), arguments.number("prime_bits"));
        let digit_limbs: usize = arguments.number("digit_limbs");
        let mut chain = Vec::new();
        for _ in 0..arguments.number("primes") {
            let prime = nearest_prime((1 << bits) - (1 << 20), log_n, &chain).expect("a prime");
            chain.push(prime);
        }
        let special = special_primes(log_n, &chain, digit_limbs as u32).expect("special primes");
        let context = Context::new(log_n, &chain, &special, Path::best()).expect("a context");
        let gadget = Gadget { digit_limbs, special_limbs: special.len() };
        let mut randomness = Randomness::from_system().expect("randomness");
        let secret = SecretKey::generate(context.degree(), &mut randomness);
        let scale = (1u64 << bits) as f64;
        let values = [1, 2].map(|seed| noise(seed, context.slots()));
        let inputs = values.each_ref().map(|values| {
            let plain = context.encoder().encode(values, scale, Limbs(chain.len()), 0).expect("an encoding");
            let seeded = encrypt_secret(&context, &secret, &plain, &mut randomness).expect("an encryption");
            seeded.expand(&context).expect("a ciphertext")
        });
        Engine { context, gadget, secret, scale, values, inputs }
    }

    fn limbs(&self) -> Limbs {
        Limbs(self.context.chain().len())
    }

    /// Scale of a rescaled product.
    fn product_scale(&self) -> f64 {
        self.scale * self.scale / self.context.limb(self.limbs().0 - 1).modulus().value() as f64
    }

    fn key(&self, target: KeyTarget) -> EvaluationKey {
        let generator = KeyGenerator::new(&self.context, &self.secret).expect("a generator");
        let mut randomness = Randomness::from_system().expect("randomness");
        let shape = KeyShape { target, limbs: self.limbs(), gadget: self.gadget };
        generator.evaluation_key(shape, &mut randomness).expect("a key")
    }

    fn rotation_key(&self, step: u32) -> EvaluationKey {
        self.key(KeyTarget::Galois(RotationStep(step).element(self.context.degree())))
    }

    fn run(&self, operation: &str, seconds: f64) -> Timed {
        let (context, [x, y], [v, w]) = (&self.context, &self.inputs, &self.values);
        let rotated = |step: usize| move |i: usize| v[(i + step) % v.len()];
        match operation {
            "rotate" => {
                let key = self.rotation_key(1);
                let (timed, out) = time(seconds, || context.rotate(x, &key).expect("a rotation"));
                self.judged(timed, &out, self.scale, rotated(1))
            }
            "rotate8" => {
                let keys: Vec<_> = (1..=STEPS).map(|step| self.rotation_key(step)).collect();
                let (timed, out) = time(seconds, || {
                    let hoisted = context.hoist(x, self.gadget).expect("digits");
                    let rotate = |key| context.rotate_hoisted(&hoisted, x, key).expect("a rotation");
                    keys.iter().map(rotate).collect::<Vec<_>>()
                });
                self.judged(timed, &out[STEPS as usize - 1], self.scale, rotated(STEPS as usize))
            }
            "multiply" => {
                let key = self.key(KeyTarget::Relinearization);
                let (timed, out) = time(seconds, || {
                    let product = context.mul(x, y).expect("a product");
                    context.relinearize_rescale(&product, &key).expect("a value")
                });
                self.judged(timed, &out, self.product_scale(), |i| v[i] * w[i])
            }
            "multiply_plain" => {
                let plain = self.plaintext(w, 0);
                let (timed, out) = time(seconds, || {
                    let product = context.mul_plain(x, &plain).expect("a product");
                    context.rescale(&product).expect("a value")
                });
                self.judged(timed, &out, self.product_scale(), |i| v[i] * w[i])
            }
            "encode" => time(seconds, || self.plaintext(w, 0)).0,
            "linear64" => self.linear(seconds),
            _ => panic!("no operation is named {operation}"),
        }
    }

    fn plaintext(&self, values: &[f64], special: usize) -> Plaintext {
        self.context.encoder().encode(values, self.scale, self.limbs(), special).expect("an encoding")
    }

    fn linear(&self, seconds: f64) -> Timed {
        let (count, slots) = ((STEPS * STEPS) as usize, self.context.slots());
        let steps = (1..STEPS).flat_map(|i| [i, i * STEPS]);
        let keys: BTreeMap<u32, EvaluationKey> = steps.map(|step| (step, self.rotation_key(step))).collect();
        let diagonals: Vec<Vec<f64>> = (0..count).map(|d| diagonal(d, count, slots)).collect();
        let plaintexts: Vec<Arc<Plaintext>> = diagonals
            .iter()
            .enumerate()
            .map(|(d, diagonal)| {
                let giant = d - d % STEPS as usize;
                let turned: Vec<f64> = (0..slots).map(|i| diagonal[(i + slots - giant) % slots]).collect();
                Arc::new(self.plaintext(&turned, self.gadget.special_limbs))
            })
            .collect();
        let step = |i: u32| -> SweepStep<'_> { (RotationStep(i), keys.get(&i).map(Into::into)) };
        let product = |d: usize| {
            let (giant, baby) = (d / STEPS as usize, d % STEPS as usize);
            SweepProduct { output: 0, giant, input: 0, baby }
        };
        let (timed, out) = time(seconds, || {
            let sweep = LinearSweep {
                inputs: vec![&self.inputs[0]],
                babies: (0..STEPS).map(step).collect(),
                giants: (0..STEPS).map(|i| step(i * STEPS)).collect(),
                onto: vec![],
                products: (0..count).map(product).collect(),
                outputs: 1,
                hoisting: Hoisting::Double,
                rescale: true,
                plaintext: &|d| Ok(plaintexts[d].clone().into()),
            };
            self.context.linear(&sweep).expect("a sweep")
        });
        let v = &self.values[0];
        let expected = |i: usize| (0..count).map(|d| diagonals[d][i] * v[(i + d) % slots]).sum();
        self.judged(timed, &out[0], self.product_scale(), expected)
    }

    /// With the worst slot's precision in bits.
    fn judged(&self, timed: Timed, out: &Ciphertext, scale: f64, expected: impl Fn(usize) -> f64) -> Timed {
        let slots = decrypt_slots(&self.context, &self.secret, out, scale).expect("slots");
        let worst =
            slots.iter().enumerate().map(|(i, slot)| (slot.re - expected(i)).abs()).fold(0.0, f64::max);
        Timed { precision_bits: Some(-worst.log2()), ..timed }
    }

    fn parameters(&self) -> String {
        let bits = |limbs: &[Arc<cipherloom_ring::Limb>]| -> f64 {
            limbs.iter().map(|limb| (limb.modulus().value() as f64).log2()).sum()
        };
        let (log_q, log_p) = (bits(self.context.chain()), bits(self.context.special()));
        let (primes, special) = (self.limbs().0, self.gadget.special_limbs);
        let digits = primes.div_ceil(self.gadget.digit_limbs);
        format!(
            r#"{{"log_q":{log_q:.1},"log_qp":{:.1},"secret":"uniform ternary","chain":"{primes} x {:.0} bits","key":"{digits} digits, {special} special primes","path":"{:?}"}}"#,
            log_q + log_p,
            log_q / primes as f64,
            Path::best()
        )
    }
}

/// Reproducible values in [-1, 1).
fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Diagonal `d` of `count`, so small that sums stay in [-1, 1].
fn diagonal(d: usize, count: usize, slots: usize) -> Vec<f64> {
    noise(100 + d as u64, slots).into_iter().map(|value| value / count as f64).collect()
}
