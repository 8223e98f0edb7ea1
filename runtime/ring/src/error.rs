//! What can be wrong with numbers given to this crate. Each error names the number and the bound it broke.

use crate::Path;

/// Why a degree, a modulus, a path or a basis was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The ring degree is outside what the transforms support.
    #[error("ring degree 2^{log_n} is outside 2^{min} to 2^{max}")]
    DegreeOutOfRange {
        /// Requested binary logarithm of the degree.
        log_n: u32,
        /// Smallest supported logarithm.
        min: u32,
        /// Largest supported logarithm.
        max: u32,
    },
    /// The modulus has a divisor.
    #[error("modulus {q} is not an odd prime")]
    NotPrime {
        /// The modulus.
        q: u64,
    },
    /// The modulus does not fit the lazy ranges of the kernels.
    #[error("modulus {q} is not below 2^{bits_max}")]
    ModulusTooLarge {
        /// The modulus.
        q: u64,
        /// The exclusive bound, as a power of two.
        bits_max: u32,
    },
    /// The modulus is in the range whose transforms are not trusted.
    #[error("modulus {q} is between 2^50 and 2^51, where transforms are not exact")]
    ModulusInGap {
        /// The modulus.
        q: u64,
    },
    /// The modulus has no primitive root of unity of order `2N`.
    #[error("modulus {q} is not 1 modulo 2N = {two_n}")]
    NoRootOfUnity {
        /// The modulus.
        q: u64,
        /// Twice the ring degree.
        two_n: u64,
    },
    /// This machine cannot run the path.
    #[error("this processor has no {path} path")]
    PathUnavailable {
        /// The path asked for.
        path: Path,
    },
    /// A Galois element is an odd number below `2N`.
    #[error("Galois element {element} is not an odd number below 2N = {two_n}")]
    GaloisElement {
        /// The element asked for.
        element: u64,
        /// Twice the ring degree.
        two_n: u64,
    },
    /// Limbs of one conversion have different degrees.
    #[error("limbs of degree {left} and {right} in one basis")]
    DegreeMismatch {
        /// Degree of the first limb.
        left: usize,
        /// Degree of the limb that differs.
        right: usize,
    },
    /// A prime stands twice in a basis.
    #[error("prime {q} stands twice in one basis")]
    RepeatedPrime {
        /// The prime.
        q: u64,
    },
    /// A basis has too few or too many primes.
    #[error("a basis of {count} primes; it needs 1 to {max}")]
    BasisLength {
        /// How many primes were given.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
}
