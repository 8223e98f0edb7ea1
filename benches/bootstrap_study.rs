//! The precision study of bootstrapping: exact slots with modelled noise, N = 2^16, uniform ternary main secret.
//!
//! `cargo bench -p cipherloom-client --bench bootstrap_study -- [FILTER..] [--record]`; rows go to
//! `benches/results/bootstrap_study.json`, and from there to the tables of docs/bootstrapping.md. A value after a rescale is its
//! exact value plus a Gaussian error of the deviation that `ir/src/scheme/noise.rs` states for it; all else is exact.
//! Slots-to-coefficients stands first, so that slots are independent: a slot is drawn as its message and the multiple of
//! `q_0` that a sparse secret of weight 32 leaves, a sum of 33 uniform numbers rounded.
//!
//! Rows of sets also count what is rounded where divisions are merged, and the value of the secret at each slot.
//!
//! A little above the soft cap: designs, their arithmetic and their rows are read together.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom_ir::scheme::{
    BOOTSTRAP_SETS, BootstrapPlan, BootstrapRequest, EPHEMERAL_WEIGHT, Gadget, Level, Parameters, RANGE,
    Scale, SecurityPolicy, noise::NoiseModel,
};
use harness::{Arguments, Row};
use serde_json::{Value, json};
use std::f64::consts::{PI, TAU};

const LOG_N: u32 = 16;
const SLOTS: usize = 1 << (LOG_N - 1);
/// log2 of the scale of circuits.
const CIRCUIT_SCALE: f64 = 40.0;
/// Bound of log2(QP), factors of the transforms, digits of the keys: what the levels of a design are counted with.
const BOUND: f64 = 1747.0;
const TRANSFORM_LEVELS: u32 = 3;
const DIGITS: f64 = 3.0;

/// How the multiple of q_0 is taken away.
#[derive(Clone, Copy)]
enum Design {
    /// A cosine in the Chebyshev basis of `2 y^2 - 1`, doublings of the angle, an arcsine of this degree.
    Cosine { degree: usize, doublings: u32, arcsine: u32 },
    /// The exponential in the Chebyshev basis of y, squarings, a series of so many sines.
    Exponential { log_degree: u32, squarings: u32, sines: usize },
}

#[derive(Clone, Copy)]
struct Case {
    design: Design,
    ratio_bits: u32,
    /// log2 of the scale of the evaluation, and primes per level.
    scale: (f64, u32),
}

/// Noise of slots.
struct Noise {
    state: u64,
    model: NoiseModel,
    /// The secret's value at the slot, over its root mean square: what is rounded is multiplied by it. The designs are compared at 1.
    secret: f64,
}

impl Noise {
    fn new() -> Noise {
        // Only the ring matters for rescales.
        let parameters =
            Parameters { log_n: LOG_N, chain: vec![], raised: vec![], special: vec![], log_scale: 40 };
        Noise { state: 0x9e37_79b9_7f4a_7c15, model: NoiseModel::new(&parameters), secret: 1.0 }
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Two independent Gaussians of this deviation.
    fn gaussian(&mut self, deviation: f64) -> [f64; 2] {
        let radius = deviation * (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sin, cos) = (TAU * self.uniform()).sin_cos();
        [radius * cos, radius * sin]
    }

    /// The error of a rescale by `primes` primes to a scale of `2^log2_scale`.
    fn rescale(&mut self, log2_scale: f64, primes: u32) -> [f64; 2] {
        let deviation = self.secret * self.model.division(primes) / log2_scale.exp2();
        self.gaussian(deviation)
    }

    /// The multiple of q_0 in a raised coefficient.
    fn multiple(&mut self) -> f64 {
        (0..=EPHEMERAL_WEIGHT).map(|_| self.uniform() - 0.5).sum::<f64>().round()
    }
}

fn times([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a * c - b * d, a * d + b * c]
}

fn plus([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a + c, b + d]
}

fn scaled([a, b]: [f64; 2], k: f64) -> [f64; 2] {
    [a * k, b * k]
}

/// `Σ c_k T_k(y)`, a rescale per product, baby steps up to 3.
struct Chebyshev<'a> {
    powers: Vec<Option<[f64; 2]>>,
    noise: &'a mut dyn FnMut() -> [f64; 2],
}

impl Chebyshev<'_> {
    fn power(&mut self, k: usize) -> [f64; 2] {
        if let Some(value) = self.powers[k] {
            return value;
        }
        let a = k.next_power_of_two() / 2;
        let (left, right, minus) = (self.power(a), self.power(k - a), self.power(2 * a - k));
        let product = scaled(times(left, right), 2.0);
        let value = plus(plus(product, scaled(minus, -1.0)), (self.noise)());
        self.powers[k] = Some(value);
        value
    }

    fn evaluate(&mut self, coefficients: &[[f64; 2]]) -> [f64; 2] {
        let degree = coefficients.len() - 1;
        let mut sum = [0.0; 2];
        if degree < 4 {
            for (k, c) in coefficients.iter().enumerate() {
                sum = plus(sum, times(*c, self.power(k)));
            }
            return sum;
        }
        let k = (degree + 1).next_power_of_two() / 2;
        let mut quotient: Vec<_> = coefficients[k..].iter().map(|c| scaled(*c, 2.0)).collect();
        quotient[0] = coefficients[k];
        let mut rest = coefficients[..k].to_vec();
        (1..quotient.len()).for_each(|j| rest[k - j] = plus(rest[k - j], scaled(coefficients[k + j], -1.0)));
        let (left, power) = (self.evaluate(&quotient), self.power(k));
        sum = plus(times(left, power), self.evaluate(&rest));
        plus(sum, (self.noise)())
    }
}

fn chebyshev(y: [f64; 2], coefficients: &[[f64; 2]], noise: &mut dyn FnMut() -> [f64; 2]) -> [f64; 2] {
    let mut powers = vec![None; coefficients.len().next_power_of_two()];
    (powers[0], powers[1]) = (Some([1.0, 0.0]), Some(y));
    let value = Chebyshev { powers, noise }.evaluate(coefficients);
    let last = noise();
    plus(value, last)
}

/// `b` with `Σ b_k sin kt` equal to t at as many Chebyshev nodes up to `largest`.
fn sines(count: usize, largest: f64) -> Vec<f64> {
    let node = |j: usize| largest * (PI * (2 * j + 1) as f64 / (4 * count) as f64).cos();
    let mut rows: Vec<Vec<f64>> = (0..count)
        .map(|j| (1..=count).map(|k| (k as f64 * node(j)).sin()).chain([node(j)]).collect())
        .collect();
    for i in 0..count {
        let pivot = (i..count).max_by(|a, b| rows[*a][i].abs().total_cmp(&rows[*b][i].abs())).unwrap();
        rows.swap(i, pivot);
        let row = rows[i].clone();
        for (_, other) in rows.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let factor = other[i] / row[i];
            other.iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[count] / row[i]).collect()
}

impl Case {
    /// Levels of the evaluation.
    fn levels(&self) -> u32 {
        match self.design {
            Design::Cosine { degree, doublings, arcsine } => {
                let polynomial = (degree + 1).next_power_of_two().ilog2();
                // An odd polynomial, or one level for the constant that leads to the scale of circuits.
                let end = [1, 2, 3, 3][arcsine as usize / 2];
                1 + polynomial + doublings + end
            }
            Design::Exponential { log_degree, squarings, sines } => {
                log_degree + squarings + [1, 1, 2, 2][sines - 1]
            }
        }
    }

    fn name(&self) -> String {
        let scale = format!("r{}_s{:.0}", self.ratio_bits, self.scale.0);
        match self.design {
            Design::Cosine { degree, doublings, arcsine } => {
                format!("study_cos_d{degree}_x{doublings}_a{arcsine}_{scale}")
            }
            Design::Exponential { log_degree, squarings, sines } => {
                format!("study_exp_d{}_x{squarings}_s{sines}_{scale}", (1 << log_degree) - 1)
            }
        }
    }

    /// The error of one slot's part in message units.
    fn error(&self, noise: &mut Noise, m: f64, constants: &Constants) -> f64 {
        let (scale, primes) = self.scale;
        let ratio = f64::from(self.ratio_bits).exp2();
        let x = noise.multiple() + m / ratio;
        let sine = match self.design {
            Design::Cosine { doublings, arcsine, .. } => {
                let range = RANGE + 0.25;
                let y = (x - 0.25) / range + noise.rescale(scale, primes)[0];
                let u = 2.0 * y * y - 1.0 + noise.rescale(scale, primes)[0];
                let mut rescale = || [noise.rescale(scale, primes)[0], 0.0];
                let mut c = chebyshev([u, 0.0], &constants.polynomial, &mut rescale)[0];
                for _ in 0..doublings {
                    c = 2.0 * c * c - 1.0 + noise.rescale(scale, primes)[0];
                }
                // The Taylor series of the arcsine.
                let series = [1.0, 1.0 / 6.0, 3.0 / 40.0, 5.0 / 112.0];
                let terms = series[..=arcsine as usize / 2].iter().rev();
                c * terms.fold(0.0, |sum, a| sum * c * c + a)
            }
            Design::Exponential { squarings, .. } => {
                let y = [x / RANGE + noise.rescale(scale, primes)[0], 0.0];
                let mut rescale = || noise.rescale(scale, primes);
                let mut e = chebyshev(y, &constants.polynomial, &mut rescale);
                for _ in 0..squarings {
                    e = plus(times(e, e), noise.rescale(scale, primes));
                }
                let mut power = [1.0, 0.0];
                let mut sum = 0.0;
                for (k, b) in constants.sines.iter().enumerate() {
                    power = times(power, e);
                    if k > 0 {
                        power = plus(power, noise.rescale(scale, primes));
                    }
                    sum += b * power[1];
                }
                sum
            }
        };
        sine * ratio / TAU + noise.rescale(CIRCUIT_SCALE, 1)[0] - m
    }

    fn constants(&self) -> Constants {
        let ratio = f64::from(self.ratio_bits).exp2();
        match self.design {
            Design::Cosine { degree, doublings, .. } => {
                let a = TAU * (RANGE + 0.25) / f64::from(doublings).exp2();
                let c = |k: usize| {
                    let sign = if k.is_multiple_of(2) { 1.0 } else { -1.0 };
                    [sign * if k == 0 { 1.0 } else { 2.0 } * libm::jn(2 * k as i32, a), 0.0]
                };
                Constants { polynomial: (0..=degree).map(c).collect(), sines: vec![] }
            }
            Design::Exponential { log_degree, squarings, sines: count } => {
                let a = TAU * RANGE / f64::from(squarings).exp2();
                let c = |k: usize| {
                    let j = if k == 0 { 1.0 } else { 2.0 } * libm::jn(k as i32, a);
                    [[j, 0.0], [0.0, j], [-j, 0.0], [0.0, -j]][k % 4]
                };
                let polynomial = (0..1usize << log_degree).map(c).collect();
                Constants { polynomial, sines: sines(count, TAU / ratio) }
            }
        }
    }

    fn row(&self) -> Row {
        let (mut noise, constants) = (Noise::new(), self.constants());
        let errors = (0..SLOTS).map(|_| {
            let mut part = || {
                let m = 2.0 * noise.uniform() - 1.0;
                self.error(&mut noise, m, &constants)
            };
            part().hypot(part())
        });
        let (mean, worst) = precision(errors);
        let (levels, bits) = (self.levels(), self.scale.0);
        // Q and P with a digit's margin within the bound; the transforms and the levels of circuits come off Q.
        let log_q = (BOUND - 5.5) * DIGITS / (DIGITS + 1.0);
        let taken = 50.0 + f64::from(TRANSFORM_LEVELS) * (CIRCUIT_SCALE + 50.0) + f64::from(levels) * bits;
        let usable = ((log_q - taken) / CIRCUIT_SCALE).floor();
        let more = json!({
            "worst_bits": worst, "levels": levels, "ratio_bits": self.ratio_bits, "scale_bits": bits,
            "primes_per_level": self.scale.1, "usable_levels": usable,
        });
        Row { name: self.name(), value: mean, unit: "bits", threads: 1, more }
    }
}

struct Constants {
    polynomial: Vec<[f64; 2]>,
    sines: Vec<f64>,
}

/// -log2 of the mean and of the largest error.
fn precision(errors: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut sum, mut worst, mut count) = (0.0, 0.0f64, 0.0);
    for error in errors {
        (sum, worst, count) = (sum + error, worst.max(error), count + 1.0);
    }
    (-(sum / count).log2(), -worst.log2())
}

fn cases() -> Vec<Case> {
    let one = (50.0, 1);
    let cosine = |degree, doublings, arcsine, ratio_bits, scale| Case {
        design: Design::Cosine { degree, doublings, arcsine },
        ratio_bits,
        scale,
    };
    let exponential = |log_degree, squarings, sines, ratio_bits, scale| Case {
        design: Design::Exponential { log_degree, squarings, sines },
        ratio_bits,
        scale,
    };
    let mut cases = vec![];
    cases.extend((10..=12).map(|r| cosine(15, 3, 1, r, one)));
    cases.extend((10..=12).map(|r| cosine(31, 2, 1, r, one)));
    cases.extend([(3, 8), (3, 7), (5, 6), (7, 5)].map(|(a, r)| cosine(15, 3, a, r, one)));
    cases.extend([(3, 8), (3, 7), (5, 6), (7, 5)].map(|(a, r)| cosine(31, 2, a, r, one)));
    cases.extend([(1, 13), (3, 8), (7, 5)].map(|(a, r)| cosine(31, 2, a, r, (60.0, 2))));
    for (log_degree, squarings) in [(5, 3), (4, 5), (5, 4), (4, 6)] {
        let series = [(1, 11), (2, 6), (2, 7), (2, 8), (3, 5), (4, 4)];
        cases.extend(series.map(|(s, r)| exponential(log_degree, squarings, s, r, one)));
    }
    cases.extend([(2, 7), (2, 9), (4, 5)].map(|(s, r)| exponential(5, 4, s, r, (60.0, 2))));
    cases
}

/// A set of docs/bootstrapping.md: the program that runs, at its own scales, on four kinds of messages.
/// Draws the two parts of a message.
type Draw = fn(&mut Noise) -> [f64; 2];

fn set_rows(name: &str, request: &BootstrapRequest) -> Vec<Row> {
    let plan = request.plan().unwrap();
    let security = SecurityPolicy::standard_128().check(&plan.parameters, &plan.keys);
    let kinds: [(&str, Draw); 4] = [
        ("uniform", |noise| [2.0 * noise.uniform() - 1.0, 2.0 * noise.uniform() - 1.0]),
        ("constant", |_| [1.0, -1.0]),
        ("one-sided", |noise| [noise.uniform(), 0.0]),
        ("one-hot", |_| [0.0, 0.0]),
    ];
    let kinds = kinds.map(|(kind, draw)| {
        let mut noise = Noise::new();
        noise.model = NoiseModel::new(&plan.parameters);
        let errors = (0..plan.slots()).map(|_| {
            let [re, im] = draw(&mut noise);
            // A sum of many coefficients, complex.
            noise.secret = (-(1.0 - noise.uniform()).ln()).sqrt();
            let [re, im] =
                [set_error(&plan, request, &mut noise, re), set_error(&plan, request, &mut noise, im)];
            re.hypot(im)
        });
        let (mean, worst) = precision(errors);
        (kind, mean, worst)
    });
    let log2 = |primes: &[u64]| primes.iter().map(|q| (*q as f64).log2()).sum::<f64>();
    let digits = plan.parameters.chain.len().div_ceil(plan.gadget.digit_limbs as usize);
    let bytes: f64 = plan.keys.iter().map(|key| key_bytes(&plan, key.level, key.gadget)).sum();
    let more = json!({
        "worst_bits": kinds[0].2,
        "kinds": kinds.iter().map(|(kind, mean, worst)| json!([kind, mean, worst])).collect::<Vec<Value>>(),
        "log_n": request.log_n, "log_q": log2(&plan.parameters.chain), "log_p": log2(&plan.parameters.special),
        "log_qp": security.as_ref().map(|report| report.log_qp).ok(),
        "ephemeral_log_qp": security.as_ref().ok().and_then(|report| report.ephemeral).map(|e| e.log_qp),
        "primes": plan.parameters.chain.len(), "special_primes": plan.parameters.special.len(), "digits": digits,
        "usable_levels": plan.usable_levels(), "keys": plan.keys.len(), "key_gib": bytes,
        "products": plan.reductions() * plan.reduction.products(),
    });
    vec![Row { name: format!("study_set_{name}"), value: kinds[0].1, unit: "bits", threads: 1, more }]
}

/// GiB of a key in memory, both halves.
fn key_bytes(plan: &BootstrapPlan, level: Level, gadget: Gadget) -> f64 {
    let digits = level.limbs().div_ceil(gadget.digit_limbs as usize);
    let limbs = level.limbs() + gadget.special_limbs as usize;
    (2 * digits * limbs * plan.parameters.n() * 8) as f64 / (1u64 << 30) as f64
}

/// One part of a slot through the program of the plan.
fn set_error(plan: &BootstrapPlan, request: &BootstrapRequest, noise: &mut Noise, m: f64) -> f64 {
    let scales = &plan.reduction.log2_scales;
    let ratio = f64::from(request.ratio_bits).exp2();
    // Slots-to-coefficients and the switch to the ephemeral secret: errors of a coefficient, a slot's over sqrt(N/2).
    let q_0 = (plan.parameters.chain[0] as f64).log2();
    let coefficient = (plan.parameters.slots() as f64).sqrt();
    let encapsulation = noise.model.key_switch(plan.encapsulation_gadget(), Level(0)).inner;
    // Sweeps and relinearizations divide by the special primes and a chain prime at once.
    let merged = |gadget: Gadget| gadget.special_limbs + 1;
    let mut before = noise.model.division(merged(plan.to_coefficients.gadget)).hypot(encapsulation);
    if plan.sparse.is_some() {
        // The trace, relative to what it makes of the coefficient: ir/src/scheme/bootstrap/noise.rs.
        let repeats = f64::from(request.log_repeats()).exp2();
        let switch = noise.model.key_switch(plan.gadget, plan.parameters.top()).total();
        before = before.hypot(switch * (1.0 - 1.0 / repeats).sqrt());
    }
    let before = before / coefficient / q_0.exp2();
    let x = noise.multiple() + m / ratio + noise.gaussian(before)[0];
    // The last factor of coefficients-to-slots and the conjugation, which counts a sum of two.
    let switch = noise.model.key_switch(plan.gadget, plan.reduced_from).total();
    let deviation = (2.0 * noise.model.division(merged(plan.gadget))).hypot(switch) / scales[0].exp2();
    let y = x / RANGE + noise.gaussian(noise.secret * deviation)[0];
    let out_scale = Scale::canonical(plan.output).value(&plan.circuit());
    let last = scales.len() - 1;
    let mut steps = plan.reduction.steps.iter();
    let [_, imaginary] = plan.reduction.evaluate([y, 0.0], |depth| match depth {
        d if d == last => [0.0; 2],
        d => {
            let product = steps.next().is_some_and(|step| step.product.is_some());
            noise.rescale(scales[d], if product { merged(plan.gadget) } else { 1 })
        }
    });
    let (mut end, mut reduced_scale) = (noise.model.division(1) / out_scale, out_scale);
    if let Some(sparse) = &plan.sparse {
        // The join of halves is a sweep of two values that carry a rounding.
        reduced_scale = sparse.join_scale;
        end = noise.model.division(merged(plan.gadget)) / out_scale;
        end = end.hypot(2.0f64.sqrt() * noise.model.division(1) / reduced_scale);
    }
    -2.0 * imaginary * scales[last].exp2() / reduced_scale + noise.gaussian(noise.secret * end)[0] - m
}

fn main() {
    let arguments = Arguments::parse();
    let mut rows: Vec<Row> =
        cases().iter().filter(|case| arguments.wants(&case.name())).map(Case::row).collect();
    for (name, request) in &BOOTSTRAP_SETS {
        if arguments.wants(&format!("study_set_{name}")) {
            rows.extend(set_rows(name, request));
        }
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "bootstrap_study", &rows);
}
