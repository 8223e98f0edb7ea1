//! The canonical embedding: coefficients of a real polynomial to its values at the roots of `X^N + 1`, and back.
//!
//! For `n` slots the polynomial lives in the subring of `X^(N/2n)`: `2n` real coefficients, read as the `n` complex
//! numbers `c_j + i c_{j+n}`. Slot `k` is the value at `zeta^(5^k)`, `zeta = exp(2 pi i / 4n)`. In this order the
//! transform is a radix-2 butterfly network with twiddles indexed by powers of 5 (Cheon, Kim, Kim, Song, ePrint
//! 2016/421, and their HEAAN). Twiddles come from the exact integer index of their angle, reduced to an eighth of the
//! circle, and `libm`; additions and products stand alone (no fused multiply-add), so every machine gives the same bits.

use std::f64::consts::TAU;

/// Slots from which a stage's halves are worth two threads.
const PARALLEL_SLOTS_MIN: usize = 1 << 11;

/// Twiddles of all stages up to a number of slots.
pub(super) struct Embedding {
    /// Real parts; the stage with `half` butterflies per block has its twiddles at `half .. 2 half`.
    re: Vec<f64>,
    /// Imaginary parts.
    im: Vec<f64>,
}

impl Embedding {
    /// Tables for up to `slots` slots, a power of two.
    pub(super) fn new(slots: usize) -> Embedding {
        let (mut re, mut im) = (vec![1.0; slots], vec![0.0; slots]);
        let order = 4 * slots;
        let eighth: Vec<(f64, f64)> = (0..=order / 8)
            .map(|k| {
                let angle = TAU * (k as f64 / order as f64);
                (libm::cos(angle), libm::sin(angle))
            })
            .collect();
        for stage in 0..slots.trailing_zeros() {
            let half = 1 << stage;
            let stage_order = 8 * half;
            let mut power = 1;
            for j in 0..half {
                (re[half + j], im[half + j]) = root(&eighth, power * (order / stage_order), order);
                power = power * 5 % stage_order;
            }
        }
        Embedding { re, im }
    }

    /// Coefficients to slots, in place.
    pub(super) fn evaluate(&self, re: &mut [f64], im: &mut [f64]) {
        bit_reverse(re, im);
        let slots = re.len();
        let mut half = 1;
        while half < slots {
            self.blocks(half, re, im, |(u_re, u_im), (v_re, v_im), (w_re, w_im)| {
                let (t_re, t_im) = (*v_re * w_re - *v_im * w_im, *v_re * w_im + *v_im * w_re);
                (*v_re, *v_im) = (*u_re - t_re, *u_im - t_im);
                (*u_re, *u_im) = (*u_re + t_re, *u_im + t_im);
            });
            half *= 2;
        }
    }

    /// Slots to coefficients times the number of slots, in place and in bit-reversed order. After a stage its two halves
    /// are independent: large ones go to two threads.
    pub(super) fn interpolate(&self, re: &mut [f64], im: &mut [f64]) {
        let half = re.len() / 2;
        if half < PARALLEL_SLOTS_MIN {
            let halves = std::iter::successors(Some(half), |half| Some(half / 2));
            for half in halves.take_while(|&half| half > 0) {
                self.blocks(half, re, im, inverse_butterfly);
            }
            return;
        }
        let twiddles = [&self.re[half..2 * half], &self.im[half..2 * half]];
        let ((u_re, v_re), (u_im, v_im)) = (re.split_at_mut(half), im.split_at_mut(half));
        let stage = |rows: [&mut [f64]; 4], [w_re, w_im]: [&[f64]; 2]| {
            let [u_re, u_im, v_re, v_im] = rows;
            pairs([u_re, u_im], [v_re, v_im], [w_re, w_im], inverse_butterfly);
        };
        {
            let middle = half / 2;
            let [w_re, w_im] = twiddles.map(|w| w.split_at(middle));
            let [a, b, c, d] =
                [&mut *u_re, &mut *u_im, &mut *v_re, &mut *v_im].map(|row| row.split_at_mut(middle));
            rayon::join(
                || stage([a.0, b.0, c.0, d.0], [w_re.0, w_im.0]),
                || stage([a.1, b.1, c.1, d.1], [w_re.1, w_im.1]),
            );
        }
        rayon::join(|| self.interpolate(u_re, u_im), || self.interpolate(v_re, v_im));
    }

    /// Applies one stage: a butterfly `(u, v, twiddle)` for each pair `half` apart.
    #[inline(always)]
    fn blocks(
        &self,
        half: usize,
        re: &mut [f64],
        im: &mut [f64],
        butterfly: impl Fn((&mut f64, &mut f64), (&mut f64, &mut f64), (f64, f64)),
    ) {
        let twiddles = [&self.re[half..2 * half], &self.im[half..2 * half]];
        for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
            let (u_re, v_re) = re.split_at_mut(half);
            let (u_im, v_im) = im.split_at_mut(half);
            pairs([u_re, u_im], [v_re, v_im], twiddles, &butterfly);
        }
    }
}

/// Applies a butterfly to each `(u, v, twiddle)`, real parts and imaginary parts apart.
#[inline(always)]
fn pairs(
    [u_re, u_im]: [&mut [f64]; 2],
    [v_re, v_im]: [&mut [f64]; 2],
    [w_re, w_im]: [&[f64]; 2],
    butterfly: impl Fn((&mut f64, &mut f64), (&mut f64, &mut f64), (f64, f64)),
) {
    let (u, v) = (u_re.iter_mut().zip(u_im), v_re.iter_mut().zip(v_im));
    for ((u, v), (&w_re, &w_im)) in u.zip(v).zip(w_re.iter().zip(w_im)) {
        butterfly(u, v, (w_re, w_im));
    }
}

/// `u + v`, `(u - v) conj(w)`.
#[inline(always)]
fn inverse_butterfly(
    (u_re, u_im): (&mut f64, &mut f64),
    (v_re, v_im): (&mut f64, &mut f64),
    (w_re, w_im): (f64, f64),
) {
    let (t_re, t_im) = (*u_re - *v_re, *u_im - *v_im);
    (*u_re, *u_im) = (*u_re + *v_re, *u_im + *v_im);
    (*v_re, *v_im) = (t_re * w_re + t_im * w_im, t_im * w_re - t_re * w_im);
}

/// `exp(2 pi i k / order)` from the table of its first eighth.
fn root(eighth: &[(f64, f64)], k: usize, order: usize) -> (f64, f64) {
    if order < 8 {
        // Four roots only: 1, i, -1, -i.
        return [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][k % 4];
    }
    let (quarter, k) = (k / (order / 4) % 4, k % (order / 4));
    let (cos, sin) = match eighth.get(k) {
        Some(&pair) => pair,
        None => {
            let (cos, sin) = eighth[order / 4 - k];
            (sin, cos)
        }
    };
    [(cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos)][quarter]
}

/// Index `i` of `len`, a power of two, with its bits in reverse order.
#[inline]
pub(super) fn bit_reversed(i: usize, len: usize) -> usize {
    if len < 2 { i } else { i.reverse_bits() >> (usize::BITS - len.trailing_zeros()) }
}

fn bit_reverse(re: &mut [f64], im: &mut [f64]) {
    for i in 0..re.len() {
        let j = bit_reversed(i, re.len());
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition, in f64: error grows as the logarithm of the size.
    #[test]
    fn both_directions_follow_the_definition() {
        let embedding = Embedding::new(256);
        for slots in [1usize, 2, 4, 8, 64, 256] {
            let coefficients: Vec<f64> =
                (0..2 * slots).map(|j| ((j * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect();
            let (mut re, mut im) = (coefficients[..slots].to_vec(), coefficients[slots..].to_vec());
            embedding.evaluate(&mut re, &mut im);
            let mut power = 1;
            for k in 0..slots {
                let (mut sum_re, mut sum_im) = (0.0, 0.0);
                for (j, c) in coefficients.iter().enumerate() {
                    let angle = TAU * ((power * j % (4 * slots)) as f64) / (4 * slots) as f64;
                    sum_re += c * libm::cos(angle);
                    sum_im += c * libm::sin(angle);
                }
                assert!(
                    (re[k] - sum_re).abs() < 1e-12 && (im[k] - sum_im).abs() < 1e-12,
                    "{slots} slots, slot {k}"
                );
                power = power * 5 % (4 * slots);
            }
            embedding.interpolate(&mut re, &mut im);
            bit_reverse(&mut re, &mut im);
            for (j, c) in coefficients.iter().enumerate() {
                let found = if j < slots { re[j] } else { im[j - slots] } / slots as f64;
                assert!((found - c).abs() < 1e-13, "{slots} slots, coefficient {j}");
            }
        }
    }

    /// Enough slots for two threads.
    #[test]
    fn halves_on_two_threads_give_the_bits_of_one() {
        let slots = 4 * PARALLEL_SLOTS_MIN;
        let embedding = Embedding::new(slots);
        let values: Vec<f64> = (0..2 * slots).map(|j| ((j * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect();
        let (mut re, mut im) = (values[..slots].to_vec(), values[slots..].to_vec());
        let (mut re_by_stage, mut im_by_stage) = (re.clone(), im.clone());
        let mut half = slots / 2;
        while half > 0 {
            embedding.blocks(half, &mut re_by_stage, &mut im_by_stage, inverse_butterfly);
            half /= 2;
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        pool.install(|| embedding.interpolate(&mut re, &mut im));
        assert_eq!((re, im), (re_by_stage, im_by_stage));
    }
}
