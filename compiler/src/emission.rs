//! Stage 6, emission: the circuit, with eager rescaling.
//!
//! Does: emits the operations of every node in order. A linear map is one plan that rescales in its last mod-down;
//! folds and copies rotate and add one level lower, and the bias is added after them (before a fold every partial sum would
//! receive it). A square relinearises and rescales in one step; polynomials are nested squares (see
//! [`form`](crate::activation::form)) or sums of products with
//! Chebyshev polynomials ([`series`](crate::activation::series)). Operands that stand too high are dropped where the
//! op's law corrects the scale (linear maps, products with numbers) and adjusted elsewhere. Where the ring has more slots than the packing was made for,
//! so many images are interleaved: layouts and steps are spread by that factor. Needs: packing, levels, parameters. Leaves: a
//! circuit without forecast. Why here: everything it writes down has been decided.

mod polynomial;
mod series;

use crate::activation::form::Form;
use crate::activation::input_range;
use crate::error::CompileError;
use crate::graph::{Function, Kind, NodeId};
use crate::packing::{Arranged, Choice, LinearChoice};
use crate::rotation::{Split, SplitProduct};
use crate::saturate::rotation::{Merged, Rotation};
use cipherloom_ir::scheme::{Gadget, Level, Parameters};
use cipherloom_ir::{
    Circuit, CircuitBuilder, Digit, InputSpec, LawError, LayoutId, LinearMap, LinearPlan, MapId, Operator,
    OutputSpec, Plain, Product, RangeCertificate, Source, Step, TensorId, ValueId,
};

impl From<LawError> for CompileError {
    fn from(error: LawError) -> CompileError {
        CompileError::Internal(error.to_string())
    }
}

/// What the emission works from.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Layers, levels, layouts and kernels.
    pub arranged: &'a Arranged,
    /// Sums that are one plan, and detours of folds.
    pub rotation: &'a Rotation,
    /// Gadget of every key.
    pub gadget: Gadget,
    /// What the client multiplies each output by.
    pub output_scales: &'a [f64],
    /// Ranges of the fitted activations.
    pub certificate: &'a [RangeCertificate],
}

/// Emits the circuit for these parameters; the chain must have the levels that were planned, or more.
pub fn emit(plan: &Plan<'_>, parameters: &Parameters) -> Result<Circuit, CompileError> {
    let builder = CircuitBuilder::new(&plan.arranged.graph.name, parameters.clone())?;
    let slots = plan.arranged.packed.layouts.first().map_or(1, |placed| placed.layout.slots);
    let batch = parameters.slots() as u32 / slots;
    let mut emitter = Emitter { plan: *plan, batch, builder, values: Vec::new() };
    for id in plan.arranged.graph.order() {
        emitter.builder.origin(&plan.arranged.graph.node(id).name);
        let values = emitter.node(id)?;
        emitter.values.push(values);
    }
    emitter.outputs()?;
    for certificate in plan.certificate {
        emitter.builder.certificate(certificate.clone());
    }
    Ok(emitter.builder.finish())
}

struct Emitter<'a> {
    plan: Plan<'a>,
    /// Images that are interleaved.
    batch: u32,
    builder: CircuitBuilder,
    values: Vec<Vec<ValueId>>,
}

impl Emitter<'_> {
    fn layout(&mut self, id: NodeId) -> LayoutId {
        let layout = self.plan.arranged.packed.layouts[id.0 as usize].layout.clone();
        self.builder.layout(layout.interleaved(self.batch))
    }

    /// A step between slots of one image, in the ring.
    fn step(&self, step: u32) -> Step {
        Step(step * self.batch)
    }

    fn operand(&self, id: NodeId, position: usize) -> Vec<ValueId> {
        let operand = self.plan.arranged.graph.operands(id)[position];
        self.values[operand.0 as usize].clone()
    }

    fn node(&mut self, id: NodeId) -> Result<Vec<ValueId>, CompileError> {
        let graph = &self.plan.arranged.graph;
        match &graph.node(id).kind {
            Kind::Input => self.input(id),
            // It is part of the plan of the sum that reads it.
            Kind::Linear { .. } if self.is_merged(id) => Ok(vec![]),
            Kind::Linear { operators, scale, bias } => {
                let values = match &self.plan.arranged.packed.choices[id.0 as usize] {
                    Choice::Linear(choice) => self.linear(id, operators, *scale, choice)?,
                    Choice::Keep => self.scaled(id, *scale)?,
                };
                self.add_bias(id, values, *bias)
            }
            Kind::Elementwise(Function::Square) => {
                let values = self.canonical(id, 0)?;
                self.each(values, |e, v| e.square(v))
            }
            Kind::Elementwise(Function::Exact(function)) => {
                let values = self.operand(id, 0);
                self.each(values, |e, v| Ok(e.builder.activation(v, function.clone())?))
            }
            Kind::Elementwise(Function::Polynomial { coefficients, range, .. }) => {
                let values = self.canonical(id, 0)?;
                if !Form::has(coefficients.len() - 1) {
                    return self.each(values, |e, v| e.series(v, coefficients, *range));
                }
                let form = polynomial::form(coefficients, *range, &graph.node(id).name)?;
                self.each(values, |e, v| e.polynomial(v, &form))
            }
            Kind::Add => match self.plan.rotation.merged.get(&(id.0 as usize)) {
                Some(merged) => self.merged(id, merged),
                None => self.pairs(id, |b, x, y| b.add(x, y)),
            },
            Kind::Sub => self.pairs(id, |b, x, y| b.sub(x, y)),
            Kind::Mul => {
                let gadget = self.plan.gadget;
                self.pairs(id, |b, x, y| {
                    let product = b.mul(x, y)?;
                    b.relinearize_rescale(product, gadget)
                })
            }
            Kind::Concat { .. } => Err(CompileError::Internal("a concatenation reached the emission".into())),
        }
    }

    fn each(
        &mut self,
        values: Vec<ValueId>,
        mut f: impl FnMut(&mut Self, ValueId) -> Result<ValueId, CompileError>,
    ) -> Result<Vec<ValueId>, CompileError> {
        values.into_iter().map(|v| f(self, v)).collect()
    }

    fn pairs(
        &mut self,
        id: NodeId,
        mut f: impl FnMut(&mut CircuitBuilder, ValueId, ValueId) -> Result<ValueId, LawError>,
    ) -> Result<Vec<ValueId>, CompileError> {
        let (x, y) = (self.canonical(id, 0)?, self.canonical(id, 1)?);
        x.into_iter().zip(y).map(|(x, y)| Ok(f(&mut self.builder, x, y)?)).collect()
    }

    /// Operand values at the level where the node starts, at the canonical scale.
    fn canonical(&mut self, id: NodeId, position: usize) -> Result<Vec<ValueId>, CompileError> {
        let level = self.plan.arranged.levels.before(&self.plan.arranged.graph, id);
        let values = self.operand(id, position);
        self.each(values, |e, v| e.lowered(v, level))
    }

    /// A canonical value at a level.
    fn lowered(&mut self, value: ValueId, level: Level) -> Result<ValueId, CompileError> {
        Ok(if self.builder.level(value) > level { self.builder.adjust(value, level)? } else { value })
    }

    /// Operand values at the level where the node starts, with whatever scale they have.
    fn dropped(&mut self, id: NodeId) -> Result<Vec<ValueId>, CompileError> {
        let level = self.plan.arranged.levels.before(&self.plan.arranged.graph, id);
        let values = self.operand(id, 0);
        self.each(values, |e, v| e.down_to(v, level))
    }

    fn down_to(&mut self, value: ValueId, level: Level) -> Result<ValueId, CompileError> {
        Ok(if self.builder.level(value) > level { self.builder.drop_level(value, level)? } else { value })
    }

    fn input(&mut self, id: NodeId) -> Result<Vec<ValueId>, CompileError> {
        let graph = &self.plan.arranged.graph;
        let input = graph.input.as_ref().ok_or(CompileError::Incomplete { what: "input" })?;
        let spec = InputSpec {
            name: graph.node(id).name.clone(),
            layout: self.layout(id),
            preprocessing: input.preprocessing.clone(),
            range: input_range(graph),
        };
        Ok(self.builder.input(spec)?)
    }

    fn linear(
        &mut self,
        id: NodeId,
        operators: &[Operator],
        scale: f64,
        choice: &LinearChoice,
    ) -> Result<Vec<ValueId>, CompileError> {
        let values = self.dropped(id)?;
        let source = Source { map: self.map(id, operators, scale, choice), values };
        let partial = self.sweep(id, vec![source], &choice.split, u32::MAX)?;
        let gadget = self.plan.gadget;
        let rotation = self.plan.rotation;
        self.each(partial, |e, mut v| {
            for turn in choice.kernel.turns() {
                let mut rotated = v;
                for step in rotation.steps(id.0 as usize, turn) {
                    rotated = e.builder.rotate(rotated, e.step(step), gadget)?;
                }
                v = e.builder.add(v, rotated)?;
            }
            Ok(v)
        })
    }

    /// The map of a layer in its layouts.
    fn map(&mut self, id: NodeId, operators: &[Operator], scale: f64, choice: &LinearChoice) -> MapId {
        let map = LinearMap {
            operators: operators.iter().map(|o| self.operator(o)).collect(),
            scale,
            input: self.layout(self.plan.arranged.graph.operands(id)[0]),
            output: self.builder.layout(choice.kernel.output.clone().interleaved(self.batch)),
            fold: choice.kernel.fold.iter().map(|d| Digit { stride: d.stride * self.batch, ..*d }).collect(),
        };
        self.builder.map(map)
    }

    /// One plan that starts at the level of `id`; from input `first_inputs` on, the inputs of the split are those of the
    /// second source.
    fn sweep(
        &mut self,
        id: NodeId,
        sources: Vec<Source>,
        split: &Split,
        first_inputs: u32,
    ) -> Result<Vec<ValueId>, CompileError> {
        let level = self.plan.arranged.levels.before(&self.plan.arranged.graph, id);
        let (gadget, batch) = (self.plan.gadget, self.batch);
        let mut keyed = |steps: &[u32]| -> Vec<_> {
            steps.iter().map(|s| self.builder.keyed_step(Step(s * batch), level, gadget)).collect()
        };
        let (babies, giants) = (keyed(&split.babies), keyed(&split.giants));
        let product = |p: &SplitProduct| {
            let source = u32::from(p.input >= first_inputs);
            let input = p.input - source * first_inputs.min(p.input);
            Product { output: p.output, giant: p.giant, source, input, baby: p.baby }
        };
        let mut products: Vec<Product> = split.products.iter().map(product).collect();
        products.sort_unstable();
        let outputs = products.iter().map(|p| p.output + 1).max().unwrap_or(0);
        let hoisting = split.hoisting;
        let half = split.pairs.half().map(|half| self.step(half.0));
        let pairing = half.map(|half| self.builder.pairing(half, level, gadget));
        let plan =
            LinearPlan { sources, babies, giants, products, pairing, outputs, hoisting, rescale: true };
        Ok(self.builder.linear(plan)?)
    }

    /// Whether a linear map is part of the plan of the sum that reads it.
    fn is_merged(&self, id: NodeId) -> bool {
        let readers = self.plan.arranged.graph.consumers(id);
        readers.iter().any(|r| self.plan.rotation.merged.contains_key(&(r.0 as usize)))
    }

    /// Both maps of a sum in one plan, then their biases.
    fn merged(&mut self, id: NodeId, merged: &Merged) -> Result<Vec<ValueId>, CompileError> {
        let graph = &self.plan.arranged.graph;
        let operands = graph.operands(id);
        let mut sources = Vec::new();
        for operand in &operands {
            let (Kind::Linear { operators, scale, .. }, Choice::Linear(choice)) =
                (&graph.node(*operand).kind, &self.plan.arranged.packed.choices[operand.0 as usize])
            else {
                return Err(CompileError::Internal("a plan of two maps reads something else".into()));
            };
            let values = self.canonical(*operand, 0)?;
            sources.push(Source { map: self.map(*operand, operators, *scale, choice), values });
        }
        let mut values = self.sweep(operands[0], sources, &merged.split, merged.first_inputs)?;
        for operand in operands {
            if let Kind::Linear { bias, .. } = &graph.node(operand).kind {
                values = self.add_bias(operand, values, *bias)?;
            }
        }
        Ok(values)
    }

    /// A map that is only a factor.
    fn scaled(&mut self, id: NodeId, scale: f64) -> Result<Vec<ValueId>, CompileError> {
        let values = self.dropped(id)?;
        self.each(values, |e, v| {
            let product = e.builder.mul_scalar(v, scale)?;
            Ok(e.builder.rescale(product)?)
        })
    }

    fn add_bias(
        &mut self,
        id: NodeId,
        values: Vec<ValueId>,
        bias: Option<TensorId>,
    ) -> Result<Vec<ValueId>, CompileError> {
        let Some(bias) = bias else { return Ok(values) };
        let tensor = self.tensor(bias);
        let layout = self.layout(id);
        (0u32..)
            .zip(values)
            .map(|(ciphertext, v)| {
                let plain = Plain::Tensor { tensor, layout, ciphertext, scale: 1.0 };
                Ok(self.builder.add_plain(v, plain)?)
            })
            .collect()
    }

    /// Relinearised and rescaled square.
    fn square(&mut self, value: ValueId) -> Result<ValueId, CompileError> {
        let product = self.builder.mul(value, value)?;
        Ok(self.builder.relinearize_rescale(product, self.plan.gadget)?)
    }

    fn tensor(&mut self, id: TensorId) -> TensorId {
        let tensor = self.plan.arranged.graph.tensors[id.0 as usize].clone();
        self.builder.tensor(tensor)
    }

    /// The operator with its tensor in the circuit's table.
    fn operator(&mut self, operator: &Operator) -> Operator {
        let mut operator = operator.clone();
        match &mut operator {
            Operator::Convolution { weight, .. } | Operator::Dense { weight } => {
                *weight = self.tensor(*weight)
            }
            Operator::AxisScale { factor, .. } | Operator::ElementScale { factor } => {
                *factor = self.tensor(*factor)
            }
            Operator::AveragePool { .. } | Operator::View { .. } => {}
        }
        operator
    }

    fn outputs(&mut self) -> Result<(), CompileError> {
        let graph = &self.plan.arranged.graph;
        for (output, scale) in graph.outputs.iter().zip(self.plan.output_scales) {
            let id = output.node;
            let spec = OutputSpec {
                name: output.name.clone(),
                layout: self.layout(id),
                values: self.values[id.0 as usize].clone(),
                scale: *scale,
                range: crate::parameters::output_range(graph, id).map(|x| x * scale),
                labels: output.labels.clone(),
                client_steps: output.client_steps.clone(),
            };
            self.builder.output(spec)?;
        }
        Ok(())
    }
}
