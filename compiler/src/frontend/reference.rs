//! tract at work: shapes and constants of every tensor, and the clear result that ours is compared with.
//!
//! Relies on a checked [`Source`]. Promises: no panic leaves this file; tract's own panics on models that it
//! cannot take become errors (they are its way of saying so, and the model comes from outside).

use super::call::{Call, Value};
use super::draft::Draft;
use super::error::FrontendError;
use super::fold::{self, Precision};
use super::growth::Growth;
use super::ops::quantization;
use super::proto::{Source, is_onnx_domain};
use super::restate::restate;
use ndarray::ArrayD;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once, OnceLock};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

/// Result of a constant subgraph, at most (1 GiB).
const MAX_CONSTANT_BYTES: usize = 1 << 30;

/// A constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    /// Values; integers are exact up to 2^53.
    pub values: Vec<f64>,
}

/// What tract knows about the tensors of a model, by ONNX name.
pub(super) struct Analysis {
    model: InferenceModel,
    outlets: HashMap<String, OutletId>,
    /// Tensors that do not depend on the input.
    folded: BTreeMap<String, Arc<Tensor>>,
    /// Those of them that no arithmetic on floats leads to: whoever computes them finds the same.
    exact: BTreeSet<String>,
    growth: Growth,
    /// Its first complaint, where it has one.
    pub failure: Option<String>,
}

thread_local! {
    /// Whether a panic on this thread is caught by [`guarded`] and needs no words.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Makes panics that [`guarded`] catches print nothing; all others go to the hook that was there before.
fn hush_caught_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                previous(panic);
            }
        }));
    });
}

fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    hush_caught_panics();
    let outer = SILENT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    SILENT.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(format!("{e:#}")),
        Err(_) => Err("the reference evaluator gave up on the model".to_owned()),
    }
}

impl Analysis {
    /// Shapes and constants of a model.
    ///
    /// # Errors
    /// Constants larger than what is folded.
    pub fn of(source: &Source) -> Result<Analysis, FrontendError> {
        let parsed = match guarded(|| tract_onnx::onnx().parse(&source.model, None)) {
            Ok(parsed) => parsed,
            Err(reason) => return Ok(Analysis { failure: Some(reason), ..Analysis::none() }),
        };
        let mut model = parsed.model;
        let mut growth = Growth::default();
        // tract evaluates constants while it analyses; what grows too far is refused before. Other complaints of the
        // rules come again from the analysis itself.
        if let Ok(Err(tensor)) = guarded(|| Ok(growth.check(&mut model))) {
            return Err(FrontendError::Weights { tensors: vec![tensor] });
        }
        let failure = guarded(|| model.analyse(true)).err();
        let outlets = parsed.outlets_by_name;
        let mut analysis = Analysis { model, outlets, growth, failure, ..Analysis::none() };
        for tensor in &source.graph().initializer {
            analysis.accept(&tensor.name);
        }
        for node in &source.graph().node {
            analysis.fold(node);
        }
        Ok(analysis)
    }

    /// Knows nothing.
    fn none() -> Analysis {
        Analysis {
            model: InferenceModel::default(),
            outlets: HashMap::new(),
            folded: BTreeMap::new(),
            exact: BTreeSet::new(),
            growth: Growth::default(),
            failure: None,
        }
    }

    /// Shape of a tensor, where it is known.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let fact = self.model.outlet_fact(*self.outlets.get(name)?).ok()?;
        fact.shape.concretize()?.iter().map(|d| d.to_usize().ok()).collect()
    }

    /// Whether a tensor does not depend on the input.
    pub fn is_constant(&self, name: &str) -> bool {
        self.folded.contains_key(name)
    }

    /// Value of a constant tensor of numbers.
    pub fn constant(&self, name: &str) -> Option<Constant> {
        wide(self.folded.get(name)?)
    }

    /// Value of a constant tensor of one boolean.
    pub fn truth(&self, name: &str) -> Option<bool> {
        let held = self.folded.get(name).filter(|t| t.datum_type() == DatumType::Bool && t.len() == 1)?;
        wide(held).map(|c| c.values[0] != 0.0)
    }

    /// Takes a value that tract knows and that is exact whoever computes it.
    fn accept(&mut self, name: &str) {
        let fact = self.outlets.get(name).and_then(|outlet| self.model.outlet_fact(*outlet).ok());
        if let Some(value) = fact.and_then(|f| f.value.concretize()) {
            self.folded.insert(name.to_owned(), value);
            self.exact.insert(name.to_owned());
        }
    }

    /// Folds a node whose operands are constants. Of what tract knows by itself only shapes, what stands in the file,
    /// and what follows from these by exact operators is taken.
    fn fold(&mut self, node: &NodeProto) {
        let outputs = || node.output.iter().filter(|o| !o.is_empty());
        let Some(first) = outputs().next().filter(|_| is_onnx_domain(&node.domain)) else { return };
        if matches!(node.op_type.as_str(), "Constant" | "Shape" | "Size") {
            return self.accept(first);
        }
        let named: Vec<&String> = node.input.iter().filter(|i| !i.is_empty()).collect();
        let known = named.iter().map(|i| self.folded.get(*i).cloned());
        let Some(values) = known.collect::<Option<Vec<_>>>().filter(|v| !v.is_empty()) else { return };
        let total: usize = values.iter().map(|t| t.len() * t.datum_type().size_of()).sum();
        if total > MAX_CONSTANT_BYTES {
            return;
        }
        if node.op_type == "DequantizeLinear" {
            return self.dequantize(node, first);
        }
        let moves = fold::moves(&node.op_type);
        if !moves && values.iter().any(|v| is_float(v)) {
            if let Some(result) = arithmetic(&node.op_type, &values) {
                self.folded.insert(first.clone(), result);
            }
            return;
        }
        let exact = named.iter().all(|i| self.exact.contains(*i));
        if exact {
            outputs().for_each(|o| self.accept(o));
        }
        if !self.is_constant(first) {
            self.evaluate(node, first, values);
            if exact && self.is_constant(first) {
                self.exact.extend(outputs().cloned());
            }
        }
        // Operators on integers are exact as long as they stay there.
        if !moves && self.folded.get(first).is_some_and(|v| is_float(v)) {
            for output in outputs() {
                self.folded.remove(output);
                self.exact.remove(output);
            }
        }
    }

    /// Weights that are stored as integers. What is refused stays a node, which the walk refuses with the reason.
    fn dequantize(&mut self, node: &NodeProto, first: &str) {
        let operands = node.input.iter().map(|i| self.constant(i).map(Value::Constant)).collect();
        let mut call = Call { node, operands, output: 0, opset: 0, draft: &mut Draft::default() };
        let Ok(Value::Constant(Constant { shape, values })) = quantization::dequantize(&mut call) else {
            return;
        };
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        if let Ok(tensor) = Tensor::from_shape(&shape, &values) {
            self.folded.insert(first.to_owned(), tensor.into_arc_tensor());
        }
    }

    /// An exact operator, done by tract.
    fn evaluate(&mut self, node: &NodeProto, first: &str, values: Vec<Arc<Tensor>>) {
        let Some(outlet) = self.outlets.get(first) else { return };
        let facts = values.iter().map(|t| InferenceFact::try_from(t.clone()).ok());
        let Some(facts) = facts.collect::<Option<Vec<InferenceFact>>>() else { return };
        let (growth, model) = (&mut self.growth, &mut self.model);
        let fits = guarded(|| Ok(growth.holds(&node.op_type, &mut model.node_mut(outlet.node).op, &facts)));
        if fits != Ok(true) {
            return;
        }
        let op = &self.model.node(outlet.node).op;
        let operands: TVec<TValue> = values.into_iter().map(|t| t.into_tvalue()).collect();
        let Ok(Some(results)) = guarded(|| op.eval_out_of_plan(operands)) else { return };
        for (name, value) in node.output.iter().filter(|o| !o.is_empty()).zip(results) {
            self.folded.insert(name.clone(), value.into_arc_tensor());
        }
    }
}

fn is_float(tensor: &Tensor) -> bool {
    tensor.datum_type().is_float()
}

/// A tensor of numbers as f64.
fn wide(tensor: &Tensor) -> Option<Constant> {
    let wide = guarded(|| Ok(tensor.cast_to::<f64>()?.into_owned())).ok()?;
    let view = wide.to_plain_array_view::<f64>().ok()?;
    Some(Constant { shape: view.shape().to_vec(), values: view.iter().copied().collect() })
}

/// Arithmetic in the type of the first operand.
fn arithmetic(op: &str, values: &[Arc<Tensor>]) -> Option<Arc<Tensor>> {
    let precision = match values.first()?.datum_type() {
        DatumType::F32 => Precision::Single,
        DatumType::F64 => Precision::Double,
        _ => return None,
    };
    let operands = values.iter().map(|v| wide(v)).collect::<Option<Vec<_>>>()?;
    let Constant { shape, values } = fold::arithmetic(op, precision, &operands)?;
    let tensor = match precision {
        Precision::Single => {
            Tensor::from_shape(&shape, &values.iter().map(|v| *v as f32).collect::<Vec<f32>>())
        }
        Precision::Double => Tensor::from_shape(&shape, &values),
    };
    tensor.ok().map(|t| t.into_arc_tensor())
}

/// The model as tract evaluates it: the oracle for ours.
#[derive(Clone, Debug)]
pub struct Reference {
    plan: Arc<TypedRunnableModel>,
    /// The model as it stands, where `plan` was optimised: it judges the optimised one once.
    plain: Option<Arc<TypedRunnableModel>>,
    /// Whether the optimised model has turned out to be another function.
    mistaken: OnceLock<bool>,
    input_shape: Vec<usize>,
    scores: usize,
}

impl Reference {
    /// `scores`: tensors to yield in place of the model's outputs (before steps that are left to the client).
    pub(super) fn new(
        source: &mut Source,
        input_shape: &[usize],
        scores: &[String],
    ) -> Result<Reference, FrontendError> {
        restate(source.graph_mut());
        let typed = || {
            let parsed = tract_onnx::onnx().parse(&source.model, None)?;
            let outputs = source.graph().output.iter().map(|o| o.name.as_str());
            let outlets: Vec<OutletId> = scores
                .iter()
                .map(String::as_str)
                .chain(outputs)
                .filter_map(|name| parsed.outlets_by_name.get(name).copied())
                .collect();
            let mut model = parsed.model;
            model.select_output_outlets(&outlets)?;
            model.into_typed()
        };
        let refused = |reason| FrontendError::Reference { reason };
        let typed = guarded(typed).map_err(refused)?;
        let plain = guarded(|| typed.clone().into_runnable());
        let (plan, plain) = match guarded(|| typed.into_optimized()?.into_runnable()) {
            Ok(optimised) => (optimised, plain.ok()),
            // tract's optimiser does not take every model that tract evaluates.
            Err(reason) => (plain.map_err(|_| refused(reason))?, None),
        };
        let (mistaken, input_shape) = (OnceLock::new(), input_shape.to_vec());
        Ok(Reference { plan, plain, mistaken, input_shape, scores: scores.len() })
    }

    /// Shape of the input tensor, with the batch.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Scores for one input tensor, before steps that are left to the client (first output).
    ///
    /// # Errors
    /// A wrong shape, or tract's complaint.
    pub fn run(&self, input: &ArrayD<f32>) -> Result<ArrayD<f32>, FrontendError> {
        let mut results = self.evaluate(input)?;
        results.truncate(self.scores.max(1));
        Ok(results.swap_remove(0))
    }

    /// The model's own outputs, with Softmax or ArgMax where the model has them (indices as numbers).
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn outputs(&self, input: &ArrayD<f32>) -> Result<Vec<ArrayD<f32>>, FrontendError> {
        Ok(self.evaluate(input)?.split_off(self.scores))
    }

    fn evaluate(&self, input: &ArrayD<f32>) -> Result<Vec<ArrayD<f32>>, FrontendError> {
        if input.shape() != self.input_shape {
            let found = input.shape().to_vec();
            return Err(FrontendError::Shape { expected: self.input_shape.clone(), found });
        }
        let run = |plan: &Arc<TypedRunnableModel>| {
            let work = || {
                let values: Vec<f32> = input.iter().copied().collect();
                let tensor = Tensor::from_shape(&self.input_shape, &values)?;
                let results = plan.run(tvec!(tensor.into_tvalue()))?;
                results
                    .iter()
                    .map(|r| Ok(r.cast_to::<f32>()?.to_plain_array_view::<f32>()?.to_owned()))
                    .collect::<TractResult<Vec<ArrayD<f32>>>>()
            };
            guarded(work).map_err(|reason| FrontendError::Reference { reason })
        };
        let Some(plain) = &self.plain else { return run(&self.plan) };
        let mistaken = || match (run(&self.plan), run(plain)) {
            (Ok(optimised), Ok(plain)) => !alike(&optimised, &plain),
            (optimised, _) => optimised.is_err(),
        };
        run(if *self.mistaken.get_or_init(mistaken) { plain } else { &self.plan })
    }
}

/// Whether results are the same function's, but for rounding.
fn alike(ours: &[ArrayD<f32>], theirs: &[ArrayD<f32>]) -> bool {
    let near = |a: &ArrayD<f32>, b: &ArrayD<f32>| {
        let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 * largest || a == b)
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| near(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn only_caught_panics_are_silent() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        let standard = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match panic.payload().downcast_ref::<&str>() {
            Some(&"counted") => drop(SEEN.fetch_add(1, Ordering::SeqCst)),
            _ => standard(panic),
        }));
        assert!(guarded::<()>(|| panic!("counted")).is_err());
        assert_eq!(SEEN.load(Ordering::SeqCst), 0);
        assert!(catch_unwind(|| panic!("counted")).is_err());
        assert_eq!(SEEN.load(Ordering::SeqCst), 1);
    }
}
