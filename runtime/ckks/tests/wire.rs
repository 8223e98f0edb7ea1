//! Payload bytes and seed streams: round trips, pinned vectors, and bytes that are wrong in every way.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its data has failed")]

use cipherloom_ckks::seed::{Domain, Purpose, residue_bytes, uniform_limb};
use cipherloom_ckks::wire::{
    ciphertext_bytes, evaluation_key_bytes, expect_end, read_ciphertext, read_evaluation_key,
    read_public_key, seeded_ciphertext_bytes, write_ciphertext, write_evaluation_key, write_public_key,
    write_seeded_ciphertext,
};
use cipherloom_ckks::{
    Ciphertext, Context, EvaluationKey, Gadget, KeyShape, KeyTarget, Limbs, PublicKey, RotationStep, Seed,
    SeededCiphertext, WireError,
};
use cipherloom_client::{KeyGenerator, Randomness, SecretKey, encrypt_secret};
use cipherloom_ring::{Degree, Limb, Modulus, Path, is_prime};
use proptest::prelude::*;

const LOG_N: u32 = 5;

fn primes(bits: u32, count: usize) -> Vec<u64> {
    let two_n = 2u64 << LOG_N;
    (1..).map(|k| (1u64 << bits) - k * two_n + 1).filter(|q| is_prime(*q)).take(count).collect()
}

/// Primes of three widths, so that limbs are packed differently.
fn context() -> Context {
    let chain = [primes(49, 1), primes(30, 2)].concat();
    Context::new(LOG_N, &chain, &primes(57, 1), Path::best()).unwrap()
}

struct Samples {
    context: Context,
    seeded: SeededCiphertext,
    key: EvaluationKey,
    public: PublicKey,
}

fn samples() -> Samples {
    let context = context();
    let mut randomness = Randomness::from_system().unwrap();
    let secret = SecretKey::generate(context.degree(), &mut randomness);
    let generator = KeyGenerator::new(&context, &secret).unwrap();
    let plaintext = context.encoder().encode(&[0.5, -0.25], 1e6, Limbs(3), 0).unwrap();
    let seeded = encrypt_secret(&context, &secret, &plaintext, &mut randomness).unwrap();
    let target = KeyTarget::Galois(RotationStep(3).element(context.degree()));
    let gadget = Gadget { digit_limbs: 2, special_limbs: 1 };
    let key =
        generator.evaluation_key(KeyShape { target, limbs: Limbs(3), gadget }, &mut randomness).unwrap();
    let public = generator.public_key(Limbs(2), &mut randomness).unwrap();
    Samples { context, seeded, key, public }
}

/// Reads a whole payload and keeps nothing.
type Check = fn(&Context, &[u8]) -> Result<(), WireError>;

/// One payload of each kind: name, bytes, reader.
fn payloads(samples: &Samples) -> Vec<(&'static str, Vec<u8>, Check)> {
    let context = &samples.context;
    let full = samples.seeded.clone().expand(context).unwrap();
    let mut out: [Vec<u8>; 4] = Default::default();
    write_ciphertext(context, &full, &mut out[0]).unwrap();
    write_seeded_ciphertext(context, &samples.seeded, &mut out[1]).unwrap();
    write_evaluation_key(context, &samples.key, &mut out[2]).unwrap();
    write_public_key(context, &samples.public, &mut out[3]).unwrap();
    let ciphertext: Check = |context, mut bytes| {
        read_ciphertext(context, &mut bytes)?;
        expect_end(&mut bytes)
    };
    let evaluation: Check = |context, mut bytes| {
        read_evaluation_key(context, &mut bytes)?;
        expect_end(&mut bytes)
    };
    let public: Check = |context, mut bytes| {
        read_public_key(context, &mut bytes)?;
        expect_end(&mut bytes)
    };
    let names = ["full ciphertext", "seeded ciphertext", "evaluation key", "public key"];
    let checks = [ciphertext, ciphertext, evaluation, public];
    names.into_iter().zip(out).zip(checks).map(|((name, bytes), check)| (name, bytes, check)).collect()
}

#[test]
fn values_survive_their_payload() {
    let samples = samples();
    let context = &samples.context;
    let full = samples.seeded.clone().expand(context).unwrap();
    let payloads = payloads(&samples);
    assert_eq!(payloads[0].1.len(), ciphertext_bytes(context, Limbs(3), 2));
    assert_eq!(payloads[1].1.len(), seeded_ciphertext_bytes(context, Limbs(3)));
    assert_eq!(payloads[2].1.len(), evaluation_key_bytes(context, samples.key.shape()));
    for (_, bytes, _) in &payloads[..2] {
        assert_eq!(read_ciphertext(context, &mut bytes.as_slice()).unwrap(), full);
    }
    let key = read_evaluation_key(context, &mut payloads[2].1.as_slice()).unwrap();
    assert_eq!((key.shape(), key.seed()), (samples.key.shape(), samples.key.seed()));
    for digit in 0..2 {
        assert_eq!((key.a(digit), key.b(digit)), (samples.key.a(digit), samples.key.b(digit)));
    }
    let public = read_public_key(context, &mut payloads[3].1.as_slice()).unwrap();
    assert_eq!((public.a(), public.b()), (samples.public.a(), samples.public.b()));
}

#[test]
fn three_parts_survive() {
    let context = context();
    let part = |salt: u64| {
        let mut poly = cipherloom_ring::Poly::zero(context.degree(), 2);
        poly.as_mut_slice().iter_mut().enumerate().for_each(|(i, w)| *w = salt * 1000 + i as u64);
        poly
    };
    let product = Ciphertext::new(vec![part(1), part(2), part(3)]).unwrap();
    let mut bytes = Vec::new();
    write_ciphertext(&context, &product, &mut bytes).unwrap();
    assert_eq!(read_ciphertext(&context, &mut bytes.as_slice()).unwrap(), product);
}

#[test]
fn every_truncation_and_every_excess_is_refused() {
    let samples = samples();
    for (name, mut bytes, check) in payloads(&samples) {
        check(&samples.context, &bytes).unwrap();
        for length in 0..bytes.len() {
            let refused = check(&samples.context, &bytes[..length]);
            assert!(matches!(refused, Err(WireError::Truncated { .. })), "{name} cut at {length}");
        }
        bytes.push(0);
        let refused = check(&samples.context, &bytes);
        assert!(matches!(refused, Err(WireError::Trailing)), "{name} with a byte too many");
    }
}

#[test]
fn flipped_bits_never_panic_and_counts_are_checked() {
    let samples = samples();
    for (_, bytes, check) in payloads(&samples) {
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = check(&samples.context, &flipped);
        }
    }
    let context = &samples.context;
    let refuse = |bytes: &[u8]| read_ciphertext(context, &mut &*bytes).unwrap_err();
    assert!(matches!(refuse(&[3, 2, 1, 0]), WireError::OutOfRange { found: 3, .. }));
    assert!(matches!(refuse(&[1, 4, 1, 0]), WireError::OutOfRange { found: 4, .. }));
    assert!(matches!(refuse(&[2, 3, 1, 0]), WireError::OutOfRange { found: 3, .. }));
    assert!(matches!(refuse(&[1, 2, 0xff, 0xff]), WireError::OutOfRange { found: 65535, max: 3, .. }));
    let q = context.limb(0).modulus().value();
    let mut bytes = vec![1, 2, 1, 0];
    bytes.extend_from_slice(&q.to_le_bytes()[..7]);
    bytes.resize(ciphertext_bytes(context, Limbs(1), 2), 0);
    assert!(matches!(refuse(&bytes), WireError::NotReduced { word, .. } if word == q));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let context = context();
        let _ = read_ciphertext(&context, &mut bytes.as_slice());
        let _ = read_evaluation_key(&context, &mut bytes.as_slice());
        let _ = read_public_key(&context, &mut bytes.as_slice());
    }
}

fn vector_seed() -> Seed {
    Seed(std::array::from_fn(|i| i as u8))
}

const VECTOR_DOMAIN: Domain<'static> = Domain { purpose: Purpose::EvaluationKey, id: &[1, 2, 3], digit: 2 };

/// Primes and the first words of their stream. Of the candidates modulo 4294967681 nearly half are rejected.
const VECTORS: [(u64, [u64; 3]); 4] = [
    (257, [232, 201, 123]),
    (1_073_741_441, [1_035_431_720, 985_389_355, 360_038_327]),
    (4_294_967_681, [3_587_047_410, 2_001_350_068, 559_609_477]),
    (562_949_953_420_609, [229_898_039_425_847, 33_037_665_036_212, 291_071_357_082_904]),
];

/// Primes and the primitive roots of order 2N that evaluation form is built on.
const ROOTS: [(u64, u64); 2] = [(1_073_741_441, 490_914_661), (562_949_953_420_609, 149_780_173_598_949)];

/// The definition, one candidate at a time.
fn uniform_by_definition(q: &Modulus, count: usize) -> Vec<u64> {
    let mut hasher = blake3::Hasher::new_derive_key("cipherloom 2026 v0 uniform half of an evaluation key");
    hasher.update(&vector_seed().0);
    hasher.update(&[3, 0, 0, 0, 1, 2, 3, 2, 0, 0, 0]);
    hasher.update(&q.value().to_le_bytes());
    let mut stream = hasher.finalize_xof();
    let mut out = Vec::new();
    while out.len() < count {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes[..residue_bytes(q)]);
        let candidate = u64::from_le_bytes(bytes) % (1 << q.bits());
        if candidate < q.value() {
            out.push(candidate);
        }
    }
    out
}

#[test]
fn streams_match_their_definition_and_vectors() {
    let found = VECTORS.map(|(q, _)| {
        let modulus = Modulus::new(q).unwrap();
        let mut words = vec![0; 1 << 13];
        uniform_limb(&vector_seed(), &VECTOR_DOMAIN, &modulus, &mut words);
        assert_eq!(words, uniform_by_definition(&modulus, words.len()), "q = {q}");
        (q, [words[0], words[1], words[2]])
    });
    assert_eq!(found, VECTORS);
}

#[test]
fn every_name_has_its_own_stream() {
    let [first_prime, other_prime] = [0, 1].map(|k| Modulus::new(primes(49, 2)[k]).unwrap());
    let draw = |seed, domain, modulus: &Modulus| {
        let mut words = vec![0; 4];
        uniform_limb(seed, &domain, modulus, &mut words);
        words
    };
    let (seed, domain) = (vector_seed(), VECTOR_DOMAIN);
    let first = draw(&seed, domain, &first_prime);
    for other in [
        draw(&Seed([7; 32]), domain, &first_prime),
        draw(&seed, Domain { purpose: Purpose::PublicKey, ..domain }, &first_prime),
        draw(&seed, Domain { purpose: Purpose::Ciphertext, ..domain }, &first_prime),
        draw(&seed, Domain { id: &[1, 2], ..domain }, &first_prime),
        draw(&seed, Domain { digit: 3, ..domain }, &first_prime),
        draw(&seed, domain, &other_prime),
    ] {
        assert_ne!(first, other);
    }
}

/// Words on the wire are values at the powers of one root in one order: word j at root^(2·reverse(j) + 1).
#[test]
fn transform_order_and_root_are_pinned() {
    let degree = Degree::new(LOG_N).unwrap();
    let found = ROOTS.map(|(q, _)| (q, Limb::new(degree, q, Path::Scalar).unwrap().root()));
    assert_eq!(found, ROOTS);
    for (q, root) in ROOTS {
        let limb = Limb::new(degree, q, Path::Scalar).unwrap();
        let mut x = vec![0; degree.n()];
        x[1] = 1;
        limb.forward(&mut x);
        for (j, word) in x.iter().enumerate() {
            let reversed = (j as u64).reverse_bits() >> (64 - LOG_N);
            assert_eq!(*word, limb.modulus().pow(root, 2 * reversed + 1), "q = {q}, word {j}");
        }
    }
}
