//! The two linear transforms as products of few sparse factors.
//!
//! The embedding of a polynomial is a network of `log2(n)` layers of butterflies (J. Cheon, A. Kim, M. Kim, Y. Song, ePrint
//! 2016/421): with `w_p = exp(2 pi i 5^p / (8 half))`, layer `half` takes each pair `(u, v)` at distance `half`, `p` its place in its
//! block, to `(u + w_p v, u - w_p v)`. Layers 1, 2, … n/2 take coefficients, as complex numbers `c_j + i c_(j+n)` in bit-reversed order, to
//! slots; the inverses in the reverse order take slots to coefficients. A layer is a matrix of three diagonals; k
//! neighbouring layers multiply to one of at most `2^(k+1) - 1`, which stand at multiples of their smallest distance
//! (K. Han, M. Hhan, J. Cheon, *Improved homomorphic discrete Fourier transforms and FHE bootstrapping*, IEEE Access
//! 2019; J.-P. Bossuat et al., ePrint 2020/1203). The bit reversal cancels between the two transforms.
//!
//! Layers up to distance `half` repeat with period `2 half`, so diagonals are stored as one period. They know nothing of N:
//! n slots that repeat through all N/2 need the layers below n, and have their n complex coefficients in the subring of `X^(N/2n)`.
//! There the first factor of coefficients-to-slots also takes a second copy of the slots, times -i, so that a real part
//! after it is [Re | Im] with period 2n. Layers never lead out of their block, so the factors behind it leave the two copies apart.

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

/// A sparse matrix on slots, cut in baby and giant steps. It is the same for every period of the slots.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformFactor {
    /// Level of its input; its rescale removes the prime of this level, at which its diagonals are encoded.
    pub level: Level,
    /// Rotation steps of the input, in slots to the left.
    pub babies: Vec<u32>,
    /// How far each sum is rotated in all.
    pub giants: Vec<u32>,
    /// By Horner's rule each sum is carried onto the one nearer to the middle and rotated on with that, so that all take the same
    /// step, and one key for each direction; `None` is the result.
    pub onto: Vec<Option<u32>>,
    /// The products.
    pub products: Vec<FactorProduct>,
    /// log2 of the period of the slots that it takes.
    log_slots: u32,
    /// What the entries are.
    matrix: Matrix,
    /// What all entries are multiplied by.
    constant: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Matrix {
    /// Layers of butterflies.
    Layers(Layers),
    /// `[a | b]` to `a + i b`, twice.
    Join,
}

#[derive(Clone, Debug, PartialEq)]
struct Layers {
    /// By log2 of their distance.
    distances: Range<u32>,
    direction: Direction,
    copies: Copies,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    /// It stays what it is.
    One,
    /// Once more, times -i, behind itself.
    Two,
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
        let (log_slots, count) = (request.log_slots(), request.to_coefficients);
        let each = libm::pow(constant, 1.0 / f64::from(count));
        let factors = groups(log_slots, count).zip(0..).map(|(distances, k)| {
            let layers = Layers { distances, direction: Direction::Evaluate, copies: Copies::One };
            TransformFactor::new(Level(level.0 - k), log_slots, layers, each)
        });
        Transform { factors: factors.collect(), gadget }
    }

    /// The coefficients become the slots' values: the inverse embedding, times `constant`. Fewer slots than all become
    /// two copies, the second times -i.
    pub(super) fn to_slots(
        request: &BootstrapRequest,
        level: Level,
        constant: f64,
        gadget: Gadget,
    ) -> Transform {
        let (log_slots, count) = (request.log_slots(), request.to_slots);
        let sparse = request.log_repeats() > 0;
        let each = libm::pow(constant, 1.0 / f64::from(count));
        let factors = groups(log_slots, count).rev().zip(0..).map(|(distances, k)| {
            let (log_slots, copies) = match (sparse, k) {
                (false, _) => (log_slots, Copies::One),
                (true, 0) => (log_slots, Copies::Two),
                (true, _) => (log_slots + 1, Copies::One),
            };
            let layers = Layers { distances, direction: Direction::Interpolate, copies };
            TransformFactor::new(Level(level.0 - k), log_slots, layers, each)
        });
        Transform { factors: factors.collect(), gadget }
    }
}

/// The layers of each of `count` factors, the smallest distances first.
fn groups(log_slots: u32, count: u32) -> impl DoubleEndedIterator<Item = Range<u32>> + ExactSizeIterator {
    let cut = move |k: u32| log_slots * k / count;
    (0..count as usize).map(move |k| cut(k as u32)..cut(k as u32 + 1))
}

impl TransformFactor {
    fn new(level: Level, log_slots: u32, layers: Layers, constant: f64) -> TransformFactor {
        // Offsets are multiples of the smallest distance, from -(2^k - 1) to 2^k - 1 of them, modulo the slots.
        let (start, count) = (layers.distances.start, layers.distances.len() as u32);
        let (unit, modulus) = (1i64 << start, 1i64 << (log_slots - start));
        let largest = (1i64 << count) - 1;
        let mut offsets: Vec<i64> = (-largest..=largest).map(|o| centred(o, modulus)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let babies = match count {
            0 => 1,
            count => 1i64 << (count + 1).div_ceil(2).min(log_slots - start),
        };
        let slots = 1i64 << log_slots;
        let mut giants: Vec<i64> = offsets.iter().map(|o| o.div_euclid(babies)).collect();
        giants.dedup();
        let products = offsets.iter().map(|o| FactorProduct {
            giant: giants.iter().position(|g| *g == o.div_euclid(babies)).unwrap_or(0) as u32,
            baby: o.rem_euclid(babies) as u32,
        });
        let step = |o: i64| (o * unit).rem_euclid(slots) as u32;
        let onto = giants.iter().map(|g| {
            let nearer = g - g.signum();
            let place = giants.iter().position(|g| *g == nearer)?;
            (nearer != 0).then_some(place as u32)
        });
        TransformFactor {
            level,
            products: products.collect(),
            babies: (0..babies).map(step).collect(),
            giants: giants.iter().map(|g| step(g * babies)).collect(),
            onto: onto.collect(),
            log_slots,
            matrix: Matrix::Layers(layers),
            constant,
        }
    }

    /// Real slots `[a | b]` of period `2n`, `n = 2^log_slots`, become `a + i b` of period n, times `constant`.
    pub(super) fn join(level: Level, log_slots: u32, constant: f64) -> TransformFactor {
        TransformFactor {
            level,
            products: vec![FactorProduct { giant: 0, baby: 0 }, FactorProduct { giant: 0, baby: 1 }],
            babies: vec![0, 1 << log_slots],
            giants: vec![0],
            onto: vec![None],
            log_slots: log_slots + 1,
            matrix: Matrix::Join,
            constant,
        }
    }

    /// log2 of the number of slots after which its diagonals repeat.
    pub fn log_period(&self) -> u32 {
        match &self.matrix {
            Matrix::Layers(layers) => layers.log_period(),
            Matrix::Join => self.log_slots,
        }
    }

    /// The rotation step that carries the sum of a giant step on, 0 where it is only added.
    pub fn carry(&self, giant: usize) -> u32 {
        let slots = 1u32 << self.log_slots;
        let rest = self.onto[giant].map_or(0, |onto| self.giants[onto as usize]);
        (self.giants[giant] + slots - rest) % slots
    }

    /// Giant steps in the order in which a sweep carries them on: by the length of the way that leads to each.
    pub fn carry_order(&self) -> Vec<usize> {
        let mut heights = vec![0; self.giants.len()];
        for giant in 0..self.giants.len() {
            let next = |at: &u32| self.onto[*at as usize];
            for (at, height) in std::iter::successors(Some(giant as u32), next).zip(0..) {
                heights[at as usize] = heights[at as usize].max(height);
            }
        }
        let mut order: Vec<usize> = (0..heights.len()).collect();
        order.sort_by_key(|giant| heights[*giant]);
        order
    }

    /// Diagonals in the order of [`TransformFactor::products`], one period of each, rotated back by its giant step, as a
    /// sweep takes them.
    pub fn diagonals(&self) -> Vec<SlotVector> {
        let matrix = self.matrix();
        let (slots, period) = (1usize << self.log_slots, 1usize << self.log_period());
        let diagonal = |product: &FactorProduct| {
            let giant = self.giants[product.giant as usize] as usize;
            let offset = (giant + self.babies[product.baby as usize] as usize) % slots;
            let mut diagonal = matrix.get(&offset).cloned().unwrap_or_else(|| vec![[0.0; 2]; period]);
            diagonal.rotate_right(giant % period);
            diagonal
        };
        self.products.iter().map(diagonal).collect()
    }

    /// One period of the matrix' diagonals, by offset: `out[s] = Σ_o d_o[s] · in[s + o]`.
    fn matrix(&self) -> BTreeMap<usize, SlotVector> {
        let slots = 1usize << self.log_slots;
        match &self.matrix {
            Matrix::Layers(layers) => layers.matrix(slots, self.constant),
            Matrix::Join => {
                let (one, i) = (vec![[self.constant, 0.0]; slots / 2], vec![[0.0, self.constant]; slots / 2]);
                let pair = |first: &SlotVector, second: &SlotVector| [&first[..], &second[..]].concat();
                BTreeMap::from([(0, pair(&one, &i)), (slots / 2, pair(&i, &one))])
            }
        }
    }
}

impl Layers {
    fn log_period(&self) -> u32 {
        self.distances.end + u32::from(self.copies == Copies::Two)
    }

    /// The diagonals of their product, times `constant`, by offset.
    fn matrix(&self, slots: usize, constant: f64) -> BTreeMap<usize, SlotVector> {
        let period = 1usize << self.distances.end;
        let mut matrix = BTreeMap::from([(0, vec![[constant, 0.0]; period])]);
        let mut layers: Vec<u32> = self.distances.clone().collect();
        if self.direction == Direction::Interpolate {
            layers.reverse();
        }
        for layer in layers {
            let mut product: BTreeMap<usize, SlotVector> = BTreeMap::new();
            for (offset, left) in self.layer(layer, slots) {
                for (inner, right) in &matrix {
                    let place = product.entry((offset + inner) % slots);
                    let sum = place.or_insert_with(|| vec![[0.0; 2]; period]);
                    for (s, (sum, left)) in sum.iter_mut().zip(&left).enumerate() {
                        let right = right[(s + offset) % period];
                        sum[0] += left[0] * right[0] - left[1] * right[1];
                        sum[1] += left[0] * right[1] + left[1] * right[0];
                    }
                }
            }
            matrix = product;
        }
        if self.copies == Copies::Two {
            let times_minus_i = |diagonal: &SlotVector| diagonal.iter().map(|[re, im]| [*im, -*re]).collect();
            for diagonal in matrix.values_mut() {
                let second: SlotVector = times_minus_i(diagonal);
                diagonal.extend(second);
            }
        }
        matrix
    }

    /// The diagonals of one layer; the two at plus and minus the distance are one where they meet.
    fn layer(&self, log_half: u32, slots: usize) -> BTreeMap<usize, SlotVector> {
        let (period, half) = (1usize << self.distances.end, 1usize << log_half);
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
            for block in (0..period).step_by(2 * half) {
                for (s, offset, [own, other]) in
                    [(block + p, half, first), (block + p + half, slots - half, second)]
                {
                    for (offset, entry) in [(0, own), (offset % slots, other)] {
                        diagonals.entry(offset).or_insert_with(|| vec![[0.0; 2]; period])[s] = entry;
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
