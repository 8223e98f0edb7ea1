//! What old operator sets say in other words, said as later ones do, before anything is lowered.
//!
//! - Before set 7 a sum, difference, product or quotient aligns its second operand at an `axis` of the first. A constant there
//!   gets the trailing axes of one index by which later sets align it.
//! - Upsample (sets 7 to 9) is the Resize of set 10, the only set in which tract knows that form; a model whose other
//!   operators mean the same there is declared as one of set 10. What Slice says in attributes becomes its operands.
//!
//! Promises: what cannot be said in these words stays as it is, and is refused by name where it is lowered.

use super::names::Names;
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
/// Attributes that are operands of Slice from set 10 on, in their order.
const SLICE: [&str; 3] = ["starts", "ends", "axes"];

/// Rewrites a model of an old operator set, and again what branches have added to it.
pub(super) fn modernise(source: &mut Source) {
    let rank = source.dims.len();
    if source.opset < 7 {
        let input = source.input.clone();
        let (graph, names) = source.parts_mut();
        align(graph, names, input, rank);
    }
    let has = |op: &str| source.graph().node.iter().any(|n| is(n, op));
    if (7..10).contains(&source.written) && (source.opset == 10 || has("Upsample") && !has("TopK")) {
        let (graph, names) = source.parts_mut();
        as_of_10(graph, names);
        source.opset = 10;
        for set in source.model.opset_import.iter_mut().filter(|s| is_onnx_domain(&s.domain)) {
            set.version = 10;
        }
    }
}

fn is(node: &NodeProto, op: &str) -> bool {
    node.op_type == op && is_onnx_domain(&node.domain)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Gives constants that are aligned at an axis their trailing axes.
fn align(graph: &mut GraphProto, names: &mut Names, input: String, rank: usize) {
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
        let (name, new) = names.derived(&format!("{second}/axis {axis} of {rank}"));
        if new {
            let mut dims = held.dims.clone();
            dims.extend(vec![1; trailing]);
            let aligned = TensorProto { name: name.clone(), dims, ..held.clone() };
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

/// Every Upsample as a Resize of set 10, every Slice as one of that set.
fn as_of_10(graph: &mut GraphProto, names: &mut Names) {
    for node in &mut graph.node {
        let mut moved = |node: &mut NodeProto, attribute: &str| {
            let k = node.attribute.iter().position(|a| a.name == attribute)?;
            let AttributeProto { floats, ints, .. } = node.attribute.remove(k);
            let first = node.output.first().map_or("", String::as_str);
            let name = names.fresh(&format!("{first}/{attribute}"));
            let (count, kind) = match ints.len() {
                0 => (floats.len(), DataType::Float),
                count => (count, DataType::Int64),
            };
            graph.initializer.push(TensorProto {
                name: name.clone(),
                dims: vec![count as i64],
                data_type: kind as i32,
                float_data: floats,
                int64_data: ints,
                ..TensorProto::default()
            });
            Some(name)
        };
        if is(node, "Upsample") {
            if let Some(scales) = moved(node, "scales") {
                node.input.truncate(1);
                node.input.push(scales);
            }
            node.op_type = "Resize".into();
        } else if is(node, "Slice") && node.input.len() == 1 {
            let operands: Vec<String> = SLICE.iter().map_while(|attribute| moved(node, attribute)).collect();
            node.input.extend(operands);
        }
    }
}
