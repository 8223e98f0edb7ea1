//! Ranges and distributions of every tensor from sample images.
//!
//! The graph is evaluated in f64 on each image, twice: for the ranges, which get a margin and are rounded outward, so that they are
//! short and the same on every machine, and for the histograms on them.

use super::Model;
use super::error::FrontendError;
use crate::graph::{Density, Function, Kind, NodeId, evaluate};
use ndarray::ArrayD;
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Part of the width between the smallest and the largest value, or of an end itself where that is larger, by which an end is moved
/// unless it is zero: approximations before a tensor carry it beyond what the model's own activations give.
const MARGIN: f64 = 0.1;
/// Significant digits of a range.
const RANGE_DIGITS: i32 = 3;
/// Significant digits of a moment.
const MOMENT_DIGITS: i32 = 6;
/// Samples that are kept, from all over the data.
const KEPT: usize = 8;
/// Parts of a range whose values are counted.
pub(crate) const PARTS: usize = 128;

/// What one image (or several) shows of one tensor.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
    count: f64,
}

impl Seen {
    pub(crate) fn of(values: &[f64]) -> Seen {
        let start = Seen { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, squares: 0.0, count: 0.0 };
        values.iter().fold(start, |s, v| Seen {
            min: s.min.min(*v),
            max: s.max.max(*v),
            sum: s.sum + v,
            squares: s.squares + v * v,
            count: s.count + 1.0,
        })
    }

    pub(crate) fn and(self, other: &Seen) -> Seen {
        Seen {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            count: self.count + other.count,
        }
    }

    /// Smallest and largest value with the margin, rounded outward. Values that a root or quotient is taken of stay positive.
    pub(crate) fn range(&self, positive: bool) -> [f64; 2] {
        let width = self.max - self.min;
        let moved = |end: f64, direction: f64, round| match end == 0.0 {
            true => 0.0,
            false => rounded(end + direction * MARGIN * width.max(end.abs()), RANGE_DIGITS, round),
        };
        let low = moved(self.min, -1.0, f64::floor);
        let low = if positive && self.min > 0.0 {
            low.max(rounded(self.min / 2.0, RANGE_DIGITS, f64::floor))
        } else {
            low
        };
        [low, moved(self.max, 1.0, f64::ceil)]
    }

    /// The distribution of values that were counted by parts of their range.
    pub(crate) fn density(&self, counts: &[u64; PARTS]) -> Density {
        let mean = self.sum / self.count;
        let std = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        let histogram = counts.iter().map(|c| *c as f64 / self.count).collect();
        Density { mean: nearest(mean), std: nearest(std), histogram }
    }
}

impl Model {
    /// Fills range and density of every tensor from input tensors (already preprocessed, shaped as the input).
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
        let values = |x: &ArrayD<f32>| {
            let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
            evaluate::graph(&self.graph, &x)
        };
        let seen: Vec<Vec<Seen>> =
            images.par_iter().map(|x| values(x).iter().map(|v| Seen::of(v)).collect()).collect();
        let Some((first, rest)) = seen.split_first() else { return Err(FrontendError::NoSamples) };
        let all: Vec<Seen> =
            (0..first.len()).map(|k| rest.iter().fold(first[k], |s, other| s.and(&other[k]))).collect();
        let positive = self.graph.order().filter(|id| match &self.graph.node(*id).kind {
            Kind::Elementwise(Function::Exact(function)) => function.wants_positive(),
            _ => false,
        });
        let positive: BTreeSet<NodeId> = positive.flat_map(|id| self.graph.operands(id)).collect();
        let range = |(id, seen): (NodeId, &Seen)| seen.range(positive.contains(&id));
        let ranges: Vec<[f64; 2]> = self.graph.order().zip(&all).map(range).collect();
        let counted = |mut counts: Vec<[u64; PARTS]>, x: &ArrayD<f32>| {
            for ((counts, values), range) in counts.iter_mut().zip(values(x)).zip(&ranges) {
                values.iter().for_each(|v| counts[part(*v, *range)] += 1);
            }
            counts
        };
        let none = || vec![[0; PARTS]; ranges.len()];
        let counts = images.par_iter().fold(none, counted).reduce(none, |mut a, b| {
            a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a += b);
            a
        });
        for (k, id) in self.graph.order().enumerate() {
            let node = self.graph.node_mut(id);
            node.range = Some(ranges[k]);
            node.density = Some(all[k].density(&counts[k]));
        }
        if let Some(input) = &mut self.graph.input {
            let kept = images.iter().step_by(images.len().div_ceil(KEPT));
            input.samples = kept.map(|x| x.iter().map(|v| f64::from(*v)).collect()).collect();
        }
        Ok(())
    }
}

/// Part of the range that holds a value.
pub(crate) fn part(value: f64, [low, high]: [f64; 2]) -> usize {
    (((value - low) / (high - low) * PARTS as f64) as usize).min(PARTS - 1)
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
