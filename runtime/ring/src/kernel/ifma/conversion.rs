//! Base conversion: sums over few inputs with fixed weights, in Montgomery's form.

use super::{
    LANES, MASK52, add, and, high, load, low, prefetch, reduce_once, shift_right, splat, store, sub,
};
use crate::Modulus;

/// Most inputs of one pass of `convert`; longer sums are taken in groups.
const CONVERT_GROUP: usize = 12;
/// How far ahead sources are asked for: they come from the third cache, in more streams than the processor follows.
const CONVERT_AHEAD_WORDS: usize = 256;

#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn convert(
    m: &Modulus,
    out: &mut [u64],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    let groups = inputs.chunks(CONVERT_GROUP).zip(weights.chunks(CONVERT_GROUP));
    for (g, (inputs, weights)) in groups.enumerate() {
        if g == 0 {
            convert_group::<false>(m, out, inputs, weights, offset);
        } else {
            convert_group::<true>(m, out, inputs, weights, 0);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn convert_group<const ADD: bool>(
    m: &Modulus,
    out: &mut [u64],
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

/// in [0, 2^50), out [0, q): one group of `K` inputs; `ADD` adds it to what stands in `out`.
///
/// Called for a few dozen vectors at a time: lengths that the compiler knows spare the loops before the loop.
#[target_feature(enable = "avx512f,avx512ifma")]
#[allow(clippy::needless_range_loop, reason = "an index reads the same place of all inputs")]
fn convert_pass<const K: usize, const ADD: bool>(
    m: &Modulus,
    out: &mut [u64],
    inputs: &[&[u64]],
    weights: &[u64],
    offset: u64,
) {
    let out = out.as_chunks_mut::<LANES>().0;
    let (mut scales, mut columns) = ([splat(0); K], [&[[0; LANES]; 0][..]; K]);
    for k in 0..K {
        scales[k] = splat(weights[k]);
        columns[k] = &inputs[k].as_chunks().0[..out.len()];
    }
    let (zero, offset, q) = (splat(0), splat(offset), splat(m.value()));
    let (inverse, double) = (splat(m.words52().inverse), add(q, q));
    for (j, out) in out.iter_mut().enumerate() {
        let mut words = (offset, zero);
        for k in 0..K {
            let x = load(&columns[k][j]);
            prefetch(&columns[k][j], CONVERT_AHEAD_WORDS);
            words = (low(words.0, x, scales[k]), high(words.1, x, scales[k]));
        }
        let quotient = low(zero, and(words.0, splat(MASK52)), inverse);
        let carried = add(words.1, shift_right(words.0, 52));
        // (0, 2q) for K <= 4, (0, 4q) for K <= 12.
        let mut residue = add(sub(carried, high(zero, quotient, q)), q);
        if K > 4 {
            residue = reduce_once(residue, double);
        }
        residue = reduce_once(residue, q);
        store(out, if ADD { reduce_once(add(load(out), residue), q) } else { residue });
    }
}
