//! The evaluation of a checked sweep: babies, then batch by batch the sums of products and the giant steps that nothing is carried onto.
//! As soon as the last batch that adds to an output is done, its other giant steps follow, and it is divided.
//!
//! Sums are exact modulo each prime, so neither their order nor the number of threads nor the batches change a bit.

use cipherloom_ring::{Evaluation, Poly};
use rayon::prelude::*;

use super::babies::Babies;
use super::giants::Totals;
use super::products::{Group, sums};
use super::{Checked, LinearSweep, SweepPlaintext};
use crate::division::{Division, Stored};
use crate::{Ciphertext, CkksError, Context, Limbs};

/// Most words of the sums of a batch: 512 MiB. Sums that others are carried onto wait beyond their batch, beside it.
const SUM_WORDS_MAX: usize = 1 << 26;
/// Most words that the compact plaintexts of a batch of several groups take at one prime, for each thread: 32 MiB. Those that repeat
/// count as whole limbs.
const COMPACT_WORDS_MAX: usize = 1 << 22;

/// The outputs of a sweep.
pub(super) fn outputs(
    context: &Context,
    sweep: &LinearSweep<'_>,
    checked: &Checked,
) -> Result<Vec<Ciphertext>, CkksError> {
    let babies = Babies::new(context, sweep, checked)?;
    let mut totals = Totals::new(context, sweep, checked);
    let groups_max = (SUM_WORDS_MAX / (2 * context.n() * (checked.limbs + checked.baby_special))).max(1);
    let (mut batch, mut compact_words) = (Vec::new(), 0);
    let mut outputs = Vec::with_capacity(sweep.outputs);
    for (&(output, giant), products) in &checked.groups {
        let plaintexts = plaintexts(context, sweep, checked, products)?;
        let compact = plaintexts.iter().filter(|plaintext| matches!(plaintext, SweepPlaintext::Compact(_)));
        let words = compact.count() * context.n();
        let full = batch.len() == groups_max || compact_words + words > COMPACT_WORDS_MAX;
        if full && !batch.is_empty() {
            totals.add(sums(&babies, &batch), &batch)?;
            batch.clear();
            compact_words = 0;
            // Groups come by output: those before this one's are whole.
            while outputs.len() < output {
                outputs.push(divided(context, sweep, checked, totals.take(outputs.len())?)?);
            }
        }
        let pairs = products.iter().map(|&product| {
            let product = sweep.products[product];
            babies.index(product.input, product.baby)
        });
        batch.push(Group { output, giant, babies: pairs.collect(), plaintexts });
        compact_words += words;
    }
    totals.add(sums(&babies, &batch), &batch)?;
    drop(babies);
    while outputs.len() < sweep.outputs {
        outputs.push(divided(context, sweep, checked, totals.take(outputs.len())?)?);
    }
    Ok(outputs)
}

/// The plaintexts of these products, checked.
fn plaintexts(
    context: &Context,
    sweep: &LinearSweep<'_>,
    checked: &Checked,
    products: &[usize],
) -> Result<Vec<SweepPlaintext>, CkksError> {
    let plaintext = |&product: &usize| {
        let plaintext = (sweep.plaintext)(product)?;
        match &plaintext {
            SweepPlaintext::Encoded(plain) => {
                context.check_plain(plain, Limbs(checked.limbs), checked.baby_special)?;
            }
            SweepPlaintext::Compact(plain) => context.encoder().check_compact(plain)?,
        }
        Ok(plaintext)
    };
    products.par_iter().map(plaintext).collect()
}

/// An output from its total.
fn divided(
    context: &Context,
    sweep: &LinearSweep<'_>,
    checked: &Checked,
    total: Vec<Poly<Evaluation>>,
) -> Result<Ciphertext, CkksError> {
    let (limbs, special) = (checked.limbs, checked.output_special);
    let rescales = usize::from(sweep.rescale);
    if special + rescales == 0 {
        return Ciphertext::new(total);
    }
    Ciphertext::new(context.divide(Division { limbs, special, rescales }, &Stored(&total), None)?)
}
