//! Transforms: order, root, inverse, product theorem.

use crate::definition::*;
use cipherloom_ring::repeat_each;

#[test]
fn forward_is_evaluation_in_bit_reversed_order() {
    for log_n in [4, 5, 6, 8, 10] {
        for q in primes(log_n) {
            let a = residues(1 << log_n, q, 3);
            for limb in on_every_path(log_n, q) {
                let mut values = a.clone();
                limb.forward(&mut values);
                assert_eq!(values, evaluate(&a, limb.root(), q), "{limb:?}");
                limb.inverse(&mut values);
                assert_eq!(values, a, "{limb:?}");
            }
        }
    }
}

#[test]
fn every_degree_agrees_with_the_definition_at_a_few_indices() {
    for log_n in 4..=17 {
        for q in [prime_from(0, log_n), prime_below(1 << 50, log_n), prime_below(1 << 60, log_n)] {
            let n = 1usize << log_n;
            let a = residues(n, q, 5);
            for limb in on_every_path(log_n, q) {
                let mut values = a.clone();
                limb.forward(&mut values);
                for i in [0, 1, n / 2 - 1, n / 2 + 3, n - 1] {
                    let x = pow(limb.root(), 2 * reverse(i, log_n) as u64 + 1, q);
                    let value = a.iter().rev().fold(0, |sum, &c| (mul(sum, x, q) + c) % q);
                    assert_eq!(values[i], value, "{limb:?} at {i}");
                }
                limb.inverse(&mut values);
                assert_eq!(values, a, "{limb:?}");
            }
        }
    }
}

/// Our own transforms and the transform crate, which serves the other paths, index by index.
#[test]
fn every_degree_agrees_between_paths() {
    for log_n in 4..=16 {
        let lazy = (1 << 52) / (2 * u64::from(log_n) + 1);
        let small = [prime_from(0, log_n), prime_below(1 << 40, log_n), prime_below(lazy, log_n)];
        let large = [48, 49, 50].map(|bits| prime_below(1 << bits, log_n));
        for q in small.into_iter().chain([prime_from(lazy, log_n)]).chain(large) {
            let inputs = [residues(1 << log_n, q, 6), vec![q - 1; 1 << log_n]];
            let outputs = on_every_path(log_n, q).into_iter().map(|limb| {
                let mut all = [inputs.clone(), inputs.clone()].concat();
                all[..2].iter_mut().for_each(|a| limb.forward(a));
                all[2..].iter_mut().for_each(|a| limb.inverse(a));
                all
            });
            let outputs: Vec<_> = outputs.collect();
            assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "2^{log_n}, {q}");
        }
    }
}

#[test]
fn transforms_carry_extreme_inputs() {
    for log_n in [4, 7, 12, 15] {
        let n = 1usize << log_n;
        for q in primes(log_n) {
            for limb in on_every_path(log_n, q) {
                for a in
                    [vec![0; n], vec![q - 1; n], [0, q - 1].repeat(n / 2), [q - 1, 0, 0, q - 1].repeat(n / 4)]
                {
                    let mut values = a.clone();
                    limb.forward(&mut values);
                    assert!(values.iter().all(|&v| v < q), "{limb:?}");
                    limb.inverse(&mut values);
                    assert_eq!(values, a, "{limb:?}");
                    limb.inverse(&mut values);
                    limb.forward(&mut values);
                    assert_eq!(values, a, "{limb:?}");
                }
            }
        }
    }
}

#[test]
fn products_of_values_are_negacyclic_products() {
    for log_n in [4, 7] {
        for q in primes(log_n) {
            let (a, b) = (residues(1 << log_n, q, 1), residues(1 << log_n, q, 2));
            for limb in on_every_path(log_n, q) {
                let (mut x, mut y) = (a.clone(), b.clone());
                limb.forward(&mut x);
                limb.forward(&mut y);
                limb.mul(&mut x, &y);
                limb.inverse(&mut x);
                assert_eq!(x, negacyclic(&a, &b, q), "{limb:?}");
            }
        }
    }
}

/// The root and the order are part of the format of keys and ciphertexts: these numbers never change.
/// Per row: `log_n`, prime, root, and indices 0, 1 and N-1 of the transform of `0 + 1 X + 2 X^2 + ...`.
#[test]
fn root_and_order_are_pinned() {
    let vectors = [
        (4, 97, [51, 67, 20, 72]),
        (13, 1125899906826241, [971709613313032, 780625507991993, 755238513483617, 530121728667722]),
        (16, 1125899903827969, [169252693929443, 43333455704247, 1084214007338450, 1000119474604284]),
        (
            16,
            1152921504606584833,
            [987813353222176621, 926036477014572957, 1064829637839035377, 350964343532449440],
        ),
    ];
    for (log_n, q, expected) in vectors {
        for limb in on_every_path(log_n, q) {
            let mut a: Vec<u64> = (0..1 << log_n).map(|i| i % q).collect();
            limb.forward(&mut a);
            assert_eq!([limb.root(), a[0], a[1], a[a.len() - 1]], expected, "{limb:?}");
        }
    }
}

/// A polynomial in `X^(N/len)`: its coefficients at their places through the transform of the whole ring.
#[test]
fn values_of_a_subring_are_those_of_its_polynomial() {
    for log_n in [4, 7, 8, 12] {
        let n = 1usize << log_n;
        for q in primes(log_n) {
            for limb in on_every_path(log_n, q) {
                for log_len in log_n.min(7)..=log_n {
                    let len = 1usize << log_len;
                    for mut coefficients in [residues(len, q, 7), vec![q - 1; len]] {
                        let mut spread = vec![0; n];
                        spread.iter_mut().step_by(n / len).zip(&coefficients).for_each(|(out, &c)| *out = c);
                        limb.forward(&mut spread);
                        limb.forward_subring(&mut coefficients);
                        let mut values = vec![u64::MAX; n];
                        repeat_each(&coefficients, &mut values);
                        assert_eq!(values, spread, "{limb:?}, {len} coefficients");
                    }
                }
            }
        }
    }
}
