//! The ONNX file: decoding, checks that tract takes for granted, and mending of what tract refuses without need.
//!
//! Promises of a [`Source`]: one operator set, names defined before use and once, tensors whose data fit their
//! dimensions, one input, of float32 (float64 in the file is read as such). What is checked here cannot make tract panic.
//!
//! A little above the soft cap: what is mended is what is checked.

use super::error::{BadTensor, FrontendError};
use super::external::{self, Beside};
use super::functions::Functions;
use super::inline::{Inliner, names_read};
use super::legacy::modernise;
use super::names::Names;
use super::narrow::narrow;
use super::tensor::TensorFile;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::Framework;

/// Elements of one tensor, at most: 1 GiB of float32.
const MAX_ELEMENTS: u64 = 1 << 28;

/// Said of models in double precision.
const NARROWED: &str = "float64 is read as float32, in which inputs and weights of circuits are";

/// Tensors that a message lists.
const NAMED_MAX: usize = 40;

/// Operators whose result can dwarf their operands; tract evaluates them on constants while it reads.
pub(super) const GROWING: &[&str] =
    &["ConstantOfShape", "EyeLike", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"];

/// A decoded, checked model.
pub(super) struct Source {
    pub model: ModelProto,
    /// The operator set that nodes are of.
    pub opset: i64,
    /// The one that branches are of which are not decided yet: the file's own.
    pub written: i64,
    /// Name of the one input.
    pub input: String,
    /// Its declared dimensions.
    pub dims: Vec<Declared>,
    /// Files that weights were read from.
    pub files: Vec<PathBuf>,
    /// What the user should know.
    pub notes: Vec<String>,
    names: Names,
    inliner: Inliner,
}

/// A declared dimension of the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Declared {
    Fixed(u64),
    Symbol(String),
}

/// Name under which a node is reported.
pub(super) fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("?", String::as_str) } else { &node.name }
}

/// Whether a node belongs to ONNX itself.
pub(super) fn is_onnx_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Decodes and checks a file, after inputs that are `bound` have become constants.
pub(super) fn read(
    bytes: &[u8],
    bound: &[(usize, TensorFile)],
    beside: Beside<'_>,
) -> Result<Source, FrontendError> {
    let mut model = tract_onnx::onnx()
        .proto_model_for_read(&mut &bytes[..])
        .map_err(|e| invalid(format!("the file does not decode ({})", e.root_cause())))?;
    let mut functions = Functions::take(&mut model, bytes)?;
    let Some(graph) = &mut model.graph else { return Err(invalid("it holds no graph")) };
    let files = external::read(graph, functions.nodes_mut(), beside)?;
    bind(graph, bound)?;
    let (mut names, mut inliner) = (Names::of(graph), Inliner::new(functions));
    inliner.run(graph, &mut names, |_| None)?;
    // The same tensor again says nothing new.
    let mut seen = BTreeSet::new();
    graph.output.retain(|output| seen.insert(output.name.clone()));
    let opset = operator_set(&model.opset_import)?;
    check(graph)?;
    let (input, dims) = the_input(graph)?;
    let notes = Vec::new();
    let mut source = Source { opset, written: opset, input, dims, model, files, notes, names, inliner };
    source.reword()?;
    Ok(source)
}

/// What tract takes for granted.
fn check(graph: &GraphProto) -> Result<(), FrontendError> {
    check_tensors(graph)?;
    check_names(graph)?;
    check_growth(graph)?;
    check_selections(graph)
}

impl Source {
    /// The graph. [`read`] found it.
    pub fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("invariant: read() accepts models with a graph only")
    }

    pub(super) fn graph_mut(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().expect("invariant: read() accepts models with a graph only")
    }

    /// The graph, and the names in it.
    pub(super) fn parts_mut(&mut self) -> (&mut GraphProto, &mut Names) {
        let graph = self.model.graph.as_mut();
        (graph.expect("invariant: read() accepts models with a graph only"), &mut self.names)
    }

    /// Says what the file says in words that later steps know.
    fn reword(&mut self) -> Result<(), FrontendError> {
        let input = self.input.clone();
        let (graph, names) = self.parts_mut();
        let narrowed = narrow(graph, &input, names)?;
        mend(graph, names);
        if narrowed && self.notes.iter().all(|note| note != NARROWED) {
            self.notes.push(NARROWED.to_owned());
        }
        modernise(self);
        check_names(self.graph())
    }

    /// Puts the branches that run in the place of every If whose condition is now known; whether there was one.
    pub fn decide(&mut self, known: impl Fn(&str) -> Option<bool>) -> Result<bool, FrontendError> {
        let Some(graph) = &mut self.model.graph else { return Ok(false) };
        if !self.inliner.run(graph, &mut self.names, known)? {
            return Ok(false);
        }
        check(graph)?;
        self.reword()?;
        Ok(true)
    }

    /// Makes `tensor` the only output and drops the nodes that it does not need.
    pub fn cut(&mut self, tensor: &str) -> Result<(), FrontendError> {
        let graph = self.graph_mut();
        let mut wanted = BTreeSet::from([tensor.to_owned()]);
        let mut kept: Vec<NodeProto> = Vec::new();
        for node in graph.node.iter().rev().filter(|n| n.output.iter().any(|o| !o.is_empty())) {
            if node.output.iter().any(|o| wanted.contains(o)) {
                wanted.extend(names_read(node).into_iter().cloned());
                kept.push(node.clone());
            }
        }
        if kept.is_empty() {
            let names = graph.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty());
            let names: Vec<&str> = names.map(String::as_str).take(NAMED_MAX).collect();
            let more = if names.len() == NAMED_MAX { " …" } else { "" };
            let reason = format!(
                "no node computes a tensor `{tensor}`, which is asked for as the output; there are {}{more}",
                names.join(", ")
            );
            return Err(FrontendError::Interface { reason });
        }
        kept.reverse();
        graph.node = kept;
        graph.output = vec![ValueInfoProto { name: tensor.to_owned(), ..ValueInfoProto::default() }];
        Ok(())
    }

    /// Writes the resolved shape over the declared one, and drops shapes that are only claimed.
    pub fn fix_input(&mut self, shape: &[usize]) {
        let name = self.input.clone();
        let graph = self.graph_mut();
        graph.value_info.clear();
        for input in graph.input.iter_mut().filter(|i| i.name == name) {
            let Some(type_proto::Value::TensorType(t)) = input.r#type.as_mut().and_then(|t| t.value.as_mut())
            else {
                continue;
            };
            let dims = shape.iter().map(|d| Dimension::DimValue(*d as i64));
            if let Some(declared) = &mut t.shape {
                declared.dim.iter_mut().zip(dims).for_each(|(dim, value)| dim.value = Some(value));
            }
        }
    }
}

/// Makes initializers of inputs; positions count the inputs that have none.
fn bind(graph: &mut GraphProto, bound: &[(usize, TensorFile)]) -> Result<(), FrontendError> {
    let held: BTreeSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let open = graph.input.iter().map(|i| i.name.clone()).filter(|n| !held.contains(n));
    let open: Vec<String> = open.collect();
    for (position, tensor) in bound {
        let Some(name) = open.get(*position) else {
            let reason = format!("the model has no input {position} that a constant could take the place of");
            return Err(FrontendError::Interface { reason });
        };
        graph.initializer.push(tensor.named(name));
        graph.input.retain(|i| i.name != *name);
    }
    Ok(())
}

pub(super) fn invalid(reason: impl Into<String>) -> FrontendError {
    FrontendError::NotOnnx { reason: reason.into() }
}

fn operator_set(imported: &[OperatorSetIdProto]) -> Result<i64, FrontendError> {
    let Some(set) = imported.iter().find(|o| is_onnx_domain(&o.domain)) else {
        return Err(invalid("it names no operator set"));
    };
    if super::OPSETS.contains(&set.version) {
        Ok(set.version)
    } else {
        Err(FrontendError::OperatorSet { found: set.version })
    }
}

fn check_tensors(graph: &GraphProto) -> Result<(), FrontendError> {
    let attributes = graph.node.iter().flat_map(|n| n.attribute.iter().map(move |a| (n, a)));
    let held = attributes.filter_map(|(n, a)| a.t.as_ref().map(|t| (node_name(n), t)));
    let named = graph.initializer.iter().map(|t| (t.name.as_str(), t));
    let mut bad: Vec<BadTensor> = named
        .chain(held)
        .filter_map(|(name, t)| check_tensor(t).err().map(|reason| (name, reason)))
        .map(|(tensor, reason)| BadTensor { tensor: tensor.to_owned(), reason })
        .collect();
    bad.extend(graph.sparse_initializer.iter().map(|t| BadTensor {
        tensor: t.values.as_ref().map_or_else(String::new, |v| v.name.clone()),
        reason: "sparse initializers are not supported; store it dense".to_owned(),
    }));
    if bad.is_empty() { Ok(()) } else { Err(FrontendError::Weights { tensors: bad }) }
}

pub(super) fn check_tensor(t: &TensorProto) -> Result<(), String> {
    let kind = DataType::try_from(t.data_type).map_err(|_| format!("unknown data type {}", t.data_type))?;
    let (bytes, stored) = match kind {
        DataType::Float => (4, t.float_data.len()),
        DataType::Double => (8, t.double_data.len()),
        DataType::Float16 => (2, t.int32_data.len()),
        DataType::Uint8 | DataType::Int8 | DataType::Bool => (1, t.int32_data.len()),
        DataType::Uint16 | DataType::Int16 => (2, t.int32_data.len()),
        DataType::Int32 => (4, t.int32_data.len()),
        DataType::Uint32 => (4, t.uint64_data.len()),
        DataType::Uint64 => (8, t.uint64_data.len()),
        DataType::Int64 => (8, t.int64_data.len()),
        other => return Err(format!("data type {} is not supported", other.as_str_name())),
    };
    let elements = t.dims.iter().try_fold(1u64, |n, d| u64::try_from(*d).ok().and_then(|d| n.checked_mul(d)));
    let Some(elements) = elements.filter(|n| *n <= MAX_ELEMENTS) else {
        return Err(format!("dimensions {:?} are negative or too large", t.dims));
    };
    let found = if t.raw_data.is_empty() { stored as u64 } else { t.raw_data.len() as u64 / bytes };
    let whole = t.raw_data.is_empty() || (t.raw_data.len() as u64).is_multiple_of(bytes);
    if found != elements || !whole {
        return Err(format!("dimensions {:?} ask for {elements} values, {found} are stored", t.dims));
    }
    match first_not_finite(t, kind) {
        Some(index) => Err(format!(
            "value {index} is NaN or infinite; the training has diverged or the export is broken"
        )),
        None => Ok(()),
    }
}

/// Index of the first NaN or infinite value. A lone infinity is left alone: it is how exporters say "no bound".
fn first_not_finite(t: &TensorProto, kind: DataType) -> Option<usize> {
    let values: Vec<f64> = match (kind, t.raw_data.is_empty()) {
        (DataType::Float, true) => t.float_data.iter().map(|v| f64::from(*v)).collect(),
        (DataType::Double, true) => t.double_data.clone(),
        (DataType::Float, false) => t
            .raw_data
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect(),
        (DataType::Double, false) => t
            .raw_data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect(),
        _ => Vec::new(),
    };
    if values.len() == 1 && values[0].is_infinite() {
        return None;
    }
    values.iter().position(|v| !v.is_finite())
}

fn check_names(graph: &GraphProto) -> Result<(), FrontendError> {
    let mut known = BTreeSet::new();
    if let Some(twice) = graph.initializer.iter().find(|t| !known.insert(t.name.as_str())) {
        return Err(invalid(format!("tensor `{}` is defined twice", twice.name)));
    }
    known.extend(graph.input.iter().map(|i| i.name.as_str()));
    for node in &graph.node {
        for input in node.input.iter().filter(|i| !i.is_empty()) {
            if !known.contains(input.as_str()) {
                let name = node_name(node);
                return Err(invalid(format!(
                    "node `{name}` reads `{input}`, which nothing before it defines"
                )));
            }
        }
        if node.output.iter().all(String::is_empty) {
            return Err(invalid(format!("node `{}` has no output", node_name(node))));
        }
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !known.insert(output) {
                return Err(invalid(format!("tensor `{output}` is defined twice")));
            }
        }
    }
    if graph.output.is_empty() {
        return Err(invalid("it has no output"));
    }
    match graph.output.iter().find(|o| !known.contains(o.name.as_str())) {
        Some(o) => Err(invalid(format!("output `{}` is defined by no node", o.name))),
        None => Ok(()),
    }
}

/// Sizes that stand in the file itself must be ones that memory can hold.
fn check_growth(graph: &GraphProto) -> Result<(), FrontendError> {
    let growing = graph.node.iter().filter(|n| GROWING.contains(&n.op_type.as_str()));
    let sizes = growing.flat_map(|n| &n.input).filter_map(|i| constant(graph, i).map(|t| (i, t)));
    let bad: Vec<BadTensor> = sizes
        .filter(|(_, t)| {
            let product = integers(t).iter().try_fold(1u64, |n, v| n.checked_mul(v.unsigned_abs().max(1)));
            product.is_none_or(|n| n > MAX_ELEMENTS)
        })
        .map(|(name, _)| BadTensor {
            tensor: name.clone(),
            reason: format!("as a size it asks for more than {MAX_ELEMENTS} values"),
        })
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(FrontendError::Weights { tensors: bad }) }
}

/// An index of GatherND has an axis of its parts; without one tract looks for it for ever.
fn check_selections(graph: &GraphProto) -> Result<(), FrontendError> {
    let mut selections = graph.node.iter().filter(|n| n.op_type == "GatherND");
    let scalar = |n: &&NodeProto| {
        n.input.get(1).and_then(|name| constant(graph, name)).is_some_and(|t| t.dims.is_empty())
    };
    match selections.find(scalar) {
        Some(n) => Err(invalid(format!("the indices of node `{}` (GatherND) are a scalar", node_name(n)))),
        None => Ok(()),
    }
}

/// Values of an int64 tensor; none of another type.
fn integers(t: &TensorProto) -> Vec<i64> {
    if t.data_type != DataType::Int64 as i32 {
        return Vec::new();
    }
    let raw = t.raw_data.chunks_exact(8);
    let raw = raw.map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
    raw.chain(t.int64_data.iter().copied()).collect()
}

fn the_input(graph: &GraphProto) -> Result<(String, Vec<Declared>), FrontendError> {
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|i| !constants.contains(i.name.as_str())).collect();
    let [input] = inputs[..] else {
        let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
        return Err(FrontendError::Interface {
            reason: format!("the model has {} inputs ({})", inputs.len(), names.join(", ")),
        });
    };
    let wrong = |reason: String| FrontendError::Interface { reason };
    let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(wrong(format!("input `{}` declares no tensor type", input.name)));
    };
    if ![DataType::Float, DataType::Double].map(|kind| kind as i32).contains(&t.elem_type) {
        let found = DataType::try_from(t.elem_type).map_or("an unknown type", |d| d.as_str_name());
        return Err(wrong(format!("input `{}` is {found}, not float32", input.name)));
    }
    let Some(shape) = &t.shape else {
        return Err(wrong(format!("input `{}` declares no shape", input.name)));
    };
    let dims = shape.dim.iter().map(|d| match &d.value {
        Some(Dimension::DimValue(v)) if *v > 0 => Declared::Fixed(*v as u64),
        Some(Dimension::DimParam(name)) if !name.is_empty() => Declared::Symbol(name.clone()),
        _ => Declared::Symbol("?".to_owned()),
    });
    Ok((input.name.clone(), dims.collect()))
}

/// Pad's constant value must be a scalar; exporters write a tensor of one element.
fn mend(graph: &mut GraphProto, names: &mut Names) {
    for k in 0..graph.node.len() {
        let node = &graph.node[k];
        let Some(value) = node.input.get(2).filter(|v| node.op_type == "Pad" && !v.is_empty()) else {
            continue;
        };
        let held = constant(graph, value);
        let Some(tensor) = held.filter(|t| !t.dims.is_empty() && t.dims.iter().all(|d| *d == 1)) else {
            continue;
        };
        let (name, new) = names.derived(&format!("{value}/scalar"));
        if new {
            let scalar = TensorProto { name: name.clone(), dims: Vec::new(), ..tensor.clone() };
            graph.initializer.push(scalar);
        }
        graph.node[k].input[2] = name;
    }
}

/// The tensor behind a name: an initializer, or the value of a Constant node.
pub(super) fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let held = graph.node.iter().filter(|n| n.op_type == "Constant" && n.output.iter().any(|o| o == name));
    let mut values =
        held.flat_map(|n| &n.attribute).filter(|a| a.name == "value").filter_map(|a| a.t.as_ref());
    graph.initializer.iter().find(|t| t.name == name).or_else(|| values.next())
}
