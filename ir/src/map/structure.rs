//! Which output element reads which input element, axis by axis.
//!
//! The relation of most maps is a product over axes: a convolution relates rows to rows, columns to columns and
//! all channels to all channels. Kept as such, the differences of addresses are sums of small sets
//! ([`super::support`]) instead of millions of pairs. Axes of extent 1 are left out, so that shapes compare
//! without them. Promises: [`Relation::of`] is exact, or `None` where the relation is no such product.

use super::{Operator, Tensor, ViewAxis, Window};

/// A factor of the relation: pairs (input index, output index) of an input and an output axis; an absent axis
/// has the one index 0.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) input: Option<usize>,
    pub(crate) output: Option<usize>,
    pub(crate) pairs: Vec<(u32, u32)>,
}

/// A product relation between tensors; every axis of extent above 1 is in exactly one factor.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) factors: Vec<Factor>,
    shape: Vec<u32>,
}

/// The shape without axes of extent 1.
pub(crate) fn squeezed(shape: &[u32]) -> Vec<u32> {
    shape.iter().copied().filter(|d| *d > 1).collect()
}

/// Number of each axis among those of extent above 1.
fn numbers(shape: &[u32]) -> Vec<Option<usize>> {
    let mut next = 0;
    let number = |d: &u32| {
        (*d > 1).then(|| {
            next += 1;
            next - 1
        })
    };
    shape.iter().map(number).collect()
}

impl Relation {
    /// The relation of checked `operators` over an input of shape `input`, to an output of shape `output`.
    pub(crate) fn of(
        operators: &[Operator],
        input: &[u32],
        output: &[u32],
        tensors: &[Tensor],
    ) -> Option<Relation> {
        let shape = squeezed(input);
        let same = |(axis, d): (usize, &u32)| Factor {
            input: Some(axis),
            output: Some(axis),
            pairs: (0..*d).map(|i| (i, i)).collect(),
        };
        let mut relation = Relation { factors: shape.iter().enumerate().map(same).collect(), shape };
        for operator in operators {
            relation = relation.then(operator, tensors)?;
        }
        (relation.shape == squeezed(output)).then_some(relation)
    }

    fn then(self, operator: &Operator, tensors: &[Tensor]) -> Option<Relation> {
        let (reads, writes, factors) = match operator {
            Operator::AxisScale { .. } | Operator::ElementScale { .. } => return Some(self),
            Operator::View { input, axes } if is_reshape(input, axes) => return Some(self),
            Operator::View { input, axes } => {
                (input.clone(), axes.iter().map(|a| a.extent).collect(), view(input, axes)?)
            }
            Operator::Dense { weight } => {
                let rows = tensors.get(weight.0 as usize)?.shape[0];
                let mut factors: Vec<Factor> =
                    self.shape.iter().enumerate().map(|(a, d)| all_inputs(a, *d)).collect();
                factors.push(all_outputs(0, rows));
                (self.shape.clone(), vec![rows], factors)
            }
            Operator::Convolution { input, window, groups, weight } => {
                let out = tensors.get(weight.0 as usize)?.shape[0];
                let [d, h, w] = window.output_size([input[1], input[2], input[3]]).ok()?;
                let mut factors = spatial(window, *input, [d, h, w]);
                factors.extend(channels(input[0], out, *groups));
                (input.to_vec(), vec![out, d, h, w], factors)
            }
            Operator::AveragePool { input, window, .. } => {
                let [d, h, w] = window.output_size([input[1], input[2], input[3]]).ok()?;
                let mut factors = spatial(window, *input, [d, h, w]);
                factors.extend(channels(input[0], input[0], input[0]));
                (input.to_vec(), vec![input[0], d, h, w], factors)
            }
        };
        if squeezed(&reads) != self.shape {
            return None;
        }
        let (from, to) = (numbers(&reads), numbers(&writes));
        let renumber = |f: Factor| Factor {
            input: f.input.and_then(|a| from[a]),
            output: f.output.and_then(|a| to[a]),
            pairs: f.pairs,
        };
        let next: Vec<Factor> = factors.into_iter().map(renumber).collect();
        Some(Relation { factors: compose(&self.factors, next), shape: squeezed(&writes) })
    }
}

/// First `first`, then `next`, over the same middle axes.
fn compose(first: &[Factor], next: Vec<Factor>) -> Vec<Factor> {
    let mut out: Vec<Factor> = first.iter().filter(|f| f.output.is_none()).cloned().collect();
    for factor in next {
        let before = factor.input.and_then(|axis| first.iter().find(|f| f.output == Some(axis)));
        out.push(match before {
            None => factor,
            Some(before) => Factor {
                input: before.input,
                output: factor.output,
                pairs: join(&before.pairs, &factor.pairs),
            },
        });
    }
    // A pair of absent axes says only whether anything is related at all.
    out.retain(|f| f.input.is_some() || f.output.is_some() || f.pairs.is_empty());
    out
}

fn join(first: &[(u32, u32)], next: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut sorted = next.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(u32, u32)> = vec![];
    for (i, m) in first {
        let from = sorted.partition_point(|p| p.0 < *m);
        out.extend(sorted[from..].iter().take_while(|p| p.0 == *m).map(|p| (*i, p.1)));
    }
    out.sort_unstable();
    out.dedup();
    out
}

fn all_inputs(axis: usize, extent: u32) -> Factor {
    Factor { input: Some(axis), output: None, pairs: (0..extent).map(|i| (i, 0)).collect() }
}

fn all_outputs(axis: usize, extent: u32) -> Factor {
    Factor { input: None, output: Some(axis), pairs: (0..extent).map(|o| (0, o)).collect() }
}

/// Channels of a grouped operator; one group relates all to all, which is again a product.
fn channels(inputs: u32, outputs: u32, groups: u32) -> Vec<Factor> {
    if groups == 1 {
        return vec![all_inputs(0, inputs), all_outputs(0, outputs)];
    }
    let (own, per_group) = (inputs / groups, outputs / groups);
    let pairs = (0..outputs).flat_map(|o| (0..own).map(move |c| (o / per_group * own + c, o))).collect();
    vec![Factor { input: Some(0), output: Some(0), pairs }]
}

fn spatial(window: &Window, input: [u32; 4], output: [u32; 3]) -> Vec<Factor> {
    let axis = |a: usize| {
        let taps = |o: u32| {
            (0..window.kernel[a]).filter_map(move |k| Some((window.source(a, o, k, input[a + 1])?, o)))
        };
        Factor { input: Some(a + 1), output: Some(a + 1), pairs: (0..output[a]).flat_map(taps).collect() }
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

fn view(input: &[u32], axes: &[ViewAxis]) -> Option<Vec<Factor>> {
    let mut factors = vec![];
    for (axis, extent) in input.iter().enumerate() {
        let walkers = axes.iter().filter(|a| a.input_axis == Some(axis as u32)).count();
        match walkers {
            0 => factors.push(Factor { input: Some(axis), output: None, pairs: vec![(0, 0)] }),
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
                Factor { input: Some(i as usize), output: Some(axis), pairs }
            }
        });
    }
    Some(factors)
}
