//! Cipherloom: CNNs on encrypted images.
