//! Pointwise kernels and wide sums against 128-bit remainders, for every prime range and path.

use cipherloom_ring::{Limb, Wide};

use crate::definition::*;

/// Runs `op` on fresh copies of operands full of edges and compares with `expected`, index by index.
fn check(op: impl Fn(&Limb, &mut [u64], &[u64], &[u64]), expected: impl Fn(u64, u64, u64, u64) -> u64) {
    for log_n in [4, 6] {
        let n = 1 << log_n;
        for q in primes(log_n) {
            for seed in 0..4 {
                let (a, b, c) =
                    (residues(n, q, seed), residues(n, q, seed + 1), residues(n, q, seed / 2 + 9));
                let right: Vec<u64> = (0..n).map(|i| expected(a[i], b[i], c[i], q)).collect();
                for limb in on_every_path(log_n, q) {
                    let mut out = a.clone();
                    op(&limb, &mut out, &b, &c);
                    assert_eq!(out, right, "{limb:?}");
                }
            }
        }
    }
}

#[test]
fn sums_differences_and_products() {
    check(|limb, a, b, _| limb.add(a, b), |a, b, _, q| (a + b) % q);
    check(|limb, a, b, _| limb.sub(a, b), |a, b, _, q| (a + q - b) % q);
    check(|limb, a, _, _| limb.neg(a), |a, _, _, q| (q - a) % q);
    check(|limb, a, b, _| limb.mul(a, b), |a, b, _, q| mul(a, b, q));
    check(|limb, a, b, c| limb.mul_add(a, b, c), |a, b, c, q| (a + mul(b, c, q)) % q);
}

#[test]
fn products_with_scalars() {
    for s in [0, 1, 2, 12345, 1 << 49, (1 << 60) - 1, u64::MAX] {
        check(|limb, a, _, _| limb.mul_scalar(a, s), |a, _, _, q| mul(a, s, q));
        check(|limb, a, b, _| limb.mul_scalar_add(a, b, s), |a, b, _, q| (a + mul(b, s, q)) % q);
        check(|limb, a, b, _| limb.sub_mul_scalar(a, b, s), |a, b, _, q| mul((a + q - b) % q, s, q));
    }
    check(|limb, a, _, _| limb.mul_scalar(a, limb.modulus().value() - 1), |a, _, _, q| (q - a) % q);
}

#[test]
fn every_product_of_edges() {
    for q in primes(4) {
        let edges = [0, 1, 2, 3, q / 3, q / 2 - 1, q / 2, q / 2 + 1, q - 3, q - 2, q - 1].map(|x| x % q);
        for limb in on_every_path(4, q) {
            for x in edges {
                let a: Vec<u64> = edges.iter().copied().chain([x; 5]).collect();
                let mut out = a.clone();
                limb.mul(&mut out, &[x; 16]);
                let right: Vec<u64> = a.iter().map(|&a| mul(a, x, q)).collect();
                assert_eq!(out, right, "{limb:?}");
            }
        }
    }
}

#[test]
fn lifts_from_another_prime_are_centred() {
    for q in primes(4) {
        for from in primes(4) {
            let a = residues(16, from, 1);
            let lift = |&a: &u64| {
                let a = if a > from / 2 { i128::from(a) - i128::from(from) } else { i128::from(a) };
                a.rem_euclid(i128::from(q)) as u64
            };
            let right: Vec<u64> = a.iter().map(lift).collect();
            for limb in on_every_path(4, q) {
                let mut out = vec![0; 16];
                limb.reduce_from(&mut out, &a, &modulus(from));
                assert_eq!(out, right, "{limb:?} from {from}");
            }
        }
    }
}

#[test]
fn sums_of_products_of_any_length() {
    let n = 16;
    for q in primes(4) {
        for len in [0, 1, 2, 127, 128, 129, 1023, 1024, 1025, 3000] {
            let pairs: Vec<_> = (0..len as u64)
                .map(|k| {
                    if len > 900 {
                        (vec![q - 1; n], vec![q - 1; n])
                    } else {
                        (residues(n, q, k), residues(n, q, k + 1))
                    }
                })
                .collect();
            let terms: Vec<(&[u64], &[u64])> = pairs.iter().map(|(a, b)| (&a[..], &b[..])).collect();
            let right: Vec<u64> =
                (0..n).map(|i| pairs.iter().fold(0, |sum, (a, b)| (sum + mul(a[i], b[i], q)) % q)).collect();
            for limb in on_every_path(4, q) {
                let mut out = vec![1; n];
                limb.sum_of_products(&mut out, &terms);
                assert_eq!(out, right, "{limb:?}, {len} terms");

                let (a, b): (Vec<&[u64]>, Vec<&[u64]>) = terms.iter().copied().unzip();
                let (mut first, mut second) = (vec![1; n], vec![1; n]);
                limb.pair_of_sums([&mut first, &mut second], &a, [&b, &b]);
                assert_eq!((&first, &second), (&right, &right), "{limb:?}, {len} terms, pair");
                limb.pair_of_sums([&mut first, &mut second], &a, [&b, &a]);
                let squares: Vec<_> = a.iter().map(|&a| (a, a)).collect();
                limb.sum_of_products(&mut out, &squares);
                assert_eq!((&first, &second), (&right, &out), "{limb:?}, {len} terms, pair");

                let mut wide = Wide::zeroed(n);
                for _ in 0..2 {
                    terms.iter().for_each(|(a, b)| limb.accumulate(&mut wide, a, b));
                    out.fill(1);
                    limb.reduce_wide(&mut wide, &mut out);
                    assert_eq!(out, right, "{limb:?}, {len} terms, wide");
                }
            }
        }
    }
}

#[test]
fn long_pairs_of_sums_equal_sums() {
    let log_n = 10;
    let n = 1 << log_n;
    for q in [prime_below(1 << 50, log_n), prime_below(1 << 30, log_n), prime_below(1 << 59, log_n)] {
        for len in [9, 12, 15, 1030] {
            // Few different factors: what is tested is their number.
            let factors: Vec<Vec<u64>> = (0..7).map(|k| residues(n, q, k)).collect();
            let top = vec![q - 1; n];
            let pick = |k: usize| if k % 8 == 7 { &top[..] } else { &factors[k % 8][..] };
            let a: Vec<&[u64]> = (0..len).map(pick).collect();
            let b: Vec<&[u64]> = (0..len).map(|k| pick(k / 8)).collect();
            let c: Vec<&[u64]> = (0..len).map(|k| pick(3 * k + 7)).collect();
            for limb in on_every_path(log_n, q) {
                let mut expected = [vec![1; n], vec![1; n]];
                for (expected, b) in expected.iter_mut().zip([&b, &c]) {
                    let terms: Vec<_> = a.iter().copied().zip(b.iter().copied()).collect();
                    limb.sum_of_products(expected, &terms);
                }
                let (mut first, mut second) = (vec![1; n], vec![1; n]);
                limb.pair_of_sums([&mut first, &mut second], &a, [&b, &c]);
                assert_eq!([&first, &second], [&expected[0], &expected[1]], "{limb:?}, {len} terms");
            }
        }
    }
}

#[test]
fn sums_on_tiles_add_to_their_starts() {
    let log_n = 10;
    let n = 1 << log_n;
    for q in [prime_below(1 << 50, log_n), prime_below(1 << 30, log_n), prime_below(1 << 59, log_n)] {
        let factors: Vec<Vec<u64>> = (0..5).map(|k| residues(n, q, k)).collect();
        let top = vec![q - 1; n];
        let pick = |k: usize| if k % 6 == 5 { &top[..] } else { &factors[k % 6][..] };
        for (len, tile) in [(0, 64), (1, 8), (3, 256), (5, 1024), (8, 16), (9, 512), (9, 8), (1030, 512)] {
            let a: Vec<&[u64]> = (0..len).map(|k| pick(k + 5)).collect();
            let b: Vec<&[u64]> = (0..len).map(|k| pick(k / 2 + 5)).collect();
            let c: Vec<&[u64]> = (0..len).map(|k| pick(3 * k + 2)).collect();
            for limb in on_every_path(log_n, q) {
                for starts in [[&top[..], &[]], [&[], &factors[0][..]], [&factors[1], &top]] {
                    let (mut first, mut second) = (vec![1; n], vec![1; n]);
                    limb.pair_of_sums([&mut first, &mut second], &a, [&b, &c]);
                    for (sum, start) in [&mut first, &mut second].into_iter().zip(starts) {
                        sum.iter_mut().zip(start).for_each(|(sum, start)| *sum = (*sum + start) % q);
                    }
                    let mut found = [vec![1; n], vec![1; n]];
                    for at in (0..n).step_by(tile) {
                        let cut = |words: &[&'_ [u64]]| -> Vec<Vec<u64>> {
                            words.iter().map(|words| words[at..][..tile].to_vec()).collect()
                        };
                        let cuts = [cut(&a), cut(&b), cut(&c)];
                        let [a, b, c] =
                            cuts.each_ref().map(|cut| cut.iter().map(Vec::as_slice).collect::<Vec<_>>());
                        let starts =
                            starts.map(|start| if start.is_empty() { start } else { &start[at..][..tile] });
                        let outs = found.each_mut().map(|out| &mut out[at..][..tile]);
                        limb.pair_of_sums_tile(outs, starts, &a, [&b, &c]);
                    }
                    assert_eq!(found, [first, second], "{limb:?}, {len} terms, tiles of {tile}");
                }
                let (mut whole, mut tiled) = (top.clone(), top.clone());
                limb.add(&mut whole, &factors[0]);
                let tiles = tiled.chunks_exact_mut(tile).zip(factors[0].chunks_exact(tile));
                tiles.for_each(|(a, b)| limb.add_tile(a, b));
                assert_eq!(tiled, whole, "{limb:?}, tiles of {tile}");
                limb.mul_scalar_add(&mut whole, &factors[0], u64::MAX - 3);
                let tiles = tiled.chunks_exact_mut(tile).zip(factors[0].chunks_exact(tile));
                tiles.for_each(|(a, b)| limb.mul_scalar_add_tile(a, b, u64::MAX - 3));
                assert_eq!(tiled, whole, "{limb:?}, tiles of {tile}");
            }
        }
    }
}
