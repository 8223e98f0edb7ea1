//! The slow twins, written from the definitions with 128-bit remainders, and the numbers that tests run over.

use std::sync::Arc;

use cipherloom_ring::{Degree, Limb, Modulus, Path, is_prime};

pub fn degree(log_n: u32) -> Degree {
    Degree::new(log_n).expect("test numbers are valid")
}

pub fn mul(a: u64, b: u64, q: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(q)) as u64
}

pub fn pow(a: u64, e: u64, q: u64) -> u64 {
    (0..64).rev().fold(1, |out, bit| {
        let square = mul(out, out, q);
        if e >> bit & 1 == 1 { mul(square, a, q) } else { square }
    })
}

pub fn reverse(i: usize, bits: u32) -> usize {
    (0..bits).fold(0, |out, bit| out << 1 | (i >> bit & 1))
}

/// Index `i` of the evaluation domain: the value at `root^(2 bitrev(i) + 1)`, by Horner's rule.
pub fn evaluate(a: &[u64], root: u64, q: u64) -> Vec<u64> {
    let log_n = a.len().trailing_zeros();
    let value = |i: usize| {
        let x = pow(root, 2 * reverse(i, log_n) as u64 + 1, q);
        a.iter().rev().fold(0, |sum, &c| (mul(sum, x, q) + c) % q)
    };
    (0..a.len()).map(value).collect()
}

/// The product modulo `X^N + 1`.
pub fn negacyclic(a: &[u64], b: &[u64], q: u64) -> Vec<u64> {
    let n = a.len();
    let mut out = vec![0; n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let p = mul(x, y, q);
            let k = (i + j) % n;
            out[k] = if i + j < n { (out[k] + p) % q } else { (out[k] + q - p) % q };
        }
    }
    out
}

/// The least prime from `from` on that is 1 modulo `2N`, outside the refused range.
pub fn prime_from(from: u64, log_n: u32) -> u64 {
    let step = 2u64 << log_n;
    let from = if from >> 50 == 1 { 1 << 51 } else { from };
    (from.div_ceil(step)..)
        .map(|k| k * step + 1)
        .find(|&q| is_prime(q) && q >> 50 != 1)
        .expect("test numbers are valid")
}

/// The largest prime below `below` that is 1 modulo `2N`.
pub fn prime_below(below: u64, log_n: u32) -> u64 {
    let step = 2u64 << log_n;
    (1..(below - 1).div_ceil(step))
        .rev()
        .map(|k| k * step + 1)
        .find(|&q| is_prime(q))
        .expect("test numbers are valid")
}

/// Smallest and largest primes of each kernel range, and both sides of the powers of two and of their middles,
/// where the vector kernels choose their constants and reductions.
pub fn primes(log_n: u32) -> Vec<u64> {
    let mut primes = vec![prime_from(0, log_n)];
    primes.extend([30, 40, 48, 49].map(|bits| prime_from(1 << bits, log_n)));
    primes.extend([31, 40, 48, 49, 50, 60].map(|bits| prime_below(1 << bits, log_n)));
    primes.extend([prime_from(3 << 48, log_n), prime_below(3 << 48, log_n)]);
    primes.extend([prime_from(1 << 51, log_n), prime_below(1 << 52, log_n), prime_from(1 << 52, log_n)]);
    // Both sides of the bound up to which forward transforms leave out their reductions.
    let lazy = (1 << 52) / (2 * u64::from(log_n) + 1);
    primes.extend([prime_below(lazy, log_n), prime_from(lazy, log_n)]);
    primes.sort_unstable();
    primes.dedup();
    primes
}

/// Deterministic residues that begin with the edges 0, 1, 2, q-2, q-1 in an order that depends on `seed`.
pub fn residues(n: usize, q: u64, seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ q;
    let edges = [0, 1, q - 1, q / 2, q - 2, q / 2 + 1, 2 % q];
    let next = |i: usize| {
        if i < 64 {
            return edges[(i / if seed.is_multiple_of(2) { 7 } else { 1 }) % 7];
        }
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % q
    };
    (0..n).map(next).collect()
}

/// The same prime on every path of this machine.
pub fn on_every_path(log_n: u32, q: u64) -> Vec<Arc<Limb>> {
    let limb = |path: Path| Arc::new(Limb::new(degree(log_n), q, path).expect("test numbers are valid"));
    Path::available().into_iter().map(limb).collect()
}

pub fn modulus(q: u64) -> Modulus {
    Modulus::new(q).expect("test numbers are valid")
}
