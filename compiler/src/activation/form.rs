//! Polynomials with leading coefficient ±1 as nested squares, so that no level is spent on coefficients.
//!
//! Completing the square: `u⁴ + … = (u² + βu + α)² + b·u + c`. The linear remainder is a product with a number at the
//! level of the last square, hence free of extra levels.
//! Promises: [`Form::of`] reproduces the power coefficients exactly up to rounding (tested).

use super::series;

/// A polynomial of `u` as the circuit computes it. `sign` is the leading coefficient, +1 or −1.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `sign·(u + shift)² + constant`; one level.
    Quadratic {
        /// Leading coefficient.
        sign: f64,
        /// Added before the square.
        shift: f64,
        /// Added at the end.
        constant: f64,
    },
    /// `sign·u·(u² + beta·u + alpha) + constant`; two levels.
    Cubic {
        /// Leading coefficient.
        sign: f64,
        /// Factor of u in the inner quadratic.
        beta: f64,
        /// Constant of the inner quadratic.
        alpha: f64,
        /// Added at the end.
        constant: f64,
    },
    /// `sign·(v² + linear·u) + constant`, `v = u² + beta·u + alpha`; two levels.
    Quartic(Quartic),
}

/// See [`Form::Quartic`].
#[derive(Clone, Debug, PartialEq)]
pub struct Quartic {
    /// Leading coefficient.
    pub sign: f64,
    /// Factor of u in v.
    pub beta: f64,
    /// Constant of v.
    pub alpha: f64,
    /// Factor of u beside the square.
    pub linear: f64,
    /// Added at the end.
    pub constant: f64,
}

impl Quartic {
    fn of(p: &[f64]) -> Quartic {
        let s = p[4];
        let beta = s * p[3] / 2.0;
        let alpha = (s * p[2] - beta * beta) / 2.0;
        let linear = s * p[1] - 2.0 * alpha * beta;
        Quartic { sign: s, beta, alpha, linear, constant: p[0] - s * alpha * alpha }
    }
}

impl Form {
    /// Form of a polynomial given by power coefficients; its degree is 2, 3 or 4 and its last coefficient ±1.
    pub fn of(p: &[f64]) -> Option<Form> {
        let s = p.last()?.signum();
        match p.len() {
            3 => {
                let shift = s * p[1] / 2.0;
                Some(Form::Quadratic { sign: s, shift, constant: p[0] - s * shift * shift })
            }
            4 => Some(Form::Cubic { sign: s, beta: s * p[2], alpha: s * p[1], constant: p[0] }),
            5 => {
                let mut p = p.to_vec();
                p[4] = s;
                Some(Form::Quartic(Quartic::of(&p)))
            }
            _ => None,
        }
    }

    /// Levels that the evaluation of a polynomial takes, in this form or as a [series].
    pub fn depth(degree: usize) -> u32 {
        match degree {
            0..=2 => 1,
            3..=4 => 2,
            _ => series::depth(degree),
        }
    }

    /// Whether polynomials of this degree are computed in such a form; others are series.
    pub fn has(degree: usize) -> bool {
        matches!(degree, 2..=4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(form: &Form, u: f64) -> f64 {
        let v = |q: &Quartic| u * u + q.beta * u + q.alpha;
        let quartic = |q: &Quartic| q.sign * (v(q) * v(q) + q.linear * u) + q.constant;
        match form {
            Form::Quadratic { sign, shift, constant } => sign * (u + shift) * (u + shift) + constant,
            Form::Cubic { sign, beta, alpha, constant } => sign * u * (u * u + beta * u + alpha) + constant,
            Form::Quartic(q) => quartic(q),
        }
    }

    #[test]
    fn forms_equal_their_polynomials() {
        for degree in [2usize, 3, 4] {
            for sign in [1.0, -1.0] {
                let mut p: Vec<f64> =
                    (0..=degree).map(|k| 0.3 * k as f64 - 0.7 + 0.1 * (k * k % 5) as f64).collect();
                p[degree] = sign;
                let form = Form::of(&p).expect("supported degree");
                for k in -4..=4 {
                    let u = f64::from(k) * 0.4;
                    let direct = p.iter().rev().fold(0.0, |acc, a| acc * u + a);
                    assert!((value(&form, u) - direct).abs() < 1e-9, "{degree} {u}");
                }
            }
        }
    }
}
