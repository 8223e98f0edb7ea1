//! Polynomials with leading coefficient ±1 as nested squares, so that no level is spent on coefficients.
//!
//! Completing the square: `u⁴ + … = (u² + βu + α)² + b·u + c`, and one step further for degree 8. The linear
//! remainder is a product with a number at the level of the last square, hence free of extra levels.
//! Promises: [`Form::of`] reproduces the power coefficients exactly up to rounding (tested).

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
    /// `sign·(q² + cubic·u·v + quadratic·v + linear·u) + constant` with `q = v² + inner.linear·u + inner.constant`;
    /// three levels. `inner.sign` is +1.
    Octic {
        /// Leading coefficient.
        sign: f64,
        /// The quartic q, with its v.
        inner: Quartic,
        /// Factor of u·v.
        cubic: f64,
        /// Factor of v.
        quadratic: f64,
        /// Factor of u.
        linear: f64,
        /// Added at the end.
        constant: f64,
    },
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
    /// Form of a polynomial given by power coefficients; its degree is 2, 3, 4 or 8 and its last coefficient ±1.
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
            9 => Some(octic(p, s)),
            _ => None,
        }
    }

    /// Levels that the evaluation takes.
    pub fn depth(degree: usize) -> u32 {
        match degree {
            0..=2 => 1,
            3..=4 => 2,
            _ => 3,
        }
    }
}

fn octic(p: &[f64], s: f64) -> Form {
    // s·p = q² + r, q = u⁴ + q3 u³ + q2 u² + q1 u + q0
    let p: Vec<f64> = p.iter().map(|c| s * c).collect();
    let q3 = p[7] / 2.0;
    let q2 = (p[6] - q3 * q3) / 2.0;
    let q1 = (p[5] - 2.0 * q3 * q2) / 2.0;
    let q0 = (p[4] - 2.0 * q3 * q1 - q2 * q2) / 2.0;
    let inner = Quartic::of(&[q0, q1, q2, q3, 1.0]);
    let r = [
        p[0] - q0 * q0,
        p[1] - 2.0 * q0 * q1,
        p[2] - 2.0 * q0 * q2 - q1 * q1,
        p[3] - 2.0 * (q0 * q3 + q1 * q2),
    ];
    let (alpha, beta) = (inner.alpha, inner.beta);
    let cubic = r[3];
    let quadratic = r[2] - cubic * beta;
    let linear = r[1] - cubic * alpha - quadratic * beta;
    let constant = s * (r[0] - quadratic * alpha);
    Form::Octic { sign: s, inner, cubic, quadratic, linear, constant }
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
            Form::Octic { sign, inner, cubic, quadratic, linear, constant } => {
                let q = quartic(inner);
                sign * (q * q + cubic * u * v(inner) + quadratic * v(inner) + linear * u) + constant
            }
        }
    }

    #[test]
    fn forms_equal_their_polynomials() {
        for degree in [2usize, 3, 4, 8] {
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
