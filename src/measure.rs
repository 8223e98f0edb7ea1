//! Measures the engine's work on this machine: what cost profiles are made from, and what `doctor` compares with one.
//!
//! Relies on the engine alone; operands are made up, since times do not depend on values. Promises: keys and plaintexts
//! come from pools larger than the last-level cache, as in an evaluation, where each is read once; medians; one thread if
//! called on a pool of one thread.

mod sweeps;

use crate::error::{Error, Kind};
use cipherloom_ckks::{
    Ciphertext, Context, EvaluationKey, Gadget, KeyShape, KeyTarget, Limbs, Plaintext, RotationStep, Seed,
};
use cipherloom_compiler::cost::{Shape, Work};
use cipherloom_ir::scheme::{nearest_prime, special_primes};
use cipherloom_ring::{Evaluation, Path, Poly};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes of keys, and of plaintexts, that calls take in turn: twice the last-level caches we know.
const POOL_BYTES: usize = 64 << 20;
/// Keys that a sweep of the largest shape needs at once.
const KEYS_MIN: usize = 18;
/// Bits of the made-up primes: times do not depend on them.
const PRIME_BITS: u32 = 40;
/// Words of made-up polynomials are below this, which is below every prime.
const WORD_MAX: u64 = 1 << 20;
/// Scale of the made-up plaintexts.
const SCALE: f64 = (1u64 << 30) as f64;

/// Sizes of the operands to measure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Chain primes.
    pub limbs: u32,
    /// Primes of a digit.
    pub digit_limbs: u32,
}

/// How often each kind of work was done, and on what.
pub type Counts = Vec<(Work, Shape, u64)>;

/// A measured call.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What was called.
    pub name: String,
    /// The sort of work that dominates it, for people.
    pub group: &'static str,
    /// What it consists of.
    pub counts: Counts,
    /// Median time of a call.
    pub ns: f64,
}

/// How long a sample may take.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Time after which no call is begun.
    pub time: Duration,
    /// Fewest calls.
    pub calls_min: usize,
}

/// What the calls of one size work on.
struct Bench {
    size: Size,
    effort: Effort,
    context: Context,
    gadget: Gadget,
    x: Ciphertext,
    y: Ciphertext,
    /// Galois keys of the steps 1, 2, …
    keys: Vec<EvaluationKey>,
    plaintexts: Vec<Arc<Plaintext>>,
    turn: AtomicUsize,
    samples: Vec<Sample>,
}

/// Measures every kind of work at a size.
///
/// # Errors
/// [`Kind::Internal`] where the engine refuses the made-up operands.
pub fn samples(size: Size, effort: Effort) -> Result<Vec<Sample>, Error> {
    let mut bench = Bench::new(size, effort)?;
    bench.single_ops()?;
    bench.key_switches()?;
    bench.sweeps()?;
    Ok(bench.samples)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, "measurement", error)
}

impl Bench {
    fn new(size: Size, effort: Effort) -> Result<Bench, Error> {
        let (log_n, limbs) = (size.log_n, size.limbs as usize);
        let mut chain = Vec::new();
        for _ in 0..limbs {
            chain.push(nearest_prime(1 << PRIME_BITS, log_n, &chain).map_err(internal)?);
        }
        let special = special_primes(log_n, &chain, size.digit_limbs).map_err(internal)?;
        let context = Context::new(log_n, &chain, &special, Path::best()).map_err(internal)?;
        let gadget = Gadget { digit_limbs: size.digit_limbs as usize, special_limbs: special.len() };
        let poly = |limbs: usize, seed: u64| -> Poly<Evaluation> {
            let mut poly = Poly::unspecified(context.degree(), limbs);
            let words = poly.as_mut_slice().iter_mut().zip(seed..);
            words.for_each(|(word, k)| *word = k.wrapping_mul(0x9e37_79b9_7f4a_7c15) % WORD_MAX);
            poly
        };
        let ciphertext =
            |seed| Ciphertext::new(vec![poly(limbs, seed), poly(limbs, seed + 1)]).map_err(internal);
        let (x, y) = (ciphertext(1)?, ciphertext(3)?);
        let basis = limbs + special.len();
        let poly_bytes = 8 * context.n() * basis;
        let bytes = key_bytes(&context, gadget);
        let key = |step: usize| {
            let element = RotationStep(step as u32).element(context.degree());
            key(&context, KeyTarget::Galois(element), gadget, |digit| poly(basis, digit))
        };
        let keys = (1..=POOL_BYTES.div_ceil(bytes).max(KEYS_MIN)).map(key).collect::<Result<_, _>>()?;
        let plaintext = |k: usize| Plaintext::new(poly(basis, k as u64), special.len()).map(Arc::new);
        let plaintexts = (0..POOL_BYTES.div_ceil(poly_bytes).max(2)).map(plaintext);
        let plaintexts = plaintexts.collect::<Result<_, _>>().map_err(internal)?;
        let (turn, samples) = (AtomicUsize::new(0), Vec::new());
        Ok(Bench { size, effort, context, gadget, x, y, keys, plaintexts, turn, samples })
    }

    /// Operands of this size; products without keys see no special primes.
    fn shape(&self, special: usize) -> Shape {
        Shape {
            limbs: self.size.limbs.into(),
            special: special as u64,
            digit_limbs: self.size.digit_limbs.into(),
        }
    }

    /// One call of one kind of work.
    fn once(&self, work: Work) -> Counts {
        vec![(work, self.shape(self.gadget.special_limbs), 1)]
    }

    /// The next of so many places of a pool.
    fn next(&self, step: usize) -> usize {
        self.turn.fetch_add(step, Ordering::Relaxed)
    }

    fn key(&self) -> &EvaluationKey {
        &self.keys[self.next(1) % self.keys.len()]
    }

    fn plaintext(&self) -> &Arc<Plaintext> {
        &self.plaintexts[self.next(1) % self.plaintexts.len()]
    }

    /// Median time of a call.
    fn time<T, E: std::fmt::Display>(&self, call: impl Fn() -> Result<T, E>) -> Result<f64, Error> {
        call().map_err(internal)?;
        let (mut times, begin) = (Vec::new(), Instant::now());
        while times.len() < self.effort.calls_min || begin.elapsed() < self.effort.time {
            let start = Instant::now();
            let result = call().map_err(internal)?;
            times.push(start.elapsed().as_nanos() as f64);
            drop(result);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[(times.len() - 1) / 2])
    }

    fn record(&mut self, name: &str, group: &'static str, counts: Counts, ns: f64) {
        let Size { log_n, limbs, digit_limbs } = self.size;
        let name = format!("{name} 2^{log_n} limbs {limbs} digits of {digit_limbs}");
        self.samples.push(Sample { name, group, counts, ns });
    }

    fn single_ops(&mut self) -> Result<(), Error> {
        let (c, x, y) = (&self.context, &self.x, &self.y);
        let slots: Vec<f64> = (0..c.slots()).map(|i| (i % 7) as f64 / 7.0).collect();
        let mut rows = vec![
            ("add", Work::Add, self.time(|| c.add(x, y))?),
            ("add_plain", Work::AddPlain, self.time(|| c.add_plain(x, self.plaintext()))?),
            ("mul_plain", Work::MulPlain, self.time(|| c.mul_plain(x, self.plaintext()))?),
            ("mul_scalar", Work::MulScalar, self.time(|| c.mul_scalar(x, 12345.0))?),
            ("mul", Work::Mul, self.time(|| c.mul(x, y))?),
        ];
        if self.size.limbs > 1 {
            rows.push(("rescale", Work::Rescale, self.time(|| c.rescale(x))?));
        }
        let encode = self.time(|| c.encoder().compact(&slots, SCALE))?;
        for (name, work, ns) in rows {
            let group = if work == Work::Rescale { "transforms" } else { "sums and products" };
            self.record(name, group, self.once(work), ns);
        }
        self.record("encode", "encoding", self.once(Work::Encode), encode);
        Ok(())
    }

    fn key_switches(&mut self) -> Result<(), Error> {
        let (c, x) = (&self.context, &self.x);
        let product = c.mul(x, &self.y).map_err(internal)?;
        let bytes = key_bytes(c, self.gadget);
        let made = |start: usize| {
            key(c, KeyTarget::Relinearization, self.gadget, |digit| {
                let mut half = self.keys[0].b(0).clone();
                half.limb_mut(0)[0] = digit + start as u64;
                half
            })
        };
        let pool = (0..POOL_BYTES.div_ceil(bytes).max(2)).map(made);
        let pool = pool.collect::<Result<Vec<_>, _>>()?;
        let next = || &pool[self.next(1) % pool.len()];
        let rows = [
            ("rotate", Work::Rotate, self.time(|| c.rotate(x, self.key()))?),
            ("hoist", Work::Decompose, self.time(|| c.hoist(x, self.gadget))?),
            ("relinearize", Work::Relinearize, self.time(|| c.relinearize_rescale(&product, next()))?),
        ];
        for (name, work, ns) in rows {
            self.record(name, "key switches", self.once(work), ns);
        }
        Ok(())
    }
}

/// Bytes of a key of the whole chain.
fn key_bytes(context: &Context, gadget: Gadget) -> usize {
    let limbs = context.chain().len();
    2 * gadget.digits(Limbs(limbs)) * (limbs + gadget.special_limbs) * 8 * context.n()
}

/// A key of made-up halves.
fn key(
    context: &Context,
    target: KeyTarget,
    gadget: Gadget,
    half: impl Fn(u64) -> Poly<Evaluation>,
) -> Result<EvaluationKey, Error> {
    let shape = KeyShape { target, limbs: Limbs(context.chain().len()), gadget };
    let halves = (0..shape.digits() as u64).map(half).collect();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&target.code().to_le_bytes());
    EvaluationKey::new(context, shape, Seed(seed), halves).map_err(internal)
}
