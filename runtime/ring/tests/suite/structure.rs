//! Automorphisms, base conversion, polynomials.

use std::sync::Arc;

use cipherloom_ring::{Automorphism, BaseConversion, Coefficient, Limb, Path, Poly};

use crate::definition::*;

#[test]
fn automorphisms_agree_in_both_domains_and_with_the_definition() {
    for log_n in [4, 5, 9, 13] {
        let n = 1usize << log_n;
        let two_n = 2 * n as u64;
        for q in [prime_from(0, log_n), prime_below(1 << 50, log_n), prime_below(1 << 60, log_n)] {
            let limb = Limb::new(degree(log_n), q, Path::best()).unwrap();
            let a = residues(n, q, 8);
            for g in [1, 3, 5, 7, 25 % two_n, 125 % two_n, two_n - 1, two_n - 5, n as u64 + 1] {
                let mut expected = vec![0; n];
                for (i, &c) in a.iter().enumerate() {
                    let e = i as u64 * g % two_n;
                    let k = e as usize % n;
                    expected[k] = if e < n as u64 { c } else { (q - c) % q };
                }
                for path in Path::available() {
                    let automorphism = Automorphism::with_path(degree(log_n), g, path).unwrap();
                    let (mut image, mut values, mut image_values) = (vec![0; n], a.clone(), vec![0; n]);
                    automorphism.apply_coefficient(limb.modulus(), &a, &mut image);
                    assert_eq!(image, expected, "{automorphism:?}");
                    limb.forward(&mut values);
                    automorphism.apply_evaluation(&values, &mut image_values);
                    for tile in [8, n / 2, n] {
                        for start in (0..n).step_by(tile) {
                            let (source, mut image) = (automorphism.tile_source(start, tile), vec![0; tile]);
                            automorphism.apply_tile(start, &values[source..][..tile], &mut image);
                            assert_eq!(image, image_values[start..][..tile], "{automorphism:?} {path}");
                        }
                    }
                    limb.inverse(&mut image_values);
                    assert_eq!(image_values, expected, "{automorphism:?} {path}");
                }
            }
        }
    }
}

/// `Q mod p` and the value of residues modulo `Q`, for up to two primes below 2^60: plain 128-bit arithmetic.
#[test]
fn conversion_of_one_and_two_primes_is_exact_up_to_multiples_of_their_product() {
    let log_n = 5;
    let n = 1usize << log_n;
    for basis in [
        vec![prime_below(1 << 50, log_n)],
        vec![prime_below(1 << 50, log_n), prime_from(1 << 30, log_n)],
        vec![prime_below(1 << 60, log_n), prime_from(0, log_n)],
    ] {
        let product: u128 = basis.iter().map(|&q| u128::from(q)).product();
        let targets = [prime_below(1 << 49, log_n), prime_from(1 << 20, log_n), prime_below(1 << 59, log_n)];
        let xs: Vec<u128> = (0..n as u128)
            .map(|i| match i {
                0..4 => i,
                4..8 => product - 1 - (i - 4),
                8..12 => product / 2 - 1 + (i - 8),
                _ => (product / 37).wrapping_mul(i) % product,
            })
            .collect();
        for path in Path::available() {
            let limbs = |qs: &[u64]| -> Vec<Arc<Limb>> {
                qs.iter().map(|&q| Arc::new(Limb::new(degree(log_n), q, path).unwrap())).collect()
            };
            let (from, to) = (limbs(&basis), limbs(&targets));
            let conversion = BaseConversion::new(&from, &to).unwrap();
            for centred in [false, true] {
                let mut residues: Vec<Vec<u64>> =
                    basis.iter().map(|&q| xs.iter().map(|x| (x % u128::from(q)) as u64).collect()).collect();
                let mut inputs: Vec<&mut [u64]> = residues.iter_mut().map(|r| &mut r[..]).collect();
                if centred {
                    conversion.scale_inputs_centred(&mut inputs);
                } else {
                    conversion.scale_inputs(&mut inputs);
                }
                let scaled: Vec<&[u64]> = residues.iter().map(|r| &r[..]).collect();
                for (t, &p) in targets.iter().enumerate() {
                    let mut out = vec![0; n];
                    match centred {
                        true => conversion.convert_centred_to(t, &scaled, &mut out),
                        false => conversion.convert_to(t, &scaled, &mut out),
                    }
                    for (&x, &y) in xs.iter().zip(&out) {
                        let p = u128::from(p);
                        // Centred: at most k/2 times the product in magnitude.
                        let (x, product, k) = (x as i128, product as i128, basis.len() as i128);
                        let hit = (-k..k).map(|u| x + u * product).any(|lift| {
                            let bounded = if centred {
                                2 * lift.abs() <= k * product
                            } else {
                                (0..k * product).contains(&lift)
                            };
                            bounded && lift.rem_euclid(p as i128) == i128::from(y)
                        });
                        assert!(hit, "{path} centred {centred}: {x} mod {product} to {p} gives {y}");
                    }
                }
            }
        }
    }
}

#[test]
fn conversion_is_the_same_on_every_path_for_every_length() {
    let log_n = 6;
    let mut primes = vec![prime_below(1 << 50, log_n)];
    while primes.len() < 40 {
        primes.push(prime_below(primes[primes.len() - 1], log_n));
    }
    for len in 1..=39 {
        let inputs: Vec<Vec<u64>> = (0..len).map(|i| residues(1 << log_n, primes[i], i as u64)).collect();
        let top: Vec<Vec<u64>> = (0..len).map(|i| vec![primes[i] - 1; 1 << log_n]).collect();
        for inputs in [inputs, top] {
            let scaled: Vec<&[u64]> = inputs.iter().map(|x| &x[..]).collect();
            let mut outputs = Vec::new();
            for path in Path::available() {
                let limb = |&q: &u64| Arc::new(Limb::new(degree(log_n), q, path).unwrap());
                let from: Vec<_> = primes[..len].iter().map(limb).collect();
                let to: Vec<_> =
                    [primes[39], prime_from(0, log_n), prime_from(1 << 49, log_n)].iter().map(limb).collect();
                let conversion = BaseConversion::new(&from, &to).unwrap();
                let mut all = Vec::new();
                for t in 0..to.len() {
                    let mut out = vec![0; 1 << log_n];
                    conversion.convert_to(t, &scaled, &mut out);
                    all.extend_from_slice(&out);
                    conversion.convert_centred_to(t, &scaled, &mut out);
                    all.extend_from_slice(&out);
                }
                outputs.push(all);
            }
            assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "{len} primes");
        }
    }
}

#[test]
fn zeros_are_converted_to_zeros() {
    let log_n = 9;
    let mut primes = vec![prime_below(1 << 50, log_n)];
    while primes.len() < 7 {
        primes.push(prime_below(primes[primes.len() - 1], log_n));
    }
    for (sources, path) in
        (1..6).flat_map(|sources| Path::available().into_iter().map(move |path| (sources, path)))
    {
        let limb = |&q: &u64| Arc::new(Limb::new(degree(log_n), q, path).expect("a good prime"));
        let limbs: Vec<Arc<Limb>> = primes.iter().map(limb).collect();
        let base = BaseConversion::new(&limbs[..sources], &limbs[sources..]).expect("a conversion");
        let mut zeros = vec![vec![0; 1 << log_n]; sources];
        base.scale_inputs_centred(&mut zeros.iter_mut().map(|words| &mut words[..]).collect::<Vec<_>>());
        let scaled: Vec<&[u64]> = zeros.iter().map(|words| &words[..]).collect();
        for target in 0..base.targets() {
            let mut out = vec![1; 1 << log_n];
            base.convert_centred_to(target, &scaled, &mut out);
            assert!(out.iter().all(|word| *word == 0), "{path}: {sources} sources, target {target}");
        }
    }
}

#[test]
fn targets_converted_together_are_those_converted_alone() {
    for log_n in [4, 10] {
        let mut primes = vec![prime_below(1 << 50, log_n)];
        while primes.len() < 20 {
            primes.push(prime_below(primes[primes.len() - 1], log_n));
        }
        for sources in [1, 2, 9, 13] {
            let inputs: Vec<Vec<u64>> =
                (0..sources).map(|i| residues(1 << log_n, primes[i], i as u64)).collect();
            let scaled: Vec<&[u64]> = inputs.iter().map(|words| &words[..]).collect();
            for path in Path::available() {
                let limb = |&q: &u64| Arc::new(Limb::new(degree(log_n), q, path).expect("a good prime"));
                let limbs: Vec<Arc<Limb>> = primes.iter().map(limb).collect();
                let base = BaseConversion::new(&limbs[..sources], &limbs[sources..]).expect("a conversion");
                let mut together = vec![vec![0; 1 << log_n]; base.targets()];
                let mut outs: Vec<_> = together.iter_mut().map(|out| &mut out[..]).enumerate().collect();
                base.convert_centred(&scaled, &mut outs);
                for (target, together) in together.iter().enumerate() {
                    let mut alone = vec![0; 1 << log_n];
                    base.convert_centred_to(target, &scaled, &mut alone);
                    assert!(alone == *together, "{path}: {sources} sources, target {target}");
                }
            }
        }
    }
}

#[test]
fn polynomials_keep_limbs_apart_and_on_cache_lines() {
    let degree = degree(4);
    let mut poly = Poly::<Coefficient>::zero(degree, 3);
    poly.limb_mut(1).fill(7);
    assert_eq!(poly.limbs(), 3);
    assert!(poly.limb(0).iter().chain(poly.limb(2)).all(|&x| x == 0));
    assert!(poly.limbs_iter().all(|limb| limb.as_ptr().addr() % 64 == 0));
    let mut copy = poly.clone();
    assert_eq!(copy, poly);
    let limbs = [97, 193, 257].map(|q| Arc::new(Limb::new(degree, q, Path::best()).expect("a good prime")));
    let values = copy.clone().into_evaluation(&limbs);
    let mut limb = [7; 16];
    limbs[1].forward(&mut limb);
    assert_eq!((values.limb(0), values.limb(1)), (&[0; 16][..], &limb[..]));
    assert_eq!(values.into_coefficient(&limbs), copy);
    copy.truncate(2);
    assert_eq!((copy.limbs(), copy.as_slice().len()), (2, 32));
    assert_eq!(Poly::from_slice(degree, poly.as_slice()), Some(poly));
    assert_eq!(Poly::<Coefficient>::from_slice(degree, &[0; 17]), None);
}
