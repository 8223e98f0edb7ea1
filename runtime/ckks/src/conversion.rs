//! Conversion out of a basis of primes, with the constants of a division by their product.

use cipherloom_ring::BaseConversion;

use crate::{CkksError, Context};

/// Source basis of a conversion: the first `special` special primes, then the chain primes `start .. end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Basis {
    pub(crate) special: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Conversion from a basis with product `D` to every prime of a context: chain primes first, then special primes.
pub(crate) struct Conversion {
    pub(crate) base: BaseConversion,
    /// `D` modulo each chain prime; 0 where it is in the basis.
    pub(crate) product: Vec<u64>,
    /// `-1/D` modulo each chain prime; 0 where it is in the basis.
    pub(crate) minus_inverse: Vec<u64>,
}

impl Conversion {
    pub(crate) fn new(context: &Context, basis: Basis) -> Result<Conversion, CkksError> {
        let special = context.special()[..basis.special].iter();
        let from: Vec<_> = special.chain(&context.chain()[basis.start..basis.end]).cloned().collect();
        let to: Vec<_> = context.chain().iter().chain(context.special()).cloned().collect();
        let (product, minus_inverse) = context
            .chain()
            .iter()
            .map(|limb| {
                let modulus = limb.modulus();
                let product = from.iter().fold(1, |d, limb| modulus.mul(d, limb.modulus().value()));
                (product, modulus.inv(product).map_or(0, |inverse| modulus.neg(inverse)))
            })
            .unzip();
        Ok(Conversion { base: BaseConversion::new(&from, &to)?, product, minus_inverse })
    }
}
