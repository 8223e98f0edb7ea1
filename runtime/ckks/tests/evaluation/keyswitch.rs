//! Relinearization, rotations, hoisting and extended values.

use cipherloom_ckks::{Ciphertext, Gadget, KeyTarget, Limbs};
use cipherloom_ring::Path;

use crate::harness::{SCALE, World, add, conjugated, mul, rotated};

/// Gadgets with one, several and all chain primes per digit; P exceeds a digit by at least 2^4.
const GADGETS: [Gadget; 4] = [
    Gadget { digit_limbs: 1, special_limbs: 1 },
    Gadget { digit_limbs: 2, special_limbs: 2 },
    Gadget { digit_limbs: 3, special_limbs: 3 },
    Gadget { digit_limbs: 5, special_limbs: 5 },
];

#[test]
fn rotations_move_slots_to_the_left() {
    for log_n in [5, 6, 7, 9, 12] {
        let world = World::new(log_n, 5, 5);
        let (context, slots) = (&world.context, world.context.slots());
        let a = world.values(1);
        for (gadget, step) in GADGETS.into_iter().zip([1, 2, slots - 1, slots / 2]) {
            let key = world.rotation_key(step as u32, Limbs(5), gadget);
            // A key serves its own number of limbs and fewer.
            for limbs in [5, 4, 1] {
                let x = world.encrypt(&a, Limbs(limbs));
                let turned = context.rotate(&x, &key).unwrap();
                world.assert_slots(&turned, SCALE, &rotated(&a, step));
                let hoisted = context.hoist(&x, gadget).unwrap();
                assert_eq!(context.rotate_hoisted(&hoisted, &x, &key).unwrap(), turned);
                let extended = context.rotate_extended(&hoisted, &x, &key).unwrap();
                world.assert_slots(&context.mod_down(&extended).unwrap(), SCALE, &rotated(&a, step));
            }
        }
    }
}

#[test]
fn conjugation_conjugates_every_slot() {
    let world = World::new(8, 3, 2);
    let a = world.values(1);
    let key = world.conjugation_key(Limbs(3), GADGETS[1]);
    let turned = world.context.conjugate(&world.encrypt(&a, Limbs(3)), &key).unwrap();
    world.assert_slots(&turned, SCALE, &conjugated(&a));
}

#[test]
fn relinearization_keeps_the_product() {
    for log_n in [5, 8, 10] {
        let world = World::new(log_n, 5, 5);
        let context = &world.context;
        let (a, b) = (world.values(1), world.values(2));
        for gadget in GADGETS {
            let key = world.key(KeyTarget::Relinearization, Limbs(5), gadget);
            for limbs in [5, 2] {
                let (x, y) = (world.encrypt(&a, Limbs(limbs)), world.encrypt(&b, Limbs(limbs)));
                let product = context.mul(&x, &y).unwrap();
                let linear = context.relinearize(&product, &key).unwrap();
                assert_eq!(linear.degree(), 1);
                world.assert_slots(&linear, SCALE * SCALE, &mul(&a, &b));
                let scale = SCALE * SCALE / world.prime(limbs - 1);
                let merged = context.relinearize_rescale(&product, &key).unwrap();
                assert_eq!(merged.limbs(), Limbs(limbs - 1));
                world.assert_slots(&merged, scale, &mul(&a, &b));
                world.assert_slots(&context.rescale(&linear).unwrap(), scale, &mul(&a, &b));
            }
        }
    }
}

#[test]
fn extended_values_sum_before_one_division() {
    let world = World::new(8, 4, 2);
    let (context, gadget, limbs) = (&world.context, GADGETS[1], Limbs(4));
    let (a, weights) = (world.values(1), [world.values(2), world.values(3)]);
    let x = world.encrypt(&a, limbs);
    let hoisted = context.hoist(&x, gadget).unwrap();
    let key = world.rotation_key(3, limbs, gadget);
    let turned = context.rotate_extended(&hoisted, &x, &key).unwrap();
    let still = context.extend(&x, 2).unwrap();
    let plain = |w| context.encoder().encode_complex(w, SCALE, limbs, 2).unwrap();
    let plains = [plain(&weights[0]), plain(&weights[1])];
    let sum = context.sum_of_products_extended(&[(&still, &plains[0]), (&turned, &plains[1])]).unwrap();
    let expected = add(&mul(&a, &weights[0]), &mul(&rotated(&a, 3), &weights[1]));
    world.assert_slots(&context.mod_down(&sum).unwrap(), SCALE * SCALE, &expected);
    let rescaled = context.mod_down_rescale(&sum).unwrap();
    world.assert_slots(&rescaled, SCALE * SCALE / world.prime(3), &expected);
}

fn rotated_squares(path: Path) -> Vec<Ciphertext> {
    let world = World::on_path(13, 5, 2, path);
    let context = &world.context;
    let (limbs, gadget) = (Limbs(5), GADGETS[1]);
    let x = world.encrypt(&world.values(1), limbs);
    let key = world.key(KeyTarget::Relinearization, limbs, gadget);
    let square = context.relinearize_rescale(&context.mul(&x, &x).unwrap(), &key).unwrap();
    let turned = context.rotate(&square, &world.rotation_key(5, limbs, gadget)).unwrap();
    vec![context.rescale(&turned).unwrap(), square, turned]
}

#[test]
fn every_path_gives_the_same_bits() {
    let expected = rotated_squares(Path::Scalar);
    for path in Path::available() {
        assert_eq!(rotated_squares(path), expected, "{path}");
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let results = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| rotated_squares(Path::best()))
    });
    assert!(results.iter().all(|result| *result == results[0]));
}
