//! Layers and ranges: the polynomial model beside the clear one, tensor by tensor, and the noisy circuit beside the exact
//! one, value by value.
//!
//! Tensors are compared in the tensor graph, whose polynomials are those of the circuit; the circuit itself has merged and
//! scaled layers, so that only its errors, relative to its slots, are comparable. Layers are matched by ONNX name.

use super::{ImageFacts, Layer, RangeSeen};
use crate::model::Model;
use cipherloom_compiler::graph::{Kind, TensorGraph, evaluate};
use cipherloom_compiler::{CompileError, activation};
use cipherloom_ir::{
    Circuit, Draw, ExactError, ExactRun, Interpretation, Node, Noisy, NoisyRun, SlotVector, interpret,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Tensors that exist in the clear and in the polynomial graph.
pub(super) struct Layers {
    polynomial: TensorGraph,
    pairs: Vec<Pair>,
    /// First node of each name in the polynomial graph.
    named: BTreeMap<String, usize>,
    /// Nodes of the polynomial graph that are input and outputs.
    input: Option<usize>,
    outputs: BTreeMap<String, usize>,
}

/// One layer: its node in both graphs, its origin in the circuit.
struct Pair {
    name: String,
    clear: usize,
    polynomial: usize,
    origin: Option<usize>,
}

impl Layers {
    pub(super) fn of(model: &Model, circuit: &Circuit, degree: u32) -> Result<Layers, CompileError> {
        let clear = &model.frontend().graph;
        let (polynomial, _) = activation::lower(model.graph(), degree)?;
        // The first node of a name is the tensor itself; a later one is the argument of its polynomial, scaled.
        let mut named = BTreeMap::new();
        for id in polynomial.order() {
            named.entry(polynomial.node(id).name.clone()).or_insert(id.0 as usize);
        }
        let pair = |id| {
            let node = clear.node(id);
            let polynomial = *named.get(&node.name)?;
            let origin = circuit.origins.iter().position(|o| *o == node.name);
            let counts = !matches!(node.kind, Kind::Input);
            counts.then(|| Pair { name: node.name.clone(), clear: id.0 as usize, polynomial, origin })
        };
        let pairs = clear.order().filter_map(pair).collect();
        let input = polynomial.input.as_ref().map(|i| i.node.0 as usize);
        let outputs = polynomial.outputs.iter().map(|o| (o.name.clone(), o.node.0 as usize)).collect();
        Ok(Layers { pairs, named, input, outputs, polynomial })
    }

    /// Per layer the squares of (polynomial − clear) and of clear; and all tensors of the polynomial graph.
    pub(super) fn compare(&self, clear: &TensorGraph, input: &[f64]) -> (Vec<[f64; 2]>, Vec<Vec<f64>>) {
        let (clear, polynomial) = (evaluate::graph(clear, input), evaluate::graph(&self.polynomial, input));
        let squares = |pair: &Pair| {
            let values = clear[pair.clear].iter().zip(&polynomial[pair.polynomial]);
            values.fold([0.0, 0.0], |[d, c], (x, y)| [d + (y - x) * (y - x), c + x * x])
        };
        (self.pairs.iter().map(squares).collect(), polynomial)
    }

    pub(super) fn findings(&self, facts: &[ImageFacts]) -> Vec<Layer> {
        let ratio = |of: &dyn Fn(&ImageFacts) -> [f64; 2]| {
            let [part, whole] = facts.iter().map(of).fold([0.0, 0.0], |s, f| [s[0] + f[0], s[1] + f[1]]);
            if part == 0.0 { 0.0 } else { (part / whole).sqrt() }
        };
        let layer = |(k, pair): (usize, &Pair)| Layer {
            name: pair.name.clone(),
            divergence: ratio(&|f| f.divergence[k]),
            noise_bits: pair.origin.map(|origin| -ratio(&|f| f.noise[origin]).log2()),
        };
        let mut layers: Vec<Layer> = self.pairs.iter().enumerate().map(layer).collect();
        // An origin without nodes has no error and no slots.
        layers.iter_mut().for_each(|l| l.noise_bits = l.noise_bits.filter(|b| b.is_finite()));
        layers
    }
}

/// Certified tensors, by their node in the polynomial graph.
pub(super) struct Ranges(Vec<(String, [f64; 2], usize)>);

impl Ranges {
    pub(super) fn of(circuit: &Circuit, layers: &Layers) -> Ranges {
        let inputs = circuit.inputs.iter().filter_map(|i| Some((i.name.clone(), i.range, layers.input?)));
        let inner = circuit
            .certificate
            .iter()
            .filter_map(|c| Some((c.tensor.clone(), c.range, *layers.named.get(&c.tensor)?)));
        let outputs = circuit
            .outputs
            .iter()
            .filter_map(|o| Some((o.name.clone(), o.range, *layers.outputs.get(&o.name)?)));
        Ranges(inputs.chain(inner).chain(outputs).collect())
    }

    pub(super) fn seen(&self, tensors: &[Vec<f64>]) -> Vec<[f64; 2]> {
        // NaN counts as beyond every bound.
        let extent = |values: &Vec<f64>| {
            values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| match x.is_nan() {
                true => [f64::NEG_INFINITY, f64::INFINITY],
                false => [low.min(*x), high.max(*x)],
            })
        };
        self.0.iter().map(|(_, _, node)| extent(&tensors[*node])).collect()
    }

    pub(super) fn findings(&self, facts: &[ImageFacts]) -> Vec<RangeSeen> {
        let one = |(k, (tensor, certificate, _)): (usize, &(String, [f64; 2], usize))| {
            let [low, high] = *certificate;
            let seen = facts.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], f| {
                [a.min(f.seen[k][0]), b.max(f.seen[k][1])]
            });
            let outside = |f: &&ImageFacts| f.seen[k][0] < low || f.seen[k][1] > high;
            RangeSeen {
                tensor: tensor.clone(),
                certificate: *certificate,
                seen,
                headroom: (seen[0] - low).min(high - seen[1]) / (high - low),
                images_outside: facts.iter().filter(outside).count(),
            }
        };
        self.0.iter().enumerate().map(one).collect()
    }
}

/// The exact and the noisy meaning in one pass.
pub(super) struct Beside<'a> {
    exact: ExactRun<'a>,
    noisy: NoisyRun<'a>,
    /// By origin: squares of the error and of the exact slots of its last node.
    noise: RefCell<Vec<[f64; 2]>>,
}

/// Output values with exact and with noisy slots, and the squares by origin.
type Both = (Vec<SlotVector>, Vec<SlotVector>, Vec<[f64; 2]>);

impl<'a> Beside<'a> {
    pub(super) fn new(
        circuit: &Circuit,
        noisy: &'a Noisy,
        input: &[f64],
        draw: Draw,
    ) -> Result<Beside<'a>, ExactError> {
        let exact = noisy.exact().with_inputs(circuit, &[input])?;
        let noisy = noisy.with_inputs(circuit, &[input], draw)?;
        Ok(Beside { exact, noisy, noise: RefCell::new(vec![[0.0; 2]; circuit.origins.len()]) })
    }

    pub(super) fn run(self, circuit: &Circuit) -> Result<Both, ExactError> {
        let (exact, noisy) = interpret(circuit, &self)?.into_iter().unzip();
        Ok((exact, noisy, self.noise.into_inner()))
    }
}

impl Interpretation for Beside<'_> {
    type Value = (SlotVector, SlotVector);
    type Error = ExactError;

    fn apply(
        &self,
        circuit: &Circuit,
        node: &Node,
        operands: &[&(SlotVector, SlotVector)],
    ) -> Result<Vec<(SlotVector, SlotVector)>, ExactError> {
        let exact: Vec<&SlotVector> = operands.iter().map(|(exact, _)| exact).collect();
        let noisy: Vec<&SlotVector> = operands.iter().map(|(_, noisy)| noisy).collect();
        let exact = self.exact.apply(circuit, node, &exact)?;
        let noisy = self.noisy.apply(circuit, node, &noisy)?;
        let slots = exact.iter().zip(&noisy).flat_map(|(x, y)| x.iter().zip(y.iter()));
        let squares = slots.fold([0.0, 0.0], |[d, c], (x, y)| [d + (y - x) * (y - x), c + x * x]);
        if let Some(own) = self.noise.borrow_mut().get_mut(node.origin as usize) {
            *own = squares;
        }
        Ok(exact.into_iter().zip(noisy).collect())
    }
}
