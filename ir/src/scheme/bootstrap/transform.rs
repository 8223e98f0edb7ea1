//! The two linear transforms as products of few sparse factors.
//!
//! The embedding of a polynomial is a network of `log2(n)` layers of butterflies (J. Cheon, A. Kim, M. Kim, Y. Song, ePrint
//! 2016/421): with `w_p = exp(2 pi i 5^p / (8 half))`, layer `half` takes each pair `(u, v)` at distance `half`, `p` its place in its
//! block, to `(u + w_p v, u - w_p v)`. Layers 1, 2, … n/2 take coefficients, as complex numbers `c_j + i c_(j+n)` in bit-reversed order, to
//! slots; the inverses in the reverse order take slots to coefficients. A layer is a matrix of three diagonals; k
//! neighbouring layers multiply to one of at most `2^(k+1) - 1`, which stand at multiples of their smallest distance
//! (K. Han, M. Hhan, J. Cheon, *Improved homomorphic discrete Fourier transforms and FHE bootstrapping*, IEEE Access
//! 2019; J.-P. Bossuat et al., ePrint 2020/1203). The bit reversal cancels between the two transforms.

use super::BootstrapRequest;
use crate::scheme::{Gadget, Level};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::ops::Range;

/// Complex slots, real and imaginary part.
pub type SlotVector = Vec<[f64; 2]>;

/// One of the two transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Factors in the order of evaluation, one level each.
    pub factors: Vec<TransformFactor>,
    /// Gadget of its keys.
    pub gadget: Gadget,
}

/// A sparse matrix on slots, cut in baby and giant steps.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformFactor {
    /// Level of its input; its rescale removes the prime of this level, at which its diagonals are encoded.
    pub level: Level,
    /// Rotation steps of the input, in slots to the left.
    pub babies: Vec<u32>,
    /// Rotation steps of the sums.
    pub giants: Vec<u32>,
    /// The products.
    pub products: Vec<FactorProduct>,
    /// log2 of the number of slots.
    log_slots: u32,
    /// The layers, by log2 of their distance.
    layers: Range<u32>,
    /// Whether the layers are inverted.
    direction: Direction,
    /// What all entries are multiplied by.
    constant: f64,
}

/// A product of a rotated input with a diagonal, indices of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorProduct {
    /// Which giant step its sum is rotated by.
    pub giant: u32,
    /// Which baby step its input is rotated by.
    pub baby: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Coefficients to the values of slots: the layers as they are.
    Evaluate,
    /// Values to coefficients: inverse layers.
    Interpolate,
}

impl Transform {
    /// The slots' values become coefficients: the embedding is applied, times `constant`.
    pub(super) fn to_coefficients(
        request: &BootstrapRequest,
        level: Level,
        constant: f64,
        gadget: Gadget,
    ) -> Transform {
        Transform::new(request, (request.to_coefficients, Direction::Evaluate), level, constant, gadget)
    }

    /// The coefficients become the slots' values: the inverse embedding, times `constant`.
    pub(super) fn to_slots(
        request: &BootstrapRequest,
        level: Level,
        constant: f64,
        gadget: Gadget,
    ) -> Transform {
        Transform::new(request, (request.to_slots, Direction::Interpolate), level, constant, gadget)
    }

    fn new(
        request: &BootstrapRequest,
        (count, direction): (u32, Direction),
        level: Level,
        constant: f64,
        gadget: Gadget,
    ) -> Transform {
        let log_slots = request.log_n - 1;
        let each = libm::pow(constant, 1.0 / f64::from(count));
        // Larger factors first: they stand where there are more primes only for coefficients-to-slots, but few layers are left
        // over in any case.
        let cut = |k: u32| log_slots * k / count;
        let mut groups: Vec<Range<u32>> = (0..count).map(|k| cut(k)..cut(k + 1)).collect();
        if direction == Direction::Interpolate {
            groups.reverse();
        }
        let factors = groups
            .into_iter()
            .zip(0..)
            .map(|(layers, k)| TransformFactor::new(Level(level.0 - k), log_slots, layers, direction, each));
        Transform { factors: factors.collect(), gadget }
    }
}

impl TransformFactor {
    fn new(
        level: Level,
        log_slots: u32,
        layers: Range<u32>,
        direction: Direction,
        constant: f64,
    ) -> TransformFactor {
        // Offsets are multiples of the smallest distance, from -(2^k - 1) to 2^k - 1 of them, modulo the slots.
        let (unit, modulus) = (1i64 << layers.start, 1i64 << (log_slots - layers.start));
        let largest = (1i64 << layers.len()) - 1;
        let mut offsets: Vec<i64> = (-largest..=largest).map(|o| centred(o, modulus)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let babies = 1i64 << (layers.len() as u32 + 1).div_ceil(2).min(log_slots - layers.start);
        let slots = 1i64 << log_slots;
        let mut giants: Vec<i64> = offsets.iter().map(|o| o.div_euclid(babies)).collect();
        giants.dedup();
        let products = offsets.iter().map(|o| FactorProduct {
            giant: giants.iter().position(|g| *g == o.div_euclid(babies)).unwrap_or(0) as u32,
            baby: o.rem_euclid(babies) as u32,
        });
        let step = |o: i64| (o * unit).rem_euclid(slots) as u32;
        TransformFactor {
            level,
            products: products.collect(),
            babies: (0..babies).map(step).collect(),
            giants: giants.iter().map(|g| step(g * babies)).collect(),
            log_slots,
            layers,
            direction,
            constant,
        }
    }

    /// Diagonals in the order of [`TransformFactor::products`], each rotated back by its giant step, as a sweep takes them.
    pub fn diagonals(&self) -> Vec<SlotVector> {
        let matrix = self.matrix();
        let slots = 1usize << self.log_slots;
        let diagonal = |product: &FactorProduct| {
            let giant = self.giants[product.giant as usize] as usize;
            let offset = (giant + self.babies[product.baby as usize] as usize) % slots;
            let mut diagonal = matrix.get(&offset).cloned().unwrap_or_else(|| vec![[0.0; 2]; slots]);
            diagonal.rotate_right(giant);
            diagonal
        };
        self.products.iter().map(diagonal).collect()
    }

    /// The diagonals of the product of the layers, by offset: `out[s] = Σ_o d_o[s] · in[s + o]`.
    fn matrix(&self) -> BTreeMap<usize, SlotVector> {
        let slots = 1usize << self.log_slots;
        let mut matrix = BTreeMap::from([(0, vec![[self.constant, 0.0]; slots])]);
        let mut layers: Vec<u32> = self.layers.clone().collect();
        if self.direction == Direction::Interpolate {
            layers.reverse();
        }
        for layer in layers {
            let mut product: BTreeMap<usize, SlotVector> = BTreeMap::new();
            for (offset, left) in self.layer(layer) {
                for (inner, right) in &matrix {
                    let place = product.entry((offset + inner) % slots);
                    let sum = place.or_insert_with(|| vec![[0.0; 2]; slots]);
                    for (s, (sum, left)) in sum.iter_mut().zip(&left).enumerate() {
                        let right = right[(s + offset) % slots];
                        sum[0] += left[0] * right[0] - left[1] * right[1];
                        sum[1] += left[0] * right[1] + left[1] * right[0];
                    }
                }
            }
            matrix = product;
        }
        matrix
    }

    /// The diagonals of one layer; the two at plus and minus the distance are one where they meet.
    fn layer(&self, log_half: u32) -> BTreeMap<usize, SlotVector> {
        let (slots, half) = (1usize << self.log_slots, 1usize << log_half);
        let mut diagonals: BTreeMap<usize, SlotVector> = BTreeMap::new();
        let mut power = 1usize;
        let order = 8 * half;
        for p in 0..half {
            let angle = TAU * (power as f64 / order as f64);
            let w = [libm::cos(angle), libm::sin(angle)];
            power = power * 5 % order;
            // Rows of the pair: (own value, the other's value) of the first and of the second.
            let [first, second] = match self.direction {
                Direction::Evaluate => [[[1.0, 0.0], w], [[-w[0], -w[1]], [1.0, 0.0]]],
                Direction::Interpolate => {
                    let inverse = [w[0] / 2.0, -w[1] / 2.0];
                    [[[0.5, 0.0], [0.5, 0.0]], [[-inverse[0], -inverse[1]], inverse]]
                }
            };
            for block in (0..slots).step_by(2 * half) {
                for (s, offset, [own, other]) in
                    [(block + p, half, first), (block + p + half, slots - half, second)]
                {
                    for (offset, entry) in [(0, own), (offset % slots, other)] {
                        diagonals.entry(offset).or_insert_with(|| vec![[0.0; 2]; slots])[s] = entry;
                    }
                }
            }
        }
        diagonals
    }
}

/// The number congruent to `o` in `[-modulus/2, modulus/2)`.
fn centred(o: i64, modulus: i64) -> i64 {
    (o + modulus / 2).rem_euclid(modulus) - modulus / 2
}
