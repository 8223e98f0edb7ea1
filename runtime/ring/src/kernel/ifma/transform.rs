//! The negacyclic transform on eight lanes, for primes below `2^50` and degrees from `2^7`.
//!
//! Layers as in Cooley and Tukey's (forward) and Gentleman and Sande's (inverse) scheme with roots in bit-reversed
//! order: group `j` of layer `l` has root index `k = 2^l + j` and root `psi^(bitrev(k))` over `log_n` bits; its two
//! halves are `2k` and `2k + 1`. Passes of 3 or 4 layers go depth first, so that data is read from the second cache
//! twice. Above blocks of 64 words roots come from a table in Shoup's form; the six layers of a block (`leaf`) make
//! theirs from one root. One table serves both directions: the inverse of root `2^l + j` is minus root `2^l + (2^l - 1 -
//! j)`, its mirror, so the inverse subtracts the other way round.
//!
//! Shoup's product takes `w' = floor(w 2^52 / q)` and gives `y w - floor(y w' / 2^52) q` in `[0, 2q)` for `y < 2^52`.
//! Forward layers leave it modulo `2^52`, what is above being noise that the next product does not read: six
//! instructions per butterfly. A layer adds `2q` to the bound of its words. With `L` layers from one reduction of `x`
//! to the next, words stay below `4 q L`: a reduction takes `2 q L` away where it can. `4 q L <= 2^52` chooses `L` by
//! the prime: 1, 2 or 4, and none at all where `(2 log N + 1) q <= 2^52`.

mod leaf;

use leaf::{Leaf, forward_leaves, inverse_leaves, leaf};

use super::{LANES, Lanes, add, and, high, load, low, reduce_once, splat, store, sub};
use crate::roots::{self, RADIX, Roots};

type Line = [u64; LANES];

/// A root in every lane, or eight roots, with its quotient.
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
    /// `-q` modulo `2^52`.
    minus: Lanes,
    mask: Lanes,
    /// `2 q L`: what a reduction takes away.
    half: Lanes,
}

/// Whether layer `s` of a pass reduces, where every `L`-th does (0: none). Passes begin anew, with at most 4 layers;
/// the first one begins below `q`, as after a reduction.
const fn reduces(every: usize, first: bool, s: usize) -> bool {
    every != 0 && s.is_multiple_of(every) && !(first && s == 0)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn root(root: &roots::Root) -> Root {
    Root { value: splat(root.value), quotient: splat(root.quotient) }
}

/// in [0, 2^52) and noise, out [0, 2q): `y` times the root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn by_root(p: &Prime, y: Lanes, w: &Root) -> Lanes {
    let zero = splat(0);
    let estimate = high(zero, y, w.quotient);
    and(low(low(zero, y, w.value), estimate, p.minus), p.mask)
}

/// in [0, 4 q L) and noise, out [0, 2 q L).
#[target_feature(enable = "avx512f")]
#[inline]
fn reduce(p: &Prime, x: Lanes) -> Lanes {
    reduce_once(and(x, p.mask), p.half)
}

/// in [0, b) and [0, 2^52), out [0, b + 2q), all with noise: `x + w y`, `x - w y`.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn forward_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let estimate = high(splat(0), y, w.quotient);
    let sum = low(low(x, y, w.value), estimate, p.minus);
    (sum, sub(add(x, add(x, p.double)), sum))
}

/// in [0, 2q), out [0, 2q): `x + y`, `(y - x) w`, where `w` is the mirror root.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn inverse_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let difference = sub(add(y, p.double), x);
    (reduce_once(add(x, y), p.double), by_root(p, difference, w))
}

/// Per layer of a pass the roots of its subgroups, under root `k` or under the mirror `k`.
#[inline(always)]
fn pass_layers<const R: usize>(table: &[roots::Root], k: usize) -> [&[roots::Root]; 4] {
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

/// Layer `S` of a pass, if it has so many: `C` columns at once hide each other's latency.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
#[allow(clippy::needless_range_loop, reason = "a column index reads two rows of one array")]
fn forward_layer<const R: usize, const C: usize, const S: usize>(
    p: &Prime,
    rows: &mut [[Lanes; C]; R],
    reducing: bool,
    roots: &[roots::Root],
) {
    let half = R >> (S + 1);
    if half == 0 {
        return;
    }
    for t in 0..1 << S {
        let w = root(&roots[t]);
        for j in 2 * t * half..(2 * t + 1) * half {
            for c in 0..C {
                let x = if reducing { reduce(p, rows[j][c]) } else { rows[j][c] };
                (rows[j][c], rows[j + half][c]) = forward_butterfly(p, x, rows[j + half][c], &w);
            }
        }
    }
}

/// One pass over a block, whose group has root `k`.
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_pass<const R: usize, const C: usize, const EVERY: usize, const FIRST: bool>(
    p: &Prime,
    block: &mut [Line],
    table: &[roots::Root],
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
        forward_layer::<R, C, 0>(p, &mut rows, const { reduces(EVERY, FIRST, 0) }, layers[0]);
        forward_layer::<R, C, 1>(p, &mut rows, const { reduces(EVERY, FIRST, 1) }, layers[1]);
        forward_layer::<R, C, 2>(p, &mut rows, const { reduces(EVERY, FIRST, 2) }, layers[2]);
        forward_layer::<R, C, 3>(p, &mut rows, const { reduces(EVERY, FIRST, 3) }, layers[3]);
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
        for s in (usize::from(TOP)..R.ilog2() as usize).rev() {
            let half = R >> (s + 1);
            for t in 0..1 << s {
                let w = root(&layers[s][(1 << s) - 1 - t]);
                for j in 2 * t * half..(2 * t + 1) * half {
                    for c in 0..C {
                        (rows[j][c], rows[j + half][c]) =
                            inverse_butterfly(p, rows[j][c], rows[j + half][c], &w);
                    }
                }
            }
        }
        if TOP {
            for j in 0..R / 2 {
                for c in 0..C {
                    let (x, y) = (rows[j][c], rows[j + R / 2][c]);
                    let difference = sub(add(y, p.double), x);
                    rows[j][c] = reduce_once(by_root(p, add(x, y), &shares), p.q);
                    rows[j + R / 2][c] = reduce_once(by_root(p, difference, &scaled), p.q);
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
fn forward_block<const EVERY: usize, const FIRST: bool>(
    leaf: &Leaf,
    block: &mut [Line],
    tables: &Roots,
    k: usize,
) {
    let (rows, p) = (first_rows(block), &leaf.p);
    match rows {
        2 => forward_pass::<2, 4, EVERY, FIRST>(p, block, &tables.upper, k),
        4 => forward_pass::<4, 4, EVERY, FIRST>(p, block, &tables.upper, k),
        8 => forward_pass::<8, 2, EVERY, FIRST>(p, block, &tables.upper, k),
        _ => forward_pass::<16, 1, EVERY, FIRST>(p, block, &tables.upper, k),
    }
    let stride = block.len() / rows;
    if stride == 8 {
        forward_leaves::<EVERY>(leaf, block.as_chunks_mut().0, tables, k * rows);
    } else {
        for (t, block) in block.chunks_exact_mut(stride).enumerate() {
            forward_block::<EVERY, false>(leaf, block, tables, k * rows + t);
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
    let (layers, lines) = (u64::from(a.len().ilog2()), a.as_chunks_mut().0);
    if (2 * layers + 1) * roots.q <= RADIX {
        forward_block::<0, true>(&leaf(roots, 1), lines, roots, 1);
    } else if 16 * roots.q <= RADIX {
        forward_block::<4, true>(&leaf(roots, 4), lines, roots, 1);
    } else if 8 * roots.q <= RADIX {
        forward_block::<2, true>(&leaf(roots, 2), lines, roots, 1);
    } else {
        forward_block::<1, true>(&leaf(roots, 1), lines, roots, 1);
    }
}

/// in [0, q), out [0, q): values in bit-reversed order to coefficients.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(in crate::kernel) fn inverse(roots: &Roots, a: &mut [u64]) {
    inverse_block::<true>(&leaf(roots, 1), a.as_chunks_mut().0, roots, 1);
}
