//! Two real diagonals in one complex product.
//!
//! A plan with a [`Pairing`](super::Pairing) reads, in place of the real ciphertexts `x` and `y`, the one `z = x + i·y`; a
//! product with the complex diagonal `p − i·q` has the real part `p ⊙ x + q ⊙ y`. So half of the products, plaintexts and
//! baby rotations do, at the price of one conjugation for each output: its real part is `(w + w̄) / 2`, taken before the
//! rescale. `y` is `x` rotated
//! by a step of the plan, or the next ciphertext. The meaning of a paired plan is that of its real diagonals: this file
//! says which those are, and everything else asks it.

use super::{LinearPlan, Product, Step, ValueId};
use std::collections::BTreeSet;

/// A real diagonal that a product applies: input ciphertext and total step.
pub type RealDiagonal = (u32, Step);

impl LinearPlan {
    /// What the products of a source index: its ciphertexts, or pairs of them.
    pub fn inputs(&self, source: usize) -> u32 {
        let values = self.sources.get(source).map_or(0, |s| s.values.len()) as u32;
        if self.pairs_ciphertexts() { values.div_ceil(2) } else { values }
    }

    /// Whether neighbouring ciphertexts are paired.
    pub fn pairs_ciphertexts(&self) -> bool {
        self.pairing.is_some_and(|p| p.half.step.0 == 0)
    }

    /// The diagonals of a product whose indices exist: the one that meets the real part of its input and, with pairing,
    /// the one that meets the imaginary part.
    pub fn diagonals(&self, product: &Product, slots: u32) -> [Option<RealDiagonal>; 2] {
        let (baby, giant) =
            (self.babies[product.baby as usize].step, self.giants[product.giant as usize].step);
        let turned = |by: u32| Step(baby.0.wrapping_add(giant.0).wrapping_add(by) & (slots - 1));
        match self.pairing {
            None => [Some((product.input, turned(0))), None],
            Some(pairing) if pairing.half.step.0 != 0 => {
                [Some((product.input, turned(0))), Some((product.input, turned(pairing.half.step.0)))]
            }
            Some(_) => {
                let first = 2 * product.input;
                let values = self.sources[product.source as usize].values.len() as u32;
                [Some((first, turned(0))), (first + 1 < values).then_some((first + 1, turned(0)))]
            }
        }
    }

    /// Operands that are rotated to be paired with themselves.
    pub fn turned(&self) -> usize {
        let by_step = self.pairing.is_some_and(|p| p.half.step.0 != 0);
        let values: BTreeSet<ValueId> =
            self.sources.iter().filter(|_| by_step).flat_map(|s| s.values.iter().copied()).collect();
        values.len()
    }

    /// Applications of Galois keys that pairing takes: steps of the inputs, conjugations of the outputs.
    pub fn pairing_rotations(&self) -> usize {
        if self.pairing.is_some() { self.turned() + self.outputs as usize } else { 0 }
    }

    /// The ciphertexts, by index into the plan's operands, that a product's input is made of: real and imaginary part.
    pub fn parts(&self, source: usize, input: u32) -> (usize, Option<usize>) {
        let first: usize = self.sources[..source].iter().map(|s| s.values.len()).sum();
        match self.pairing {
            None => (first + input as usize, None),
            Some(pairing) if pairing.half.step.0 != 0 => {
                let at = first + input as usize;
                (at, Some(at))
            }
            Some(_) => {
                let (at, values) = (2 * input as usize, self.sources[source].values.len());
                (first + at, (at + 1 < values).then_some(first + at + 1))
            }
        }
    }
}
