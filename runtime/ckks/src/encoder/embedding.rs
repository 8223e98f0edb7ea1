//! The canonical embedding: coefficients of a real polynomial to its values at the roots of `X^N + 1`, and back.
//!
//! For `n` slots the polynomial lives in the subring of `X^(N/2n)`: `2n` real coefficients, read as the `n` complex
//! numbers `c_j + i c_{j+n}`. Slot `k` is the value at `zeta^(5^k)`, `zeta = exp(2 pi i / 4n)`. In this order the
//! transform is a radix-2 butterfly network with twiddles indexed by powers of 5 (Cheon, Kim, Kim, Song, ePrint
//! 2016/421, and their HEAAN). Twiddles come from the exact integer index of their angle, reduced to an eighth of the
//! circle, and `libm`; additions and products stand alone (no fused multiply-add), so every machine gives the same bits.

use std::f64::consts::TAU;

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

    /// Slots to coefficients times the number of slots, in place.
    pub(super) fn interpolate(&self, re: &mut [f64], im: &mut [f64]) {
        let mut half = re.len() / 2;
        while half > 0 {
            self.blocks(half, re, im, |(u_re, u_im), (v_re, v_im), (w_re, w_im)| {
                let (t_re, t_im) = (*u_re - *v_re, *u_im - *v_im);
                (*u_re, *u_im) = (*u_re + *v_re, *u_im + *v_im);
                (*v_re, *v_im) = (t_re * w_re + t_im * w_im, t_im * w_re - t_re * w_im);
            });
            half /= 2;
        }
        bit_reverse(re, im);
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
        let (w_re, w_im) = (&self.re[half..2 * half], &self.im[half..2 * half]);
        for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
            let (u_re, v_re) = re.split_at_mut(half);
            let (u_im, v_im) = im.split_at_mut(half);
            let (u, v) = (u_re.iter_mut().zip(u_im), v_re.iter_mut().zip(v_im));
            for ((u, v), (&w_re, &w_im)) in u.zip(v).zip(w_re.iter().zip(w_im)) {
                butterfly(u, v, (w_re, w_im));
            }
        }
    }
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

fn bit_reverse(re: &mut [f64], im: &mut [f64]) {
    let len = re.len();
    if len < 2 {
        return;
    }
    let shift = usize::BITS - len.trailing_zeros();
    for i in 0..len {
        let j = i.reverse_bits() >> shift;
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
        let embedding = Embedding::new(64);
        for slots in [1usize, 2, 4, 8, 64] {
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
            for (j, c) in coefficients.iter().enumerate() {
                let found = if j < slots { re[j] } else { im[j - slots] } / slots as f64;
                assert!((found - c).abs() < 1e-13, "{slots} slots, coefficient {j}");
            }
        }
    }
}
