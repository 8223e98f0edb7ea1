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
