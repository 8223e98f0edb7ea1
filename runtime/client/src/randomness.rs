//! The client's randomness: 32 bytes from the operating system, stretched by BLAKE3.
//!
//! Nothing outside this crate chooses what keys and encryptions are drawn from; a fixed seed exists only under the
//! feature `insecure-test-parameters`. The state is wiped when dropped.

use crate::ClientError;
use cipherloom_ckks::{SEED_BYTES, Seed};
use zeroize::Zeroizing;

const CONTEXT: &str = "cipherloom 2026 v0 private randomness of a client";
const BUFFER_BYTES: usize = 4096;

/// A cryptographic stream of private random bytes.
pub struct Randomness {
    stream: Zeroizing<blake3::OutputReader>,
    buffer: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Randomness {
    /// A stream seeded by the operating system.
    pub fn from_system() -> Result<Randomness, ClientError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(&mut *seed).map_err(|source| ClientError::Entropy { reason: source.to_string() })?;
        Ok(Randomness::from_seed(&seed))
    }

    /// The stream of a known seed: whoever knows it knows every secret drawn from it.
    #[cfg(feature = "insecure-test-parameters")]
    pub fn insecure_from_seed(seed: &[u8; SEED_BYTES]) -> Randomness {
        Randomness::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: &[u8; SEED_BYTES]) -> Randomness {
        let mut hasher = Zeroizing::new(blake3::Hasher::new_derive_key(CONTEXT));
        hasher.update(seed);
        let stream = Zeroizing::new(hasher.finalize_xof());
        Randomness { stream, buffer: Zeroizing::new(vec![0; BUFFER_BYTES]), used: BUFFER_BYTES }
    }

    /// An independent stream, so that several threads can draw in an order that does not matter.
    pub fn fork(&mut self) -> Randomness {
        Randomness::from_seed(&Zeroizing::new(self.bytes()))
    }

    /// A seed that will be published.
    pub fn public_seed(&mut self) -> Seed {
        Seed(self.bytes())
    }

    /// The next bytes; those of the buffer are wiped as they leave it.
    pub(crate) fn bytes<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        const { assert!(COUNT <= BUFFER_BYTES) };
        if self.used + COUNT > BUFFER_BYTES {
            self.stream.fill(&mut self.buffer);
            self.used = 0;
        }
        let taken = &mut self.buffer[self.used..self.used + COUNT];
        self.used += COUNT;
        let mut out = [0; COUNT];
        out.copy_from_slice(taken);
        taken.fill(0);
        out
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness(..)")
    }
}
