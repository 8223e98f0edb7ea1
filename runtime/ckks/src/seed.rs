//! Uniform polynomials from 32-byte seeds: the halves of keys and ciphertexts that are never stored or sent.
//!
//! One stream per (purpose, id of the key, digit, prime): BLAKE3 in derive-key mode, the purpose being its context,
//! over `seed ‖ length of id (u32) ‖ id ‖ digit (u32) ‖ prime (u64)`, all little endian, read in extendable-output mode.
//! A candidate is the next `residue_bytes` of the stream as a little-endian number, masked to the bits of the prime;
//! candidates not below the prime are skipped. The N accepted ones are the words of the limb in evaluation form, in
//! the order of the ring's transform. All of this is part of the wire format and pinned by test vectors.

use cipherloom_ring::{Degree, Evaluation, Limb, Modulus, Poly};
use rayon::prelude::*;

/// Length of a seed in bytes.
pub const SEED_BYTES: usize = 32;

/// A public seed of uniform polynomials. Whoever reuses one for two encryptions reveals their difference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; SEED_BYTES]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seed({SEED_BYTES} bytes)")
    }
}

/// What a stream is for; each purpose is a separate random oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Uniform halves of an evaluation key.
    EvaluationKey,
    /// Uniform half of a public key.
    PublicKey,
    /// Second part of a secret-key encryption.
    Ciphertext,
}

impl Purpose {
    fn context(self) -> &'static str {
        match self {
            Purpose::EvaluationKey => "cipherloom 2026 v0 uniform half of an evaluation key",
            Purpose::PublicKey => "cipherloom 2026 v0 uniform half of a public key",
            Purpose::Ciphertext => "cipherloom 2026 v0 uniform part of a ciphertext",
        }
    }
}

/// Names a family of streams, one per prime.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a> {
    /// What the polynomial is for.
    pub purpose: Purpose,
    /// Which key (empty where a seed serves one object).
    pub id: &'a [u8],
    /// Digit of the key's gadget (0 where there is none).
    pub digit: u32,
}

/// Bytes of one packed residue modulo a prime, here and on the wire.
pub fn residue_bytes(modulus: &Modulus) -> usize {
    modulus.bits().div_ceil(8) as usize
}

/// Candidates read from the stream at a time.
const CANDIDATES: usize = 1024;
/// Longest candidate; the buffer ends with this many spare bytes so that each can be read as one word.
const WORD_BYTES: usize = size_of::<u64>();

/// Fills `out` with the limb modulo `modulus` of the polynomial that `seed` and `domain` name.
pub fn uniform_limb(seed: &Seed, domain: &Domain<'_>, modulus: &Modulus, out: &mut [u64]) {
    let mut hasher = blake3::Hasher::new_derive_key(domain.purpose.context());
    hasher.update(&seed.0);
    hasher.update(&(domain.id.len() as u32).to_le_bytes());
    hasher.update(domain.id);
    hasher.update(&domain.digit.to_le_bytes());
    hasher.update(&modulus.value().to_le_bytes());
    let mut stream = hasher.finalize_xof();
    let (q, width) = (modulus.value(), residue_bytes(modulus));
    let mask = u64::MAX >> (u64::BITS - modulus.bits());
    let mut bytes = [0u8; CANDIDATES * WORD_BYTES + WORD_BYTES];
    let mut accepted = [0u64; CANDIDATES];
    let mut rest = out;
    while !rest.is_empty() {
        stream.fill(&mut bytes[..CANDIDATES * width]);
        let mut count = 0;
        for k in 0..CANDIDATES {
            let window: [u8; WORD_BYTES] =
                bytes[k * width..k * width + WORD_BYTES].try_into().expect("a window of WORD_BYTES");
            let word = u64::from_le_bytes(window) & mask;
            accepted[count] = word;
            count += usize::from(word < q);
        }
        let (filled, after) = rest.split_at_mut(count.min(rest.len()));
        filled.copy_from_slice(&accepted[..filled.len()]);
        rest = after;
    }
}

/// The polynomial that `seed` and `domain` name, over the primes of `basis`; its limbs are drawn in parallel.
pub fn uniform_poly(seed: &Seed, domain: &Domain<'_>, degree: Degree, basis: &[&Limb]) -> Poly<Evaluation> {
    let mut out = Poly::zero(degree, basis.len());
    out.as_mut_slice()
        .par_chunks_mut(degree.n())
        .zip(basis)
        .for_each(|(words, limb)| uniform_limb(seed, domain, limb.modulus(), words));
    out
}
