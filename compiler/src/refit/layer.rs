//! A convolution or dense layer as linear equations for its weights.

use super::Values;
use super::least_squares::solve;
use crate::graph::{Kind, NodeId, TensorGraph, evaluate};
use cipherloom_ir::{Operator, Tensor, TensorId, Window};
use rayon::prelude::*;

/// Most weights of one result that are solved for: the equations take the square of them.
const UNKNOWNS_MAX: usize = 1200;
/// Equations for each unknown, where there are so many ...
const EQUATIONS_EACH: usize = 8;
/// ... but not fewer than this ...
const EQUATIONS_LEAST: usize = 1 << 12;
/// ... and where more unknowns than this share one, the layer stays.
const UNKNOWNS_EACH_MAX: usize = 4;
/// Share of the data's own weight that weights are held to their old values by, where there are so many equations; more where fewer.
const RIDGE: f64 = 1e-3;

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
    /// `None` for other nodes, and for layers with too many weights, at all or for so many inputs.
    pub(super) fn of(model: &TensorGraph, node: NodeId, inputs: usize) -> Option<Layer> {
        let Kind::Linear { operators, scale, bias } = &model.node(node).kind else { return None };
        let results: usize = model.node(node).shape.iter().map(|d| *d as usize).product();
        let (shape, weight) = match &operators[..] {
            [Operator::Dense { weight }] => (Shape::Dense, *weight),
            [Operator::Convolution { input, window, groups, weight }] => {
                let out = window.output_size([input[1], input[2], input[3]]).ok()?.map(|d| d as usize);
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
        let unknowns = layer.unknowns(weights);
        let is_known = inputs.saturating_mul(UNKNOWNS_EACH_MAX * (layer.results / maps)) >= unknowns;
        (unknowns <= UNKNOWNS_MAX && is_known && *scale != 0.0).then_some(layer)
    }

    /// Weights of one result, and its bias.
    fn unknowns(&self, weights: &Tensor) -> usize {
        weights.values.len() / self.maps + usize::from(self.bias.is_some())
    }

    /// Changes weights and bias so that the layer's values come nearer to what was wanted, which they lack so much of. Whether it did:
    /// numbers may be none.
    pub(super) fn refit(&self, out: &mut TensorGraph, before: &Values, lacking: &Values) -> bool {
        let unknowns = self.unknowns(&out.tensors[self.weight.0 as usize]);
        let places = self.results / self.maps;
        let all = before.len() * places;
        let count = all.min((EQUATIONS_EACH * unknowns).max(EQUATIONS_LEAST));
        let rows: Vec<(usize, usize)> =
            (0..count).map(|k| spread(k, count, all)).map(|k| (k / places, k % places)).collect();
        let ridge = RIDGE * ((EQUATIONS_EACH * unknowns) as f64 / count as f64).max(1.0);
        let mut weights = out.tensors[self.weight.0 as usize].clone();
        let mut bias = self.bias.map(|b| out.tensors[b.0 as usize].clone());
        let groups = match self.shape {
            Shape::Convolution { groups, .. } => groups,
            Shape::Dense => 1,
        };
        let (maps, mut is_changed) = (self.maps / groups, false);
        for group in 0..groups {
            let mut columns = self.columns(group, &rows, before, unknowns - usize::from(bias.is_some()));
            if bias.is_some() {
                columns.push(vec![1.0; count]);
            }
            let of_group = group * maps..(group + 1) * maps;
            let lack = |map: usize| {
                rows.iter().map(|(image, place)| lacking[*image][map * places + place]).collect()
            };
            let right: Vec<Vec<f64>> = of_group.clone().map(lack).collect();
            // A group that says nothing stays.
            let Some(changes) = solve(&columns, bias.is_some(), &right, ridge) else { continue };
            is_changed = true;
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
        let is_finite =
            weights.values.iter().chain(bias.iter().flat_map(|b| &b.values)).all(|v| v.is_finite());
        if !is_changed || !is_finite {
            return false;
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
        true
    }

    /// For each weight of a result, what it multiplies in each row (an input and a place of the result).
    fn columns(&self, group: usize, rows: &[(usize, usize)], before: &Values, count: usize) -> Vec<Vec<f64>> {
        let Shape::Convolution { input, window, groups, out } = &self.shape else {
            return (0..count).map(|k| rows.iter().map(|(image, _)| before[*image][k]).collect()).collect();
        };
        let [channels, planes, height, width] = input.map(|d| d as usize);
        let kernel = window.kernel.map(|d| d as usize);
        let first = group * (channels / groups);
        let read = |k: usize, at: usize, tap: usize| evaluate::tap(window, k, at, tap, input[k + 1]);
        let value = |image: usize, place: usize, weight: usize| {
            let (x, y) = (weight % kernel[2], weight / kernel[2] % kernel[1]);
            let (z, channel) =
                (weight / kernel[2] / kernel[1] % kernel[0], weight / kernel.iter().product::<usize>());
            let column = read(2, place % out[2], x)?;
            let row = read(1, place / out[2] % out[1], y)?;
            let plane = read(0, place / out[2] / out[1], z)?;
            Some(before[image][(((first + channel) * planes + plane) * height + row) * width + column])
        };
        (0..count)
            .into_par_iter()
            .map(|weight| {
                rows.iter().map(|(image, place)| value(*image, *place, weight).unwrap_or(0.0)).collect()
            })
            .collect()
    }
}

/// The k-th of `count` numbers below `all`, spread over all of them and without a period.
fn spread(k: usize, count: usize, all: usize) -> usize {
    let at = |k: usize| (k as u128 * all as u128 / count as u128) as usize;
    let scattered = (k as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    at(k) + (scattered % (at(k + 1) - at(k)) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TensorNode;

    /// A layer alone, its weights and inputs without a pattern.
    fn layer(operator: fn(TensorId) -> Operator, [weights, bias]: [&[u32]; 2]) -> (TensorGraph, NodeId) {
        let mut graph = TensorGraph::new("layer");
        let mut tensor = |shape: &[u32]| {
            let count = shape.iter().product::<u32>();
            let values = (0..count).map(|k| (k * 37 % 19) as f32 / 9.0 - 1.0).collect();
            graph.add_tensor(Tensor { name: String::new(), shape: shape.to_vec(), values })
        };
        let (weight, bias) = (tensor(weights), (!bias.is_empty()).then(|| tensor(bias)));
        let operator = operator(weight);
        let input = match &operator {
            Operator::Convolution { input, .. } => input.to_vec(),
            _ => vec![weights[1]],
        };
        let shape = operator.output_shape(&input, &graph.tensors).expect("the window fits");
        let kind = Kind::Linear { operators: vec![operator], scale: 0.5, bias };
        let node = |kind, shape| TensorNode {
            kind,
            name: String::new(),
            shape,
            range: None,
            density: None,
            fitting: None,
        };
        let input = graph.add(node(Kind::Input, input), &[]);
        let layer = graph.add(node(kind, shape), &[input]);
        (graph, layer)
    }

    fn window(
        kernel: [u32; 3],
        stride: [u32; 3],
        dilation: [u32; 3],
        before: [u32; 3],
        after: [u32; 3],
    ) -> Window {
        Window { kernel, stride, dilation, pad_before: before, pad_after: after }
    }

    #[test]
    fn columns_times_weights_are_the_layer() {
        let flat = |weight| {
            let window = window([1, 3, 2], [1, 2, 1], [1, 1, 2], [0, 1, 0], [0, 2, 3]);
            Operator::Convolution { input: [4, 1, 7, 6], window, groups: 2, weight }
        };
        let deep = |weight| {
            let window = window([2, 3, 3], [1, 2, 2], [2, 1, 1], [1, 1, 0], [0, 0, 1]);
            Operator::Convolution { input: [2, 5, 6, 7], window, groups: 1, weight }
        };
        let cases = [
            layer(flat, [&[6, 2, 3, 2], &[6]]),
            layer(deep, [&[3, 2, 2, 3, 3], &[]]),
            layer(|weight| Operator::Dense { weight }, [&[3, 8], &[3]]),
        ];
        for (graph, id) in cases {
            let layer = Layer::of(&graph, id, 1000).expect("a layer");
            let elements = graph.node(NodeId(0)).shape.iter().product::<u32>();
            let inputs: Values = (0..2)
                .map(|i| (0..elements).map(|k| f64::from((k * 7 + i * 5) % 11) - 5.0).collect())
                .collect();
            let weights = &graph.tensors[layer.weight.0 as usize];
            let own = weights.values.len() / layer.maps;
            let places = layer.results / layer.maps;
            let rows: Vec<(usize, usize)> = (0..2 * places).map(|k| (k / places, k % places)).collect();
            let groups = match layer.shape {
                Shape::Convolution { groups, .. } => groups,
                Shape::Dense => 1,
            };
            let wanted: Values = inputs.iter().map(|x| evaluate::node(&graph, id, &[x])).collect();
            for map in 0..layer.maps {
                let columns = layer.columns(map / (layer.maps / groups), &rows, &inputs, own);
                let bias = layer.bias.map_or(0.0, |b| f64::from(graph.tensors[b.0 as usize].values[map]));
                for (row, (image, place)) in rows.iter().enumerate() {
                    let products = weights.values[map * own..][..own].iter().zip(&columns);
                    let sum: f64 = products.map(|(w, column)| f64::from(*w) * column[row]).sum();
                    let found = layer.scale * sum + bias;
                    assert!((found - wanted[*image][map * places + place]).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn rows_are_spread_once_each() {
        for (count, all) in [(7, 7), (5, 23), (4096, 100_000)] {
            let rows: Vec<usize> = (0..count).map(|k| spread(k, count, all)).collect();
            assert!(rows.windows(2).all(|w| w[0] < w[1]) && rows[count - 1] < all);
        }
    }
}
