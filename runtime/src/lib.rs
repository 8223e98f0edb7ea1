//! Evaluates verified circuits on CKKS ciphertexts; knows no secret key.
