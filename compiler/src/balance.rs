//! Stage 3, balance of magnitudes.
//!
//! Does: scales the input of every square by a power of two and takes the square of it back in the linear maps that
//! read the square, so that values are large beside the noise of rescaling. Needs: composed linear maps, and moments of
//! the squares' inputs (calibrated, else measured on the inputs of `samples`). Leaves: the same function
//! with other intermediate values. Why here: after composition every square stands between linear maps, whose uniform
//! factors are free. Outputs gain a power of two that the client takes back. Powers of two leave every weight's bits as they are.

use crate::graph::evaluate;
use crate::graph::{Function, Kind, NodeId, TensorGraph};
use crate::samples;
use cipherloom_ir::Tensor;

/// Root mean square that inputs of squares are brought near. Larger values gain on the rescale noise of this layer but
/// shrink the next weights towards the rounding of plaintexts: measured on the shipped models, 2 needs the smallest scales.
const TARGET_RMS: f64 = 2.0;

/// Factor on outputs of the model, which the client divides by again: it lifts them above the noise of the last
/// layer's rescale and of its plaintexts, at the price of a larger base prime. Measured on the shipped models.
const OUTPUT_GAIN: f64 = 2.0;

/// A graph with balanced magnitudes.
#[derive(Clone, Debug)]
pub struct Balanced {
    /// The graph.
    pub graph: TensorGraph,
    /// What the client multiplies each output by.
    pub output_scales: Vec<f64>,
}

impl Balanced {
    /// A graph as it is.
    pub fn unchanged(graph: TensorGraph) -> Balanced {
        let output_scales = vec![1.0; graph.outputs.len()];
        Balanced { graph, output_scales }
    }
}

/// Scales the inputs of squares, and outputs of linear maps.
pub fn balance(graph: &TensorGraph) -> Balanced {
    let mut out = squares_balanced(graph);
    let mut output_scales = vec![1.0; graph.outputs.len()];
    for (output, scale) in graph.outputs.iter().zip(&mut output_scales) {
        let linear = matches!(graph.node(output.node).kind, Kind::Linear { .. });
        let private = graph.consumers(output.node).is_empty();
        let once = graph.outputs.iter().filter(|o| o.node == output.node).count() == 1;
        if linear && private && once {
            scale_output(&mut out, output.node, OUTPUT_GAIN);
            *scale = 1.0 / OUTPUT_GAIN;
        }
    }
    Balanced { graph: out, output_scales }
}

fn squares_balanced(graph: &TensorGraph) -> TensorGraph {
    let mut out = graph.clone();
    let mut measured: Option<Vec<f64>> = None;
    for id in graph.order() {
        if !matches!(graph.node(id).kind, Kind::Elementwise(Function::Square)) {
            continue;
        }
        let source = graph.operands(id)[0];
        if !between_linear_maps(graph, source, id) {
            continue;
        }
        let rms = match &graph.node(source).density {
            Some(d) => libm::sqrt(d.mean * d.mean + d.std * d.std),
            None => measured.get_or_insert_with(|| root_mean_squares(graph))[source.0 as usize],
        };
        let exponent = libm::round(libm::log2(TARGET_RMS / rms));
        if !exponent.is_finite() || exponent == 0.0 {
            continue;
        }
        let factor = libm::exp2(exponent);
        scale_output(&mut out, source, factor);
        for reader in graph.consumers(id) {
            if let Kind::Linear { scale, .. } = &mut out.node_mut(reader).kind {
                *scale /= factor * factor;
            }
        }
    }
    out
}

/// Whether `source` is a linear map read by the square alone, and the square is read by linear maps alone.
fn between_linear_maps(graph: &TensorGraph, source: NodeId, square: NodeId) -> bool {
    let linear = |id: NodeId| matches!(graph.node(id).kind, Kind::Linear { .. });
    let is_output = |id: NodeId| graph.outputs.iter().any(|o| o.node == id);
    linear(source)
        && graph.consumers(source) == [square]
        && graph.consumers(square).into_iter().all(linear)
        && !is_output(source)
        && !is_output(square)
}

fn scale_output(graph: &mut TensorGraph, id: NodeId, factor: f64) {
    let Kind::Linear { scale, bias, .. } = graph.node(id).kind.clone() else { return };
    let scaled = bias.map(|b| {
        let tensor = graph.tensors[b.0 as usize].clone();
        let values = tensor.values.iter().map(|v| (f64::from(*v) * factor) as f32).collect();
        graph.add_tensor(Tensor { values, ..tensor })
    });
    let node = graph.node_mut(id);
    node.range = node.range.map(|r| r.map(|x| x * factor));
    node.density = None;
    if let Kind::Linear { scale: s, bias: b, .. } = &mut node.kind {
        *s = scale * factor;
        *b = scaled;
    }
}

/// Root mean square of every tensor over the samples.
fn root_mean_squares(graph: &TensorGraph) -> Vec<f64> {
    let mut sums = vec![0.0; graph.order().count()];
    let samples = samples::of(graph);
    for sample in &samples {
        for (sum, values) in sums.iter_mut().zip(evaluate::graph(graph, sample)) {
            *sum += values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64;
        }
    }
    sums.iter().map(|s| libm::sqrt(s / samples.len() as f64)).collect()
}
