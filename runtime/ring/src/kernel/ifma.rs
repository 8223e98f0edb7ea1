//! AVX-512 with 52-bit multiply-add: eight lanes, each product word one instruction.
//!
//! `vpmadd52` reads the low 52 bits of its factors and adds the low or high word of the product to 64 bits.

pub(super) mod transform;

use std::arch::x86_64::*;

use super::BlockOrders;
use super::lanes::{lane_kernels, lane_sums};

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

lane_kernels!("avx512f,avx512ifma");
lane_sums!("avx512f,avx512ifma");

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
