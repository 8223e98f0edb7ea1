//! Sums of products that are reduced once.
//!
//! A sum is two floats: `high` begins at a power of two so large that adding a product rounds it to a multiple of some
//! `u`; what that adds is known exactly, and what it leaves of the product, at most `u/2`, goes to `low`: four
//! instructions per product. With `high` in `[2^b, 2^(b+1))`, `u = 2^(b-52)`.

use std::arch::x86_64::*;

use super::{
    Lanes, Line, Prime, add, canonical, load, load_floats, prime, reduce, splat, store, store_floats, sub,
};
use crate::Modulus;

/// Most products in one sum: `high` stays below `2^104`, `low` up to `2^53` in magnitude.
pub(in crate::kernel) const TERMS_MAX: usize = 8;
/// Where `high` begins for products in `[0, 2^100)`.
const START: f64 = power_of_two(103);

pub(super) const fn power_of_two(exponent: u64) -> f64 {
    f64::from_bits((1023 + exponent) << 52)
}

/// A sum of products beside multiples of `2^51`.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    pub(super) high: Lanes,
    pub(super) low: Lanes,
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn with_product(sum: Sum, x: Lanes, y: Lanes) -> Sum {
    let high = _mm256_fmadd_pd(x, y, sum.high);
    let low = _mm256_fmadd_pd(x, y, sub(sum.high, high));
    Sum { high, low: add(sum.low, low) }
}

/// in `high - start` below `8 q^2`, out within `4q` of zero.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn reduced(p: &Prime, sum: Sum, start: f64) -> Lanes {
    add(reduce(p, sub(sum.high, splat(start))), reduce(p, sum.low))
}

/// Wide sums in memory: floats, `high` without its start.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn accumulate(_m: &Modulus, lows: &mut [u64], highs: &mut [u64], a: &[u64], b: &[u64]) {
    // A product alone is rounded to a multiple of 2^50, so eight of them and a residue leave `low` below 2^53.
    let start = splat(1.5 * power_of_two(102));
    let factors = a.as_chunks().0.iter().zip(b.as_chunks().0);
    let sums = lows.as_chunks_mut().0.iter_mut().zip(highs.as_chunks_mut().0);
    for ((low, high), (a, b)) in sums.zip(factors) {
        let (x, y) = (load(a), load(b));
        let rounded = sub(_mm256_fmadd_pd(x, y, start), start);
        store_floats(low, add(load_floats(low), _mm256_fmsub_pd(x, y, rounded)));
        store_floats(high, add(load_floats(high), rounded));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn fold(m: &Modulus, lows: &mut [u64], highs: &mut [u64]) {
    let p = prime(m.value());
    for (low, high) in lows.as_chunks_mut().0.iter_mut().zip(highs.as_chunks_mut().0) {
        let sum = Sum { high: load_floats(high), low: load_floats(low) };
        store_floats(low, canonical(&p, reduced(&p, sum, 0.0)));
        store_floats(high, splat(0.0));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn reduce_wide(m: &Modulus, lows: &mut [u64], highs: &mut [u64], out: &mut [u64]) {
    let p = prime(m.value());
    let sums = lows.as_chunks_mut().0.iter_mut().zip(highs.as_chunks_mut().0);
    for (out, (low, high)) in out.as_chunks_mut().0.iter_mut().zip(sums) {
        let sum = Sum { high: load_floats(high), low: load_floats(low) };
        store(out, canonical(&p, reduced(&p, sum, 0.0)));
        store_floats(low, splat(0.0));
        store_floats(high, splat(0.0));
    }
}

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn sum_of_products(m: &Modulus, out: &mut [u64], terms: &[(&[u64], &[u64])]) {
    let (a, b): (Vec<&[u64]>, Vec<&[u64]>) = terms.iter().copied().unzip();
    sums(m, [out], [&[]], &a, [&b]);
}

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn pair_of_sums(
    m: &Modulus,
    outs: [&mut [u64]; 2],
    starts: [&[u64]; 2],
    a: &[&[u64]],
    b: [&[&[u64]]; 2],
) {
    sums(m, outs, starts, a, b);
}

/// Words of a step of long sums: the parts of all terms pass over it while it is in the first cache.
const STEP_WORDS: usize = 256;

/// `M` sums that share their first factors; an empty start is zero.
#[target_feature(enable = "avx2,fma")]
fn sums<const M: usize>(
    m: &Modulus,
    mut outs: [&mut [u64]; M],
    starts: [&[u64]; M],
    a: &[&[u64]],
    b: [&[&[u64]]; M],
) {
    for (out, start) in outs.iter_mut().zip(starts) {
        if start.is_empty() && a.is_empty() {
            out.fill(0);
        } else if !start.is_empty() {
            out.copy_from_slice(start);
        }
    }
    let p = prime(m.value());
    let n = outs[0].len();
    let step = if a.len() > TERMS_MAX { STEP_WORDS } else { n.max(1) };
    for at in (0..n).step_by(step) {
        let range = at..n.min(at + step);
        for (chunk, first) in a.chunks(TERMS_MAX).enumerate() {
            let second = b.map(|b| &b[chunk * TERMS_MAX..][..first.len()]);
            let parts = outs.each_mut().map(|out| out[range.clone()].as_chunks_mut().0);
            let adds = starts.map(|start| chunk > 0 || !start.is_empty());
            match first.len() {
                1 => sums_of::<1, M>(&p, parts, adds, first, second, at),
                2 => sums_of::<2, M>(&p, parts, adds, first, second, at),
                3 => sums_of::<3, M>(&p, parts, adds, first, second, at),
                4 => sums_of::<4, M>(&p, parts, adds, first, second, at),
                5 => sums_of::<5, M>(&p, parts, adds, first, second, at),
                6 => sums_of::<6, M>(&p, parts, adds, first, second, at),
                7 => sums_of::<7, M>(&p, parts, adds, first, second, at),
                _ => sums_of::<TERMS_MAX, M>(&p, parts, adds, first, second, at),
            }
        }
    }
}

/// `M` sums of `K` products on one part of the limbs, from word `at` on; `adds` says which add to what stands there.
#[target_feature(enable = "avx2,fma")]
fn sums_of<const K: usize, const M: usize>(
    p: &Prime,
    mut outs: [&mut [Line]; M],
    adds: [bool; M],
    a: &[&[u64]],
    b: [&[&[u64]]; M],
    at: usize,
) {
    let len = outs[0].len();
    let (a, b) = (lines::<K>(a, at, len), b.map(|b| lines::<K>(b, at, len)));
    for j in 0..len {
        let mut sums = [Sum { high: splat(START), low: splat(0.0) }; M];
        for k in 0..K {
            let x = load(&a[k][j]);
            for (sum, b) in sums.iter_mut().zip(&b) {
                *sum = with_product(*sum, x, load(&b[k][j]));
            }
        }
        for ((sum, out), adds) in sums.iter().zip(&mut outs).zip(adds) {
            let sum = reduced(p, *sum, START);
            let sum = if adds { add(sum, load(&out[j])) } else { sum };
            store(&mut out[j], canonical(p, sum));
        }
    }
}

/// `len` lines of each of `K` limbs, from word `at` on.
#[inline(always)]
pub(super) fn lines<'a, const K: usize>(limbs: &[&'a [u64]], at: usize, len: usize) -> [&'a [Line]; K] {
    std::array::from_fn(|k| &limbs[k][at..].as_chunks().0[..len])
}
