//! Refits a calibrated model to the polynomials that stand for its activations.
//!
//! Does: walks the network once, with the values that the model's own activations give beside those that the polynomials
//! give. A polynomial is fitted so that what it makes of the values that reach it is what the model's own activation makes of those that
//! should; then weights and biases of convolutions and dense layers behind polynomials are solved for, by least squares, so that they
//! yield what the model's layer does. So errors do not pile up from layer to layer, and lower degrees do.
//! Needs: a calibrated graph and the inputs that it was calibrated with, or others like them.
//! Leaves: the same graph with other weights, and with range, distribution and degree of what the activations read.
//! Relies on [`evaluate`]. Promises: the same inputs give the same bits, whatever machine and threads
//! ([decision 0019](../../docs/decisions/0019-layers-are-refitted-to-polynomials.md)).

mod layer;
mod least_squares;

use crate::activation::{stand_in, widened};
use crate::frontend::calibrate::{PARTS, Seen, part};
use crate::graph::{Function, Kind, NodeId, TensorGraph, evaluate};
use cipherloom_ir::Activation;
use layer::Layer;
use rayon::prelude::*;

/// Most numbers that one tensor of all inputs may take: inputs beyond are left out.
const VALUES_MAX: usize = 1 << 26;

/// Most that the degrees of the polynomials may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
struct Both {
    exact: Values,
    found: Option<Values>,
}

impl Both {
    fn reached(&self) -> &Values {
        self.found.as_ref().unwrap_or(&self.exact)
    }
}

/// The model with layers refitted to polynomials of these degrees, on some inputs (already preprocessed).
pub fn refit(model: &TensorGraph, degrees: Degrees, inputs: &[Vec<f64>]) -> TensorGraph {
    let elements = |id| model.node(id).shape.iter().map(|d| *d as usize).product::<usize>();
    let largest = model.order().map(elements).max().unwrap_or(1).max(1);
    let inputs = &inputs[..inputs.len().min(VALUES_MAX / largest)];
    let mut out = model.clone();
    if inputs.is_empty() {
        return out;
    }
    let mut tensors: Vec<Option<Both>> = Vec::new();
    for id in model.order() {
        let operands = model.operands(id);
        let both = |o: &NodeId| tensors[o.0 as usize].as_ref();
        let exact = |image: usize| -> Vec<&[f64]> {
            operands.iter().filter_map(both).map(|b| b.exact[image].as_slice()).collect()
        };
        let reached = |image: usize| -> Vec<&[f64]> {
            operands.iter().filter_map(both).map(|b| b.reached()[image].as_slice()).collect()
        };
        let is_input = matches!(model.node(id).kind, Kind::Input);
        let values: Values = match is_input {
            true => inputs.to_vec(),
            false => each(inputs, |image| evaluate::node(model, id, &exact(image))),
        };
        let changed = operands.iter().filter_map(both).any(|b| b.found.is_some());
        let found = match &model.node(id).kind {
            Kind::Elementwise(Function::Exact(function)) => {
                let most = if is_repaired(model, id) { degrees.repaired } else { degrees.carried };
                out.node_mut(id).degree = Some(most);
                let before = each(inputs, |image| reached(image)[0].to_vec());
                Some(polynomial(&mut out, (operands[0], function, most), &before, &values))
            }
            Kind::Linear { .. } if changed => {
                let lost = lost_beside(model, id, &tensors);
                let wanted = |image: usize| match lost {
                    Some((other, sign)) => {
                        let (exact, found) = (&other.exact[image], &other.reached()[image]);
                        let made_up = exact.iter().zip(found).map(|(e, f)| sign * (e - f));
                        values[image].iter().zip(made_up).map(|(v, m)| v + m).collect()
                    }
                    None => values[image].clone(),
                };
                let before = each(inputs, |image| reached(image)[0].to_vec());
                if let Some(layer) = Layer::of(model, id) {
                    let residuals = each(inputs, |image| {
                        let now = evaluate::node(&out, id, &[&before[image]]);
                        wanted(image).iter().zip(now).map(|(w, n)| w - n).collect()
                    });
                    layer.refit(&mut out, &before, &residuals);
                }
                Some(each(inputs, |image| evaluate::node(&out, id, &[&before[image]])))
            }
            _ if changed => Some(each(inputs, |image| evaluate::node(&out, id, &reached(image)))),
            _ => None,
        };
        tensors.push(Some(Both { exact: values, found }));
        for o in operands {
            if model.consumers(o).iter().all(|c| *c <= id) {
                tensors[o.0 as usize] = None;
            }
        }
    }
    out
}

/// One value for each input, in order.
fn each(inputs: &[Vec<f64>], one: impl Fn(usize) -> Vec<f64> + Send + Sync) -> Values {
    (0..inputs.len()).into_par_iter().map(one).collect()
}

/// Fits the polynomial of an activation (its argument, the function, its degree) to what is wanted of the values that reach it, notes
/// down by what it was fitted, and applies it.
fn polynomial(
    out: &mut TensorGraph,
    (source, function, degree): (NodeId, &Activation, u32),
    before: &Values,
    wanted: &Values,
) -> Values {
    let all = before.iter().map(|v| Seen::of(v)).reduce(|a, b| a.and(&b));
    let Some(seen) = all else { return Vec::new() };
    // What the model's own activations give belongs to the range too: other inputs may come nearer to it.
    let own = out.node(source).range;
    let found = seen.range(function.wants_positive());
    let range = own.map_or(found, |own| [own[0].min(found[0]), own[1].max(found[1])]);
    let (mut counts, mut sums) = ([0u64; PARTS], [0.0; PARTS]);
    for (x, y) in before.iter().flatten().zip(wanted.iter().flatten()) {
        counts[part(*x, range)] += 1;
        sums[part(*x, range)] += y;
    }
    let mean = |(sum, count): (&f64, &u64)| if *count == 0 { 0.0 } else { sum / *count as f64 };
    let density = seen.density(&counts, sums.iter().zip(&counts).map(mean).collect());
    let [low, high] = widened(range);
    let coefficients = stand_in(function, [low, high], Some(&density), degree);
    let node = out.node_mut(source);
    (node.range, node.density) = (Some(range), Some(density));
    let stand_in =
        Function::Polynomial { coefficients, range: [low, high], max_error: 0.0, of: function.clone() };
    each(before, |image| before[image].iter().map(|x| evaluate::function(&stand_in, *x)).collect())
}

/// Whether all that reads a tensor is a layer that can be refitted, perhaps behind others that are linear.
fn is_repaired(model: &TensorGraph, id: NodeId) -> bool {
    let consumers = model.consumers(id);
    let repaired = |reader: &NodeId| match model.node(*reader).kind {
        Kind::Linear { .. } => Layer::of(model, *reader).is_some() || is_repaired(model, *reader),
        Kind::Concat { .. } => is_repaired(model, *reader),
        _ => false,
    };
    !consumers.is_empty() && !model.outputs.iter().any(|o| o.node == id) && consumers.iter().all(repaired)
}

/// The other operand of the sum or difference that alone reads a layer, where it is known already, and the sign by which the layer
/// makes up for what that has lost.
fn lost_beside<'a>(model: &TensorGraph, id: NodeId, tensors: &'a [Option<Both>]) -> Option<(&'a Both, f64)> {
    let [sum] = model.consumers(id)[..] else { return None };
    let [a, b] = model.operands(sum)[..] else { return None };
    let (other, sign) = match (&model.node(sum).kind, a == id) {
        (Kind::Add, true) => (b, 1.0),
        (Kind::Add, false) => (a, 1.0),
        (Kind::Sub, true) => (b, -1.0),
        (Kind::Sub, false) => (a, -1.0),
        _ => return None,
    };
    let other = tensors.get(other.0 as usize)?.as_ref()?;
    other.found.is_some().then_some((other, sign))
}
