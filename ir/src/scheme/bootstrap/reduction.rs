//! The modular reduction `(m / 2^r + I) -> m` as a program of sums, each with at most one product and one rescale.
//!
//! With `y = x / RANGE` for `x = m / 2^r + I`, `E = exp(2 pi i x)` does not depend on I, and `Im E = sin(2 pi m / 2^r)`.
//! - The exponential of `2 pi x / 2^s` is its Chebyshev series, `J_0(a) + 2 Σ i^k J_k(a) T_k(y)` with `a = 2 pi RANGE / 2^s`, evaluated by
//!   baby steps and giant steps of the polynomials `T_k` (M. Paterson, L. Stockmeyer 1973; for this basis J.-P. Bossuat
//!   et al., ePrint 2020/1203). Coefficients are real or imaginary by the parity of k, which the splits below keep.
//! - s squarings make `E` of it. An error grows by 2 with each, where doubling the angle of a *cosine* divides by the sine of
//!   the angle, small just for the frequent small I: that costs two bits (docs/bootstrapping.md).
//! - The angle is `b_1 Im E + b_2 Im E²` up to the fifth order, (C. Jutla, N. Manohar, *Sine series approximation of
//!   the mod function*, ePrint 2021/572), with b fitted to the range of m. One level, where an arcsine of degree 3 takes
//!   two. `Im` is linear: it is taken once, of both parts' sums together, by one conjugation.
//!
//! # Scales
//! A value at depth d has scale `S_d` with `S_(d+1) = S_d² / q_d`, from the last one upwards: `S_d = sqrt(S_(d+1) q_d)`. So the result
//! has the wanted scale exactly, and towards the input scales approach the size of the primes, which is the largest that
//! there can be. Factors of terms are integers at these scales.

use super::{BootstrapRequest, RANGE};
use crate::scheme::Level;
use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};

/// Sums of so few terms are made of multiples of T_1 … without a product.
const LEAF_TERMS_MAX: usize = 4;

/// An integer factor, counting units or imaginary units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// A multiple of 1.
    Real(i64),
    /// A multiple of i.
    Imaginary(i64),
}

/// `copies · left · right`; values are counted from the input, 0, over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReductionProduct {
    /// First factor.
    pub left: u32,
    /// Second factor.
    pub right: u32,
    /// How often the product is added.
    pub copies: u32,
}

/// A multiple of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReductionTerm {
    /// The value.
    pub value: u32,
    /// Its factor.
    pub factor: Factor,
}

/// `rescale(product + Σ terms) + constant + addend`, its operands used at the level of the step.
#[derive(Clone, Debug, PartialEq)]
pub struct ReductionStep {
    /// Level of the sum, before its rescale.
    pub level: Level,
    /// The product, if there is one.
    pub product: Option<ReductionProduct>,
    /// Terms that join before the rescale.
    pub terms: Vec<ReductionTerm>,
    /// Added to every slot after the rescale.
    pub constant: i64,
    /// A value at the level of the result that is added.
    pub addend: Option<u32>,
}

/// The program and its scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduction {
    /// Level of the input.
    pub from: Level,
    /// The steps; step k makes value k + 1.
    pub steps: Vec<ReductionStep>,
    /// The last sum `F`, which is not rescaled: the result of both parts is the rescaled `i F_re - F_im` plus the conjugate of
    /// `i F_re + F_im`.
    pub last: ReductionStep,
    /// Scale of the input `y`.
    pub input_scale: f64,
    /// log2 of the scale of a result of depth d, d = 0 the input's.
    pub log2_scales: Vec<f64>,
}

impl Reduction {
    /// Levels that it takes.
    pub(super) fn levels(log_degree: u32, squarings: u32) -> u32 {
        log_degree + squarings + 1
    }

    /// The program for an input at level `from` that ends with a scale of `output_scale`.
    pub(super) fn new(
        request: &BootstrapRequest,
        chain: &[u64],
        from: Level,
        output_scale: f64,
    ) -> Reduction {
        let ratio = libm::exp2(f64::from(request.ratio_bits));
        let [b_1, b_2] = sine_series(TAU / ratio);
        // 2 Im F at the last scale is m at the output's, with Im F = Im(b_1 E + b_2 E²) / b_2 and b_2 < 0; i F_re - F_im is -i times what
        // an extraction of positive sign takes.
        let last_scale = -b_2 * ratio * output_scale / (4.0 * PI);
        let depth = Reduction::levels(request.log_degree, request.squarings);
        let prime = |d: u32| chain[(from.0 - d) as usize] as f64;
        let mut scales = vec![last_scale];
        for d in (0..depth).rev() {
            scales.push((scales[scales.len() - 1] * prime(d)).sqrt());
        }
        scales.reverse();
        let mut program =
            Program { from, scales: &scales, steps: vec![], depths: vec![0], powers: BTreeMap::new() };
        program.powers.insert(1, 0);
        let angle = TAU * RANGE / libm::exp2(f64::from(request.squarings));
        let coefficients = exponential(angle, (1 << request.log_degree) - 1);
        let mut value = program.polynomial(&coefficients, request.log_degree);
        for d in request.log_degree..depth - 1 {
            value = program.push(d, Sum { product: Some((value, value, 1)), ..Sum::default() });
        }
        let sum = Sum {
            product: Some((value, value, 1)),
            terms: vec![(value, b_1 / b_2, false)],
            ..Sum::default()
        };
        let last = program.step(depth - 1, &sum);
        let log2_scales = scales.iter().map(|s| libm::log2(*s)).collect();
        Reduction { from, steps: program.steps, last, input_scale: scales[0], log2_scales }
    }

    /// Relinearizations of one part.
    pub fn products(&self) -> usize {
        1 + self.steps.iter().filter(|step| step.product.is_some()).count()
    }

    /// The exact meaning: `F` of one slot, `disturb(depth of the result)` being added to the result of every step.
    pub fn evaluate(&self, input: [f64; 2], mut disturb: impl FnMut(usize) -> [f64; 2]) -> [f64; 2] {
        let mut values = vec![(input, 0usize)];
        for step in self.steps.iter().chain([&self.last]) {
            let depth = self.depth(step);
            let mut sum = self.sum(step, depth, &values);
            let rounding = disturb(depth + 1);
            sum = [sum[0] + rounding[0], sum[1] + rounding[1]];
            if let Some(addend) = step.addend {
                let (addend, _) = values[addend as usize];
                sum = [sum[0] + addend[0], sum[1] + addend[1]];
            }
            values.push((sum, depth + 1));
        }
        values.last().map_or([0.0; 2], |value| value.0)
    }

    /// Depth of a step's operands.
    pub(super) fn depth(&self, step: &ReductionStep) -> usize {
        (self.from.0 - step.level.0) as usize
    }

    /// What a factor of 1 on a value of depth `own` is in a sum at `depth`, in units of the slots.
    pub(super) fn unit(&self, own: usize, depth: usize) -> f64 {
        let scale = |depth: usize| libm::exp2(self.log2_scales[depth]);
        scale(own) / scale(depth) / scale(depth)
    }

    /// Product, terms and constant of a step, in units of the slots.
    pub(super) fn sum(&self, step: &ReductionStep, depth: usize, values: &[([f64; 2], usize)]) -> [f64; 2] {
        let scale = |depth: usize| libm::exp2(self.log2_scales[depth]);
        let mut sum = [step.constant as f64 / scale(depth + 1), 0.0];
        if let Some(ReductionProduct { left, right, copies }) = step.product {
            let ([a, b], [c, d]) = (values[left as usize].0, values[right as usize].0);
            sum[0] += f64::from(copies) * (a * c - b * d);
            sum[1] += f64::from(copies) * (a * d + b * c);
        }
        for term in &step.terms {
            let (value, its_depth) = values[term.value as usize];
            let unit = self.unit(its_depth, depth);
            match term.factor {
                Factor::Real(k) => {
                    sum[0] += k as f64 * unit * value[0];
                    sum[1] += k as f64 * unit * value[1];
                }
                Factor::Imaginary(k) => {
                    sum[0] -= k as f64 * unit * value[1];
                    sum[1] += k as f64 * unit * value[0];
                }
            }
        }
        sum
    }
}

/// Coefficients of `exp(i a y)` in the Chebyshev basis up to `degree`: real at even places, times i at odd ones.
pub fn exponential(a: f64, degree: u32) -> Vec<f64> {
    let coefficient = |k: u32| {
        let sign = if (k / 2).is_multiple_of(2) { 1.0 } else { -1.0 };
        let twice = if k == 0 { 1.0 } else { 2.0 };
        twice * sign * libm::jn(k as i32, a)
    };
    (0..=degree).map(coefficient).collect()
}

/// `b` with `b_1 sin t + b_2 sin 2t` nearest to t up to |t| = `largest`: equal at the nodes of Chebyshev in t², where the error,
/// divided by t, is nearly least in the worst case.
pub fn sine_series(largest: f64) -> [f64; 2] {
    let node = |k: f64| largest * libm::cos(PI * k / 8.0);
    let [(s_1, d_1, t_1), (s_2, d_2, t_2)] =
        [1.0, 3.0].map(node).map(|t| (libm::sin(t), libm::sin(2.0 * t), t));
    let determinant = s_1 * d_2 - s_2 * d_1;
    [(t_1 * d_2 - t_2 * d_1) / determinant, (s_1 * t_2 - s_2 * t_1) / determinant]
}

/// A sum before its factors are integers: terms are (value, coefficient, times i).
#[derive(Default)]
struct Sum {
    product: Option<(u32, u32, u32)>,
    terms: Vec<(u32, f64, bool)>,
    constant: f64,
    addend: Option<u32>,
}

/// A program in the making.
struct Program<'a> {
    from: Level,
    scales: &'a [f64],
    steps: Vec<ReductionStep>,
    /// Depth of each value.
    depths: Vec<u32>,
    /// The value of each T_k.
    powers: BTreeMap<usize, u32>,
}

impl Program<'_> {
    /// A step whose operands are used at `depth`.
    fn step(&self, depth: u32, sum: &Sum) -> ReductionStep {
        let scale = self.scales[depth as usize];
        let term = |&(value, coefficient, imaginary): &(u32, f64, bool)| {
            let own = self.scales[self.depths[value as usize] as usize];
            let factor = libm::rint(coefficient * scale * (scale / own)) as i64;
            ReductionTerm {
                value,
                factor: if imaginary { Factor::Imaginary(factor) } else { Factor::Real(factor) },
            }
        };
        ReductionStep {
            level: Level(self.from.0 - depth),
            product: sum.product.map(|(left, right, copies)| ReductionProduct { left, right, copies }),
            terms: sum.terms.iter().map(term).collect(),
            constant: libm::rint(sum.constant * self.scales[depth as usize + 1]) as i64,
            addend: sum.addend,
        }
    }

    fn push(&mut self, depth: u32, sum: Sum) -> u32 {
        let step = self.step(depth, &sum);
        self.steps.push(step);
        self.depths.push(depth + 1);
        self.steps.len() as u32
    }

    /// The value at exactly this depth.
    fn at(&mut self, value: u32, depth: u32) -> u32 {
        match self.depths[value as usize] == depth {
            true => value,
            false => self.push(depth - 1, Sum { terms: vec![(value, 1.0, false)], ..Sum::default() }),
        }
    }

    /// `T_k = 2 T_a T_b - T_(a-b)`, with a the largest power of two below k; at depth `⌈log2 k⌉`.
    fn power(&mut self, k: usize) -> u32 {
        if let Some(value) = self.powers.get(&k) {
            return *value;
        }
        let a = k.next_power_of_two() / 2;
        let b = k - a;
        let (left, right) = (self.power(a), self.power(b));
        let depth = self.depths[left as usize].max(self.depths[right as usize]);
        let product = Some((self.at(left, depth), self.at(right, depth), 2));
        let sum = match a - b {
            0 => Sum { product, constant: -1.0, ..Sum::default() },
            difference => {
                Sum { product, terms: vec![(self.power(difference), -1.0, false)], ..Sum::default() }
            }
        };
        let value = self.push(depth, sum);
        self.powers.insert(k, value);
        value
    }

    /// `Σ c_k T_k` at this depth, for a degree below `2^depth`; coefficients of odd k are imaginary.
    fn polynomial(&mut self, coefficients: &[f64], depth: u32) -> u32 {
        let degree = coefficients.len() - 1;
        let leaf = degree < LEAF_TERMS_MAX && degree <= 1 << (depth - 1);
        if leaf {
            let sum = Sum { terms: self.terms(coefficients), constant: coefficients[0], ..Sum::default() };
            return self.push(depth - 1, sum);
        }
        // p = q T_k + r, since T_(k+j) = 2 T_k T_j - T_(k-j).
        let k = degree.next_power_of_two() / if degree.is_power_of_two() { 1 } else { 2 };
        let mut quotient: Vec<f64> = coefficients[k..].iter().map(|c| 2.0 * c).collect();
        quotient[0] /= 2.0;
        let mut rest = coefficients[..k].to_vec();
        (1..quotient.len()).for_each(|j| rest[k - j] -= coefficients[k + j]);
        let power = self.power(k);
        let (left, right) = (self.polynomial(&quotient, depth - 1), self.at(power, depth - 1));
        let mut sum = Sum { product: Some((left, right, 1)), ..Sum::default() };
        if rest.len() <= LEAF_TERMS_MAX {
            (sum.terms, sum.constant) = (self.terms(&rest), rest[0]);
        } else {
            sum.addend = Some(self.polynomial(&rest, depth));
        }
        self.push(depth - 1, sum)
    }

    fn terms(&mut self, coefficients: &[f64]) -> Vec<(u32, f64, bool)> {
        (1..coefficients.len()).map(|k| (self.power(k), coefficients[k], k % 2 == 1)).collect()
    }
}
