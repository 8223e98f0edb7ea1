//! The structs that a circuit's description is made of, and how they become a circuit.
//!
//! Descriptors without a compact form of their own (layouts, maps, parameters, keys) stand as they are. Not
//! stored, since they follow: numbers of values, counts of results, weights.

use super::FormatError;
use super::products::Space;
use crate::circuit::{Circuit, Forecast, InputSpec, Node, OutputSpec, RangeCertificate};
use crate::layout::Layout;
use crate::map::{LinearMap, Tensor};
use crate::op::{
    Activation, Hoisting, KeyId, KeyedStep, LinearPlan, Op, Pairing, Plain, Product, Source, ValueId,
};
use crate::scheme::{BootstrapRequest, KeySpec, Level, Parameters};
use crate::verify::bounds::MAX_DIAGONALS;
use serde::{Deserialize, Serialize};

/// A circuit without its weights.
#[derive(Serialize, Deserialize)]
pub(super) struct FileCircuit {
    name: String,
    parameters: Parameters,
    keys: Vec<KeySpec>,
    tensors: Vec<FileTensor>,
    layouts: Vec<Layout>,
    maps: Vec<LinearMap>,
    inputs: Vec<InputSpec>,
    origins: Vec<String>,
    nodes: Vec<FileNode>,
    outputs: Vec<OutputSpec>,
    certificate: Vec<RangeCertificate>,
    forecast: Forecast,
}

#[derive(Serialize, Deserialize)]
struct FileTensor {
    name: String,
    shape: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct FileNode {
    origin: u32,
    op: FileOp,
}

#[derive(Serialize, Deserialize)]
enum FileOp {
    Input { input: u32, ciphertext: u32 },
    Add(ValueId, ValueId),
    Sub(ValueId, ValueId),
    Neg(ValueId),
    AddPlain(ValueId, Plain),
    MulPlain(ValueId, Plain),
    MulScalar(ValueId, f64),
    Mul(ValueId, ValueId),
    SumOfProducts(Vec<(ValueId, ValueId)>),
    Relinearize(ValueId, KeyId),
    Rescale(ValueId),
    RelinearizeRescale(ValueId, KeyId),
    DropLevel(ValueId, Level),
    Adjust(ValueId, Level),
    Rotate(ValueId, KeyedStep),
    Conjugate(ValueId, KeyId),
    Activation(ValueId, Activation),
    Linear(FilePlan),
    Bootstrap(ValueId),
}

/// The section of a circuit that bootstraps.
#[derive(Serialize, Deserialize)]
pub(super) struct FileBootstrap {
    request: Option<BootstrapRequest>,
    /// Primes above the chain.
    raised: Vec<u64>,
}

impl FileBootstrap {
    /// What is written for a circuit, where anything is.
    pub(super) fn of(circuit: &Circuit) -> Option<FileBootstrap> {
        let (request, raised) = (circuit.bootstrap, circuit.parameters.raised.clone());
        (request.is_some() || !raised.is_empty()).then_some(FileBootstrap { request, raised })
    }

    /// Puts it into the circuit that it was written for.
    pub(super) fn join(self, circuit: &mut Circuit) {
        (circuit.bootstrap, circuit.parameters.raised) = (self.request, self.raised);
    }
}

#[derive(Serialize, Deserialize)]
struct FilePlan {
    sources: Vec<Source>,
    babies: Vec<KeyedStep>,
    giants: Vec<KeyedStep>,
    outputs: u32,
    hoisting: Hoisting,
    rescale: bool,
    pairing: Option<Pairing>,
    products: FileProducts,
}

#[derive(Serialize, Deserialize)]
enum FileProducts {
    /// Run lengths, absent and present in turn.
    Runs(Vec<u64>),
    /// One by one: lists that no verified circuit holds (unsorted, or out of range).
    List(Vec<Product>),
}

impl FileCircuit {
    /// What is written for a circuit.
    pub(super) fn of(circuit: &Circuit) -> FileCircuit {
        let tensor = |t: &Tensor| FileTensor { name: t.name.clone(), shape: t.shape.clone() };
        let node = |n: &Node| FileNode { origin: n.origin, op: FileOp::of(&n.op) };
        FileCircuit {
            name: circuit.name.clone(),
            parameters: circuit.parameters.without_raised(),
            keys: circuit.keys.clone(),
            tensors: circuit.tensors.iter().map(tensor).collect(),
            layouts: circuit.layouts.clone(),
            maps: circuit.maps.clone(),
            inputs: circuit.inputs.clone(),
            origins: circuit.origins.clone(),
            nodes: circuit.nodes.iter().map(node).collect(),
            outputs: circuit.outputs.clone(),
            certificate: circuit.certificate.clone(),
            forecast: circuit.forecast,
        }
    }

    /// The circuit with these weights.
    pub(super) fn into_circuit(self, weights: &[u8]) -> Result<Circuit, FormatError> {
        let tensors = read_tensors(self.tensors, weights)?;
        let mut budget = MAX_DIAGONALS;
        let mut next = 0u32;
        let mut nodes = vec![];
        for FileNode { origin, op } in self.nodes {
            let op = op.into_op(&mut budget)?;
            let results = if let Op::Linear(plan) = &op { plan.outputs } else { 1 };
            nodes.push(Node { op, first: ValueId(next), results, origin });
            next = next.checked_add(results).ok_or(FormatError::TooManyValues)?;
        }
        Ok(Circuit {
            name: self.name,
            parameters: self.parameters,
            bootstrap: None,
            keys: self.keys,
            tensors,
            layouts: self.layouts,
            maps: self.maps,
            inputs: self.inputs,
            origins: self.origins,
            nodes,
            outputs: self.outputs,
            certificate: self.certificate,
            forecast: self.forecast,
        })
    }
}

/// Cuts the weight section by the tensors' shapes.
fn read_tensors(tensors: Vec<FileTensor>, weights: &[u8]) -> Result<Vec<Tensor>, FormatError> {
    let bytes = |t: &FileTensor| t.shape.iter().fold(4u64, |n, &d| n.saturating_mul(d.into()));
    let expected = tensors.iter().map(bytes).fold(0, u64::saturating_add);
    let found = weights.len() as u64;
    if expected != found {
        return Err(FormatError::Weights { expected, found });
    }
    let mut rest = weights;
    let cut = |t: FileTensor| {
        let (own, after) = rest.split_at(bytes(&t) as usize);
        rest = after;
        let values = own.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Tensor { name: t.name, shape: t.shape, values }
    };
    Ok(tensors.into_iter().map(cut).collect())
}

impl FileOp {
    fn of(op: &Op) -> FileOp {
        match op.clone() {
            Op::Input { input, ciphertext } => FileOp::Input { input, ciphertext },
            Op::Add(x, y) => FileOp::Add(x, y),
            Op::Sub(x, y) => FileOp::Sub(x, y),
            Op::Neg(x) => FileOp::Neg(x),
            Op::AddPlain(x, p) => FileOp::AddPlain(x, p),
            Op::MulPlain(x, p) => FileOp::MulPlain(x, p),
            Op::MulScalar(x, c) => FileOp::MulScalar(x, c),
            Op::Mul(x, y) => FileOp::Mul(x, y),
            Op::SumOfProducts(pairs) => FileOp::SumOfProducts(pairs),
            Op::Relinearize(x, key) => FileOp::Relinearize(x, key),
            Op::Rescale(x) => FileOp::Rescale(x),
            Op::RelinearizeRescale(x, key) => FileOp::RelinearizeRescale(x, key),
            Op::DropLevel(x, to) => FileOp::DropLevel(x, to),
            Op::Adjust(x, to) => FileOp::Adjust(x, to),
            Op::Rotate(x, step) => FileOp::Rotate(x, step),
            Op::Conjugate(x, key) => FileOp::Conjugate(x, key),
            Op::Activation(x, f) => FileOp::Activation(x, f),
            Op::Linear(plan) => FileOp::Linear(FilePlan::of(plan)),
            Op::Bootstrap(x) => FileOp::Bootstrap(x),
        }
    }

    fn into_op(self, budget: &mut u64) -> Result<Op, FormatError> {
        Ok(match self {
            FileOp::Input { input, ciphertext } => Op::Input { input, ciphertext },
            FileOp::Add(x, y) => Op::Add(x, y),
            FileOp::Sub(x, y) => Op::Sub(x, y),
            FileOp::Neg(x) => Op::Neg(x),
            FileOp::AddPlain(x, p) => Op::AddPlain(x, p),
            FileOp::MulPlain(x, p) => Op::MulPlain(x, p),
            FileOp::MulScalar(x, c) => Op::MulScalar(x, c),
            FileOp::Mul(x, y) => Op::Mul(x, y),
            FileOp::SumOfProducts(pairs) => Op::SumOfProducts(pairs),
            FileOp::Relinearize(x, key) => Op::Relinearize(x, key),
            FileOp::Rescale(x) => Op::Rescale(x),
            FileOp::RelinearizeRescale(x, key) => Op::RelinearizeRescale(x, key),
            FileOp::DropLevel(x, to) => Op::DropLevel(x, to),
            FileOp::Adjust(x, to) => Op::Adjust(x, to),
            FileOp::Rotate(x, step) => Op::Rotate(x, step),
            FileOp::Conjugate(x, key) => Op::Conjugate(x, key),
            FileOp::Activation(x, f) => Op::Activation(x, f),
            FileOp::Linear(plan) => Op::Linear(plan.into_plan(budget)?),
            FileOp::Bootstrap(x) => Op::Bootstrap(x),
        })
    }
}

impl FilePlan {
    fn of(plan: LinearPlan) -> FilePlan {
        let products = match Space::of(&plan).runs(&plan.products) {
            Some(runs) => FileProducts::Runs(runs),
            None => FileProducts::List(plan.products),
        };
        let LinearPlan { sources, babies, giants, outputs, hoisting, rescale, pairing, .. } = plan;
        FilePlan { sources, babies, giants, outputs, hoisting, rescale, pairing, products }
    }

    fn into_plan(self, budget: &mut u64) -> Result<LinearPlan, FormatError> {
        let FilePlan { sources, babies, giants, outputs, hoisting, rescale, pairing, products } = self;
        let mut plan =
            LinearPlan { sources, babies, giants, products: vec![], pairing, outputs, hoisting, rescale };
        plan.products = match products {
            FileProducts::Runs(runs) => Space::of(&plan).products(&runs, budget)?,
            FileProducts::List(list) => list,
        };
        Ok(plan)
    }
}
