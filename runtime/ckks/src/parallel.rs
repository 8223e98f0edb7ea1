//! Loops over limbs, on as many threads as are worth it.
//!
//! Limbs are independent and arithmetic is exact, so results do not depend on the number of threads. Threads take items
//! in their order, one after the other, so a later item may wait for earlier ones: see [`Handover`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cipherloom_ring::Words;

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
    let threads = rayon::current_num_threads().min(items.len());
    if threads < 2 || n * items.len() < PARALLEL_WORDS_MIN {
        let mut scratch = Words::unspecified(scratch_limbs * n);
        items.into_iter().for_each(|item| work(item, &mut scratch));
        return;
    }
    let queue = Mutex::new(items.into_iter());
    // A poisoned queue is a whole queue: nothing panics inside its lock.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let Some(first) = next() else { return };
        let mut scratch = Words::unspecified(scratch_limbs * n);
        std::iter::once(first).chain(std::iter::from_fn(next)).for_each(|item| work(item, &mut scratch));
    };
    rayon::scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| run()));
        run();
    });
}

/// Items that go through a conversion together: its sources are read from memory once for all of them.
pub(crate) const GROUP_ITEMS_MAX: usize = 2;

/// Items in groups of at most [`GROUP_ITEMS_MAX`] neighbours. The last items stand alone: as many as let the threads end
/// together.
pub(crate) fn groups<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    let items: Vec<T> = items.collect();
    let threads = rayon::current_num_threads();
    let rest = items.len() % (GROUP_ITEMS_MAX * threads);
    let alone = if rest < threads && threads > 1 { rest + GROUP_ITEMS_MAX * threads } else { rest };
    let mut grouped = items.len().saturating_sub(alone);
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let size = if grouped > 0 { GROUP_ITEMS_MAX } else { 1 };
        grouped = grouped.saturating_sub(size);
        Some(items.by_ref().take(size).collect::<Vec<T>>()).filter(|group| !group.is_empty())
    })
}

/// As [`for_each`], with the items in [`groups`]. There are `scratch_limbs` limbs for each item of a group.
pub(crate) fn for_each_group<T: Send>(
    n: usize,
    items: impl Iterator<Item = T>,
    scratch_limbs: usize,
    work: impl Fn(Vec<T>, &mut [u64]) + Sync,
) {
    for_each(n, groups(items), GROUP_ITEMS_MAX * scratch_limbs, work);
}

/// Values that earlier items of a loop make and later ones wait for. No maker may wait itself.
pub(crate) struct Handover<T> {
    values: Vec<OnceLock<T>>,
    failed: AtomicBool,
}

impl<T> Handover<T> {
    /// Room for `count` values.
    pub(crate) fn new(count: usize) -> Handover<T> {
        Handover { values: (0..count).map(|_| OnceLock::new()).collect(), failed: AtomicBool::new(false) }
    }

    /// Hands over value `i`.
    pub(crate) fn make(&self, i: usize, make: impl FnOnce() -> T) {
        let watch = Watch(&self.failed);
        self.values[i].get_or_init(make);
        drop(watch);
    }

    /// All values, as soon as they are made.
    pub(crate) fn wait(&self) -> Vec<&T> {
        let value = |value: &'_ OnceLock<T>| {
            while value.get().is_none() {
                assert!(
                    !self.failed.load(Ordering::Acquire),
                    "what makes a value that others wait for panicked"
                );
                std::thread::yield_now();
            }
        };
        self.values.iter().for_each(value);
        self.values.iter().filter_map(OnceLock::get).collect()
    }
}

/// Tells those who wait that their value will not come.
struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}
