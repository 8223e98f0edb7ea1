//! Contexts, slots and measures that the tests share.

use cipherloom_ckks::{Complex, Context};
use cipherloom_ring::{Path, is_prime};

/// The largest primes below 2^bits that are 1 modulo 2N.
pub fn primes(log_n: u32, bits: u32, count: usize) -> Vec<u64> {
    let two_n = 2u64 << log_n;
    (1..).map(|k| (1u64 << bits) - k * two_n + 1).filter(|q| is_prime(*q)).take(count).collect()
}

/// A context of `chain` primes of 40 bits and `special` primes of 49 bits.
pub fn context(log_n: u32, chain: usize, special: usize) -> Context {
    Context::new(log_n, &primes(log_n, 40, chain), &primes(log_n, 49, special), Path::best()).unwrap()
}

/// Real slot values in [−1, 1] that differ from slot to slot.
pub fn slots(context: &Context, salt: u64) -> Vec<f64> {
    let mix = |k: u64| (k.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64;
    (1..=context.slots() as u64).map(|k| mix(k) / (1u64 << 52) as f64 - 1.0).collect()
}

/// Largest distance of two slot vectors, imaginary parts included.
pub fn distance(found: &[Complex], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f.re - e).abs().max(f.im.abs())).fold(0.0, f64::max)
}
