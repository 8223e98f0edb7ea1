//! What is in memory of keys that are read when they are used: how many bytes, and which of them make room.
//!
//! Makes room by the next use where the order of uses is known: what is needed last goes first (L. Belady, *A study of
//! replacement algorithms for a virtual-storage computer*, 1966). Uses repeat with every evaluation, so the order is a circle.
//! Among keys that it does not name the least recently used goes first. Promises: what is kept and what is being read stays
//! within the limit as long as no more than one key is in use; a key in use is never taken away, so each further one in use at
//! the same moment may add its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Values by number, within a limit of bytes.
pub(crate) struct Cache<T> {
    limit: u64,
    /// Bytes of the entries, and of what is being read.
    bytes: u64,
    entries: BTreeMap<usize, Entry<T>>,
    order: Order,
    clock: u64,
    counts: Counts,
}

struct Entry<T> {
    value: Arc<T>,
    bytes: u64,
    used: u64,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    /// Reads of what had been read before.
    pub(crate) again: u64,
    /// Uses that were not the next of the known order.
    pub(crate) unforeseen: u64,
    seen: BTreeSet<usize>,
}

impl<T> Cache<T> {
    /// An empty cache; `order` names the uses that are expected, one after the other, again and again.
    pub(crate) fn new(limit_bytes: u64, order: &[usize]) -> Cache<T> {
        Cache {
            limit: limit_bytes,
            bytes: 0,
            entries: BTreeMap::new(),
            order: Order::new(order),
            clock: 0,
            counts: Counts::default(),
        }
    }

    /// The value of this number, if it is here; either way this is a use of it.
    pub(crate) fn take(&mut self, index: usize) -> Option<Arc<T>> {
        self.clock += 1;
        self.counts.unforeseen += u64::from(!self.order.advance(index));
        let entry = self.entries.get_mut(&index)?;
        entry.used = self.clock;
        let value = entry.value.clone();
        // What was in use when room was made, and is not any more, goes now.
        self.reserve(0);
        Some(value)
    }

    /// Makes room for so many bytes, which are counted from now on; [`Cache::insert`] or [`Cache::release`] follows.
    pub(crate) fn reserve(&mut self, bytes: u64) {
        while self.bytes.saturating_add(bytes) > self.limit {
            let idle = self.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.value) == 1);
            let last = idle
                .max_by_key(|(index, entry)| (self.order.distance(**index), std::cmp::Reverse(entry.used)));
            let Some(entry) = last.map(|(index, _)| *index).and_then(|index| self.entries.remove(&index))
            else {
                break;
            };
            self.bytes -= entry.bytes;
        }
        self.bytes += bytes;
    }

    /// Keeps what the reserved bytes were for.
    pub(crate) fn insert(&mut self, index: usize, value: Arc<T>, bytes: u64) {
        self.counts.reads += 1;
        self.counts.again += u64::from(!self.counts.seen.insert(index));
        let entry = Entry { value, bytes, used: self.clock };
        if let Some(other) = self.entries.insert(index, entry) {
            // Two threads read it at once.
            self.bytes -= other.bytes;
        }
    }

    /// Gives reserved bytes back.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// A circle of uses, and the place of the next one.
struct Order {
    places: BTreeMap<usize, Vec<usize>>,
    len: usize,
    next: usize,
}

impl Order {
    fn new(uses: &[usize]) -> Order {
        let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        uses.iter().enumerate().for_each(|(place, index)| places.entry(*index).or_default().push(place));
        Order { places, len: uses.len(), next: 0 }
    }

    /// Uses between now and the next one of this number.
    fn distance(&self, index: usize) -> usize {
        let Some(places) = self.places.get(&index) else { return usize::MAX };
        match places.get(places.partition_point(|place| *place < self.next)) {
            Some(place) => place - self.next,
            None => self.len - self.next + places[0],
        }
    }

    /// Goes behind the next use of this number; tells whether it was the very next.
    fn advance(&mut self, index: usize) -> bool {
        let distance = self.distance(index);
        if distance != usize::MAX {
            self.next = (self.next + distance + 1) % self.len;
        }
        distance == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A use: from the cache, else read, whatever it takes.
    fn use_of(cache: &mut Cache<usize>, index: usize, bytes: u64) -> Arc<usize> {
        cache.take(index).unwrap_or_else(|| {
            cache.reserve(bytes);
            let value = Arc::new(index);
            cache.insert(index, value.clone(), bytes);
            value
        })
    }

    fn kept(cache: &Cache<usize>) -> Vec<usize> {
        cache.entries.keys().copied().collect()
    }

    #[test]
    fn what_is_needed_last_makes_room() {
        let order = [0, 1, 2, 0, 1, 3, 2];
        let mut cache = Cache::new(2, &order);
        for (index, after) in [(0, vec![0]), (1, vec![0, 1]), (2, vec![0, 2]), (0, vec![0, 2])] {
            assert_eq!(*use_of(&mut cache, index, 1), index);
            assert_eq!(kept(&cache), after, "after {index}");
        }
        assert_eq!((cache.counts.reads, cache.counts.again, cache.counts.unforeseen), (3, 0, 0));
        // The circle goes on with 1, 3, 2, 0: 0 is last, then 1, which was just used.
        use_of(&mut cache, 1, 1);
        assert_eq!(kept(&cache), [1, 2]);
        use_of(&mut cache, 3, 1);
        assert_eq!(kept(&cache), [2, 3]);
        assert_eq!((cache.counts.reads, cache.counts.again, cache.counts.unforeseen), (5, 1, 0));
    }

    #[test]
    fn a_circle_that_does_not_fit_keeps_a_part_of_itself() {
        // Least recently used would read every time.
        let order: Vec<usize> = (0..10).collect();
        let mut cache = Cache::new(5, &order);
        for _ in 0..20 {
            order.iter().for_each(|index| drop(use_of(&mut cache, *index, 1)));
        }
        // Four of ten stay each time: one place goes from key to key.
        assert!(cache.counts.reads <= 10 + 19 * 6, "{} reads", cache.counts.reads);
    }

    #[test]
    fn without_an_order_the_least_recently_used_makes_room() {
        let mut cache = Cache::new(3, &[]);
        [0, 1, 2, 0].iter().for_each(|index| drop(use_of(&mut cache, *index, 1)));
        use_of(&mut cache, 3, 1);
        assert_eq!(kept(&cache), [0, 2, 3]);
        assert_eq!(cache.counts.unforeseen, 5);
    }

    #[test]
    fn uses_out_of_order_are_counted_and_harmless() {
        let mut cache = Cache::new(2, &[0, 1, 2]);
        [2, 2, 0, 7, 1].iter().for_each(|index| drop(use_of(&mut cache, *index, 1)));
        assert_eq!(cache.counts.unforeseen, 3);
        assert!(cache.bytes <= 2);
    }

    #[test]
    fn what_is_in_use_stays() {
        let mut cache = Cache::new(2, &[]);
        let held = use_of(&mut cache, 0, 1);
        [1, 2, 3].iter().for_each(|index| drop(use_of(&mut cache, *index, 1)));
        assert_eq!(kept(&cache), [0, 3]);
        drop(held);
        cache.reserve(2);
        assert_eq!((kept(&cache), cache.bytes), (vec![], 2));
        cache.release(2);
        assert_eq!(cache.bytes, 0);
    }

    /// Whatever sizes, orders and uses: the limit holds with one value in use, and with more by their bytes at most.
    #[test]
    fn the_limit_holds() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let count = 1 + random(12) as usize;
            let sizes: Vec<u64> = (0..count).map(|_| 1 + random(50)).collect();
            let largest = *sizes.iter().max().unwrap();
            let limit = largest + random(200);
            let order: Vec<usize> = (0..random(30)).map(|_| random(count as u64) as usize).collect();
            let mut cache = Cache::new(limit, &order);
            let in_use = random(3) as usize;
            let mut held = std::collections::VecDeque::new();
            for step in 0..200 {
                let index = match random(4) {
                    0 => random(count as u64) as usize,
                    _ => order.get(step % order.len().max(1)).copied().unwrap_or(0),
                };
                held.push_back((use_of(&mut cache, index, sizes[index]), sizes[index]));
                let more: u64 = held.iter().rev().skip(1).map(|(_, bytes)| bytes).sum();
                assert!(cache.bytes <= limit + more, "{} of {limit}, {more} in use", cache.bytes);
                assert_eq!(cache.bytes, cache.entries.values().map(|entry| entry.bytes).sum::<u64>());
                held.drain(..held.len().saturating_sub(in_use));
            }
        }
    }
}
