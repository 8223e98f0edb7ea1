//! The tensor graph: what the frontend makes of an ONNX model, and what the stages rewrite.
//!
//! Few kinds: everything linear on one tensor is a [`Kind::Linear`] (operators with weights in the tensor table,
//! a uniform factor and a bias), everything elementwise is a [`Kind::Elementwise`]. Shapes have no batch axis.
//! Edges run from producer to consumer and carry the operand position. petgraph is used here and nowhere else.

pub mod evaluate;
mod text;
pub mod verify;

use cipherloom_ir::{Activation, ClientStep, Operator, Preprocessing, Tensor, TensorId};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// Index of a node in a [`TensorGraph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// An elementwise function.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// x²
    Square,
    /// A function that has no exact polynomial.
    Exact(Activation),
    /// Polynomial in the Chebyshev basis on `range` (mapped to [−1, 1]), lowest degree first.
    Polynomial {
        /// Chebyshev coefficients.
        coefficients: Vec<f64>,
        /// Interval of the fit.
        range: [f64; 2],
        /// Largest error on the interval.
        max_error: f64,
        /// What it stands for.
        of: Activation,
    },
}

/// What a node computes from its operands.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The model's input.
    Input,
    /// `scale · operators(x) + bias`; bias `[channels]` (broadcast) or of the output's shape.
    Linear {
        /// First applied first; empty: identity.
        operators: Vec<Operator>,
        /// Uniform factor.
        scale: f64,
        /// Added constant.
        bias: Option<TensorId>,
    },
    /// Applied to each element.
    Elementwise(Function),
    /// Sum of two tensors of one shape.
    Add,
    /// Difference of two tensors of one shape.
    Sub,
    /// Product of two different tensors of one shape.
    Mul,
    /// Concatenation of all operands along an axis.
    Concat {
        /// Axis (batch axis not counted).
        axis: u32,
    },
}

/// How a tensor's values are distributed over the calibration data.
#[derive(Clone, Debug, PartialEq)]
pub struct Density {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
    /// Shares of the values in equal parts of the tensor's range; empty where only the moments are known.
    pub histogram: Vec<f64>,
}

/// One tensor of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorNode {
    /// What computes it.
    pub kind: Kind,
    /// ONNX name of the tensor.
    pub name: String,
    /// Shape without the batch axis.
    pub shape: Vec<u32>,
    /// Calibrated `[min, max]`, where known.
    pub range: Option<[f64; 2]>,
    /// Calibrated distribution, where known.
    pub density: Option<Density>,
    /// How the polynomial of an activation is fitted, where not as all are ([`refit`](crate::refit)).
    pub fitting: Option<Fitting>,
}

/// How the polynomial that stands for an activation is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitting {
    /// Most that its degree may be.
    pub degree: u32,
    /// What it should yield, in the mean, of the values in each part of its argument's range that the histogram counts.
    pub wanted: Vec<f64>,
}

/// The model's input as the client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphInput {
    /// The input node.
    pub node: NodeId,
    /// From raw data to tensor values.
    pub preprocessing: Preprocessing,
    /// Some of the tensors that it was calibrated with; empty where it was not.
    pub samples: Vec<Vec<f64>>,
}

/// The model's output.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOutput {
    /// The node that yields it.
    pub node: NodeId,
    /// ONNX name.
    pub name: String,
    /// Class names, or empty.
    pub labels: Vec<String>,
    /// Trailing Softmax or ArgMax, left to the client.
    pub client_steps: Vec<ClientStep>,
}

/// A CNN as a graph of tensors.
#[derive(Clone, Debug)]
pub struct TensorGraph {
    /// Name of the model.
    pub name: String,
    graph: DiGraph<TensorNode, u32>,
    /// Weights; operators and biases refer to them.
    pub tensors: Vec<Tensor>,
    /// The input (exactly one).
    pub input: Option<GraphInput>,
    /// The outputs.
    pub outputs: Vec<GraphOutput>,
}

impl TensorGraph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> TensorGraph {
        TensorGraph {
            name: name.into(),
            graph: DiGraph::new(),
            tensors: Vec::new(),
            input: None,
            outputs: Vec::new(),
        }
    }

    /// Adds a node with its operands, in order. Operands must exist already.
    pub fn add(&mut self, node: TensorNode, operands: &[NodeId]) -> NodeId {
        let id = self.graph.add_node(node);
        for (position, operand) in operands.iter().enumerate() {
            self.graph.add_edge(index(*operand), id, position as u32);
        }
        NodeId(id.index() as u32)
    }

    /// Adds a weight tensor.
    pub fn add_tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &TensorNode {
        &self.graph[index(id)]
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut TensorNode {
        &mut self.graph[index(id)]
    }

    /// Operands of a node in order.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let mut edges: Vec<(u32, NodeId)> = self
            .graph
            .edges_directed(index(id), Direction::Incoming)
            .map(|e| (*e.weight(), NodeId(e.source().index() as u32)))
            .collect();
        edges.sort();
        edges.into_iter().map(|(_, n)| n).collect()
    }

    /// Consumers of a node, by index, one entry per use.
    pub fn consumers(&self, id: NodeId) -> Vec<NodeId> {
        let mut out: Vec<NodeId> = self
            .graph
            .neighbors_directed(index(id), Direction::Outgoing)
            .map(|n| NodeId(n.index() as u32))
            .collect();
        out.sort();
        out
    }

    /// All nodes; operands always come before their consumers.
    pub fn order(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.graph.node_count() as u32).map(NodeId)
    }
}

fn index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.0 as usize)
}
