//! The walk over the ONNX nodes: each becomes nodes of the draft, or an entry in the list of what is unsupported.
//!
//! Needs a checked source and tract's analysis. Nodes whose results are constants are skipped, and so are nodes that
//! no output needs. Behind an unsupported node the walk goes on with the shape that tract knows, so that one run
//! reports everything; what reads a constant that was not folded is not blamed for it.

use super::call::{Call, Value};
use super::draft::{Draft, DraftKind, MAX_ELEMENTS, Output, TensorRef, size};
use super::error::{BadTensor, FrontendError, Refusal, Unsupported, refuse};
use super::inline::is_if;
use super::metadata::Metadata;
use super::ops::quantization::is_quantized;
use super::proto::{Source, is_onnx_domain, node_name};
use super::reference::Analysis;
use super::registry::{self, Outputs};
use crate::graph::{Kind, TensorGraph};
use cipherloom_ir::ClientStep;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::NodeProto;

/// Result of the walk.
pub(super) struct Lowered {
    pub graph: TensorGraph,
    /// ONNX tensors that hold the outputs before the steps that are left to the client.
    pub scores: Vec<String>,
    pub notes: Vec<String>,
}

/// Loop and Scan, whose bodies read tensors that are no operands; If has a reason of its own.
const CONTROL: &[&str] = &["Loop", "Scan"];

/// Operators whose function takes constants alone, with the same bits on every machine.
const OF_CONSTANTS: &[&str] = &["DequantizeLinear", "Sum"];

struct Walk<'a> {
    source: &'a Source,
    analysis: Analysis,
    draft: Draft,
    values: BTreeMap<String, Value>,
    /// Uses of each ONNX tensor by nodes that matter, and by outputs.
    uses: BTreeMap<String, usize>,
    /// For a tensor behind client steps, the ONNX tensor before them.
    scored: BTreeMap<String, String>,
    unsupported: Vec<Unsupported>,
}

/// Lowers a model.
pub(super) fn lower(
    source: &Source,
    analysis: Analysis,
    shape: &[usize],
    metadata: &Metadata,
) -> Result<Lowered, FrontendError> {
    let failure = analysis.failure.clone();
    let mut walk = Walk {
        source,
        analysis,
        draft: Draft::default(),
        values: BTreeMap::new(),
        uses: BTreeMap::new(),
        scored: BTreeMap::new(),
        unsupported: Vec::new(),
    };
    let needed = walk.count_uses();
    walk.start(shape);
    let graph = source.graph();
    for (k, node) in graph.node.iter().enumerate().filter(|(k, _)| needed.contains(k)) {
        walk.visit(node, k);
    }
    walk.finish(shape, metadata, failure)
}

impl Walk<'_> {
    /// Counts uses backwards from the outputs; the nodes that are needed and not constant.
    fn count_uses(&mut self) -> BTreeSet<usize> {
        let graph = self.source.graph();
        let mut needed = BTreeSet::new();
        for output in &graph.output {
            *self.uses.entry(output.name.clone()).or_default() += 1;
        }
        for (k, node) in graph.node.iter().enumerate().rev() {
            let wanted = node.output.iter().filter(|o| self.uses.contains_key(*o));
            if wanted.clone().next().is_none() || wanted.clone().all(|o| self.analysis.is_constant(o)) {
                continue;
            }
            needed.insert(k);
            for input in node.input.iter().filter(|i| !i.is_empty()) {
                *self.uses.entry(input.clone()).or_default() += 1;
            }
        }
        needed
    }

    fn start(&mut self, shape: &[usize]) {
        // The input keeps the axes that the client knows; a batch of one is none of them.
        let axes = if shape.len() > 1 && shape[0] == 1 { &shape[1..] } else { shape };
        let axes = if axes.is_empty() { vec![1] } else { axes.iter().map(|d| size(*d)).collect() };
        let node = self.draft.push(DraftKind::Graph(Kind::Input), Vec::new(), axes);
        let tensor = TensorRef { node, shape: shape.to_vec(), shared: true, client: Vec::new() };
        self.draft.nodes[tensor.node].names.push(self.source.input.clone());
        self.values.insert(self.source.input.clone(), Value::Tensor(tensor));
    }

    fn value(&self, name: &str) -> Value {
        match self.values.get(name) {
            Some(value) => value.clone(),
            None => self.analysis.constant(name).map_or(Value::Unknown, Value::Constant),
        }
    }

    fn visit(&mut self, node: &NodeProto, position: usize) {
        self.draft.origin = node_name(node).to_owned();
        let mut operands: Vec<Option<Value>> =
            node.input.iter().map(|i| (!i.is_empty()).then(|| self.value(i))).collect();
        let outputs = self.outputs(node);
        if outputs.len() > 1 {
            operands.iter_mut().flatten().for_each(shared);
        }
        let mut reported = false;
        for output in outputs {
            let result = self
                .lower_node(node, operands.clone(), output)
                .and_then(|value| self.checked(node, output, value));
            let value = result.unwrap_or_else(|Refusal { reason, remedy }| {
                if !std::mem::replace(&mut reported, true) {
                    let node_name = reported_name(node, position);
                    self.unsupported.push(Unsupported {
                        node: node_name,
                        op: node.op_type.clone(),
                        reason,
                        remedy,
                    });
                }
                if all_fixed(&operands) { Value::Unfolded } else { Value::Unknown }
            });
            self.bind(node, output, value);
        }
    }

    /// The outputs that are lowered: those that are used, where an operator has several, else the first.
    fn outputs(&self, node: &NodeProto) -> Vec<usize> {
        let each = registry::entry(&node.op_type).is_some_and(|e| e.outputs == Outputs::Each);
        let used = |k: &usize| self.uses.contains_key(&node.output[*k]);
        if each { (0..node.output.len()).filter(used).collect() } else { vec![0] }
    }

    fn lower_node(
        &mut self,
        node: &NodeProto,
        operands: Vec<Option<Value>>,
        output: usize,
    ) -> Result<Value, Refusal> {
        if !is_onnx_domain(&node.domain) {
            let reason = format!("operator domain `{}` is not ONNX's own", node.domain);
            return refuse(reason, "export with standard ONNX operators only");
        }
        if is_if(node) {
            return refuse(
                "which branch runs is not known before the input is",
                registry::remedy(&node.op_type),
            );
        }
        if CONTROL.contains(&node.op_type.as_str()) {
            return refuse("control flow is not supported", registry::remedy(&node.op_type));
        }
        let fixed = all_fixed(&operands);
        if fixed && operands.iter().any(|o| matches!(o, Some(Value::Unfolded))) {
            return Ok(Value::Unfolded);
        }
        if fixed && !OF_CONSTANTS.contains(&node.op_type.as_str()) {
            return refuse(
                "its operands are constants, and this operator is not folded: the bits would depend on the machine",
                "fold constants before export (onnx-simplifier, onnxruntime)",
            );
        }
        if !fixed && is_quantized(&node.op_type) {
            // One node says it for all.
            return match self.unsupported.iter().any(|u| is_quantized(&u.op)) {
                true => Ok(Value::Unknown),
                false => {
                    refuse("this is a quantized model, and circuits round nothing", "export the float model")
                }
            };
        }
        let Some(entry) = registry::entry(&node.op_type) else {
            return refuse("the operator is not supported", registry::remedy(&node.op_type));
        };
        if let Some(a) = node.attribute.iter().find(|a| !entry.attributes.contains(&a.name.as_str())) {
            let reason = format!("attribute `{}` is not known", a.name);
            return refuse(reason, "export with a standard ONNX operator set");
        }
        let others = node.output.iter().skip(1).any(|o| self.uses.contains_key(o));
        if entry.outputs == Outputs::First && others {
            return refuse("its second output is used", "use the first output only");
        }
        if operands.iter().any(|o| matches!(o, Some(Value::Unknown | Value::Unfolded))) {
            return Ok(Value::Unknown);
        }
        let opset = self.source.opset;
        (entry.lower)(&mut Call { node, operands, output, opset, draft: &mut self.draft })
    }

    /// Our shape must be tract's, where tract has one.
    fn checked(&self, node: &NodeProto, output: usize, value: Value) -> Result<Value, Refusal> {
        let Value::Tensor(tensor) = &value else { return Ok(value) };
        let elements = tensor.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if elements.is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
            return refuse(
                format!("its result has shape {:?}", tensor.shape),
                "tensors need at least one element and at most 2^28",
            );
        }
        let known = node.output.get(output).and_then(|o| self.analysis.shape(o));
        match known.filter(|s| *s != tensor.shape && tensor.client.is_empty()) {
            Some(other) => refuse(
                format!(
                    "its result has shape {:?}, but the reference evaluator says {other:?}",
                    tensor.shape
                ),
                "please report this model",
            ),
            None => Ok(value),
        }
    }

    fn bind(&mut self, node: &NodeProto, output: usize, value: Value) {
        let Some(name) = node.output.get(output).filter(|o| !o.is_empty()) else { return };
        let value = match value {
            Value::Tensor(mut tensor) => {
                let given = &mut self.draft.nodes[tensor.node].names;
                if tensor.client.is_empty() {
                    given.push(name.clone());
                } else {
                    let before = &node.input[0];
                    let scored = self.scored.get(before).unwrap_or(before).clone();
                    self.scored.insert(name.clone(), scored);
                }
                tensor.shared |= self.uses.get(name).is_some_and(|n| *n > 1);
                Value::Tensor(tensor)
            }
            Value::Unknown => match self.analysis.shape(name) {
                // Shapes that tract tells of what is refused may be those of no tensor: negative sizes wrap around.
                Some(shape) if elements(&shape).is_some_and(|n| n <= MAX_ELEMENTS) => {
                    let mut tensor = self.draft.tensor(DraftKind::Unsupported, vec![0], shape);
                    tensor.shared = true;
                    Value::Tensor(tensor)
                }
                _ => Value::Unknown,
            },
            constant => constant,
        };
        self.values.insert(name.clone(), value);
    }

    fn finish(
        mut self,
        shape: &[usize],
        metadata: &Metadata,
        failure: Option<String>,
    ) -> Result<Lowered, FrontendError> {
        let mut results: Vec<(String, TensorRef)> = Vec::new();
        for output in &self.source.graph().output {
            match self.value(&output.name) {
                Value::Tensor(tensor) => results.push((output.name.clone(), tensor)),
                Value::Constant(_) if self.unsupported.is_empty() => {
                    let reason = format!("output `{}` does not depend on the input", output.name);
                    return Err(FrontendError::Interface { reason });
                }
                Value::Comparison(_) => self.unsupported.push(lone_comparison(&output.name)),
                _ => {}
            }
        }
        let tensors: Vec<TensorRef> = results.iter().map(|(_, t)| t.clone()).collect();
        let erf: Vec<Unsupported> = self.draft.unfinished(&tensors).into_iter().map(lone_erf).collect();
        self.unsupported.extend(erf);
        if !self.unsupported.is_empty() {
            return Err(FrontendError::Unsupported { nodes: self.unsupported });
        }
        if let Some(reason) = failure {
            return Err(FrontendError::Reference { reason });
        }
        let scores = results.iter().map(|(n, _)| self.scored.get(n).unwrap_or(n).clone()).collect();
        let mut notes = std::mem::take(&mut self.draft.notes);
        let mut outputs = Vec::new();
        for (k, (name, tensor)) in results.into_iter().enumerate() {
            let steps = tensor.client.iter();
            notes
                .extend(steps.map(|s| format!("{} of output `{name}` is left to the client", step_name(*s))));
            let labels = if k == 0 { metadata.labels_for(tensor.elements())? } else { Vec::new() };
            outputs.push(Output { name, tensor, labels });
        }
        let channels = if shape.len() > 2 { shape[1] } else { 1 };
        let preprocessing = metadata.preprocessing_for(channels)?;
        let mut graph = self.draft.finish(preprocessing, outputs, metadata);
        graph.name = self.source.graph().name.clone();
        check_folded(&graph)?;
        Ok(Lowered { graph, scores, notes })
    }
}

/// Elements of a shape, if they can be counted.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, extent| n.checked_mul(*extent))
}

/// Whether a node's operands are the same for every input.
fn all_fixed(operands: &[Option<Value>]) -> bool {
    operands.iter().flatten().all(Value::is_fixed)
}

/// Marks a tensor as read by several.
fn shared(value: &mut Value) {
    if let Value::Tensor(tensor) = value {
        tensor.shared = true;
    }
}

/// Name under which a node is reported, also where it has none at all.
fn reported_name(node: &NodeProto, position: usize) -> String {
    if node.name.is_empty() && node.output.iter().all(String::is_empty) {
        format!("#{position}")
    } else {
        node_name(node).to_owned()
    }
}

/// Largest weight that is taken: products of two stay in the range of float32, so that no later stage leaves it.
const MAX_WEIGHT: f32 = (1u128 << 64) as f32;

/// Weights of the file are finite, but what folding made of them need not fit float32, or may be absurdly large.
fn check_folded(graph: &TensorGraph) -> Result<(), FrontendError> {
    let bad = |tensor: &str, what: &str| BadTensor {
        tensor: tensor.to_owned(),
        reason: format!(
            "{what} leaves the range of float32 when constants are folded; scale the weights down"
        ),
    };
    let broken = graph.tensors.iter().filter(|t| t.values.iter().any(|v| !v.is_finite()));
    let mut tensors: Vec<BadTensor> = broken.map(|t| bad(&t.name, "a value")).collect();
    for tensor in &graph.tensors {
        let largest = tensor.values.iter().fold(0f32, |m, v| m.max(v.abs()));
        if largest.is_finite() && largest > MAX_WEIGHT {
            let reason =
                format!("a value has magnitude {largest:e}, at most 2^64 is taken; scale the weights down");
            tensors.push(BadTensor { tensor: tensor.name.clone(), reason });
        }
    }
    for node in graph.order().map(|id| graph.node(id)) {
        if matches!(&node.kind, Kind::Linear { scale, .. } if !(*scale as f32).is_finite()) {
            tensors.push(bad(&node.name, "the factor of its layer"));
        }
    }
    if tensors.is_empty() { Ok(()) } else { Err(FrontendError::Weights { tensors }) }
}

fn step_name(step: ClientStep) -> &'static str {
    match step {
        ClientStep::Softmax => "Softmax",
        ClientStep::ArgMax => "ArgMax",
    }
}

fn lone_comparison(output: &str) -> Unsupported {
    Unsupported {
        node: output.to_owned(),
        op: "comparison".to_owned(),
        reason: "an output that compares encrypted values is supported as the condition of Where only"
            .to_owned(),
        remedy: "compare after decryption".to_owned(),
    }
}

fn lone_erf(node: &str) -> Unsupported {
    Unsupported {
        node: node.to_owned(),
        op: "Erf".to_owned(),
        reason: "Erf is supported inside the Gelu pattern only".to_owned(),
        remedy: registry::remedy("Erf").to_owned(),
    }
}
