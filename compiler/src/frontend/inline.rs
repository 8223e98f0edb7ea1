//! Calls of the model's own functions, and branches that are known, written out in the graph.
//!
//! Does: replaces a call by the function's nodes, and an If whose condition is known by the nodes of the branch that runs. Needs: a
//! decoded model, which may be hostile. Leaves: standard operators, and an If only where its condition is not known. Promises: names that
//! were different stay different; no more than [`MAX_NODES`] nodes and [`MAX_BYTES`] bytes are written out.

use super::error::FrontendError;
use super::functions::{Function, Functions};
use super::proto::{invalid, is_onnx_domain, node_name};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Nodes that are written out, calls among them.
const MAX_NODES: usize = 1 << 16;
/// Bytes of their names and tensors.
const MAX_BYTES: usize = 1 << 30;
/// Bytes of a call's name that stand before the names of a body.
const MAX_PREFIX: usize = 256;
/// Branches and calls in each other, at most.
const MAX_DEPTH: usize = 128;

/// Writes out calls and branches; what it may still write.
pub(super) struct Inliner {
    functions: Functions,
    nodes_left: usize,
    bytes_left: usize,
}

/// Graphs that a node holds.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// Whether a node chooses between two graphs.
pub(super) fn is_if(node: &NodeProto) -> bool {
    node.op_type == "If" && is_onnx_domain(&node.domain)
}

/// Names that a node reads, also in its subgraphs, and those that its subgraphs define.
pub(super) fn names_read(node: &NodeProto) -> Vec<&String> {
    let mut names: Vec<&String> = node.input.iter().collect();
    let mut graphs: Vec<&GraphProto> = subgraphs(node).collect();
    while let Some(graph) = graphs.pop() {
        names.extend(graph.output.iter().map(|o| &o.name));
        for inner in &graph.node {
            names.extend(inner.input.iter());
            graphs.extend(subgraphs(inner));
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

impl Default for Inliner {
    fn default() -> Inliner {
        Inliner::new(Functions::default())
    }
}

impl Inliner {
    pub fn new(functions: Functions) -> Inliner {
        Inliner { functions, nodes_left: MAX_NODES, bytes_left: MAX_BYTES }
    }

    /// Writes out a graph, with the branches of conditions that `known` tells or that stand in the file; whether anything was.
    pub fn run(
        &mut self,
        graph: &mut GraphProto,
        known: impl Fn(&str) -> Option<bool>,
    ) -> Result<bool, FrontendError> {
        if !graph.node.iter().any(|n| is_if(n) || self.functions.called(n).is_some()) {
            return Ok(false);
        }
        let mut writer = Writer {
            conditions: graph.initializer.iter().filter_map(|t| Some((t.name.clone(), truth(t)?))).collect(),
            taken: names(graph),
            known: &known,
            inliner: self,
            depth: 0,
            written: false,
            nodes: Vec::new(),
            initializers: Vec::new(),
        };
        for node in std::mem::take(&mut graph.node) {
            writer.place(node)?;
        }
        let Writer { nodes, initializers, written, .. } = writer;
        graph.node = nodes;
        graph.initializer.extend(initializers);
        Ok(written)
    }

    fn charge(&mut self, nodes: usize, bytes: usize) -> Result<(), FrontendError> {
        let nodes = self.nodes_left.checked_sub(nodes);
        match (nodes, self.bytes_left.checked_sub(bytes)) {
            (Some(nodes), Some(bytes)) => (self.nodes_left, self.bytes_left) = (nodes, bytes),
            _ => {
                return Err(invalid(format!(
                    "its functions and branches, written out, have more than {MAX_NODES} nodes or {MAX_BYTES} bytes"
                )));
            }
        }
        Ok(())
    }
}

/// All names of a graph.
fn names(graph: &GraphProto) -> BTreeSet<String> {
    let ends = graph.input.iter().chain(&graph.output).map(|v| &v.name);
    let held = graph.initializer.iter().map(|t| &t.name);
    let made = graph.node.iter().flat_map(|n| &n.output);
    ends.chain(held).chain(made).cloned().collect()
}

/// The one boolean of a tensor.
fn truth(tensor: &TensorProto) -> Option<bool> {
    let one = tensor.data_type == DataType::Bool as i32 && tensor.dims.iter().all(|d| *d == 1);
    let value = tensor.raw_data.first().map(|b| *b != 0);
    value.or(tensor.int32_data.first().map(|v| *v != 0)).filter(|_| one)
}

/// Bytes of a tensor that is copied.
fn tensor_bytes(t: &TensorProto) -> usize {
    let words = t.float_data.len() + t.int32_data.len();
    let pairs = t.double_data.len() + t.int64_data.len() + t.uint64_data.len() + t.dims.len();
    t.name.len() + MAX_PREFIX + t.raw_data.len() + 4 * words + 8 * pairs
}

/// Bytes of a node that is copied, without its subgraphs; each name may get a prefix.
fn node_bytes(node: &NodeProto) -> usize {
    let names = node.input.iter().chain(&node.output).map(|n| n.len() + MAX_PREFIX).sum::<usize>();
    let attribute = |a: &AttributeProto| {
        let tensors = a.t.iter().chain(&a.tensors).map(tensor_bytes).sum::<usize>();
        let texts = a.s.len() + a.strings.iter().map(Vec::len).sum::<usize>();
        a.name.len() + tensors + texts + 4 * a.floats.len() + 8 * a.ints.len()
    };
    node.name.len() + names + node.attribute.iter().map(attribute).sum::<usize>()
}

/// What names of a body mean outside of it.
struct Names {
    /// Before names that the body defines.
    prefix: String,
    /// Before names of nodes.
    caller: String,
    outside: BTreeMap<String, String>,
    /// Whether names that are not known here are the body's own; else they are seen from outside.
    closed: bool,
}

/// The attributes of a call, for a body that refers to them; none in a branch.
type Given<'a> = Option<&'a BTreeMap<&'a str, &'a AttributeProto>>;

struct Writer<'a, K> {
    inliner: &'a mut Inliner,
    known: &'a K,
    /// Booleans that stand in the file.
    conditions: BTreeMap<String, bool>,
    /// Names that are in use.
    taken: BTreeSet<String>,
    depth: usize,
    written: bool,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<K: Fn(&str) -> Option<bool>> Writer<'_, K> {
    /// Writes a node, or what stands for it.
    fn place(&mut self, node: NodeProto) -> Result<(), FrontendError> {
        if self.depth > MAX_DEPTH {
            return Err(invalid(format!(
                "functions and branches stand more than {MAX_DEPTH} deep in each other"
            )));
        }
        self.depth += 1;
        // Functions stand in the inliner, which is charged while their nodes are written.
        let functions = std::mem::take(&mut self.inliner.functions);
        let result = functions.called(&node).map(|function| self.open(function, &node));
        self.inliner.functions = functions;
        let result = match result {
            Some(Ok(body)) => self.body(body),
            Some(Err(e)) => Err(e),
            None => match self.branch(&node)? {
                Some(body) => self.body(body),
                None => {
                    self.note_condition(&node);
                    self.nodes.push(node);
                    Ok(())
                }
            },
        };
        self.depth -= 1;
        result
    }

    /// Remembers the boolean of a Constant, or of what merely repeats one.
    fn note_condition(&mut self, node: &NodeProto) {
        let value = match node.op_type.as_str() {
            "Constant" => node.attribute.iter().filter_map(|a| a.t.as_ref()).find_map(truth),
            "Identity" => node.input.first().and_then(|i| self.conditions.get(i).copied()),
            _ => None,
        };
        if let (Some(value), Some(output)) = (value, node.output.first()) {
            self.conditions.insert(output.clone(), value);
        }
    }

    fn body(&mut self, body: Body) -> Result<(), FrontendError> {
        self.written = true;
        for tensor in body.initializers {
            if let Some(value) = truth(&tensor) {
                self.conditions.insert(tensor.name.clone(), value);
            }
            self.initializers.push(tensor);
        }
        body.nodes.into_iter().try_for_each(|node| self.place(node))
    }

    /// The nodes of a function in the place of a call.
    fn open(&mut self, function: &Function, call: &NodeProto) -> Result<Body, FrontendError> {
        let proto = &function.proto;
        let name = proto.name.as_deref().unwrap_or_default();
        if call.input.len() > proto.input.len() || call.output.len() > proto.output.len() {
            return Err(invalid(format!(
                "node `{}` calls function `{name}` with {} inputs and {} outputs; it has {} and {}",
                node_name(call),
                call.input.len(),
                call.output.len(),
                proto.input.len(),
                proto.output.len()
            )));
        }
        let given = function.defaults.iter().chain(&call.attribute).map(|a| (a.name.as_str(), a)).collect();
        let mut names = self.names(call, true)?;
        let actual = call.input.iter().cloned().chain(std::iter::repeat(String::new()));
        names.outside = proto.input.iter().cloned().zip(actual).collect();
        self.copied(&proto.node, &[], proto.output.iter(), call, (names, Some(&given)))
    }

    /// The nodes of the branch that runs in the place of an If; `None` for other nodes and where that is not known.
    fn branch(&mut self, node: &NodeProto) -> Result<Option<Body>, FrontendError> {
        let Some(condition) = node.input.first().filter(|_| is_if(node)) else { return Ok(None) };
        let Some(value) = self.conditions.get(condition).copied().or_else(|| (self.known)(condition)) else {
            return Ok(None);
        };
        let wanted = if value { "then_branch" } else { "else_branch" };
        let found = node.attribute.iter().find(|a| a.name == wanted).and_then(|a| a.g.as_ref());
        let Some(graph) = found.filter(|g| g.output.len() >= node.output.len() && g.input.is_empty()) else {
            let reason = format!("`{wanted}` of node `{}` has inputs, or too few outputs", node_name(node));
            return Err(invalid(reason));
        };
        if !graph.sparse_initializer.is_empty() {
            return Err(invalid(format!(
                "node `{}` holds sparse initializers; store them dense",
                node_name(node)
            )));
        }
        let names = self.names(node, false)?;
        let outputs = graph.output.iter().map(|o| &o.name);
        self.copied(&graph.node, &graph.initializer, outputs, node, (names, None)).map(Some)
    }

    fn names(&self, node: &NodeProto, closed: bool) -> Result<Names, FrontendError> {
        let Some(first) = node.output.iter().find(|o| !o.is_empty()) else {
            return Err(invalid(format!("node `{}` has no output", node_name(node))));
        };
        let short = |name: &str| format!("{}/", &name[..name.floor_char_boundary(MAX_PREFIX)]);
        let [prefix, caller] = [first.as_str(), node_name(node)].map(short);
        Ok(Names { prefix, caller, outside: BTreeMap::new(), closed })
    }

    /// A body under outside names. What it yields gets the names of the node's outputs; what it merely hands on is copied to them.
    fn copied<'b>(
        &mut self,
        nodes: &[NodeProto],
        initializers: &[TensorProto],
        outputs: impl Iterator<Item = &'b String>,
        node: &NodeProto,
        (mut names, given): (Names, Given<'_>),
    ) -> Result<Body, FrontendError> {
        self.inliner.charge(0, nodes.iter().flat_map(|n| &n.output).map(|o| o.len() + MAX_PREFIX).sum())?;
        let made: BTreeSet<&String> =
            nodes.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).collect();
        let mut handed: Vec<(&String, &String)> = Vec::new();
        for (inner, outer) in outputs.zip(&node.output).filter(|(_, outer)| !outer.is_empty()) {
            match made.contains(inner) && !names.outside.contains_key(inner) {
                true => drop(names.outside.insert(inner.clone(), outer.clone())),
                false => handed.push((inner, outer)),
            }
        }
        for own in made.into_iter().chain(initializers.iter().map(|t| &t.name)) {
            self.define(own, &mut names);
        }
        let mut body = Body::default();
        for tensor in initializers {
            self.inliner.charge(0, tensor_bytes(tensor))?;
            body.initializers
                .push(TensorProto { name: self.name(&tensor.name, &mut names), ..tensor.clone() });
        }
        for inner in nodes {
            body.nodes.push(self.copy(inner, &mut names, given)?);
        }
        for (inner, outer) in handed {
            let source = self.name(inner, &mut names);
            if source.is_empty() {
                return Err(invalid(format!(
                    "node `{}` yields `{inner}`, which is not given",
                    node_name(node)
                )));
            }
            self.inliner.charge(1, source.len() + outer.len())?;
            body.nodes.push(NodeProto {
                input: vec![source],
                output: vec![outer.clone()],
                op_type: "Identity".to_owned(),
                ..NodeProto::default()
            });
        }
        Ok(body)
    }

    /// Gives a name of the body one that is free outside, unless it has one.
    fn define(&mut self, name: &str, names: &mut Names) {
        if name.is_empty() || names.outside.contains_key(name) {
            return;
        }
        let mut free = format!("{}{name}", names.prefix);
        // As many names as are taken make the number: that one is free at the first try, or nearly so.
        for number in self.taken.len().. {
            if self.taken.insert(free.clone()) {
                break;
            }
            free = format!("{}{name}_{number}", names.prefix);
        }
        names.outside.insert(name.to_owned(), free);
    }

    /// What a name of the body is outside.
    fn name(&mut self, name: &str, names: &mut Names) -> String {
        if names.closed {
            self.define(name, names);
        }
        names.outside.get(name).map_or_else(|| name.to_owned(), String::clone)
    }

    fn copy(
        &mut self,
        node: &NodeProto,
        names: &mut Names,
        given: Given<'_>,
    ) -> Result<NodeProto, FrontendError> {
        self.inliner.charge(1, node_bytes(node))?;
        let mut copy =
            NodeProto { op_type: node.op_type.clone(), domain: node.domain.clone(), ..NodeProto::default() };
        if !node.name.is_empty() {
            copy.name = format!("{}{}", names.caller, node.name);
        }
        copy.input = node.input.iter().map(|n| self.name(n, names)).collect();
        // Operands that a call leaves out at the end are none.
        while copy.input.last().is_some_and(String::is_empty) {
            copy.input.pop();
        }
        copy.output = node.output.iter().map(|n| self.name(n, names)).collect();
        for attribute in &node.attribute {
            let referred = given.filter(|_| !attribute.ref_attr_name.is_empty());
            let Some(given_attribute) = referred else {
                copy.attribute.push(self.attribute(attribute, names, given)?);
                continue;
            };
            // An attribute that the call leaves out is left out.
            if let Some(found) = given_attribute.get(attribute.ref_attr_name.as_str()) {
                copy.attribute.push(AttributeProto { name: attribute.name.clone(), ..(*found).clone() });
            }
        }
        // Names and attributes of the call may be longer than what stood in their place.
        self.inliner.charge(0, node_bytes(&copy))?;
        Ok(copy)
    }

    fn attribute(
        &mut self,
        attribute: &AttributeProto,
        names: &mut Names,
        given: Given<'_>,
    ) -> Result<AttributeProto, FrontendError> {
        let is_graph = [AttributeType::Graph, AttributeType::Graphs].map(|kind| kind as i32);
        if attribute.g.is_none() && attribute.graphs.is_empty() && !is_graph.contains(&attribute.r#type) {
            return Ok(attribute.clone());
        }
        let one = attribute.g.as_ref().map(|g| self.graph(g, names, given)).transpose()?;
        let graphs = attribute.graphs.iter().map(|g| self.graph(g, names, given));
        let graphs = graphs.collect::<Result<Vec<_>, _>>()?;
        let (name, r#type) = (attribute.name.clone(), attribute.r#type);
        Ok(AttributeProto { name, r#type, g: one, graphs, ..AttributeProto::default() })
    }

    /// A subgraph under outside names.
    fn graph(
        &mut self,
        graph: &GraphProto,
        names: &mut Names,
        given: Given<'_>,
    ) -> Result<GraphProto, FrontendError> {
        let mut copy = GraphProto { name: graph.name.clone(), ..GraphProto::default() };
        for tensor in &graph.initializer {
            self.inliner.charge(0, tensor_bytes(tensor))?;
            copy.initializer.push(TensorProto { name: self.name(&tensor.name, names), ..tensor.clone() });
        }
        let ends = graph.input.iter().chain(&graph.output);
        self.inliner.charge(0, ends.map(|v| v.name.len() + MAX_PREFIX).sum())?;
        copy.sparse_initializer = graph.sparse_initializer.clone();
        for inner in &graph.node {
            copy.node.push(self.copy(inner, names, given)?);
        }
        [copy.input, copy.output] = [&graph.input, &graph.output].map(|list| {
            let named = list.iter().map(|v| (self.name(&v.name, names), v.clone()));
            named.map(|(name, v)| tract_onnx::pb::ValueInfoProto { name, ..v }).collect()
        });
        Ok(copy)
    }
}

/// What stands for a call or an If.
#[derive(Default)]
struct Body {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}
