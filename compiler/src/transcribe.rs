//! Copies a circuit's tables and operations into another circuit, for stages that change when and where operations are done.
//!
//! Relies on the builder, which checks every law and merges keys. Promises: tables of layouts and tensors as they were, maps
//! that are used, inputs, outputs, ranges and layers of the circuit that came. Operands are the caller's, in the new circuit.

use crate::error::CompileError;
use cipherloom_ir::scheme::Gadget;
use cipherloom_ir::{
    Circuit, CircuitBuilder, KeyedStep, LinearMap, LinearPlan, MapId, Op, OutputSpec, ValueId,
};
use std::collections::BTreeMap;

/// A circuit that is being written anew.
pub(crate) struct Transcript<'a> {
    circuit: &'a Circuit,
    maps: &'a [LinearMap],
    /// The new circuit.
    pub(crate) builder: CircuitBuilder,
    gadget: Option<Gadget>,
    /// Ciphertexts of the inputs, in the new circuit.
    pub(crate) inputs: Vec<Vec<ValueId>>,
    known: BTreeMap<MapId, MapId>,
}

impl<'a> Transcript<'a> {
    /// Starts with the tables and inputs of `circuit`; plans name entries of `maps`, keys get `gadget`.
    pub(crate) fn new(
        circuit: &'a Circuit,
        maps: &'a [LinearMap],
        mut builder: CircuitBuilder,
        gadget: Option<Gadget>,
    ) -> Result<Transcript<'a>, CompileError> {
        for layout in &circuit.layouts {
            builder.layout(layout.clone());
        }
        for tensor in &circuit.tensors {
            builder.tensor(tensor.clone());
        }
        for origin in &circuit.origins {
            builder.origin(origin);
        }
        let first = circuit.nodes.first().map_or(0, |n| n.origin);
        builder.origin(&circuit.origins[first as usize]);
        let inputs =
            circuit.inputs.iter().map(|spec| builder.input(spec.clone())).collect::<Result<_, _>>()?;
        Ok(Transcript { circuit, maps, builder, gadget, inputs, known: BTreeMap::new() })
    }

    /// Operations from here on belong to this layer of the circuit that came.
    pub(crate) fn origin(&mut self, origin: u32) {
        self.builder.origin(&self.circuit.origins[origin as usize]);
    }

    /// The values of an operation on operands of the new circuit.
    pub(crate) fn op(&mut self, op: Op) -> Result<Vec<ValueId>, CompileError> {
        if let Op::Linear(plan) = op {
            return self.plan(plan);
        }
        Ok(vec![self.single(op)?])
    }

    fn gadget(&self) -> Result<Gadget, CompileError> {
        self.gadget.ok_or_else(|| CompileError::Internal("a circuit without keys switches one".into()))
    }

    fn single(&mut self, op: Op) -> Result<ValueId, CompileError> {
        let builder = &mut self.builder;
        Ok(match op {
            Op::Add(x, y) => builder.add(x, y)?,
            Op::Sub(x, y) => builder.sub(x, y)?,
            Op::Neg(x) => builder.neg(x)?,
            Op::AddPlain(x, plain) => builder.add_plain(x, plain)?,
            Op::MulPlain(x, plain) => builder.mul_plain(x, plain)?,
            Op::MulScalar(x, factor) => builder.mul_scalar(x, factor)?,
            Op::Mul(x, y) => builder.mul(x, y)?,
            Op::SumOfProducts(pairs) => builder.sum_of_products(pairs)?,
            Op::Rescale(x) => builder.rescale(x)?,
            Op::DropLevel(x, to) => builder.drop_level(x, to)?,
            Op::Adjust(x, to) => builder.adjust(x, to)?,
            Op::Activation(x, function) => builder.activation(x, function)?,
            keyed => {
                let gadget = self.gadget()?;
                let builder = &mut self.builder;
                match keyed {
                    Op::Relinearize(x, _) => builder.relinearize(x, gadget)?,
                    Op::RelinearizeRescale(x, _) => builder.relinearize_rescale(x, gadget)?,
                    Op::Rotate(x, KeyedStep { step, .. }) => builder.rotate(x, step, gadget)?,
                    Op::Conjugate(x, _) => builder.conjugate(x, gadget)?,
                    other => {
                        let name = other.name();
                        return Err(CompileError::Internal(format!("{name} is not an operation to copy")));
                    }
                }
            }
        })
    }

    fn plan(&mut self, mut plan: LinearPlan) -> Result<Vec<ValueId>, CompileError> {
        for source in &mut plan.sources {
            let map = &self.maps[source.map.0 as usize];
            let builder = &mut self.builder;
            source.map = *self.known.entry(source.map).or_insert_with(|| builder.map(map.clone()));
        }
        let first = plan.sources.first().and_then(|s| s.values.first());
        let level = first.map_or(self.circuit.parameters.top(), |v| self.builder.level(*v));
        for keyed in plan.babies.iter_mut().chain(&mut plan.giants).filter(|s| s.key.is_some()) {
            let gadget = self.gadget.ok_or_else(|| CompileError::Internal("a plan lost its keys".into()))?;
            *keyed = self.builder.keyed_step(keyed.step, level, gadget);
        }
        if let Some(pairing) = plan.pairing {
            let gadget = self.gadget.ok_or_else(|| CompileError::Internal("a plan lost its keys".into()))?;
            plan.pairing = Some(self.builder.pairing(pairing.half.step, level, gadget));
        }
        Ok(self.builder.linear(plan)?)
    }

    /// The circuit with these output values.
    pub(crate) fn finish(mut self, values: &[ValueId]) -> Result<Circuit, CompileError> {
        let mut rest = values;
        for output in &self.circuit.outputs {
            let (own, after) = rest.split_at(output.values.len());
            rest = after;
            self.builder.output(OutputSpec { values: own.to_vec(), ..output.clone() })?;
        }
        for certificate in &self.circuit.certificate {
            self.builder.certificate(certificate.clone());
        }
        self.builder.forecast(self.circuit.forecast);
        Ok(self.builder.finish())
    }
}
