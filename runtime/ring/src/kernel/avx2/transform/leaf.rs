//! The last four layers of the transform, on leaves of four lines: a pass over the lines, and one within them.

use std::arch::x86_64::*;

use super::{COLUMNS, PassRoots, Plan, Rows, forward_rows, inverse_rows, pass_roots, read, root, write};
use crate::kernel::avx2::{LANES, Lanes, Line, Prime, product, splat};

/// Four lines: the rows of a pass with one column, or groups of four words.
pub(super) type Leaf = [Line; 4];

#[target_feature(enable = "avx2,fma")]
#[inline]
fn read_leaves<const FIRST: bool, const REDUCE: bool>(p: &Prime, leaves: &[Leaf; COLUMNS]) -> Rows<COLUMNS> {
    let mut rows = [[splat(0.0); COLUMNS]; 4];
    for (c, leaf) in leaves.iter().enumerate() {
        for (row, line) in rows.iter_mut().zip(leaf) {
            row[c] = read::<FIRST, REDUCE>(p, line);
        }
    }
    rows
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn write_leaves<const LAST: bool>(p: &Prime, rows: &Rows<COLUMNS>, leaves: &mut [Leaf; COLUMNS]) {
    for (c, leaf) in leaves.iter_mut().enumerate() {
        for (line, row) in leaf.iter_mut().zip(rows) {
            write::<LAST>(p, line, row[c]);
        }
    }
}

/// A pass over neighbouring leaves, line by line, the first of them with root `k`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn forward_lines<const REDUCE: bool>(plan: &Plan<'_>, leaves: &mut [Leaf], k: usize) {
    let p = &plan.p;
    for (t, leaves) in leaves.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        let mut rows = read_leaves::<false, REDUCE>(p, leaves);
        let k = k + COLUMNS * t;
        forward_rows(p, &mut rows, &[pass_roots(plan, k), pass_roots(plan, k + 1)]);
        write_leaves::<false>(p, &rows, leaves);
    }
}

/// The same backwards; the first leaf has mirror `k`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn inverse_lines<const REDUCE: bool>(plan: &Plan<'_>, leaves: &mut [Leaf], k: usize) {
    let p = &plan.p;
    for (t, leaves) in leaves.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        let mut rows = read_leaves::<false, REDUCE>(p, leaves);
        let k = k - COLUMNS * t;
        inverse_rows(p, &mut rows, &[pass_roots(plan, k), pass_roots(plan, k - 1)]);
        write_leaves::<false>(p, &rows, leaves);
    }
}

/// The roots of the last two layers of four groups.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn group_roots(plan: &Plan<'_>, u: Lanes) -> PassRoots {
    let p = &plan.p;
    [root(p, product(p, u, u)), root(p, u), root(p, product(p, u, plan.i))]
}

/// The roots of the last two layers of four groups backwards, from place `last` of the table.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn mirrored_roots(plan: &Plan<'_>, last: usize) -> PassRoots {
    group_roots(plan, _mm256_permute4x64_pd::<0x1b>(load_roots(&plan.roots.groups[last])))
}

/// Rows to columns of each leaf.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn transpose(rows: &Rows<COLUMNS>) -> Rows<COLUMNS> {
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    let mut columns = [[splat(0.0); COLUMNS]; 4];
    for i in 0..COLUMNS {
        let (a, b) = (_mm256_unpacklo_pd(rows[0][i], rows[1][i]), _mm256_unpackhi_pd(rows[0][i], rows[1][i]));
        let (c, d) = (_mm256_unpacklo_pd(rows[2][i], rows[3][i]), _mm256_unpackhi_pd(rows[2][i], rows[3][i]));
        columns[0][i] = _mm256_permute2f128_pd::<LOW>(a, c);
        columns[1][i] = _mm256_permute2f128_pd::<LOW>(b, d);
        columns[2][i] = _mm256_permute2f128_pd::<HIGH>(a, c);
        columns[3][i] = _mm256_permute2f128_pd::<HIGH>(b, d);
    }
    columns
}

/// out [0, q): the last two layers of neighbouring leaves, the first of them with root `k`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn forward_groups<const REDUCE: bool>(plan: &Plan<'_>, leaves: &mut [Leaf], k: usize) {
    let p = &plan.p;
    let groups = plan.roots.groups[k - plan.roots.groups.len()..].as_chunks().0;
    for (leaves, groups) in leaves.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(groups) {
        let groups: &[_; COLUMNS] = groups;
        let roots = [group_roots(plan, load_roots(&groups[0])), group_roots(plan, load_roots(&groups[1]))];
        let mut columns = transpose(&read_leaves::<false, REDUCE>(p, leaves));
        forward_rows(p, &mut columns, &roots);
        write_leaves::<true>(p, &transpose(&columns), leaves);
    }
}

/// in [0, q): the first two layers of the inverse; the first leaf has mirror `k`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn inverse_groups(plan: &Plan<'_>, leaves: &mut [Leaf], k: usize) {
    let p = &plan.p;
    let last = k - plan.roots.groups.len();
    for (t, leaves) in leaves.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        let last = last - COLUMNS * t;
        let roots = [mirrored_roots(plan, last), mirrored_roots(plan, last - 1)];
        let mut columns = transpose(&read_leaves::<true, false>(p, leaves));
        inverse_rows(p, &mut columns, &roots);
        write_leaves::<false>(p, &transpose(&columns), leaves);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_roots(words: &[f64; LANES]) -> Lanes {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_pd(words.as_ptr()) }
}
