//! The exact meaning: f64 slots, no encryption noise. What a circuit computes, junk in the gaps included.
//!
//! Relies on materialised diagonals: [`Exact::new`] compiles every linear plan once into rows of (input slot,
//! weight), so that one `Exact` serves thousands of images, in parallel. Rescale, drop, adjust and bootstrap change nothing;
//! plaintexts and factors are not rounded. Promises: the same bits on every machine and for any number of
//! threads; a circuit that keeps the op laws never panics.

use super::gather::Gather;
use super::norms::MapNorms;
use super::{Interpretation, interpret};
use crate::circuit::{Circuit, Node};
use crate::map::{Diagonals, MapError, MapId, plain_values_with};
use crate::op::{Op, Plain, ValueId};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// Slots of one ciphertext.
pub type SlotVector = Arc<Vec<f64>>;

/// Why a circuit cannot be evaluated exactly.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ExactError {
    /// A map or plaintext has no meaning.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Not as many tensors as the circuit has inputs.
    #[error("the circuit has {expected} inputs, {found} were given")]
    Inputs {
        /// Inputs of the circuit.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// A tensor of another size than the input's layout.
    #[error("input '{name}' has {expected} elements, {found} were given")]
    InputSize {
        /// Name of the input.
        name: String,
        /// Elements of the layout.
        expected: usize,
        /// Elements given.
        found: usize,
    },
}

/// Exact evaluation of one circuit; made once, used for any number of inputs.
#[derive(Debug)]
pub struct Exact {
    plans: BTreeMap<ValueId, Gather>,
    plains: BTreeMap<ValueId, PlainSlots>,
}

/// A plaintext of one node.
#[derive(Debug)]
enum PlainSlots {
    Constant(f64),
    Dense(Vec<f64>),
}

impl Exact {
    /// Materialises what `circuit` needs.
    pub fn new(circuit: &Circuit) -> Result<Exact, ExactError> {
        Exact::with_maps(circuit).map(|(exact, _)| exact)
    }

    /// The same with the norms of the maps that the circuit uses.
    pub fn with_norms(circuit: &Circuit) -> Result<(Exact, MapNorms), ExactError> {
        let (exact, maps) = Exact::with_maps(circuit)?;
        Ok((exact, MapNorms::of_maps(&maps)))
    }

    /// The same with the diagonals of the maps that were materialised.
    pub(super) fn with_maps(circuit: &Circuit) -> Result<(Exact, BTreeMap<MapId, Diagonals>), ExactError> {
        check_slots(circuit)?;
        let used: Vec<MapId> = used_maps(circuit).into_iter().collect();
        let materialise = |id: &MapId| {
            let map = circuit.maps.get(id.0 as usize).ok_or(MapError::UnknownMap(id.0))?;
            Ok((*id, Diagonals::materialise(map, &circuit.layouts, &circuit.tensors)?))
        };
        let maps: BTreeMap<MapId, Diagonals> =
            used.par_iter().map(materialise).collect::<Result<_, MapError>>()?;
        let (mut plans, mut plains) = (BTreeMap::new(), BTreeMap::new());
        for node in &circuit.nodes {
            if let Op::Linear(plan) = &node.op {
                plans.insert(node.first, Gather::of(plan, &maps, circuit.slots()));
            }
            if let Some(plain) = node.op.plain() {
                let slots = match plain {
                    Plain::Constant(value) => PlainSlots::Constant(*value),
                    _ => PlainSlots::Dense(plain_values_with(circuit, plain, |id| maps.get(&id))?),
                };
                plains.insert(node.first, slots);
            }
        }
        Ok((Exact { plans, plains }, maps))
    }

    /// The meaning for these input tensors: one per circuit input, row-major, after preprocessing.
    pub fn with_inputs<'a, T: AsRef<[f64]>>(
        &'a self,
        circuit: &Circuit,
        inputs: &[T],
    ) -> Result<ExactRun<'a>, ExactError> {
        if inputs.len() != circuit.inputs.len() {
            return Err(ExactError::Inputs { expected: circuit.inputs.len(), found: inputs.len() });
        }
        let pack = |(spec, values): (&crate::InputSpec, &T)| {
            let layout = circuit.layout(spec.layout);
            let expected = layout.elements() * layout.batch as usize;
            let found = values.as_ref().len();
            if expected != found {
                return Err(ExactError::InputSize { name: spec.name.clone(), expected, found });
            }
            Ok(layout.pack(values.as_ref()).into_iter().map(Arc::new).collect())
        };
        let inputs = circuit.inputs.iter().zip(inputs).map(pack).collect::<Result<_, _>>()?;
        Ok(ExactRun { exact: self, inputs })
    }

    /// Output tensors (row-major, with each output's client-side factor) for one set of input tensors.
    pub fn run<T: AsRef<[f64]>>(&self, circuit: &Circuit, inputs: &[T]) -> Result<Vec<Vec<f64>>, ExactError> {
        let values = interpret(circuit, &self.with_inputs(circuit, inputs)?)?;
        Ok(Exact::tensors(circuit, &values))
    }

    /// Output tensors (row-major, with each output's client-side factor) from the circuit's output values, in order.
    pub fn tensors(circuit: &Circuit, values: &[SlotVector]) -> Vec<Vec<f64>> {
        let mut rest = values;
        let unpack = |output: &crate::OutputSpec| {
            let (own, after) = rest.split_at(output.values.len());
            rest = after;
            let slots: Vec<&[f64]> = own.iter().map(|v| &v[..]).collect();
            let tensor = circuit.layout(output.layout).unpack(&slots);
            tensor.into_iter().map(|v| v * output.scale).collect()
        };
        circuit.outputs.iter().map(unpack).collect()
    }

    /// [`Exact::run`] for many independent sets of inputs, in parallel, results in order.
    pub fn run_batch<T>(&self, circuit: &Circuit, batch: &[Vec<T>]) -> Result<Vec<Vec<Vec<f64>>>, ExactError>
    where
        T: AsRef<[f64]> + Sync,
    {
        batch.par_iter().map(|inputs| self.run(circuit, inputs)).collect()
    }
}

/// Every layout that vectors pass through has the circuit's slot count.
fn check_slots(circuit: &Circuit) -> Result<(), MapError> {
    let slots = circuit.slots() as u32;
    for layout in &circuit.layouts {
        layout.check()?;
        if layout.slots != slots {
            return Err(MapError::Slots { input: slots, output: layout.slots });
        }
    }
    Ok(())
}

fn used_maps(circuit: &Circuit) -> BTreeSet<MapId> {
    let mut used = BTreeSet::new();
    for node in &circuit.nodes {
        match (&node.op, node.op.plain()) {
            (Op::Linear(plan), _) => used.extend(plan.sources.iter().map(|s| s.map)),
            (_, Some(Plain::Diagonal { map, .. })) => {
                used.insert(*map);
            }
            _ => {}
        }
    }
    used
}

/// The exact meaning with inputs bound.
#[derive(Debug)]
pub struct ExactRun<'a> {
    exact: &'a Exact,
    inputs: Vec<Vec<SlotVector>>,
}

impl Interpretation for ExactRun<'_> {
    type Value = SlotVector;
    type Error = ExactError;

    fn apply(
        &self,
        _circuit: &Circuit,
        node: &Node,
        operands: &[&SlotVector],
    ) -> Result<Vec<SlotVector>, ExactError> {
        let one = |v: Vec<f64>| Ok(vec![Arc::new(v)]);
        match (&node.op, operands) {
            (Op::Input { input, ciphertext }, _) => {
                Ok(vec![self.inputs[*input as usize][*ciphertext as usize].clone()])
            }
            (Op::Linear(_), _) => Ok(self.exact.plans[&node.first].apply(operands)),
            (Op::SumOfProducts(_), pairs) => one(sum_of_products(pairs)),
            (Op::Add(..), [x, y]) => one(zip(x, y, |a, b| a + b)),
            (Op::Sub(..), [x, y]) => one(zip(x, y, |a, b| a - b)),
            (Op::Mul(..), [x, y]) => one(zip(x, y, |a, b| a * b)),
            (Op::Neg(_), [x]) => one(each(x, |a| -a)),
            (Op::MulScalar(_, c), [x]) => one(each(x, |a| a * c)),
            (Op::AddPlain(..), [x]) => one(self.plain(node, x, |a, p| a + p)),
            (Op::MulPlain(..), [x]) => one(self.plain(node, x, |a, p| a * p)),
            (Op::Rotate(_, step), [x]) => {
                let (left, right) = x.split_at(step.step.0 as usize);
                one([right, left].concat())
            }
            (Op::Activation(_, function), [x]) => one(each(x, |a| function.value(a))),
            (_, operands) => Ok(vec![operands[0].clone()]),
        }
    }
}

impl ExactRun<'_> {
    fn plain(&self, node: &Node, x: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        match &self.exact.plains[&node.first] {
            PlainSlots::Constant(value) => each(x, |a| f(a, *value)),
            PlainSlots::Dense(values) => zip(x, values, f),
        }
    }
}

fn each(x: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    x.iter().map(|a| f(*a)).collect()
}

fn zip(x: &[f64], y: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    x.iter().zip(y).map(|(a, b)| f(*a, *b)).collect()
}

/// `Σ x_k · y_k` over operands in pairs.
fn sum_of_products(operands: &[&SlotVector]) -> Vec<f64> {
    let mut sum = vec![0.0; operands.first().map_or(0, |v| v.len())];
    for pair in operands.chunks_exact(2) {
        for ((s, x), y) in sum.iter_mut().zip(pair[0].iter()).zip(pair[1].iter()) {
            *s += x * y;
        }
    }
    sum
}
