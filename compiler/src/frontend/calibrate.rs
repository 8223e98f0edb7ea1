//! Ranges and moments of every tensor from sample images.
//!
//! The graph is evaluated in f64 on each image; ranges get a margin and are rounded outward, so that they are short
//! and the same on every machine.

use super::Model;
use super::error::FrontendError;
use crate::graph::{Moments, evaluate};
use ndarray::ArrayD;
use rayon::prelude::*;

/// Part of a bound that is added to it.
const MARGIN: f64 = 0.1;
/// Significant digits of a range.
const RANGE_DIGITS: i32 = 3;
/// Significant digits of a moment.
const MOMENT_DIGITS: i32 = 6;

/// What one image (or several) shows of one tensor.
#[derive(Clone, Copy)]
struct Seen {
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
    count: f64,
}

impl Seen {
    fn of(values: &[f64]) -> Seen {
        let start = Seen { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, squares: 0.0, count: 0.0 };
        values.iter().fold(start, |s, v| Seen {
            min: s.min.min(*v),
            max: s.max.max(*v),
            sum: s.sum + v,
            squares: s.squares + v * v,
            count: s.count + 1.0,
        })
    }

    fn and(self, other: &Seen) -> Seen {
        Seen {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            count: self.count + other.count,
        }
    }
}

impl Model {
    /// Fills range and moments of every tensor from input tensors (already preprocessed, shaped as the input).
    /// What the metadata said is replaced.
    ///
    /// # Errors
    /// No image, an image of another shape, or one that holds NaN or an infinity.
    pub fn calibrate(&mut self, images: &[ArrayD<f32>]) -> Result<(), FrontendError> {
        for (image, x) in images.iter().enumerate() {
            if x.shape() != self.reference.input_shape() {
                let expected = self.reference.input_shape().to_vec();
                return Err(FrontendError::Shape { expected, found: x.shape().to_vec() });
            }
            if let Some(index) = x.iter().position(|v| !v.is_finite()) {
                return Err(FrontendError::NotFinite { image, index });
            }
        }
        let seen: Vec<Vec<Seen>> = images
            .par_iter()
            .map(|x| {
                let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
                evaluate::graph(&self.graph, &x).iter().map(|v| Seen::of(v)).collect()
            })
            .collect();
        let Some((first, rest)) = seen.split_first() else { return Err(FrontendError::NoSamples) };
        for (k, id) in self.graph.order().enumerate() {
            let all = rest.iter().fold(first[k], |s, other| s.and(&other[k]));
            let mean = all.sum / all.count;
            let std = (all.squares / all.count - mean * mean).max(0.0).sqrt();
            let node = self.graph.node_mut(id);
            node.range = Some([outward(all.min, -1.0), outward(all.max, 1.0)]);
            node.moments = Some(Moments { mean: nearest(mean), std: nearest(std) });
        }
        Ok(())
    }
}

/// `value` moved by the margin towards `direction` (−1 down, 1 up), then rounded the same way.
fn outward(value: f64, direction: f64) -> f64 {
    let moved = value + direction * MARGIN * value.abs();
    rounded(moved, RANGE_DIGITS, if direction < 0.0 { f64::floor } else { f64::ceil })
}

fn nearest(value: f64) -> f64 {
    rounded(value, MOMENT_DIGITS, f64::round)
}

/// Rounds to significant digits, through text, so that the result is the shortest number of its value.
fn rounded(value: f64, digits: i32, round: fn(f64) -> f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let exponent = digits - 1 - libm::floor(libm::log10(value.abs())) as i32;
    let scaled = if exponent >= 0 {
        value * libm::pow(10.0, f64::from(exponent))
    } else {
        value / libm::pow(10.0, f64::from(-exponent))
    };
    // "-0" and values like 1e400 cannot come out: `value` is finite and not zero.
    format!("{}e{}", round(scaled), -exponent).parse().unwrap_or(value)
}
