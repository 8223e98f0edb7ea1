//! Two real diagonals in one complex product.
//!
//! A plan with a [`Pairing`](super::Pairing) reads, in place of the real ciphertexts `x` and `y`, the one `z = x + i·y`; a
//! product with the complex diagonal `p − i·q` has the real part `p ⊙ x + q ⊙ y`. So half of the products, plaintexts and
//! baby rotations do, at the price of one conjugation for each output: its real part is `(w + w̄) / 2`, taken before the
//! rescale. `y` is `x` rotated by a step of the plan, or the next ciphertext. The meaning of a paired plan is that of its
//! real diagonals: this file says which those are, what products read and what keys are applied to, and everything else
//! asks it.

use super::{KeyedStep, LinearPlan, Product, Step, ValueId};
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

    /// What a product whose indices exist reads: real and, with pairing, imaginary part (before it is rotated).
    pub fn read(&self, product: &Product) -> Read {
        let (values, input) = (&self.sources[product.source as usize].values, product.input as usize);
        match self.pairing {
            None => (values[input], None),
            Some(pairing) if pairing.half.step.0 != 0 => (values[input], Some(values[input])),
            Some(_) => (values[2 * input], values.get(2 * input + 1).copied()),
        }
    }

    /// Everything that products read, each once whatever the sources that name it, sorted.
    pub fn reads(&self) -> Vec<Read> {
        self.products.iter().map(|p| self.read(p)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What the plan applies keys to; its indices exist.
    pub fn switches(&self) -> Switches {
        let moves = |steps: &[KeyedStep], k: u32| steps[k as usize].step.0 != 0;
        let babies = self.products.iter().filter(|p| moves(&self.babies, p.baby));
        let giants = self.products.iter().filter(|p| moves(&self.giants, p.giant));
        let halves = self.pairing.filter(|p| p.half.step.0 != 0).map_or(0, |_| self.reads().len());
        Switches {
            babies: babies.map(|p| (self.read(p), p.baby)).collect(),
            giants: giants.map(|p| (p.output, p.giant)).collect(),
            halves,
            conjugated: self.pairing.map_or(0, |_| self.outputs as usize),
        }
    }
}

/// A ciphertext that products read: real and imaginary part.
pub type Read = (ValueId, Option<ValueId>);

/// Applications of Galois keys in a plan, hoisted ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// What is read, rotated by a baby step (by index).
    pub babies: BTreeSet<(Read, u32)>,
    /// Sums of an output, rotated by a giant step (by index).
    pub giants: BTreeSet<(u32, u32)>,
    /// Inputs that are rotated to be paired with themselves.
    pub halves: usize,
    /// Outputs whose real part is taken.
    pub conjugated: usize,
}

impl Switches {
    /// How many.
    pub fn count(&self) -> usize {
        self.babies.len() + self.giants.len() + self.halves + self.conjugated
    }
}
