//! What can go wrong on the client's side; each error names the place and the numbers, and never a secret.

use cipherloom_ckks::{CkksError, KeyError, WireError};

/// Why the client refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness: {reason}")]
    Entropy {
        /// What it said.
        reason: String,
    },
    /// Keys, parameters and data of different rings.
    #[error("{what} is of ring degree {found}, the parameters have {expected}")]
    RingDegree {
        /// Which object.
        what: &'static str,
        /// Its ring degree.
        found: usize,
        /// That of the parameters.
        expected: usize,
    },
    /// A value has more primes than the key.
    #[error("{what} has {found} limbs, at most {max} are possible")]
    Limbs {
        /// Which object.
        what: &'static str,
        /// Its limbs.
        found: usize,
        /// Most that are possible.
        max: usize,
    },
    /// A value is NaN or infinite.
    #[error("element {index} is {value}")]
    NotFinite {
        /// Index of the element.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A value, times the scale, does not fit into half the modulus.
    #[error("element {index} is {value}; values up to {max:.3e} can be encrypted")]
    TooLarge {
        /// Index of the element.
        index: usize,
        /// The value.
        value: f64,
        /// Largest magnitude.
        max: f64,
    },
    /// The wrong number of values.
    #[error("{found} values, {expected} are expected")]
    Count {
        /// Values given.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// The scheme refuses.
    #[error(transparent)]
    Ckks(#[from] CkksError),
    /// A key does not fit the parameters.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Bytes of a file or of the network do not hold what they should.
    #[error(transparent)]
    Wire(#[from] WireError),
}
