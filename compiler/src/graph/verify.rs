//! The invariants of tensor graphs, checked after every stage that leaves one.
//!
//! 1. There is one input node, and the graph's input names it.
//! 2. Operands stand before their readers, as many as the kind wants.
//! 3. Weights and biases exist; operators map the operand's shape to the node's; a bias has one value per channel or
//!    per element.
//! 4. Elementwise functions and pairs keep the shape.
//! 5. Factors, coefficients and ranges are finite.
//! 6. There is an output, and outputs name nodes.

use super::{Function, Kind, NodeId, TensorGraph, TensorNode};
use std::fmt::Display;

/// What a graph breaks first, with the place.
pub fn check(graph: &TensorGraph) -> Result<(), String> {
    let ids: Vec<NodeId> = graph.order().collect();
    let inputs: Vec<NodeId> =
        ids.iter().copied().filter(|id| matches!(graph.node(*id).kind, Kind::Input)).collect();
    match &graph.input {
        Some(input) if inputs == [input.node] => {}
        _ => return Err(format!("the graph has {} input nodes, its input names another", inputs.len())),
    }
    for id in &ids {
        node(graph, *id).map_err(|what| format!("#{} `{}`: {what}", id.0, graph.node(*id).name))?;
    }
    if graph.outputs.is_empty() {
        return Err("the graph has no output".into());
    }
    match graph.outputs.iter().find(|o| o.node.0 as usize >= ids.len()) {
        Some(output) => Err(format!("output `{}` names no node", output.name)),
        None => Ok(()),
    }
}

fn node(graph: &TensorGraph, id: NodeId) -> Result<(), String> {
    let (node, operands) = (graph.node(id), graph.operands(id));
    let wanted = match node.kind {
        Kind::Input => 0,
        Kind::Linear { .. } | Kind::Elementwise(_) => 1,
        Kind::Add | Kind::Sub | Kind::Mul => 2,
        Kind::Concat { .. } => operands.len().max(1),
    };
    same("operands", &wanted, &operands.len())?;
    if let Some(late) = operands.iter().find(|o| **o >= id) {
        return Err(format!("reads #{}, which comes later", late.0));
    }
    finite("range", node.range.iter().flatten().copied())?;
    match &node.kind {
        Kind::Linear { operators, scale, bias } => {
            finite("factor", std::iter::once(*scale))?;
            let mut shape = graph.node(operands[0]).shape.clone();
            for operator in operators {
                shape = operator.output_shape(&shape, &graph.tensors).map_err(|e| e.to_string())?;
            }
            same("shape", &format!("{shape:?}"), &format!("{:?}", node.shape))?;
            bias.map_or(Ok(()), |b| self::bias(graph, node, b.0 as usize))
        }
        Kind::Elementwise(function) => {
            if let Function::Polynomial { coefficients, range, .. } = function {
                finite("coefficients", coefficients.iter().chain(range).copied())?;
            }
            alike(graph, node, &operands)
        }
        Kind::Add | Kind::Sub | Kind::Mul => alike(graph, node, &operands),
        Kind::Input | Kind::Concat { .. } => Ok(()),
    }
}

fn alike(graph: &TensorGraph, node: &TensorNode, operands: &[NodeId]) -> Result<(), String> {
    let shape = format!("{:?}", node.shape);
    operands.iter().try_for_each(|o| same("shape", &shape, &format!("{:?}", graph.node(*o).shape)))
}

fn bias(graph: &TensorGraph, node: &TensorNode, index: usize) -> Result<(), String> {
    let tensor = graph.tensors.get(index).ok_or_else(|| format!("bias t{index} does not exist"))?;
    finite("bias", tensor.values.iter().map(|v| f64::from(*v)))?;
    let elements: u32 = node.shape.iter().product();
    let channels = node.shape.first().copied().unwrap_or(1);
    match tensor.values.len() {
        n if n == elements as usize || n == channels as usize => Ok(()),
        n => Err(format!("a bias of {n} values for shape {:?}", node.shape)),
    }
}

fn finite(what: &str, mut values: impl Iterator<Item = f64>) -> Result<(), String> {
    if values.all(f64::is_finite) { Ok(()) } else { Err(format!("{what} not finite")) }
}

fn same<T: PartialEq + Display>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: {expected} expected, {found} found")) }
}
