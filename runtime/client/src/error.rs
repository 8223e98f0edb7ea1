//! What can go wrong on the client's side; each error names the place and the numbers, and never a secret.

use cipherloom_ckks::{CkksError, KeyError, WireError};
use cipherloom_ir::Digest;
use cipherloom_ir::VerifyError;
use cipherloom_ir::container::ContainerError;
use cipherloom_ir::scheme::SecurityError;

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
    #[error("element {index} of input {tensor:?} is no finite number")]
    NotFinite {
        /// Name of the input.
        tensor: String,
        /// Index of the element.
        index: usize,
    },
    /// A value, times the scale, does not fit into half the modulus.
    #[error("element {index} of input {tensor:?} is too large; values up to {max:.3e} can be encrypted")]
    TooLarge {
        /// Name of the input.
        tensor: String,
        /// Index of the element.
        index: usize,
        /// Largest magnitude.
        max: f64,
    },
    /// A value is so far outside the range that the circuit was made for that the answer could not be decoded.
    #[error(
        "element {index} of input {tensor:?} lies beyond {factor} times the range that the circuit was made for, \
         [{}, {}]: the answer could not be decoded",
        range[0], range[1]
    )]
    OutOfRange {
        /// Name of the input.
        tensor: String,
        /// Index of the element.
        index: usize,
        /// The range.
        range: [f64; 2],
        /// How far beyond the range's largest magnitude elements are accepted.
        factor: f64,
    },
    /// The wrong number of things.
    #[error("{found} {what}, {expected} are expected")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are expected.
        expected: usize,
    },
    /// An input has the wrong number of elements.
    #[error("input {tensor:?} has {found} elements, its shape is {shape:?} in a batch of {batch}")]
    InputShape {
        /// Name of the input.
        tensor: String,
        /// Elements given.
        found: usize,
        /// Shape that the circuit takes.
        shape: Vec<u32>,
        /// Images that it takes.
        batch: u32,
    },
    /// The parameters are not secure.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The manifest breaks a law.
    #[error("the manifest is not sound: {0}")]
    Manifest(#[from] VerifyError),
    /// Data of another circuit.
    #[error("this belongs to circuit {}, not to {}", found.short(), expected.short())]
    Foreign {
        /// The circuit that the data names.
        found: Digest,
        /// The circuit of the manifest.
        expected: Digest,
    },
    /// The decryption makes no sense.
    #[error(
        "output {tensor:?} has imaginary parts above {bound:.2e}, which is more than noise: either it was not \
         computed with the keys of this secret, or the input lay outside its range and a value left the modulus"
    )]
    WrongKey {
        /// Name of the output.
        tensor: String,
        /// Largest that passes.
        bound: f64,
    },
    /// Scores cannot be made fit to be given away.
    #[error(
        "output {tensor:?} cannot be released: its worst-case error is {bound:.2e}, so that released scores would be exact to \
         {needed:.2e} only, and the largest that is certified is {largest:.2e}"
    )]
    Release {
        /// Name of the output.
        tensor: String,
        /// Worst-case error that the manifest states; infinite where nothing is proved.
        bound: f64,
        /// Step or deviation of noise that hides it; infinite where none does.
        needed: f64,
        /// Largest certified score.
        largest: f64,
    },
    /// A file is damaged, of another kind or of another circuit.
    #[error(transparent)]
    File(#[from] ContainerError),
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
