//! Modular arithmetic and number-theoretic transforms over word-sized primes.
