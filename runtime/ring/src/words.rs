//! Buffers of words that start on a cache line and are used again after they are dropped.
//!
//! A polynomial has megabytes; fresh pages for each one would cost more than the arithmetic on it. Dropped buffers
//! wait in one list of the process, bounded in size, for the next buffer of about their length. Safe code: a buffer is a `Vec` with a
//! few spare words in front. What [`Words::unspecified`] holds is unspecified, so whoever takes it writes before
//! reading; debug builds fill it with words that no prime allows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use crate::kernel::prefer_large;

const LINE_BYTES: usize = 64;
const SPARE_WORDS: usize = LINE_BYTES / size_of::<u64>() - 1;

/// Shorter buffers are left to the allocator: it recycles them as well.
const RECYCLED_WORDS_MIN: usize = 1 << 11;
/// Most words that wait together unless [`limit_idle_bytes`] says less: 1 GiB, what the sums of a large linear sweep take.
const IDLE_WORDS_MAX: usize = 1 << 27;

/// A heap buffer of 64-bit words aligned to 64 bytes. It dereferences to a slice.
pub struct Words {
    data: Vec<u64>,
    start: usize,
    len: usize,
}

/// Dropped buffers.
struct Idle {
    /// By length, each with the time when it was dropped: the longest ago first.
    buffers: BTreeMap<usize, VecDeque<(u64, Vec<u64>)>>,
    /// Counts what was dropped.
    time: u64,
    words: usize,
    words_max: usize,
}

static IDLE: Mutex<Idle> =
    Mutex::new(Idle { buffers: BTreeMap::new(), time: 0, words: 0, words_max: IDLE_WORDS_MAX });

/// Lowers the memory of dropped buffers that wait to be used again, for the whole process: where memory is short, buffers of
/// lengths that are not asked for any more must not keep it.
pub fn limit_idle_bytes(bytes: usize) {
    // A poisoned list is a whole list: nothing panics between its changes.
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    idle.words_max = idle.words_max.min(bytes / size_of::<u64>());
    idle.shrink();
}

impl Idle {
    /// A buffer of `len` words or up to a quarter more.
    fn take(&mut self, len: usize) -> Option<Vec<u64>> {
        let (&found, same) = self.buffers.range_mut(len..=len + len / 4).next()?;
        let data = same.pop_back().map(|(_, data)| data);
        if same.is_empty() {
            self.buffers.remove(&found);
        }
        self.words -= data.as_ref().map_or(0, Vec::len);
        data
    }

    /// Keeps a buffer, where there is room for it at all.
    fn give(&mut self, data: Vec<u64>) {
        if data.len() > self.words_max {
            return;
        }
        self.time += 1;
        self.words += data.len();
        self.buffers.entry(data.len()).or_default().push_back((self.time, data));
        self.shrink();
    }

    /// Lets the buffers go that waited longest, until there is room: they may be of lengths no longer used.
    fn shrink(&mut self) {
        while self.words > self.words_max {
            let waiting = self.buffers.iter().filter_map(|(len, same)| Some((same.front()?.0, *len)));
            let Some((_, len)) = waiting.min() else { return };
            let oldest = self.buffers.get_mut(&len).and_then(VecDeque::pop_front);
            self.words -= oldest.map_or(0, |(_, data)| data.len());
            if self.buffers.get(&len).is_some_and(VecDeque::is_empty) {
                self.buffers.remove(&len);
            }
        }
    }
}

impl Words {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Words {
        match Words::recycled(len) {
            Some(mut words) => {
                words.fill(0);
                words
            }
            None => Words::fresh(len),
        }
    }

    /// `len` words of unspecified content.
    pub fn unspecified(len: usize) -> Words {
        let mut words = Words::recycled(len).unwrap_or_else(|| Words::fresh(len));
        if cfg!(debug_assertions) {
            words.fill(u64::MAX);
        }
        words
    }

    /// Keeps the first `len` words; does nothing where there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn fresh(len: usize) -> Words {
        let mut data = vec![0; len + SPARE_WORDS];
        prefer_large(&mut data);
        Words::placed(data, len)
    }

    fn recycled(len: usize) -> Option<Words> {
        if len < RECYCLED_WORDS_MIN {
            return None;
        }
        // A poisoned list is a whole list: nothing panics between its changes.
        let data = IDLE.lock().unwrap_or_else(PoisonError::into_inner).take(len + SPARE_WORDS)?;
        Some(Words::placed(data, len))
    }

    fn placed(data: Vec<u64>, len: usize) -> Words {
        let past_line = data.as_ptr().addr() % LINE_BYTES;
        let start = if past_line == 0 { 0 } else { (LINE_BYTES - past_line) / size_of::<u64>() };
        Words { data, start, len }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.data.len() >= RECYCLED_WORDS_MIN + SPARE_WORDS {
            let data = std::mem::take(&mut self.data);
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).give(data);
        }
    }
}

impl From<&[u64]> for Words {
    fn from(source: &[u64]) -> Words {
        let mut words = Words::unspecified(source.len());
        words.copy_from_slice(source);
        words
    }
}

impl Clone for Words {
    fn clone(&self) -> Words {
        Words::from(&**self)
    }
}

impl Deref for Words {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.data[self.start..self.start + self.len]
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.data[self.start..self.start + self.len]
    }
}

impl PartialEq for Words {
    fn eq(&self, other: &Words) -> bool {
        **self == **other
    }
}

impl Eq for Words {}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zeroed_when_asked() {
        for len in [0, 1, RECYCLED_WORDS_MIN, RECYCLED_WORDS_MIN + 1, 5000, 5001] {
            for _ in 0..3 {
                let mut words = Words::unspecified(len);
                assert_eq!(words.len(), len);
                words.fill(7);
                drop(words);
                let words = Words::zeroed(len);
                assert_eq!((words.len(), words.as_ptr().addr() % LINE_BYTES), (len, 0));
                assert!(words.iter().all(|&word| word == 0));
            }
        }
    }

    #[test]
    fn what_waits_longest_makes_room() {
        let mut idle = Idle { buffers: BTreeMap::new(), time: 0, words: 0, words_max: 10 };
        for len in [4, 3, 3] {
            idle.give(vec![0; len]);
        }
        assert_eq!(idle.take(3).map(|data| data.len()), Some(3));
        // The four of the beginning go, the three stay.
        idle.give(vec![0; 6]);
        assert_eq!((idle.words, idle.take(4)), (9, None));
        idle.words_max = 6;
        idle.shrink();
        assert_eq!((idle.words, idle.buffers.len()), (6, 1));
        idle.give(vec![0; 7]);
        assert_eq!((idle.words, idle.buffers.len()), (6, 1));
    }

    #[test]
    fn a_shortened_buffer_is_used_again_at_its_whole_length() {
        let mut words = Words::zeroed(3 * RECYCLED_WORDS_MIN);
        words.truncate(10);
        assert_eq!((words.len(), words.clone().len()), (10, 10));
        drop(words);
        assert_eq!(Words::unspecified(3 * RECYCLED_WORDS_MIN).len(), 3 * RECYCLED_WORDS_MIN);
    }
}
