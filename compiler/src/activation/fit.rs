//! Weighted least-squares fits in the Chebyshev basis.
//!
//! Relies on nothing but arithmetic and `libm`; the same inputs give the same bits on every machine.
//! Promises: [`fit`] returns the coefficients that minimise the weighted square error on [`SAMPLES`] points, and the
//! largest error on them.

use crate::graph::Density;
use cipherloom_ir::Activation;

/// Points of the discrete least-squares problem.
pub const SAMPLES: usize = 2001;

/// Weight that every point of the range keeps, relative to the peak, so that rare values stay bounded.
const GAUSSIAN_FLOOR: f64 = 1e-4;

/// Width of the Gaussian weight in standard deviations of the calibrated values: wider than the data itself, because
/// errors of rare large values hurt more than their number says.
const GAUSSIAN_WIDTH: f64 = 1.5;

/// Weight that every point of the range keeps where a histogram is known, relative to the mean weight.
const HISTOGRAM_FLOOR: f64 = 1e-3;

/// Chebyshev coefficients on `range` (lowest degree first) and the largest error on the sampled range. Where others than the function's own
/// values are wanted, there is one for each part of the range that the histogram counts.
pub fn fit(
    function: &Activation,
    range: [f64; 2],
    density: Option<&Density>,
    wanted: Option<&[f64]>,
    degree: u32,
) -> (Vec<f64>, f64) {
    let size = degree as usize + 1;
    let points: Vec<(f64, f64)> = (0..SAMPLES)
        .map(|k| {
            let t = -1.0 + 2.0 * k as f64 / (SAMPLES - 1) as f64;
            (t, function.value(range[0] + (t + 1.0) / 2.0 * (range[1] - range[0])))
        })
        .collect();
    let mut normal = vec![vec![0.0; size + 1]; size];
    for &(t, own) in &points {
        let weight = weight(density, range, t);
        let y = match (wanted, density) {
            (Some(wanted), Some(density))
                if !wanted.is_empty() && wanted.len() == density.histogram.len() =>
            {
                (HISTOGRAM_FLOOR * own + (weight - HISTOGRAM_FLOOR) * wanted[part(density, t)]) / weight
            }
            _ => own,
        };
        let basis = chebyshev_values(t, size);
        for (i, row) in normal.iter_mut().enumerate() {
            for (cell, b) in row.iter_mut().zip(&basis) {
                *cell += weight * basis[i] * b;
            }
            row[size] += weight * basis[i] * y;
        }
    }
    let coefficients = solve(normal);
    let error = points.iter().map(|&(t, y)| (chebyshev(&coefficients, t) - y).abs()).fold(0.0, f64::max);
    (coefficients, error)
}

/// What an error at `t` of [-1, 1] counts: the histogram of the values, else a Gaussian of their moments, else the same everywhere.
fn weight(density: Option<&Density>, range: [f64; 2], t: f64) -> f64 {
    match density {
        None => 1.0,
        Some(d) if !d.histogram.is_empty() => HISTOGRAM_FLOOR + share(d, t) * d.histogram.len() as f64,
        Some(d) => GAUSSIAN_FLOOR + gaussian(d, GAUSSIAN_WIDTH, range, t),
    }
}

/// How many values are near `t` of [-1, 1], in proportion.
pub fn frequency(density: Option<&Density>, range: [f64; 2], t: f64) -> f64 {
    match density {
        None => 1.0,
        Some(d) if !d.histogram.is_empty() => share(d, t),
        Some(d) => gaussian(d, 1.0, range, t),
    }
}

fn share(density: &Density, t: f64) -> f64 {
    density.histogram[part(density, t)]
}

fn part(density: &Density, t: f64) -> usize {
    let parts = density.histogram.len();
    (((t + 1.0) / 2.0 * parts as f64) as usize).min(parts - 1)
}

fn gaussian(density: &Density, width: f64, range: [f64; 2], t: f64) -> f64 {
    let x = range[0] + (t + 1.0) / 2.0 * (range[1] - range[0]);
    let z = (x - density.mean) / (width * density.std).max(f64::MIN_POSITIVE);
    libm::exp(-z * z / 2.0)
}

/// T_0(t) … T_{count−1}(t).
fn chebyshev_values(t: f64, count: usize) -> Vec<f64> {
    let mut out = vec![1.0, t];
    for k in 2..count {
        out.push(2.0 * t * out[k - 1] - out[k - 2]);
    }
    out.truncate(count);
    out
}

/// `Σ c_k T_k(t)`.
pub fn chebyshev(coefficients: &[f64], t: f64) -> f64 {
    chebyshev_values(t, coefficients.len()).iter().zip(coefficients).map(|(b, c)| b * c).sum()
}

/// Power-basis coefficients in `x` of a Chebyshev series on `range`.
pub fn to_powers(coefficients: &[f64], range: [f64; 2]) -> Vec<f64> {
    let size = coefficients.len();
    // t = a x + b
    let a = 2.0 / (range[1] - range[0]);
    let b = -(range[0] + range[1]) / (range[1] - range[0]);
    let times_t = |p: &[f64]| -> Vec<f64> {
        (0..size).map(|k| b * p[k] + if k > 0 { a * p[k - 1] } else { 0.0 }).collect()
    };
    let unit = |k: usize| -> Vec<f64> { (0..size).map(|i| f64::from(u8::from(i == k))).collect() };
    let (mut previous, mut current) = (unit(0), times_t(&unit(0)));
    let mut out: Vec<f64> = previous.iter().map(|p| p * coefficients[0]).collect();
    for c in &coefficients[1..] {
        out.iter_mut().zip(&current).for_each(|(o, p)| *o += c * p);
        let next = times_t(&current).iter().zip(&previous).map(|(n, p)| 2.0 * n - p).collect();
        previous = std::mem::replace(&mut current, next);
    }
    out
}

/// Solves a regular system given as rows with the right side appended, by elimination with row pivots.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| rows[i][k].abs().total_cmp(&rows[j][k].abs())).unwrap_or(k);
        rows.swap(k, pivot);
        let head = rows[k].clone();
        for row in rows.iter_mut().skip(k + 1) {
            let factor = row[k] / head[k];
            row.iter_mut().zip(&head).for_each(|(cell, h)| *cell -= factor * h);
        }
    }
    let mut out = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| rows[k][j] * out[j]).sum();
        out[k] = (rows[k][n] - known) / rows[k][k];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polynomial_is_its_own_fit() {
        // A power by an integer is one on positive ranges.
        let (c, error) = fit(&Activation::Power(3.0), [1.0, 3.0], None, None, 3);
        assert!(error < 1e-12, "{error}");
        let p = to_powers(&c, [1.0, 3.0]);
        let off = p.iter().zip([0.0, 0.0, 0.0, 1.0]).map(|(found, wanted)| (found - wanted).abs());
        assert!(p.len() == 4 && off.fold(0.0, f64::max) < 1e-10, "{p:?}");
    }

    #[test]
    fn errors_fall_where_the_values_are() {
        let parts = 128;
        let histogram = (0..parts).map(|k| if (60..=68).contains(&k) { 1.0 / 9.0 } else { 0.0 }).collect();
        let density = Density { mean: 0.0, std: 0.15, histogram };
        let typical = |c: &[f64]| {
            let points = (0..=400).map(|k| f64::from(k) / 200.0 - 1.0);
            let square = |t: f64| chebyshev(c, t) - Activation::Relu.value(4.0 * t);
            points.map(|t| frequency(Some(&density), [-4.0, 4.0], t) * square(t) * square(t)).sum::<f64>()
        };
        let (alike, worst) = fit(&Activation::Relu, [-4.0, 4.0], None, None, 8);
        let (weighted, bounded) = fit(&Activation::Relu, [-4.0, 4.0], Some(&density), None, 8);
        assert!(typical(&weighted) < typical(&alike) / 16.0, "{} {}", typical(&weighted), typical(&alike));
        assert!(worst < bounded && bounded < 4.0, "{worst} {bounded}");
    }

    #[test]
    fn powers_agree_with_the_series() {
        let density = Density { mean: 0.3, std: 1.0, histogram: Vec::new() };
        let (c, _) = fit(&Activation::Silu, [-4.0, 7.0], Some(&density), None, 8);
        let p = to_powers(&c, [-4.0, 7.0]);
        for k in 0..12 {
            let x = -4.0 + k as f64;
            let power: f64 = p.iter().rev().fold(0.0, |acc, a| acc * x + a);
            let t = (x - 1.5) / 5.5;
            assert!((power - chebyshev(&c, t)).abs() < 1e-9);
        }
    }
}
