//! Base conversion: sums over few inputs with fixed weights, two chains of products at a time.
//!
//! Factors are centred, so that `high` keeps multiples of `2^50` and a product leaves at most `2^49` to `low`. Of twelve
//! products `low` is at most `6 2^50`, the quotient at most two off, and `high - n q` within `8 2^50`: exact.

use std::arch::x86_64::*;

use super::sums::{Sum, power_of_two, with_product};
use super::{
    Line, add, canonical, load, load_less, nearest_integer, prefetch, prime, product, reduce, splat, store,
    sub,
};
use crate::Modulus;

/// Most inputs of one pass; longer sums are taken in groups.
const GROUP: usize = 12;
/// How far ahead sources are asked for.
const AHEAD_WORDS: usize = 256;
/// Vectors of a line of the first cache, which go through together: sources at powers of two share its ways.
const COLUMNS: usize = 2;
/// Lines whose sums wait together.
const STEP: usize = 32;
/// What centres inputs below `2^50`.
const CENTRE: f64 = power_of_two(49);
/// Where `high` begins: six products of centred factors are in `[-2^101, 2^101]`.
const START: f64 = 1.5 * power_of_two(102);

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn convert(
    m: &Modulus,
    out: &mut [u64],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    let out = out.as_chunks_mut().0;
    let groups = inputs.chunks(GROUP).zip(weights.chunks(GROUP));
    for (g, (inputs, weights)) in groups.enumerate() {
        if g == 0 {
            convert_group::<false>(m, out, inputs, weights, offset);
        } else {
            convert_group::<true>(m, out, inputs, weights, 0);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn convert_group<const ADD: bool>(
    m: &Modulus,
    out: &mut [Line],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    match inputs.len() {
        1 => convert_pass::<1, ADD>(m, out, inputs, weights, offset),
        2 => convert_pass::<2, ADD>(m, out, inputs, weights, offset),
        3 => convert_pass::<3, ADD>(m, out, inputs, weights, offset),
        4 => convert_pass::<4, ADD>(m, out, inputs, weights, offset),
        5 => convert_pass::<5, ADD>(m, out, inputs, weights, offset),
        6 => convert_pass::<6, ADD>(m, out, inputs, weights, offset),
        7 => convert_pass::<7, ADD>(m, out, inputs, weights, offset),
        8 => convert_pass::<8, ADD>(m, out, inputs, weights, offset),
        9 => convert_pass::<9, ADD>(m, out, inputs, weights, offset),
        10 => convert_pass::<10, ADD>(m, out, inputs, weights, offset),
        11 => convert_pass::<11, ADD>(m, out, inputs, weights, offset),
        _ => convert_pass::<GROUP, ADD>(m, out, inputs, weights, offset),
    }
}

/// in [0, 2^50), out [0, q): one group; `ADD` adds it to what stands in `out`.
#[target_feature(enable = "avx2,fma")]
fn convert_pass<const K: usize, const ADD: bool>(
    m: &Modulus,
    out: &mut [Line],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    let p = prime(m.value());
    let zero = splat(0.0);
    let mut scales = [zero; K];
    let mut sum = zero;
    for (scale, &weight) in scales.iter_mut().zip(weights) {
        *scale = splat(m.center(weight) as f64);
        sum = add(sum, *scale);
    }
    // Below 12 2^49, and of the product a residue.
    let offset = add(splat(offset as f64), product(&p, reduce(&p, sum), splat(CENTRE)));
    let columns: [&[[Line; COLUMNS]]; K] =
        std::array::from_fn(|k| &inputs[k].as_chunks().0.as_chunks().0[..out.len() / COLUMNS]);
    // Sums wait here for their reduction: a loop of both was slower (decision 0014).
    let mut waiting = [[(zero, zero); COLUMNS]; STEP];
    for (step, out) in out.as_chunks_mut::<COLUMNS>().0.chunks_mut(STEP).enumerate() {
        for (i, waiting) in waiting[..out.len()].iter_mut().enumerate() {
            let mut sums = [[Sum { high: splat(START), low: zero }; COLUMNS]; 2];
            for k in 0..K {
                let lines = &columns[k][STEP * step + i];
                prefetch(&lines[0], AHEAD_WORDS);
                for c in 0..COLUMNS {
                    sums[k % 2][c] = with_product(sums[k % 2][c], load_less(&lines[c], CENTRE), scales[k]);
                }
            }
            for c in 0..COLUMNS {
                let [even, odd] = [sums[0][c], sums[1][c]];
                let high = add(sub(even.high, splat(START)), sub(odd.high, splat(START)));
                waiting[c] = (high, add(even.low, odd.low));
            }
        }
        for ((high, low), out) in waiting.as_flattened().iter().zip(out.as_flattened_mut()) {
            let quotient = nearest_integer(_mm256_mul_pd(add(*high, *low), p.inverse));
            let residue = add(add(_mm256_fnmadd_pd(quotient, p.q, *high), *low), offset);
            let residue = if ADD { add(residue, load(out)) } else { residue };
            store(out, canonical(&p, residue));
        }
    }
}
