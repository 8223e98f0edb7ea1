//! Slot distances between the related elements of a map.
//!
//! Relies on a relation that is a product over axes ([`super::structure`]): the address of an element is the sum of what its axes add, so
//! that distances are the sums of small sets. Where addresses carry into the next ciphertext, those axes are walked whose parts
//! decide about it, the farthest first, until the rest of them stays within a ciphertext on both sides.
//! Promises: exactly the distances of all pairs, or `None`.

use super::diagonals::PlacedMap;
use super::residues::Residues;
use super::structure::{Axis, Relation, axes_of, charge};
use crate::layout::Layout;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Slot distances by (output ciphertext, input ciphertext), before replicas and folds.
pub(super) type Distances = BTreeMap<(u32, u32), Vec<u32>>;

/// Most steps of walking axes; beyond, listing the map is as good, which says what is too large.
const WALK_STEPS_MAX: u64 = 1 << 30;

/// Adds every `a + b` of two lists to a set; `None` where that takes more steps than are left.
pub(super) fn add_sums(set: &mut Residues, a: &[u32], b: &[u32], steps_left: &mut u64) -> Option<()> {
    let (many, few) = if a.len() > b.len() { (a, b) } else { (b, a) };
    let (slots, words) = (set.modulus(), set.words());
    let singly = slots < 64 || many.len() * 8 < words;
    let each = if singly { many.len() } else { words };
    charge(steps_left, (few.len() * each + many.len() + 1) as u64)?;
    if singly {
        for x in few {
            many.iter().for_each(|y| set.insert((x + y) & (slots - 1)));
        }
        return Some(());
    }
    let summand = Residues::of(slots, many.iter().copied());
    few.iter().for_each(|x| set.extend_rotated(&summand, *x));
    Some(())
}

/// Distances `input slot − output slot` of all related elements; `None` where a layout has no digits for the relation's axes, or that
/// takes more steps than are left.
pub(super) fn distances(relation: &Relation, map: &PlacedMap<'_>, steps_left: &mut u64) -> Option<Distances> {
    let slots = u64::from(map.input.slots);
    let inputs = parts(map.input, relation.factors.iter().filter_map(|f| f.input))?;
    let outputs = parts(map.output, relation.factors.iter().filter_map(|f| f.output))?;
    let carries = |parts: &Parts| {
        let farthest = |part: &Vec<u64>| part.iter().map(|a| a % slots).max().unwrap_or(0);
        parts.values().map(farthest).sum::<u64>() >= slots
    };
    let factors: Vec<Vec<(u64, u64)>> = relation
        .factors
        .iter()
        .map(|factor| {
            let (input, output) = (part_of(&inputs, factor.input), part_of(&outputs, factor.output));
            factor.pairs.iter().map(|(i, o)| (input[*i as usize], output[*o as usize])).collect()
        })
        .collect();
    if carries(&inputs) || carries(&outputs) {
        walked(factors, slots, steps_left)
    } else {
        summed(&factors, slots, steps_left)
    }
}

/// The distances of pairs of addresses, one list for each factor, whose slot parts do not carry.
fn summed(factors: &[Vec<(u64, u64)>], slots: u64, steps_left: &mut u64) -> Option<Distances> {
    let words = slots.div_ceil(64);
    let mut sum: Distances = BTreeMap::from([((0, 0), vec![0])]);
    for factor in factors {
        let mut own: BTreeMap<(u32, u32), Residues> = BTreeMap::new();
        charge(steps_left, factor.len() as u64)?;
        for (input, output) in factor {
            let set = match own.entry(ciphertexts(*input, *output, slots)) {
                Entry::Occupied(set) => set.into_mut(),
                Entry::Vacant(place) => {
                    charge(steps_left, words)?;
                    place.insert(Residues::new(slots as u32))
                }
            };
            set.insert(distance(*input, *output, slots));
        }
        let mut next: BTreeMap<(u32, u32), Residues> = BTreeMap::new();
        for ((co, ci), set) in &own {
            let list: Vec<u32> = set.iter().collect();
            for ((bo, bi), before) in &sum {
                let target = next.entry((co + bo, ci + bi)).or_insert_with(|| Residues::new(slots as u32));
                // Reading and making a set costs a step per word at least.
                charge(steps_left, 2 * words)?;
                add_sums(target, before, &list, steps_left)?;
            }
        }
        sum = next.into_iter().map(|(pair, set)| (pair, set.iter().collect())).collect();
    }
    Some(sum)
}

/// (Output, input) ciphertext of a pair of addresses.
fn ciphertexts(input: u64, output: u64, slots: u64) -> (u32, u32) {
    ((output / slots) as u32, (input / slots) as u32)
}

/// Slot distance of a pair of addresses; the slots are a power of two.
fn distance(input: u64, output: u64, slots: u64) -> u32 {
    (input.wrapping_sub(output) & (slots - 1)) as u32
}

/// The same of addresses that carry.
fn walked(mut factors: Vec<Vec<(u64, u64)>>, slots: u64, steps_left: &mut u64) -> Option<Distances> {
    let reach = |factor: &Vec<(u64, u64)>| {
        factor.iter().fold((0, 0), |(input, output), pair| (pair.0.max(input), pair.1.max(output)))
    };
    factors.sort_by_key(|factor| {
        let (input, output) = reach(factor);
        std::cmp::Reverse(input.max(output))
    });
    let words = slots.div_ceil(64);
    let mut rest = vec![Rest { reach: (0, 0), distances: Residues::of(slots as u32, [0]), list: vec![0] }];
    for factor in factors.iter().rev() {
        let behind = &rest[rest.len() - 1];
        let (own, mut sums) = (reach(factor), Residues::new(slots as u32));
        let distances = Residues::of(slots as u32, factor.iter().map(|(i, o)| distance(*i, *o, slots)));
        charge(steps_left, factor.len() as u64 + 4 * words)?;
        add_sums(&mut sums, &distances.iter().collect::<Vec<_>>(), &behind.list, steps_left)?;
        let reach = (own.0 + behind.reach.0, own.1 + behind.reach.1);
        rest.push(Rest { reach, list: sums.iter().collect(), distances: sums });
    }
    rest.reverse();
    let mut budget = WALK_STEPS_MAX.min(*steps_left);
    let mut walk = Walk { slots, factors: &factors, rest: &rest, found: BTreeMap::new() };
    let done = walk.follow(0, (0, 0), &mut budget);
    charge(steps_left, WALK_STEPS_MAX.min(*steps_left) - budget)?;
    done?;
    Some(walk.found.into_iter().map(|(pair, set)| (pair, set.iter().collect())).collect())
}

/// What some of the factors add.
struct Rest {
    /// At most, to an input's and to an output's address.
    reach: (u64, u64),
    /// To distances.
    distances: Residues,
    /// The same, ascending.
    list: Vec<u32>,
}

struct Walk<'a> {
    slots: u64,
    factors: &'a [Vec<(u64, u64)>],
    /// Of the factors from each on.
    rest: &'a [Rest],
    found: BTreeMap<(u32, u32), Residues>,
}

impl Walk<'_> {
    /// Adds the distances of all pairs that the factors from the `next`-th on lead to from one of addresses; `None` where that takes
    /// more steps than are left.
    fn follow(&mut self, next: usize, (input, output): (u64, u64), steps_left: &mut u64) -> Option<()> {
        let (slots, Rest { reach, distances, list }) = (self.slots, &self.rest[next]);
        if input % slots + reach.0 >= slots || output % slots + reach.1 >= slots {
            let factors = self.factors;
            charge(steps_left, factors[next].len() as u64)?;
            return factors[next]
                .iter()
                .try_for_each(|(i, o)| self.follow(next + 1, (input + i, output + o), steps_left));
        }
        let by = distance(input, output, slots);
        let set = match self.found.entry(ciphertexts(input, output, slots)) {
            Entry::Occupied(set) => set.into_mut(),
            Entry::Vacant(place) => {
                charge(steps_left, distances.words() as u64)?;
                place.insert(Residues::new(slots as u32))
            }
        };
        if list.len() * 8 < distances.words() {
            charge(steps_left, list.len() as u64)?;
            list.iter().for_each(|distance| set.insert((distance + by) & (slots as u32 - 1)));
        } else {
            charge(steps_left, distances.words() as u64)?;
            set.extend_rotated(distances, by);
        }
        Some(())
    }
}

/// By axis, what its indices add to addresses.
type Parts = BTreeMap<Axis, Vec<u64>>;

/// What an axis adds to addresses; an absent one nothing.
fn part_of(parts: &Parts, axis: Option<Axis>) -> &[u64] {
    axis.map_or(&[0], |axis| &parts[&axis])
}

/// What each of a relation's axes adds to addresses; `None` if that of some axis depends on others.
fn parts(layout: &Layout, axes: impl Iterator<Item = Axis>) -> Option<Parts> {
    let own: Vec<(Axis, Vec<u64>)> = axes_of(&layout.shape)
        .into_iter()
        .zip(layout.axis_offsets())
        .filter_map(|(axis, offsets)| Some((axis?, offsets)))
        .collect();
    let address = |index: u32| -> u64 {
        let part = |(axis, offsets): &(Axis, Vec<u64>)| offsets[(index / axis.stride % axis.extent) as usize];
        own.iter().map(part).sum()
    };
    axes.map(|axis| {
        let adds = own.iter().all(|(own, offsets)| adds_up(*own, offsets, axis.stride));
        adds.then(|| (axis, (0..axis.extent).map(|i| address(i * axis.stride)).collect()))
    })
    .collect()
}

/// Whether what an axis adds to addresses is that of the row-major index's part below `cut` and of the part from there on.
fn adds_up(axis: Axis, offsets: &[u64], cut: u32) -> bool {
    if cut <= axis.stride || cut >= axis.stride * axis.extent {
        return true;
    }
    let inner = (cut / axis.stride) as usize;
    let sum = |(i, offset): (usize, &u64)| *offset == offsets[i - i % inner] + offsets[i % inner];
    cut.is_multiple_of(axis.stride)
        && offsets.len().is_multiple_of(inner)
        && offsets.iter().enumerate().all(sum)
}
