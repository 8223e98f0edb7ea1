//! How large the errors of CKKS operations are: standard deviations in the slots, on average and in the worst case.
//!
//! # Model
//! An error polynomial with independent coefficients of variance V has slots `e(ζ)` with `E|e(ζ)|² = N·V`; the
//! real part, which is all that a real message keeps, has standard deviation `sqrt(N·V / 2)`. Everything here is
//! that number in *ciphertext units*: divided by the ciphertext's scale it is the error of the message. Errors of
//! different origin are independent (variances add); so are the slots of one error. The secret is uniform
//! ternary (variance 2/3), the error Gaussian of standard deviation [`ERROR_STD`]; rounding is uniform in
//! [-1/2, 1/2] (variance 1/12).
//!
//! # Sources
//! The per-operation variances are the usual ones: A. Costache, B. Curtis, E. Hales, S. Murphy, T. Ogilvie,
//! R. Player, *On the precision loss in approximate homomorphic encryption* (ePrint 2022/162) for encryption,
//! rescaling and products; hybrid key switching after K. Han and D. Ki (ePrint 2019/688). Derivations stand at
//! each function.
//!
//! # Worst case
//! [`NoiseModel::worst_case`] gives the same formulas for given key material: a product with the secret or with a
//! key's error counts the largest slot that these fixed polynomials have, [`TAIL_DEVIATIONS`] deviations, in place
//! of their mean square. Its results bound a *vector*: with `v` such a result, `Σ_s w_s · e(ζ_s)` is sub-Gaussian with
//! parameter `v · |w|₂` for any real weights, since rows of the embedding are orthogonal. It rests on one assumption:
//! what rounding and digits leave is as if drawn uniformly and independently (Gaussian errors and ternary secrets
//! need none, both are sub-Gaussian with their variance).
//!
//! Promises: pure functions. The averages choose parameters and predict precision; they must not size noise that hides
//! something, which takes the worst case ([`crate::output_bounds`]).

use super::params::{Gadget, Level, Parameters};

/// Standard deviation of the error distribution.
pub const ERROR_STD: f64 = 3.19;

/// Variance of a coefficient of the uniform ternary secret.
pub const SECRET_VARIANCE: f64 = 2.0 / 3.0;

/// Variance of rounding to an integer.
const ROUNDING_VARIANCE: f64 = 1.0 / 12.0;

/// Deviations within which each of 2^39 sub-Gaussian complex numbers stays, all of them together except with
/// probability 2^-128: `sqrt(2 · ln 2 · 169)`, for two signs and two parts. No circuit has more ([`crate::bounds`]).
pub const TAIL_DEVIATIONS: f64 = 15.31;

/// Noise of one key switch, in two parts because merged operations round once for several switches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeySwitchNoise {
    /// What the key's errors leave after division by P.
    pub inner: f64,
    /// What the division's rounding adds.
    pub rounding: f64,
}

impl KeySwitchNoise {
    /// Both parts.
    pub fn total(self) -> f64 {
        libm::hypot(self.inner, self.rounding)
    }
}

/// Noise formulas for one parameter set. All results are slot standard deviations in ciphertext units.
#[derive(Clone, Debug)]
pub struct NoiseModel {
    n: f64,
    /// Largest square of a slot of a key's polynomial that is counted, over its mean.
    key_square: f64,
    log2_chain: Vec<f64>,
    log2_special: Vec<f64>,
}

impl NoiseModel {
    /// The formulas of `parameters`.
    pub fn new(parameters: &Parameters) -> NoiseModel {
        let log2 = |primes: &[u64]| primes.iter().map(|q| libm::log2(*q as f64)).collect();
        NoiseModel {
            n: parameters.n() as f64,
            key_square: 1.0,
            log2_chain: log2(&parameters.chain),
            log2_special: log2(&parameters.special),
        }
    }

    /// The formulas of the worst case: see the header.
    pub fn worst_case(parameters: &Parameters) -> NoiseModel {
        NoiseModel { key_square: TAIL_DEVIATIONS * TAIL_DEVIATIONS, ..NoiseModel::new(parameters) }
    }

    /// Mean (or largest) square of the secret's slots.
    fn secret_square(&self) -> f64 {
        self.n * SECRET_VARIANCE * self.key_square
    }

    /// Slot standard deviation (real part) of an error with coefficients of this variance: `sqrt(N·V / 2)`.
    pub fn slot(&self, coefficient_variance: f64) -> f64 {
        (self.n * coefficient_variance / 2.0).sqrt()
    }

    /// Rounding of an encoded plaintext: V = 1/12.
    pub fn encoding(&self) -> f64 {
        self.slot(ROUNDING_VARIANCE)
    }

    /// Fresh secret-key encryption, `(−a·s + m + e, a)` with the rounded message: V = σ² + 1/12.
    pub fn fresh_secret_key(&self) -> f64 {
        self.slot(ERROR_STD * ERROR_STD + ROUNDING_VARIANCE)
    }

    /// Fresh public-key encryption, `v·pk + (m + e_0, e_1)` with ternary v: the error is `v·e + e_0 + e_1·s`, so
    /// V = σ²·(2·N·2/3 + 1) + 1/12.
    pub fn fresh_public_key(&self) -> f64 {
        let products = 2.0 * self.secret_square();
        self.slot(ERROR_STD * ERROR_STD * (products + 1.0) + ROUNDING_VARIANCE)
    }

    /// Rounding of a ciphertext of degree 1 divided by the product of `primes` primes at once (mod-down, with or
    /// without the rescale): `τ_0 + τ_1·s`, V = (1 + N·2/3) / 12 however many they are, since the base conversion is the
    /// nearest one. By none nothing is rounded.
    pub fn division(&self, primes: u32) -> f64 {
        match primes {
            0 => 0.0,
            _ => self.slot(ROUNDING_VARIANCE * (1.0 + self.secret_square())),
        }
    }

    /// Rounding of a rescale of degree 1: division by one prime.
    pub fn rescale(&self) -> f64 {
        self.division(1)
    }

    /// The same for degree 2: `τ_2·s²` joins. A coefficient of s² sums N/2 products that occur twice, so it has
    /// variance 2·N·(2/3)², and V = (1 + N·2/3 + 2·N²·(2/3)²) / 12.
    pub fn rescale_degree_2(&self) -> f64 {
        let first = self.secret_square();
        self.slot(ROUNDING_VARIANCE * (1.0 + first + 2.0 * first * first))
    }

    /// Hybrid key switch of a value at `level`. Digit j (k primes, product D_j) is extended by a centred base
    /// conversion without correction, a sum of k parts uniform in intervals of length D_j: variance `D_j²·k/12`.
    /// Each digit multiplies a key error of variance σ², and the sum is divided by P:
    /// `V = N·σ²·Σ_j D_j²·k_j/12 / P²`, and the rounding of that division.
    ///
    /// Without special primes the formula still holds, with P = 1.
    pub fn key_switch(&self, gadget: Gadget, level: Level) -> KeySwitchNoise {
        let limbs = level.limbs().min(self.log2_chain.len());
        let special = self.log2_special.iter().take(gadget.special_limbs as usize).sum::<f64>();
        let digits = self.log2_chain[..limbs].chunks(gadget.digit_limbs.max(1) as usize);
        let mean_squares = digits.map(|digit| {
            let k = digit.len() as f64;
            let ratio = libm::exp2(digit.iter().sum::<f64>() - special);
            ratio * ratio * k * ROUNDING_VARIANCE
        });
        let variance = self.n * self.key_square * ERROR_STD * ERROR_STD * mean_squares.sum::<f64>();
        KeySwitchNoise { inner: self.slot(variance), rounding: self.division(gadget.special_limbs) }
    }
}

/// A value as far as noise needs it, in message units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotEstimate {
    /// Bound of |x| over all slots.
    pub magnitude: f64,
    /// Root mean square of x over the slots in use; at most `magnitude`, and equal to it where nothing is known.
    pub typical: f64,
    /// Standard deviation of the error (root mean square over the slots in use).
    pub noise: f64,
}

impl SlotEstimate {
    /// A value known by a bound alone.
    pub fn bounded(magnitude: f64, noise: f64) -> SlotEstimate {
        SlotEstimate { magnitude, typical: magnitude, noise }
    }

    /// Product of two independent values: `x·e_y + y·e_x + e_x·e_y`, the last complex (twice the variance).
    pub fn times(self, other: SlotEstimate) -> SlotEstimate {
        let crossed = sq(self.typical * other.noise) + sq(other.typical * self.noise);
        SlotEstimate {
            magnitude: self.magnitude * other.magnitude,
            typical: self.typical * other.typical,
            noise: (crossed + 2.0 * sq(self.noise * other.noise)).sqrt(),
        }
    }

    /// Product of a value with itself: the errors are one error, `2·x·e + e²`.
    pub fn squared(self) -> SlotEstimate {
        SlotEstimate {
            magnitude: sq(self.magnitude),
            typical: sq(self.typical),
            noise: (sq(2.0 * self.typical * self.noise) + 2.0 * sq(sq(self.noise))).sqrt(),
        }
    }

    /// Product with exact reals of at most this magnitude.
    pub fn scaled(self, factor: f64) -> SlotEstimate {
        let factor = factor.abs();
        SlotEstimate {
            magnitude: self.magnitude * factor,
            typical: self.typical * factor,
            noise: self.noise * factor,
        }
    }

    /// Sum of two values with independent errors.
    pub fn plus(self, other: SlotEstimate) -> SlotEstimate {
        SlotEstimate {
            magnitude: self.magnitude + other.magnitude,
            typical: self.typical + other.typical,
            noise: libm::hypot(self.noise, other.noise),
        }
    }

    /// The same value with an independent error of this standard deviation added.
    pub fn with_noise(self, noise: f64) -> SlotEstimate {
        SlotEstimate { noise: libm::hypot(self.noise, noise), ..self }
    }
}

fn sq(x: f64) -> f64 {
    x * x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::ChainRequest;

    fn model(digit_limbs: u32) -> (NoiseModel, Parameters) {
        let request = ChainRequest { log_n: 14, log_scale: 40, base_bits: 50, levels: 5 };
        let parameters = request.parameters(digit_limbs).unwrap();
        (NoiseModel::new(&parameters), parameters)
    }

    #[test]
    fn hand_computed_for_n_16384() {
        let (model, _) = model(1);
        let close =
            |found: f64, by_hand: f64| assert!((found / by_hand - 1.0).abs() < 1e-3, "{found} {by_hand}");
        close(model.encoding(), 26.128); // sqrt(8192 / 12)
        close(model.fresh_secret_key(), 289.91); // sqrt(8192 · 10.2594)
        close(model.fresh_public_key(), 42677.0); // sqrt(8192 · (10.1761 · 21846.3 + 1/12))
        close(model.rescale(), 2730.9); // sqrt(8192 · 10923.67 / 12)
    }

    #[test]
    fn special_primes_keep_key_switching_near_the_rescale_noise() {
        for digit_limbs in 1..=3 {
            let (model, parameters) = model(digit_limbs);
            let special_limbs = parameters.special.len() as u32;
            let noise = model.key_switch(Gadget { digit_limbs, special_limbs }, parameters.top());
            let ratio = noise.inner / model.rescale();
            assert!((0.005..0.5).contains(&ratio), "{digit_limbs} primes per digit: {ratio}");
            let lower = model.key_switch(Gadget { digit_limbs, special_limbs }, Level(0));
            assert!(lower.inner <= noise.inner && lower.rounding == noise.rounding);
        }
    }

    #[test]
    fn the_worst_case_is_the_average_with_the_largest_key() {
        let (average, parameters) = model(2);
        let worst = NoiseModel::worst_case(&parameters);
        let close = |a: f64, b: f64| assert!((a / b / TAIL_DEVIATIONS - 1.0).abs() < 1e-3, "{a} {b}");
        close(worst.rescale(), average.rescale());
        close(worst.rescale_degree_2(), average.rescale_degree_2() * TAIL_DEVIATIONS);
        close(worst.fresh_public_key(), average.fresh_public_key());
        let switch =
            |m: &NoiseModel| m.key_switch(Gadget { digit_limbs: 2, special_limbs: 2 }, Level(5)).inner;
        close(switch(&worst), switch(&average));
        assert_eq!(worst.fresh_secret_key(), average.fresh_secret_key());
        let failure = 2.0 * libm::exp(-TAIL_DEVIATIONS * TAIL_DEVIATIONS / 2.0);
        assert!(libm::log2(failure) + 40.0 <= -128.0);
    }

    #[test]
    fn products_and_sums_of_estimates() {
        let (x, y) = (SlotEstimate::bounded(3.0, 0.01), SlotEstimate::bounded(4.0, 0.0));
        assert_eq!(x.times(y), SlotEstimate::bounded(12.0, 0.04));
        assert!((x.squared().noise - 0.06).abs() < 1e-5 && x.squared().magnitude == 9.0);
        assert_eq!(x.plus(y), SlotEstimate::bounded(7.0, 0.01));
        assert_eq!(x.scaled(-2.0), SlotEstimate::bounded(6.0, 0.02));
        assert_eq!(SlotEstimate { typical: 1.0, ..x }.squared().magnitude, 9.0);
    }
}
