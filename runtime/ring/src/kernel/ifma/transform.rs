//! The negacyclic transform on eight lanes, for primes below `2^50` and degrees from `2^7`.
//!
//! Layers as in Cooley and Tukey's (forward) and Gentleman and Sande's (inverse) scheme with roots in bit-reversed
//! order: group `j` of layer `l` has root index `k = 2^l + j` and root `psi^(bitrev(k))` over `log_n` bits; its two
//! halves are `2k` and `2k + 1`. A root `w` multiplies `y` by Montgomery's reduction: with `w` times `2^52` modulo `q`
//! and `w / q` modulo `2^52` at hand, `y w = floor(y w / 2^52) - floor((y (w/q) mod 2^52) q / 2^52)`, in `(-q, q)`.
//!
//! What this form is after is memory. Passes of 3 or 4 layers go depth first, so that data is read from the second
//! cache twice; the last three layers, which would need `7/8` of all roots, take one root `u` per eight words and make
//! the other six from it: `u^4`; `u^2, u^2 i`; `u, u i, u z, u z i` with `z^2 = i`, `i^2 = -1`. One table serves both
//! directions: the inverse of root `2^l + j` is minus root `2^l + (2^l - 1 - j)`, its mirror, so the inverse subtracts
//! the other way round.

mod leaf;

use leaf::{Leaf, forward_leaves, inverse_leaves, leaf};

use super::{LANES, Lanes, add, high, load, low, reduce_once, splat, store, sub};
use crate::roots::{MontgomeryFactor, Roots};

type Line = [u64; LANES];

/// A root in every lane, or eight roots: times `2^52`, and that divided by `q` modulo `2^52`.
#[derive(Clone, Copy)]
struct Root {
    value: Lanes,
    quotient: Lanes,
}

/// Constants of one prime in every lane.
#[derive(Clone, Copy)]
struct Prime {
    q: Lanes,
    double: Lanes,
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn root(root: &MontgomeryFactor) -> Root {
    Root { value: splat(root.value), quotient: splat(root.quotient) }
}

/// in [0, 2^52), out (0, 2q): `y` times the root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn times(p: &Prime, y: Lanes, w: &Root) -> Lanes {
    let zero = splat(0);
    sub(high(p.q, y, w.value), high(zero, low(zero, y, w.quotient), p.q))
}

/// in [0, 4q), out [0, 4q): `x + w y`, `x - w y`; where `LAZY`, in [0, b) gives [0, b + 2q).
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn forward_butterfly<const LAZY: bool>(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let zero = splat(0);
    let lifted = add(if LAZY { x } else { reduce_once(x, p.double) }, p.q);
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

/// Layers of `R` rows under one group in each of `C` columns, which are independent of each other: that many chains
/// hide each other's latency. `root(s, t, c)` is the root of subgroup `t` in layer `s` of column `c`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn forward_rows<const R: usize, const C: usize, const LAZY: bool>(
    p: &Prime,
    rows: &mut [[Lanes; C]; R],
    root: impl Fn(usize, usize, usize) -> Root,
) {
    for s in 0..R.ilog2() as usize {
        let half = R >> (s + 1);
        for t in 0..1 << s {
            for i in 2 * t * half..(2 * t + 1) * half {
                for c in 0..C {
                    let w = root(s, t, c);
                    (rows[i][c], rows[i + half][c]) =
                        forward_butterfly::<LAZY>(p, rows[i][c], rows[i + half][c], &w);
                }
            }
        }
    }
}

/// The same layers backwards, mirror roots; without layer 0 where `TOP`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn inverse_rows<const R: usize, const C: usize, const TOP: bool>(
    p: &Prime,
    rows: &mut [[Lanes; C]; R],
    root: impl Fn(usize, usize, usize) -> Root,
) {
    for s in (usize::from(TOP)..R.ilog2() as usize).rev() {
        let half = R >> (s + 1);
        for t in 0..1 << s {
            for i in 2 * t * half..(2 * t + 1) * half {
                for c in 0..C {
                    let w = root(s, t, c);
                    (rows[i][c], rows[i + half][c]) = inverse_butterfly(p, rows[i][c], rows[i + half][c], &w);
                }
            }
        }
    }
}

/// Per layer of a pass the roots of its subgroups, under root `k` or under the mirror `k`.
#[inline(always)]
fn pass_layers<const R: usize>(table: &[MontgomeryFactor], k: usize) -> [&[MontgomeryFactor]; 4] {
    std::array::from_fn(|s| if 1 << s < R { &table[k << s..][..1 << s] } else { &table[..0] })
}

/// `R` rows of a block, as disjoint slices of equal length, cut into `C` lines each.
#[inline(always)]
fn rows_of<const R: usize, const C: usize>(block: &mut [Line]) -> [&mut [[Line; C]]; R] {
    let steps = block.len() / (R * C);
    let mut rest = block.as_chunks_mut().0;
    std::array::from_fn(|_| {
        let (row, tail) = std::mem::take(&mut rest).split_at_mut(steps);
        rest = tail;
        row
    })
}

/// in [0, 4q), out [0, 4q), or as `LAZY` butterflies: one pass over a block, whose group has root `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_pass<const R: usize, const C: usize, const LAZY: bool>(
    p: &Prime,
    block: &mut [Line],
    table: &[MontgomeryFactor],
    k: usize,
) {
    let layers = pass_layers::<R>(table, k);
    let steps = block.len() / (R * C);
    let mut lines = rows_of::<R, C>(block);
    for i in 0..steps {
        let mut rows = [[splat(0); C]; R];
        for (row, lines) in rows.iter_mut().zip(&lines) {
            for (x, line) in row.iter_mut().zip(&lines[i]) {
                *x = load(line);
            }
        }
        forward_rows::<R, C, LAZY>(p, &mut rows, |s, t, _| root(&layers[s][t]));
        for (row, lines) in rows.iter().zip(&mut lines) {
            for (x, line) in row.iter().zip(&mut lines[i]) {
                store(line, *x);
            }
        }
    }
}

/// in [0, 2q), out [0, 2q), or [0, q) and divided by `N` where `TOP`: one pass over a block whose mirror is `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn inverse_pass<const R: usize, const C: usize, const TOP: bool>(
    p: &Prime,
    block: &mut [Line],
    tables: &Roots,
    k: usize,
) {
    let (shares, scaled) = (root(&tables.inverse_n), root(&tables.inverse_n_root));
    let layers = pass_layers::<R>(&tables.upper, k);
    let steps = block.len() / (R * C);
    let mut lines = rows_of::<R, C>(block);
    for i in 0..steps {
        let mut rows = [[splat(0); C]; R];
        for (row, lines) in rows.iter_mut().zip(&lines) {
            for (x, line) in row.iter_mut().zip(&lines[i]) {
                *x = load(line);
            }
        }
        inverse_rows::<R, C, TOP>(p, &mut rows, |s, t, _| root(&layers[s][(1 << s) - 1 - t]));
        if TOP {
            for i in 0..R / 2 {
                for c in 0..C {
                    let (x, y) = (rows[i][c], rows[i + R / 2][c]);
                    let difference = sub(add(y, p.double), x);
                    rows[i][c] = reduce_once(times(p, add(x, y), &shares), p.q);
                    rows[i + R / 2][c] = reduce_once(times(p, difference, &scaled), p.q);
                }
            }
        }
        for (row, lines) in rows.iter().zip(&mut lines) {
            for (x, line) in row.iter().zip(&mut lines[i]) {
                store(line, *x);
            }
        }
    }
}

/// Rows of the first pass over a block. Sixteen rows come last, at a stride of 512 bytes: at a longer power of two they
/// would share one set of the first cache, which has fewer ways.
fn first_rows(block: &[Line]) -> usize {
    match (block.len() / 8).trailing_zeros() {
        1 => 2,
        4 => 16,
        layers if layers % 3 == 2 => 4,
        _ => 8,
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_block<const LAZY: bool>(leaf: &Leaf, block: &mut [Line], tables: &Roots, k: usize) {
    let rows = first_rows(block);
    match rows {
        2 => forward_pass::<2, 4, LAZY>(&leaf.p, block, &tables.upper, k),
        4 => forward_pass::<4, 4, LAZY>(&leaf.p, block, &tables.upper, k),
        8 => forward_pass::<8, 2, LAZY>(&leaf.p, block, &tables.upper, k),
        _ => forward_pass::<16, 1, LAZY>(&leaf.p, block, &tables.upper, k),
    }
    let stride = block.len() / rows;
    if stride == 8 {
        forward_leaves::<LAZY>(leaf, block.as_chunks_mut().0, tables, k * rows);
    } else {
        for (t, block) in block.chunks_exact_mut(stride).enumerate() {
            forward_block::<LAZY>(leaf, block, tables, k * rows + t);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_block<const TOP: bool>(leaf: &Leaf, block: &mut [Line], tables: &Roots, k: usize) {
    let rows = first_rows(block);
    let stride = block.len() / rows;
    let last = k * rows + rows - 1;
    if stride == 8 {
        inverse_leaves(leaf, block.as_chunks_mut().0, tables, last);
    } else {
        for (t, block) in block.chunks_exact_mut(stride).enumerate() {
            inverse_block::<false>(leaf, block, tables, last - t);
        }
    }
    match rows {
        2 => inverse_pass::<2, 4, TOP>(&leaf.p, block, tables, k),
        4 => inverse_pass::<4, 4, TOP>(&leaf.p, block, tables, k),
        8 => inverse_pass::<8, 2, TOP>(&leaf.p, block, tables, k),
        _ => inverse_pass::<16, 1, TOP>(&leaf.p, block, tables, k),
    }
}

/// in [0, q), out [0, q): coefficients to values in bit-reversed order.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn forward(roots: &Roots, a: &mut [u64]) {
    // Layer by layer the bound grows by 2q; products are of words below 2^52.
    let layers = u64::from(a.len().ilog2());
    if (2 * layers + 1) * roots.q <= 1 << 52 {
        forward_block::<true>(&leaf(roots), a.as_chunks_mut().0, roots, 1);
    } else {
        forward_block::<false>(&leaf(roots), a.as_chunks_mut().0, roots, 1);
    }
}

/// in [0, q), out [0, q): values in bit-reversed order to coefficients.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn inverse(roots: &Roots, a: &mut [u64]) {
    inverse_block::<true>(&leaf(roots), a.as_chunks_mut().0, roots, 1);
}
