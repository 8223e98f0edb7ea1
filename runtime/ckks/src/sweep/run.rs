//! The evaluation of a checked sweep: babies once, then per output its giant steps, then one division.
//!
//! Sums are exact modulo each prime, so neither their order nor the number of threads changes a bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cipherloom_ring::{Evaluation, Poly};
use rayon::prelude::*;

use super::{Checked, Hoisting, LinearSweep};
use crate::division::{Division, Source, Stored, pair, transposed};
use crate::keyswitch::{Addend, Hoisted};
use crate::{Ciphertext, CkksError, Context, EvaluationKey, Gadget, Plaintext};

/// Products whose plaintexts are held at once: enough to amortise the passes over a sum.
const PLAINTEXTS_AT_ONCE: usize = 64;

/// Two polynomials; special limbs may be absent, and are zero then.
type Parts<'a> = Cow<'a, [Poly<Evaluation>]>;

/// A sweep under evaluation.
pub(super) struct Run<'a> {
    context: &'a Context,
    sweep: &'a LinearSweep<'a>,
    checked: Checked,
    /// Rotated inputs, by input and baby step.
    babies: BTreeMap<(usize, usize), Parts<'a>>,
}

impl<'a> Run<'a> {
    /// Rotates the inputs.
    pub(super) fn new(
        context: &'a Context,
        sweep: &'a LinearSweep<'a>,
        checked: Checked,
    ) -> Result<Run<'a>, CkksError> {
        let mut pairs: Vec<_> = sweep.products.iter().map(|product| (product.input, product.baby)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut babies = BTreeMap::new();
        let mut hoisted: BTreeMap<Gadget, Hoisted> = BTreeMap::new();
        let mut hoisted_input = None;
        for (input, baby) in pairs {
            let ciphertext = sweep.inputs[input];
            let parts = match needed_key(sweep.babies[baby].1, checked.babies[baby].is_identity()) {
                None if checked.baby_special == 0 => Cow::Borrowed(ciphertext.parts()),
                None => Cow::Owned(context.times_special(ciphertext, checked.baby_special)?),
                Some(key) => {
                    if hoisted_input != Some(input) {
                        // Pairs are sorted by input: the digits of the last one are not needed again.
                        hoisted.clear();
                        hoisted_input = Some(input);
                    }
                    let digits = match hoisted.entry(key.gadget()) {
                        Entry::Occupied(entry) => entry.into_mut(),
                        Entry::Vacant(entry) => entry.insert(context.hoist(ciphertext, key.gadget())?),
                    };
                    Cow::Owned(match sweep.hoisting {
                        Hoisting::Single => context.rotate_hoisted(digits, ciphertext, key)?.into_parts(),
                        Hoisting::Double => context.rotate_extended(digits, ciphertext, key)?.into_parts(),
                    })
                }
            };
            babies.insert((input, baby), parts);
        }
        Ok(Run { context, sweep, checked, babies })
    }

    /// Sums, rotates and divides.
    pub(super) fn outputs(self) -> Result<Vec<Ciphertext>, CkksError> {
        (0..self.sweep.outputs).map(|output| self.output(output)).collect()
    }

    fn output(&self, output: usize) -> Result<Ciphertext, CkksError> {
        let mut total: Option<Vec<Poly<Evaluation>>> = None;
        for (&(_, giant), products) in self.checked.groups.range((output, 0)..(output + 1, 0)) {
            let sum = self.sum(products)?;
            match needed_key(self.sweep.giants[giant].1, self.checked.giants[giant].is_identity()) {
                None => self.add_still(sum, &mut total)?,
                Some(key) => self.add_rotated(&sum, giant, key, &mut total)?,
            }
        }
        let total = total.ok_or(CkksError::SweepOutput { output })?;
        let (limbs, special) = (self.checked.limbs, self.checked.output_special);
        let rescales = usize::from(self.sweep.rescale);
        if special + rescales == 0 {
            return Ciphertext::new(total);
        }
        let division = Division { limbs, special, rescales };
        Ciphertext::new(self.context.divide(division, &Stored(&total), None)?)
    }

    /// The sum of some products, over the babies' basis.
    fn sum(&self, products: &[usize]) -> Result<Vec<Poly<Evaluation>>, CkksError> {
        let basis_limbs = self.checked.limbs + self.checked.baby_special;
        let mut total: Option<Vec<Poly<Evaluation>>> = None;
        for chunk in products.chunks(PLAINTEXTS_AT_ONCE) {
            let plaintexts: Vec<Arc<Plaintext>> =
                chunk.par_iter().map(|&product| (self.sweep.plaintext)(product)).collect::<Result<_, _>>()?;
            for plaintext in &plaintexts {
                self.context.check_product_plain(plaintext, &self.checked)?;
            }
            match &mut total {
                None => {
                    let degree = self.context.degree();
                    let fresh =
                        total.insert((0..2).map(|_| Poly::unspecified(degree, basis_limbs)).collect());
                    let items = transposed(fresh).enumerate();
                    self.context.for_each(items, 0, |(target, outs), _| {
                        self.sum_limb(chunk, &plaintexts, target, pair(outs));
                    });
                }
                Some(total) => {
                    let items = transposed(total).enumerate();
                    self.context.for_each(items, 2, |(target, words), scratch| {
                        let (first, second) = scratch.split_at_mut(self.context.n());
                        self.sum_limb(chunk, &plaintexts, target, [first, second]);
                        let limb = self.context.basis_limb(self.checked.limbs, target);
                        let sums = scratch.chunks_exact(self.context.n());
                        words.into_iter().zip(sums).for_each(|(words, sum)| limb.add(words, sum));
                    });
                }
            }
        }
        total.ok_or(CkksError::Empty)
    }

    fn sum_limb(
        &self,
        products: &[usize],
        plaintexts: &[Arc<Plaintext>],
        target: usize,
        outs: [&mut [u64]; 2],
    ) {
        let limbs = self.checked.limbs;
        let (mut plains, mut parts) = (Vec::with_capacity(products.len()), [Vec::new(), Vec::new()]);
        for (&product, plaintext) in products.iter().zip(plaintexts) {
            let product = self.sweep.products[product];
            let baby = &self.babies[&(product.input, product.baby)];
            // Special limbs of a baby that is not rotated are absent: they are zero.
            if target < baby[0].limbs() {
                plains.push(plaintext.limb(target, limbs));
                parts.iter_mut().zip(baby.iter()).for_each(|(terms, part)| terms.push(part.limb(target)));
            }
        }
        self.context.basis_limb(limbs, target).pair_of_sums(outs, &plains, [&parts[0], &parts[1]]);
    }

    /// Adds a sum that no giant step moves.
    fn add_still(
        &self,
        sum: Vec<Poly<Evaluation>>,
        total: &mut Option<Vec<Poly<Evaluation>>>,
    ) -> Result<(), CkksError> {
        let Checked { limbs, baby_special, output_special, .. } = self.checked;
        let sum = if baby_special == output_special {
            sum
        } else {
            self.context.extend(&Ciphertext::new(sum)?, output_special)?.into_parts()
        };
        match total {
            None => *total = Some(sum),
            Some(total) => self.context.for_each(transposed(total).enumerate(), 0, |(target, words), _| {
                let limb = self.context.basis_limb(limbs, target);
                words.into_iter().zip(&sum).for_each(|(words, part)| limb.add(words, part.limb(target)));
            }),
        }
        Ok(())
    }

    /// Rotates a sum by a giant step, without dividing by `P`, and adds it.
    fn add_rotated(
        &self,
        sum: &[Poly<Evaluation>],
        giant: usize,
        key: &EvaluationKey,
        total: &mut Option<Vec<Poly<Evaluation>>>,
    ) -> Result<(), CkksError> {
        let context = self.context;
        let Checked { limbs, baby_special, output_special, .. } = self.checked;
        let automorphism = context.automorphism(self.checked.giants[giant])?;
        // Part 1 is switched, so it has to come down to the chain; part 0 is only moved, and stays where it is.
        let divided;
        let (second, first) = if baby_special == 0 {
            (&sum[1], Addend::Plain(&sum[0]))
        } else {
            let division = Division { limbs, special: baby_special, rescales: 0 };
            divided = context.divide(division, &Stored(&sum[1..]), None)?;
            (&divided[0], Addend::Extended(&sum[0]))
        };
        let digits = context.digits(second, key.gadget())?;
        let source = context.switched(&digits, key, limbs, [first, Addend::None])?;
        let fresh = total.is_none();
        let total = total.get_or_insert_with(|| {
            (0..source.parts()).map(|_| Poly::unspecified(context.degree(), limbs + output_special)).collect()
        });
        let scratch_limbs = 1 + source.scratch_limbs();
        context.for_each(transposed(total).enumerate(), scratch_limbs, |(target, outs), scratch| {
            let (moved, scratch) = scratch.split_at_mut(context.n());
            for (out, words) in outs.into_iter().zip(source.load(target, scratch)) {
                if fresh {
                    automorphism.apply_evaluation(words, out);
                } else {
                    automorphism.apply_evaluation(words, moved);
                    context.basis_limb(limbs, target).add(out, moved);
                }
            }
        });
        Ok(())
    }
}

/// The key of a step, unless the step is the identity. A checked step that moves has a key.
fn needed_key(key: Option<&EvaluationKey>, identity: bool) -> Option<&EvaluationKey> {
    key.filter(|_| !identity)
}
