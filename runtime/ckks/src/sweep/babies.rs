//! Rotated inputs, one per input and baby step, made tile by tile.
//!
//! With [`Hoisting::Double`] no rotated input is ever in memory as a whole: of each tile the products of digits and key
//! are summed and moved to their places just before the diagonals meet them. With [`Hoisting::Single`] they are divided
//! by `P`, which needs all coefficients at once, and wait in memory; so do those whose keys are in a store, which are
//! taken one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cipherloom_ring::{Automorphism, Evaluation, Poly, TILE_WORDS_MIN};

use super::{Checked, Hoisting, LinearSweep};
use crate::keyswitch::{Digits, Hoisted, key_limbs};
use crate::{CkksError, Context, EvaluationKey, Gadget, GaloisElement, KeyHandle};

/// All rotated inputs of a sweep.
pub(super) struct Babies<'a> {
    pub(super) context: &'a Context,
    pub(super) checked: &'a Checked,
    /// Inputs and baby steps that occur, in order.
    pairs: Vec<(usize, usize)>,
    values: Vec<Baby<'a>>,
    decomposed: BTreeMap<usize, Decomposed>,
}

/// One rotated input.
enum Baby<'a> {
    /// Two polynomials; special limbs may be absent, and are zero then.
    Stored(Cow<'a, [Poly<Evaluation>]>),
    /// The input as it is, times `P`.
    Lifted { input: usize },
    /// To be made from the input's digits.
    Rotated { input: usize, key: &'a EvaluationKey, automorphism: Arc<Automorphism> },
}

/// What the baby steps of an input share.
struct Decomposed {
    digits: Option<Hoisted>,
    /// `P` times the input's part 0, and part 1 where the identity is among the steps, over the chain primes.
    lifted: Vec<Poly<Evaluation>>,
}

/// The babies at one prime.
pub(super) struct BabiesAt<'b> {
    babies: &'b Babies<'b>,
    target: usize,
    /// Per input the digits at this prime.
    digits: BTreeMap<usize, Vec<&'b [u64]>>,
    /// Per baby the two halves of its key at this prime, digit by digit.
    keys: Vec<[Vec<&'b [u64]>; 2]>,
}

impl<'a> Babies<'a> {
    pub(super) fn new(
        context: &'a Context,
        sweep: &'a LinearSweep<'a>,
        checked: &'a Checked,
    ) -> Result<Babies<'a>, CkksError> {
        let mut pairs: Vec<_> = sweep.products.iter().map(|product| (product.input, product.baby)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut babies = Babies { context, checked, pairs, values: Vec::new(), decomposed: BTreeMap::new() };
        match sweep.hoisting {
            Hoisting::Single => babies.rotate(sweep)?,
            Hoisting::Double => babies.decompose(sweep)?,
        }
        Ok(babies)
    }

    /// The number of a rotated input.
    pub(super) fn index(&self, input: usize, baby: usize) -> usize {
        self.pairs.binary_search(&(input, baby)).expect("pairs are those of the products")
    }

    /// Number of rotated inputs.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Rotates all inputs, each step divided by `P`.
    fn rotate(&mut self, sweep: &'a LinearSweep<'a>) -> Result<(), CkksError> {
        let mut hoisted: BTreeMap<Gadget, Hoisted> = BTreeMap::new();
        let mut hoisted_input = None;
        for &(input, baby) in &self.pairs {
            let ciphertext = sweep.inputs[input];
            let parts = match needed_key(sweep.babies[baby].1, self.checked.babies[baby]) {
                None => Cow::Borrowed(ciphertext.parts()),
                Some(key) => {
                    if hoisted_input != Some(input) {
                        // Pairs are sorted by input: the digits of the last one are not needed again.
                        hoisted.clear();
                        hoisted_input = Some(input);
                    }
                    let gadget = key.shape().gadget;
                    let digits = match hoisted.entry(gadget) {
                        Entry::Occupied(entry) => entry.into_mut(),
                        Entry::Vacant(entry) => entry.insert(self.context.hoist(ciphertext, gadget)?),
                    };
                    let key = key.take()?;
                    Cow::Owned(self.context.rotate_hoisted(digits, ciphertext, &key)?.into_parts())
                }
            };
            self.values.push(Baby::Stored(parts));
        }
        Ok(())
    }

    /// Decomposes the inputs; their steps are made when they are needed.
    fn decompose(&mut self, sweep: &'a LinearSweep<'a>) -> Result<(), CkksError> {
        let special = self.checked.baby_special;
        for &(input, baby) in &self.pairs {
            let ciphertext = sweep.inputs[input];
            if special == 0 {
                // No step of the sweep has a key.
                self.values.push(Baby::Stored(Cow::Borrowed(ciphertext.parts())));
                continue;
            }
            let decomposed = self
                .decomposed
                .entry(input)
                .or_insert_with(|| Decomposed { digits: None, lifted: Vec::new() });
            let key = needed_key(sweep.babies[baby].1, self.checked.babies[baby]);
            let parts = match key {
                None => 2,
                Some(KeyHandle::Held(_)) => 1,
                Some(KeyHandle::Stored(..)) => 0,
            };
            for part in decomposed.lifted.len()..parts {
                decomposed.lifted.push(self.context.times_special(ciphertext.part(part), special)?);
            }
            let Some(key) = key else {
                self.values.push(Baby::Lifted { input });
                continue;
            };
            let digits = match decomposed.digits.take() {
                Some(digits) => digits,
                None => self.context.hoist(ciphertext, key.shape().gadget)?,
            };
            let digits = decomposed.digits.insert(digits);
            self.values.push(match key {
                KeyHandle::Held(key) => {
                    let automorphism = self.context.automorphism(self.checked.babies[baby])?;
                    Baby::Rotated { input, key, automorphism }
                }
                KeyHandle::Stored(..) => {
                    let rotated = self.context.rotate_extended(digits, ciphertext, &*key.take()?)?;
                    Baby::Stored(Cow::Owned(rotated.into_parts()))
                }
            });
        }
        Ok(())
    }

    /// The babies at one prime.
    pub(super) fn at(&self, target: usize) -> BabiesAt<'_> {
        let digits = self.decomposed.iter().filter_map(|(&input, decomposed)| {
            Some((input, decomposed.digits.as_ref()?.load(target, &mut [])))
        });
        let keys = self.values.iter().map(|baby| match baby {
            Baby::Rotated { key, .. } => key_limbs(key, target, self.checked.limbs),
            Baby::Stored(_) | Baby::Lifted { .. } => [Vec::new(), Vec::new()],
        });
        BabiesAt { babies: self, target, digits: digits.collect(), keys: keys.collect() }
    }
}

impl<'b> BabiesAt<'b> {
    /// The tile of `len` words at `start` of every baby, made in `buffer`, two tiles per baby and two more; a part that is
    /// absent because it is zero has no words.
    pub(super) fn tile<'t>(&'t self, start: usize, len: usize, buffer: &'t mut [u64]) -> [Vec<&'t [u64]>; 2] {
        debug_assert!(len >= TILE_WORDS_MIN);
        let Babies { context, checked, decomposed, values, .. } = self.babies;
        let limb = context.basis_limb(checked.limbs, self.target);
        let (sums, mut rest) = buffer.split_at_mut(2 * len);
        let (first_sum, second_sum) = sums.split_at_mut(len);
        let mut parts = [Vec::with_capacity(values.len()), Vec::with_capacity(values.len())];
        let mut cut: [Vec<&[u64]>; 3] = Default::default();
        for (index, baby) in values.iter().enumerate() {
            let stored = |polys: &'t [Poly<Evaluation>], part: usize| -> &'t [u64] {
                let poly = &polys[part];
                if self.target < poly.limbs() { &poly.limb(self.target)[start..][..len] } else { &[] }
            };
            match baby {
                Baby::Stored(polys) => (0..2).for_each(|part| parts[part].push(stored(polys, part))),
                Baby::Lifted { input } => {
                    (0..2).for_each(|part| parts[part].push(stored(&decomposed[input].lifted, part)));
                }
                Baby::Rotated { input, automorphism, .. } => {
                    let source = automorphism.tile_source(start, len);
                    let factors = [&self.digits[input], &self.keys[index][0], &self.keys[index][1]];
                    for (cut, factors) in cut.iter_mut().zip(factors) {
                        cut.clear();
                        cut.extend(factors.iter().map(|words| &words[source..][..len]));
                    }
                    let lifted = &decomposed[input].lifted[0];
                    let lifted = if self.target < lifted.limbs() {
                        &lifted.limb(self.target)[source..][..len]
                    } else {
                        &[]
                    };
                    let outs = [&mut *first_sum, &mut *second_sum];
                    limb.pair_of_sums_tile(outs, [lifted, &[]], &cut[0], [&cut[1], &cut[2]]);
                    for (part, sum) in [&*first_sum, &*second_sum].into_iter().enumerate() {
                        let (out, left) = std::mem::take(&mut rest).split_at_mut(len);
                        rest = left;
                        automorphism.apply_tile(start, sum, out);
                        parts[part].push(out);
                    }
                }
            }
        }
        parts
    }
}

/// The key of a step, unless the step is the identity. A checked step that moves has a key.
pub(super) fn needed_key(key: Option<KeyHandle<'_>>, element: GaloisElement) -> Option<KeyHandle<'_>> {
    key.filter(|_| !element.is_identity())
}
