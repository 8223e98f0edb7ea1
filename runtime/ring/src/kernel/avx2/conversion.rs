//! Base conversion: sums over few inputs with fixed weights. Factors are centred, so that twelve products make one sum.

use super::sums::{Sum, TERMS_MAX, lines, power_of_two, with_product};
use super::{Line, add, canonical, load, load_less, prefetch, prime, product, reduce, splat, store, sub};
use crate::Modulus;

/// Most inputs of one pass of `convert`; longer sums are taken in groups.
const CONVERT_GROUP: usize = 12;
/// How far ahead sources are asked for.
const CONVERT_AHEAD_WORDS: usize = 256;
/// What centres inputs below `2^50`.
const CONVERT_CENTRE: f64 = power_of_two(49);
/// Where `high` begins: products of centred factors are in `[-2^98, 2^98]`.
const CONVERT_START: f64 = 1.5 * power_of_two(103);

#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn convert(
    m: &Modulus,
    out: &mut [u64],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    let out = out.as_chunks_mut().0;
    let groups = inputs.chunks(CONVERT_GROUP).zip(weights.chunks(CONVERT_GROUP));
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
        _ => convert_pass::<CONVERT_GROUP, ADD>(m, out, inputs, weights, offset),
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
    let offset = add(splat(offset as f64), product(&p, reduce(&p, sum), splat(CONVERT_CENTRE)));
    let columns = lines::<K>(inputs, 0, out.len());
    for (j, out) in out.iter_mut().enumerate() {
        let (mut high, mut lows) = (splat(CONVERT_START), [zero; CONVERT_GROUP.div_ceil(TERMS_MAX)]);
        for k in 0..K {
            let x = load_less(&columns[k][j], CONVERT_CENTRE);
            prefetch(&columns[k][j], CONVERT_AHEAD_WORDS);
            let low = &mut lows[k / TERMS_MAX];
            Sum { high, low: *low } = with_product(Sum { high, low: *low }, x, scales[k]);
        }
        let high = reduce(&p, sub(high, splat(CONVERT_START)));
        let residue = lows[..K.div_ceil(TERMS_MAX)]
            .iter()
            .fold(add(high, offset), |sum, low| add(sum, reduce(&p, *low)));
        let residue = if ADD { add(residue, load(out)) } else { residue };
        store(out, canonical(&p, residue));
    }
}
