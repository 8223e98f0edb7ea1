//! Calls of the model's own functions, and branches that are known, written out in the graph.
//!
//! Does: replaces a call by the function's nodes, and an If whose condition is known by the nodes of the branch that runs. Needs: a
//! decoded model, which may be hostile. Leaves: standard operators, and an If only where its condition is not known. Promises: names that
//! were different stay different; no more is written out than a [`Budget`] holds.

mod copy;

use super::error::FrontendError;
use super::functions::{Function, Functions};
use super::names::Names;
use super::proto::{invalid, is_onnx_domain, node_name};
use copy::{Body, Budget, Copier, MAX_PREFIX, Scope, check_dense, nested};
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Writes out calls and branches, as far as its budget goes.
pub(super) struct Inliner {
    functions: Functions,
    budget: Budget,
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

impl Inliner {
    pub fn new(functions: Functions) -> Inliner {
        Inliner { functions, budget: Budget::default() }
    }

    /// Writes out a graph whose names are these, with the branches of conditions that `known` tells or that stand in the file;
    /// whether anything was.
    pub fn run(
        &mut self,
        graph: &mut GraphProto,
        names: &mut Names,
        known: impl Fn(&str) -> Option<bool>,
    ) -> Result<bool, FrontendError> {
        if !graph.node.iter().any(|n| is_if(n) || self.functions.called(n).is_some()) {
            return Ok(false);
        }
        let mut writer = Writer {
            functions: &self.functions,
            copier: Copier { budget: &mut self.budget, names, depth: 0 },
            known: &known,
            conditions: graph.initializer.iter().filter_map(|t| Some((t.name.clone(), truth(t)?))).collect(),
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
}

/// The one boolean of a tensor.
fn truth(tensor: &TensorProto) -> Option<bool> {
    let one = tensor.data_type == DataType::Bool as i32 && tensor.dims.iter().all(|d| *d == 1);
    let value = tensor.raw_data.first().map(|b| *b != 0);
    value.or(tensor.int32_data.first().map(|v| *v != 0)).filter(|_| one)
}

struct Writer<'a, K> {
    functions: &'a Functions,
    copier: Copier<'a>,
    known: &'a K,
    /// Booleans that stand in the file.
    conditions: BTreeMap<String, bool>,
    /// Bodies around what is written now.
    depth: usize,
    written: bool,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl<K: Fn(&str) -> Option<bool>> Writer<'_, K> {
    /// Writes a node, or what stands for it.
    fn place(&mut self, node: NodeProto) -> Result<(), FrontendError> {
        let body = match self.functions.called(&node) {
            Some(function) => Some(self.open(function, &node)?),
            None => self.branch(&node)?,
        };
        let Some(body) = body else {
            self.note_condition(&node);
            self.nodes.push(node);
            return Ok(());
        };
        self.written = true;
        for tensor in body.initializers {
            if let Some(value) = truth(&tensor) {
                self.conditions.insert(tensor.name.clone(), value);
            }
            self.initializers.push(tensor);
        }
        nested(&mut self.depth)?;
        body.nodes.into_iter().try_for_each(|node| self.place(node))?;
        self.depth -= 1;
        Ok(())
    }

    /// Remembers the boolean of a Constant, or of what merely repeats one.
    fn note_condition(&mut self, node: &NodeProto) {
        let value = match node.op_type.as_str() {
            _ if !is_onnx_domain(&node.domain) => None,
            "Constant" => node.attribute.iter().filter_map(|a| a.t.as_ref()).find_map(truth),
            "Identity" => node.input.first().and_then(|i| self.conditions.get(i).copied()),
            _ => None,
        };
        if let (Some(value), Some(output)) = (value, node.output.first()) {
            self.conditions.insert(output.clone(), value);
        }
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
        let attributes = || function.defaults.attribute.iter().chain(&call.attribute);
        let operands = proto.input.iter().chain(&call.input).map(|name| name.len() + MAX_PREFIX);
        self.copier.budget.charge(0, operands.sum::<usize>() + attributes().count() * MAX_PREFIX)?;
        let given = attributes().map(|a| (a.name.as_str(), a)).collect();
        let mut scope = Scope::of(call, true)?;
        let actual = call.input.iter().cloned().chain(std::iter::repeat(String::new()));
        scope.outside = proto.input.iter().cloned().zip(actual).collect();
        self.copier.body(&proto.node, &[], proto.output.iter(), call, (scope, Some(&given)))
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
        check_dense(graph)?;
        let scope = Scope::of(node, false)?;
        let outputs = graph.output.iter().map(|o| &o.name);
        self.copier.body(&graph.node, &graph.initializer, outputs, node, (scope, None)).map(Some)
    }
}
