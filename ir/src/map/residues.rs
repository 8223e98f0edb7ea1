//! Sets of residues modulo a power of two, as words of bits: slot distances and steps, of which maps have thousands.
//!
//! Promises: operations on whole sets cost a few instructions for each 64 residues, whatever the sets hold.

/// Bits of a word.
const WORD: u32 = u64::BITS;

/// A set of residues modulo a power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residues {
    modulus: u32,
    /// Bit r mod 64 of word r / 64 stands for residue r; bits from the modulus on are clear.
    words: Vec<u64>,
}

impl Residues {
    /// The empty set modulo a power of two.
    pub fn new(modulus: u32) -> Residues {
        debug_assert!(modulus.is_power_of_two(), "{modulus}");
        Residues { modulus, words: vec![0; modulus.div_ceil(WORD) as usize] }
    }

    /// The set of these residues, each below the modulus.
    pub fn of(modulus: u32, residues: impl IntoIterator<Item = u32>) -> Residues {
        let mut set = Residues::new(modulus);
        residues.into_iter().for_each(|r| set.insert(r));
        set
    }

    /// The modulus.
    pub fn modulus(&self) -> u32 {
        self.modulus
    }

    /// Adds a residue below the modulus.
    pub fn insert(&mut self, residue: u32) {
        debug_assert!(residue < self.modulus, "{residue} modulo {}", self.modulus);
        self.words[(residue / WORD) as usize] |= 1 << (residue % WORD);
    }

    /// Adds all of another set of the same modulus.
    pub fn extend(&mut self, other: &Residues) {
        self.words.iter_mut().zip(&other.words).for_each(|(all, word)| *all |= word);
    }

    /// How many residues it holds.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many residues but 0 it holds.
    pub fn count_nonzero(&self) -> u64 {
        self.count() - (self.words[0] & 1)
    }

    /// The residues, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let filled = (0u32..).step_by(WORD as usize).zip(&self.words).filter(|(_, word)| **word != 0);
        filled.flat_map(|(base, word)| {
            let after = |left: &u64| Some(left & (left - 1)).filter(|rest| *rest != 0);
            std::iter::successors(Some(*word), after).map(move |left| base + left.trailing_zeros())
        })
    }

    /// Words of bits.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// Adds every `r + by` of a set of the same modulus.
    pub fn extend_rotated(&mut self, set: &Residues, by: u32) {
        let by = by & (self.modulus - 1);
        if self.modulus < WORD {
            let word = set.words[0] << by | set.words[0] >> ((self.modulus - by) % self.modulus);
            self.words[0] |= word & ((1 << self.modulus) - 1);
            return;
        }
        let (words, bits) = ((by / WORD) as usize, by % WORD);
        let n = self.words.len();
        let (moved, wrapped) = set.words.split_at(n - words);
        let from = || wrapped.iter().chain(moved);
        if bits == 0 {
            self.words.iter_mut().zip(from()).for_each(|(all, word)| *all |= word);
            return;
        }
        let before = set.words[(2 * n - words - 1) % n];
        let low = std::iter::once(&before).chain(from());
        let rotated = from().zip(low).map(|(word, below)| word << bits | below >> (WORD - bits));
        self.words.iter_mut().zip(rotated).for_each(|(all, word)| *all |= word);
    }

    /// The set of all `r + by`.
    pub fn rotated(&self, by: u32) -> Residues {
        let mut out = Residues::new(self.modulus);
        out.extend_rotated(self, by);
        out
    }

    /// The residues modulo half of the modulus, which is at least 2.
    pub fn halved(&self) -> Residues {
        let modulus = self.modulus / 2;
        if self.modulus <= WORD {
            let word = (self.words[0] | self.words[0] >> modulus) & ((1 << modulus) - 1);
            return Residues { modulus, words: vec![word] };
        }
        let (low, high) = self.words.split_at(self.words.len() / 2);
        Residues { modulus, words: low.iter().zip(high).map(|(a, b)| a | b).collect() }
    }

    /// The set of all `⌊r / 2⌋`, modulo half of the modulus, which is at least 2.
    pub fn coarser(&self) -> Residues {
        let merged = |word: u64| even_bits(word | word >> 1);
        let joined =
            |pair: &[u64]| merged(pair[0]) | pair.get(1).map_or(0, |high| merged(*high) << (WORD / 2));
        Residues { modulus: self.modulus / 2, words: self.words.chunks(2).map(joined).collect() }
    }

    /// The set with every residue's bit `half`, a power of two below the modulus, cleared.
    pub fn without_bit(&self, half: u32) -> Residues {
        let mut words = self.words.clone();
        if half < WORD {
            let kept = (0..WORD).filter(|bit| bit & half == 0).fold(0u64, |mask, bit| mask | 1 << bit);
            words.iter_mut().for_each(|word| *word = (*word | *word >> half) & kept);
        } else {
            let apart = (half / WORD) as usize;
            for pair in words.chunks_exact_mut(2 * apart) {
                let (low, high) = pair.split_at_mut(apart);
                low.iter_mut().zip(high).for_each(|(a, b)| *a |= std::mem::take(b));
            }
        }
        Residues { modulus: self.modulus, words }
    }
}

/// Bits 0, 2, 4, … of a word, side by side.
fn even_bits(word: u64) -> u64 {
    let mut x = word & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | x >> shift) & mask;
    }
    x
}
