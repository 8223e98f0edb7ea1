//! Copies of nodes, tensors and graphs under the names of another place.
//!
//! Promises: what is copied is charged before it is, to a [`Budget`]; names that were different stay different. Left out are
//! texts that document, types that are only claimed, and attributes that hold sparse tensors or types, which no supported operator has.

use super::super::error::FrontendError;
use super::super::names::Names;
use super::super::proto::{invalid, node_name};
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Nodes that are written out, calls among them.
const MAX_NODES: usize = 1 << 16;
/// Bytes of their names, attributes and tensors.
const MAX_BYTES: usize = 1 << 30;
/// Bytes of a call's name that stand before the names of a body.
pub(super) const MAX_PREFIX: usize = 256;
/// Graphs, and bodies of functions and branches, in each other, at most.
pub(super) const MAX_NESTING: usize = 128;

/// What may still be written out.
pub(super) struct Budget {
    nodes_left: usize,
    bytes_left: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { nodes_left: MAX_NODES, bytes_left: MAX_BYTES }
    }
}

impl Budget {
    pub fn charge(&mut self, nodes: usize, bytes: usize) -> Result<(), FrontendError> {
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

/// Bytes of a tensor in memory.
fn tensor_bytes(t: &TensorProto) -> usize {
    let words = t.float_data.len() + t.int32_data.len();
    let pairs = t.double_data.len() + t.int64_data.len() + t.uint64_data.len() + t.dims.len();
    let places = t.external_data.iter().map(|e| size_of_val(e) + e.key.len() + e.value.len());
    let texts = texts_bytes(&t.string_data) + places.sum::<usize>() + t.name.len() + t.doc_string.len();
    size_of_val(t) + texts + t.raw_data.len() + 4 * words + 8 * pairs
}

fn texts_bytes(texts: &[Vec<u8>]) -> usize {
    texts.iter().map(|text| size_of_val(text) + text.len()).sum()
}

/// What names of a body mean outside of it. By default each means itself.
#[derive(Default)]
pub(super) struct Scope {
    /// Before names that the body defines.
    prefix: String,
    /// Before names of nodes.
    caller: String,
    pub outside: BTreeMap<String, String>,
    /// Whether names that are not known here are the body's own; else they are seen from outside.
    closed: bool,
}

impl Scope {
    /// Of a body in the place of a node.
    pub fn of(node: &NodeProto, closed: bool) -> Result<Scope, FrontendError> {
        let Some(first) = node.output.iter().find(|o| !o.is_empty()) else {
            return Err(invalid(format!("node `{}` has no output", node_name(node))));
        };
        let short = |name: &str| format!("{}/", &name[..name.floor_char_boundary(MAX_PREFIX)]);
        let [prefix, caller] = [first.as_str(), node_name(node)].map(short);
        Ok(Scope { prefix, caller, outside: BTreeMap::new(), closed })
    }
}

/// The attributes of a call, for a body that refers to them; none in a branch.
pub(super) type Given<'a> = Option<&'a BTreeMap<&'a str, &'a AttributeProto>>;

/// What stands for a call or an If.
#[derive(Default)]
pub(super) struct Body {
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<TensorProto>,
}

/// Copies, and names what it copies.
pub(super) struct Copier<'a> {
    pub budget: &'a mut Budget,
    pub names: &'a mut Names,
    /// Graphs around what is copied now.
    pub depth: usize,
}

impl Copier<'_> {
    /// A body under outside names. What it yields gets the names of the node's outputs; what it merely hands on is copied to them.
    pub fn body<'b>(
        &mut self,
        nodes: &[NodeProto],
        initializers: &[TensorProto],
        outputs: impl Iterator<Item = &'b String>,
        node: &NodeProto,
        (mut scope, given): (Scope, Given<'_>),
    ) -> Result<Body, FrontendError> {
        let made: BTreeSet<&String> =
            nodes.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).collect();
        let mut handed: Vec<(&String, &String)> = Vec::new();
        for (inner, outer) in outputs.zip(&node.output).filter(|(_, outer)| !outer.is_empty()) {
            self.budget.charge(0, inner.len() + outer.len() + MAX_PREFIX)?;
            match made.contains(inner) && !scope.outside.contains_key(inner) {
                true => drop(scope.outside.insert(inner.clone(), outer.clone())),
                false => handed.push((inner, outer)),
            }
        }
        for own in made.into_iter().chain(initializers.iter().map(|t| &t.name)) {
            self.define(own, &mut scope)?;
        }
        let mut body = Body::default();
        for tensor in initializers {
            let name = self.name(&tensor.name, &mut scope)?;
            body.initializers.push(self.tensor(tensor, name)?);
        }
        for inner in nodes {
            body.nodes.push(self.node(inner, &mut scope, given)?);
        }
        for (inner, outer) in handed {
            let source = self.name(inner, &mut scope)?;
            if source.is_empty() {
                return Err(invalid(format!(
                    "node `{}` yields `{inner}`, which is not given",
                    node_name(node)
                )));
            }
            self.budget.charge(1, size_of::<NodeProto>())?;
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
    fn define(&mut self, name: &str, scope: &mut Scope) -> Result<(), FrontendError> {
        if name.is_empty() || scope.outside.contains_key(name) {
            return Ok(());
        }
        self.budget.charge(0, 2 * (size_of::<String>() + MAX_PREFIX + name.len()))?;
        let free = self.names.fresh(&format!("{}{name}", scope.prefix));
        scope.outside.insert(name.to_owned(), free);
        Ok(())
    }

    /// What a name of the body is outside.
    fn name(&mut self, name: &str, scope: &mut Scope) -> Result<String, FrontendError> {
        if scope.closed {
            self.define(name, scope)?;
        }
        let outside = scope.outside.get(name).map_or(name, String::as_str);
        self.budget.charge(0, size_of::<String>() + outside.len())?;
        Ok(outside.to_owned())
    }

    fn node(
        &mut self,
        node: &NodeProto,
        scope: &mut Scope,
        given: Given<'_>,
    ) -> Result<NodeProto, FrontendError> {
        let texts = node.name.len() + MAX_PREFIX + node.op_type.len() + node.domain.len();
        self.budget.charge(1, size_of_val(node) + texts)?;
        let mut copy =
            NodeProto { op_type: node.op_type.clone(), domain: node.domain.clone(), ..NodeProto::default() };
        if !node.name.is_empty() {
            copy.name = format!("{}{}", scope.caller, node.name);
        }
        copy.input = node.input.iter().map(|n| self.name(n, scope)).collect::<Result<_, _>>()?;
        // Operands that a call leaves out at the end are none.
        while copy.input.last().is_some_and(String::is_empty) {
            copy.input.pop();
        }
        copy.output = node.output.iter().map(|n| self.name(n, scope)).collect::<Result<_, _>>()?;
        for attribute in &node.attribute {
            let Some(given) = given.filter(|_| !attribute.ref_attr_name.is_empty()) else {
                copy.attribute.push(self.attribute(attribute, scope, given)?);
                continue;
            };
            // An attribute that the call leaves out is left out; the names of one that it gives are outside names.
            if let Some(found) = given.get(attribute.ref_attr_name.as_str()) {
                self.budget.charge(0, attribute.name.len())?;
                let found = self.attribute(found, &mut Scope::default(), None)?;
                copy.attribute.push(AttributeProto { name: attribute.name.clone(), ..found });
            }
        }
        Ok(copy)
    }

    fn tensor(&mut self, tensor: &TensorProto, name: String) -> Result<TensorProto, FrontendError> {
        self.budget.charge(0, tensor_bytes(tensor))?;
        Ok(TensorProto { name, ..tensor.clone() })
    }

    fn attribute(
        &mut self,
        a: &AttributeProto,
        scope: &mut Scope,
        given: Given<'_>,
    ) -> Result<AttributeProto, FrontendError> {
        let lists = texts_bytes(&a.strings) + 4 * a.floats.len() + 8 * a.ints.len();
        self.budget.charge(0, size_of_val(a) + a.name.len() + a.s.len() + lists)?;
        let tensor = |t: &TensorProto, copier: &mut Self| copier.tensor(t, t.name.clone());
        Ok(AttributeProto {
            name: a.name.clone(),
            r#type: a.r#type,
            f: a.f,
            i: a.i,
            s: a.s.clone(),
            t: a.t.as_ref().map(|t| tensor(t, self)).transpose()?,
            g: a.g.as_ref().map(|g| self.graph(g, scope, given)).transpose()?,
            floats: a.floats.clone(),
            ints: a.ints.clone(),
            strings: a.strings.clone(),
            tensors: a.tensors.iter().map(|t| tensor(t, self)).collect::<Result<_, _>>()?,
            graphs: a.graphs.iter().map(|g| self.graph(g, scope, given)).collect::<Result<_, _>>()?,
            ..AttributeProto::default()
        })
    }

    /// A subgraph under outside names.
    fn graph(
        &mut self,
        graph: &GraphProto,
        scope: &mut Scope,
        given: Given<'_>,
    ) -> Result<GraphProto, FrontendError> {
        check_dense(graph)?;
        // A graph that a call gives stands in those of the body, and so on from call to call.
        nested(&mut self.depth)?;
        self.budget.charge(0, size_of_val(graph) + graph.name.len())?;
        let mut copy = GraphProto { name: graph.name.clone(), ..GraphProto::default() };
        for tensor in &graph.initializer {
            let name = self.name(&tensor.name, scope)?;
            copy.initializer.push(self.tensor(tensor, name)?);
        }
        for inner in &graph.node {
            copy.node.push(self.node(inner, scope, given)?);
        }
        for (list, ends) in [(&mut copy.input, &graph.input), (&mut copy.output, &graph.output)] {
            for end in ends {
                self.budget.charge(0, size_of_val(end))?;
                list.push(ValueInfoProto { name: self.name(&end.name, scope)?, ..ValueInfoProto::default() });
            }
        }
        self.depth -= 1;
        Ok(copy)
    }
}

/// One more in the others.
pub(super) fn nested(depth: &mut usize) -> Result<(), FrontendError> {
    *depth += 1;
    if *depth > MAX_NESTING {
        return Err(invalid(format!(
            "functions and branches stand more than {MAX_NESTING} deep in each other"
        )));
    }
    Ok(())
}

/// Refuses what is not copied and would be missed.
pub(super) fn check_dense(graph: &GraphProto) -> Result<(), FrontendError> {
    if graph.sparse_initializer.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("graph `{}` holds sparse initializers; store them dense", graph.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::StringStringEntryProto;

    const LONG: usize = 1 << 16;

    fn copied(node: &NodeProto, given: Given<'_>, bytes_left: usize) -> bool {
        let mut budget = Budget { nodes_left: 8, bytes_left };
        let mut names = Names::of(&GraphProto::default());
        let mut copier = Copier { budget: &mut budget, names: &mut names, depth: 0 };
        copier.node(node, &mut Scope::default(), given).is_ok()
    }

    /// Whatever is long in a node that is copied is charged, and so is what a call gives it.
    #[test]
    fn all_that_is_copied_is_charged() {
        let text = "t".repeat(LONG);
        let bytes = text.clone().into_bytes();
        let (node, tensor, graph) = (NodeProto::default(), TensorProto::default(), GraphProto::default());
        let entry = StringStringEntryProto { key: text.clone(), value: String::new() };
        let tensors = [
            TensorProto { name: text.clone(), ..tensor.clone() },
            TensorProto { doc_string: text.clone(), ..tensor.clone() },
            TensorProto { string_data: vec![bytes.clone()], ..tensor.clone() },
            TensorProto { string_data: vec![Vec::new(); LONG], ..tensor.clone() },
            TensorProto { external_data: vec![entry], ..tensor.clone() },
            TensorProto { raw_data: bytes.clone(), ..tensor.clone() },
            TensorProto { dims: vec![1; LONG], ..tensor },
        ];
        let value = ValueInfoProto { name: text.clone(), ..ValueInfoProto::default() };
        let graphs = [
            GraphProto { name: text.clone(), ..graph.clone() },
            GraphProto { output: vec![value], ..graph.clone() },
            GraphProto { output: vec![ValueInfoProto::default(); LONG], ..graph.clone() },
            GraphProto { node: vec![NodeProto { domain: text.clone(), ..node.clone() }], ..graph },
        ];
        let attribute = AttributeProto::default();
        let mut attributes = vec![
            AttributeProto { name: text.clone(), ..attribute.clone() },
            AttributeProto { s: bytes.clone(), ..attribute.clone() },
            AttributeProto { strings: vec![bytes], ..attribute.clone() },
            AttributeProto { ints: vec![0; LONG], ..attribute.clone() },
            AttributeProto { floats: vec![0.0; LONG], ..attribute.clone() },
        ];
        attributes.extend(tensors.map(|t| AttributeProto { t: Some(t), ..attribute.clone() }));
        attributes.extend(graphs.map(|g| AttributeProto { g: Some(g), ..attribute.clone() }));
        let refers = AttributeProto { ref_attr_name: "given".to_owned(), ..attribute };
        let refers = NodeProto { attribute: vec![refers], ..node.clone() };
        for attribute in &attributes {
            let given = BTreeMap::from([("given", attribute)]);
            assert!(copied(&refers, Some(&given), 1 << 24) && !copied(&refers, Some(&given), LONG));
        }
        let mut nodes = vec![
            NodeProto { op_type: text.clone(), ..node.clone() },
            NodeProto { name: text.clone(), ..node.clone() },
            NodeProto { input: vec![text.clone()], ..node.clone() },
            NodeProto { output: vec![text], ..node.clone() },
        ];
        nodes.extend(attributes.into_iter().map(|a| NodeProto { attribute: vec![a], ..node.clone() }));
        for node in &nodes {
            assert!(copied(node, None, 1 << 24) && !copied(node, None, LONG));
        }
    }

    /// Graphs that calls give to each other stand in each other only so deep.
    #[test]
    fn graphs_stand_in_each_other_only_so_deep() {
        let nested = |depth: usize| {
            (0..depth).fold(NodeProto::default(), |node, _| {
                let g = Some(GraphProto { node: vec![node], ..GraphProto::default() });
                let attribute = vec![AttributeProto { g, ..AttributeProto::default() }];
                NodeProto { attribute, ..NodeProto::default() }
            })
        };
        let copied = |depth: usize| {
            let mut budget = Budget::default();
            let mut names = Names::of(&GraphProto::default());
            let mut copier = Copier { budget: &mut budget, names: &mut names, depth: 0 };
            copier.node(&nested(depth), &mut Scope::default(), None).is_ok()
        };
        assert!(copied(MAX_NESTING) && !copied(MAX_NESTING + 1));
    }
}
