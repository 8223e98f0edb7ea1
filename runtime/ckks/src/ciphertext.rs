//! Encrypted values: ciphertexts over `q_0 .. q_{limbs-1}`, and extended values that carry special primes as well.
//!
//! Parts are in evaluation form, limb `i` modulo chain prime `i`, every word canonical. Nothing here knows a scale.

use cipherloom_ring::{Evaluation, Poly};

use crate::CkksError;

/// How many chain primes a value has: its level plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Limbs(pub usize);

/// A ciphertext: `sum of part_i s^i` is the message plus noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    parts: Vec<Poly<Evaluation>>,
}

impl Ciphertext {
    /// A ciphertext of these parts.
    ///
    /// # Errors
    /// [`CkksError::CiphertextDegree`] for fewer than two parts, [`CkksError::LimbMismatch`] and
    /// [`CkksError::RingDegree`] for parts of different shapes, [`CkksError::TooFewLimbs`] for none.
    pub fn new(parts: Vec<Poly<Evaluation>>) -> Result<Ciphertext, CkksError> {
        if parts.len() < 2 {
            return Err(CkksError::CiphertextDegree { found: parts.len().saturating_sub(1), expected: 1 });
        }
        check_same_shape(&parts)?;
        Ok(Ciphertext { parts })
    }

    /// The polynomials, constant term in the secret first.
    pub fn parts(&self) -> &[Poly<Evaluation>] {
        &self.parts
    }

    /// The polynomial of `s^i`.
    pub fn part(&self, i: usize) -> &Poly<Evaluation> {
        &self.parts[i]
    }

    /// The polynomials.
    pub fn into_parts(self) -> Vec<Poly<Evaluation>> {
        self.parts
    }

    /// Degree in the secret: one less than the number of parts.
    pub fn degree(&self) -> usize {
        self.parts.len() - 1
    }

    /// Number of chain primes.
    pub fn limbs(&self) -> Limbs {
        Limbs(self.parts[0].limbs())
    }

    pub(crate) fn parts_mut(&mut self) -> &mut [Poly<Evaluation>] {
        &mut self.parts
    }
}

/// A value times `P` over chain and special primes: a key switch before its division by `P`. Two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    parts: Vec<Poly<Evaluation>>,
    special: usize,
}

impl Extended {
    /// An extended value of these two parts, of which the last `special` limbs are modulo special primes.
    ///
    /// # Errors
    /// As [`Ciphertext::new`]; two parts and at least one chain limb are needed.
    pub fn new(parts: Vec<Poly<Evaluation>>, special: usize) -> Result<Extended, CkksError> {
        if parts.len() != 2 {
            return Err(CkksError::CiphertextDegree { found: parts.len().saturating_sub(1), expected: 1 });
        }
        check_same_shape(&parts)?;
        if parts[0].limbs() <= special {
            return Err(CkksError::TooFewLimbs { have: parts[0].limbs(), need: special + 1 });
        }
        Ok(Extended { parts, special })
    }

    /// Part 0 or 1.
    pub fn part(&self, i: usize) -> &Poly<Evaluation> {
        &self.parts[i]
    }

    /// Number of chain primes.
    pub fn limbs(&self) -> Limbs {
        Limbs(self.parts[0].limbs() - self.special)
    }

    pub(crate) fn parts(&self) -> &[Poly<Evaluation>] {
        &self.parts
    }

    pub(crate) fn into_parts(self) -> Vec<Poly<Evaluation>> {
        self.parts
    }

    /// Number of special primes.
    pub fn special(&self) -> usize {
        self.special
    }
}

fn check_same_shape(parts: &[Poly<Evaluation>]) -> Result<(), CkksError> {
    let first = &parts[0];
    if first.limbs() == 0 {
        return Err(CkksError::TooFewLimbs { have: 0, need: 1 });
    }
    for part in parts {
        if part.degree() != first.degree() {
            return Err(CkksError::RingDegree { found: part.degree().n(), expected: first.degree().n() });
        }
        if part.limbs() != first.limbs() {
            return Err(CkksError::LimbMismatch { left: first.limbs(), right: part.limbs() });
        }
    }
    Ok(())
}
