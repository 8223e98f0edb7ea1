//! Builds circuits node by node, with the verifier's own laws checked at every step.
//!
//! Relies on: the op laws in `verify`. Promises: values come out in topological order with consecutive numbers;
//! layouts, maps and tensors are interned (equal content, one entry); a key is kept once per (kind, gadget), at
//! the highest level at which it is used, and the key table is sorted. A broken law is a bug of the compiler,
//! reported as the same [`LawError`] that the verifier would give.

use crate::circuit::{Circuit, Forecast, InputSpec, Node, OutputSpec, RangeCertificate};
use crate::layout::{Layout, LayoutId};
use crate::map::{LinearMap, MapId, Tensor, TensorId};
use crate::op::{Activation, KeyId, KeyedStep, LinearPlan, Op, Pairing, Plain, Step, ValueId};
use crate::scheme::{BootstrapRequest, Gadget, KeyKind, KeySpec, Level, Parameters, Scale};
use crate::verify::{Degree, LawError, ValueType, bootstraps, check_output_values, result_types};
use std::collections::BTreeMap;

/// A circuit under construction.
///
/// Between calls the circuit's key table holds provisional keys; [`CircuitBuilder::finish`] drops the unused
/// ones, sorts the rest and renumbers.
pub struct CircuitBuilder {
    circuit: Circuit,
    types: Vec<ValueType>,
    origin: Option<u32>,
    layouts: BTreeMap<Layout, LayoutId>,
    tensors: BTreeMap<[u8; 32], TensorId>,
    keys: BTreeMap<(KeyKind, Gadget), KeyId>,
    /// Keys of the bootstrapping's plan.
    planned: Vec<KeySpec>,
}

impl CircuitBuilder {
    /// An empty circuit of this name for these parameters.
    pub fn new(name: &str, parameters: Parameters) -> Result<CircuitBuilder, LawError> {
        if parameters.chain.is_empty() {
            return Err(LawError::TooSmall { what: "chain primes", least: 1, found: 0 });
        }
        let circuit = Circuit::empty(name, parameters);
        Ok(CircuitBuilder {
            circuit,
            types: vec![],
            origin: None,
            layouts: BTreeMap::new(),
            tensors: BTreeMap::new(),
            keys: BTreeMap::new(),
            planned: vec![],
        })
    }

    /// An empty circuit that can bootstrap like this; its parameters are those of the request's plan.
    pub fn bootstrapped(name: &str, request: BootstrapRequest) -> Result<CircuitBuilder, LawError> {
        let plan = request.plan()?;
        let mut builder = CircuitBuilder::new(name, plan.circuit())?;
        builder.circuit.bootstrap = Some(request);
        builder.planned = plan.keys;
        Ok(builder)
    }

    /// Interns a layout.
    pub fn layout(&mut self, layout: Layout) -> LayoutId {
        let next = LayoutId(self.circuit.layouts.len() as u32);
        *self.layouts.entry(layout.clone()).or_insert_with(|| {
            self.circuit.layouts.push(layout);
            next
        })
    }

    /// Interns a weight tensor by name, shape and bits.
    pub fn tensor(&mut self, tensor: Tensor) -> TensorId {
        let next = TensorId(self.circuit.tensors.len() as u32);
        *self.tensors.entry(identity(&tensor)).or_insert_with(|| {
            self.circuit.tensors.push(tensor);
            next
        })
    }

    /// Interns a linear map.
    pub fn map(&mut self, map: LinearMap) -> MapId {
        let maps = &mut self.circuit.maps;
        let index = maps.iter().position(|m| *m == map).unwrap_or_else(|| {
            maps.push(map);
            maps.len() - 1
        });
        MapId(index as u32)
    }

    /// Asks for a key that reaches at least `level`; the id is provisional and good for this builder's calls.
    pub fn key(&mut self, kind: KeyKind, level: Level, gadget: Gadget) -> KeyId {
        let keys = &mut self.circuit.keys;
        let id = *self.keys.entry((kind, gadget)).or_insert_with(|| {
            keys.push(KeySpec { kind, level, gadget });
            KeyId(keys.len() as u32 - 1)
        });
        let spec = &mut keys[id.0 as usize];
        spec.level = spec.level.max(level);
        id
    }

    /// A rotation step with its key (none for step 0) for values at `level`.
    pub fn keyed_step(&mut self, step: Step, level: Level, gadget: Gadget) -> KeyedStep {
        let key = (step.0 != 0).then(|| self.key(KeyKind::Rotation(step.0), level, gadget));
        KeyedStep { step, key }
    }

    /// Nodes from here on belong to this layer of the model (before the first call: to one without a name).
    pub fn origin(&mut self, layer: &str) {
        let origins = &mut self.circuit.origins;
        let index = origins.iter().position(|o| o == layer).unwrap_or_else(|| {
            origins.push(layer.to_owned());
            origins.len() - 1
        });
        self.origin = Some(index as u32);
    }

    /// Declares an input tensor and yields its ciphertexts.
    pub fn input(&mut self, spec: InputSpec) -> Result<Vec<ValueId>, LawError> {
        let input = self.circuit.inputs.len() as u32;
        let ciphertexts = self.circuit.layouts.get(spec.layout.0 as usize).map_or(1, |l| l.ciphertexts);
        self.circuit.inputs.push(spec);
        (0..ciphertexts).map(|ciphertext| self.one(Op::Input { input, ciphertext })).collect()
    }

    /// x + y.
    pub fn add(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Add(x, y))
    }
    /// x − y.
    pub fn sub(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Sub(x, y))
    }
    /// −x.
    pub fn neg(&mut self, x: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Neg(x))
    }
    /// x + p.
    pub fn add_plain(&mut self, x: ValueId, plain: Plain) -> Result<ValueId, LawError> {
        self.one(Op::AddPlain(x, plain))
    }
    /// x · p.
    pub fn mul_plain(&mut self, x: ValueId, plain: Plain) -> Result<ValueId, LawError> {
        self.one(Op::MulPlain(x, plain))
    }
    /// x · c.
    pub fn mul_scalar(&mut self, x: ValueId, factor: f64) -> Result<ValueId, LawError> {
        self.one(Op::MulScalar(x, factor))
    }
    /// x · y, degree 2.
    pub fn mul(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Mul(x, y))
    }
    /// Σ x_k · y_k, degree 2.
    pub fn sum_of_products(&mut self, pairs: Vec<(ValueId, ValueId)>) -> Result<ValueId, LawError> {
        self.one(Op::SumOfProducts(pairs))
    }
    /// Degree 2 to degree 1, with a key of this gadget.
    pub fn relinearize(&mut self, x: ValueId, gadget: Gadget) -> Result<ValueId, LawError> {
        let key = self.key(KeyKind::Relinearization, self.known(x)?.level, gadget);
        self.one(Op::Relinearize(x, key))
    }
    /// Division by the level's prime.
    pub fn rescale(&mut self, x: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Rescale(x))
    }
    /// Relinearize and rescale in one step, with a key of this gadget.
    pub fn relinearize_rescale(&mut self, x: ValueId, gadget: Gadget) -> Result<ValueId, LawError> {
        let key = self.key(KeyKind::Relinearization, self.known(x)?.level, gadget);
        self.one(Op::RelinearizeRescale(x, key))
    }
    /// Forgets limbs down to `to`; the scale stays.
    pub fn drop_level(&mut self, x: ValueId, to: Level) -> Result<ValueId, LawError> {
        self.one(Op::DropLevel(x, to))
    }
    /// Brings a canonical value to the canonical scale of the lower level `to`.
    pub fn adjust(&mut self, x: ValueId, to: Level) -> Result<ValueId, LawError> {
        self.one(Op::Adjust(x, to))
    }
    /// Rotation to the left, with a key of this gadget; step 0 is the value itself.
    pub fn rotate(&mut self, x: ValueId, step: Step, gadget: Gadget) -> Result<ValueId, LawError> {
        if step.0 == 0 {
            return Ok(x);
        }
        let keyed = self.keyed_step(step, self.known(x)?.level, gadget);
        self.one(Op::Rotate(x, keyed))
    }
    /// Complex conjugation, with a key of this gadget.
    pub fn conjugate(&mut self, x: ValueId, gadget: Gadget) -> Result<ValueId, LawError> {
        let key = self.key(KeyKind::Conjugation, self.known(x)?.level, gadget);
        self.one(Op::Conjugate(x, key))
    }
    /// An exact function; makes the circuit a draft.
    pub fn activation(&mut self, x: ValueId, function: Activation) -> Result<ValueId, LawError> {
        self.one(Op::Activation(x, function))
    }
    /// The pairing of a plan whose operands have `level`, by rotations of `half` or, where that is 0, of ciphertexts.
    pub fn pairing(&mut self, half: Step, level: Level, gadget: Gadget) -> Pairing {
        let half = self.keyed_step(half, level, gadget);
        Pairing { half, conjugate: self.key(KeyKind::Conjugation, level, gadget) }
    }
    /// A linear plan; its keys come from [`CircuitBuilder::keyed_step`] at the level of its operands.
    pub fn linear(&mut self, plan: LinearPlan) -> Result<Vec<ValueId>, LawError> {
        self.push(Op::Linear(plan))
    }

    /// The same slots, of parts of at most 1, at the top level.
    pub fn bootstrap(&mut self, x: ValueId) -> Result<ValueId, LawError> {
        self.one(Op::Bootstrap(x))
    }

    /// Declares an output tensor.
    pub fn output(&mut self, spec: OutputSpec) -> Result<(), LawError> {
        let ciphertexts = self.circuit.layouts.get(spec.layout.0 as usize).map_or(0, |l| l.ciphertexts);
        let types = spec.values.iter().map(|v| self.known(*v)).collect::<Result<Vec<_>, _>>()?;
        check_output_values(ciphertexts, &types)?;
        self.circuit.outputs.push(spec);
        Ok(())
    }

    /// Records a calibrated range.
    pub fn certificate(&mut self, certificate: RangeCertificate) {
        self.circuit.certificate.push(certificate);
    }

    /// Records the forecast.
    pub fn forecast(&mut self, forecast: Forecast) {
        self.circuit.forecast = forecast;
    }

    /// Level of a value that this builder made.
    pub fn level(&self, value: ValueId) -> Level {
        self.types[value.0 as usize].level
    }

    /// Exact scale of a value that this builder made.
    pub fn scale(&self, value: ValueId) -> &Scale {
        &self.types[value.0 as usize].scale
    }

    /// Degree of a value that this builder made.
    pub fn degree(&self, value: ValueId) -> Degree {
        self.types[value.0 as usize].degree
    }

    /// The circuit so far, with provisional keys (for cost estimates).
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The circuit, with its key table merged, trimmed to what is used, and sorted.
    pub fn finish(mut self) -> Circuit {
        let mut used: BTreeMap<KeyId, Level> = BTreeMap::new();
        for node in &self.circuit.nodes {
            let level = node.op.operands().first().map_or(Level(0), |v| self.types[v.0 as usize].level);
            for key in node.op.keys() {
                let entry = used.entry(key).or_insert(level);
                *entry = level.max(*entry);
            }
        }
        if bootstraps(&self.circuit) {
            for KeySpec { kind, level, gadget } in std::mem::take(&mut self.planned) {
                let entry = used.entry(self.key(kind, level, gadget)).or_insert(level);
                *entry = level.max(*entry);
            }
        }
        let provisional = std::mem::take(&mut self.circuit.keys);
        let mut kept: Vec<(KeySpec, KeyId)> = used
            .iter()
            .map(|(id, level)| (KeySpec { level: *level, ..provisional[id.0 as usize] }, *id))
            .collect();
        kept.sort();
        let renumbered: BTreeMap<KeyId, KeyId> =
            kept.iter().enumerate().map(|(k, (_, id))| (*id, KeyId(k as u32))).collect();
        self.circuit.keys = kept.into_iter().map(|(spec, _)| spec).collect();
        for node in &mut self.circuit.nodes {
            for key in node.op.keys_mut() {
                *key = renumbered[key];
            }
        }
        self.circuit
    }

    fn known(&self, value: ValueId) -> Result<&ValueType, LawError> {
        self.types.get(value.0 as usize).ok_or(LawError::Undefined(value))
    }

    fn one(&mut self, op: Op) -> Result<ValueId, LawError> {
        let values = self.push(op)?;
        Ok(values[0])
    }

    fn push(&mut self, op: Op) -> Result<Vec<ValueId>, LawError> {
        let operands = op.operands().into_iter().map(|v| self.known(v)).collect::<Result<Vec<_>, _>>()?;
        let results = result_types(&self.circuit, &op, &operands)?;
        if self.origin.is_none() {
            self.origin("");
        }
        let origin = self.origin.unwrap_or(0);
        let first = self.types.len() as u32;
        let node = Node { op, first: ValueId(first), results: results.len() as u32, origin };
        let values = (0..node.results).map(|k| ValueId(first + k)).collect();
        self.circuit.nodes.push(node);
        self.types.extend(results);
        Ok(values)
    }
}

/// Digest of a tensor's name, shape and value bits.
fn identity(tensor: &Tensor) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tensor.name.len() as u64).to_le_bytes());
    hasher.update(tensor.name.as_bytes());
    hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
    for dimension in &tensor.shape {
        hasher.update(&dimension.to_le_bytes());
    }
    // Piece by piece: a value alone is far below what the hash takes at once.
    for piece in tensor.values.chunks(1 << 14) {
        let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    *hasher.finalize().as_bytes()
}
