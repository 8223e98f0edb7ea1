//! The tensor graph while it is being built.
//!
//! Nodes are never changed once pushed: a merge pushes the merged node and leaves the old one without users, and
//! [`Draft::finish`] copies only what the outputs need. Operands always come before their users.
//! A [`TensorRef`] carries the ONNX shape, so that reshapes cost no node: data are row-major everywhere.

pub(super) mod linear;
mod recognise;

use super::metadata::Metadata;
use crate::graph::{Function, GraphInput, GraphOutput, Kind, NodeId, TensorGraph, TensorNode};
use cipherloom_ir::{Activation, ClientStep, Operator, Preprocessing, Tensor, TensorId, ViewAxis};
use std::collections::BTreeMap;

/// Elements of one tensor of the model, at most.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// What a draft node computes.
#[derive(Clone, Debug)]
pub(super) enum DraftKind {
    Graph(Kind),
    /// The error function: part of the Gelu pattern, nothing by itself.
    Erf,
    /// Stands for the result of an unsupported node, so that the walk can go on.
    Unsupported,
}

#[derive(Clone, Debug)]
pub(super) struct DraftNode {
    pub kind: DraftKind,
    pub operands: Vec<usize>,
    /// Without the batch.
    pub shape: Vec<u32>,
    /// ONNX tensors that it stands for; the first is its name.
    pub names: Vec<String>,
    /// ONNX node that made it.
    pub origin: String,
}

/// A tensor that depends on the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorRef {
    pub node: usize,
    /// ONNX shape, with the batch.
    pub shape: Vec<usize>,
    /// Whether anything else uses the same data; if not, it may be merged into its one user.
    pub shared: bool,
    /// Steps after it that are left to the client, first applied first.
    pub client: Vec<ClientStep>,
}

impl TensorRef {
    /// The same data under another shape of as many elements.
    pub fn reshaped(&self, shape: Vec<usize>) -> TensorRef {
        TensorRef { shape, ..self.clone() }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub nodes: Vec<DraftNode>,
    pub tensors: Vec<Tensor>,
    /// ONNX node that is being lowered.
    pub origin: String,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Shape of a node for a tensor of an ONNX shape: the data are row-major and read as a feature map where that is possible. A
/// batch of one is dropped, one spatial axis has a height of 1, a depth of 1 is left out, and what stands before two or three
/// spatial axes (batch, channels) counts as channels.
pub(super) fn node_shape(shape: &[usize]) -> Vec<u32> {
    let dims: Vec<u32> = shape.iter().map(|d| size(*d)).collect();
    match dims[..] {
        [] => vec![1],
        [1, n] => vec![n],
        [1, channels, width] => vec![channels, 1, width],
        [batch, channels, depth, height, width] if depth > 1 => vec![batch * channels, depth, height, width],
        [ref before @ .., height, width] if before.len() > 1 => {
            vec![before.iter().product(), height, width]
        }
        _ => dims,
    }
}

/// The view that reads as many elements under another shape.
fn reading(shape: &[u32]) -> Operator {
    let axes = shape.iter().zip(0..);
    let axes = axes.map(|(d, k)| ViewAxis { extent: *d, input_axis: Some(k), start: 0, step: 1 });
    Operator::View { input: shape.to_vec(), axes: axes.collect() }
}

/// A size as the graph stores it. Sizes are bounded by [`MAX_ELEMENTS`], which the walk checks for every tensor.
pub(super) fn size(dim: usize) -> u32 {
    u32::try_from(dim).expect("invariant: sizes are at most MAX_ELEMENTS")
}

impl Draft {
    /// Adds a node.
    pub fn push(&mut self, kind: DraftKind, operands: Vec<usize>, shape: Vec<u32>) -> usize {
        let origin = self.origin.clone();
        self.nodes.push(DraftNode { kind, operands, shape, names: Vec::new(), origin });
        self.nodes.len() - 1
    }

    /// Adds a node whose result is used for the first time.
    pub fn tensor(&mut self, kind: DraftKind, operands: Vec<usize>, shape: Vec<usize>) -> TensorRef {
        let node = self.push(kind, operands, node_shape(&shape));
        TensorRef { node, shape, shared: false, client: Vec::new() }
    }

    /// Adds a weight tensor.
    pub fn weights(&mut self, shape: Vec<u32>, values: Vec<f32>) -> TensorId {
        let name = format!("{}/{}", self.origin, self.tensors.len());
        self.named_weights(name, shape, values)
    }

    /// Adds a weight tensor under its ONNX name.
    pub fn named_weights(&mut self, name: String, shape: Vec<u32>, values: Vec<f32>) -> TensorId {
        self.tensors.push(Tensor { name, shape, values });
        TensorId(size(self.tensors.len() - 1))
    }

    /// Values of a weight tensor.
    pub fn values(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// Applies an elementwise function.
    pub fn elementwise(&mut self, x: &TensorRef, function: Function) -> TensorRef {
        let kind = DraftKind::Graph(Kind::Elementwise(function));
        let node = self.push(kind, vec![x.node], self.nodes[x.node].shape.clone());
        TensorRef { node, shared: false, ..x.clone() }
    }

    /// Applies an activation.
    pub fn activation(&mut self, x: &TensorRef, activation: Activation) -> TensorRef {
        self.elementwise(x, Function::Exact(activation))
    }

    /// A tensor whose node has the shape that goes with its ONNX shape.
    pub fn materialised(&mut self, x: &TensorRef) -> TensorRef {
        self.read_as(x, node_shape(&x.shape))
    }

    /// A tensor whose node has this shape, of as many elements.
    pub fn read_as(&mut self, x: &TensorRef, shape: Vec<u32>) -> TensorRef {
        if self.nodes[x.node].shape == shape {
            return x.clone();
        }
        let kind = Kind::Linear { operators: vec![reading(&shape)], scale: 1.0, bias: None };
        let node = self.push(DraftKind::Graph(kind), vec![x.node], shape);
        TensorRef { node, shared: false, ..x.clone() }
    }

    /// Sum, difference or product of two tensors of one ONNX shape.
    pub fn binary(&mut self, kind: Kind, a: &TensorRef, b: &TensorRef) -> TensorRef {
        let (a, b) = if self.nodes[a.node].shape == self.nodes[b.node].shape {
            (a.clone(), b.clone())
        } else {
            (self.materialised(a), self.materialised(b))
        };
        let product = kind == Kind::Mul;
        let node = self.push(DraftKind::Graph(kind), vec![a.node, b.node], self.nodes[a.node].shape.clone());
        let result = TensorRef { node, shared: false, ..a.clone() };
        if product { self.recognised(&result).unwrap_or(result) } else { result }
    }

    /// Origins of nodes that the outputs need and that no graph can hold.
    pub fn unfinished(&self, outputs: &[TensorRef]) -> Vec<&str> {
        let live = self.live(outputs);
        let erf = self.nodes.iter().zip(&live).filter(|(n, l)| **l && matches!(n.kind, DraftKind::Erf));
        erf.map(|(n, _)| n.origin.as_str()).collect()
    }

    fn live(&self, outputs: &[TensorRef]) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        live[0] = true; // the input, even where an output forgets it
        outputs.iter().for_each(|o| live[o.node] = true);
        for k in (0..self.nodes.len()).rev().filter(|k| *k > 0) {
            if live[k] {
                self.nodes[k].operands.iter().for_each(|o| live[*o] = true);
            }
        }
        live
    }

    /// Copies what the outputs need. Node 0 is the input.
    pub fn finish(
        mut self,
        preprocessing: Preprocessing,
        outputs: Vec<Output>,
        metadata: &Metadata,
    ) -> TensorGraph {
        let refs: Vec<TensorRef> = outputs.iter().map(|o| o.tensor.clone()).collect();
        let live = self.live(&refs);
        let mut graph = TensorGraph::new("");
        let mut moved: BTreeMap<usize, NodeId> = BTreeMap::new();
        let mut tensors: BTreeMap<TensorId, TensorId> = BTreeMap::new();
        for k in (0..self.nodes.len()).filter(|k| live[*k]) {
            let node = self.nodes[k].clone();
            let DraftKind::Graph(mut kind) = node.kind else { continue };
            for id in referenced(&mut kind) {
                *id = *tensors.entry(*id).or_insert_with(|| {
                    let empty = Tensor { name: String::new(), shape: Vec::new(), values: Vec::new() };
                    graph.add_tensor(std::mem::replace(&mut self.tensors[id.0 as usize], empty))
                });
            }
            let range = node.names.iter().find_map(|n| metadata.ranges.get(n)).copied();
            let density = node.names.iter().find_map(|n| metadata.moments.get(n)).cloned();
            let name = node.names.first().cloned().unwrap_or_else(|| format!("{}/{k}", node.origin));
            let operands: Vec<NodeId> = node.operands.iter().map(|o| moved[o]).collect();
            let id = graph
                .add(TensorNode { kind, name, shape: node.shape, range, density, fitting: None }, &operands);
            moved.insert(k, id);
        }
        graph.input = Some(GraphInput { node: moved[&0], preprocessing, samples: Vec::new() });
        graph.outputs = outputs
            .into_iter()
            .map(|o| GraphOutput {
                node: moved[&o.tensor.node],
                name: o.name,
                labels: o.labels,
                client_steps: o.tensor.client,
            })
            .collect();
        graph
    }
}

/// An output of the model.
pub(super) struct Output {
    pub name: String,
    pub tensor: TensorRef,
    pub labels: Vec<String>,
}

fn referenced(kind: &mut Kind) -> Vec<&mut TensorId> {
    let Kind::Linear { operators, bias, .. } = kind else { return Vec::new() };
    let weights = operators.iter_mut().filter_map(|operator| match operator {
        Operator::Convolution { weight, .. } | Operator::Dense { weight } => Some(weight),
        Operator::AxisScale { factor, .. } | Operator::ElementScale { factor } => Some(factor),
        Operator::AveragePool { .. } | Operator::View { .. } => None,
    });
    weights.chain(bias.as_mut()).collect()
}
