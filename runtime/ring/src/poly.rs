//! Polynomials in a residue number system: limbs of `N` words, one after the other in one buffer.
//!
//! The domain is in the type. Which prime a limb belongs to is the caller's knowledge: a polynomial holds numbers.

use std::marker::PhantomData;

use crate::{Degree, Limb, Words};

/// Marker: limbs hold coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficient {}

/// Marker: limbs hold values at the roots of `X^N + 1`, in bit-reversed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {}

/// [`Coefficient`] or [`Evaluation`].
pub trait Domain: sealed::Sealed {}
impl Domain for Coefficient {}
impl Domain for Evaluation {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Coefficient {}
    impl Sealed for super::Evaluation {}
}

/// A polynomial of `limbs` residues per coefficient, in domain `D`.
#[derive(Debug, PartialEq, Eq)]
pub struct Poly<D: Domain> {
    degree: Degree,
    words: Words,
    domain: PhantomData<D>,
}

impl<D: Domain> Clone for Poly<D> {
    fn clone(&self) -> Self {
        Poly { degree: self.degree, words: self.words.clone(), domain: PhantomData }
    }
}

impl<D: Domain> Poly<D> {
    /// The zero polynomial.
    pub fn zero(degree: Degree, limbs: usize) -> Poly<D> {
        Poly { degree, words: Words::zeroed(degree.n() * limbs), domain: PhantomData }
    }

    /// A polynomial of unspecified words, for a caller who writes every limb before it is read.
    pub fn unspecified(degree: Degree, limbs: usize) -> Poly<D> {
        Poly { degree, words: Words::unspecified(degree.n() * limbs), domain: PhantomData }
    }

    /// The polynomial with these words, limb after limb, or `None` where their number is not a multiple of `N`.
    pub fn from_slice(degree: Degree, words: &[u64]) -> Option<Poly<D>> {
        let whole = words.len().is_multiple_of(degree.n());
        whole.then(|| Poly { degree, words: Words::from(words), domain: PhantomData })
    }

    /// Ring degree.
    pub fn degree(&self) -> Degree {
        self.degree
    }

    /// Number of limbs.
    pub fn limbs(&self) -> usize {
        self.words.len() >> self.degree.log_n()
    }

    /// Limb `i`, `N` words.
    pub fn limb(&self, i: usize) -> &[u64] {
        let n = self.degree.n();
        &self.words[i * n..(i + 1) * n]
    }

    /// Limb `i`, `N` words.
    pub fn limb_mut(&mut self, i: usize) -> &mut [u64] {
        let n = self.degree.n();
        &mut self.words[i * n..(i + 1) * n]
    }

    /// All limbs, in order.
    pub fn limbs_iter(&self) -> std::slice::ChunksExact<'_, u64> {
        self.words.chunks_exact(self.degree.n())
    }

    /// All limbs, in order.
    pub fn limbs_mut(&mut self) -> std::slice::ChunksExactMut<'_, u64> {
        let n = self.degree.n();
        self.words.chunks_exact_mut(n)
    }

    /// Keeps the first `limbs` limbs; does nothing where there are fewer.
    pub fn truncate(&mut self, limbs: usize) {
        self.words.truncate(limbs * self.degree.n());
    }

    /// All words, limb after limb.
    pub fn as_slice(&self) -> &[u64] {
        &self.words
    }

    /// All words, limb after limb.
    pub fn as_mut_slice(&mut self) -> &mut [u64] {
        &mut self.words
    }

    fn relabel<E: Domain>(self) -> Poly<E> {
        Poly { degree: self.degree, words: self.words, domain: PhantomData }
    }
}

impl Poly<Coefficient> {
    /// in [0, q), out [0, q): transforms limb `i` by `limbs[i]`.
    ///
    /// # Panics
    /// Where there are fewer `limbs` than the polynomial has.
    pub fn into_evaluation<L: AsRef<Limb>>(mut self, limbs: &[L]) -> Poly<Evaluation> {
        assert!(limbs.len() >= self.limbs(), "one Limb per limb of the polynomial");
        self.limbs_mut().zip(limbs).for_each(|(words, limb)| limb.as_ref().forward(words));
        self.relabel()
    }
}

impl Poly<Evaluation> {
    /// in [0, q), out [0, q): transforms limb `i` back by `limbs[i]`.
    ///
    /// # Panics
    /// Where there are fewer `limbs` than the polynomial has.
    pub fn into_coefficient<L: AsRef<Limb>>(mut self, limbs: &[L]) -> Poly<Coefficient> {
        assert!(limbs.len() >= self.limbs(), "one Limb per limb of the polynomial");
        self.limbs_mut().zip(limbs).for_each(|(words, limb)| limb.as_ref().inverse(words));
        self.relabel()
    }
}
