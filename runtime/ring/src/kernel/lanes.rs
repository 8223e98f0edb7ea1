//! The vector kernels, written once over 52-bit lanes; [`lane_kernels`] expands them for a path's lane operations.
//!
//! Primes are below `2^50`, so a product `P` is below `2^100`: two 52-bit words. Three reductions are used, each with
//! its range in its first line:
//!
//! - `barrett`: `floor(P / q)` estimated as `floor(floor(P / 2^s) mu / 2^52)`, `mu = floor(2^(s+52) / q)`. The estimate
//!   falls short of `P / q` by less than `2^s / q + P / 2^(s+52) + 1`, the last for the floor. With `k` bits and
//!   `q = (1+f) 2^(k-1)`, `s = k-2` for `f < 1/2` and `k-1` otherwise, the first two are together below 1 for every
//!   `k <= 50`: the remainder is below `2q`.
//! - `by_factor` (Shoup): with `w' = floor(w 2^52 / q)`, `x w - floor(x w' / 2^52) q` is in `[0, 2q)` for `x < 2^52`.
//! - Montgomery's, for sums: `m = T / q mod 2^52` makes the low words of `T` and `m q` equal, so `(T - m q) / 2^52` is
//!   the difference of the high words, with no borrow. In `convert` the weights carry the factor `2^52` that this
//!   takes away, and sums of at most 4 inputs below `2^50` stay below `2^52 q`, of at most 12 below `3 * 2^52 q`.
//!   In `reduce_words` a product by `2^52` gives the factor back.

mod sums;

pub(super) use sums::{WIDE_TERMS_MAX, lane_sums};

use crate::Modulus;
use crate::roots::RADIX;

/// The low word of a lane.
pub(super) const MASK52: u64 = RADIX - 1;

/// Constants of `barrett` for one prime below `2^50`.
pub(super) struct Barrett {
    /// `s` above.
    pub(super) shift: u32,
    /// `floor(2^(s+52) / q)`, below `2^52`.
    pub(super) mu: u64,
}

impl Barrett {
    pub(super) fn new(m: &Modulus) -> Barrett {
        debug_assert!(m.bits() <= 50);
        let lower_half = m.value() < 3 << (m.bits() - 2);
        let shift = m.bits() - if lower_half { 2 } else { 1 };
        Barrett { shift, mu: m.power_of_two_quotient(shift + 52) }
    }
}

/// Expands the kernels for a file that defines the lane operations `Lanes`, `LANES`, `load`, `store`, `splat`, `add`,
/// `sub`, `and`, `shift_left`, `shift_right`, `low` (`acc + (a b mod 2^52)`), `high` (`acc + floor(a b / 2^52)`), both
/// on the low 52 bits of `a` and `b`, `reduce_once` (`[0, 2q)` to `[0, q)`) and `add_if_negative`.
macro_rules! lane_kernels {
    ($features:literal) => {
        use crate::Modulus;
        use crate::kernel::lanes::{Barrett, MASK52};
        use crate::modulus::Factor;
        use crate::roots::inverse52;

        /// Constants of one prime, in every lane.
        #[derive(Clone, Copy)]
        struct Prime {
            q: Lanes,
            mu: Lanes,
            shift: u32,
            mask: Lanes,
        }

        /// A factor, in every lane.
        #[derive(Clone, Copy)]
        struct Factors {
            value: Lanes,
            quotient: Lanes,
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn prime(m: &Modulus) -> Prime {
            let Barrett { shift, mu } = Barrett::new(m);
            Prime { q: splat(m.value()), mu: splat(mu), shift, mask: splat(MASK52) }
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn factors(f: &Factor) -> Factors {
            Factors { value: splat(f.value), quotient: splat(f.quotient52) }
        }

        /// in `low + 2^52 high < q^2`, `low < 2^53`, out [0, q).
        #[target_feature(enable = $features)]
        #[inline]
        fn barrett(p: &Prime, words: (Lanes, Lanes)) -> Lanes {
            let zero = splat(0);
            let top = add(shift_left(words.1, 52 - p.shift), shift_right(words.0, p.shift));
            let estimate = high(zero, top, p.mu);
            reduce_once(and(sub(words.0, low(zero, estimate, p.q)), p.mask), p.q)
        }

        /// in [0, 2^52), out [0, 2q): `x` times the factor.
        #[target_feature(enable = $features)]
        #[inline]
        fn by_factor(p: &Prime, x: Lanes, f: &Factors) -> Lanes {
            let zero = splat(0);
            let estimate = high(zero, x, f.quotient);
            and(sub(low(zero, x, f.value), low(zero, estimate, p.q)), p.mask)
        }

        #[target_feature(enable = $features)]
        pub(super) fn add_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
            let q = splat(m.value());
            for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
                store(a, reduce_once(add(load(a), load(b)), q));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn sub_limbs(m: &Modulus, a: &mut [u64], b: &[u64]) {
            let q = splat(m.value());
            for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
                store(a, add_if_negative(sub(load(a), load(b)), q));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn neg_limb(m: &Modulus, a: &mut [u64]) {
            let q = splat(m.value());
            for a in a.as_chunks_mut::<LANES>().0 {
                store(a, reduce_once(sub(q, load(a)), q));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul(m: &Modulus, a: &mut [u64], b: &[u64]) {
            let (p, zero) = (prime(m), splat(0));
            for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
                let (x, y) = (load(a), load(b));
                store(a, barrett(&p, (low(zero, x, y), high(zero, x, y))));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
            let (p, zero) = (prime(m), splat(0));
            let factors = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
            for (acc, (a, b)) in acc.as_chunks_mut::<LANES>().0.iter_mut().zip(factors) {
                let (x, y) = (load(a), load(b));
                store(acc, barrett(&p, (low(load(acc), x, y), high(zero, x, y))));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn scale_offset(m: &Modulus, a: &mut [u64], s: &Factor, c: u64) {
            let (p, s, c) = (prime(m), factors(s), splat(c));
            for a in a.as_chunks_mut::<LANES>().0 {
                let scaled = reduce_once(by_factor(&p, load(a), &s), p.q);
                store(a, reduce_once(add(scaled, c), p.q));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_scalar_add(m: &Modulus, acc: &mut [u64], a: &[u64], s: &Factor) {
            let (p, s) = (prime(m), factors(s));
            for (acc, a) in acc.as_chunks_mut::<LANES>().0.iter_mut().zip(a.as_chunks::<LANES>().0) {
                let scaled = reduce_once(by_factor(&p, load(a), &s), p.q);
                store(acc, reduce_once(add(load(acc), scaled), p.q));
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn sub_mul_scalar(m: &Modulus, a: &mut [u64], b: &[u64], s: &Factor) {
            let (p, s) = (prime(m), factors(s));
            for (a, b) in a.as_chunks_mut::<LANES>().0.iter_mut().zip(b.as_chunks::<LANES>().0) {
                // a - b + q is below 2^52: no reduction before the product.
                let difference = add(sub(load(a), load(b)), p.q);
                store(a, reduce_once(by_factor(&p, difference, &s), p.q));
            }
        }

        /// The lift of `a` is `(a + h mod from) - h` with `h = (from-1)/2`.
        #[target_feature(enable = $features)]
        pub(super) fn reduce_from(m: &Modulus, out: &mut [u64], a: &[u64], from: &Modulus) {
            let (p, one) = (prime(m), factors(&m.factor(1)));
            let half = from.value() / 2;
            let (half, half_reduced, from) = (splat(half), splat(m.reduce(half)), splat(from.value()));
            for (out, a) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(a.as_chunks::<LANES>().0) {
                let shifted = reduce_once(add(load(a), half), from);
                let residue = reduce_once(by_factor(&p, shifted, &one), p.q);
                store(out, add_if_negative(sub(residue, half_reduced), p.q));
            }
        }

        /// Most inputs of one pass of `convert`; longer sums are taken in groups.
        const CONVERT_GROUP: usize = 12;
        /// How far ahead sources are asked for: they come from the third cache, in more streams than the processor follows.
        const CONVERT_AHEAD_WORDS: usize = 256;

        #[target_feature(enable = $features)]
        pub(super) fn convert(m: &Modulus, out: &mut [u64], inputs: &[&[u64]], weights: &[u64], offset: u64) {
            let groups = inputs.chunks(CONVERT_GROUP).zip(weights.chunks(CONVERT_GROUP));
            for (g, (inputs, weights)) in groups.enumerate() {
                if g == 0 {
                    convert_group::<false>(m, out, inputs, weights, offset);
                } else {
                    convert_group::<true>(m, out, inputs, weights, 0);
                }
            }
        }

        #[target_feature(enable = $features)]
        fn convert_group<const ADD: bool>(
            m: &Modulus,
            out: &mut [u64],
            inputs: &[&[u64]],
            weights: &[u64],
            offset: u64,
        ) {
            match inputs.len() {
                1 => convert_pass::<1, ADD>(m, out, inputs, weights, offset),
                2 => convert_pass::<2, ADD>(m, out, inputs, weights, offset),
                3 => convert_pass::<3, ADD>(m, out, inputs, weights, offset),
                4 => convert_pass::<4, ADD>(m, out, inputs, weights, offset),
                5 => convert_pass::<5, ADD>(m, out, inputs, weights, offset),
                6 => convert_pass::<6, ADD>(m, out, inputs, weights, offset),
                7 => convert_pass::<7, ADD>(m, out, inputs, weights, offset),
                8 => convert_pass::<8, ADD>(m, out, inputs, weights, offset),
                9 => convert_pass::<9, ADD>(m, out, inputs, weights, offset),
                10 => convert_pass::<10, ADD>(m, out, inputs, weights, offset),
                11 => convert_pass::<11, ADD>(m, out, inputs, weights, offset),
                _ => convert_pass::<CONVERT_GROUP, ADD>(m, out, inputs, weights, offset),
            }
        }

        /// in [0, 2^50), out [0, q): one group; `ADD` adds it to what stands in `out`.
        #[target_feature(enable = $features)]
        fn convert_pass<const K: usize, const ADD: bool>(
            m: &Modulus,
            out: &mut [u64],
            inputs: &[&[u64]],
            weights: &[u64],
            offset: u64,
        ) {
            let (zero, offset, q) = (splat(0), splat(offset), splat(m.value()));
            let (inverse, double) = (splat(inverse52(m.value())), add(q, q));
            let mut scales = [zero; K];
            for (scale, &weight) in scales.iter_mut().zip(weights) {
                *scale = splat(weight);
            }
            let out = out.as_chunks_mut::<LANES>().0;
            let mut columns: [&[[u64; LANES]]; K] = [&[]; K];
            for (column, input) in columns.iter_mut().zip(inputs) {
                *column = &input.as_chunks().0[..out.len()];
            }
            for (j, out) in out.iter_mut().enumerate() {
                let mut words = (offset, zero);
                for (column, &scale) in columns.iter().zip(&scales) {
                    let x = load(&column[j]);
                    prefetch(&column[j], CONVERT_AHEAD_WORDS);
                    words = (low(words.0, x, scale), high(words.1, x, scale));
                }
                let quotient = low(zero, and(words.0, splat(MASK52)), inverse);
                let carried = add(words.1, shift_right(words.0, 52));
                // (0, 2q) for K <= 4, (0, 4q) for K <= 12.
                let mut residue = add(sub(carried, high(zero, quotient, q)), q);
                if K > 4 {
                    residue = reduce_once(residue, double);
                }
                residue = reduce_once(residue, q);
                store(out, if ADD { reduce_once(add(load(out), residue), q) } else { residue });
            }
        }
    };
}

pub(super) use lane_kernels;
