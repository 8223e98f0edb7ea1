//! The negacyclic transform on four lanes of floats, for primes below `2^50` and degrees from `2^5`.
//!
//! Layers and root indices as in the transform on IFMA: group `j` of layer `l` has root index `k = 2^l + j`, its halves
//! are `2k` and `2k + 1`, and the inverse takes mirror roots. A pass is two layers on four rows and
//! two columns at once: a butterfly's instructions wait for each other, and independent ones stand beside them. Where the number of layers is odd, the one at the top is a pass by itself. Passes go depth first
//! down to blocks that stay in the first cache. The last two layers are within lines, which are transposed.
//!
//! Between the first pass and the last, memory holds floats. A butterfly is eight instructions. The bound of a word, in
//! units of q: a forward layer leads from `t` to `t + 1/2 + t q 2^-53 3/2`, with roots in `[-q/2, q/2]`; an inverse one
//! from `t >= 1/2` to `2t`. All words stay within `2^53`, so only so many layers follow each other
//! ([`forward_layers`], [`inverse_layers`]); then a pass begins with a reduction, of three instructions per word.

mod leaf;

use std::arch::x86_64::*;

use leaf::{forward_groups, forward_lines, inverse_groups, inverse_lines};

use super::{
    Lanes, Line, Prime, add, canonical, load, load_floats, nearest_integer, prime, reduce, splat, store,
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

impl<'a> Plan<'a> {
    #[target_feature(enable = "avx2,fma")]
    fn new(roots: &'a FloatRoots, layers: u32) -> Plan<'a> {
        Plan { p: prime(roots.q), roots, i: splat(roots.i), layers }
    }

    /// Whether a pass of so many layers has to reduce, `since` layers after the last reduction, and what `since` is behind it.
    fn next(&self, since: u32, layers: u32) -> (bool, u32) {
        let reduces = since + layers > self.layers;
        (reduces, if reduces { layers } else { since + layers })
    }
}

/// Layers of a pass.
const PASS: u32 = 2;
/// What the last pass counts for: some of its roots are within 0.6q of zero, not half.
const LAST_PASS: u32 = 3;
/// What residues count for in the inverse: they are within q of zero, not half.
const RESIDUE_LAYERS: u32 = 1;
/// Columns of a pass.
const COLUMNS: usize = 2;
/// Lines of a block that is left in the first cache by every pass: 8 KiB, beside as many of roots.
const AREA_LINES: usize = 256;

/// Forward layers that may follow each other, for `q < 2^bits`: words are below q at first, within q/2 later.
fn forward_layers(bits: u32) -> u32 {
    match bits {
        50.. => 6,
        49 => 12,
        _ => 64,
    }
}

/// Inverse layers that may follow a reduction, which leaves words within q/2 of zero.
fn inverse_layers(bits: u32) -> u32 {
    54 - bits
}

/// A root, and what is nearest to `w / q`.
#[derive(Clone, Copy)]
struct Root {
    value: Lanes,
    quotient: Lanes,
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn root(p: &Prime, value: Lanes) -> Root {
    Root { value, quotient: _mm256_mul_pd(value, p.inverse) }
}

/// As `product`: `y` times the root; the quotient does not wait for `y w`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn by_root(p: &Prime, y: Lanes, w: &Root) -> Lanes {
    let high = _mm256_mul_pd(y, w.value);
    let low = _mm256_fmsub_pd(y, w.value, high);
    let quotient = nearest_integer(_mm256_mul_pd(y, w.quotient));
    add(_mm256_fnmadd_pd(quotient, p.q, high), low)
}

/// `x + w y`, `x - w y`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn forward_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    let product = by_root(p, y, w);
    (add(x, product), sub(x, product))
}

/// `x + y`, `(y - x) w`, where `w` is the mirror root.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn inverse_butterfly(p: &Prime, x: Lanes, y: Lanes, w: &Root) -> (Lanes, Lanes) {
    (add(x, y), by_root(p, sub(y, x), w))
}

/// Four rows of `C` columns.
type Rows<const C: usize> = [[Lanes; C]; 4];
/// The roots of two layers: of a group, and of its halves.
type PassRoots = [Root; 3];

/// Two layers.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn forward_rows<const C: usize>(p: &Prime, rows: &mut Rows<C>, roots: &[PassRoots; C]) {
    for (i, j, w) in [(0, 2, 0), (1, 3, 0), (0, 1, 1), (2, 3, 2)] {
        for c in 0..C {
            (rows[i][c], rows[j][c]) = forward_butterfly(p, rows[i][c], rows[j][c], &roots[c][w]);
        }
    }
}

/// Two layers backwards, with mirror roots.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn inverse_rows<const C: usize>(p: &Prime, rows: &mut Rows<C>, roots: &[PassRoots; C]) {
    inverse_halves(p, rows, roots);
    for (i, j) in [(0, 2), (1, 3)] {
        for c in 0..C {
            (rows[i][c], rows[j][c]) = inverse_butterfly(p, rows[i][c], rows[j][c], &roots[c][0]);
        }
    }
}

/// The lower one of two layers backwards.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn inverse_halves<const C: usize>(p: &Prime, rows: &mut Rows<C>, roots: &[PassRoots; C]) {
    for (i, j, w) in [(0, 1, 2), (2, 3, 1)] {
        for c in 0..C {
            (rows[i][c], rows[j][c]) = inverse_butterfly(p, rows[i][c], rows[j][c], &roots[c][w]);
        }
    }
}

/// The roots of a pass whose group has root `k`, or mirror `k`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn pass_roots(plan: &Plan<'_>, k: usize) -> PassRoots {
    let (p, upper) = (&plan.p, &plan.roots.upper);
    [root(p, splat(upper[k])), root(p, splat(upper[2 * k])), root(p, splat(upper[2 * k + 1]))]
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

/// Words as a pass finds them: integers below q where it is the first, else floats.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn read<const FIRST: bool, const REDUCE: bool>(p: &Prime, line: &Line) -> Lanes {
    let x = if FIRST { load(line) } else { load_floats(line) };
    if REDUCE { reduce(p, x) } else { x }
}

/// Words as a pass leaves them: integers below q where it is the last, else floats.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn write<const LAST: bool>(p: &Prime, line: &mut Line, x: Lanes) {
    if LAST { store(line, canonical(p, x)) } else { store_floats(line, x) }
}

/// A pass over a block, whose group has root `k`.
#[target_feature(enable = "avx2,fma")]
fn forward_pass<const FIRST: bool, const REDUCE: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize) {
    let (p, roots) = (&plan.p, [pass_roots(plan, k); COLUMNS]);
    let steps = block.len() / (4 * COLUMNS);
    let mut lines = rows_of::<4, COLUMNS>(block);
    for i in 0..steps {
        let mut rows = [[splat(0.0); COLUMNS]; 4];
        for (row, lines) in rows.iter_mut().zip(&lines) {
            for (x, line) in row.iter_mut().zip(&lines[i]) {
                *x = read::<FIRST, REDUCE>(p, line);
            }
        }
        forward_rows(p, &mut rows, &roots);
        for (row, lines) in rows.iter().zip(&mut lines) {
            for (x, line) in row.iter().zip(&mut lines[i]) {
                store_floats(line, *x);
            }
        }
    }
}

/// A pass backwards over a block whose mirror is `k`; the one at the `TOP` divides by `N`.
#[target_feature(enable = "avx2,fma")]
fn inverse_pass<const TOP: bool, const REDUCE: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize) {
    let (p, roots) = (&plan.p, [pass_roots(plan, k); COLUMNS]);
    let shares = top_factors(plan);
    let steps = block.len() / (4 * COLUMNS);
    let mut lines = rows_of::<4, COLUMNS>(block);
    for i in 0..steps {
        let mut rows = [[splat(0.0); COLUMNS]; 4];
        for (row, lines) in rows.iter_mut().zip(&lines) {
            for (x, line) in row.iter_mut().zip(&lines[i]) {
                *x = read::<false, REDUCE>(p, line);
            }
        }
        if TOP {
            inverse_halves(p, &mut rows, &roots);
            let (low, high) = rows.split_at_mut(2);
            for (x, y) in low.as_flattened_mut().iter_mut().zip(high.as_flattened_mut()) {
                (*x, *y) = top_butterfly(p, *x, *y, &shares);
            }
        } else {
            inverse_rows(p, &mut rows, &roots);
        }
        for (row, lines) in rows.iter().zip(&mut lines) {
            for (x, line) in row.iter().zip(&mut lines[i]) {
                write::<TOP>(p, line, *x);
            }
        }
    }
}

/// `1/N`, and that times root 1.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn top_factors(plan: &Plan<'_>) -> [Root; 2] {
    [root(&plan.p, splat(plan.roots.inverse_n)), root(&plan.p, splat(plan.roots.inverse_n_root))]
}

/// The last butterfly backwards, divided by `N`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn top_butterfly(p: &Prime, x: Lanes, y: Lanes, shares: &[Root; 2]) -> (Lanes, Lanes) {
    (by_root(p, add(x, y), &shares[0]), by_root(p, sub(y, x), &shares[1]))
}

/// The layer at the top, where their number is odd.
#[target_feature(enable = "avx2,fma")]
fn forward_top(plan: &Plan<'_>, block: &mut [Line]) {
    let (p, w) = (&plan.p, root(&plan.p, splat(plan.roots.upper[1])));
    let [first, second] = rows_of::<2, 1>(block);
    for (x, y) in first.as_flattened_mut().iter_mut().zip(second.as_flattened_mut()) {
        let (sum, difference) = forward_butterfly(p, load(x), load(y), &w);
        store_floats(x, sum);
        store_floats(y, difference);
    }
}

/// The same backwards.
#[target_feature(enable = "avx2,fma")]
fn inverse_top<const REDUCE: bool>(plan: &Plan<'_>, block: &mut [Line]) {
    let (p, shares) = (&plan.p, top_factors(plan));
    let [first, second] = rows_of::<2, 1>(block);
    for (x, y) in first.as_flattened_mut().iter_mut().zip(second.as_flattened_mut()) {
        let (low, high) = (read::<false, REDUCE>(p, x), read::<false, REDUCE>(p, y));
        let (low, high) = top_butterfly(p, low, high, &shares);
        write::<true>(p, x, low);
        write::<true>(p, y, high);
    }
}

/// All passes over a block of `4^m > 4` lines, whose group has root `k`, `since` layers after the last reduction.
#[target_feature(enable = "avx2,fma")]
fn forward_block<const FIRST: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize, since: u32) {
    let (reduces, since) = plan.next(since, PASS);
    match reduces {
        false => forward_pass::<FIRST, false>(plan, block, k),
        true => forward_pass::<FIRST, true>(plan, block, k),
    }
    let rows = block.len() / 4;
    if block.len() <= AREA_LINES {
        return forward_area(plan, block, rows, 4 * k, since);
    }
    for (t, block) in block.chunks_exact_mut(rows).enumerate() {
        forward_block::<false>(plan, block, 4 * k + t, since);
    }
}

/// All passes over an area in the first cache, pass by pass: neighbouring blocks of `4^m` lines, the first with root `k`.
#[target_feature(enable = "avx2,fma")]
fn forward_area(plan: &Plan<'_>, area: &mut [Line], mut lines: usize, mut k: usize, mut since: u32) {
    while lines > 4 {
        let (reduces, after) = plan.next(since, PASS);
        for (t, block) in area.chunks_exact_mut(lines).enumerate() {
            match reduces {
                false => forward_pass::<false, false>(plan, block, k + t),
                true => forward_pass::<false, true>(plan, block, k + t),
            }
        }
        (lines, k, since) = (lines / 4, 4 * k, after);
    }
    let leaves = area.as_chunks_mut().0;
    let (reduces, since) = plan.next(since, PASS);
    match reduces {
        false => forward_lines::<false>(plan, leaves, k),
        true => forward_lines::<true>(plan, leaves, k),
    }
    match plan.next(since, LAST_PASS).0 {
        false => forward_groups::<false>(plan, leaves, k),
        true => forward_groups::<true>(plan, leaves, k),
    }
}

/// All passes backwards over a block of `4^m > 4` lines with mirror `k`; gives the layers since the last reduction.
#[target_feature(enable = "avx2,fma")]
fn inverse_block<const TOP: bool>(plan: &Plan<'_>, block: &mut [Line], k: usize) -> u32 {
    let (rows, mirror) = (block.len() / 4, 4 * k + 3);
    let since = if block.len() <= AREA_LINES {
        inverse_area(plan, block, rows, mirror)
    } else {
        let blocks = block.chunks_exact_mut(rows).enumerate();
        blocks.fold(0, |_, (t, block)| inverse_block::<false>(plan, block, mirror - t))
    };
    let (reduces, since) = plan.next(since, PASS);
    match reduces {
        false => inverse_pass::<TOP, false>(plan, block, k),
        true => inverse_pass::<TOP, true>(plan, block, k),
    }
    since
}

/// The same over an area in the first cache: neighbouring blocks of `4^m` lines, the first with mirror `k`.
#[target_feature(enable = "avx2,fma")]
fn inverse_area(plan: &Plan<'_>, area: &mut [Line], lines: usize, k: usize) -> u32 {
    // The mirror of the first of the parts that blocks of so many lines have.
    let mirror = |part: usize| (k + 1) * (lines / part) - 1;
    let leaves = area.as_chunks_mut().0;
    inverse_groups(plan, leaves, mirror(4));
    let (reduces, mut since) = plan.next(RESIDUE_LAYERS + PASS, PASS);
    match reduces {
        false => inverse_lines::<false>(plan, leaves, mirror(4)),
        true => inverse_lines::<true>(plan, leaves, mirror(4)),
    }
    let mut part = 16;
    while part <= lines {
        let (reduces, after) = plan.next(since, PASS);
        for (t, block) in area.chunks_exact_mut(part).enumerate() {
            match reduces {
                false => inverse_pass::<false, false>(plan, block, mirror(part) - t),
                true => inverse_pass::<false, true>(plan, block, mirror(part) - t),
            }
        }
        (part, since) = (4 * part, after);
    }
    since
}

/// in [0, q), out [0, q): coefficients to values in bit-reversed order.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn forward(roots: &FloatRoots, a: &mut [u64]) {
    let plan = Plan::new(roots, forward_layers(roots.q.ilog2() + 1));
    let lines = a.as_chunks_mut().0;
    let layers = lines.len().ilog2();
    if layers.is_multiple_of(PASS) {
        return forward_block::<true>(&plan, lines, 1, 0);
    }
    forward_top(&plan, lines);
    let half = lines.len() / 2;
    if half == 4 {
        return forward_area(&plan, lines, half, 2, 1);
    }
    for (t, block) in lines.chunks_exact_mut(half).enumerate() {
        forward_block::<false>(&plan, block, 2 + t, 1);
    }
}

/// in [0, q), out [0, q): values in bit-reversed order to coefficients.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernel) fn inverse(roots: &FloatRoots, a: &mut [u64]) {
    let plan = Plan::new(roots, inverse_layers(roots.q.ilog2() + 1));
    let lines = a.as_chunks_mut().0;
    let layers = lines.len().ilog2();
    if layers.is_multiple_of(PASS) {
        inverse_block::<true>(&plan, lines, 1);
        return;
    }
    let half = lines.len() / 2;
    let since = if half == 4 {
        inverse_area(&plan, lines, half, 3)
    } else {
        let blocks = lines.chunks_exact_mut(half).enumerate();
        blocks.fold(0, |_, (t, block)| inverse_block::<false>(&plan, block, 3 - t))
    };
    match plan.next(since, 1).0 {
        false => inverse_top::<false>(&plan, lines),
        true => inverse_top::<true>(&plan, lines),
    }
}
