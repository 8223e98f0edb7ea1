//! What bootstrapping is made of: sums with products, the imaginary unit, constants, mod-raise, encapsulation.

use cipherloom_ckks::{
    Accumulation, CkksError, Complex, Gadget, KeyShape, KeyTarget, Limbs, RotationStep, Term, Unit,
};
use cipherloom_client::{KeyGenerator, Randomness, decrypt};

use crate::harness::{SCALE, World, add, mul, scaled};

const GADGET: Gadget = Gadget { digit_limbs: 1, special_limbs: 1 };

fn times_i(a: &[Complex]) -> Vec<Complex> {
    a.iter().map(|a| Complex { re: -a.im, im: a.re }).collect()
}

#[test]
fn sums_follow_the_slots() {
    let world = World::new(9, 3, 1);
    let context = &world.context;
    let values = [1, 2, 3].map(|seed| world.values(seed));
    // Operands of more limbs than the sum are used without the rest.
    let encrypt = |i: usize, limbs| world.encrypt(&values[i], Limbs(limbs));
    let (a, b, c) = (encrypt(0, 2), encrypt(1, 3), encrypt(2, 3));
    let scale = SCALE as i64;
    let sum = Accumulation {
        limbs: Limbs(2),
        product: Some((&a, &b, 2)),
        terms: vec![
            Term { value: &c, factor: 3 * scale, unit: Unit::One },
            Term { value: &b, factor: -2 * scale, unit: Unit::Imaginary },
        ],
    };
    let product = scaled(&mul(&values[0], &values[1]), 2.0);
    let terms = add(&scaled(&values[2], 3.0), &scaled(&times_i(&values[1]), -2.0));
    let expected = add(&product, &terms);
    let found = context.accumulate(&sum).unwrap();
    assert_eq!((found.degree(), found.limbs()), (2, Limbs(2)));
    world.assert_slots(&found, SCALE * SCALE, &expected);
    let linear = context.accumulate(&Accumulation { product: None, ..sum }).unwrap();
    assert_eq!(linear.degree(), 1);
    world.assert_slots(&linear, SCALE * SCALE, &terms);

    world.assert_slots(&context.mul_imaginary(&a).unwrap(), SCALE, &times_i(&values[0]));
    let shifted: Vec<_> = values[0].iter().map(|z| Complex { re: z.re - 0.5, ..*z }).collect();
    world.assert_slots(&context.add_scalar(&a, -scale / 2).unwrap(), SCALE, &shifted);

    let empty = Accumulation { limbs: Limbs(2), product: None, terms: vec![] };
    assert_eq!(context.accumulate(&empty).unwrap_err(), CkksError::Empty);
    let high = Accumulation { limbs: Limbs(3), product: Some((&a, &b, 1)), terms: vec![] };
    assert!(matches!(context.accumulate(&high), Err(CkksError::TooFewLimbs { have: 2, need: 3 })));
    let degree = Accumulation { limbs: Limbs(2), product: Some((&found, &b, 1)), terms: vec![] };
    assert!(matches!(context.accumulate(&degree), Err(CkksError::CiphertextDegree { .. })));
}

#[test]
fn raised_values_keep_the_message_and_bounded_multiples() {
    let world = World::new(9, 3, 1);
    let context = &world.context;
    let generator = KeyGenerator::new(context, &world.secret).unwrap();
    let mut randomness = Randomness::from_system().unwrap();
    let mut key = |target, limbs| {
        let shape = KeyShape { target, limbs: Limbs(limbs), gadget: GADGET };
        generator.evaluation_key(shape, &mut randomness).unwrap()
    };
    let (into, back) = (key(KeyTarget::Encapsulation, 1), key(KeyTarget::Decapsulation, 3));
    let small = context.encoder().encode_complex(&world.values(1), (1u64 << 30) as f64, Limbs(1), 0).unwrap();
    let fresh = cipherloom_client::encrypt_secret(
        context,
        &world.secret,
        &small,
        &mut Randomness::from_system().unwrap(),
    );
    let fresh = fresh.unwrap().expand(context).unwrap();
    let read = |a| context.encoder().centred(&decrypt(context, &world.secret, a).unwrap()).unwrap();

    let raised = context.raise(&context.encapsulate(&fresh, &into).unwrap(), Limbs(3)).unwrap();
    let raised = context.decapsulate(&raised, &back).unwrap();
    assert_eq!(raised.limbs(), Limbs(3));
    let mut nonzero = 0;
    for (raised, message) in read(&raised).into_iter().zip(read(&fresh)) {
        let multiple = ((raised - message) / world.prime(0)).round();
        // 32 coefficients of the ephemeral secret: at most 33/2 multiples. The uniform main secret would leave about 5 N^(1/2) / 6.
        assert!(multiple.abs() <= 16.0, "{multiple}");
        assert!((raised - message - multiple * world.prime(0)).abs() < 1e6);
        nonzero += usize::from(multiple != 0.0);
    }
    assert!(nonzero > context.n() / 4);

    assert!(matches!(context.raise(&raised, Limbs(3)), Err(CkksError::LimbMismatch { .. })));
    assert!(matches!(context.raise(&fresh, Limbs(4)), Err(CkksError::TooManyLimbs { .. })));
    assert!(matches!(context.raise(&fresh, Limbs(0)), Err(CkksError::TooFewLimbs { .. })));
    assert!(matches!(context.encapsulate(&fresh, &back), Err(CkksError::KeyTarget { .. })));
    let turn = world.rotation_key(RotationStep(1).0, Limbs(3), GADGET);
    assert!(matches!(context.decapsulate(&fresh, &turn), Err(CkksError::KeyTarget { .. })));
    assert!(context.rotate(&fresh, &into).is_err());
}
