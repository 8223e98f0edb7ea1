//! Loops over limbs, on as many threads as are worth it.
//!
//! Limbs are independent and arithmetic is exact, so results do not depend on the number of threads.

use cipherloom_ring::Words;
use rayon::prelude::*;

/// Below this many words a loop stays on its thread: starting a task costs about as much as 2^13 words.
const PARALLEL_WORDS_MIN: usize = 1 << 14;

/// Does `work` for each item, a limb of `n` words or a few. Each thread has a buffer of `scratch_limbs` limbs of
/// unspecified content.
pub(crate) fn for_each<T: Send>(
    n: usize,
    items: impl Iterator<Item = T>,
    scratch_limbs: usize,
    work: impl Fn(T, &mut [u64]) + Sync,
) {
    let items: Vec<T> = items.collect();
    if items.len() < 2 || n * items.len() < PARALLEL_WORDS_MIN || rayon::current_num_threads() == 1 {
        let mut scratch = Words::unspecified(scratch_limbs * n);
        items.into_iter().for_each(|item| work(item, &mut scratch));
    } else {
        let init = || Words::unspecified(scratch_limbs * n);
        items.into_par_iter().for_each_init(init, |scratch, item| work(item, scratch));
    }
}

/// Items that go through a conversion together: its sources are read from memory once for all of them.
pub(crate) const GROUP_ITEMS_MAX: usize = 2;

/// As [`for_each`], with the items in groups of at most [`GROUP_ITEMS_MAX`] neighbours, fewer where every thread would not get
/// one. There are `scratch_limbs` limbs for each item of a group.
pub(crate) fn for_each_group<T: Send>(
    n: usize,
    items: impl Iterator<Item = T>,
    scratch_limbs: usize,
    work: impl Fn(Vec<T>, &mut [u64]) + Sync,
) {
    let items: Vec<T> = items.collect();
    let size = items.len().div_ceil(rayon::current_num_threads()).clamp(1, GROUP_ITEMS_MAX);
    let mut items = items.into_iter();
    let groups = std::iter::from_fn(|| Some(items.by_ref().take(size).collect::<Vec<T>>()));
    for_each(n, groups.take_while(|group| !group.is_empty()), size * scratch_limbs, work);
}
