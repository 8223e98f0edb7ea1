//! Giant steps: sums are rotated without division by `P` and collected, one total per output.
//!
//! Part 1 of a sum is switched, so it has to come down to the chain primes; part 0 is only moved, and stays where it is.
//! All sums of a batch come down together; then prime by prime the digits of one sum after the other are lifted, and tile
//! by tile their products with the key are summed, moved and added to the total.

use std::sync::Arc;

use cipherloom_ring::{Automorphism, Evaluation, Poly};

use super::babies::needed_key;
use super::products::{Group, Sums};
use super::{Checked, LinearSweep};
use crate::division::{Division, Stored};
use crate::keyswitch::{Digits, FreshDigits, key_limbs};
use crate::{Ciphertext, CkksError, Context, KeyHandle, KeyTarget, TakenKey};

/// Words of a tile: two sums and two moved sums are half of a first-level cache.
const TILE_WORDS: usize = 1 << 9;

/// The outputs before their division.
pub(super) struct Totals<'a> {
    context: &'a Context,
    sweep: &'a LinearSweep<'a>,
    checked: &'a Checked,
    /// Part 0 and 1 of each output, over the outputs' basis.
    totals: Vec<Option<[Poly<Evaluation>; 2]>>,
}

/// A sum that is to be rotated.
struct Moved<'a> {
    output: usize,
    giant: usize,
    key: KeyHandle<'a>,
    automorphism: Arc<Automorphism>,
    /// Part 0 of the sum, times `P`.
    first: Poly<Evaluation>,
}

/// A sum with its digits and its key, both digit by digit, at one prime.
struct SwitchedAt<'t> {
    moved: &'t Moved<'t>,
    digits: Vec<&'t [u64]>,
    key: [Vec<&'t [u64]>; 2],
}

/// Part 0 and part 1 of an output at one prime.
struct Item<'t> {
    output: usize,
    target: usize,
    /// Whether nothing has been added yet.
    fresh: bool,
    outs: [&'t mut [u64]; 2],
}

impl<'a> Totals<'a> {
    pub(super) fn new(context: &'a Context, sweep: &'a LinearSweep<'a>, checked: &'a Checked) -> Totals<'a> {
        Totals { context, sweep, checked, totals: (0..sweep.outputs).map(|_| None).collect() }
    }

    /// Both parts of an output, to which nothing is added any more.
    pub(super) fn take(&mut self, output: usize) -> Vec<Poly<Evaluation>> {
        self.totals[output].take().into_iter().flatten().collect()
    }

    /// Rotates the sums of these groups and adds them.
    pub(super) fn add(&mut self, sums: Sums, groups: &[Group]) -> Result<(), CkksError> {
        let Checked { limbs, baby_special, .. } = *self.checked;
        let (mut moved, mut seconds) = (Vec::new(), Vec::new());
        let [firsts, all_seconds] = sums;
        for (group, (first, second)) in groups.iter().zip(firsts.into_iter().zip(all_seconds)) {
            let element = self.checked.giants[group.giant];
            match needed_key(self.sweep.giants[group.giant].1, element) {
                None => self.add_still(group.output, [first, second])?,
                Some(key) => {
                    let first = if baby_special == 0 {
                        self.context.times_special(&first, key.shape().gadget.special_limbs)?
                    } else {
                        first
                    };
                    let automorphism = self.context.automorphism(element)?;
                    let (output, giant) = (group.output, group.giant);
                    moved.push(Moved { output, giant, key, automorphism, first });
                    seconds.push(second);
                }
            }
        }
        if baby_special > 0 && !seconds.is_empty() {
            let division = Division { limbs, special: baby_special, rescales: 0 };
            seconds = self.context.divide(division, &Stored(&seconds), None)?;
        }
        let digits = moved
            .iter()
            .zip(&seconds)
            .map(|(moved, second)| self.context.digits(second, moved.key.shape().gadget));
        let digits = digits.collect::<Result<Vec<_>, _>>()?;
        // Keys in memory go through the totals together, those of a store one at a time.
        let stored = moved.iter().any(|moved| matches!(moved.key, KeyHandle::Stored(..)));
        let at_once = if stored { 1 } else { moved.len().max(1) };
        for (moved, digits) in moved.chunks(at_once).zip(digits.chunks(at_once)) {
            let keys = moved.iter().map(|moved| self.key(moved)).collect::<Result<Vec<_>, _>>()?;
            self.add_moved(moved, digits, &keys);
        }
        Ok(())
    }

    fn key<'k>(&self, moved: &Moved<'k>) -> Result<TakenKey<'k>, CkksError> {
        let (key, element) = (moved.key.take()?, self.checked.giants[moved.giant]);
        self.context.check_key(&key, KeyTarget::Galois(element), self.checked.limbs)?;
        Ok(key)
    }

    /// Adds a sum that no giant step moves.
    fn add_still(&mut self, output: usize, sum: [Poly<Evaluation>; 2]) -> Result<(), CkksError> {
        let Checked { limbs, baby_special, output_special, .. } = *self.checked;
        let sum = if baby_special == output_special {
            sum
        } else {
            let extended = self.context.extend(&Ciphertext::new(sum.into())?, output_special)?;
            extended.into_parts().try_into().expect("an extended value has two parts")
        };
        match &mut self.totals[output] {
            None => self.totals[output] = Some(sum),
            Some(totals) => {
                for (total, part) in totals.iter_mut().zip(&sum) {
                    let items = total.limbs_mut().enumerate();
                    self.context.for_each(items, 0, |(target, words), _| {
                        self.context.basis_limb(limbs, target).add(words, part.limb(target));
                    });
                }
            }
        }
        Ok(())
    }

    /// Adds sums that giant steps move.
    fn add_moved(&mut self, moved: &[Moved<'_>], digits: &[FreshDigits<'_>], keys: &[TakenKey<'_>]) {
        let (context, checked) = (self.context, self.checked);
        let basis_limbs = checked.limbs + checked.output_special;
        let mut items = Vec::new();
        for (output, totals) in self.totals.iter_mut().enumerate() {
            if moved.iter().any(|moved| moved.output == output) {
                let fresh = totals.is_none();
                let poly = || Poly::unspecified(context.degree(), basis_limbs);
                let [first, second] = totals.get_or_insert_with(|| [poly(), poly()]);
                let outs = first.limbs_mut().zip(second.limbs_mut()).enumerate();
                items.extend(outs.map(|(target, (first, second))| Item {
                    output,
                    target,
                    fresh,
                    outs: [first, second],
                }));
            }
        }
        let tile = TILE_WORDS.min(context.n());
        let lifts = digits.iter().map(Digits::scratch_limbs).max().unwrap_or(0);
        let scratch_limbs = lifts + (4 * tile).div_ceil(context.n());
        context.for_each_group(items.into_iter(), scratch_limbs, |mut items, scratch| {
            let (lifted, tiles) = scratch.split_at_mut(items.len() * lifts * context.n());
            for ((moved, digits), key) in moved.iter().zip(digits).zip(keys) {
                let of_output = |item: &&mut Item<'_>| item.output == moved.output;
                let targets: Vec<_> = items.iter_mut().filter(of_output).map(|item| item.target).collect();
                if targets.is_empty() {
                    continue;
                }
                digits.prepare(&targets, lifted);
                let lifted = lifted.chunks_exact_mut(digits.scratch_limbs() * context.n());
                for (item, lifted) in items.iter_mut().filter(of_output).zip(lifted) {
                    let digits = digits.load(item.target, lifted);
                    let key = key_limbs(key, item.target, checked.limbs);
                    let at = SwitchedAt { moved, digits, key };
                    add_switched(context, checked.limbs, &at, item, &mut tiles[..4 * tile]);
                    item.fresh = false;
                }
            }
        });
    }
}

/// Adds the moved product of digits and key, and of part 0, to an output at one prime, tile by tile.
fn add_switched(
    context: &Context,
    limbs: usize,
    at: &SwitchedAt<'_>,
    item: &mut Item<'_>,
    tiles: &mut [u64],
) {
    let (limb, len) = (context.basis_limb(limbs, item.target), tiles.len() / 4);
    let SwitchedAt { moved, digits, key: [b, a] } = at;
    let first = if item.target < moved.first.limbs() { moved.first.limb(item.target) } else { &[] };
    let (sums, spare) = tiles.split_at_mut(2 * len);
    let (first_sum, second_sum) = sums.split_at_mut(len);
    let mut cut: [Vec<&[u64]>; 3] = Default::default();
    for start in (0..context.n()).step_by(len) {
        let source = moved.automorphism.tile_source(start, len);
        for (cut, factors) in cut.iter_mut().zip([digits, b, a]) {
            cut.clear();
            cut.extend(factors.iter().map(|words| &words[source..][..len]));
        }
        let begin = if first.is_empty() { first } else { &first[source..][..len] };
        limb.pair_of_sums_tile([first_sum, second_sum], [begin, &[]], &cut[0], [&cut[1], &cut[2]]);
        for (out, sum) in item.outs.iter_mut().zip([&*first_sum, &*second_sum]) {
            let out = &mut out[start..][..len];
            if item.fresh {
                moved.automorphism.apply_tile(start, sum, out);
            } else {
                moved.automorphism.apply_tile(start, sum, &mut spare[..len]);
                limb.add_tile(out, &spare[..len]);
            }
        }
    }
}
