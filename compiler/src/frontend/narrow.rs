//! Models in double precision: what reaches the input's data is said in float32.
//!
//! tract multiplies no float64 by float32, and circuits hold float32. Does: makes the input float32, casts to float64 casts to float32, and
//! constants of float64 that meet the input's data constants of float32. Constants that only meet each other (sizes that are computed)
//! keep their precision. Promises: a model without float64 stays as it is.

use super::error::{BadTensor, FrontendError};
use super::inline::names_read;
use super::names::Names;
use super::proto::is_onnx_domain;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// Operators that tell of a tensor's shape, whatever its elements are.
const OF_SHAPES: &[&str] = &["Shape", "Size"];
/// Operators that yield no floats.
const NO_FLOATS: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonZero",
];

/// Reads a graph's data as float32; whether anything was float64.
pub(super) fn narrow(graph: &mut GraphProto, input: &str, names: &mut Names) -> Result<bool, FrontendError> {
    let declared = graph.input.iter_mut().filter(|i| i.name == input).map(declare_single);
    let mut found = declared.fold(false, |any, one| any | one);
    let mut depends = BTreeSet::from([input.to_owned()]);
    let held = graph.initializer.iter().filter(|t| is_double(t)).map(|t| (t.name.as_str(), t));
    let mut singles = Singles::of(held.collect(), names);
    let mut doubles: BTreeSet<String> = singles.held.keys().map(|name| (*name).to_owned()).collect();
    for mut node in std::mem::take(&mut graph.node) {
        let op = if is_onnx_domain(&node.domain) { node.op_type.clone() } else { String::new() };
        let outputs = node.output.iter().filter(|o| !o.is_empty()).cloned();
        let op = op.as_str();
        if !OF_SHAPES.contains(&op) && names_read(&node).into_iter().any(|n| depends.contains(n)) {
            depends.extend(outputs);
            for operand in node.input.iter_mut().filter(|i| doubles.contains(*i)) {
                *operand = singles.name(operand);
                found = true;
            }
            let casts = node.attribute.iter_mut().filter(|a| op == "Cast" && casts_to_double(a));
            casts.for_each(|a| (a.i, found) = (DataType::Float as i64, true));
        } else if yields_double(&node, op, &doubles) {
            doubles.extend(outputs);
        }
        singles.nodes.push(node);
    }
    let Singles { nodes, tensors, bad, .. } = singles;
    graph.node = nodes;
    if found {
        for output in &mut graph.output {
            declare_single(output);
        }
    }
    graph.initializer.extend(tensors);
    if bad.is_empty() { Ok(found) } else { Err(FrontendError::Weights { tensors: bad }) }
}

/// Whether a node that the input has no part in yields float64.
fn yields_double(node: &NodeProto, op: &str, doubles: &BTreeSet<String>) -> bool {
    match op {
        "Cast" => node.attribute.iter().any(casts_to_double),
        "Constant" | "ConstantOfShape" => node.attribute.iter().filter_map(|a| a.t.as_ref()).any(is_double),
        op if OF_SHAPES.contains(&op) || NO_FLOATS.contains(&op) => false,
        _ => node.input.iter().any(|i| doubles.contains(i)),
    }
}

fn is_double(tensor: &TensorProto) -> bool {
    tensor.data_type == DataType::Double as i32
}

fn casts_to_double(attribute: &AttributeProto) -> bool {
    attribute.name == "to" && attribute.i == DataType::Double as i64
}

/// Declares a float64 tensor as float32; whether it was one.
fn declare_single(value: &mut ValueInfoProto) -> bool {
    let Some(type_proto::Value::TensorType(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
        return false;
    };
    let double = t.elem_type == DataType::Double as i32;
    if double {
        t.elem_type = DataType::Float as i32;
    }
    double
}

/// Constants of float64 as such of float32, each once, and the nodes so far.
struct Singles<'a> {
    /// Initializers of float64.
    held: BTreeMap<&'a str, &'a TensorProto>,
    names: &'a mut Names,
    known: BTreeMap<String, String>,
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
    bad: Vec<BadTensor>,
}

impl<'a> Singles<'a> {
    fn of(held: BTreeMap<&'a str, &'a TensorProto>, names: &'a mut Names) -> Singles<'a> {
        let (known, nodes, tensors, bad) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Singles { held, names, known, nodes, tensors, bad }
    }

    /// Name of a constant in float32.
    fn name(&mut self, name: &str) -> String {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let wanted = format!("{name}/float32");
        let single = match self.held.get(name).copied() {
            Some(tensor) => {
                let (single, new) = self.names.derived(&wanted);
                if new {
                    self.hold(tensor, &single);
                }
                single
            }
            None => {
                // One of an earlier narrowing may stand behind this use.
                let single = self.names.fresh(&wanted);
                self.nodes.push(cast(name, &single));
                single
            }
        };
        self.known.insert(name.to_owned(), single.clone());
        single
    }

    fn hold(&mut self, tensor: &TensorProto, name: &str) {
        match single(tensor, name) {
            Ok(single) => self.tensors.push(single),
            Err(index) => {
                let reason = format!("value {index} leaves the range of float32; scale the weights down");
                self.bad.push(BadTensor { tensor: tensor.name.clone(), reason });
            }
        }
    }
}

/// A cast to float32.
fn cast(from: &str, to: &str) -> NodeProto {
    let kind = AttributeProto {
        name: "to".to_owned(),
        r#type: AttributeType::Int as i32,
        i: DataType::Float as i64,
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: "Cast".to_owned(),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        attribute: vec![kind],
        ..NodeProto::default()
    }
}

/// A float64 tensor as float32; else the index of a value that is too large. A lone one may be: it is how exporters say "no bound".
fn single(tensor: &TensorProto, name: &str) -> Result<TensorProto, usize> {
    let raw = tensor.raw_data.chunks_exact(8);
    let raw = raw.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
    let float_data: Vec<f32> = raw.chain(tensor.double_data.iter().copied()).map(|v| v as f32).collect();
    match float_data.iter().position(|v| !v.is_finite()).filter(|_| float_data.len() > 1) {
        Some(index) => Err(index),
        None => Ok(TensorProto {
            name: name.to_owned(),
            dims: tensor.dims.clone(),
            data_type: DataType::Float as i32,
            float_data,
            ..TensorProto::default()
        }),
    }
}
