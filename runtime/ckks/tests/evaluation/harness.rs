//! A small ring with keys, and slot vectors to compare against. Parameters here are not secure.

use std::sync::Mutex;

use cipherloom_ckks::{
    Ciphertext, Complex, Context, EvaluationKey, Gadget, GaloisElement, KeyShape, KeyTarget, Limbs,
    RotationStep,
};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, decrypt_slots, encrypt_secret};
use cipherloom_ring::{Path, is_prime};

/// Scale of every fresh value.
pub const SCALE: f64 = (1u64 << 42) as f64;
/// Bits of chain primes; special primes have two more, so that P exceeds a digit of the same number of primes.
pub const CHAIN_BITS: u32 = 44;

pub struct World {
    pub context: Context,
    pub secret: SecretKey,
    randomness: Mutex<Randomness>,
}

/// The largest `count` primes below `2^bits` that are 1 modulo `2N`.
pub fn primes(log_n: u32, bits: u32, count: usize) -> Vec<u64> {
    let step = 2u64 << log_n;
    let top = (1u64 << bits) - step + 1;
    (0..).map(|k| top - k * step).filter(|&q| is_prime(q)).take(count).collect()
}

impl World {
    pub fn new(log_n: u32, chain: usize, special: usize) -> World {
        World::on_path(log_n, chain, special, Path::best())
    }

    pub fn on_path(log_n: u32, chain: usize, special: usize, path: Path) -> World {
        let (chain, special) = (primes(log_n, CHAIN_BITS, chain), primes(log_n, 49, special));
        let context = Context::new(log_n, &chain, &special, path).unwrap();
        let mut randomness = Randomness::insecure_from_seed(&[7; 32]);
        let secret = SecretKey::generate(context.degree(), &mut randomness);
        World { context, secret, randomness: Mutex::new(randomness) }
    }

    pub fn prime(&self, i: usize) -> f64 {
        self.context.limb(i).modulus().value() as f64
    }

    /// Reproducible slots in the unit square.
    pub fn values(&self, seed: u64) -> Vec<Complex> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..self.context.slots()).map(|_| Complex { re: next(), im: next() }).collect()
    }

    pub fn encrypt(&self, values: &[Complex], limbs: Limbs) -> Ciphertext {
        let plain = self.context.encoder().encode_complex(values, SCALE, limbs, 0).unwrap();
        let seeded =
            encrypt_secret(&self.context, &self.secret, &plain, &mut self.randomness.lock().unwrap())
                .unwrap();
        seeded.expand(&self.context).unwrap()
    }

    pub fn key(&self, target: KeyTarget, limbs: Limbs, gadget: Gadget) -> EvaluationKey {
        let generator = KeyGenerator::new(&self.context, &self.secret).unwrap();
        generator
            .evaluation_key(KeyShape { target, limbs, gadget }, &mut self.randomness.lock().unwrap())
            .unwrap()
    }

    pub fn rotation_key(&self, step: u32, limbs: Limbs, gadget: Gadget) -> EvaluationKey {
        self.key(KeyTarget::Galois(RotationStep(step).element(self.context.degree())), limbs, gadget)
    }

    pub fn conjugation_key(&self, limbs: Limbs, gadget: Gadget) -> EvaluationKey {
        self.key(KeyTarget::Galois(GaloisElement::conjugation(self.context.degree())), limbs, gadget)
    }

    /// Largest distance between the slots of a ciphertext and `expected`.
    pub fn error(&self, ciphertext: &Ciphertext, scale: f64, expected: &[Complex]) -> f64 {
        let found = decrypt_slots(&self.context, &self.secret, ciphertext, scale).unwrap();
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).map(|(a, b)| libm::hypot(a.re - b.re, a.im - b.im)).fold(0.0, f64::max)
    }

    #[track_caller]
    pub fn assert_slots(&self, ciphertext: &Ciphertext, scale: f64, expected: &[Complex]) {
        // In units of the scale, a slot has fresh noise of about 3.2 sqrt(N), and sqrt(N) sqrt(N 2/3 / 12) by each rounding
        // of a part that meets the secret; the largest of N slots has four times as much, a sum of 18 again.
        let n = self.context.n() as f64;
        let bound = 16.0 * (n + 16.0 * libm::sqrt(n)) / scale.min(SCALE);
        let error = self.error(ciphertext, scale, expected);
        assert!(error < bound, "error {error:e} is not below {bound:e}");
    }
}

pub fn map2(a: &[Complex], b: &[Complex], f: impl Fn(Complex, Complex) -> Complex) -> Vec<Complex> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

pub fn add(a: &[Complex], b: &[Complex]) -> Vec<Complex> {
    map2(a, b, |a, b| Complex { re: a.re + b.re, im: a.im + b.im })
}

pub fn mul(a: &[Complex], b: &[Complex]) -> Vec<Complex> {
    map2(a, b, |a, b| Complex { re: a.re * b.re - a.im * b.im, im: a.re * b.im + a.im * b.re })
}

pub fn scaled(a: &[Complex], factor: f64) -> Vec<Complex> {
    a.iter().map(|a| Complex { re: a.re * factor, im: a.im * factor }).collect()
}

pub fn rotated(a: &[Complex], step: usize) -> Vec<Complex> {
    (0..a.len()).map(|j| a[(j + step) % a.len()]).collect()
}

pub fn conjugated(a: &[Complex]) -> Vec<Complex> {
    a.iter().map(|a| Complex { re: a.re, im: -a.im }).collect()
}
