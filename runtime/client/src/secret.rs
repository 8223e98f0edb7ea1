//! The secret key: a uniform ternary polynomial, wiped when dropped and never printed.
//!
//! Payload on disk: log2 N (u32, little endian), then two bits per coefficient, `s + 1`, lowest bits first.

use crate::ClientError;
use crate::randomness::Randomness;
use crate::sample::{SmallPoly, residues, ternary_poly};
use cipherloom_ckks::{CkksError, Context, WireError};
use cipherloom_ring::{Degree, Limb};
use rayon::prelude::*;
use std::io::{ErrorKind, Read, Write};
use zeroize::Zeroizing;

/// Words of a polynomial that depends on the secret.
pub(crate) type SecretWords = Zeroizing<Vec<u64>>;

/// The client's secret.
pub struct SecretKey {
    degree: Degree,
    coefficients: SmallPoly,
}

impl SecretKey {
    /// Draws a secret.
    pub fn generate(degree: Degree, randomness: &mut Randomness) -> SecretKey {
        SecretKey { degree, coefficients: ternary_poly(randomness, degree.n()) }
    }

    /// Ring degree.
    pub fn degree(&self) -> Degree {
        self.degree
    }

    /// Checks that the key belongs to the ring of `context`.
    pub(crate) fn check(&self, context: &Context) -> Result<(), ClientError> {
        let (found, expected) = (self.degree.n(), context.n());
        match found == expected {
            true => Ok(()),
            false => Err(ClientError::RingDegree { what: "the secret key", found, expected }),
        }
    }

    /// The secret in evaluation form, limb after limb of `basis`.
    pub(crate) fn evaluate(&self, basis: &[&Limb]) -> SecretWords {
        evaluate(&self.coefficients, basis)
    }

    /// Writes the payload.
    pub fn write(&self, out: &mut impl Write) -> Result<(), ClientError> {
        let mut packed = Zeroizing::new(Vec::with_capacity(4 + self.coefficients.len() / 4));
        packed.extend_from_slice(&self.degree.log_n().to_le_bytes());
        packed.extend(
            self.coefficients
                .chunks_exact(4)
                .map(|four| four.iter().rev().fold(0u8, |byte, s| byte << 2 | (s + 1) as u8)),
        );
        out.write_all(&packed).map_err(|source| WireError::Io { what: SECRET_KEY, source }.into())
    }

    /// Reads a payload.
    pub fn read(input: &mut impl Read) -> Result<SecretKey, ClientError> {
        let mut fill = |out: &mut [u8]| {
            input.read_exact(out).map_err(|source| match source.kind() {
                ErrorKind::UnexpectedEof => WireError::Truncated { what: SECRET_KEY },
                _ => WireError::Io { what: SECRET_KEY, source },
            })
        };
        let mut header = [0; 4];
        fill(&mut header)?;
        let log_n = u32::from_le_bytes(header);
        let degree = Degree::new(log_n).map_err(CkksError::from)?;
        let mut packed = Zeroizing::new(vec![0; degree.n() / 4]);
        fill(&mut packed)?;
        let digits = packed.iter().flat_map(|byte| [0, 2, 4, 6].map(|shift| byte >> shift & 3));
        let mut coefficients = Zeroizing::new(Vec::with_capacity(degree.n()));
        coefficients.extend(digits.map(|digit| digit as i8 - 1));
        if coefficients.iter().any(|s| *s > 1) {
            let what = "a coefficient of the secret key";
            return Err(WireError::OutOfRange { what, found: 3, min: 0, max: 2 }.into());
        }
        Ok(SecretKey { degree, coefficients })
    }
}

const SECRET_KEY: &str = "a secret key";

/// A small polynomial in evaluation form, limb after limb of `basis`.
pub(crate) fn evaluate(small: &[i8], basis: &[&Limb]) -> SecretWords {
    let mut out = Zeroizing::new(vec![0; small.len() * basis.len()]);
    out.par_chunks_mut(small.len()).zip(basis).for_each(|(words, limb)| {
        residues(small, limb.modulus().value(), words);
        limb.forward(words);
    });
    out
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey(N = {}, ..)", self.degree.n())
    }
}
