//! Sums of products of rotated inputs with diagonals, one per output and giant step.
//!
//! Prime by prime and tile by tile: a tile of every rotated input is made and stays in the second-level cache while the
//! sums of all giant steps and outputs pass over it; keys and diagonals pass once. A diagonal that repeats waits as its
//! different values, and its tile is written just before its products.

use cipherloom_ring::{Evaluation, Limb, Poly, repeat_each};

use super::SweepPlaintext;
use super::babies::{Babies, BabiesAt};

/// Words of the tiles of all rotated inputs together: half of a second-level cache of 1 MiB.
const TILES_WORDS: usize = 1 << 16;
/// Shortest and longest tile. Below a page, streams are too short for the memory.
const TILE_WORDS: [usize; 2] = [1 << 9, 1 << 12];
/// Parts that a limb is cut into at most, for threads to share few limbs evenly.
const CUTS_MAX: usize = 8;

/// The products of one output and giant step.
pub(super) struct Group {
    pub(super) output: usize,
    pub(super) giant: usize,
    /// The rotated input of each product.
    pub(super) babies: Vec<usize>,
    /// The plaintext of each product.
    pub(super) plaintexts: Vec<SweepPlaintext>,
}

/// The sums of each group over the babies' basis, part 0 and part 1.
pub(super) type Sums = [Vec<Poly<Evaluation>>; 2];

/// The sums of a batch.
pub(super) fn sums(babies: &Babies<'_>, groups: &[Group]) -> Sums {
    let (context, checked) = (babies.context, babies.checked);
    let (n, basis_limbs) = (context.n(), checked.limbs + checked.baby_special);
    let poly = || Poly::unspecified(context.degree(), basis_limbs);
    let mut sums: Sums = [groups.iter().map(|_| poly()).collect(), groups.iter().map(|_| poly()).collect()];
    let (value_words, repeating) = (value_words(groups, n), most_repeating(groups, n));
    let tile = tile_words(n, babies.len());
    let cuts = if value_words > 0 || basis_limbs >= CUTS_MAX * rayon::current_num_threads() {
        1
    } else {
        CUTS_MAX.min(n / tile)
    };
    let run = n / cuts;
    let items = runs(&mut sums, run).enumerate();
    let scratch_words = value_words + (repeating + 2 * babies.len() + 2) * tile;
    context.for_each(items, scratch_words.div_ceil(n), |(item, mut outs), scratch| {
        let (target, offset) = (item / cuts, item % cuts * run);
        let limb = context.basis_limb(checked.limbs, target);
        let (values, scratch) = scratch.split_at_mut(value_words);
        let (repeated, buffer) = scratch.split_at_mut(repeating * tile);
        let diagonals = diagonals(babies, groups, target, values);
        let at = babies.at(target);
        for inside in (0..run).step_by(tile) {
            let mut outs: Vec<_> = outs.iter_mut().map(|out| &mut out[inside..][..tile]).collect();
            tile_sums(
                &Tile { limb, at: &at, start: offset + inside, diagonals: &diagonals },
                groups,
                &mut outs,
                [&mut *repeated, &mut *buffer],
            );
        }
    });
    sums
}

/// What the sums of a tile read.
struct Tile<'b> {
    limb: &'b Limb,
    at: &'b BabiesAt<'b>,
    start: usize,
    /// The diagonals of each group at this prime: the limb, or as many values as divide it, each repeated side by side.
    diagonals: &'b [Vec<&'b [u64]>],
}

/// All sums of one tile; `outs` are part 0 and 1 of each group in turn. There is room for the diagonals of a group that repeat,
/// and for the babies.
fn tile_sums(
    tile: &Tile<'_>,
    groups: &[Group],
    outs: &mut [&mut [u64]],
    [repeated, buffer]: [&mut [u64]; 2],
) {
    let (len, n) = (outs[0].len(), tile.limb.degree().n());
    let [firsts, seconds] = tile.at.tile(tile.start, len, buffer);
    for ((group, diagonals), outs) in groups.iter().zip(tile.diagonals).zip(outs.chunks_exact_mut(2)) {
        let mut room = repeated.chunks_exact_mut(len);
        let mut terms: [Vec<&[u64]>; 3] = Default::default();
        for (&baby, diagonal) in group.babies.iter().zip(diagonals) {
            // Special limbs of a baby that is not rotated are absent: they are zero.
            if firsts[baby].is_empty() {
                continue;
            }
            let times = n / diagonal.len();
            terms[0].push(if times == 1 {
                &diagonal[tile.start..][..len]
            } else {
                let words = room.next().expect("room for every diagonal that repeats");
                repeat_each(&diagonal[tile.start / times..][..(len / times).max(1)], words);
                words
            });
            terms[1].push(firsts[baby]);
            terms[2].push(seconds[baby]);
        }
        if let [first, second] = outs {
            tile.limb.pair_of_sums_tile([first, second], [&[], &[]], &terms[0], [&terms[1], &terms[2]]);
        }
    }
}

/// The diagonals of each group at one prime; those of compact plaintexts are made in `values`.
fn diagonals<'b>(
    babies: &Babies<'_>,
    groups: &'b [Group],
    target: usize,
    mut values: &'b mut [u64],
) -> Vec<Vec<&'b [u64]>> {
    let (limbs, n) = (babies.checked.limbs, babies.context.n());
    let limb = babies.context.basis_limb(limbs, target);
    let mut diagonal = |plaintext: &'b SweepPlaintext| match plaintext {
        SweepPlaintext::Encoded(plaintext) => plaintext.limb(target, limbs),
        SweepPlaintext::Compact(plaintext) => {
            let (words, rest) = std::mem::take(&mut values).split_at_mut(plaintext.value_count(n));
            values = rest;
            plaintext.values(limb, words);
            words
        }
    };
    groups.iter().map(|group| group.plaintexts.iter().map(&mut diagonal).collect()).collect()
}

/// How many values the compact plaintexts have at one prime.
fn value_words(groups: &[Group], n: usize) -> usize {
    groups.iter().flat_map(|group| compact_counts(group, n)).sum()
}

/// Diagonals of a group that repeat, the most of any group.
fn most_repeating(groups: &[Group], n: usize) -> usize {
    groups.iter().map(|group| compact_counts(group, n).filter(|&count| count < n).count()).max().unwrap_or(0)
}

/// How many values each compact plaintext of a group has.
fn compact_counts(group: &Group, n: usize) -> impl Iterator<Item = usize> {
    group.plaintexts.iter().filter_map(move |plaintext| match plaintext {
        SweepPlaintext::Compact(plaintext) => Some(plaintext.value_count(n)),
        SweepPlaintext::Encoded(_) => None,
    })
}

/// A power of two at which the tiles of so many babies stay in the second-level cache.
fn tile_words(n: usize, babies: usize) -> usize {
    let fit = TILES_WORDS / (2 * babies).next_power_of_two();
    fit.clamp(TILE_WORDS[0], TILE_WORDS[1]).min(n)
}

/// Runs of `run` words of every sum, part 0 and part 1 of each group in turn.
fn runs(sums: &mut Sums, run: usize) -> impl Iterator<Item = Vec<&mut [u64]>> {
    let [firsts, seconds] = sums;
    let mut all: Vec<_> = firsts
        .iter_mut()
        .zip(seconds)
        .flat_map(|(first, second)| [first, second])
        .map(|poly| poly.as_mut_slice().chunks_exact_mut(run))
        .collect();
    std::iter::from_fn(move || all.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>())
}
