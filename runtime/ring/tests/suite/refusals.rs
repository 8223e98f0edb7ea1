//! What the crate refuses, and what it says.

use std::sync::Arc;

use cipherloom_ring::{Automorphism, BaseConversion, Degree, Limb, Modulus, Path, RingError, Wide, is_prime};

use crate::definition::*;

#[test]
fn degrees_outside_the_range() {
    for log_n in [0, 3, 18, 64, u32::MAX] {
        assert_eq!(Degree::new(log_n), Err(RingError::DegreeOutOfRange { log_n, min: 4, max: 17 }));
    }
    let degree = Degree::new(17).expect("the largest degree");
    assert_eq!((degree.log_n(), degree.n()), (17, 131_072));
}

#[test]
fn moduli_that_are_composite_large_or_in_the_gap() {
    for q in [0, 1, 2, 4, 9, 561, 97 * 193, (1 << 49) + 1, prime_below(1 << 30, 4) * 97] {
        assert_eq!(Modulus::new(q), Err(RingError::NotPrime { q }));
    }
    for q in [1 << 60, (1 << 60) + 33, u64::MAX] {
        assert_eq!(Modulus::new(q), Err(RingError::ModulusTooLarge { q, bits_max: 60 }));
    }
    for q in [1 << 50, (1 << 51) - 129, prime_below(1 << 51, 4)] {
        let error = Modulus::new(q).expect_err("the gap");
        assert_eq!(error, RingError::ModulusInGap { q });
        assert!(error.to_string().contains(&q.to_string()), "{error}");
    }
}

#[test]
fn limbs_without_root_or_path() {
    let q = prime_below(1 << 40, 4);
    let two_n = 1 << 18;
    assert!(!(q - 1).is_multiple_of(two_n), "the example prime suits small degrees only");
    let error = Limb::new(degree(17), q, Path::Scalar).expect_err("no root");
    assert_eq!(error, RingError::NoRootOfUnity { q, two_n });
    for path in Path::ALL {
        let limb = Limb::new(degree(4), q, path);
        assert_eq!(limb.is_ok(), Path::available().contains(&path));
        if let Err(error) = limb {
            assert_eq!(error, RingError::PathUnavailable { path });
        }
    }
    assert!(Path::available().contains(&Path::best()));
    let large = Limb::new(degree(4), prime_below(1 << 60, 4), Path::best()).expect("a large prime");
    assert_eq!(large.path(), Path::Scalar);
}

#[test]
fn galois_elements_that_are_even_or_large() {
    for element in [0, 2, 32, 33, u64::MAX] {
        let error = Automorphism::new(degree(4), element).expect_err("not a Galois element");
        assert_eq!(error, RingError::GaloisElement { element, two_n: 32 });
    }
}

#[test]
fn bases_that_repeat_mix_degrees_or_are_empty() {
    let limb = |log_n, q| Arc::new(Limb::new(degree(log_n), q, Path::Scalar).expect("a good prime"));
    let (a, b) = (limb(4, prime_below(1 << 40, 5)), limb(5, prime_below(1 << 30, 5)));
    let error =
        |from: &[Arc<Limb>], to: &[Arc<Limb>]| BaseConversion::new(from, to).expect_err("a bad basis");
    let q = a.modulus().value();
    assert_eq!(error(&[a.clone(), a.clone()], &[]), RingError::RepeatedPrime { q });
    assert_eq!(
        error(std::slice::from_ref(&a), std::slice::from_ref(&b)),
        RingError::DegreeMismatch { left: 16, right: 32 }
    );
    assert_eq!(error(&[], &[a]), RingError::BasisLength { count: 0, max: 64 });
    let many = vec![b; 65];
    assert_eq!(error(&many, &[]), RingError::BasisLength { count: 65, max: 64 });
}

#[test]
#[should_panic(expected = "a wide sum belongs to one prime")]
fn wide_sums_of_two_primes() {
    let limb = |below| Limb::new(degree(4), prime_below(below, 4), Path::Scalar).expect("a good prime");
    let mut wide = Wide::zeroed(16);
    limb(1 << 40).accumulate(&mut wide, &[1; 16], &[1; 16]);
    limb(1 << 30).accumulate(&mut wide, &[1; 16], &[1; 16]);
}

#[test]
fn primality_of_known_numbers() {
    let small: Vec<u64> = (0..60).filter(|&n| is_prime(n)).collect();
    assert_eq!(small, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]);
    assert!(is_prime(18_446_744_073_709_551_557));
    // Strong pseudoprimes to the bases 2, 3, 5, 7 and to the first nine primes.
    assert!(!is_prime(3_215_031_751) && !is_prime(3_825_123_056_546_413_051));
}
