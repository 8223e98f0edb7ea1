//! What does not fit is an error that names the numbers, never a panic.

use cipherloom_ckks::{Ciphertext, CkksError, Context, Gadget, KeyTarget, Limbs};
use cipherloom_ring::{Path, Poly};

use crate::harness::{SCALE, World, primes};

const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

#[test]
fn contexts_refuse_wrong_primes() {
    let chain = primes(5, 44, 2);
    assert_eq!(Context::new(5, &[], &chain, Path::Scalar).unwrap_err(), CkksError::EmptyChain);
    let repeated = Context::new(5, &chain, &chain[1..], Path::Scalar).unwrap_err();
    assert_eq!(repeated, CkksError::RepeatedPrime { q: chain[1] });
    assert!(matches!(Context::new(5, &[91], &[], Path::Scalar), Err(CkksError::Ring(_))));
    assert!(matches!(Context::new(25, &chain, &[], Path::Scalar), Err(CkksError::Ring(_))));
}

#[test]
fn encoding_refuses_what_does_not_fit() {
    let world = World::new(5, 2, 1);
    let encoder = world.context.encoder();
    let fails = |values: &[f64], scale, limbs| encoder.encode(values, scale, Limbs(limbs), 0).unwrap_err();
    assert_eq!(fails(&[1.0; 3], SCALE, 1), CkksError::SlotCount { slots: 3, max: 16 });
    assert_eq!(fails(&[], SCALE, 1), CkksError::SlotCount { slots: 0, max: 16 });
    assert_eq!(fails(&[1.0; 32], SCALE, 1), CkksError::SlotCount { slots: 32, max: 16 });
    assert_eq!(fails(&[1.0], SCALE, 0), CkksError::TooFewLimbs { have: 0, need: 1 });
    assert_eq!(fails(&[1.0], SCALE, 3), CkksError::TooManyLimbs { have: 3, max: 2 });
    assert_eq!(fails(&[1.0], -1.0, 1), CkksError::Scale { scale: -1.0 });
    assert!(matches!(fails(&[1.0], f64::NAN, 1), CkksError::Scale { .. }));
    assert!(matches!(fails(&[f64::NAN, 1.0], SCALE, 1), CkksError::Coefficient { .. }));
    assert!(matches!(fails(&[f64::INFINITY], SCALE, 1), CkksError::Coefficient { .. }));
    assert!(matches!(fails(&[1e30], SCALE, 1), CkksError::Coefficient { .. }));
}

#[test]
fn operands_must_match() {
    let world = World::new(5, 3, 2);
    let (context, a) = (&world.context, world.values(1));
    let (x, low) = (world.encrypt(&a, Limbs(3)), world.encrypt(&a, Limbs(1)));
    let mismatch = CkksError::LimbMismatch { left: 3, right: 1 };
    assert_eq!(context.add(&x, &low).unwrap_err(), mismatch);
    assert_eq!(context.mul(&x, &low).unwrap_err(), mismatch);
    assert_eq!(context.sum_of_products(&[]).unwrap_err(), CkksError::Empty);
    let plain = context.encoder().encode_complex(&a, SCALE, Limbs(2), 0).unwrap();
    assert!(matches!(context.mul_plain(&x, &plain), Err(CkksError::PlaintextBasis { .. })));
    assert!(matches!(context.add_plain(&x, &plain), Err(CkksError::PlaintextBasis { .. })));
    assert_eq!(context.rescale(&low).unwrap_err(), CkksError::TooFewLimbs { have: 1, need: 2 });
    assert_eq!(context.drop_to(&low, Limbs(2)).unwrap_err(), CkksError::TooFewLimbs { have: 1, need: 2 });
    assert_eq!(context.drop_to(&low, Limbs(0)).unwrap_err(), CkksError::TooFewLimbs { have: 1, need: 1 });
    assert_eq!(context.adjust(&x, 2, Limbs(3)).unwrap_err(), CkksError::TooFewLimbs { have: 3, need: 4 });
    assert!(matches!(context.adjust(&x, 2, Limbs(0)), Err(CkksError::TooFewLimbs { .. })));
    assert!(matches!(context.adjust(&x, 2, Limbs(usize::MAX)), Err(CkksError::TooFewLimbs { .. })));
    assert!(matches!(context.mul_scalar(&x, f64::NAN), Err(CkksError::Coefficient { .. })));
    let square = context.mul(&x, &x).unwrap();
    assert_eq!(context.mul(&square, &x).unwrap_err(), CkksError::CiphertextDegree { found: 2, expected: 1 });
    let other = World::new(6, 3, 2);
    let foreign = other.encrypt(&other.values(1), Limbs(3));
    assert_eq!(
        context.add(&foreign, &foreign).unwrap_err(),
        CkksError::RingDegree { found: 64, expected: 32 }
    );
    let long = Poly::zero(context.degree(), 4);
    let long = Ciphertext::new(vec![long.clone(), long]).unwrap();
    assert_eq!(context.neg(&long).unwrap_err(), CkksError::TooManyLimbs { have: 4, max: 3 });
    let short = Poly::zero(context.degree(), 1);
    assert!(Ciphertext::new(vec![short.clone()]).is_err());
    assert!(Ciphertext::new(vec![short, Poly::zero(context.degree(), 2)]).is_err());
}

#[test]
fn keys_must_match() {
    let world = World::new(5, 3, 3);
    let (context, a) = (&world.context, world.values(1));
    let x = world.encrypt(&a, Limbs(3));
    let square = context.mul(&x, &x).unwrap();
    let relinearization = world.key(KeyTarget::Relinearization, Limbs(3), GADGET);
    let short = world.rotation_key(1, Limbs(2), GADGET);
    let rotation = world.rotation_key(1, Limbs(3), GADGET);
    assert_eq!(context.rotate(&x, &short).unwrap_err(), CkksError::KeyLimbs { key: 2, value: 3 });
    assert!(matches!(context.rotate(&x, &relinearization), Err(CkksError::KeyTarget { .. })));
    assert!(matches!(context.conjugate(&x, &rotation), Err(CkksError::KeyTarget { .. })));
    assert!(matches!(context.relinearize(&square, &rotation), Err(CkksError::KeyTarget { .. })));
    assert!(matches!(context.relinearize(&x, &relinearization), Err(CkksError::CiphertextDegree { .. })));
    assert!(matches!(context.rotate(&square, &rotation), Err(CkksError::CiphertextDegree { .. })));
    let hoisted = context.hoist(&x, Gadget { digit_limbs: 3, special_limbs: 3 }).unwrap();
    assert!(matches!(context.rotate_hoisted(&hoisted, &x, &rotation), Err(CkksError::GadgetMismatch { .. })));
    let low = context.drop_to(&x, Limbs(2)).unwrap();
    let hoisted = context.hoist(&x, GADGET).unwrap();
    assert!(matches!(context.rotate_hoisted(&hoisted, &low, &rotation), Err(CkksError::LimbMismatch { .. })));
    for (digit_limbs, special_limbs) in [(0, 1), (1, 0), (1, 4)] {
        let gadget = Gadget { digit_limbs, special_limbs };
        assert_eq!(
            context.hoist(&x, gadget).unwrap_err(),
            CkksError::Gadget { digit_limbs, special_limbs, special: 3 }
        );
    }
    assert!(matches!(context.extend(&x, 4), Err(CkksError::TooManyLimbs { .. })));
}
