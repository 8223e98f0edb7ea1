//! How large a modulus may be for 128 bits of security, and the check of parameters against it.
//!
//! The table is for uniform ternary secrets and errors of standard deviation [`super::noise::ERROR_STD`]; it
//! says nothing about sparse secrets: what is encrypted under the ephemeral secret of bootstrapping, the encapsulation key
//! alone, is held against a bound of its own. The modulus counts with its special primes, over the largest key.
//! Promises: the comparison is exact (integers); no policy from this file accepts a ring it has no bound for.

use super::bootstrap::EPHEMERAL_WEIGHT;
use super::params::{KeyKind, KeySpec, Parameters};
use thiserror::Error;

/// Largest log2(QP) by log2(N), 128 bits classical.
const MAX_LOG_QP: [(u32, u32); 7] =
    [(11, 53), (12, 106), (13, 214), (14, 430), (15, 868), (16, 1747), (17, 3523)];

/// Where [`MAX_LOG_QP`] comes from.
const CITATION: &str = "Bossuat et al., Security Guidelines for Implementing Homomorphic Encryption, \
    ePrint 2024/463, table 5.2 (uniform ternary secret, sigma 3.19, 128 bits classical)";

/// Largest log2(QP) by log2(N) under a ternary secret of weight [`EPHEMERAL_WEIGHT`](super::EPHEMERAL_WEIGHT), 128 bits.
const MAX_EPHEMERAL_LOG_QP: [(u32, u32); 2] = [(15, 164), (16, 349)];

/// Where [`MAX_EPHEMERAL_LOG_QP`] comes from.
const EPHEMERAL_CITATION: &str = "ePrint 2026/279 (ternary secret of weight 32, 128 bits); \
    sparse-secret encapsulation: ePrint 2022/024, which stayed below 121 at 2^16";

/// What parameters must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityPolicy {
    bounds: Vec<(u32, u32)>,
    citation: &'static str,
    ephemeral_bounds: Vec<(u32, u32)>,
    ephemeral_citation: &'static str,
}

/// A modulus that passed, with the bound that it was held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecurityReport {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// log2 of the largest modulus, rounded up in the third decimal.
    pub log_qp: f64,
    /// Largest log2 allowed.
    pub bound: u32,
    /// Source of the bound.
    pub citation: &'static str,
    /// The second line, where there is an ephemeral sparse secret.
    pub ephemeral: Option<EphemeralReport>,
}

/// The modulus under the ephemeral secret, with the bound that it was held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EphemeralReport {
    /// Coefficients of the secret that are not zero.
    pub weight: u32,
    /// log2 of the largest modulus, rounded up in the third decimal.
    pub log_qp: f64,
    /// Largest log2 allowed.
    pub bound: u32,
    /// Source of the bound.
    pub citation: &'static str,
}

/// Why parameters are refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SecurityError {
    /// No bound is known for this ring.
    #[error("ring degree 2^{log_n} has no security bound in {citation}")]
    UnknownRing {
        /// log2 of the ring degree.
        log_n: u32,
        /// Source of the bounds.
        citation: &'static str,
    },
    /// The modulus is too large for its ring.
    #[error("log QP = {log_qp:.1} exceeds {bound}, the bound for ring degree 2^{log_n} ({citation})")]
    ModulusTooLarge {
        /// log2 of the ring degree.
        log_n: u32,
        /// log2 of the largest modulus, rounded up.
        log_qp: f64,
        /// Largest log2 allowed.
        bound: u32,
        /// Source of the bound.
        citation: &'static str,
    },
    /// A key names more primes than the parameters have.
    #[error(
        "a key at level {level} with {special} special primes, of {chain} chain and {specials} special primes"
    )]
    KeyBeyondChain {
        /// Level of the key.
        level: u32,
        /// Special primes of the key.
        special: u32,
        /// Primes of the chain.
        chain: usize,
        /// Special primes of the parameters.
        specials: usize,
    },
}

impl SecurityPolicy {
    /// 128 bits, classical attacks, uniform ternary secret.
    pub fn standard_128() -> SecurityPolicy {
        SecurityPolicy {
            bounds: MAX_LOG_QP.to_vec(),
            citation: CITATION,
            ephemeral_bounds: MAX_EPHEMERAL_LOG_QP.to_vec(),
            ephemeral_citation: EPHEMERAL_CITATION,
        }
    }

    /// Accepts any modulus in any ring, for tests with small rings. Offers no security at all.
    #[cfg(feature = "insecure-test-parameters")]
    pub fn insecure_for_tests() -> SecurityPolicy {
        let (any, citation): (Vec<_>, _) =
            ((1..=17).map(|n| (n, u32::MAX)).collect(), "none: insecure test parameters");
        SecurityPolicy { bounds: any.clone(), citation, ephemeral_bounds: any, ephemeral_citation: citation }
    }

    /// Largest log2(QP) for a ring degree of `2^log_n`, if one is known.
    pub fn bound(&self, log_n: u32) -> Option<u32> {
        self.bounds.iter().find(|b| b.0 == log_n).map(|b| b.1)
    }

    /// Source of the bounds.
    pub fn citation(&self) -> &'static str {
        self.citation
    }

    /// Holds the largest modulus (of the ciphertexts and of every key) against the bound, and that of the keys under the
    /// ephemeral secret, where there are any, against theirs.
    pub fn check(&self, parameters: &Parameters, keys: &[KeySpec]) -> Result<SecurityReport, SecurityError> {
        let (log_n, citation) = (parameters.log_n, self.citation);
        let (sparse, dense): (Vec<_>, Vec<_>) = keys.iter().partition(|k| k.kind == KeyKind::Encapsulation);
        let modulus = largest_modulus(parameters, &dense)?.max(Product::of(&parameters.ciphertext_primes()));
        let (log_qp, bound) = within(log_n, &modulus, &self.bounds, citation)?;
        let citation = self.ephemeral_citation;
        let ephemeral = match sparse.is_empty() {
            true => None,
            false => {
                let modulus = largest_modulus(parameters, &sparse)?;
                let (log_qp, bound) = within(log_n, &modulus, &self.ephemeral_bounds, citation)?;
                Some(EphemeralReport { weight: EPHEMERAL_WEIGHT, log_qp, bound, citation })
            }
        };
        Ok(SecurityReport { log_n, log_qp, bound, citation: self.citation, ephemeral })
    }
}

/// log2 of a modulus, rounded up, and the bound that it is within.
fn within(
    log_n: u32,
    modulus: &Product,
    bounds: &[(u32, u32)],
    citation: &'static str,
) -> Result<(f64, u32), SecurityError> {
    let bound = bounds.iter().find(|b| b.0 == log_n).map(|b| b.1);
    let bound = bound.ok_or(SecurityError::UnknownRing { log_n, citation })?;
    let log_qp = modulus.log2_up();
    // An odd modulus is below 2^bound exactly if it has at most `bound` bits.
    match modulus.bits() > u64::from(bound) {
        true => Err(SecurityError::ModulusTooLarge { log_n, log_qp, bound, citation }),
        false => Ok((log_qp, bound)),
    }
}

/// The largest modulus QP of these keys.
fn largest_modulus(parameters: &Parameters, keys: &[&KeySpec]) -> Result<Product, SecurityError> {
    let (chain, special) = (parameters.ciphertext_primes(), &parameters.special);
    let mut shapes: Vec<(u32, u32)> = keys.iter().map(|k| (k.level.0, k.gadget.special_limbs)).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let mut largest = Product::of(&[]);
    for (level, limbs) in shapes {
        let beyond = SecurityError::KeyBeyondChain {
            level,
            special: limbs,
            chain: chain.len(),
            specials: special.len(),
        };
        let q = chain.get(..=level as usize).ok_or_else(|| beyond.clone())?;
        let p = special.get(..limbs as usize).ok_or(beyond)?;
        largest = largest.max(Product::of(&[q, p].concat()));
    }
    Ok(largest)
}

/// A product of words, exact; least significant word first, no leading zero word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Product(Vec<u64>);

impl Product {
    fn of(factors: &[u64]) -> Product {
        let mut words = vec![1u64];
        for factor in factors {
            let mut carry = 0u128;
            for word in &mut words {
                carry += u128::from(*word) * u128::from(*factor);
                *word = carry as u64;
                carry >>= 64;
            }
            if carry > 0 {
                words.push(carry as u64);
            }
        }
        Product(words)
    }

    fn bits(&self) -> u64 {
        let top = self.0.last().copied().unwrap_or(0);
        self.0.len() as u64 * 64 - u64::from(top.leading_zeros())
    }

    fn max(self, other: Product) -> Product {
        let key = |p: &Product| (p.0.len(), p.0.iter().rev().copied().collect::<Vec<_>>());
        if key(&other) > key(&self) { other } else { self }
    }

    /// log2, rounded up in the third decimal.
    fn log2_up(&self) -> f64 {
        let bits = self.bits();
        let word = |k: usize| self.0.len().checked_sub(k).and_then(|i| self.0.get(i)).copied().unwrap_or(0);
        let top = (u128::from(word(1)) << 64) | u128::from(word(2));
        let mantissa = (top << top.leading_zeros()) as f64 / 2f64.powi(127);
        let log2 = (bits - 1) as f64 + libm::log2(mantissa);
        libm::ceil(log2 * 1000.0) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Gadget, KeyKind, Level};

    fn parameters(log_n: u32, chain: Vec<u64>, special: Vec<u64>) -> Parameters {
        Parameters { log_n, chain, raised: vec![], special, log_scale: 30 }
    }

    #[test]
    fn the_table_is_that_of_the_guidelines() {
        let policy = SecurityPolicy::standard_128();
        let known: Vec<Option<u32>> = (10..=18).map(|n| policy.bound(n)).collect();
        let some = [53, 106, 214, 430, 868, 1747, 3523].map(Some);
        assert_eq!(known, [&[None][..], &some, &[None]].concat());
    }

    #[test]
    fn the_bound_is_exact_and_counts_the_largest_key() {
        let policy = SecurityPolicy::standard_128();
        let word = (1u64 << 53) - 1;
        assert!(policy.check(&parameters(11, vec![word], vec![]), &[]).is_ok());
        let refused = policy.check(&parameters(11, vec![word + 2], vec![]), &[]);
        assert!(matches!(refused, Err(SecurityError::ModulusTooLarge { bound: 53, .. })));
        let key = |level, special_limbs| KeySpec {
            kind: KeyKind::Relinearization,
            level: Level(level),
            gadget: Gadget { digit_limbs: 1, special_limbs },
        };
        let big = parameters(12, vec![word, word], vec![3]);
        assert!(policy.check(&big, &[key(0, 1)]).is_ok());
        assert!(policy.check(&big, &[key(1, 0)]).is_ok());
        assert!(matches!(policy.check(&big, &[key(1, 1)]), Err(SecurityError::ModulusTooLarge { .. })));
        assert!(matches!(policy.check(&big, &[key(2, 0)]), Err(SecurityError::KeyBeyondChain { .. })));
        assert!(matches!(
            policy.check(&parameters(10, vec![97], vec![]), &[]),
            Err(SecurityError::UnknownRing { log_n: 10, .. })
        ));
    }

    #[test]
    fn the_ephemeral_secret_has_a_bound_of_its_own() {
        let policy = SecurityPolicy::standard_128();
        let word = (1u64 << 50) - 27;
        let ring = |log_n| parameters(log_n, vec![word; 3], vec![word; 3]);
        let key = |level, special_limbs| KeySpec {
            kind: KeyKind::Encapsulation,
            level: Level(level),
            gadget: Gadget { digit_limbs: 1, special_limbs },
        };
        let report = policy.check(&ring(15), &[key(0, 1)]).unwrap();
        let ephemeral = report.ephemeral.unwrap();
        assert_eq!((ephemeral.log_qp, ephemeral.bound, ephemeral.weight), (100.0, 164, 32));
        assert_eq!(policy.check(&ring(15), &[]).unwrap().ephemeral, None);
        assert!(policy.check(&ring(15), &[key(1, 1)]).is_ok());
        let refused = policy.check(&ring(15), &[key(0, 1), key(1, 2)]);
        assert!(matches!(refused, Err(SecurityError::ModulusTooLarge { bound: 164, .. })), "{refused:?}");
        assert!(policy.check(&ring(16), &[key(2, 3)]).is_ok());
        // No bound is known for other rings.
        assert!(matches!(policy.check(&ring(17), &[key(0, 1)]), Err(SecurityError::UnknownRing { .. })));
    }

    #[test]
    fn log2_is_rounded_up() {
        assert_eq!(Product::of(&[1 << 40, 1 << 50]).log2_up(), 90.0);
        let log2 = Product::of(&[(1 << 40) + 1, 3]).log2_up();
        assert!((41.584..41.587).contains(&log2), "{log2}");
        assert_eq!(Product::of(&[u64::MAX; 5]).bits(), 320);
    }
}
