//! Encoding, sums, products, rescaling and level changes.

use cipherloom_ckks::{Complex, Limbs};

use crate::harness::{SCALE, World, add, mul, scaled};

#[test]
fn every_slot_count_is_encoded_and_decoded() {
    let world = World::new(7, 3, 0);
    let encoder = world.context.encoder();
    for slots in [1, 2, 4, 8, 16, 32, 64] {
        let values = &world.values(slots as u64)[..slots];
        let plain = encoder.encode_complex(values, SCALE, Limbs(3), 0).unwrap();
        let poly = plain.poly().clone().into_coefficient(world.context.chain());
        for decoded_slots in [slots, world.context.slots()] {
            let found = encoder.decode_poly(&poly, SCALE, decoded_slots).unwrap();
            for (j, found) in found.iter().enumerate() {
                let expected = values[j % slots];
                assert!((found.re - expected.re).abs() < 1e-9 && (found.im - expected.im).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn large_coefficients_are_encoded_exactly_over_many_limbs() {
    let world = World::new(5, 3, 1);
    let encoder = world.context.encoder();
    // All slots equal: one coefficient, an integer beyond the primes.
    let value = (1u64 << 61) as f64 + 4096.0;
    let plain = encoder.encode(&[-value], 1.0, Limbs(3), 1).unwrap();
    for (i, limb) in world.context.chain().iter().chain(world.context.special()).enumerate() {
        let expected = limb.modulus().from_i64(-(value as i64));
        assert!(plain.poly().limb(i).iter().all(|&word| word == expected));
    }
    let poly = encoder.encode(&[-value], 1.0, Limbs(3), 0).unwrap();
    let poly = poly.poly().clone().into_coefficient(world.context.chain());
    assert_eq!(encoder.centred(&poly).unwrap()[0], -value);
}

#[test]
fn sums_and_plain_products_follow_the_slots() {
    for log_n in [5, 6, 8, 12] {
        let world = World::new(log_n, 3, 0);
        let (context, limbs) = (&world.context, Limbs(3));
        let (a, b) = (world.values(1), world.values(2));
        let (x, y) = (world.encrypt(&a, limbs), world.encrypt(&b, limbs));
        let plain = context.encoder().encode_complex(&b, SCALE, limbs, 0).unwrap();
        world.assert_slots(&context.add(&x, &y).unwrap(), SCALE, &add(&a, &b));
        world.assert_slots(&context.sub(&x, &y).unwrap(), SCALE, &add(&a, &scaled(&b, -1.0)));
        world.assert_slots(&context.neg(&x).unwrap(), SCALE, &scaled(&a, -1.0));
        world.assert_slots(&context.add_plain(&x, &plain).unwrap(), SCALE, &add(&a, &b));
        let product = context.mul_plain(&x, &plain).unwrap();
        world.assert_slots(&product, SCALE * SCALE, &mul(&a, &b));
        let rescaled = context.rescale(&product).unwrap();
        assert_eq!(rescaled.limbs(), Limbs(2));
        world.assert_slots(&rescaled, SCALE * SCALE / world.prime(2), &mul(&a, &b));
        world.assert_slots(&context.drop_to(&x, Limbs(1)).unwrap(), SCALE, &a);
        let tripled = context.mul_scalar(&x, -3.0).unwrap();
        world.assert_slots(&tripled, SCALE, &scaled(&a, -3.0));
    }
}

#[test]
fn ciphertext_products_follow_the_slots() {
    for log_n in [5, 7, 10] {
        let world = World::new(log_n, 4, 0);
        let (context, limbs) = (&world.context, Limbs(4));
        let values: Vec<_> = (0..4).map(|seed| world.values(seed)).collect();
        let x: Vec<_> = values.iter().map(|values| world.encrypt(values, limbs)).collect();
        let product = context.mul(&x[0], &x[1]).unwrap();
        assert_eq!(product.degree(), 2);
        world.assert_slots(&product, SCALE * SCALE, &mul(&values[0], &values[1]));
        let sum = context.sum_of_products(&[(&x[0], &x[1]), (&x[2], &x[3]), (&x[0], &x[0])]).unwrap();
        let products = [(0, 1), (2, 3), (0, 0)].map(|(i, j)| mul(&values[i], &values[j]));
        let expected = add(&add(&products[0], &products[1]), &products[2]);
        world.assert_slots(&sum, SCALE * SCALE, &expected);
        // Degrees 2 and 1 add; rescaling takes any degree.
        let mixed = context.sub(&x[0], &sum).unwrap();
        assert_eq!(mixed.degree(), 2);
        // The rounding of part 2 meets the square of the secret, whose coefficients are about sqrt(N).
        let (rescaled, scale) = (context.rescale(&product).unwrap(), SCALE * SCALE / world.prime(3));
        let error = world.error(&rescaled, scale, &mul(&values[0], &values[1]));
        assert!(error < 16.0 * libm::pow(context.n() as f64, 1.5) / scale);
    }
}

#[test]
fn adjust_reaches_the_scale_of_its_level() {
    let world = World::new(8, 4, 0);
    let a = world.values(3);
    let factor = 1u64 << 43;
    let adjusted = world.context.adjust(&world.encrypt(&a, Limbs(4)), factor, Limbs(2)).unwrap();
    assert_eq!(adjusted.limbs(), Limbs(2));
    world.assert_slots(&adjusted, SCALE * factor as f64 / world.prime(2), &a);
}

#[test]
fn rescaling_rounds_to_nearest() {
    // A trivial ciphertext: part 0 is the message, so the error is the rounding alone.
    let world = World::new(6, 2, 0);
    let (context, encoder) = (&world.context, world.context.encoder());
    let values: Vec<Complex> = world.values(9);
    let plain = encoder.encode_complex(&values, SCALE * SCALE / 4096.0, Limbs(2), 0);
    assert!(plain.is_err(), "coefficients of 68 bits do not fit a word");
    let plain = encoder.encode_complex(&values, SCALE * 4096.0, Limbs(2), 0).unwrap();
    let zero = cipherloom_ring::Poly::zero(context.degree(), 2);
    let trivial = cipherloom_ckks::Ciphertext::new(vec![plain.poly().clone(), zero]).unwrap();
    let rescaled = context.rescale(&trivial).unwrap();
    let centred = |poly: &cipherloom_ring::Poly<cipherloom_ring::Evaluation>| {
        encoder.centred(&poly.clone().into_coefficient(context.chain())).unwrap()
    };
    let (before, after) = (centred(trivial.part(0)), centred(rescaled.part(0)));
    for (before, after) in before.iter().zip(after) {
        assert!((before / world.prime(1) - after).abs() <= 0.5 + 1e-9);
    }
}
