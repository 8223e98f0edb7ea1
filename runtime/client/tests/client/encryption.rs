//! Encryption and decryption: what comes back, and how large the error is.

use crate::fixture::{context, distance, slots};
use cipherloom_ckks::{Context, Limbs, Plaintext};
use cipherloom_client::{
    ClientError, KeyGenerator, Randomness, SecretKey, decrypt, decrypt_slots, encrypt_public, encrypt_secret,
};

const SCALE: f64 = (1u64 << 30) as f64;
const SIGMA: f64 = 3.19;

fn setup(log_n: u32) -> (Context, Randomness, SecretKey) {
    let context = context(log_n, 3, 1);
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    (context, randomness, secret)
}

/// Root of the mean square of the centred coefficients of decryptions of zero.
fn noise(context: &Context, secret: &SecretKey, ciphertext: &cipherloom_ckks::Ciphertext) -> f64 {
    let message = decrypt(context, secret, ciphertext).unwrap();
    let coefficients = context.encoder().centred(&message).unwrap();
    (coefficients.iter().map(|c| c * c).sum::<f64>() / context.n() as f64).sqrt()
}

fn zero(context: &Context) -> Plaintext {
    context.encoder().encode(&[0.0], SCALE, Limbs(2), 0).unwrap()
}

#[test]
fn secret_key_round_trip() {
    for log_n in [4, 10, 11, 12, 13] {
        let (context, mut randomness, secret) = setup(log_n);
        let values = slots(&context, 1);
        for limbs in 1..=3 {
            let plaintext = context.encoder().encode(&values, SCALE, Limbs(limbs), 0).unwrap();
            let sent = encrypt_secret(&context, &secret, &plaintext, &mut randomness).unwrap();
            let ciphertext = sent.expand(&context).unwrap();
            let back = decrypt_slots(&context, &secret, &ciphertext, SCALE).unwrap();
            // A slot error sums N Gaussian coefficients: σ √(N/2) per part; 8 of those are never reached.
            let bound = 8.0 * SIGMA * (context.n() as f64).sqrt() / SCALE;
            assert!(distance(&back, &values) < bound, "N = {}, {limbs} limbs", context.n());
        }
    }
}

#[test]
fn public_key_round_trip() {
    for log_n in [4, 10, 13] {
        let (context, mut randomness, secret) = setup(log_n);
        let generator = KeyGenerator::new(&context, &secret).unwrap();
        let key = generator.public_key(Limbs(3), &mut randomness).unwrap();
        let values = slots(&context, 2);
        let plaintext = context.encoder().encode(&values, SCALE, Limbs(2), 0).unwrap();
        let ciphertext = encrypt_public(&context, &key, &plaintext, &mut randomness).unwrap();
        let back = decrypt_slots(&context, &secret, &ciphertext, SCALE).unwrap();
        let bound = 8.0 * SIGMA * context.n() as f64 * 1.3 / SCALE;
        assert!(distance(&back, &values) < bound, "N = {}", context.n());
    }
}

#[test]
fn fresh_noise_follows_its_variance() {
    let (context, mut randomness, secret) = setup(12);
    let n = context.n() as f64;
    let sent = encrypt_secret(&context, &secret, &zero(&context), &mut randomness).unwrap();
    let ratio = noise(&context, &secret, &sent.expand(&context).unwrap()) / SIGMA;
    assert!((0.9..1.1).contains(&ratio), "secret-key noise is {ratio} of σ");
    let key = KeyGenerator::new(&context, &secret).unwrap().public_key(Limbs(3), &mut randomness).unwrap();
    let ciphertext = encrypt_public(&context, &key, &zero(&context), &mut randomness).unwrap();
    // e·v + e_0 + e_1·s: two products of N terms of variance σ²·2/3, and one σ².
    let expected = SIGMA * (4.0 / 3.0 * n + 1.0).sqrt();
    let ratio = noise(&context, &secret, &ciphertext) / expected;
    assert!((0.85..1.15).contains(&ratio), "public-key noise is {ratio} of its formula");
}

#[test]
fn encryptions_never_repeat() {
    let (context, mut randomness, secret) = setup(10);
    let plaintext = zero(&context);
    let first = encrypt_secret(&context, &secret, &plaintext, &mut randomness).unwrap();
    let second = encrypt_secret(&context, &secret, &plaintext, &mut randomness).unwrap();
    assert_ne!(first.seed, second.seed);
    assert_ne!(first.first, second.first);
}

#[test]
fn foreign_rings_and_levels_are_refused() {
    let (context, mut randomness, secret) = setup(10);
    let (other, mut other_randomness, other_secret) = setup(11);
    let refused = encrypt_secret(&other, &secret, &zero(&other), &mut randomness);
    assert!(matches!(refused, Err(ClientError::RingDegree { found: 1024, expected: 2048, .. })));
    let refused = encrypt_secret(&context, &secret, &zero(&other), &mut randomness);
    assert!(matches!(refused, Err(ClientError::RingDegree { found: 2048, expected: 1024, .. })));
    let foreign = encrypt_secret(&other, &other_secret, &zero(&other), &mut other_randomness).unwrap();
    let refused = decrypt(&context, &secret, &foreign.expand(&other).unwrap());
    assert!(matches!(refused, Err(ClientError::RingDegree { .. })));
    let key = KeyGenerator::new(&context, &secret).unwrap().public_key(Limbs(1), &mut randomness).unwrap();
    let refused = encrypt_public(&context, &key, &zero(&context), &mut randomness);
    assert!(matches!(refused, Err(ClientError::Limbs { found: 2, max: 1, .. })));
    let special = context.encoder().encode(&[0.0], SCALE, Limbs(1), 1).unwrap();
    assert!(encrypt_secret(&context, &secret, &special, &mut randomness).is_err());
}
