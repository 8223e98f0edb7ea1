//! The last six layers of the transform, on blocks of 64 words: three over the block's eight lines, three within them.
//!
//! Within lines, eight lines are transposed, so that lane `g` of column `e` is word `e` of group `g` and every group
//! has its own root in a lane. Two blocks go through together: their chains of dependent products are independent.
//!
//! One root per block makes all others, in Montgomery's form: with `w` times `2^52` modulo `q` and `w / q` modulo `2^52`
//! at hand, `y w = floor(y w / 2^52) - floor((y (w/q) mod 2^52) q / 2^52)`, in `(-q, q)`. The root of group `g` is `u =
//! e c_g` with the block's `e` and constants `c_g`; three layers take `u^4`; `u^2, u^2 i`; `u, u i, u z, u z i`
//! with `z^2 = i`, `i^2 = -1`. The three layers above take the same of `e^8`.

use std::arch::x86_64::*;

use super::{Line, Prime, Root, reduce, reduces};
use crate::kernel::ifma::{LANES, Lanes, MASK52, add, high, load, low, reduce_once, splat, store, sub};

use crate::roots::{MontgomeryFactor, RADIX, Roots};

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn montgomery(root: &MontgomeryFactor) -> Root {
    Root { value: splat(root.value), quotient: splat(root.quotient) }
}

/// in [0, 2^52) and noise, out (0, 2q): `y` times the root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn times(p: &Prime, y: Lanes, w: &Root) -> Lanes {
    let zero = splat(0);
    sub(high(p.q, y, w.value), high(zero, low(zero, y, w.quotient), p.q))
}

/// in [0, b) and [0, 2^52), out [0, b + 2q): `x + w y`, `x - w y`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn forward_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let (zero, lifted) = (splat(0), add(x, p.q));
    let product = sub(high(zero, y, w.value), high(zero, low(zero, y, w.quotient), p.q));
    (add(lifted, product), sub(lifted, product))
}

/// in [0, 2q), out [0, 2q): `x + y`, `(y - x) w`, where `w` is the mirror root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn inverse_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let difference = sub(add(y, p.double), x);
    (reduce_once(add(x, y), p.double), times(p, difference, w))
}

/// Whether what a pass begins with is modulo `2^52` with noise above.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noise {
    Above,
    None,
}

/// Three layers in each of the columns; `root(s, t, c)` is the root of subgroup `t` in layer `s` of column `c`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn forward_rows<const EVERY: usize>(
    p: &Prime,
    rows: &mut LeafRows,
    noise: Noise,
    root: impl Fn(usize, usize, usize) -> Root,
) {
    forward_layer::<0>(p, rows, const { reduces(EVERY, false, 0) }, noise, &root);
    // Montgomery's products make no noise, and a reduction takes away what there was.
    let noise = if EVERY == 0 { noise } else { Noise::None };
    forward_layer::<1>(p, rows, const { reduces(EVERY, false, 1) }, noise, &root);
    forward_layer::<2>(p, rows, const { reduces(EVERY, false, 2) }, noise, &root);
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn forward_layer<const S: usize>(
    p: &Prime,
    rows: &mut LeafRows,
    reducing: bool,
    noise: Noise,
    root: &impl Fn(usize, usize, usize) -> Root,
) {
    let half = 4 >> S;
    for t in 0..1 << S {
        for i in 2 * t * half..(2 * t + 1) * half {
            for c in 0..LEAVES {
                let x = match (reducing, noise) {
                    (false, _) => rows[i][c],
                    (true, Noise::Above) => reduce(p, rows[i][c]),
                    (true, Noise::None) => reduce_once(rows[i][c], p.half),
                };
                (rows[i][c], rows[i + half][c]) = forward_butterfly(p, x, rows[i + half][c], &root(S, t, c));
            }
        }
    }
}

/// The same layers backwards, mirror roots.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn inverse_rows(p: &Prime, rows: &mut LeafRows, root: impl Fn(usize, usize, usize) -> Root) {
    for s in (0..3).rev() {
        let half = 4 >> s;
        for t in 0..1 << s {
            for i in 2 * t * half..(2 * t + 1) * half {
                for c in 0..LEAVES {
                    (rows[i][c], rows[i + half][c]) =
                        inverse_butterfly(p, rows[i][c], rows[i + half][c], &root(s, t, c));
                }
            }
        }
    }
}

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
    /// Per lane the constant of a group.
    groups: Root,
    groups_backwards: Root,
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

/// The roots of three layers from those of the last of them, `u`: index `2^s + t` as in `forward_rows`.
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

/// The roots of the first three layers of eight blocks: words by root, then by block.
struct LineRoots {
    values: [Line; 8],
    quotients: [Line; 8],
}

impl LineRoots {
    /// From the eight blocks' roots.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn new(leaf: &Leaf, e: Lanes) -> LineRoots {
        let square = |e: Lanes| root_product(leaf, e, &with_quotient(leaf, e)).value;
        let roots = leaf_roots(leaf, square(square(square(e))));
        let mut lines = LineRoots { values: [[0; LANES]; 8], quotients: [[0; LANES]; 8] };
        for (root, (value, quotient)) in roots.iter().zip(lines.values.iter_mut().zip(&mut lines.quotients)) {
            store(value, root.value);
            store(quotient, root.quotient);
        }
        lines
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn of(&self, index: usize, block: usize) -> Root {
        Root { value: splat(self.values[index][block]), quotient: splat(self.quotients[index][block]) }
    }
}

/// in [0, b) and noise, `b` as the passes above leave it, out [0, q): the last six layers of neighbouring blocks, the
/// first of them with root `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn forward_leaves<const EVERY: usize>(
    leaf: &Leaf,
    blocks: &mut [LeafLines],
    tables: &Roots,
    k: usize,
) {
    let (p, first) = (&leaf.p, k - tables.upper.len());
    for (chunk, blocks) in blocks.chunks_mut(LANES).enumerate() {
        let e = &tables.lower[first / LANES + chunk];
        let lines = LineRoots::new(leaf, load(e));
        for (pair, block) in blocks.as_chunks_mut::<LEAVES>().0.iter_mut().enumerate() {
            let mut rows = load_leaves(block);
            forward_rows::<EVERY>(p, &mut rows, Noise::Above, |s, t, c| {
                lines.of((1 << s) + t, LEAVES * pair + c)
            });
            store_leaves(&rows, block);
        }
        for (pair, block) in blocks.as_chunks_mut::<LEAVES>().0.iter_mut().enumerate() {
            let u = [0, 1].map(|c| root_product(leaf, splat(e[LEAVES * pair + c]), &leaf.groups));
            let roots = [leaf_roots(leaf, u[0].value), leaf_roots(leaf, u[1].value)];
            let mut columns = transpose_leaves(&load_leaves(block));
            forward_rows::<EVERY>(p, &mut columns, Noise::None, |s, t, c| roots[c][(1 << s) + t]);
            for x in columns.as_flattened_mut() {
                // Below 4q with a reduction in every layer; else by a product.
                let below = if EVERY == 1 { reduce_once(*x, p.double) } else { times(p, *x, &leaf.one) };
                *x = reduce_once(below, p.q);
            }
            store_leaves(&transpose_leaves(&columns), block);
        }
    }
}

/// in [0, 2q), out [0, 2q): the first six layers of the inverse on neighbouring blocks; the first has mirror `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn inverse_leaves(leaf: &Leaf, blocks: &mut [LeafLines], tables: &Roots, k: usize) {
    let (p, last) = (&leaf.p, k - tables.upper.len());
    for (chunk, blocks) in blocks.chunks_mut(LANES).enumerate() {
        let last = last - LANES * chunk;
        let e = &tables.lower[last / LANES];
        let lines = LineRoots::new(leaf, load(e));
        let mirror = |pair: usize, c: usize| last % LANES - LEAVES * pair - c;
        for (pair, block) in blocks.as_chunks_mut::<LEAVES>().0.iter_mut().enumerate() {
            let u = [0, 1].map(|c| root_product(leaf, splat(e[mirror(pair, c)]), &leaf.groups_backwards));
            let roots = [leaf_roots(leaf, u[0].value), leaf_roots(leaf, u[1].value)];
            let mut columns = transpose_leaves(&load_leaves(block));
            inverse_rows(p, &mut columns, |s, t, c| roots[c][(2 << s) - 1 - t]);
            store_leaves(&transpose_leaves(&columns), block);
        }
        for (pair, block) in blocks.as_chunks_mut::<LEAVES>().0.iter_mut().enumerate() {
            let mut rows = load_leaves(block);
            inverse_rows(p, &mut rows, |s, t, c| lines.of((2 << s) - 1 - t, mirror(pair, c)));
            store_leaves(&rows, block);
        }
    }
}

/// The constants of `roots` in every lane, with a reduction by `2 q every`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn leaf(roots: &Roots, every: u64) -> Leaf {
    let (q, inverse_q) = (splat(roots.q), splat(roots.inverse_q));
    let (minus, mask, half) = (splat(RADIX - roots.q), splat(MASK52), splat(2 * roots.q * every));
    let p = Prime { q, double: add(q, q), minus, mask, half };
    let values = roots.groups.map(|group| group.value);
    let quotients = roots.groups.map(|group| group.quotient);
    let groups = Root { value: load(&values), quotient: load(&quotients) };
    let backwards = |x: Lanes| _mm512_permutexvar_epi64(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), x);
    let groups_backwards = Root { value: backwards(groups.value), quotient: backwards(groups.quotient) };
    Leaf {
        p,
        inverse_q,
        one: montgomery(&roots.one),
        groups,
        groups_backwards,
        i: montgomery(&roots.i),
        z: montgomery(&roots.z),
        zi: montgomery(&roots.zi),
    }
}
