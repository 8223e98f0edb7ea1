//! Statistics of the samplers. Bounds are six standard deviations or more: a true sampler fails once in 10^8 runs.

use cipherloom_client::Randomness;
use cipherloom_client::sample::{ERROR_MAX, gaussian_poly, residues, sparse_ternary_poly, ternary_poly};

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
fn sparse_secrets_have_their_weight_anywhere() {
    const N: usize = 64;
    const WEIGHT: usize = 5;
    const DRAWS: usize = 1 << 14;
    let mut randomness = Randomness::from_system().unwrap();
    let mut places = [0usize; N];
    let mut positive = 0;
    for _ in 0..DRAWS {
        let drawn = sparse_ternary_poly(&mut randomness, N, WEIGHT);
        assert!(drawn.iter().all(|d| (-1..=1).contains(d)));
        assert_eq!(drawn.iter().filter(|d| **d != 0).count(), WEIGHT);
        places.iter_mut().zip(drawn.iter()).for_each(|(place, d)| *place += usize::from(*d != 0));
        positive += drawn.iter().filter(|d| **d == 1).count();
    }
    let share = WEIGHT as f64 / N as f64;
    let bound = 6.5 * (DRAWS as f64 * share * (1.0 - share)).sqrt();
    for (i, place) in places.iter().enumerate() {
        assert!((*place as f64 - DRAWS as f64 * share).abs() < bound, "place {i}: {place}");
    }
    let half = (DRAWS * WEIGHT) as f64 / 2.0;
    assert!((positive as f64 - half).abs() < 6.0 * (half / 2.0).sqrt(), "{positive} of {half} positive");
    assert!(sparse_ternary_poly(&mut randomness, 4, 9).iter().all(|d| *d != 0));
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
