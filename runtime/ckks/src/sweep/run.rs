//! The evaluation of a checked sweep: babies once, then per output its giant steps, then one division.
//!
//! Sums are exact modulo each prime, so neither their order nor the number of threads changes a bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use cipherloom_ring::{Evaluation, Limb, Poly};
use rayon::prelude::*;

use super::{Checked, Hoisting, LinearSweep};
use crate::division::{Division, Source, Stored, transposed};
use crate::keyswitch::{Addend, Hoisted};
use crate::{Ciphertext, CkksError, Context, EvaluationKey, Gadget, GaloisElement, Plaintext};

/// Most words of the plaintexts that are held at once: 256 MiB.
const BATCH_WORDS_MAX: usize = 1 << 25;
/// Most sums that are taken at once.
const BATCH_PIECES_MAX: usize = 8;

/// Two polynomials; special limbs may be absent, and are zero then.
type Parts<'a> = Cow<'a, [Poly<Evaluation>]>;

/// Two polynomials over the babies' or the outputs' basis.
type Sum = Vec<Poly<Evaluation>>;

/// Products of one output and giant step that are summed at once.
struct Piece<'a> {
    output: usize,
    giant: usize,
    products: &'a [usize],
    /// Whether they complete the sum of the giant step.
    ends_group: bool,
    /// Whether they complete the output.
    ends_output: bool,
}

/// Factors of a sum at one prime, term by term: plaintexts, and the two parts of the babies.
#[derive(Default)]
struct Terms<'a> {
    plains: Vec<&'a [u64]>,
    firsts: Vec<&'a [u64]>,
    seconds: Vec<&'a [u64]>,
}

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
            let parts = match needed_key(sweep.babies[baby].1, checked.babies[baby]) {
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
        let pieces = self.pieces();
        let mut outputs = Vec::with_capacity(self.sweep.outputs);
        let (mut group, mut total): (Option<Sum>, Option<Sum>) = (None, None);
        for batch in batches(&pieces, self.batch_products()) {
            for (piece, sum) in batch.iter().zip(self.sums(batch)?) {
                self.add(sum, &mut group);
                if piece.ends_group
                    && let Some(sum) = group.take()
                {
                    match needed_key(self.sweep.giants[piece.giant].1, self.checked.giants[piece.giant]) {
                        None => self.add_still(sum, &mut total)?,
                        Some(key) => self.add_rotated(&sum, piece.giant, key, &mut total)?,
                    }
                }
                if piece.ends_output
                    && let Some(total) = total.take()
                {
                    outputs.push(self.finish(total)?);
                }
            }
        }
        Ok(outputs)
    }

    /// One division for an output.
    fn finish(&self, total: Sum) -> Result<Ciphertext, CkksError> {
        let (limbs, special) = (self.checked.limbs, self.checked.output_special);
        let rescales = usize::from(self.sweep.rescale);
        if special + rescales == 0 {
            return Ciphertext::new(total);
        }
        let division = Division { limbs, special, rescales };
        Ciphertext::new(self.context.divide(division, &Stored(&total), None)?)
    }

    /// Products whose plaintexts are held at once.
    fn batch_products(&self) -> usize {
        (BATCH_WORDS_MAX / (self.context.n() * self.basis_limbs())).max(1)
    }

    fn basis_limbs(&self) -> usize {
        self.checked.limbs + self.checked.baby_special
    }

    /// All products, by output and giant step, in pieces that fit a batch.
    fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        for (&(output, giant), products) in &self.checked.groups {
            if let Some(last) = pieces.last_mut() {
                last.ends_output = last.output != output;
            }
            let chunks = products.chunks(self.batch_products());
            pieces.extend(chunks.map(|products| Piece {
                output,
                giant,
                products,
                ends_group: false,
                ends_output: false,
            }));
            if let Some(last) = pieces.last_mut() {
                (last.ends_group, last.ends_output) = (true, true);
            }
        }
        pieces
    }

    /// The sum of each piece, over the babies' basis. All pieces of a batch take their step of a limb before the next
    /// step begins, so that the babies' words are still in the cache; plaintexts pass once.
    fn sums(&self, batch: &[Piece<'_>]) -> Result<Vec<Sum>, CkksError> {
        let products: Vec<usize> = batch.iter().flat_map(|piece| piece.products).copied().collect();
        let plaintexts: Vec<Arc<Plaintext>> =
            products.par_iter().map(|&product| (self.sweep.plaintext)(product)).collect::<Result<_, _>>()?;
        for plaintext in &plaintexts {
            self.context.check_product_plain(plaintext, &self.checked)?;
        }
        let mut polys: Vec<Poly<Evaluation>> = (0..2 * batch.len())
            .map(|_| Poly::unspecified(self.context.degree(), self.basis_limbs()))
            .collect();
        self.context.for_each(transposed(&mut polys).enumerate(), 0, |(target, mut outs), _| {
            let limb = self.context.basis_limb(self.checked.limbs, target);
            let mut left = &plaintexts[..];
            let terms: Vec<Terms<'_>> = batch
                .iter()
                .map(|piece| {
                    let (plaintexts, rest) = left.split_at(piece.products.len());
                    left = rest;
                    self.terms(piece.products, plaintexts, target)
                })
                .collect();
            for start in (0..self.context.n()).step_by(Limb::STEP_WORDS) {
                for (outs, terms) in outs.chunks_exact_mut(2).zip(&terms) {
                    let step = start..self.context.n().min(start + Limb::STEP_WORDS);
                    if let [first, second] = outs {
                        let outs = [&mut first[step.clone()], &mut second[step]];
                        limb.pair_of_sums_from(start, outs, &terms.plains, [&terms.firsts, &terms.seconds]);
                    }
                }
            }
        });
        let mut polys = polys.into_iter();
        Ok(std::iter::from_fn(|| Some(vec![polys.next()?, polys.next()?])).collect())
    }

    fn terms<'b>(&'b self, products: &[usize], plaintexts: &'b [Arc<Plaintext>], target: usize) -> Terms<'b> {
        let mut terms = Terms::default();
        for (&product, plaintext) in products.iter().zip(plaintexts) {
            let product = self.sweep.products[product];
            let baby = &self.babies[&(product.input, product.baby)];
            // Special limbs of a baby that is not rotated are absent: they are zero.
            if target < baby[0].limbs() {
                terms.plains.push(plaintext.limb(target, self.checked.limbs));
                terms.firsts.push(baby[0].limb(target));
                terms.seconds.push(baby[1].limb(target));
            }
        }
        terms
    }

    /// Adds a sum over some basis to another one over the same.
    fn add(&self, sum: Sum, total: &mut Option<Sum>) {
        match total {
            None => *total = Some(sum),
            Some(total) => self.context.for_each(transposed(total).enumerate(), 0, |(target, words), _| {
                let limb = self.context.basis_limb(self.checked.limbs, target);
                words.into_iter().zip(&sum).for_each(|(words, part)| limb.add(words, part.limb(target)));
            }),
        }
    }

    /// Adds a sum that no giant step moves.
    fn add_still(&self, sum: Sum, total: &mut Option<Sum>) -> Result<(), CkksError> {
        let Checked { baby_special, output_special, .. } = self.checked;
        let sum = if baby_special == output_special {
            sum
        } else {
            self.context.extend(&Ciphertext::new(sum)?, output_special)?.into_parts()
        };
        self.add(sum, total);
        Ok(())
    }

    /// Rotates a sum by a giant step, without dividing by `P`, and adds it.
    fn add_rotated(
        &self,
        sum: &[Poly<Evaluation>],
        giant: usize,
        key: &EvaluationKey,
        total: &mut Option<Sum>,
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
fn needed_key(key: Option<&EvaluationKey>, element: GaloisElement) -> Option<&EvaluationKey> {
    key.filter(|_| !element.is_identity())
}

/// Runs of pieces with at most so many products and [`BATCH_PIECES_MAX`] pieces together.
fn batches<'p, 'a>(pieces: &'p [Piece<'a>], products_max: usize) -> impl Iterator<Item = &'p [Piece<'a>]> {
    let mut left = pieces;
    std::iter::from_fn(move || {
        let mut products = 0;
        let fits = |piece: &&Piece<'_>| {
            products += piece.products.len();
            products <= products_max
        };
        let len = left.iter().take(BATCH_PIECES_MAX).take_while(fits).count();
        let (batch, rest) = left.split_at(len);
        left = rest;
        (!batch.is_empty()).then_some(batch)
    })
}
