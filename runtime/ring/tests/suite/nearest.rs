//! The nearest form of base conversion, on every path: exact fractions of `Q`, both sides of its half, the ends of all words.
//!
//! `x = (a Q + c) / b` is known modulo every prime without long integers: `c / b` modulo those of the basis.

use std::sync::Arc;

use cipherloom_ring::{BaseConversion, Limb, Path};

use crate::definition::*;

const LOG_N: u32 = 5;
const N: usize = 1 << LOG_N;

fn inverse(a: u64, q: u64) -> u64 {
    pow(a % q, q - 2, q)
}

/// `a` modulo `q`.
fn residue(a: i64, q: u64) -> u64 {
    a.rem_euclid(q as i64) as u64
}

/// Distinct primes, `count` of each of these lengths in turn.
fn basis(count: usize, bits: &[u32]) -> Vec<u64> {
    let mut primes: Vec<u64> = Vec::new();
    for i in 0..count {
        let bits = bits[i % bits.len()];
        let below = primes.iter().copied().filter(|q| q.ilog2() == bits - 1).min().unwrap_or(1 << bits);
        primes.push(prime_below(below, LOG_N));
    }
    primes
}

fn limbs(primes: &[u64], path: Path) -> Vec<Arc<Limb>> {
    let limb = |&q: &u64| Arc::new(Limb::new(degree(LOG_N), q, path).expect("test numbers are valid"));
    primes.iter().map(limb).collect()
}

/// Residues modulo each target of what the residues `x` modulo each source are converted to.
fn nearest(sources: &[u64], targets: &[u64], path: Path, x: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let base = BaseConversion::new(&limbs(sources, path), &limbs(targets, path)).expect("a conversion");
    let mut scaled = x.to_vec();
    scaled.iter_mut().enumerate().for_each(|(i, words)| base.scale_input_nearest(i, words));
    let mut quotients = vec![vec![u64::MAX; N]; base.quotient_limbs()];
    let views: Vec<&[u64]> = scaled.iter().map(|words| &words[..]).collect();
    quotients.iter_mut().for_each(|out| base.quotients(&views, out));
    let views: Vec<&[u64]> = scaled.iter().chain(&quotients).map(|words| &words[..]).collect();
    let mut results = vec![vec![u64::MAX; N]; targets.len()];
    let mut outs: Vec<_> = results.iter_mut().map(|out| &mut out[..]).enumerate().collect();
    base.convert_nearest(&views, &mut outs);
    results
}

/// Sources of every range, as many as one pass of the vector kernels takes, and more.
fn bases() -> impl Iterator<Item = Vec<u64>> {
    let counts = [1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 23, 24, 25, 63];
    let lengths: [&[u32]; 6] = [&[50], &[50, 49, 30], &[40, 50], &[29, 60, 45], &[60], &[20, 28, 50]];
    counts.into_iter().flat_map(move |count| lengths.map(|bits| basis(count, bits)))
}

fn targets() -> Vec<u64> {
    vec![
        prime_from(1 << 48, LOG_N),
        prime_from(0, LOG_N),
        prime_from(1 << 51, LOG_N),
        prime_from(1 << 40, LOG_N),
    ]
}

fn product(primes: &[u64], p: u64) -> u64 {
    primes.iter().fold(1, |product, q| mul(product, q % p, p))
}

/// Of each `(a, b, c)` the residues of `(a Q + c) / b` modulo each prime of the basis, or of another `p`.
fn fractions(primes: &[u64], p: Option<u64>, cases: &[(i64, u64, i64)]) -> Vec<u64> {
    let value = |&(a, b, c): &(i64, u64, i64), p: u64| {
        let sum = mul(residue(a, p), product(primes, p), p) + residue(c, p);
        mul(sum % p, inverse(b, p), p)
    };
    match p {
        Some(p) => cases.iter().map(|case| value(case, p)).collect(),
        None => primes.iter().flat_map(|q| cases.iter().map(|case| value(case, *q))).collect(),
    }
}

/// The case `a / b`, with the `c` next to `shift` that makes it an integer.
fn integer(primes: &[u64], a: i64, b: u64, shift: i64) -> (i64, u64, i64) {
    let rest = mul(residue(a, b), product(primes, b), b) as i64 + shift;
    (a, b, shift - rest.rem_euclid(b as i64))
}

#[test]
fn fractions_of_the_product_become_their_centred_representatives() {
    for primes in bases() {
        // 504/1009 is 2^-11 below the half, and sums fall short by 3 63 2^-20 at most.
        let (b, edge) = (1009, 504);
        let numerators = (-8..8).chain(edge - 7..=edge).chain(-edge..8 - edge);
        let cases: Vec<_> = numerators.map(|a| integer(&primes, a, b, a % 3)).collect();
        let x: Vec<Vec<u64>> = fractions(&primes, None, &cases).chunks(N).map(<[u64]>::to_vec).collect();
        for path in Path::available() {
            let results = nearest(&primes, &targets(), path, &x);
            for (p, found) in targets().into_iter().zip(results) {
                assert_eq!(
                    found,
                    fractions(&primes, Some(p), &cases),
                    "{path}: {} sources to {p}",
                    primes.len()
                );
            }
        }
    }
}

#[test]
fn next_to_half_the_product_every_path_takes_the_same_side() {
    for primes in bases() {
        let cases: Vec<_> = (0..N as i64).map(|k| integer(&primes, 1, 2, 2 * k - N as i64)).collect();
        let other: Vec<_> = cases.iter().map(|(a, b, c)| (a - *b as i64, *b, *c)).collect();
        let x: Vec<Vec<u64>> = fractions(&primes, None, &cases).chunks(N).map(<[u64]>::to_vec).collect();
        let results: Vec<_> =
            Path::available().into_iter().map(|path| nearest(&primes, &targets(), path, &x)).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{} sources", primes.len());
        let sides: Vec<[bool; 2]> = (0..N)
            .map(|at| {
                [&cases, &other].map(|side| {
                    targets()
                        .iter()
                        .zip(&results[0])
                        .all(|(p, found)| found[at] == fractions(&primes, Some(*p), &side[at..=at])[0])
                })
            })
            .collect();
        assert!(sides.iter().all(|[above, below]| above != below), "{} sources", primes.len());
        // One source has no quotients: it is exact.
        assert!(primes.len() > 1 || sides.iter().zip(&cases).all(|(side, case)| side[0] == (case.2 < 0)));
    }
}

#[test]
fn words_at_their_ends_are_as_many_quotients() {
    for primes in bases().filter(|primes| primes.len() > 1) {
        let count = primes.len();
        let random = residues(N * count, 2, 1);
        let high = |i: usize, at: usize| match at {
            0 => true,
            1 => false,
            _ => random[N * i + at] == 1,
        };
        let words = |i: usize| (0..N).map(|at| if high(i, at) { primes[i] - 1 } else { 0 }).collect();
        let scaled: Vec<Vec<u64>> = (0..count).map(words).collect();
        let many: Vec<u64> = (0..N).map(|at| (0..count).filter(|i| high(*i, at)).count() as u64).collect();
        for path in Path::available() {
            let base = BaseConversion::new(&limbs(&primes, path), &limbs(&targets(), path)).expect("a basis");
            let mut quotients = vec![u64::MAX; N];
            base.quotients(&scaled.iter().map(|words| &words[..]).collect::<Vec<_>>(), &mut quotients);
            assert_eq!(quotients, many, "{path}: {count} sources");
            let sources: Vec<&[u64]> = scaled.iter().chain([&quotients]).map(|words| &words[..]).collect();
            for (target, p) in targets().into_iter().enumerate() {
                // (q_i - 1) Q/q_i - Q = -Q/q_i.
                let others = |i: usize| product(&[&primes[..i], &primes[i + 1..]].concat(), p);
                let sum =
                    |at: usize| (0..count).filter(|i| high(*i, at)).fold(0, |sum, i| (sum + others(i)) % p);
                let wanted: Vec<u64> = (0..N).map(|at| (p - sum(at)) % p).collect();
                let mut found = vec![u64::MAX; N];
                base.convert_nearest(&sources, &mut [(target, &mut found)]);
                assert_eq!(found, wanted, "{path}: {count} sources to {p}");
            }
        }
    }
}
