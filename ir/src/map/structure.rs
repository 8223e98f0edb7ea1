//! Which output element reads which input element, axis by axis.
//!
//! The relation of most maps is a product over axes: a convolution relates rows to rows, columns to columns and
//! all channels to all channels. Kept as such, the differences of addresses are sums of small sets
//! ([`super::support`]) instead of millions of pairs. An axis is a part of the row-major index, so that a tensor that is read in
//! another shape keeps its axes; where the next operator's end inside of them (the groups of a normalisation), factors are split
//! in two. Promises: [`Relation::of`] is exact, or `None` where the relation is no such product, or takes more steps than are left.

use super::{Operator, Tensor, ViewAxis, Window, volume_of};
use std::collections::BTreeSet;

/// An axis of extent above 1 of a tensor, in whatever shape it is read: index `i` adds `i · stride` to the row-major index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Axis {
    pub(crate) stride: u32,
    pub(crate) extent: u32,
}

/// A factor of the relation: pairs (input index, output index) of an input and an output axis; an absent axis
/// has the one index 0.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) input: Option<Axis>,
    pub(crate) output: Option<Axis>,
    /// In any order, each once.
    pub(crate) pairs: Vec<(u32, u32)>,
}

/// A product relation between tensors: the axes of each side are digits of its row-major index, and each is in exactly one factor.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) factors: Vec<Factor>,
    /// Most products of entries that a composition of its operators' matrices adds up.
    pub(crate) work: u64,
}

/// Pairs that composing two factors lists, at most (512 MiB): a map of more is listed entry by entry, if it is not too large for that.
const JOINED_MAX: u64 = 1 << 26;
/// Steps that listing, sorting and placing a pair of indices counts as.
pub(super) const PAIR_STEPS: u64 = 32;

/// Takes steps from those that are left; `None` and nothing left where there are too few.
pub(super) fn charge(left: &mut u64, steps: u64) -> Option<()> {
    let enough = *left >= steps;
    *left = left.saturating_sub(steps);
    enough.then_some(())
}

/// The axes of a tensor of this shape, which is not empty; `None` for those of extent 1.
pub(super) fn axes_of(shape: &[u32]) -> Vec<Option<Axis>> {
    let mut stride = 1;
    let mut axis = |extent: &u32| {
        let axis = (*extent > 1).then_some(Axis { stride, extent: *extent });
        stride *= extent;
        axis
    };
    let mut out: Vec<Option<Axis>> = shape.iter().rev().map(&mut axis).collect();
    out.reverse();
    out
}

impl Relation {
    /// The relation of checked `operators` over an input of shape `input`.
    pub(crate) fn of(
        operators: &[Operator],
        input: &[u32],
        tensors: &[Tensor],
        steps_left: &mut u64,
    ) -> Option<Relation> {
        let same = |axis: Axis| Factor {
            input: Some(axis),
            output: Some(axis),
            pairs: (0..axis.extent).map(|i| (i, i)).collect(),
        };
        charge(steps_left, input.iter().map(|extent| u64::from(*extent)).sum())?;
        let mut shape = input.to_vec();
        let mut relation =
            Relation { factors: axes_of(input).into_iter().flatten().map(same).collect(), work: 0 };
        for operator in operators {
            let next = operator.output_shape(&shape, tensors).ok()?;
            relation = relation.then(operator, &next, steps_left)?;
            shape = next;
        }
        Some(relation)
    }

    /// The relation followed by an operator with a result of shape `after`.
    fn then(self, operator: &Operator, after: &[u32], steps_left: &mut u64) -> Option<Relation> {
        charge(steps_left, self.factors.iter().map(|f| f.pairs.len() as u64).sum())?;
        let (reads, writes, factors) = match operator {
            Operator::AxisScale { .. } | Operator::ElementScale { .. } => return Some(self),
            Operator::View { input, axes } if is_reshape(input, axes) => return Some(self),
            Operator::View { input, axes } => (input.clone(), after.to_vec(), view(input, axes)?),
            Operator::Dense { .. } => {
                // It reads all of them, however they are cut.
                let reads: Vec<u32> = self.outputs().iter().rev().map(|axis| axis.extent).collect();
                let mut factors: Vec<Numbered> =
                    reads.iter().enumerate().map(|(a, d)| all_inputs(a, *d)).collect();
                factors.push(all_outputs(0, after[0]));
                (reads, after.to_vec(), factors)
            }
            Operator::Convolution { input, window, groups, .. } => {
                let [out, d, h, w] = volume_of(after)?;
                let mut factors = spatial(window, *input, [d, h, w]);
                factors.extend(channels(input[0], out, *groups));
                (input.to_vec(), vec![out, d, h, w], factors)
            }
            Operator::AveragePool { input, window, .. } => {
                let [out, d, h, w] = volume_of(after)?;
                let mut factors = spatial(window, *input, [d, h, w]);
                factors.extend(channels(input[0], out, out));
                (input.to_vec(), vec![out, d, h, w], factors)
            }
        };
        let (from, to) = (axes_of(&reads), axes_of(&writes));
        let placed = |f: Numbered| Factor {
            input: f.input.and_then(|a| from[a]),
            output: f.output.and_then(|a| to[a]),
            pairs: f.pairs,
        };
        let next: Vec<Factor> = factors.into_iter().map(placed).collect();
        let (own, wanted) = (self.outputs(), next.iter().filter_map(|f| f.input).collect());
        let first = split_all(self.factors.into_iter().map(Factor::turned).collect(), &wanted, steps_left)?;
        let first: Vec<Factor> = first.into_iter().map(Factor::turned).collect();
        let (factors, work) = compose(first, split_all(next, &own, steps_left)?, steps_left)?;
        Some(Relation { factors, work: work.max(self.work) })
    }

    /// Entries of the map's matrix.
    pub(crate) fn entries(&self) -> u64 {
        self.factors.iter().fold(1, |n, factor| n.saturating_mul(factor.pairs.len() as u64))
    }

    /// The axes of the output, the last one first.
    fn outputs(&self) -> BTreeSet<Axis> {
        self.factors.iter().filter_map(|f| f.output).collect()
    }
}

/// Splits factors until none of these axes begins within one of their inputs'.
fn split_all(mut rest: Vec<Factor>, others: &BTreeSet<Axis>, steps_left: &mut u64) -> Option<Vec<Factor>> {
    let mut out = Vec::with_capacity(rest.len());
    rest.reverse();
    while let Some(factor) = rest.pop() {
        let within = |axis: Axis| {
            let cut = others.iter().map(|other| other.stride).find(|cut| *cut > axis.stride)?;
            (cut < axis.stride * axis.extent).then_some((axis, cut))
        };
        let Some((axis, cut)) = factor.input.and_then(within) else {
            out.push(factor);
            continue;
        };
        if !cut.is_multiple_of(axis.stride) || !axis.extent.is_multiple_of(cut / axis.stride) {
            return None;
        }
        rest.extend(factor.split(axis, cut / axis.stride, steps_left)?);
    }
    Some(out)
}

impl Factor {
    /// The same with input and output in each other's place.
    fn turned(mut self) -> Factor {
        std::mem::swap(&mut self.input, &mut self.output);
        self.pairs.iter_mut().for_each(|(i, o)| std::mem::swap(i, o));
        self
    }

    /// Two factors whose product it is: the `inner` last values of its input, `axis`, and what is left of the axis. `None` where it
    /// is no product of two.
    fn split(&self, axis: Axis, inner: u32, steps_left: &mut u64) -> Option<[Factor; 2]> {
        let extent = self.output.map_or(1, |output| output.extent);
        // The output's own inner part: as many values, as large a share, all of them or none.
        let share = u64::from(inner) * u64::from(extent) / u64::from(axis.extent);
        let mut tried = [inner, share as u32, extent, 1];
        tried.sort_unstable();
        let mut last = 0;
        for own in tried {
            if own == last || own == 0 || !extent.is_multiple_of(own) {
                continue;
            }
            last = own;
            charge(steps_left, self.pairs.len() as u64 * PAIR_STEPS)?;
            let outer_pairs = distinct(self.pairs.iter().map(|(i, o)| (i / inner, o / own)));
            let inner_pairs = distinct(self.pairs.iter().map(|(i, o)| (i % inner, o % own)));
            // All pairs are among those of the product.
            if self.pairs.len() as u64 == outer_pairs.len() as u64 * inner_pairs.len() as u64 {
                let halves = |axis: Axis, inner: u32| {
                    let outer = Axis { stride: axis.stride * inner, extent: axis.extent / inner };
                    [outer, Axis { extent: inner, ..axis }].map(|half| Some(half).filter(|h| h.extent > 1))
                };
                let [input_outer, input_inner] = halves(axis, inner);
                let [output_outer, output_inner] = self.output.map_or([None; 2], |axis| halves(axis, own));
                return Some([
                    Factor { input: input_outer, output: output_outer, pairs: outer_pairs },
                    Factor { input: input_inner, output: output_inner, pairs: inner_pairs },
                ]);
            }
        }
        None
    }
}

/// Pairs, each once.
fn distinct(pairs: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut out: Vec<(u32, u32)> = pairs.collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// A factor between axes that are named by their number in a shape.
struct Numbered {
    input: Option<usize>,
    output: Option<usize>,
    pairs: Vec<(u32, u32)>,
}

/// First `first`, then `next`, over the same middle axes, with the number of ways from an input element to an output element; `None`
/// where the axes are not the same, or the factors are too large.
fn compose(first: Vec<Factor>, next: Vec<Factor>, steps_left: &mut u64) -> Option<(Vec<Factor>, u64)> {
    let (mut out, first): (Vec<Factor>, Vec<Factor>) = first.into_iter().partition(|f| f.output.is_none());
    let mut ways = out.iter().fold(1u64, |n, f| n.saturating_mul(f.pairs.len() as u64));
    for factor in next {
        out.push(match factor.input {
            None => {
                ways = ways.saturating_mul(factor.pairs.len() as u64);
                factor
            }
            Some(axis) => {
                let before = first.iter().find(|f| f.output == Some(axis))?;
                let (pairs, joined) = join(&before.pairs, factor.pairs, steps_left)?;
                ways = ways.saturating_mul(joined);
                Factor { input: before.input, output: factor.output, pairs }
            }
        });
    }
    // A pair of absent axes says only whether anything is related at all.
    out.retain(|f| f.input.is_some() || f.output.is_some() || f.pairs.is_empty());
    Some((out, ways))
}

/// The composed pairs, each once, and how often there are any; `None` where these are too many. Those of `next`, which an operator lists,
/// were charged before.
fn join(
    first: &[(u32, u32)],
    mut next: Vec<(u32, u32)>,
    steps_left: &mut u64,
) -> Option<(Vec<(u32, u32)>, u64)> {
    charge(steps_left, first.len() as u64 * PAIR_STEPS)?;
    next.sort_unstable();
    let from = |middle: u32| {
        let start = next.partition_point(|p| p.0 < middle);
        &next[start..start + next[start..].partition_point(|p| p.0 == middle)]
    };
    let joined: u64 = first.iter().map(|(_, middle)| from(*middle).len() as u64).sum();
    if joined > JOINED_MAX {
        return None;
    }
    charge(steps_left, joined.saturating_sub(next.len() as u64) * PAIR_STEPS)?;
    Some((
        distinct(first.iter().flat_map(|(i, middle)| from(*middle).iter().map(move |p| (*i, p.1)))),
        joined,
    ))
}

fn all_inputs(axis: usize, extent: u32) -> Numbered {
    Numbered { input: Some(axis), output: None, pairs: (0..extent).map(|i| (i, 0)).collect() }
}

fn all_outputs(axis: usize, extent: u32) -> Numbered {
    Numbered { input: None, output: Some(axis), pairs: (0..extent).map(|o| (0, o)).collect() }
}

/// Channels of a grouped operator; one group relates all to all, which is again a product.
fn channels(inputs: u32, outputs: u32, groups: u32) -> Vec<Numbered> {
    if groups == 1 {
        return vec![all_inputs(0, inputs), all_outputs(0, outputs)];
    }
    let (own, per_group) = (inputs / groups, outputs / groups);
    let pairs = (0..outputs).flat_map(|o| (0..own).map(move |c| (o / per_group * own + c, o))).collect();
    vec![Numbered { input: Some(0), output: Some(0), pairs }]
}

fn spatial(window: &Window, input: [u32; 4], output: [u32; 3]) -> Vec<Numbered> {
    let axis = |a: usize| {
        let taps = |o: u32| {
            (0..window.kernel[a]).filter_map(move |k| Some((window.source(a, o, k, input[a + 1])?, o)))
        };
        Numbered { input: Some(a + 1), output: Some(a + 1), pairs: (0..output[a]).flat_map(taps).collect() }
    };
    (0..3).map(axis).collect()
}

fn is_reshape(input: &[u32], axes: &[ViewAxis]) -> bool {
    let walked: Vec<usize> =
        axes.iter().filter(|a| a.extent > 1).filter_map(|a| a.input_axis).map(|a| a as usize).collect();
    let kept: Vec<usize> = (0..input.len()).filter(|a| input[*a] > 1).collect();
    let whole = |a: &ViewAxis| match a.input_axis {
        None => a.extent == 1,
        Some(i) => a.extent == input[i as usize] && a.start == 0 && (a.step == 1 || a.extent == 1),
    };
    walked == kept && axes.iter().all(whole)
}

fn view(input: &[u32], axes: &[ViewAxis]) -> Option<Vec<Numbered>> {
    let mut factors = vec![];
    for (axis, extent) in input.iter().enumerate() {
        let walkers = axes.iter().filter(|a| a.input_axis == Some(axis as u32)).count();
        match walkers {
            0 => factors.push(Numbered { input: Some(axis), output: None, pairs: vec![(0, 0)] }),
            1 => {}
            _ => return None,
        }
        debug_assert!(*extent > 0, "checked shapes have no empty axis");
    }
    for (axis, walk) in axes.iter().enumerate() {
        factors.push(match walk.input_axis {
            None => all_outputs(axis, walk.extent),
            Some(i) => {
                let at = |o: u32| walk.start + walk.step * i64::from(o);
                let inside = |o: &u32| (0..i64::from(input[i as usize])).contains(&at(*o));
                let pairs = (0..walk.extent).filter(inside).map(|o| (at(o) as u32, o)).collect();
                Numbered { input: Some(i as usize), output: Some(axis), pairs }
            }
        });
    }
    Some(factors)
}
