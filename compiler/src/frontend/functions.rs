//! Functions that a model defines for itself: the table of them, with what the decoder leaves out of it.
//!
//! Needs the file's bytes beside the decoded model, because tract's schema knows no default values of function attributes. Promises:
//! no function calls itself, also by way of others, calls go at most [`MAX_CALL_DEPTH`] deep, and what a function holds means
//! the same in the model's operator set as in its own.

use super::error::FrontendError;
use super::inline::subgraphs;
use super::proto::{invalid, is_onnx_domain};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{FunctionProto, ModelProto, NodeProto};
use tract_onnx::prelude::Framework;

/// Functions that call each other, at most.
const MAX_CALL_DEPTH: usize = 64;

/// Operators whose nodes mean something else, or are written in another way, from an operator set on.
const CHANGED: &[(&str, i64)] = &[
    ("Clip", 11),
    ("Dropout", 12),
    ("GroupNormalization", 21),
    ("LogSoftmax", 13),
    ("Pad", 11),
    ("ReduceL2", 18),
    ("ReduceMax", 18),
    ("ReduceMean", 18),
    ("ReduceMin", 18),
    ("ReduceSum", 13),
    ("ReduceSumSquare", 18),
    ("Resize", 11),
    ("Slice", 10),
    ("Softmax", 13),
    ("Split", 13),
    ("Split", 18),
    ("Squeeze", 13),
    ("Unsqueeze", 13),
    ("Upsample", 9),
];

/// First operator set in which sums and products broadcast as today.
const BROADCASTS: i64 = 7;

// Field numbers of the ONNX schema.
const MODEL_GRAPH: u64 = 7;
const MODEL_FUNCTIONS: u64 = 25;
const GRAPH_NODE: u64 = 1;
const NODE_ATTRIBUTE: u64 = 5;
const FUNCTION_ATTRIBUTE_PROTO: u64 = 11;

/// Domain and name.
pub(super) type Key = (String, String);

/// A function of the model.
pub(super) struct Function {
    pub proto: FunctionProto,
    /// A node that holds the attributes that a call may leave out, with their values.
    pub defaults: NodeProto,
}

/// Functions by the names that calls use.
#[derive(Default)]
pub(super) struct Functions(BTreeMap<Key, Function>);

fn key(domain: &str, name: &str) -> Key {
    let domain = if is_onnx_domain(domain) { "" } else { domain };
    (domain.to_owned(), name.to_owned())
}

impl Functions {
    /// Takes the functions out of a model that was decoded from these bytes.
    pub fn take(model: &mut ModelProto, bytes: &[u8]) -> Result<Functions, FrontendError> {
        if model.functions.is_empty() {
            return Ok(Functions::default());
        }
        let own = model.opset_import.iter().find(|o| is_onnx_domain(&o.domain)).map(|o| o.version);
        let mut functions = Functions::default();
        let mut defaults = defaults(bytes)?.into_iter();
        for proto in std::mem::take(&mut model.functions) {
            let name = proto.name.clone().unwrap_or_default();
            same_meaning(&proto, own)?;
            let key = key(proto.domain.as_deref().unwrap_or_default(), &name);
            let defaults = defaults.next().unwrap_or_default();
            if functions.0.insert(key, Function { proto, defaults }).is_some() {
                return Err(invalid(format!(
                    "function `{name}` is defined twice (overloads are not supported)"
                )));
            }
        }
        functions.check_depth()?;
        Ok(functions)
    }

    /// The nodes of all functions, and those that hold defaults.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut NodeProto> {
        self.0.values_mut().flat_map(|f| f.proto.node.iter_mut().chain([&mut f.defaults]))
    }

    /// The function that a node calls.
    pub fn called(&self, node: &NodeProto) -> Option<&Function> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&key(&node.domain, &node.op_type))
    }

    /// Refuses circles of calls: functions settle once all that they call have.
    fn check_depth(&self) -> Result<(), FrontendError> {
        let calls = |function: &Function| -> BTreeSet<Key> {
            let all = nodes(&function.proto.node);
            all.iter().map(|n| key(&n.domain, &n.op_type)).filter(|k| self.0.contains_key(k)).collect()
        };
        let mut open: BTreeMap<&Key, BTreeSet<Key>> = self.0.iter().map(|(k, f)| (k, calls(f))).collect();
        for _ in 0..MAX_CALL_DEPTH {
            let settled: BTreeSet<Key> =
                open.iter().filter(|(_, calls)| calls.is_empty()).map(|(k, _)| (*k).clone()).collect();
            open.retain(|k, _| !settled.contains(*k));
            open.values_mut().for_each(|calls| calls.retain(|k| !settled.contains(k)));
        }
        match open.keys().next() {
            Some((_, name)) => Err(invalid(format!(
                "function `{name}` calls itself, by way of others perhaps, or more than {MAX_CALL_DEPTH} calls deep"
            ))),
            None => Ok(()),
        }
    }
}

/// Nodes with those of their subgraphs.
fn nodes(list: &[NodeProto]) -> Vec<&NodeProto> {
    let mut all: Vec<&NodeProto> = list.iter().collect();
    let mut k = 0;
    while let Some(node) = all.get(k) {
        let inner: Vec<&NodeProto> = subgraphs(node).flat_map(|g| &g.node).collect();
        all.extend(inner);
        k += 1;
    }
    all
}

/// Refuses a function of another operator set than the model's, if that makes a difference.
fn same_meaning(function: &FunctionProto, own: Option<i64>) -> Result<(), FrontendError> {
    let set = function.opset_import.iter().find(|o| is_onnx_domain(&o.domain)).map(|o| o.version);
    let (Some(set), Some(own)) = (set, own) else { return Ok(()) };
    let between = |version: i64| (set < version) != (own < version);
    let changed = |n: &&NodeProto| {
        is_onnx_domain(&n.domain) && CHANGED.iter().any(|(op, version)| n.op_type == *op && between(*version))
    };
    let all = nodes(&function.node);
    let op = all.into_iter().find(|n| between(BROADCASTS) || changed(n)).map(|n| &n.op_type);
    match op {
        Some(op) => Err(invalid(format!(
            "function `{}` is written in operator set {set} and the model in {own}, between which {op} has changed",
            function.name.as_deref().unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

/// Nodes that hold the default values of attributes, by function.
fn defaults(model: &[u8]) -> Result<Vec<NodeProto>, FrontendError> {
    let functions = fields(model, MODEL_FUNCTIONS)?;
    let defaults = functions.iter().map(|function| {
        let mut node = Vec::new();
        for attribute in fields(function, FUNCTION_ATTRIBUTE_PROTO)? {
            push_field(&mut node, NODE_ATTRIBUTE, attribute);
        }
        // tract decodes whole models only.
        let (mut graph, mut model) = (Vec::new(), Vec::new());
        push_field(&mut graph, GRAPH_NODE, &node);
        push_field(&mut model, MODEL_GRAPH, &graph);
        let decoded = tract_onnx::onnx().proto_model_for_read(&mut &model[..]);
        let decoded =
            decoded.map_err(|e| invalid(format!("a function does not decode ({})", e.root_cause())))?;
        let nodes = decoded.graph.map(|g| g.node).unwrap_or_default();
        Ok(nodes.into_iter().next().unwrap_or_default())
    });
    defaults.collect()
}

/// Contents of a message's fields of one number, where they are messages.
fn fields(mut message: &[u8], number: u64) -> Result<Vec<&[u8]>, FrontendError> {
    let broken = || invalid("the file does not decode");
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message).ok_or_else(broken)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut message).ok_or_else(broken)?;
                0
            }
            1 => 8,
            2 => varint(&mut message).ok_or_else(broken)?,
            5 => 4,
            _ => return Err(broken()),
        };
        let length = usize::try_from(length).map_err(|_| broken())?;
        let (content, rest) = message.split_at_checked(length).ok_or_else(broken)?;
        if tag == number << 3 | 2 {
            found.push(content);
        }
        message = rest;
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn push_field(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    for mut value in [number << 3 | 2, content.len() as u64] {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    out.extend_from_slice(content);
}
