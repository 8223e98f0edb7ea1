//! Sums of products that are reduced once.
//!
//! A wide sum is two words per coefficient, `low + 2^52 high`: low words grow by less than `2^52` per product, high
//! words by less than `2^48`.

use super::{
    Factors, LANES, Lanes, Prime, add, and, by_factor, factors, high, load, low, prime, reduce_once,
    shift_right, splat, store, sub,
};
use crate::Modulus;
use crate::modulus::Words52;

/// Products that a wide sum holds beside one reduced residue: low words stay below `2^63`.
pub(in crate::kernel) const WIDE_TERMS_MAX: usize = 1024;

#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn accumulate(_m: &Modulus, lows: &mut [u64], highs: &mut [u64], a: &[u64], b: &[u64]) {
    let factors = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
    let sums = lows.as_chunks_mut::<LANES>().0.iter_mut().zip(highs.as_chunks_mut::<LANES>().0);
    for ((sum_low, sum_high), (a, b)) in sums.zip(factors) {
        let (x, y) = (load(a), load(b));
        store(sum_low, low(load(sum_low), x, y));
        store(sum_high, high(load(sum_high), x, y));
    }
}

/// What reduces a wide sum.
#[derive(Clone, Copy)]
struct Wides {
    p: Prime,
    inverse: Lanes,
    radix: Factors,
    radix_squared: Factors,
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn wides(m: &Modulus) -> Wides {
    let Words52 { inverse, radix, radix_squared } = m.words52();
    Wides {
        p: prime(m),
        inverse: splat(*inverse),
        radix: factors(radix),
        radix_squared: factors(radix_squared),
    }
}

/// in `low, high < 2^63`, or `high < 2^51` where `SHORT`, out [0, q).
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn reduce_words<const SHORT: bool>(w: &Wides, words: (Lanes, Lanes)) -> Lanes {
    let (p, zero) = (&w.p, splat(0));
    // The sum over 2^52, up to multiples of q: below 2^51 + 8 + 2^50, or below 2^63 + 2^50 + 2^11.
    let quotient = low(zero, and(words.0, p.mask), w.inverse);
    let carried = add(add(words.1, shift_right(words.0, 52)), p.q);
    let scaled = sub(carried, high(zero, quotient, p.q));
    if SHORT {
        return reduce_once(by_factor(p, scaled, &w.radix), p.q);
    }
    let word0 = by_factor(p, and(scaled, p.mask), &w.radix);
    let word1 = by_factor(p, shift_right(scaled, 52), &w.radix_squared);
    reduce_once(reduce_once(add(word0, word1), add(p.q, p.q)), p.q)
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn fold(m: &Modulus, lows: &mut [u64], highs: &mut [u64]) {
    let (w, zero) = (wides(m), splat(0));
    let sums = lows.as_chunks_mut::<LANES>().0.iter_mut().zip(highs.as_chunks_mut::<LANES>().0);
    for (sum_low, sum_high) in sums {
        store(sum_low, reduce_words::<false>(&w, (load(sum_low), load(sum_high))));
        store(sum_high, zero);
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn reduce_wide(m: &Modulus, lows: &mut [u64], highs: &mut [u64], out: &mut [u64]) {
    let (w, zero) = (wides(m), splat(0));
    let sums = lows.as_chunks_mut::<LANES>().0.iter_mut().zip(highs.as_chunks_mut::<LANES>().0);
    for (out, (sum_low, sum_high)) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
        store(out, reduce_words::<false>(&w, (load(sum_low), load(sum_high))));
        store(sum_low, zero);
        store(sum_high, zero);
    }
}

/// Vectors that go through the terms together: their words of one term are neighbours in memory.
const SUM_TILE: usize = 4;
/// Most products whose high words stay below `2^51`.
const SHORT_SUM_TERMS: usize = 8;

#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn sum_of_products(m: &Modulus, out: &mut [u64], terms: &[(&[u64], &[u64])]) {
    let short = terms.len() <= SHORT_SUM_TERMS;
    match (out.len().is_multiple_of(SUM_TILE * LANES), short) {
        (true, true) => sum_tiles::<SUM_TILE, true>(m, out, terms),
        (true, false) => sum_tiles::<SUM_TILE, false>(m, out, terms),
        (false, _) => sum_tiles::<1, false>(m, out, terms),
    }
}

/// Sums in tiles of `T` vectors.
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum_tiles<const T: usize, const SHORT: bool>(m: &Modulus, out: &mut [u64], terms: &[(&[u64], &[u64])]) {
    let (w, zero) = (wides(m), splat(0));
    let tiles = |words| <[u64]>::as_chunks::<LANES>(words).0.as_chunks::<T>().0;
    let terms: Vec<_> = terms.iter().map(|(a, b)| (tiles(a), tiles(b))).collect();
    for (j, out) in out.as_chunks_mut::<LANES>().0.as_chunks_mut::<T>().0.iter_mut().enumerate() {
        let mut sums = [(zero, zero); T];
        for chunk in terms.chunks(WIDE_TERMS_MAX) {
            for (a, b) in chunk {
                for (words, (a, b)) in sums.iter_mut().zip(a[j].iter().zip(&b[j])) {
                    let (x, y) = (load(a), load(b));
                    *words = (low(words.0, x, y), high(words.1, x, y));
                }
            }
            for words in &mut sums {
                *words = (reduce_words::<SHORT>(&w, *words), zero);
            }
        }
        for (out, words) in out.iter_mut().zip(&sums) {
            store(out, words.0);
        }
    }
}

/// Vectors of each sum of a pair that go through the terms together.
const PAIR_TILE: usize = 2;

/// Vectors of a step of long sums: their wide sums, four words each, wait in the first cache.
const STEP: usize = 64;
/// Terms that pass over a step together: three streams each, and the first cache has twelve ways for all limbs
/// that lie at powers of two.
const STEP_TERMS: usize = 4;

/// A step of the factors of a pair of sums.
type StepFactors<'a, const STEP: usize> = [&'a [[u64; LANES]; STEP]; 3];

/// Short sums in one sweep; longer ones in steps.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn pair_of_sums(
    m: &Modulus,
    outs: [&mut [u64]; 2],
    starts: [&[u64]; 2],
    a: &[&[u64]],
    b: [&[&[u64]]; 2],
) {
    let tiled = outs[0].len().is_multiple_of(PAIR_TILE * LANES);
    match a.len() {
        1 if tiled => short_pair::<1>(m, outs, starts, a, b),
        2 if tiled => short_pair::<2>(m, outs, starts, a, b),
        3 if tiled => short_pair::<3>(m, outs, starts, a, b),
        4 if tiled => short_pair::<4>(m, outs, starts, a, b),
        5 if tiled => short_pair::<5>(m, outs, starts, a, b),
        6 if tiled => short_pair::<6>(m, outs, starts, a, b),
        7 if tiled => short_pair::<7>(m, outs, starts, a, b),
        SHORT_SUM_TERMS if tiled => short_pair::<SHORT_SUM_TERMS>(m, outs, starts, a, b),
        _ if outs[0].len().is_multiple_of(STEP * LANES) => long_pair::<STEP>(m, outs, starts, a, b),
        _ => long_pair::<1>(m, outs, starts, a, b),
    }
}

/// `len` tiles of each of `K` factors.
#[inline(always)]
fn pair_tiles<'a, const K: usize>(factors: &[&'a [u64]], len: usize) -> [&'a [[[u64; LANES]; PAIR_TILE]]; K] {
    std::array::from_fn(|k| &factors[k].as_chunks().0.as_chunks().0[..len])
}

/// A pair of sums of at most [`SHORT_SUM_TERMS`] terms, which stay in registers.
#[target_feature(enable = "avx512f,avx512ifma")]
#[allow(clippy::needless_range_loop, reason = "an index reads the same place of all factors")]
fn short_pair<const K: usize>(
    m: &Modulus,
    outs: [&mut [u64]; 2],
    starts: [&[u64]; 2],
    a: &[&[u64]],
    b: [&[&[u64]]; 2],
) {
    let (w, zero) = (wides(m), splat(0));
    let [first, second] = outs.map(|out| out.as_chunks_mut::<LANES>().0.as_chunks_mut::<PAIR_TILE>().0);
    let len = first.len();
    let (a, b, c) = (pair_tiles::<K>(a, len), pair_tiles::<K>(b[0], len), pair_tiles::<K>(b[1], len));
    let starts =
        starts.map(|start| if start.is_empty() { None } else { Some(pair_tiles::<1>(&[start], len)[0]) });
    for (j, (first, second)) in first.iter_mut().zip(second).enumerate() {
        let (mut left, mut right) = ([(zero, zero); PAIR_TILE], [(zero, zero); PAIR_TILE]);
        for (words, start) in [&mut left, &mut right].into_iter().zip(starts) {
            if let Some(start) = start {
                (0..PAIR_TILE).for_each(|i| words[i].0 = load(&start[j][i]));
            }
        }
        for k in 0..K {
            for i in 0..PAIR_TILE {
                let (x, y, z) = (load(&a[k][j][i]), load(&b[k][j][i]), load(&c[k][j][i]));
                left[i] = (low(left[i].0, x, y), high(left[i].1, x, y));
                right[i] = (low(right[i].0, x, z), high(right[i].1, x, z));
            }
        }
        for i in 0..PAIR_TILE {
            store(&mut first[i], reduce_words::<true>(&w, left[i]));
            store(&mut second[i], reduce_words::<true>(&w, right[i]));
        }
    }
}

/// Long sums: some terms at a time pass over a step of the limb.
#[target_feature(enable = "avx512f,avx512ifma")]
fn long_pair<const STEP: usize>(
    m: &Modulus,
    outs: [&mut [u64]; 2],
    starts: [&[u64]; 2],
    a: &[&[u64]],
    b: [&[&[u64]]; 2],
) {
    let (w, zero) = (wides(m), splat(0));
    let [first, second] = outs.map(|out| out.as_chunks_mut::<LANES>().0.as_chunks_mut::<STEP>().0);
    let steps = |words| <[u64]>::as_chunks::<LANES>(words).0.as_chunks::<STEP>().0;
    let mut terms: Vec<StepFactors<'_, STEP>> = Vec::with_capacity(a.len());
    for (j, (first, second)) in first.iter_mut().zip(second).enumerate() {
        terms.clear();
        for (a, (b, c)) in a.iter().zip(b[0].iter().zip(b[1])) {
            terms.push([a, b, c].map(|words| &steps(words)[j]));
        }
        let mut sums = [[zero; 4]; STEP];
        for (place, start) in starts.into_iter().enumerate().filter(|(_, start)| !start.is_empty()) {
            for (sums, start) in sums.iter_mut().zip(&steps(start)[j]) {
                sums[2 * place] = load(start);
            }
        }
        for chunk in terms.chunks(WIDE_TERMS_MAX) {
            let (groups, rest) = chunk.as_chunks::<STEP_TERMS>();
            groups.iter().for_each(|group| accumulate_step(&mut sums, group));
            rest.iter().for_each(|term| accumulate_step(&mut sums, &[*term]));
            for sums in &mut sums {
                let reduced = [0, 2].map(|i| reduce_words::<false>(&w, (sums[i], sums[i + 1])));
                *sums = [reduced[0], zero, reduced[1], zero];
            }
        }
        for ((first, second), sums) in first.iter_mut().zip(second).zip(&sums) {
            store(first, sums[0]);
            store(second, sums[2]);
        }
    }
}

/// Adds the products of `T` terms to the wide sums of a step.
#[target_feature(enable = "avx512f,avx512ifma")]
fn accumulate_step<const STEP: usize, const T: usize>(
    sums: &mut [[Lanes; 4]; STEP],
    terms: &[StepFactors<'_, STEP>; T],
) {
    for (i, sums) in sums.iter_mut().enumerate() {
        let [mut first_low, mut first_high, mut second_low, mut second_high] = *sums;
        for [a, b, c] in terms {
            let (x, y, z) = (load(&a[i]), load(&b[i]), load(&c[i]));
            (first_low, first_high) = (low(first_low, x, y), high(first_high, x, y));
            (second_low, second_high) = (low(second_low, x, z), high(second_high, x, z));
        }
        *sums = [first_low, first_high, second_low, second_high];
    }
}
