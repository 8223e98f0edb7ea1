//! AVX-512 with 52-bit multiply-add: eight lanes, each product word one instruction.
//!
//! `vpmadd52` reads the low 52 bits of its factors and adds the low or high word of the product to 64 bits. Primes are
//! below `2^50`, so a product `P` is below `2^100`: two 52-bit words. Three reductions are used, each with
//! its range in its first line:
//!
//! - `barrett`: `floor(P / q)` estimated as `floor(floor(P / 2^s) mu / 2^52)`, `mu = floor(2^(s+52) / q)`. The estimate
//!   falls short of `P / q` by less than `2^s / q + P / 2^(s+52) + 1`, the last for the floor. With `k` bits and
//!   `q = (1+f) 2^(k-1)`, `s = k-2` for `f < 1/2` and `k-1` otherwise, the first two are together below 1 for every
//!   `k <= 50`: the remainder is below `2q`.
//! - `by_factor` (Shoup): with `w' = floor(w 2^52 / q)`, `x w - floor(x w' / 2^52) q` is in `[0, 2q)` for `x < 2^52`.
//! - Montgomery's, for sums: `m = T / q mod 2^52` makes the low words of `T` and `m q` equal, so `(T - m q) / 2^52` is
//!   the difference of the high words, with no borrow. In `convert` the weights carry the factor `2^52` that this
//!   takes away, and sums of at most 4 inputs below `2^50` stay below `2^52 q`, of at most 12 below `3 * 2^52 q`.
//!   In `reduce_words` a product by `2^52` gives the factor back.

mod conversion;
mod sums;
pub(super) mod transform;

use std::arch::x86_64::*;

use super::{BlockOrders, Fraction, scalar};
use crate::Modulus;
use crate::modulus::Factor;
use crate::roots::RADIX;

pub(super) use conversion::convert;
pub(super) use sums::{WIDE_TERMS_MAX, accumulate, fold, pair_of_sums, reduce_wide, sum_of_products};

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Detected> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        found.then_some(Detected(()))
    }
}

type Lanes = __m512i;
const LANES: usize = 8;

#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u64; LANES]) -> Lanes {
    // SAFETY: the array is 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Asks for the line of memory that lies `words` words further on.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unused_unsafe, reason = "newer compilers know that the hint is safe")]
fn prefetch(at: &[u64; LANES], words: usize) {
    // SAFETY: a hint; nothing is read, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().wrapping_add(words).cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(words: &mut [u64; LANES], x: Lanes) {
    // SAFETY: the array is 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), x) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn splat(x: u64) -> Lanes {
    _mm512_set1_epi64(x as i64)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add(a: Lanes, b: Lanes) -> Lanes {
    _mm512_add_epi64(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    _mm512_sub_epi64(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn and(a: Lanes, b: Lanes) -> Lanes {
    _mm512_and_si512(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn shift_left(a: Lanes, bits: u32) -> Lanes {
    _mm512_sll_epi64(a, _mm_cvtsi32_si128(bits as i32))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn shift_right(a: Lanes, bits: u32) -> Lanes {
    _mm512_srl_epi64(a, _mm_cvtsi32_si128(bits as i32))
}

/// `acc + (a b mod 2^52)`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn low(acc: Lanes, a: Lanes, b: Lanes) -> Lanes {
    _mm512_madd52lo_epu64(acc, a, b)
}

/// `acc + floor(a b / 2^52)`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn high(acc: Lanes, a: Lanes, b: Lanes) -> Lanes {
    _mm512_madd52hi_epu64(acc, a, b)
}

/// in [0, 2q), out [0, q).
#[target_feature(enable = "avx512f")]
#[inline]
fn reduce_once(a: Lanes, q: Lanes) -> Lanes {
    _mm512_min_epu64(a, sub(a, q))
}

/// in (-q, q), out [0, q).
#[target_feature(enable = "avx512f")]
#[inline]
fn add_if_negative(a: Lanes, q: Lanes) -> Lanes {
    _mm512_min_epu64(a, add(a, q))
}

/// The low word of a lane.
const MASK52: u64 = RADIX - 1;

/// Constants of `barrett` for one prime below `2^50`.
struct Barrett {
    /// `s` above.
    shift: u32,
    /// `floor(2^(s+52) / q)`, below `2^52`.
    mu: u64,
}

impl Barrett {
    fn new(m: &Modulus) -> Barrett {
        debug_assert!(m.bits() <= 50);
        let lower_half = m.value() < 3 << (m.bits() - 2);
        let shift = m.bits() - if lower_half { 2 } else { 1 };
        Barrett { shift, mu: m.power_of_two_quotient(shift + 52) }
    }
}

/// Constants of one prime, in every lane.
#[derive(Clone, Copy)]
struct Prime {
    q: Lanes,
    mu: Lanes,
    shift: u32,
    mask: Lanes,
}

/// A factor, in every lane.
#[derive(Clone, Copy)]
struct Factors {
    value: Lanes,
    quotient: Lanes,
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn prime(m: &Modulus) -> Prime {
    let Barrett { shift, mu } = Barrett::new(m);
    Prime { q: splat(m.value()), mu: splat(mu), shift, mask: splat(MASK52) }
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn factors(f: &Factor) -> Factors {
    Factors { value: splat(f.value), quotient: splat(f.quotient52) }
}

/// in `low + 2^52 high < q^2`, `low < 2^53`, out [0, q).
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn barrett(p: &Prime, words: (Lanes, Lanes)) -> Lanes {
    let zero = splat(0);
    let top = add(shift_left(words.1, 52 - p.shift), shift_right(words.0, p.shift));
    let estimate = high(zero, top, p.mu);
    reduce_once(and(sub(words.0, low(zero, estimate, p.q)), p.mask), p.q)
}

/// in [0, 2^52), out [0, 2q): `x` times the factor.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn by_factor(p: &Prime, x: Lanes, f: &Factors) -> Lanes {
    let zero = splat(0);
    let estimate = high(zero, x, f.quotient);
    and(sub(low(zero, x, f.value), low(zero, estimate, p.q)), p.mask)
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let q = splat(m.value());
    for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
        store(a, reduce_once(add(load(a), load(b)), q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let q = splat(m.value());
    for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
        store(a, add_if_negative(sub(load(a), load(b)), q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn neg_limb(m: &Modulus, a: &mut [u64]) {
    let q = splat(m.value());
    for a in a.as_chunks_mut::<LANES>().0 {
        store(a, reduce_once(sub(q, load(a)), q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(m: &Modulus, a: &mut [u64], b: &[u64]) {
    let (p, zero) = (prime(m), splat(0));
    for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
        let (x, y) = (load(a), load(b));
        store(a, barrett(&p, (low(zero, x, y), high(zero, x, y))));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let (p, zero) = (prime(m), splat(0));
    let factors = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
    for (acc, (a, b)) in acc.as_chunks_mut::<LANES>().0.iter_mut().zip(factors) {
        let (x, y) = (load(a), load(b));
        store(acc, barrett(&p, (low(load(acc), x, y), high(zero, x, y))));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64) {
    let (p, s, c) = (prime(m), factors(s), splat(c));
    for a in a.as_chunks_mut::<LANES>().0 {
        let scaled = reduce_once(by_factor(&p, load(a), &s), p.q);
        store(a, reduce_once(add(scaled, c), p.q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor) {
    let (p, s) = (prime(m), factors(s));
    for (acc, a) in acc.as_chunks_mut::<LANES>().0.iter_mut().zip(a.as_chunks::<LANES>().0) {
        let scaled = reduce_once(by_factor(&p, load(a), &s), p.q);
        store(acc, reduce_once(add(load(acc), scaled), p.q));
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor) {
    let (p, s) = (prime(m), factors(s));
    for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
        // a - b + q is below 2^52: no reduction before the product.
        let difference = add(sub(load(a), load(b)), p.q);
        store(a, reduce_once(by_factor(&p, difference, &s), p.q));
    }
}

/// The lift of `a` is `(a + h mod from) - h` with `h = (from-1)/2`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn reduce_from(m: &Modulus, out: &mut [u64], a: &[u64], from: &Modulus) {
    let (p, one) = (prime(m), factors(&m.factor(1)));
    let half = from.value() / 2;
    let (half, half_reduced, from) = (splat(half), splat(m.reduce(half)), splat(from.value()));
    for (out, a) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(a.as_chunks::<LANES>().0) {
        let shifted = reduce_once(add(load(a), half), from);
        let residue = reduce_once(by_factor(&p, shifted, &one), p.q);
        store(out, add_if_negative(sub(residue, half_reduced), p.q));
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders) {
    let sources = a.as_chunks::<LANES>().0;
    for (target, &block) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(blocks) {
        let order = load(&orders[block as usize % 8]);
        store(
            target,
            _mm512_permutexvar_epi64(order, load(&sources[(block as usize / 8) & (sources.len() - 1)])),
        );
    }
}

/// Vectors by the compiler.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn rounded_sum(out: &mut [u64], inputs: &[&[u64]], fractions: &[Fraction], bits: u32) {
    scalar::rounded_sum(out, inputs, fractions, bits);
}
