//! The only crate that knows a secret key: key generation, encryption, decryption.
