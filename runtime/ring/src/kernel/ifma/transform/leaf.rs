//! The last six layers of the transform, on blocks of 64 words: three over the block's eight lines, three within them.
//!
//! Within lines, eight lines are transposed, so that lane `g` of column `e` is word `e` of group `g` and every group
//! has its own root in a lane. Two blocks go through together: their chains of dependent products are independent.

use std::arch::x86_64::*;

use super::{Line, Prime, Root, forward_rows, inverse_rows, pass_layers, root, times};
use crate::kernel::ifma::{Lanes, add, load, low, reduce_once, splat, store};
use crate::roots::Roots;

/// Rows to columns.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(r: &[Lanes; 8]) -> [Lanes; 8] {
    let pairs: [Lanes; 8] = [
        _mm512_unpacklo_epi64(r[0], r[1]),
        _mm512_unpackhi_epi64(r[0], r[1]),
        _mm512_unpacklo_epi64(r[2], r[3]),
        _mm512_unpackhi_epi64(r[2], r[3]),
        _mm512_unpacklo_epi64(r[4], r[5]),
        _mm512_unpackhi_epi64(r[4], r[5]),
        _mm512_unpacklo_epi64(r[6], r[7]),
        _mm512_unpackhi_epi64(r[6], r[7]),
    ];
    let [c0, c2, c4, c6] = transpose_quarters([pairs[0], pairs[2], pairs[4], pairs[6]]);
    let [c1, c3, c5, c7] = transpose_quarters([pairs[1], pairs[3], pairs[5], pairs[7]]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// Rows to columns of four 128-bit quarters.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose_quarters(r: [Lanes; 4]) -> [Lanes; 4] {
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let (a, b) = (_mm512_shuffle_i64x2::<EVEN>(r[0], r[1]), _mm512_shuffle_i64x2::<ODD>(r[0], r[1]));
    let (c, d) = (_mm512_shuffle_i64x2::<EVEN>(r[2], r[3]), _mm512_shuffle_i64x2::<ODD>(r[2], r[3]));
    [
        _mm512_shuffle_i64x2::<EVEN>(a, c),
        _mm512_shuffle_i64x2::<EVEN>(b, d),
        _mm512_shuffle_i64x2::<ODD>(a, c),
        _mm512_shuffle_i64x2::<ODD>(b, d),
    ]
}

/// What the last six layers need beside the tables.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub(super) p: Prime,
    inverse_q: Lanes,
    one: Root,
    i: Root,
    z: Root,
    zi: Root,
}

/// in [0, q), out [0, q): the product of two roots as a root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn root_product(leaf: &Leaf, value: Lanes, by: &Root) -> Root {
    let value = reduce_once(times(&leaf.p, value, by), leaf.p.q);
    with_quotient(leaf, value)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn with_quotient(leaf: &Leaf, value: Lanes) -> Root {
    Root { value, quotient: low(splat(0), value, leaf.inverse_q) }
}

/// The roots of the last three layers from the eight `u`: index `2^s + t` as in `forward_rows`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn leaf_roots(leaf: &Leaf, u: Lanes) -> [Root; 8] {
    let u1 = with_quotient(leaf, u);
    let u2 = root_product(leaf, u, &u1);
    let u4 = root_product(leaf, u2.value, &u2);
    let u2i = root_product(leaf, u2.value, &leaf.i);
    let [ui, uz, uzi] =
        [root_product(leaf, u, &leaf.i), root_product(leaf, u, &leaf.z), root_product(leaf, u, &leaf.zi)];
    [u1, u4, u2, u2i, u1, ui, uz, uzi]
}

/// A block of 64 words, whose last six layers are two passes: over its lines, and within them.
pub(super) type LeafLines = [Line; 8];
/// Leaves that go through a pass together.
const LEAVES: usize = 2;
type LeafRows = [[Lanes; LEAVES]; 8];

#[target_feature(enable = "avx512f")]
#[inline]
fn load_leaves(blocks: &[LeafLines; LEAVES]) -> LeafRows {
    let mut rows = [[splat(0); LEAVES]; 8];
    for (c, block) in blocks.iter().enumerate() {
        for (row, line) in rows.iter_mut().zip(block) {
            row[c] = load(line);
        }
    }
    rows
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_leaves(rows: &LeafRows, blocks: &mut [LeafLines; LEAVES]) {
    for (c, block) in blocks.iter_mut().enumerate() {
        for (row, line) in rows.iter().zip(block) {
            store(line, row[c]);
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn transpose_leaves(rows: &LeafRows) -> LeafRows {
    let mut columns = [[splat(0); LEAVES]; 8];
    for c in 0..LEAVES {
        let block = [0, 1, 2, 3, 4, 5, 6, 7].map(|r: usize| rows[r][c]);
        for (column, x) in columns.iter_mut().zip(transpose(&block)) {
            column[c] = x;
        }
    }
    columns
}

/// in [0, 4q), or [0, 2^52) where `LAZY`, out [0, q): the last six layers of neighbouring blocks, the first of them with root `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn forward_leaves<const LAZY: bool>(
    leaf: &Leaf,
    blocks: &mut [LeafLines],
    tables: &Roots,
    k: usize,
) {
    let p = &leaf.p;
    let blocks = blocks.as_chunks_mut::<LEAVES>().0;
    for (t, block) in blocks.iter_mut().enumerate() {
        let layers = [0, 1].map(|c| pass_layers::<8>(&tables.upper, k + LEAVES * t + c));
        let mut rows = load_leaves(block);
        forward_rows::<8, LEAVES, LAZY>(p, &mut rows, |s, t, c| root(&layers[c][s][t]));
        store_leaves(&rows, block);
    }
    let lower = tables.lower[k - tables.lower.len()..].as_chunks::<LEAVES>().0;
    for (block, [u0, u1]) in blocks.iter_mut().zip(lower) {
        let roots = [leaf_roots(leaf, load(u0)), leaf_roots(leaf, load(u1))];
        let mut columns = transpose_leaves(&load_leaves(block));
        forward_rows::<8, LEAVES, LAZY>(p, &mut columns, |s, t, c| roots[c][(1 << s) + t]);
        for column in &mut columns {
            for x in column {
                let below = if LAZY { times(p, *x, &leaf.one) } else { reduce_once(*x, p.double) };
                *x = reduce_once(below, p.q);
            }
        }
        store_leaves(&transpose_leaves(&columns), block);
    }
}

/// in [0, 2q), out [0, 2q): the first six layers of the inverse on neighbouring blocks; the first has mirror `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn inverse_leaves(leaf: &Leaf, blocks: &mut [LeafLines], tables: &Roots, k: usize) {
    let p = &leaf.p;
    let blocks = blocks.as_chunks_mut::<LEAVES>().0;
    let lower = tables.lower[..=k - tables.lower.len()].as_chunks::<LEAVES>().0;
    let backwards = _mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    for (block, [u1, u0]) in blocks.iter_mut().zip(lower.iter().rev()) {
        let roots = [
            leaf_roots(leaf, _mm512_permutexvar_epi64(backwards, load(u0))),
            leaf_roots(leaf, _mm512_permutexvar_epi64(backwards, load(u1))),
        ];
        let mut columns = transpose_leaves(&load_leaves(block));
        inverse_rows::<8, LEAVES, false>(p, &mut columns, |s, t, c| roots[c][(2 << s) - 1 - t]);
        store_leaves(&transpose_leaves(&columns), block);
    }
    for (t, block) in blocks.iter_mut().enumerate() {
        let layers = [0, 1].map(|c| pass_layers::<8>(&tables.upper, k - LEAVES * t - c));
        let mut rows = load_leaves(block);
        inverse_rows::<8, LEAVES, false>(p, &mut rows, |s, t, c| root(&layers[c][s][(1 << s) - 1 - t]));
        store_leaves(&rows, block);
    }
}

/// The constants of `roots` in every lane.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn leaf(roots: &Roots) -> Leaf {
    let (q, inverse_q) = (splat(roots.q), splat(roots.inverse_q));
    let p = Prime { q, double: add(q, q) };
    Leaf {
        p,
        inverse_q,
        one: root(&roots.upper[0]),
        i: root(&roots.i),
        z: root(&roots.z),
        zi: root(&roots.zi),
    }
}
