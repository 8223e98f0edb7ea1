//! Statistics of the samplers. Bounds are six standard deviations or more: a true sampler fails once in 10^8 runs.

use cipherloom_client::Randomness;
use cipherloom_client::sample::{ERROR_MAX, gaussian_poly, residues, ternary_poly};

const COUNT: usize = 1 << 20;
const SIGMA: f64 = 3.19;

#[test]
fn gaussian_frequencies() {
    let drawn = gaussian_poly(&mut Randomness::from_system().unwrap(), COUNT);
    let weight = |x: i32| (-f64::from(x * x) / (2.0 * SIGMA * SIGMA)).exp();
    let total: f64 = (-41..=41).map(weight).sum();
    for x in -41..=41 {
        let expected = COUNT as f64 * weight(x) / total;
        let found = drawn.iter().filter(|d| i32::from(**d) == x).count() as f64;
        let bound = 6.0 * expected.sqrt() + 4.0;
        assert!((found - expected).abs() < bound, "{x}: {found} drawn, {expected:.1} expected");
    }
    assert_eq!(ERROR_MAX, 41);
    let mean = drawn.iter().map(|d| f64::from(*d)).sum::<f64>() / COUNT as f64;
    assert!(mean.abs() < 6.0 * SIGMA / (COUNT as f64).sqrt(), "mean {mean}");
    let variance = drawn.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>() / COUNT as f64;
    assert!((variance / (SIGMA * SIGMA) - 1.0).abs() < 0.01, "variance {variance}");
}

#[test]
fn neighbouring_errors_are_uncorrelated() {
    let drawn = gaussian_poly(&mut Randomness::from_system().unwrap(), COUNT);
    for lag in 1..8 {
        let products = drawn.iter().zip(&drawn[lag..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
        let correlation = products.sum::<f64>() / (COUNT as f64 * SIGMA * SIGMA);
        assert!(correlation.abs() < 6.0 / (COUNT as f64).sqrt(), "lag {lag}: {correlation}");
    }
}

#[test]
fn ternary_frequencies() {
    let drawn = ternary_poly(&mut Randomness::from_system().unwrap(), COUNT);
    for x in -1..=1 {
        let found = drawn.iter().filter(|d| **d == x).count() as f64;
        let bound = 6.0 * (COUNT as f64 * 2.0 / 9.0).sqrt();
        assert!((found - COUNT as f64 / 3.0).abs() < bound, "{x}: {found}");
    }
    assert!(drawn.iter().all(|d| (-1..=1).contains(d)));
}

#[test]
fn residues_are_canonical() {
    let q = (1 << 40) - 87;
    let mut out = [0; 4];
    residues(&[-41, -1, 0, 41], q, &mut out);
    assert_eq!(out, [q - 41, q - 1, 0, 41]);
}

#[test]
fn streams_do_not_repeat() {
    let mut randomness = Randomness::from_system().unwrap();
    let mut fork = randomness.fork();
    let mut other = Randomness::from_system().unwrap();
    let seeds = [randomness.public_seed(), randomness.public_seed(), fork.public_seed(), other.public_seed()];
    for (i, a) in seeds.iter().enumerate() {
        assert!(seeds[i + 1..].iter().all(|b| a != b));
    }
}
