//! A buffer of words that starts on a cache line, so that no vector load crosses one.
//!
//! It is a `Vec` with a few spare words in front: safe code, and zeroed memory comes from the allocator untouched.

use std::ops::{Deref, DerefMut};

const LINE_BYTES: usize = 64;
const SPARE_WORDS: usize = LINE_BYTES / size_of::<u64>() - 1;

/// A heap buffer of 64-bit words aligned to 64 bytes. It dereferences to a slice.
pub struct Words {
    data: Vec<u64>,
    start: usize,
}

impl Words {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Words {
        let mut data = vec![0; len + SPARE_WORDS];
        let past_line = data.as_ptr().addr() % LINE_BYTES;
        let start = if past_line == 0 { 0 } else { (LINE_BYTES - past_line) / size_of::<u64>() };
        data.truncate(start + len);
        Words { data, start }
    }

    /// Keeps the first `len` words; does nothing where there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.data.truncate(self.start + len);
    }
}

impl From<&[u64]> for Words {
    fn from(source: &[u64]) -> Words {
        let mut words = Words::zeroed(source.len());
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
        &self.data[self.start..]
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.data[self.start..]
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
