//! Inputs that bring words between first and last step near the bounds of the kernels, where random ones never come.

use std::sync::Arc;

use cipherloom_ring::{BaseConversion, Limb, Wide};

use crate::definition::*;

/// The largest primes below powers of two at which the vector kernels choose how often they reduce.
fn largest_primes(log_n: u32) -> [u64; 5] {
    [40, 46, 48, 49, 50].map(|bits| prime_below(1 << bits, log_n))
}

fn inverse(a: u64, q: u64) -> u64 {
    pow(a, q - 2, q)
}

/// The same transform on every path, and back.
fn transforms_agree(log_n: u32, q: u64, inputs: &[Vec<u64>]) {
    let outputs = on_every_path(log_n, q).into_iter().map(|limb| {
        let mut all = [inputs, inputs].concat();
        let (forward, inverse) = all.split_at_mut(inputs.len());
        forward.iter_mut().for_each(|a| limb.forward(a));
        inverse.iter_mut().for_each(|a| limb.inverse(a));
        all
    });
    let outputs: Vec<_> = outputs.collect();
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "2^{log_n}, {q}");
    assert!(outputs[0].iter().flatten().all(|&word| word < q), "2^{log_n}, {q}");
}

/// Word 0 takes almost `q/2` from its partner in every layer. Partners are small, so that no quotient is near a half; numbers are odd,
/// for even ones are exact beyond `2^53` too.
#[test]
fn forward_words_grow_in_every_layer() {
    for log_n in 5..=17 {
        for q in largest_primes(log_n) {
            let n = 1usize << log_n;
            let root = on_every_path(log_n, q)[0].root();
            let inputs = [true, false].map(|up| {
                let mut a = vec![0; n];
                a[0] = if up { q - 2 } else { 1 };
                for layer in 0..log_n {
                    let half = n >> (layer + 1);
                    let inverse = inverse(pow(root, half as u64, q), q);
                    let parts = (1..400).step_by(2).map(|odd| q / 2 - q / 50 - q / 50 % 2 - odd);
                    let partners = parts.map(|part| mul(if up { part } else { q - part }, inverse, q));
                    a[half] = partners.min().unwrap_or(0);
                }
                a
            });
            transforms_agree(log_n, q, &inputs);
        }
    }
}

/// Sums double in every layer; after `k` layers all are near `q/2`, wherever a reduction stands.
#[test]
fn inverse_words_double_in_every_layer() {
    for log_n in 5..=17 {
        for q in largest_primes(log_n) {
            let noise = residues(1 << log_n, q, 7);
            let near_half = |k: u32, half: u64| {
                let base = mul(half, inverse(pow(2, u64::from(k), q), q), q);
                noise.iter().map(|&noise| (base + noise % 2) % q).collect::<Vec<_>>()
            };
            let inputs: Vec<_> =
                (0..log_n).flat_map(|k| [near_half(k, q / 2 - 99), near_half(k, q / 2 + 99)]).collect();
            transforms_agree(log_n, q, &inputs);
        }
    }
}

#[test]
fn transforms_of_extreme_words() {
    for log_n in 5..=17 {
        for q in largest_primes(log_n) {
            let n = 1usize << log_n;
            let random = residues(n, q, 11);
            let extremes = [0, 1, q / 2, q / 2 + 1, q - 2, q - 1];
            let picked = random.iter().map(|&word| extremes[(word % 6) as usize]).collect();
            let ends = random.iter().map(|&word| (word % 2) * (q - 1)).collect();
            transforms_agree(log_n, q, &[vec![q - 1; n], [0, q - 1].repeat(n / 2), picked, ends]);
        }
    }
}

/// Factors near `q` whose product is as far as possible above, and below, a multiple of `2^bits`.
fn far_from_multiples(q: u64, bits: u32) -> [(u64, u64); 2] {
    let pairs = || (1..400u64).flat_map(|i| (1..100u64).map(move |j| (q - i % (q / 2), q - j % (q / 2))));
    let rest = |&(a, b): &(u64, u64)| (u128::from(a) * u128::from(b)) as i128 & ((1 << bits) - 1);
    let half = 1i128 << (bits - 1);
    let above = pairs().filter(|pair| rest(pair) < half).max_by_key(rest);
    let below = pairs().filter(|pair| rest(pair) >= half).min_by_key(rest);
    [above, below].map(|found| found.unwrap_or((q - 1, q - 1)))
}

/// As many terms as a sum holds, one more, and starts and residues of `q - 1`.
#[test]
fn sums_of_the_largest_terms() {
    let (log_n, n) = (5, 32);
    for q in largest_primes(log_n) {
        let pairs = [far_from_multiples(q, 51), far_from_multiples(q, 50)].concat();
        for (x, y) in pairs.into_iter().chain([(q - 1, q - 1)]) {
            for len in [1, 7, 8, 9, 15, 16, 17, 24] {
                let (x, y, start) = (vec![x; n], vec![y; n], vec![q - 1; n]);
                let sum = (0..len).fold(q - 1, |sum, _| (sum + mul(x[0], y[0], q)) % q);
                let (a, b) = (vec![&x[..]; len], vec![&y[..]; len]);
                for limb in on_every_path(log_n, q) {
                    let (mut first, mut second) = (vec![0; n], vec![0; n]);
                    limb.pair_of_sums_tile([&mut first, &mut second], [&start, &[]], &a, [&b, &b]);
                    assert_eq!((first[0], second[n - 1]), (sum, (sum + 1) % q), "{limb:?}, {len} terms");
                    let terms = vec![(&x[..], &y[..]); len];
                    limb.sum_of_products(&mut first, &terms);
                    assert_eq!(first, second, "{limb:?}, {len} terms");
                    wide_sums(&limb, len, [&x, &y], &second);
                }
            }
        }
    }
}

/// The sum of `len` products on the reduced residue `q - 1` of eight terms before them.
fn wide_sums(limb: &Arc<Limb>, len: usize, [x, y]: [&[u64]; 2], sum: &[u64]) {
    let (n, q) = (x.len(), limb.modulus().value());
    let (zero, one, last) = (vec![0; n], vec![1; n], vec![q - 1; n]);
    let mut wide = Wide::zeroed(n);
    limb.accumulate(&mut wide, &last, &one);
    (1..8).for_each(|_| limb.accumulate(&mut wide, &last, &zero));
    (0..len).for_each(|_| limb.accumulate(&mut wide, x, y));
    let mut found = vec![0; n];
    limb.reduce_wide(&mut wide, &mut found);
    let wanted: Vec<u64> = sum.iter().map(|sum| (sum + q - 1) % q).collect();
    assert_eq!(found, wanted, "{limb:?}, {len} terms, wide");
}

/// Up to 24 sources of the largest primes, all words at their ends, alone and together.
#[test]
fn conversions_of_extreme_words() {
    let (log_n, n) = (5, 32);
    let mut primes = vec![prime_below(1 << 50, log_n)];
    while primes.len() < 25 {
        primes.push(prime_below(primes[primes.len() - 1], log_n));
    }
    let target = primes.remove(3);
    for p in [target, prime_below(1 << 40, log_n), prime_from(0, log_n)] {
        for count in 1..=24 {
            let weight = |i: usize| (0..count).filter(|&j| j != i).fold(1, |w, j| mul(w, primes[j] % p, p));
            let weights: Vec<u64> = (0..count).map(weight).collect();
            // Words 0 and 1 make every term positive, or negative, once factors are centred.
            let random = residues(n * count, 2, 1);
            let scaled: Vec<Vec<u64>> = (0..count)
                .map(|i| {
                    let positive = weights[i] <= p / 2;
                    let high = |at: usize| match at {
                        0 => positive,
                        1 => !positive,
                        2 => true,
                        3 => false,
                        _ => random[n * i + at] == 1,
                    };
                    (0..n).map(|at| if high(at) { primes[i] - 1 } else { 0 }).collect()
                })
                .collect();
            let words: Vec<&[u64]> = scaled.iter().map(Vec::as_slice).collect();
            let wanted: Vec<u64> = (0..n)
                .map(|at| (0..count).fold(0, |sum, i| (sum + mul(scaled[i][at], weights[i], p)) % p))
                .collect();
            for to in on_every_path(log_n, p) {
                let limb = |q: &u64| Limb::new(degree(log_n), *q, to.path()).expect("test numbers are valid");
                let from: Vec<_> = primes[..count].iter().map(|q| Arc::new(limb(q))).collect();
                let conversion = BaseConversion::new(&from, std::slice::from_ref(&to)).expect("a basis");
                let mut out = vec![0; n];
                conversion.convert_to(0, &words, &mut out);
                assert_eq!(out, wanted, "{to:?}, {count} sources");
            }
        }
    }
}
