//! What old operator sets say in other words, said as later ones do, before anything is lowered.
//!
//! - Before set 7 a sum, difference, product or quotient aligns its second operand at an `axis` of the first. A constant there
//!   gets the trailing axes of one index by which later sets align it.
//! - Upsample (sets 7 to 9) is the Resize of set 10, the only set in which tract knows that form; a model whose other
//!   operators mean the same there is declared as one of set 10.
//!
//! Promises: what cannot be said in these words stays as it is, and is refused by name where it is lowered.

use super::proto::{Source, constant, is_onnx_domain};
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Operators whose result has the rank of their first operand.
const SAME_RANK: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Div",
    "Dropout",
    "Elu",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "LRN",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "PRelu",
    "Pad",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Sub",
    "Tanh",
    "Transpose",
];
const ALIGNED: &[&str] = &["Add", "Div", "Mul", "Pow", "Sub"];
/// Operators that mean something else in set 10 than in sets 7 to 9.
const CHANGED_IN_10: &[&str] = &["Slice", "TopK"];

/// Rewrites a model of an old operator set.
pub(super) fn modernise(source: &mut Source) {
    let rank = source.dims.len();
    if source.opset < 7 {
        let input = source.input.clone();
        align(source.graph_mut(), input, rank);
    }
    let has = |graph: &GraphProto, ops: &[&str]| {
        graph.node.iter().any(|n| is_onnx_domain(&n.domain) && ops.contains(&n.op_type.as_str()))
    };
    if (7..10).contains(&source.opset)
        && has(source.graph(), &["Upsample"])
        && !has(source.graph(), CHANGED_IN_10)
    {
        resize(source.graph_mut());
        source.opset = 10;
        for set in source.model.opset_import.iter_mut().filter(|s| is_onnx_domain(&s.domain)) {
            set.version = 10;
        }
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Gives constants that are aligned at an axis their trailing axes.
fn align(graph: &mut GraphProto, input: String, rank: usize) {
    let mut ranks = BTreeMap::from([(input, rank)]);
    for k in 0..graph.node.len() {
        let node = &graph.node[k];
        let first = node.input.first().and_then(|x| ranks.get(x)).copied();
        let rank = match node.op_type.as_str() {
            op if SAME_RANK.contains(&op) => first,
            "Flatten" | "Gemm" => Some(2),
            "Reshape" => reshaped(graph, node),
            _ => None,
        };
        if let (Some(rank), [output, ..]) = (rank, &node.output[..]) {
            ranks.insert(output.clone(), rank);
        }
        let axis = attribute(node, "axis").and_then(|a| usize::try_from(a.i).ok());
        let (Some(axis), Some(rank), [_, second]) = (axis, first, &node.input[..]) else { continue };
        let Some(held) = constant(graph, second).filter(|_| ALIGNED.contains(&node.op_type.as_str())) else {
            continue;
        };
        let Some(trailing) = rank.checked_sub(axis + held.dims.len()) else { continue };
        let name = format!("{second}/axis {axis} of {rank}");
        let mut dims = held.dims.clone();
        dims.extend(vec![1; trailing]);
        let aligned = TensorProto { name: name.clone(), dims, ..held.clone() };
        if graph.initializer.iter().all(|t| t.name != name) {
            graph.initializer.push(aligned);
        }
        let node = &mut graph.node[k];
        node.input[1] = name;
        node.attribute.retain(|a| a.name != "axis");
    }
}

/// Rank of what a Reshape yields, whose shape stands in the file.
fn reshaped(graph: &GraphProto, node: &NodeProto) -> Option<usize> {
    let shape = constant(graph, node.input.get(1)?)?;
    shape.dims.first().and_then(|d| usize::try_from(*d).ok()).filter(|_| shape.dims.len() == 1)
}

/// Every Upsample as a Resize of set 10.
fn resize(graph: &mut GraphProto) {
    let mut scales: Vec<TensorProto> = Vec::new();
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Upsample" && is_onnx_domain(&n.domain)) {
        if let Some(k) = node.attribute.iter().position(|a| a.name == "scales") {
            let values = node.attribute.remove(k).floats;
            let name = format!("{}/scales", node.output.first().map_or("", String::as_str));
            node.input.truncate(1);
            node.input.push(name.clone());
            let (dims, data_type) = (vec![values.len() as i64], DataType::Float as i32);
            scales.push(TensorProto { name, dims, data_type, float_data: values, ..TensorProto::default() });
        }
        node.op_type = "Resize".into();
    }
    graph.initializer.extend(scales);
}
