//! What can be wrong with parameters, operands and keys. Each error names the numbers that do not fit.

use cipherloom_ring::RingError;

use crate::{GaloisElement, KeyTarget};

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CkksError {
    /// A prime, a degree, a Galois element or a basis is not one.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A context needs at least one chain prime.
    #[error("the modulus chain is empty")]
    EmptyChain,
    /// A prime stands twice among chain and special primes.
    #[error("prime {q} stands twice among chain and special primes")]
    RepeatedPrime {
        /// The prime.
        q: u64,
    },
    /// An operand belongs to another ring.
    #[error("an operand has ring degree {found}, the context has {expected}")]
    RingDegree {
        /// Degree of the operand.
        found: usize,
        /// Degree of the context.
        expected: usize,
    },
    /// Operands have different numbers of limbs.
    #[error("operands of {left} and {right} limbs")]
    LimbMismatch {
        /// Limbs of the first operand.
        left: usize,
        /// Limbs of the other.
        right: usize,
    },
    /// A value has too few limbs for what is asked.
    #[error("{have} limbs where at least {need} are needed")]
    TooFewLimbs {
        /// Limbs there.
        have: usize,
        /// Limbs needed.
        need: usize,
    },
    /// A value has more limbs than there are primes.
    #[error("{have} limbs where at most {max} are possible")]
    TooManyLimbs {
        /// Limbs there.
        have: usize,
        /// Most that are possible.
        max: usize,
    },
    /// A ciphertext has another degree in the secret than the operation takes.
    #[error("a ciphertext of degree {found} where degree {expected} is needed")]
    CiphertextDegree {
        /// Degree of the ciphertext: its parts less one.
        found: usize,
        /// Degree that the operation takes.
        expected: usize,
    },
    /// The number of slots is not a power of two up to half the ring degree.
    #[error("{slots} slots; a power of two up to {max} is needed")]
    SlotCount {
        /// Slots asked for.
        slots: usize,
        /// Half the ring degree.
        max: usize,
    },
    /// The scale is not a positive finite number.
    #[error("scale {scale} is not a positive number")]
    Scale {
        /// The scale.
        scale: f64,
    },
    /// A number to encode, times its scale, is not finite or not below 2^62.
    #[error("an encoded coefficient of {value} is not a number below 2^62")]
    Coefficient {
        /// The offending coefficient.
        value: f64,
    },
    /// A gadget does not fit the context.
    #[error(
        "a gadget of {digit_limbs} limbs per digit and {special_limbs} special primes; there are {special} special primes"
    )]
    Gadget {
        /// Chain primes per digit.
        digit_limbs: usize,
        /// Special primes.
        special_limbs: usize,
        /// Special primes of the context.
        special: usize,
    },
    /// Two operands of a sweep or of a hoisted rotation have different gadgets.
    #[error("gadgets of {left} and {right} {what}")]
    GadgetMismatch {
        /// What differs: limbs per digit, or special primes.
        what: &'static str,
        /// The first.
        left: usize,
        /// The other.
        right: usize,
    },
    /// A key serves fewer limbs than the value has.
    #[error("a key of {key} limbs for a value of {value}")]
    KeyLimbs {
        /// Limbs of the key.
        key: usize,
        /// Limbs of the value.
        value: usize,
    },
    /// A key switches something else.
    #[error("a key for {found:?} where one for {expected:?} is needed")]
    KeyTarget {
        /// What the key does.
        found: KeyTarget,
        /// What was to be done.
        expected: KeyTarget,
    },
    /// A rotation has no key.
    #[error("no key for Galois element {}", element.0)]
    MissingKey {
        /// The element.
        element: GaloisElement,
    },
    /// A key cannot be had from where it is stored.
    #[error("evaluation key {index}: {what}")]
    KeyStore {
        /// Its number in the store.
        index: usize,
        /// Why.
        what: String,
    },
    /// A plaintext lacks limbs of the basis that the operation works in.
    #[error(
        "a plaintext of {limbs} chain and {special} special limbs where {need_limbs} and {need_special} are needed"
    )]
    PlaintextBasis {
        /// Chain limbs there.
        limbs: usize,
        /// Special limbs there.
        special: usize,
        /// Chain limbs needed.
        need_limbs: usize,
        /// Special limbs needed.
        need_special: usize,
    },
    /// A sum of no terms, or a sweep without inputs or outputs.
    #[error("nothing to sum")]
    Empty,
    /// A product of a sweep names something that is not there.
    #[error("product {product} names {what} {index} of {count}")]
    SweepIndex {
        /// Index of the product.
        product: usize,
        /// What it names: input, baby, giant or output.
        what: &'static str,
        /// The index.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A giant step of a sweep is carried onto one that does not exist, or round in a circle.
    #[error(
        "giant step {giant} of a sweep is carried onto {onto}: a step that does not exist, or in a circle, of {count}"
    )]
    SweepCarry {
        /// The giant step.
        giant: usize,
        /// Where it is carried, at once or after others.
        onto: usize,
        /// Number of giant steps.
        count: usize,
    },
    /// An output of a sweep has no product.
    #[error("output {output} of a sweep has no product")]
    SweepOutput {
        /// The output.
        output: usize,
    },
}
