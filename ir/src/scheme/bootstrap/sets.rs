//! The parameter sets of docs/bootstrapping.md, by name. Benches measure them; a test holds each against its security bounds.

use super::BootstrapRequest;

/// N = 2^16, at least nine levels of 40 bits.
const NINE_LEVELS: BootstrapRequest = BootstrapRequest {
    log_n: 16,
    sparse_log_slots: None,
    log_scale: 40,
    base_bits: 50,
    prime_bits: 50,
    levels: 9,
    to_coefficients: 3,
    to_slots: 3,
    log_degree: 4,
    squarings: 5,
    ratio_bits: 7,
    digit_limbs: 9,
};

/// Name and request of each set.
pub const BOOTSTRAP_SETS: [(&str, BootstrapRequest); 4] = [
    ("2p16_9", NINE_LEVELS),
    // One level less for the reduction.
    ("2p16_14", BootstrapRequest { levels: 14, log_degree: 5, squarings: 3, digit_limbs: 8, ..NINE_LEVELS }),
    // Smaller primes: 14 bits of precision are asked for.
    (
        "2p15",
        BootstrapRequest {
            log_n: 15,
            log_scale: 35,
            base_bits: 45,
            prime_bits: 43,
            levels: 4,
            to_coefficients: 2,
            to_slots: 2,
            log_degree: 5,
            squarings: 3,
            digit_limbs: 3,
            ..NINE_LEVELS
        },
    ),
    // 2^12 slots: two factors are enough down to coefficients; back, four factors of three layers have the fewest products and key bytes.
    (
        "2p16_sparse12",
        BootstrapRequest {
            sparse_log_slots: Some(12),
            to_coefficients: 2,
            to_slots: 4,
            digit_limbs: 10,
            ..NINE_LEVELS
        },
    ),
];
