//! Output ranges, behind stage 1: what the base prime must hold where nothing was calibrated.
//!
//! Does: gives every output without a range one: interval bounds of its elements where these are no larger than what is
//! assumed anyway, else what made-up inputs reach, with a margin. Needs: lowered activations. Leaves: ranges on all outputs.
//! Of the circuit it says how many bits a proof takes that assumed outputs fit; the base prime grows by as many of them as
//! cost no time, and what stays unproved is a warning. Why here: intervals need the model's own tensors, before linear maps are composed.

use crate::activation::interval;
use crate::error::CompileError;
use crate::graph::{NodeId, TensorGraph, evaluate};
use crate::samples;
use cipherloom_ir::{Circuit, OutputBound, output_bounds};
use std::collections::BTreeMap;

/// Outputs of this magnitude are always provided for, unless intervals are smaller.
const LEAST_OUTPUT: f64 = 64.0;
/// A larger base prime comes with a larger P, which moves the errors a little.
const MISSING_MARGIN_BITS: f64 = 0.1;
/// Real inputs may exceed the made-up ones' outputs by this factor.
const SEEN_MARGIN: f64 = 1.5;

/// An output whose range is assumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumed {
    /// ONNX name.
    pub name: String,
    /// Largest magnitude on made-up inputs.
    pub seen: f64,
}

/// Fills the ranges of outputs that have none; one that is zero in all data gets a width, which errors can be compared with.
pub fn assume(graph: &mut TensorGraph) -> Vec<Assumed> {
    for k in 0..graph.outputs.len() {
        let node = graph.node_mut(graph.outputs[k].node);
        node.range = node.range.map(|range| if range == [0.0, 0.0] { [-1.0, 1.0] } else { range });
    }
    let open = |o: &&crate::graph::GraphOutput| graph.node(o.node).range.is_none();
    let open: Vec<(NodeId, String)> =
        graph.outputs.iter().filter(open).map(|o| (o.node, o.name.clone())).collect();
    if open.is_empty() {
        return vec![];
    }
    let seen = seen(graph);
    let mut known = BTreeMap::new();
    let one = |(id, name): (NodeId, String)| {
        let seen = seen.get(id.0 as usize).copied().unwrap_or(0.0);
        let assumed = LEAST_OUTPUT.max(SEEN_MARGIN * seen);
        let proved = interval(graph, id, &mut known).unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        let small = proved.iter().all(|x| x.abs() <= assumed);
        (id, if small && proved != [0.0, 0.0] { proved } else { [-assumed, assumed] }, Assumed { name, seen })
    };
    let found: Vec<_> = open.into_iter().map(one).collect();
    found
        .into_iter()
        .map(|(id, range, assumed)| {
            graph.node_mut(id).range = Some(range);
            assumed
        })
        .collect()
}

/// Largest magnitude of every tensor on made-up inputs.
fn seen(graph: &TensorGraph) -> Vec<f64> {
    let mut largest = vec![0f64; graph.order().count()];
    for sample in samples::of(graph) {
        for (largest, values) in largest.iter_mut().zip(evaluate::graph(graph, &sample)) {
            *largest = values.iter().fold(*largest, |m, v| m.max(v.abs()));
        }
    }
    largest
}

/// Bits by which the base prime is too small for a proof that assumed outputs fit; 0 where nothing was assumed.
pub fn missing_bits(circuit: &Circuit, assumed: &[Assumed]) -> Result<u32, CompileError> {
    let bits = |bound: &OutputBound| libm::ceil(libm::log2(bound.reach / bound.room) + MISSING_MARGIN_BITS);
    let missing = unproved(circuit, assumed)?.iter().map(|(_, bound)| bits(bound)).fold(0.0, f64::max);
    Ok(missing as u32)
}

/// Assumed outputs of which it is not proved that they fit, by their position.
fn unproved(circuit: &Circuit, assumed: &[Assumed]) -> Result<Vec<(usize, OutputBound)>, CompileError> {
    if assumed.is_empty() {
        return Ok(vec![]);
    }
    let bounds = output_bounds(circuit).map_err(|e| CompileError::Internal(e.to_string()))?;
    let is_assumed = |k: usize| assumed.iter().any(|a| a.name == circuit.outputs[k].name);
    Ok(bounds.into_iter().enumerate().filter(|(k, bound)| !bound.fits() && is_assumed(*k)).collect())
}

/// One line per assumed output of which it is not proved that it fits the modulus.
pub fn warnings(circuit: &Circuit, assumed: &[Assumed]) -> Result<Vec<String>, CompileError> {
    let line = |(k, bound): (usize, OutputBound)| {
        let name = &circuit.outputs[k].name;
        let seen = assumed.iter().find(|a| a.name == *name).map_or(0.0, |a| a.seen);
        format!(
            "output `{name}` has no calibrated range: made-up inputs reach {seen:.3}, the modulus holds {:.3e}, and no proof \
             excludes inputs that reach up to {:.3e} (a bound, which perhaps no input meets); such answers would be wrong \
             without a sign: calibrate with data, or give the output's range in `cipherloom.ranges`",
            bound.room, bound.reach
        )
    };
    Ok(unproved(circuit, assumed)?.into_iter().map(line).collect())
}
