//! Evaluation keys against their definition, and what must never be seen.

use crate::fixture::context;
use cipherloom_ckks::{
    Context, EvaluationKey, Gadget, GaloisElement, KeyShape, KeyTarget, Limbs, RotationStep,
};
use cipherloom_client::{ClientError, KeyGenerator, Randomness, SecretKey, decrypt, encrypt_secret};
use cipherloom_ring::{Automorphism, Limb};

/// The secret's residues in coefficient form, read off an encryption: `c_0 + c_1 s = e`, so decrypting `(0, 1)` gives s.
fn secret_words(context: &Context, secret: &SecretKey, limb: &Limb) -> Vec<u64> {
    let mut one = cipherloom_ring::Poly::zero(context.degree(), 1);
    one.limb_mut(0).fill(1);
    let zero = cipherloom_ring::Poly::zero(context.degree(), 1);
    let read = cipherloom_ckks::Ciphertext::new(vec![zero, one]).unwrap();
    let s = decrypt(context, secret, &read).unwrap();
    let from = context.limb(0).modulus();
    let mut out = vec![0; context.n()];
    for (out, s) in out.iter_mut().zip(s.limb(0)) {
        *out = limb.modulus().from_i64(from.center(*s));
    }
    limb.forward(&mut out);
    out
}

/// Largest centred coefficient of `b_j + a_j·s_to − w_j·s_from` over all digits and primes.
fn largest_error(context: &Context, secret: &SecretKey, key: &EvaluationKey) -> u64 {
    let basis = key.shape().basis(context);
    let special = &context.special()[..key.gadget().special_limbs];
    let mut largest = 0;
    for digit in 0..key.digits() {
        let range = key.gadget().digit_range(digit, key.limbs());
        for (i, limb) in basis.iter().enumerate() {
            let s = secret_words(context, secret, limb);
            let (from, to) = match key.target() {
                KeyTarget::Relinearization => {
                    let mut square = s.clone();
                    limb.mul(&mut square, &s);
                    (square, s)
                }
                KeyTarget::Galois(element) => {
                    let inverse = element.inverse(context.degree());
                    let mut moved = vec![0; context.n()];
                    Automorphism::new(context.degree(), inverse.0).unwrap().apply_evaluation(&s, &mut moved);
                    (s, moved)
                }
                KeyTarget::Encapsulation | KeyTarget::Decapsulation => {
                    unreachable!("the ephemeral secret is known to its generator alone")
                }
            };
            let mut rest = key.b(digit).limb(i).to_vec();
            limb.mul_add(&mut rest, key.a(digit).limb(i), &to);
            if range.contains(&i) {
                let q = limb.modulus();
                let p = special.iter().fold(1, |p, l| q.mul(p, q.reduce(l.modulus().value())));
                let mut gadget = from.clone();
                limb.mul_scalar(&mut gadget, p);
                limb.sub(&mut rest, &gadget);
            }
            limb.inverse(&mut rest);
            largest = rest.iter().map(|w| limb.modulus().center(*w).unsigned_abs()).fold(largest, u64::max);
        }
    }
    largest
}

#[test]
fn keys_satisfy_their_equation() {
    let context = context(10, 5, 3);
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let generator = KeyGenerator::new(&context, &secret).unwrap();
    let targets = [
        KeyTarget::Relinearization,
        KeyTarget::Galois(RotationStep(7).element(context.degree())),
        KeyTarget::Galois(GaloisElement::conjugation(context.degree())),
    ];
    for (target, (limbs, digit_limbs, special_limbs)) in
        targets.into_iter().flat_map(|t| [(5, 2, 3), (3, 1, 1), (4, 4, 2), (2, 5, 1)].map(|shape| (t, shape)))
    {
        let gadget = Gadget { digit_limbs, special_limbs };
        let shape = KeyShape { target, limbs: Limbs(limbs), gadget };
        let key = generator.evaluation_key(shape, &mut randomness).unwrap();
        let largest = largest_error(&context, &secret, &key);
        assert!((5..=41).contains(&largest), "{shape:?}: an error of {largest}");
    }
}

#[test]
fn impossible_keys_are_refused() {
    let context = context(10, 3, 1);
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let generator = KeyGenerator::new(&context, &secret).unwrap();
    let relinearization = KeyTarget::Relinearization;
    let even = KeyTarget::Galois(GaloisElement(4));
    let outside = KeyTarget::Galois(GaloisElement(2049));
    for (target, limbs, digit_limbs, special_limbs) in [
        (relinearization, 4, 1, 1),
        (relinearization, 0, 1, 1),
        (relinearization, 3, 0, 1),
        (relinearization, 3, 4, 1),
        (relinearization, 3, 1, 2),
        (relinearization, 3, 1, 0),
        (even, 3, 1, 1),
        (outside, 3, 1, 1),
    ] {
        let shape = KeyShape { target, limbs: Limbs(limbs), gadget: Gadget { digit_limbs, special_limbs } };
        let refused = generator.evaluation_key(shape, &mut randomness);
        assert!(matches!(refused, Err(ClientError::Key(_))), "{shape:?}");
    }
}

#[test]
fn secret_key_survives_its_payload() {
    let context = context(10, 2, 1);
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let mut bytes = Vec::new();
    secret.write(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 4 + 256);
    let read = SecretKey::read(&mut bytes.as_slice()).unwrap();
    let plaintext = context.encoder().encode(&[0.5], 1e9, Limbs(2), 0).unwrap();
    let sent = encrypt_secret(&context, &secret, &plaintext, &mut randomness).unwrap();
    let ciphertext = sent.expand(&context).unwrap();
    let with = |key| decrypt(&context, key, &ciphertext).unwrap();
    assert_eq!(with(&read), with(&secret));
    for length in 0..bytes.len() {
        assert!(SecretKey::read(&mut &bytes[..length]).is_err());
    }
    bytes[17] = 0xff;
    assert!(SecretKey::read(&mut bytes.as_slice()).is_err());
    bytes[..4].copy_from_slice(&40u32.to_le_bytes());
    assert!(SecretKey::read(&mut bytes.as_slice()).is_err());
}

#[test]
fn secrets_are_not_printed() {
    let context = context(4, 2, 1);
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    assert_eq!(format!("{secret:?} {randomness:?}"), "SecretKey(N = 16, ..) Randomness(..)");
    let gadget = Gadget { digit_limbs: 1, special_limbs: 1 };
    let shape = KeyShape { target: KeyTarget::Relinearization, limbs: Limbs(2), gadget };
    let generator = KeyGenerator::new(&context, &secret).unwrap();
    let key = generator.evaluation_key(shape, &mut randomness).unwrap();
    assert!(format!("{key:?}").ends_with("2 digits, 1536 bytes)"), "{key:?}");
}
