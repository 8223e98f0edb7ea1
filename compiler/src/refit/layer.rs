//! A convolution or dense layer as linear equations for its weights.

use super::Values;
use super::least_squares::solve;
use crate::graph::{Kind, NodeId, TensorGraph};
use cipherloom_ir::{Operator, Tensor, TensorId, Window};

/// Most weights of one result that are solved for: the equations take the square of them.
const UNKNOWNS_MAX: usize = 1200;
/// Equations for each unknown, where there are so many ...
const EQUATIONS_EACH: usize = 8;
/// ... but not fewer than this ...
const EQUATIONS_LEAST: usize = 1 << 12;
/// ... and where there are fewer than this for each unknown, the layer stays.
const EQUATIONS_EACH_MIN: usize = 4;

/// A layer of one operator that has weights.
pub(super) struct Layer {
    node: NodeId,
    shape: Shape,
    weight: TensorId,
    bias: Option<TensorId>,
    scale: f64,
    /// Results of one input.
    results: usize,
    /// Channels of the result.
    maps: usize,
}

enum Shape {
    Convolution { input: [u32; 4], window: Window, groups: usize, out: [usize; 3] },
    Dense,
}

impl Layer {
    /// `None` for other nodes, and for layers with too many weights.
    pub(super) fn of(model: &TensorGraph, node: NodeId) -> Option<Layer> {
        let Kind::Linear { operators, scale, bias } = &model.node(node).kind else { return None };
        let results: usize = model.node(node).shape.iter().map(|d| *d as usize).product();
        let (shape, weight) = match &operators[..] {
            [Operator::Dense { weight }] => (Shape::Dense, *weight),
            [Operator::Convolution { input, window, groups, weight }] => {
                let out = [0, 1, 2].map(|k| {
                    let span = (window.kernel[k] - 1) * window.dilation[k] + 1;
                    let padded = input[k + 1] + window.pad_before[k] + window.pad_after[k];
                    ((padded - span) / window.stride[k] + 1) as usize
                });
                (
                    Shape::Convolution { input: *input, window: *window, groups: *groups as usize, out },
                    *weight,
                )
            }
            _ => return None,
        };
        let weights = &model.tensors[weight.0 as usize];
        let maps = weights.shape[0] as usize;
        // A bias for each result is none that a channel has; the weights alone cannot tell what belongs to it.
        let of_channels = |b: &TensorId| model.tensors[b.0 as usize].values.len() == maps;
        let layer =
            Layer { node, shape, weight, bias: bias.filter(of_channels), scale: *scale, results, maps };
        (layer.unknowns(weights) <= UNKNOWNS_MAX && *scale != 0.0).then_some(layer)
    }

    /// Weights of one result, and its bias.
    fn unknowns(&self, weights: &Tensor) -> usize {
        weights.values.len() / self.maps + usize::from(self.bias.is_some())
    }

    /// Changes weights and bias so that the layer's values are nearer to what was wanted, by what they lack (`residuals`).
    pub(super) fn refit(&self, out: &mut TensorGraph, before: &Values, residuals: &Values) {
        let unknowns = self.unknowns(&out.tensors[self.weight.0 as usize]);
        let places = self.results / self.maps;
        let all = before.len() * places;
        if all < EQUATIONS_EACH_MIN * unknowns {
            return;
        }
        let count = all.min((EQUATIONS_EACH * unknowns).max(EQUATIONS_LEAST));
        let mut weights = out.tensors[self.weight.0 as usize].clone();
        let mut bias = self.bias.map(|b| out.tensors[b.0 as usize].clone());
        let groups = match self.shape {
            Shape::Convolution { groups, .. } => groups,
            Shape::Dense => 1,
        };
        let maps = self.maps / groups;
        for group in 0..groups {
            let rows: Vec<(usize, usize)> =
                (0..count).map(|k| spread(k, count, all)).map(|k| (k / places, k % places)).collect();
            let mut columns = self.columns(group, &rows, before, unknowns - usize::from(bias.is_some()));
            if bias.is_some() {
                columns.push(vec![1.0; count]);
            }
            let of_group = group * maps..(group + 1) * maps;
            let lack = |map: usize| {
                rows.iter().map(|(image, place)| residuals[*image][map * places + place]).collect()
            };
            let right: Vec<Vec<f64>> = of_group.clone().map(lack).collect();
            let Some(changes) = solve(&columns, &right) else { return };
            for (map, change) in of_group.zip(&changes) {
                let own = weights.values.len() / self.maps;
                for (w, d) in weights.values[map * own..(map + 1) * own].iter_mut().zip(change) {
                    *w = (f64::from(*w) + d / self.scale) as f32;
                }
                if let (Some(bias), Some(d)) = (&mut bias, change.get(own)) {
                    bias.values[map] = (f64::from(bias.values[map]) + d) as f32;
                }
            }
        }
        if !weights.values.iter().chain(bias.iter().flat_map(|b| &b.values)).all(|v| v.is_finite()) {
            return;
        }
        // Other layers may share the tensors.
        let weight = out.add_tensor(weights);
        let refitted_bias = bias.map(|b| out.add_tensor(b));
        if let Kind::Linear { operators, bias, .. } = &mut out.node_mut(self.node).kind {
            if let [Operator::Dense { weight: own } | Operator::Convolution { weight: own, .. }] =
                &mut operators[..]
            {
                *own = weight;
            }
            *bias = refitted_bias.or(*bias);
        }
    }

    /// For each weight of a result, what it multiplies in each row (an input and a place of the result).
    fn columns(&self, group: usize, rows: &[(usize, usize)], before: &Values, count: usize) -> Vec<Vec<f64>> {
        let Shape::Convolution { input, window, groups, out } = &self.shape else {
            return (0..count).map(|k| rows.iter().map(|(image, _)| before[*image][k]).collect()).collect();
        };
        let [channels, planes, height, width] = input.map(|d| d as usize);
        let kernel = window.kernel.map(|d| d as usize);
        let first = group * (channels / groups);
        let tap = |k: usize, at: usize, tap: usize| {
            let position = at * window.stride[k] as usize + tap * window.dilation[k] as usize;
            position.checked_sub(window.pad_before[k] as usize).filter(|p| *p < input[k + 1] as usize)
        };
        let value = |image: usize, place: usize, weight: usize| {
            let (x, y) = (weight % kernel[2], weight / kernel[2] % kernel[1]);
            let (z, channel) =
                (weight / kernel[2] / kernel[1] % kernel[0], weight / kernel.iter().product::<usize>());
            let column = tap(2, place % out[2], x)?;
            let row = tap(1, place / out[2] % out[1], y)?;
            let plane = tap(0, place / out[2] / out[1], z)?;
            Some(before[image][(((first + channel) * planes + plane) * height + row) * width + column])
        };
        (0..count)
            .map(|weight| {
                rows.iter().map(|(image, place)| value(*image, *place, weight).unwrap_or(0.0)).collect()
            })
            .collect()
    }
}

/// The k-th of `count` numbers below `all`, spread over all of them and without a period.
fn spread(k: usize, count: usize, all: usize) -> usize {
    let (first, next) = (k * all / count, (k + 1) * all / count);
    first + k.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (next - first)
}
