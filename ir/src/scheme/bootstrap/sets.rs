//! The parameter sets of docs/bootstrapping.md, by name. Benches measure them; a test holds each against its security bounds.

use super::BootstrapRequest;

/// N = 2^16, at least nine levels of 40 bits. Of two to five factors back to slots, five are fastest by the profile.
const NINE_LEVELS: BootstrapRequest = BootstrapRequest {
    log_n: 16,
    sparse_log_slots: None,
    log_scale: 40,
    base_bits: 50,
    prime_bits: 49,
    levels: 9,
    to_coefficients: 3,
    to_slots: 5,
    log_degree: 4,
    squarings: 5,
    ratio_bits: 7,
    digit_limbs: 9,
};

/// Name and request of each set.
pub const BOOTSTRAP_SETS: [(&str, BootstrapRequest); 5] = [
    ("2p16_9", NINE_LEVELS),
    // One level less for the reduction.
    (
        "2p16_14",
        BootstrapRequest {
            prime_bits: 50,
            levels: 14,
            log_degree: 5,
            squarings: 3,
            digit_limbs: 6,
            ..NINE_LEVELS
        },
    ),
    // Levels of 35 bits and primes of 44: for circuits that want less precision, of which a level costs least.
    (
        "2p16_17",
        BootstrapRequest {
            log_scale: 35,
            base_bits: 45,
            prime_bits: 44,
            levels: 17,
            to_slots: 4,
            ratio_bits: 6,
            ..NINE_LEVELS
        },
    ),
    // Smaller primes: 15 bits of precision in the mean, 12 in the worst slot.
    (
        "2p15",
        BootstrapRequest {
            log_n: 15,
            log_scale: 35,
            base_bits: 45,
            prime_bits: 40,
            levels: 4,
            to_coefficients: 2,
            to_slots: 3,
            log_degree: 5,
            squarings: 3,
            ratio_bits: 6,
            digit_limbs: 3,
            ..NINE_LEVELS
        },
    ),
    // 2^12 slots: two factors are enough down to coefficients; back, four factors of three layers.
    (
        "2p16_sparse12",
        BootstrapRequest { sparse_log_slots: Some(12), to_coefficients: 2, to_slots: 4, ..NINE_LEVELS },
    ),
];
