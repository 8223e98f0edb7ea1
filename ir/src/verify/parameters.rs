//! Laws 2 to 4: parameters, keys and security.
//!
//! Relies on the bounds. Promises: after them the ring, its primes and every gadget exist, so the engine's
//! contexts can be built from these numbers.

use super::error::{LawError, at_least, at_most};
use super::plan::sorted;
use super::{Form, Place, Report};
use crate::scheme::{KeyKind, KeySpec, Level, Parameters, Scale, is_prime};

/// Smallest ring degree, as a power of two (test policies only; security decides what is really used).
pub const MIN_LOG_N: u64 = 4;
/// Largest ring degree, as a power of two.
pub const MAX_LOG_N: u64 = 17;
/// Primes are below 2^60, so that sums of a few of them fit a word.
pub const LARGEST_PRIME: u64 = (1 << 60) - 1;
/// Canonical scales lie between 2^4 …
pub const MIN_LOG_SCALE: f64 = 4.0;
/// … and 2^100, where plaintexts can still be rounded to integers exactly enough.
pub const MAX_LOG_SCALE: f64 = 100.0;

/// Law 2: the ring degree is supported; chain and special primes are usable and distinct; canonical scales are
/// neither tiny nor huge. A draft has no real chain yet: its primes may be any numbers above 1.
pub(super) fn check(parameters: &Parameters, form: Form, report: &mut Report) {
    report.check(Place::Parameters, || {
        at_least("log2 of the ring degree", parameters.log_n.into(), MIN_LOG_N)?;
        at_most("log2 of the ring degree", parameters.log_n.into(), MAX_LOG_N)
    });
    let primes = || parameters.chain.iter().chain(&parameters.raised).chain(&parameters.special);
    if form == Form::Draft {
        primes().for_each(|&q| report.check(Place::Parameters, || at_least("modulus", q, 2)));
        return;
    }
    for &prime in primes() {
        report.check(Place::Parameters, || usable_prime(prime, parameters.log_n.min(MAX_LOG_N as u32)));
    }
    report.check(Place::Parameters, || {
        let mut all: Vec<u64> = primes().copied().collect();
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(LawError::Prime { prime: pair[0], reason: "it stands twice" }),
            None => Ok(()),
        }
    });
}

/// A prime below 2^60 and outside [2^50, 2^51), 1 modulo 2N.
fn usable_prime(prime: u64, log_n: u32) -> Result<(), LawError> {
    let refused = |reason| Err(LawError::Prime { prime, reason });
    if prime > LARGEST_PRIME {
        refused("it is above 2^60")
    } else if (1 << 50..1 << 51).contains(&prime) {
        refused("the transform of one kernel is not correct between 2^50 and 2^51")
    } else if prime % (2 << log_n) != 1 {
        refused("it is not 1 modulo 2N")
    } else if !is_prime(prime) {
        refused("it is composite")
    } else {
        Ok(())
    }
}

/// Law 3: keys are sorted and distinct; each has a level of the chain, or of mod-raise, and a gadget that exists; rotation
/// steps are in (0, slots).
pub(super) fn check_keys(parameters: &Parameters, keys: &[KeySpec], report: &mut Report) {
    report.check(Place::Circuit, || sorted("keys", keys));
    for (k, key) in keys.iter().enumerate() {
        report.check(Place::Key(k), || check_key_spec(parameters, key));
    }
}

/// One key exists under these parameters.
pub fn check_key_spec(parameters: &Parameters, key: &KeySpec) -> Result<(), LawError> {
    at_most("level of the key", key.level.0.into(), parameters.raised_top().0.into())?;
    at_least("chain primes per digit", key.gadget.digit_limbs.into(), 1)?;
    let ciphertext_primes = parameters.raised_top().limbs() as u64;
    at_most("chain primes per digit", key.gadget.digit_limbs.into(), ciphertext_primes)?;
    at_least("special primes of the gadget", key.gadget.special_limbs.into(), 1)?;
    at_most(
        "special primes of the gadget",
        key.gadget.special_limbs.into(),
        parameters.special.len() as u64,
    )?;
    match key.kind {
        KeyKind::Rotation(step) => {
            at_least("rotation step", step.into(), 1)?;
            at_most("rotation step", step.into(), parameters.slots() as u64 - 1)
        }
        KeyKind::Relinearization | KeyKind::Conjugation | KeyKind::Encapsulation | KeyKind::Decapsulation => {
            Ok(())
        }
    }
}

/// `log2 Δ_l` of every level, from the recursion `Δ_{l-1} = Δ_l² / q_l`; safe for any numbers, unlike
/// [`crate::scheme::CanonicalScales`], which relies on this law.
fn log2_canonical(parameters: &Parameters) -> Vec<f64> {
    let mut scales = vec![f64::from(parameters.log_scale); parameters.chain.len()];
    for level in (1..scales.len()).rev() {
        scales[level - 1] = 2.0 * scales[level] - libm::log2(parameters.chain[level] as f64);
    }
    scales
}

/// The second half of law 2: every canonical scale is between the bounds.
pub(super) fn check_scales(parameters: &Parameters, report: &mut Report) {
    for (level, log2) in log2_canonical(parameters).into_iter().enumerate() {
        report.check(Place::Parameters, || {
            if (MIN_LOG_SCALE..=MAX_LOG_SCALE).contains(&log2) {
                return Ok(());
            }
            Err(LawError::ScaleSize {
                what: "canonical scale",
                scale: Scale::canonical(Level(level as u32)),
                log2_found: log2,
                log2_least: MIN_LOG_SCALE,
                log2_most: MAX_LOG_SCALE,
            })
        });
    }
}
