//! Giant steps: sums are rotated without division by `P` and collected, one total per output, and one per giant step that
//! others are carried onto.
//!
//! Part 1 of a sum is switched, so it has to come down to the chain primes; part 0 is only moved, and stays where it is.
//! All sums that are carried at once come down together; then prime by prime the digits of one sum after the
//! other are lifted, and tile by tile their products with the key are summed, moved and added to the total.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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

/// An output, or the sum of one of its giant steps.
type Node = (usize, Option<usize>);

/// The outputs before their division.
pub(super) struct Totals<'a> {
    context: &'a Context,
    sweep: &'a LinearSweep<'a>,
    checked: &'a Checked,
    /// Part 0 and 1 of each output, and of each giant step's sum that waits for others, over the outputs' basis.
    totals: BTreeMap<Node, [Poly<Evaluation>; 2]>,
}

/// The sum of a giant step of an output, part 0 and 1.
struct StepSum {
    output: usize,
    giant: usize,
    parts: [Poly<Evaluation>; 2],
}

/// A sum that is to be rotated.
struct Moved<'a> {
    /// What it is added to.
    onto: Node,
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

/// Part 0 and part 1 of a total at one prime.
struct Item<'t> {
    node: Node,
    target: usize,
    /// Whether nothing has been added yet.
    fresh: bool,
    outs: [&'t mut [u64]; 2],
}

impl<'a> Totals<'a> {
    pub(super) fn new(context: &'a Context, sweep: &'a LinearSweep<'a>, checked: &'a Checked) -> Totals<'a> {
        Totals { context, sweep, checked, totals: BTreeMap::new() }
    }

    /// Both parts of an output, to which nothing is added any more.
    pub(super) fn take(&mut self, output: usize) -> Result<Vec<Poly<Evaluation>>, CkksError> {
        let heights = &self.checked.heights;
        for height in 1..=heights.iter().copied().max().unwrap_or(0) {
            let giants = (0..heights.len()).filter(|giant| heights[*giant] == height);
            let waiting = giants.filter_map(|giant| {
                let parts = self.totals.remove(&(output, Some(giant)))?;
                Some(StepSum { output, giant, parts })
            });
            let waiting = waiting.collect();
            self.carry(waiting, self.checked.output_special)?;
        }
        Ok(self.totals.remove(&(output, None)).into_iter().flatten().collect())
    }

    /// Carries on the sums of these groups; those that others are carried onto wait for them.
    pub(super) fn add(&mut self, sums: Sums, groups: &[Group]) -> Result<(), CkksError> {
        let special = self.checked.baby_special;
        let [firsts, seconds] = sums;
        let mut ready = Vec::new();
        for (group, parts) in groups.iter().zip(firsts.into_iter().zip(seconds).map(<[_; 2]>::from)) {
            let (output, giant) = (group.output, group.giant);
            if self.checked.heights[giant] > 0 {
                let parts = self.extended(parts, special)?;
                self.add_still((output, Some(giant)), parts);
            } else {
                ready.push(StepSum { output, giant, parts });
            }
        }
        self.carry(ready, special)
    }

    /// Rotates sums over so many special primes and adds each to what its giant step is carried onto.
    fn carry(&mut self, sums: Vec<StepSum>, special: usize) -> Result<(), CkksError> {
        let (mut moved, mut seconds) = (Vec::new(), Vec::new());
        for StepSum { output, giant, parts } in sums {
            let (element, onto) = (self.checked.giants[giant], (output, self.sweep.onto(giant)));
            let Some(key) = needed_key(self.sweep.giants[giant].1, element) else {
                let parts = self.extended(parts, special)?;
                self.add_still(onto, parts);
                continue;
            };
            let [first, second] = parts;
            let first = if special == 0 {
                self.context.times_special(&first, key.shape().gadget.special_limbs)?
            } else {
                first
            };
            let automorphism = self.context.automorphism(element)?;
            moved.push(Moved { onto, giant, key, automorphism, first });
            seconds.push(second);
        }
        if special > 0 && !seconds.is_empty() {
            let division = Division { limbs: self.checked.limbs, special, rescales: 0 };
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

    /// A sum over so many special primes, times `P` where it has none, over the outputs' basis.
    fn extended(
        &self,
        sum: [Poly<Evaluation>; 2],
        special: usize,
    ) -> Result<[Poly<Evaluation>; 2], CkksError> {
        if special == self.checked.output_special {
            return Ok(sum);
        }
        let extended = self.context.extend(&Ciphertext::new(sum.into())?, self.checked.output_special)?;
        Ok(extended.into_parts().try_into().expect("an extended value has two parts"))
    }

    /// Adds a sum as it is.
    fn add_still(&mut self, node: Node, sum: [Poly<Evaluation>; 2]) {
        let limbs = self.checked.limbs;
        match self.totals.entry(node) {
            Entry::Vacant(total) => {
                total.insert(sum);
            }
            Entry::Occupied(mut total) => {
                for (total, part) in total.get_mut().iter_mut().zip(&sum) {
                    let items = total.limbs_mut().enumerate();
                    self.context.for_each(items, 0, |(target, words), _| {
                        self.context.basis_limb(limbs, target).add(words, part.limb(target));
                    });
                }
            }
        }
    }

    /// Adds sums that giant steps move.
    fn add_moved(&mut self, moved: &[Moved<'_>], digits: &[FreshDigits<'_>], keys: &[TakenKey<'_>]) {
        let (context, checked) = (self.context, self.checked);
        let basis_limbs = checked.limbs + checked.output_special;
        let poly = || Poly::unspecified(context.degree(), basis_limbs);
        let mut fresh = BTreeSet::new();
        for node in moved.iter().map(|moved| moved.onto) {
            self.totals.entry(node).or_insert_with(|| {
                fresh.insert(node);
                [poly(), poly()]
            });
        }
        let mut items = Vec::new();
        for (&node, [first, second]) in &mut self.totals {
            if moved.iter().any(|moved| moved.onto == node) {
                let (fresh, outs) = (fresh.contains(&node), first.limbs_mut().zip(second.limbs_mut()));
                items.extend(outs.enumerate().map(|(target, (first, second))| Item {
                    node,
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
                let of_node = |item: &&mut Item<'_>| item.node == moved.onto;
                let targets: Vec<_> = items.iter_mut().filter(of_node).map(|item| item.target).collect();
                if targets.is_empty() {
                    continue;
                }
                digits.prepare(&targets, lifted);
                let lifted = lifted.chunks_exact_mut(digits.scratch_limbs() * context.n());
                for (item, lifted) in items.iter_mut().filter(of_node).zip(lifted) {
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

/// Adds the moved product of digits and key, and of part 0, to a total at one prime, tile by tile.
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
