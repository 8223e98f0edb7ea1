//! How a key switch decomposes: chain primes per digit, and how many special primes raise the modulus.
//!
//! Hybrid key switching: K. Han and D. Ki, *Better bootstrapping for approximate homomorphic encryption*
//! (ePrint 2019/688), section 3. Digit `j` of a value is its residues modulo the chain primes `j digit_limbs` and
//! following; a value with fewer limbs has fewer digits, the last of which may be short.

use std::ops::Range;

use crate::Limbs;

/// The decomposition that a key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gadget {
    /// Chain primes per digit, at least 1.
    pub digit_limbs: usize,
    /// Special primes whose product is `P`, at least 1: the first of the context.
    pub special_limbs: usize,
}

impl Gadget {
    /// Number of digits of a value with `limbs` limbs.
    pub fn digits(&self, limbs: Limbs) -> usize {
        limbs.0.div_ceil(self.digit_limbs)
    }

    /// The chain primes of digit `digit` of a value with `limbs` limbs.
    pub fn digit_range(&self, digit: usize, limbs: Limbs) -> Range<usize> {
        let start = digit * self.digit_limbs;
        start..limbs.0.min(start + self.digit_limbs)
    }
}
