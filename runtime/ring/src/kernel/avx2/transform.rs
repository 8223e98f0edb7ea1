//! The negacyclic transform on four lanes of floats, for primes below `2^50` and degrees from `2^5`.
//!
//! Layers and root indices as in the transform on IFMA: group `j` of layer `l` has root index `k = 2^l + j`, its halves
//! are `2k` and `2k + 1`; passes of one to three layers go depth first, and the inverse takes mirror roots. The last
//! four layers of 16 words (`leaf`) are two over their four lines and, transposed, two within them.
//!
//! Between the first pass and the last, memory holds floats. A butterfly is eight instructions. The bound of a word, in
//! units of q: a forward layer leads from `t` to `t + 1/2 + t q 2^-53 3/2`, with roots in `[-q/2, q/2]`; an inverse one
//! from `t` to `2t`. All words stay within `2^53`, so [`Transform::forward_layers`] and `inverse_layers` of them may
//! follow each other; then a pass begins with a reduction, of three instructions per word.

use std::arch::x86_64::*;

use super::{
    LANES, Lanes, Line, Prime, add, canonical, load, load_floats, prime, product, reduce, splat, store,
    store_floats, sub,
};
use crate::roots::FloatRoots;

/// The constants of a transform.
#[derive(Clone, Copy)]
struct Plan<'a> {
    p: Prime,
    roots: &'a FloatRoots,
    /// Square root of -1.
    i: Lanes,
    /// Layers from one reduction to the next.
    layers: u32,
}

/// Layers that the last four count for: two of them have roots that are not as well reduced.
const LEAF_LAYERS: u32 = 5;

/// Forward layers from residues below `q < 2^bits` on, before a word may leave `2^53`.
fn forward_layers(bits: u32) -> u32 {
    match bits {
        50.. => 6,
        49 => 12,
        _ => u32::MAX,
    }
}

/// in [-t, t], out as the head says: `x + w y`, `x - w y`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn forward_butterfly(p: &Prime, x: Lanes, y: Lanes, w: Lanes) -> (Lanes, Lanes) {
    let product = product(p, y, w);
    (add(x, product), sub(x, product))
}

/// in [-t, t], out [-2t, 2t]: `x + y`, `(y - x) w`, where `w` is the mirror root.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn inverse_butterfly(p: &Prime, x: Lanes, y: Lanes, w: Lanes) -> (Lanes, Lanes) {
    (add(x, y), product(p, sub(y, x), w))
}

/// `R` rows of a block, as disjoint slices of equal length.
#[inline(always)]
fn rows_of<const R: usize>(block: &mut [Line]) -> [&mut [Line]; R] {
    let steps = block.len() / R;
    let mut rest = block;
    std::array::from_fn(|_| {
        let (row, tail) = std::mem::take(&mut rest).split_at_mut(steps);
        rest = tail;
        row
    })
}

/// Per layer of a pass the roots of its subgroups, under root `k` or under the mirror `k`.
#[inline(always)]
fn pass_layers<const R: usize>(table: &[f64], k: usize) -> [&[f64]; 3] {
    std::array::from_fn(|s| if 1 << s < R { &table[k << s..][..1 << s] } else { &table[..0] })
}

/// Layer `S` of a pass, if it has so many.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn forward_layer<const R: usize, const S: usize>(p: &Prime, rows: &mut [Lanes; R], roots: &[f64]) {
    let half = R >> (S + 1);
    if half == 0 {
        return;
    }
    for t in 0..1 << S {
        let w = splat(roots[t]);
        for j in 2 * t * half..(2 * t + 1) * half {
            (rows[j], rows[j + half]) = forward_butterfly(p, rows[j], rows[j + half], w);
        }
    }
}

/// Layer `S` of a pass backwards, if it has so many.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn inverse_layer<const R: usize, const S: usize>(p: &Prime, rows: &mut [Lanes; R], roots: &[f64]) {
    let half = R >> (S + 1);
    if half == 0 {
        return;
    }
    for t in 0..1 << S {
        let w = splat(roots[(1 << S) - 1 - t]);
        for j in 2 * t * half..(2 * t + 1) * half {
            (rows[j], rows[j + half]) = inverse_butterfly(p, rows[j], rows[j + half], w);
        }
    }
}

/// One pass over a block, whose group has root `k`; the first one reads integers.
#[target_feature(enable = "avx2,fma")]
fn forward_pass<const R: usize, const FIRST: bool, const REDUCE: bool>(
    plan: &Plan<'_>,
    block: &mut [Line],
    k: usize,
) {
    let p = &plan.p;
    let layers = pass_layers::<R>(&plan.roots.upper, k);
    let steps = block.len() / R;
    let mut lines = rows_of::<R>(block);
    for i in 0..steps {
        let mut rows = [splat(0.0); R];
        for (x, lines) in rows.iter_mut().zip(&lines) {
            *x = if FIRST { load(&lines[i]) } else { load_floats(&lines[i]) };
            if REDUCE {
                *x = reduce(p, *x);
            }
        }
        forward_layer::<R, 0>(p, &mut rows, layers[0]);
        forward_layer::<R, 1>(p, &mut rows, layers[1]);
        forward_layer::<R, 2>(p, &mut rows, layers[2]);
        for (x, lines) in rows.iter().zip(&mut lines) {
            store_floats(&mut lines[i], *x);
        }
    }
}

/// One pass backwards over a block whose mirror is `k`; the last one, at the `TOP`, divides by `N` and writes integers.
#[target_feature(enable = "avx2,fma")]
fn inverse_pass<const R: usize, const TOP: bool, const REDUCE: bool>(
    plan: &Plan<'_>,
    block: &mut [Line],
    k: usize,
) {
    let p = &plan.p;
    let (share, scaled) = (splat(plan.roots.inverse_n), splat(plan.roots.inverse_n_root));
    let layers = pass_layers::<R>(&plan.roots.upper, k);
    let steps = block.len() / R;
    let mut lines = rows_of::<R>(block);
    for i in 0..steps {
        let mut rows = [splat(0.0); R];
        for (x, lines) in rows.iter_mut().zip(&lines) {
            *x = load_floats(&lines[i]);
            if REDUCE {
                *x = reduce(p, *x);
            }
        }
        inverse_layer::<R, 2>(p, &mut rows, layers[2]);
        inverse_layer::<R, 1>(p, &mut rows, layers[1]);
        if !TOP {
            inverse_layer::<R, 0>(p, &mut rows, layers[0]);
            for (x, lines) in rows.iter().zip(&mut lines) {
                store_floats(&mut lines[i], *x);
            }
            continue;
        }
        for j in 0..R / 2 {
            let (x, y) = (rows[j], rows[j + R / 2]);
            rows[j] = product(p, add(x, y), share);
            rows[j + R / 2] = product(p, sub(y, x), scaled);
        }
        for (x, lines) in rows.iter().zip(&mut lines) {
            store(&mut lines[i], canonical(p, *x));
        }
    }
}

/// Rows of the first pass over a block of more than one leaf.
fn first_rows(block: &[Line]) -> usize {
    match (block.len() / LEAF_LINES).ilog2() {
        1 => 2,
        layers if layers % 3 == 0 => 8,
        _ => 4,
    }
}

/// Where a pass stands in the transform: its layers, those since the last reduction before it, and whether it reduces.
fn next_layers(plan: &Plan<'_>, since: u32, layers: u32) -> (bool, u32) {
    let reduces = since.saturating_add(layers) > plan.layers;
    (reduces, if reduces { layers } else { since + layers })
}

#[target_feature(enable = "avx2,fma")]
fn forward_block<const FIRST: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize, since: u32) {
    let rows = first_rows(block);
    let (reduces, since) = next_layers(plan, since, rows.ilog2());
    match (rows, reduces) {
        (2, false) => forward_pass::<2, FIRST, false>(plan, block, k),
        (2, true) => forward_pass::<2, FIRST, true>(plan, block, k),
        (4, false) => forward_pass::<4, FIRST, false>(plan, block, k),
        (4, true) => forward_pass::<4, FIRST, true>(plan, block, k),
        (_, false) => forward_pass::<8, FIRST, false>(plan, block, k),
        (_, true) => forward_pass::<8, FIRST, true>(plan, block, k),
    }
    let stride = block.len() / rows;
    if stride == LEAF_LINES {
        forward_leaves(plan, block.as_chunks_mut().0, k * rows, next_layers(plan, since, LEAF_LAYERS).0);
    } else {
        for (t, block) in block.chunks_exact_mut(stride).enumerate() {
            forward_block::<false>(plan, block, k * rows + t, since);
        }
    }
}

/// Gives the layers since the last reduction.
#[target_feature(enable = "avx2,fma")]
fn inverse_block<const TOP: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize) -> u32 {
    let rows = first_rows(block);
    let stride = block.len() / rows;
    let last = k * rows + rows - 1;
    let mut since = 0;
    if stride == LEAF_LINES {
        since = inverse_leaves(plan, block.as_chunks_mut().0, last);
    } else {
        for (t, block) in block.chunks_exact_mut(stride).enumerate() {
            since = inverse_block::<false>(plan, block, last - t);
        }
    }
    let (reduces, since) = next_layers(plan, since, rows.ilog2());
    match (rows, reduces) {
        (2, false) => inverse_pass::<2, TOP, false>(plan, block, k),
        (2, true) => inverse_pass::<2, TOP, true>(plan, block, k),
        (4, false) => inverse_pass::<4, TOP, false>(plan, block, k),
        (4, true) => inverse_pass::<4, TOP, true>(plan, block, k),
        (_, false) => inverse_pass::<8, TOP, false>(plan, block, k),
        (_, true) => inverse_pass::<8, TOP, true>(plan, block, k),
    }
    since
}

/// Lines of a leaf.
const LEAF_LINES: usize = 4;
type LeafLines = [Line; LEAF_LINES];

/// Rows to columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn transpose(r: [Lanes; 4]) -> [Lanes; 4] {
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
    let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
    [
        _mm256_permute2f128_pd::<LOW>(a, c),
        _mm256_permute2f128_pd::<LOW>(b, d),
        _mm256_permute2f128_pd::<HIGH>(a, c),
        _mm256_permute2f128_pd::<HIGH>(b, d),
    ]
}

/// The roots of the last two layers of four groups: of the first, and of its halves.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn group_roots(plan: &Plan<'_>, u: Lanes) -> [Lanes; 3] {
    [product(&plan.p, u, u), u, product(&plan.p, u, plan.i)]
}

/// out [0, q): the last four layers of neighbouring leaves, the first of them with root `k`.
#[target_feature(enable = "avx2,fma")]
fn forward_leaves(plan: &Plan<'_>, leaves: &mut [LeafLines], k: usize, reduces: bool) {
    let (p, upper) = (&plan.p, &plan.roots.upper);
    let groups = &plan.roots.groups[k - upper.len() / 4..][..leaves.len()];
    let (first, second) = (&upper[k..][..leaves.len()], &upper[2 * k..].as_chunks::<2>().0[..leaves.len()]);
    for (t, leaf) in leaves.iter_mut().enumerate() {
        let mut rows = leaf.each_ref().map(|line| load_floats(line));
        if reduces {
            rows = rows.map(|x| reduce(p, x));
        }
        let (w, below) = (splat(first[t]), second[t].map(|w| splat(w)));
        (rows[0], rows[2]) = forward_butterfly(p, rows[0], rows[2], w);
        (rows[1], rows[3]) = forward_butterfly(p, rows[1], rows[3], w);
        (rows[0], rows[1]) = forward_butterfly(p, rows[0], rows[1], below[0]);
        (rows[2], rows[3]) = forward_butterfly(p, rows[2], rows[3], below[1]);
        let mut columns = transpose(rows);
        let [w, u, ui] = group_roots(plan, _mm256_loadu(&groups[t]));
        (columns[0], columns[2]) = forward_butterfly(p, columns[0], columns[2], w);
        (columns[1], columns[3]) = forward_butterfly(p, columns[1], columns[3], w);
        (columns[0], columns[1]) = forward_butterfly(p, columns[0], columns[1], u);
        (columns[2], columns[3]) = forward_butterfly(p, columns[2], columns[3], ui);
        for (line, x) in leaf.iter_mut().zip(transpose(columns)) {
            store(line, canonical(p, x));
        }
    }
}

/// in [0, q), as integers: the first four layers of the inverse on neighbouring leaves, the first of them with mirror
/// `k`. Gives the layers since the last reduction.
#[target_feature(enable = "avx2,fma")]
fn inverse_leaves(plan: &Plan<'_>, leaves: &mut [LeafLines], k: usize) -> u32 {
    let (p, upper) = (&plan.p, &plan.roots.upper);
    let reduces = plan.layers < 4;
    for (t, leaf) in leaves.iter_mut().enumerate() {
        let k = k - t;
        let mirrored = _mm256_permute4x64_pd::<0x1b>(_mm256_loadu(&plan.roots.groups[k - upper.len() / 4]));
        let [w, u, ui] = group_roots(plan, mirrored);
        let mut columns = transpose(leaf.each_ref().map(|line| load(line)));
        (columns[0], columns[1]) = inverse_butterfly(p, columns[0], columns[1], ui);
        (columns[2], columns[3]) = inverse_butterfly(p, columns[2], columns[3], u);
        (columns[0], columns[2]) = inverse_butterfly(p, columns[0], columns[2], w);
        (columns[1], columns[3]) = inverse_butterfly(p, columns[1], columns[3], w);
        let mut rows = transpose(columns);
        if reduces {
            rows = rows.map(|x| reduce(p, x));
        }
        let (w, below) = (splat(upper[k]), [upper[2 * k], upper[2 * k + 1]].map(|w| splat(w)));
        (rows[0], rows[1]) = inverse_butterfly(p, rows[0], rows[1], below[1]);
        (rows[2], rows[3]) = inverse_butterfly(p, rows[2], rows[3], below[0]);
        (rows[0], rows[2]) = inverse_butterfly(p, rows[0], rows[2], w);
        (rows[1], rows[3]) = inverse_butterfly(p, rows[1], rows[3], w);
        for (line, x) in leaf.iter_mut().zip(rows) {
            store_floats(line, x);
        }
    }
    if reduces { 2 } else { 4 }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn _mm256_loadu(words: &[f64; LANES]) -> Lanes {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_pd(words.as_ptr()) }
}

/// in [0, q), out [0, q): coefficients to values in bit-reversed order.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn forward(roots: &FloatRoots, a: &mut [u64]) {
    let layers = forward_layers(u64::BITS - roots.q.leading_zeros());
    forward_block::<true>(&plan(roots, layers), a.as_chunks_mut().0, 1, 0);
}

/// in [0, q), out [0, q): values in bit-reversed order to coefficients.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn inverse(roots: &FloatRoots, a: &mut [u64]) {
    let layers = roots.q.leading_zeros() - (u64::BITS - 53);
    inverse_block::<true>(&plan(roots, layers), a.as_chunks_mut().0, 1);
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn plan(roots: &FloatRoots, layers: u32) -> Plan<'_> {
    Plan { p: prime(roots.q), roots, i: splat(roots.i), layers }
}
