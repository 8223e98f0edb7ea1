//! AVX2 with fused multiply-add: four lanes of floats that hold integers, for primes below `2^50`.
//!
//! AVX2 multiplies integers of 32 bits only, floats of 53. A product of two integers is the sum of two floats, both
//! exact: `h = fl(a b)` and `l = a b - h`, one fused multiply-subtract. With `n = round(h / q)`, which is at most a few
//! off, `h - n q` is a small integer, and again exact. So nothing here depends on how a float is rounded: results are
//! residues, the same as on every path. (The way of FLINT's `fft_small`, by D. Schultz.)
//!
//! - Integers in lanes are exact up to `2^53` in magnitude.
//! - `n` is off from `a b / q` by at most `1/2 + 3 |a b / q| 2^-53`: the errors of `h`, of `1 / q` and of their product.
//!   Factors below `2^50` leave a remainder in `(-q, q)`.

mod conversion;
mod sums;
pub(super) mod transform;

use std::arch::x86_64::*;

use super::{BlockOrders, Fraction, scalar};
use crate::Modulus;
use crate::modulus::Factor;

pub(super) use conversion::convert;
pub(super) use sums::{TERMS_MAX, accumulate, fold, pair_of_sums, reduce_wide, sum_of_products};

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Detected> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        found.then_some(Detected(()))
    }
}

type Lanes = __m256d;
const LANES: usize = 4;
type Line = [u64; LANES];

/// `2^52`: a float in `[2^52, 2^53)` has the integer above it in its low 52 bits.
const MAGIC: f64 = (1u64 << 52) as f64;

/// What stands in memory as floats.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_floats(words: &Line) -> Lanes {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_pd(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store_floats(words: &mut Line, x: Lanes) {
    // SAFETY: the array is 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_pd(words.as_mut_ptr().cast(), x) }
}

/// in [0, 2^52), as integers in memory: less `offset`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_less(words: &Line, offset: f64) -> Lanes {
    _mm256_sub_pd(_mm256_or_pd(load_floats(words), splat(MAGIC)), splat(MAGIC + offset))
}

/// in [0, 2^52), as integers in memory.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(words: &Line) -> Lanes {
    load_less(words, 0.0)
}

/// in [0, 2^52), to integers in memory.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(words: &mut Line, x: Lanes) {
    store_floats(words, _mm256_xor_pd(add(x, splat(MAGIC)), splat(MAGIC)));
}

/// Asks for the line of memory that lies `words` words further on.
#[target_feature(enable = "avx2,fma")]
#[inline]
#[allow(unused_unsafe, reason = "newer compilers know that the hint is safe")]
fn prefetch(at: &Line, words: usize) {
    // SAFETY: a hint; nothing is read, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().wrapping_add(words).cast()) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn splat(x: f64) -> Lanes {
    _mm256_set1_pd(x)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn add(a: Lanes, b: Lanes) -> Lanes {
    _mm256_add_pd(a, b)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    _mm256_sub_pd(a, b)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn nearest_integer(x: Lanes) -> Lanes {
    _mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
}

/// A prime and its inverse, in every lane.
#[derive(Clone, Copy)]
struct Prime {
    q: Lanes,
    inverse: Lanes,
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn prime(q: u64) -> Prime {
    Prime { q: splat(q as f64), inverse: splat(1.0 / q as f64) }
}

/// in any multiple of a power of two `u` up to `2^53 u` and `2^53 q`, out a multiple of `u`, or of 1, in `[-b, b]`
/// with `b = q/2 + |x| 2^-52`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn reduce(p: &Prime, x: Lanes) -> Lanes {
    let quotient = nearest_integer(_mm256_mul_pd(x, p.inverse));
    _mm256_fnmadd_pd(quotient, p.q, x)
}

/// in (-q, q), out [0, q). Zeros have no sign: a difference that vanishes is rounded to the positive one.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_if_negative(p: &Prime, x: Lanes) -> Lanes {
    _mm256_blendv_pd(x, add(x, p.q), x)
}

/// in [-2^53, 2^53], out [0, q).
#[target_feature(enable = "avx2,fma")]
#[inline]
fn canonical(p: &Prime, x: Lanes) -> Lanes {
    add_if_negative(p, reduce(p, x))
}

/// in [-2^53, 2^53] and [-q, q], out [-b, b] with `b = q (1/2 + 3 |a b / q| 2^-53)`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn product(p: &Prime, a: Lanes, b: Lanes) -> Lanes {
    let high = _mm256_mul_pd(a, b);
    let low = _mm256_fmsub_pd(a, b, high);
    add(reduce(p, high), low)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn add_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let p = prime(m.value());
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        store(a, add_if_negative(&p, sub(add(load(a), load(b)), p.q)));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let p = prime(m.value());
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        store(a, add_if_negative(&p, sub(load(a), load(b))));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn neg_limb(m: &Modulus, a: &mut [u64]) {
    let p = prime(m.value());
    for a in a.as_chunks_mut().0 {
        store(a, add_if_negative(&p, sub(splat(0.0), load(a))));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let p = prime(m.value());
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        store(a, add_if_negative(&p, product(&p, load(a), load(b))));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let p = prime(m.value());
    let factors = a.as_chunks().0.iter().zip(b.as_chunks().0);
    for (acc, (a, b)) in acc.as_chunks_mut().0.iter_mut().zip(factors) {
        store(acc, canonical(&p, add(load(acc), product(&p, load(a), load(b)))));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64) {
    let (p, s, c) = (prime(m.value()), splat(s.value as f64), splat(c as f64));
    for a in a.as_chunks_mut().0 {
        store(a, canonical(&p, add(product(&p, load(a), s), c)));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor) {
    let (p, s) = (prime(m.value()), splat(s.value as f64));
    for (acc, a) in acc.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0) {
        store(acc, canonical(&p, add(load(acc), product(&p, load(a), s))));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor) {
    let (p, s) = (prime(m.value()), splat(s.value as f64));
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        store(a, add_if_negative(&p, product(&p, sub(load(a), load(b)), s)));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn reduce_from(m: &Modulus, out: &mut [u64], a: &[u64], from: &Modulus) {
    let (p, source) = (prime(m.value()), prime(from.value()));
    let half = splat((from.value() / 2) as f64);
    for (out, a) in out.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0) {
        let a = load(a);
        let above = _mm256_and_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(a, half), source.q);
        store(out, canonical(&p, sub(a, above)));
    }
}

/// A permutation moves words and computes nothing: the portable kernel, compiled for AVX2.
#[target_feature(enable = "avx2,fma")]
pub(super) fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders) {
    scalar::permute(out, a, blocks, orders);
}

/// Vectors by the compiler.
#[target_feature(enable = "avx2,fma")]
pub(super) fn rounded_sum(out: &mut [u64], inputs: &[&[u64]], fractions: &[Fraction], bits: u32) {
    scalar::rounded_sum(out, inputs, fractions, bits);
}
