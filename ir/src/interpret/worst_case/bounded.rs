//! What the worst case knows of a value: per slot an interval of the exact value and a bound of the error.
//!
//! Promises: sums, products and rotations keep both true; see the header of [`super`] for the two parts of the error.

use super::{Both, RADIUS};
use crate::op::ValueId;
use crate::verify::ValueType;
use std::collections::BTreeSet;

/// Most rotations that one random part keeps apart.
const MAX_OFFSETS: usize = 1 << 16;

/// An error `Σ_o root[s + o]` over the offsets, `root` jointly sub-Gaussian.
#[derive(Clone)]
pub(super) struct Random {
    pub(super) root: ValueId,
    pub(super) deviation: Both,
    pub(super) offsets: BTreeSet<u32>,
}

impl Random {
    pub(super) fn variance(&self, way: usize) -> f64 {
        self.deviation[way] * self.deviation[way] * self.offsets.len() as f64
    }
}

/// What is known of a value.
#[derive(Clone)]
pub(super) struct Bounded {
    pub(super) kind: ValueType,
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    pub(super) settled: [Vec<f64>; 2],
    pub(super) random: Vec<Random>,
}

/// A bound that is no number any more (infinity times zero) is infinite.
fn known(bound: f64) -> f64 {
    if bound.is_nan() { f64::INFINITY } else { bound }
}

impl Bounded {
    pub(super) fn slots(&self) -> usize {
        self.low.len()
    }

    /// Bound of the random part in every slot.
    pub(super) fn spread(&self, way: usize) -> f64 {
        RADIUS * self.random.iter().map(|r| r.variance(way)).sum::<f64>().sqrt()
    }

    /// Bound of the error in every slot.
    pub(super) fn errors(&self, way: usize) -> Vec<f64> {
        let spread = self.spread(way);
        self.settled[way].iter().map(|e| e + spread).collect()
    }

    /// Largest magnitude of the exact value in a slot.
    pub(super) fn reach(&self, slot: usize) -> f64 {
        known(self.low[slot].abs()).max(known(self.high[slot].abs()))
    }

    /// Largest magnitude of the encrypted value over all slots.
    pub(super) fn peak(&self, way: usize) -> f64 {
        let spread = self.spread(way);
        (0..self.slots()).map(|s| known(self.reach(s) + self.settled[way][s] + spread)).fold(0.0, f64::max)
    }

    /// Mean magnitude of the encrypted value over all slots, at most.
    pub(super) fn mean(&self, way: usize) -> f64 {
        let spread = self.spread(way);
        let sum: f64 = (0..self.slots()).map(|s| self.reach(s) + self.settled[way][s] + spread).sum();
        known(sum / self.slots() as f64)
    }

    pub(super) fn with_random(mut self, root: ValueId, deviation: Both) -> Bounded {
        self.random.push(Random { root, deviation, offsets: BTreeSet::from([0]) });
        self
    }

    /// The same exact value, with an error of which nothing is known.
    pub(super) fn unbounded(mut self) -> Bounded {
        self.settled.iter_mut().flatten().for_each(|e| *e = f64::INFINITY);
        self.random.clear();
        self
    }

    /// Exact product with a real number.
    pub(super) fn scaled(mut self, factor: f64) -> Bounded {
        let (low, high) = (&mut self.low, &mut self.high);
        if factor < 0.0 {
            std::mem::swap(low, high);
        }
        low.iter_mut().chain(high.iter_mut()).for_each(|x| *x *= factor);
        self.settled.iter_mut().flatten().for_each(|e| *e *= factor.abs());
        for random in &mut self.random {
            random.deviation = random.deviation.map(|d| d * factor.abs());
        }
        self
    }

    /// Product with a real number that is off by at most `rounding`.
    pub(super) fn scaled_with_rounding(self, factor: f64, rounding: f64) -> Bounded {
        let off: Vec<Vec<f64>> = [0, 1]
            .map(|way| {
                let errors = self.errors(way);
                (0..self.slots()).map(|s| (self.reach(s) + errors[s]) * rounding).collect()
            })
            .into();
        let mut out = self.scaled(factor);
        let errors = out.settled.iter_mut().flatten();
        errors.zip(off.into_iter().flatten()).for_each(|(e, off)| *e += off);
        out
    }

    /// The value rotated to the left.
    pub(super) fn rotated(mut self, step: u32) -> Bounded {
        let slots = self.slots() as u32;
        let all = [&mut self.low, &mut self.high].into_iter().chain(&mut self.settled);
        all.for_each(|v| v.rotate_left(step as usize));
        for random in &mut self.random {
            random.offsets = random.offsets.iter().map(|o| (o + step) % slots).collect();
        }
        self
    }

    pub(super) fn plus(mut self, mut other: Bounded) -> Bounded {
        for random in std::mem::take(&mut other.random) {
            let own = self.random.iter_mut().find(|r| r.root == random.root);
            match own {
                None => self.random.push(random),
                Some(own)
                    if own.deviation == random.deviation
                        && own.offsets.is_disjoint(&random.offsets)
                        && own.offsets.len() + random.offsets.len() <= MAX_OFFSETS =>
                {
                    own.offsets.extend(random.offsets);
                }
                Some(_) => {
                    for way in [0, 1] {
                        let bound = RADIUS * random.variance(way).sqrt();
                        other.settled[way].iter_mut().for_each(|e| *e += bound);
                    }
                }
            }
        }
        let pairs = [(&mut self.low, &other.low), (&mut self.high, &other.high)];
        let errors = self.settled.iter_mut().zip(&other.settled);
        for (sum, term) in pairs.into_iter().chain(errors) {
            sum.iter_mut().zip(term).for_each(|(a, b)| *a += b);
        }
        Bounded { kind: if other.kind.degree > self.kind.degree { other.kind } else { self.kind }, ..self }
    }

    /// Slotwise product; `same`: of a value with itself.
    pub(super) fn times(&self, other: &Bounded, same: bool) -> Bounded {
        let interval = |s: usize| {
            let corners = [self.low[s], self.high[s]].map(|x| [x * other.low[s], x * other.high[s]]);
            let corners = [corners[0][0], corners[0][1], corners[1][0], corners[1][1]];
            let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
            let low = corners.into_iter().fold(f64::INFINITY, f64::min);
            if same { (low.max(0.0), high) } else { (low, high) }
        };
        let (low, high) = (0..self.slots()).map(interval).unzip();
        let settled = [0, 1].map(|way| {
            let (x, y) = (self.errors(way), other.errors(way));
            (0..self.slots()).map(|s| self.reach(s) * y[s] + other.reach(s) * x[s] + x[s] * y[s]).collect()
        });
        Bounded { kind: self.kind.clone(), low, high, settled, random: vec![] }
    }
}
