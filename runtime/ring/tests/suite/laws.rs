//! Laws on random numbers: ring laws, transforms, automorphisms, single residues.

use cipherloom_ring::{Automorphism, Limb, Modulus, Path};
use proptest::prelude::*;

use crate::definition::*;

const LOG_N: u32 = 5;
const N: usize = 1 << LOG_N;

fn prime() -> impl Strategy<Value = u64> {
    prop_oneof![(12u32..50), (51u32..60)]
        .prop_flat_map(|bits| (1u64 << bits)..(1 << (bits + 1)))
        .prop_map(|from| prime_from(from - from / 3, LOG_N))
}

fn path() -> impl Strategy<Value = Path> {
    prop::sample::select(Path::available())
}

fn words() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![4 => any::<u64>(), 1 => Just(0), 1 => Just(1), 1 => Just(u64::MAX)], N)
}

/// A limb and three operands reduced to its prime; `u64::MAX` becomes `q - 1`.
fn operands() -> impl Strategy<Value = (Limb, [Vec<u64>; 3])> {
    (prime(), path(), [words(), words(), words()]).prop_map(|(q, path, words)| {
        let limb = Limb::new(degree(LOG_N), q, path).expect("the prime suits the degree");
        let reduce = |x: u64| if x == u64::MAX { q - 1 } else { x % q };
        (limb, words.map(|words| words.into_iter().map(reduce).collect()))
    })
}

fn with(a: &[u64], op: impl Fn(&mut [u64])) -> Vec<u64> {
    let mut out = a.to_vec();
    op(&mut out);
    out
}

proptest! {
    #[test]
    fn ring_laws((limb, [a, b, c]) in operands()) {
        let add = |x: &[u64], y: &[u64]| with(x, |x| limb.add(x, y));
        let mul = |x: &[u64], y: &[u64]| with(x, |x| limb.mul(x, y));
        prop_assert_eq!(add(&a, &b), add(&b, &a));
        prop_assert_eq!(add(&add(&a, &b), &c), add(&a, &add(&b, &c)));
        prop_assert_eq!(mul(&a, &b), mul(&b, &a));
        prop_assert_eq!(mul(&mul(&a, &b), &c), mul(&a, &mul(&b, &c)));
        prop_assert_eq!(mul(&add(&a, &b), &c), add(&mul(&a, &c), &mul(&b, &c)));
        prop_assert_eq!(with(&add(&a, &b), |x| limb.sub(x, &b)), a.clone());
        prop_assert_eq!(add(&a, &with(&a, |x| limb.neg(x))), vec![0; N]);
        prop_assert_eq!(with(&c, |acc| limb.mul_add(acc, &a, &b)), add(&c, &mul(&a, &b)));
        let mut sum = vec![0; N];
        limb.sum_of_products(&mut sum, &[(&a, &b), (&b, &c), (&c, &a)]);
        prop_assert_eq!(sum, add(&add(&mul(&a, &b), &mul(&b, &c)), &mul(&c, &a)));
    }

    #[test]
    fn transforms_are_ring_isomorphisms((limb, [a, b, _]) in operands()) {
        let forward = |x: &[u64]| with(x, |x| limb.forward(x));
        let inverse = |x: &[u64]| with(x, |x| limb.inverse(x));
        let q = limb.modulus().value();
        prop_assert_eq!(forward(&a), evaluate(&a, limb.root(), q));
        prop_assert_eq!(inverse(&forward(&a)), a.clone());
        prop_assert_eq!(forward(&inverse(&a)), a.clone());
        let product = with(&forward(&a), |x| limb.mul(x, &forward(&b)));
        prop_assert_eq!(inverse(&product), negacyclic(&a, &b, q));
    }

    #[test]
    fn automorphisms_compose((limb, [a, _, _]) in operands(), g in 0..N as u64, h in 0..N as u64, path in path()) {
        let (g, h) = (2 * g + 1, 2 * h + 1);
        let apply = |g: u64, x: &[u64]| {
            let automorphism = Automorphism::with_path(degree(LOG_N), g, path).expect("odd and below 2N");
            let mut out = vec![0; N];
            automorphism.apply_evaluation(x, &mut out);
            out
        };
        prop_assert_eq!(apply(h, &apply(g, &a)), apply(g * h % (2 * N as u64), &a));
        let coefficients = with(&a, |x| limb.inverse(x));
        let mut image = vec![0; N];
        let automorphism = Automorphism::new(degree(LOG_N), g).expect("odd and below 2N");
        automorphism.apply_coefficient(limb.modulus(), &coefficients, &mut image);
        prop_assert_eq!(with(&image, |x| limb.forward(x)), apply(g, &a));
    }

    #[test]
    fn residues_follow_integers(q in prime(), a in any::<u64>(), b in any::<u64>(), wide in any::<u128>(), s in any::<i64>()) {
        let m = Modulus::new(q).expect("a prime");
        prop_assert_eq!(m.reduce(a), a % q);
        prop_assert_eq!(m.reduce_u128(wide), (wide % u128::from(q)) as u64);
        prop_assert_eq!(m.mul(a, b), mul(a, b, q));
        prop_assert_eq!(m.pow(a, b), pow(a % q, b, q));
        prop_assert_eq!(i128::from(m.from_i64(s)), i128::from(s).rem_euclid(i128::from(q)));
        prop_assert_eq!(m.from_i64(m.center(a % q)), a % q);
        prop_assert!(m.center(a % q).unsigned_abs() <= q / 2);
        let inverse = m.inv(a);
        prop_assert_eq!(inverse.map(|x| mul(x, a % q, q)), (a % q != 0).then_some(1));
    }
}
