//! Buffers for intermediate limbs, kept by the context so that hot loops neither allocate nor clear memory.
//!
//! What a buffer holds when it is taken is unspecified: whoever takes one writes before reading.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use cipherloom_ring::Words;

/// Most words that idle buffers may hold together: 64 MiB.
const IDLE_WORDS_MAX: usize = 1 << 23;

/// Idle buffers, shortest first.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Words>>,
}

/// A buffer that goes back to its pool when dropped. Dereferences to exactly the words asked for.
pub(crate) struct Scratch<'a> {
    pool: &'a Pool,
    /// `None` where no words were asked for.
    words: Option<Words>,
    len: usize,
}

impl Pool {
    /// A buffer of `len` words with unspecified content.
    pub(crate) fn take(&self, len: usize) -> Scratch<'_> {
        if len == 0 {
            return Scratch { pool: self, words: None, len };
        }
        // A poisoned list is a whole list: nothing panics between its changes.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let first = idle.partition_point(|words| words.len() < len);
        let words = if first < idle.len() { Some(idle.remove(first)) } else { None };
        drop(idle);
        Scratch { pool: self, words: Some(words.unwrap_or_else(|| Words::zeroed(len))), len }
    }

    fn give(&self, words: Words) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.iter().map(|words| words.len()).sum::<usize>() + words.len() <= IDLE_WORDS_MAX {
            let place = idle.partition_point(|other| other.len() < words.len());
            idle.insert(place, words);
        }
    }
}

impl Deref for Scratch<'_> {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        self.words.as_ref().map_or(&[], |words| &words[..self.len])
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [u64] {
        let len = self.len;
        self.words.as_mut().map_or(&mut [], |words| &mut words[..len])
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Some(words) = self.words.take() {
            self.pool.give(words);
        }
    }
}
