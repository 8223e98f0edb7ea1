//! Refits a calibrated model to the polynomials that stand for its activations.
//!
//! Does: walks the network once, with the values that the model's own activations give beside those that the polynomials
//! give. A polynomial is fitted so that what it makes of the values that reach it is what the model's own activation makes of those that
//! should; then weights and biases of convolutions and dense layers behind polynomials are solved for, by least squares, so that they
//! yield what the model's layer does. So errors do not pile up from layer to layer, and lower degrees do.
//! Needs: a calibrated graph and the inputs that it was calibrated with, or others like them.
//! Leaves: the same graph with other weights, and with range and distribution of what the activations read and their [`Fitting`].
//! Relies on [`evaluate`]. Promises: the same inputs give the same bits, whatever machine and threads
//! ([decision 0019](../../docs/decisions/0019-layers-are-refitted-to-polynomials.md)).

mod layer;
mod least_squares;

use crate::activation::{Fit, coefficients, widened};
use crate::frontend::calibrate::{PARTS, Seen, part};
use crate::graph::{Fitting, Function, Kind, NodeId, TensorGraph, evaluate};
use cipherloom_ir::Activation;
use layer::Layer;
use rayon::prelude::*;
use serde::Serialize;

/// Most numbers that one tensor of all inputs may take: inputs beyond are left out.
const VALUES_MAX: usize = 1 << 26;

/// Most that the degrees of the polynomials may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Degrees {
    /// Where all that reads the activation is refitted.
    pub repaired: u32,
    /// Elsewhere: what a shortcut carries on, say.
    pub carried: u32,
}

impl std::fmt::Display for Degrees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Degrees { repaired, carried } = self;
        if repaired == carried {
            return write!(f, "degree {repaired} at most");
        }
        write!(f, "degree {repaired} at most where the next layers are refitted, {carried} elsewhere")
    }
}

/// One tensor, input by input.
type Values = Vec<Vec<f64>>;

/// A tensor by the model's own activations, and by the polynomials where they change it.
struct Tensor {
    own: Values,
    changed: Option<Values>,
}

impl Tensor {
    fn reached(&self) -> &Values {
        self.changed.as_ref().unwrap_or(&self.own)
    }
}

/// The model with layers refitted to polynomials of these degrees, on some inputs (already preprocessed); `None` where no layer is:
/// none stands behind an activation, or inputs are too few for its weights.
pub fn refit(model: &TensorGraph, degrees: Degrees, inputs: &[Vec<f64>]) -> Option<TensorGraph> {
    let elements = |id| model.node(id).shape.iter().map(|d| *d as usize).product::<usize>();
    let largest = model.order().map(elements).max().unwrap_or(1).max(1);
    let inputs = &inputs[..inputs.len().min(VALUES_MAX / largest)];
    let repaired = repaired(model, inputs.len());
    let mut walk = Walk { model, out: model.clone(), tensors: Vec::new(), count: inputs.len(), refitted: 0 };
    for id in model.order() {
        let operands = model.operands(id);
        let own = match model.node(id).kind {
            Kind::Input => inputs.to_vec(),
            _ => walk.each(|k| evaluate::node(model, id, &walk.operands(&operands, k, |t| &t.own))),
        };
        let is_changed = operands.iter().any(|o| walk.tensor(*o).is_some_and(|t| t.changed.is_some()));
        let changed = match &model.node(id).kind {
            Kind::Elementwise(Function::Exact(function)) => {
                let most = if repaired[id.0 as usize] { degrees.repaired } else { degrees.carried };
                Some(walk.polynomial((id, operands[0]), function, most, &own))
            }
            Kind::Linear { .. } if is_changed => Some(walk.linear(id, operands[0], &own)),
            _ if is_changed => {
                let values = |k| walk.operands(&operands, k, Tensor::reached);
                Some(walk.each(|k| evaluate::node(&walk.out, id, &values(k))))
            }
            _ => None,
        };
        walk.tensors.push(Some(Tensor { own, changed }));
        for o in operands {
            if model.consumers(o).iter().all(|reader| *reader <= id) {
                walk.tensors[o.0 as usize] = None;
            }
        }
    }
    (walk.refitted > 0).then_some(walk.out)
}

struct Walk<'a> {
    model: &'a TensorGraph,
    out: TensorGraph,
    /// Tensors that are read later, or nothing.
    tensors: Vec<Option<Tensor>>,
    /// Inputs.
    count: usize,
    /// Layers that have other weights now.
    refitted: usize,
}

impl Walk<'_> {
    fn tensor(&self, id: NodeId) -> Option<&Tensor> {
        self.tensors.get(id.0 as usize)?.as_ref()
    }

    /// Operands for one input.
    fn operands(&self, ids: &[NodeId], input: usize, which: fn(&Tensor) -> &Values) -> Vec<&[f64]> {
        ids.iter().filter_map(|id| self.tensor(*id)).map(|t| which(t)[input].as_slice()).collect()
    }

    /// One value for each input, in order.
    fn each(&self, one: impl Fn(usize) -> Vec<f64> + Send + Sync) -> Values {
        (0..self.count).into_par_iter().map(one).collect()
    }

    /// Fits the polynomial of an activation of a tensor to what is wanted of the values that reach it, notes down by what it was fitted,
    /// and applies it.
    fn polynomial(
        &mut self,
        (id, source): (NodeId, NodeId),
        function: &Activation,
        degree: u32,
        wanted: &Values,
    ) -> Values {
        let Some(tensor) = self.tensors[source.0 as usize].as_ref() else { return Values::new() };
        let before = tensor.reached();
        let Some(seen) = before.iter().map(|v| Seen::of(v)).reduce(|a, b| a.and(&b)) else {
            return Values::new();
        };
        let positive = self.model.consumers(source).into_iter().any(|reader| {
            matches!(&self.model.node(reader).kind, Kind::Elementwise(Function::Exact(f)) if f.wants_positive())
        });
        // What the model's own activations give belongs to the range too: other inputs may come nearer to it.
        let found = seen.range(positive);
        let range = match self.model.node(source).range {
            Some(own) => [own[0].min(found[0]), own[1].max(found[1])],
            None => found,
        };
        let range = widened(range);
        let (mut counts, mut sums) = ([0u64; PARTS], [0.0; PARTS]);
        for (x, y) in before.iter().flatten().zip(wanted.iter().flatten()) {
            counts[part(*x, range)] += 1;
            sums[part(*x, range)] += y;
        }
        let mean = |(sum, count): (&f64, &u64)| if *count == 0 { 0.0 } else { sum / *count as f64 };
        let wanted: Vec<f64> = sums.iter().zip(&counts).map(mean).collect();
        let density = seen.density(&counts);
        let fit = Fit { function, range, density: Some(&density), wanted: Some(&wanted), degree };
        let (coefficients, of) = (coefficients(&fit), function.clone());
        let polynomial = Function::Polynomial { coefficients, range, max_error: 0.0, of };
        let values = self.each(|k| before[k].iter().map(|x| evaluate::function(&polynomial, *x)).collect());
        let node = self.out.node_mut(source);
        (node.range, node.density) = (Some(range), Some(density));
        self.out.node_mut(id).fitting = Some(Fitting { degree, wanted });
        values
    }

    /// Refits a layer, where it is one, and applies it to the values that reach it.
    fn linear(&mut self, id: NodeId, source: NodeId, own: &Values) -> Values {
        let Some(source) = self.tensors[source.0 as usize].as_ref() else { return Values::new() };
        let before = source.reached();
        if let Some(layer) = Layer::of(self.model, id, self.count) {
            let beside = self.summed_with(id);
            let lacking = self.each(|k| {
                let now = evaluate::node(&self.out, id, &[&before[k]]);
                let mut lacking: Vec<f64> = own[k].iter().zip(now).map(|(own, now)| own - now).collect();
                if let Some((other, sign)) = beside {
                    let lost = other.own[k].iter().zip(&other.reached()[k]).map(|(own, now)| own - now);
                    lacking.iter_mut().zip(lost).for_each(|(lacking, lost)| *lacking += sign * lost);
                }
                lacking
            });
            self.refitted += usize::from(layer.refit(&mut self.out, before, &lacking));
        }
        self.each(|k| evaluate::node(&self.out, id, &[&before[k]]))
    }

    /// The other operand of the sum or difference that alone reads a layer, where polynomials have changed it already, and the sign by
    /// which the layer makes up for that.
    fn summed_with(&self, id: NodeId) -> Option<(&Tensor, f64)> {
        let [sum] = self.model.consumers(id)[..] else { return None };
        let [a, b] = self.model.operands(sum)[..] else { return None };
        let (other, sign) = match (&self.model.node(sum).kind, a == id) {
            (Kind::Add, true) => (b, 1.0),
            (Kind::Add, false) => (a, 1.0),
            (Kind::Sub, true) => (b, -1.0),
            (Kind::Sub, false) => (a, -1.0),
            _ => return None,
        };
        let is_output = self.model.outputs.iter().any(|o| o.node == id);
        self.tensor(other).filter(|other| other.changed.is_some() && !is_output).map(|other| (other, sign))
    }
}

/// For each node whether all that reads it is a layer that is refitted on so many inputs, perhaps behind others that are linear.
fn repaired(model: &TensorGraph, inputs: usize) -> Vec<bool> {
    let nodes: Vec<NodeId> = model.order().collect();
    let mut repaired = vec![false; nodes.len()];
    for id in nodes.iter().rev() {
        let readers = model.consumers(*id);
        let repairs = |reader: &NodeId| match model.node(*reader).kind {
            Kind::Linear { .. } => repaired[reader.0 as usize] || Layer::of(model, *reader, inputs).is_some(),
            Kind::Concat { .. } => repaired[reader.0 as usize],
            _ => false,
        };
        let is_output = model.outputs.iter().any(|o| o.node == *id);
        repaired[id.0 as usize] = !readers.is_empty() && !is_output && readers.iter().all(repairs);
    }
    repaired
}
