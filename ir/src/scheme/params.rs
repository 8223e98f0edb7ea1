//! Encryption parameters of a circuit, as plain data.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Smallest and largest log2 of a canonical scale: below, encoding loses everything; above, no prime fits.
pub const SCALE_BITS: (u32, u32) = (20, 49);

/// Rescales left before a value stands at the base prime alone: limbs = level + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Level(pub u32);

impl Level {
    /// Ciphertext primes at this level.
    pub fn limbs(self) -> usize {
        self.0 as usize + 1
    }
}

/// Ring, modulus chain and top scale. All primes are 1 modulo 2N and distinct. A circuit sees the levels of the chain alone;
/// bootstrapping raises values to the primes above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// log2 of the ring degree N.
    pub log_n: u32,
    /// Ciphertext primes `q_0 … q_L`; a value at level l uses the first l + 1.
    pub chain: Vec<u64>,
    /// Ciphertext primes above the chain, the zone of bootstrapping's mod-raise; empty without bootstrapping. File forms keep
    /// them in a section of their own.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub raised: Vec<u64>,
    /// Special primes; a gadget uses a prefix.
    pub special: Vec<u64>,
    /// Canonical scale of the top level is `2^log_scale`.
    pub log_scale: u32,
}

impl Parameters {
    /// Ring degree N.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }
    /// Slots of a ciphertext, N / 2.
    pub fn slots(&self) -> usize {
        1 << (self.log_n - 1)
    }
    /// Level of a fresh ciphertext.
    pub fn top(&self) -> Level {
        Level(self.chain.len() as u32 - 1)
    }
    /// Level of a value over all ciphertext primes, the highest that a key can have.
    pub fn raised_top(&self) -> Level {
        Level(self.top().0 + self.raised.len() as u32)
    }
    /// All ciphertext primes: those of the chain, and above them those of mod-raise.
    pub fn ciphertext_primes(&self) -> Vec<u64> {
        [&self.chain[..], &self.raised].concat()
    }
    /// The same without the primes of mod-raise, as the main section of a file holds it.
    pub(crate) fn without_raised(&self) -> Parameters {
        Parameters { raised: vec![], ..self.clone() }
    }
}

/// How a key decomposes: `digit_limbs` primes per digit, the first `special_limbs` special primes as P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gadget {
    /// Ciphertext primes per digit.
    pub digit_limbs: u32,
    /// Special primes.
    pub special_limbs: u32,
}

/// What a key switches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// From s² to s.
    Relinearization,
    /// From the secret rotated by a step (Galois element 5^step) to s.
    Rotation(u32),
    /// From the conjugated secret to s.
    Conjugation,
    /// From s to the ephemeral sparse secret of bootstrapping.
    Encapsulation,
    /// From the ephemeral sparse secret to s.
    Decapsulation,
}

impl fmt::Display for KeyKind {
    /// For people; the text form of circuits has its own words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Relinearization => f.write_str("relinearization"),
            KeyKind::Rotation(step) => write!(f, "rotation by {step}"),
            KeyKind::Conjugation => f.write_str("conjugation"),
            KeyKind::Encapsulation => f.write_str("encapsulation"),
            KeyKind::Decapsulation => f.write_str("decapsulation"),
        }
    }
}

impl KeyKind {
    /// The exponent g of the automorphism `X -> X^g` of a ring of degree `n` that the key undoes, where it undoes one:
    /// 5^step modulo 2N for a rotation, 2N − 1 for the conjugation.
    pub fn galois_element(self, n: usize) -> Option<u64> {
        let mask = 2 * n as u64 - 1;
        match self {
            KeyKind::Relinearization | KeyKind::Encapsulation | KeyKind::Decapsulation => None,
            KeyKind::Conjugation => Some(mask),
            KeyKind::Rotation(step) => {
                let bits = (0..u32::BITS).rev().map(|k| step >> k & 1);
                let times =
                    |power: u64, bit| power.wrapping_mul(power).wrapping_mul(1 + 4 * u64::from(bit)) & mask;
                Some(bits.fold(1, times))
            }
        }
    }

    /// The number that stands for the kind in keys: the Galois element, which is odd, or 0, 2, 4 for relinearization,
    /// encapsulation, decapsulation.
    pub fn code(self, n: usize) -> u64 {
        match self {
            KeyKind::Encapsulation => 2,
            KeyKind::Decapsulation => 4,
            _ => self.galois_element(n).unwrap_or(0),
        }
    }
}

/// One evaluation key: a key is used at its level or below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeySpec {
    /// What it switches.
    pub kind: KeyKind,
    /// Highest level at which it is used.
    pub level: Level,
    /// Its decomposition.
    pub gadget: Gadget,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galois_elements_are_powers_of_five() {
        let (n, mut power) = (64, 1u64);
        for step in 0..32 {
            assert_eq!(KeyKind::Rotation(step).galois_element(n), Some(power), "step {step}");
            power = 5 * power % 128;
        }
        assert_eq!(KeyKind::Conjugation.galois_element(n), Some(127));
        assert_eq!(KeyKind::Relinearization.galois_element(n), None);
    }
}
