//! AVX2: four lanes. A 52-bit product is made of four 32-bit products.
//!
//! With `a = a0 + 2^32 a1`, `a1 < 2^20`: `a b = p00 + 2^32 (p01 + p10) + 2^64 p11`, and
//! `middle = floor(p00 / 2^32) + p01 + p10` is below `2^54`.

use std::arch::x86_64::*;

use super::lanes::{lane_kernels, lane_sums};
use super::{BlockOrders, scalar};

/// Proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detected(());

impl Detected {
    pub(super) fn new() -> Option<Detected> {
        is_x86_feature_detected!("avx2").then_some(Detected(()))
    }
}

type Lanes = __m256i;
const LANES: usize = 4;

#[target_feature(enable = "avx2")]
#[inline]
fn load(words: &[u64; LANES]) -> Lanes {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

/// Asks for the line of memory that lies `words` words further on.
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unused_unsafe, reason = "newer compilers know that the hint is safe")]
fn prefetch(at: &[u64; LANES], words: usize) {
    // SAFETY: a hint; nothing is read, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.as_ptr().wrapping_add(words).cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(words: &mut [u64; LANES], x: Lanes) {
    // SAFETY: the array is 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), x) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn splat(x: u64) -> Lanes {
    _mm256_set1_epi64x(x as i64)
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(a: Lanes, b: Lanes) -> Lanes {
    _mm256_add_epi64(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    _mm256_sub_epi64(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn and(a: Lanes, b: Lanes) -> Lanes {
    _mm256_and_si256(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn shift_left(a: Lanes, bits: u32) -> Lanes {
    _mm256_sll_epi64(a, _mm_cvtsi32_si128(bits as i32))
}

#[target_feature(enable = "avx2")]
#[inline]
fn shift_right(a: Lanes, bits: u32) -> Lanes {
    _mm256_srl_epi64(a, _mm_cvtsi32_si128(bits as i32))
}

/// in [0, 2^52): `acc + (a b mod 2^52)`.
#[target_feature(enable = "avx2")]
#[inline]
fn low(acc: Lanes, a: Lanes, b: Lanes) -> Lanes {
    let (a1, b1) = (_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    let cross = add(_mm256_mul_epu32(a, b1), _mm256_mul_epu32(a1, b));
    let product = add(_mm256_mul_epu32(a, b), _mm256_slli_epi64::<32>(cross));
    add(acc, and(product, splat(MASK52)))
}

/// in [0, 2^52): `acc + floor(a b / 2^52)`.
#[target_feature(enable = "avx2")]
#[inline]
fn high(acc: Lanes, a: Lanes, b: Lanes) -> Lanes {
    let (a1, b1) = (_mm256_srli_epi64::<32>(a), _mm256_srli_epi64::<32>(b));
    let cross = add(_mm256_mul_epu32(a, b1), _mm256_mul_epu32(a1, b));
    let middle = add(_mm256_srli_epi64::<32>(_mm256_mul_epu32(a, b)), cross);
    let top = _mm256_slli_epi64::<12>(_mm256_mul_epu32(a1, b1));
    add(acc, add(top, _mm256_srli_epi64::<20>(middle)))
}

/// `b` where the sign bit of `a` is set, else `a`.
#[target_feature(enable = "avx2")]
#[inline]
fn replace_negative(a: Lanes, b: Lanes) -> Lanes {
    let (x, y) = (_mm256_castsi256_pd(a), _mm256_castsi256_pd(b));
    _mm256_castpd_si256(_mm256_blendv_pd(x, y, x))
}

/// in [0, 2q), out [0, q).
#[target_feature(enable = "avx2")]
#[inline]
fn reduce_once(a: Lanes, q: Lanes) -> Lanes {
    replace_negative(sub(a, q), a)
}

/// in (-q, q), out [0, q).
#[target_feature(enable = "avx2")]
#[inline]
fn add_if_negative(a: Lanes, q: Lanes) -> Lanes {
    replace_negative(a, add(a, q))
}

lane_kernels!("avx2");
lane_sums!("avx2");

/// A permutation moves words and computes nothing: the portable kernel, compiled for AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn permute(out: &mut [u64], a: &[u64], blocks: &[u32], orders: &BlockOrders) {
    scalar::permute(out, a, blocks, orders);
}
