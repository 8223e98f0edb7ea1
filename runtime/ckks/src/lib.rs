//! Leveled RNS-CKKS: parameters, ciphertexts, evaluation keys and evaluation; knows no secret key.
