//! Stage 1, activation lowering.
//!
//! Does: replaces every exact activation by a polynomial fitted on its calibrated range, in a variable scaled so that
//! the leading coefficient is ±1 (a [`Form`]) or that the range has width 2 (a [`series`]); the scaling becomes a linear node
//! before it, which [`compose`](crate::compose) merges into the layer that produces the tensor. A function that is a line on its
//! range becomes a linear node.
//! Needs: ranges (calibrated, else interval bounds with a warning).
//! Leaves: a graph without [`Function::Exact`]. Why here: ranges belong to the tensors of the model, before any
//! linear map is merged.

pub mod explain;
pub mod fit;
pub mod form;
pub mod series;

use crate::error::CompileError;
use crate::graph::{Density, Function, Kind, NodeId, TensorGraph, TensorNode};
use crate::outputs::Assumed;
use crate::stages::Stage;
use cipherloom_ir::{Activation, RangeCertificate, Tensor, matrix_rows};
use fit::{fit, to_powers};
use form::Form;
use std::collections::BTreeMap;

/// Leading coefficients whose term stays below this share of the polynomial's largest value are taken as zero: scaled to ±1 they
/// make the other terms larger than the result by the inverse of the share, and as many bits are lost where these cancel.
const NEGLIGIBLE_SHARE: f64 = 1.0 / 64.0;

/// Chebyshev coefficients of a series up to this share of the largest are taken as zero.
const ZERO_SHARE: f64 = 1e-6;

/// Degrees that a polynomial can have.
pub const DEGREES: [u32; 7] = [2, 3, 4, 7, 15, 31, 63];

/// What the stage hands on beside the graph.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// Ranges that the polynomials were fitted on.
    pub certificate: Vec<RangeCertificate>,
    /// Outputs whose ranges nobody gave.
    pub assumed: Vec<Assumed>,
    /// Things the user should know.
    pub warnings: Vec<String>,
}

/// Replaces exact activations by polynomials of at most `degree`.
pub fn lower(graph: &TensorGraph, degree: u32) -> Result<(TensorGraph, Lowered), CompileError> {
    let mut out = empty_copy(graph);
    let mut lowered = Lowered::default();
    let mut renamed: Vec<NodeId> = Vec::new();
    let mut known = BTreeMap::new();
    for id in graph.order() {
        let operands: Vec<NodeId> = graph.operands(id).iter().map(|o| renamed[o.0 as usize]).collect();
        let node = graph.node(id).clone();
        let new = match &node.kind {
            Kind::Elementwise(Function::Exact(function)) => {
                let source = graph.node(graph.operands(id)[0]);
                let range = range_of(graph, graph.operands(id)[0], &mut known, &mut lowered.warnings)?;
                positive(function, range, &source.name)?;
                lowered.certificate.push(RangeCertificate { tensor: source.name.clone(), range });
                let density = source.density.as_ref();
                let degree = node.fitting.as_ref().map_or(degree, |fitting| fitting.degree.min(degree));
                let wanted = node.fitting.as_ref().map(|fitting| &fitting.wanted[..]);
                add_polynomial(&mut out, &node, operands[0], Fit { function, range, density, wanted, degree })
            }
            _ => out.add(node, &operands),
        };
        renamed.push(new);
    }
    relink(graph, &mut out, &renamed);
    Ok((out, lowered))
}

/// Refuses a function on a range where it is not defined.
fn positive(function: &Activation, range: [f64; 2], tensor: &str) -> Result<(), CompileError> {
    if !function.wants_positive() || range[0] > 0.0 {
        return Ok(());
    }
    Err(CompileError::Unsupported {
        stage: Stage::Activation.name(),
        tensor: tensor.to_owned(),
        reason: format!(
            "a root, quotient or power is taken of values in [{:.3}, {:.3}], and is known for positive ones only",
            range[0], range[1]
        ),
        remedy: "calibrate with data, or add a positive constant before it".into(),
    })
}

/// A graph with the same tensors, input and outputs, but no nodes yet.
pub(crate) fn empty_copy(graph: &TensorGraph) -> TensorGraph {
    let mut out = TensorGraph::new(graph.name.clone());
    out.tensors = graph.tensors.clone();
    out
}

/// Copies input and outputs with renamed nodes.
pub(crate) fn relink(graph: &TensorGraph, out: &mut TensorGraph, renamed: &[NodeId]) {
    out.input = graph.input.clone();
    if let Some(input) = &mut out.input {
        input.node = renamed[input.node.0 as usize];
    }
    out.outputs = graph.outputs.clone();
    for output in &mut out.outputs {
        output.node = renamed[output.node.0 as usize];
    }
}

/// What a polynomial is fitted by.
pub(crate) struct Fit<'a> {
    /// The function that it stands for.
    pub function: &'a Activation,
    /// A range with a width.
    pub range: [f64; 2],
    /// How its argument is distributed.
    pub density: Option<&'a Density>,
    /// What it should yield, by parts of the range.
    pub wanted: Option<&'a [f64]>,
    /// Most that its degree may be.
    pub degree: u32,
}

impl Fit<'_> {
    fn of(&self, degree: u32) -> (Vec<f64>, f64) {
        fit(self.function, self.range, self.density, self.wanted, degree)
    }

    /// The worthwhile fit of the highest degree; `None` where the function is a line.
    fn best(&self) -> Option<(Vec<f64>, f64, f64)> {
        let mut degrees = DEGREES.iter().rev().filter(|degree| **degree <= self.degree.max(DEGREES[0]));
        degrees.find_map(|degree| worthwhile(self, *degree))
    }
}

/// Chebyshev coefficients of what stands for a function: a polynomial, or a line.
pub(crate) fn coefficients(fit: &Fit<'_>) -> Vec<f64> {
    fit.best().map_or_else(|| fit.of(1).0, |(coefficients, ..)| coefficients)
}

fn add_polynomial(out: &mut TensorGraph, node: &TensorNode, operand: NodeId, wanted: Fit<'_>) -> NodeId {
    let Some((coefficients, max_error, factor)) = wanted.best() else {
        return line(out, node, operand, &wanted);
    };
    let source = out.node(operand).clone();
    let scaled = TensorNode {
        kind: Kind::Linear { operators: vec![], scale: factor, bias: None },
        name: source.name.clone(),
        range: source.range.map(|r| r.map(|x| x * factor)),
        density: None,
        ..source
    };
    let scaled = out.add(scaled, &[operand]);
    let function = Function::Polynomial {
        coefficients,
        range: wanted.range.map(|x| x * factor),
        max_error,
        of: wanted.function.clone(),
    };
    out.add(TensorNode { kind: Kind::Elementwise(function), ..node.clone() }, &[scaled])
}

/// The fit of a degree with its largest error and the factor of its variable; `None` where a lower degree does as well.
fn worthwhile(wanted: &Fit<'_>, degree: u32) -> Option<(Vec<f64>, f64, f64)> {
    let (mut coefficients, max_error) = wanted.of(degree);
    let largest = coefficients.iter().fold(0.0f64, |m, c| m.max(c.abs()));
    if !Form::has(degree as usize) {
        let lower = DEGREES.iter().rev().find(|d| **d < degree).map_or(0, |d| *d as usize);
        let zeros = coefficients.iter_mut().filter(|c| c.abs() <= ZERO_SHARE * largest);
        zeros.for_each(|c| *c = 0.0);
        let needed = coefficients[lower + 1..].iter().any(|c| *c != 0.0);
        return needed.then_some((coefficients, max_error, 2.0 / (wanted.range[1] - wanted.range[0])));
    }
    let bound = wanted.range[0].abs().max(wanted.range[1].abs());
    let lead = to_powers(&coefficients, wanted.range)[degree as usize];
    let term = lead.abs() * libm::pow(bound, f64::from(degree));
    let factor = libm::pow(lead.abs(), 1.0 / f64::from(degree));
    (term > NEGLIGIBLE_SHARE * largest).then_some((coefficients, max_error, factor))
}

/// A function that no polynomial of higher degree meets better than its line.
fn line(out: &mut TensorGraph, node: &TensorNode, operand: NodeId, wanted: &Fit<'_>) -> NodeId {
    let (coefficients, _) = wanted.of(1);
    let powers = to_powers(&coefficients, wanted.range);
    let channels = node.shape.first().copied().unwrap_or(1);
    let bias = Some(out.add_tensor(Tensor {
        name: format!("{}.constant", node.name),
        shape: vec![channels],
        values: vec![powers[0] as f32; channels as usize],
    }));
    let kind = Kind::Linear { operators: vec![], scale: powers[1], bias };
    out.add(TensorNode { kind, ..node.clone() }, &[operand])
}

/// Calibrated range of a tensor, else interval bounds; `known` holds those found so far.
fn range_of(
    graph: &TensorGraph,
    id: NodeId,
    known: &mut BTreeMap<NodeId, [f64; 2]>,
    warnings: &mut Vec<String>,
) -> Result<[f64; 2], CompileError> {
    let node = graph.node(id);
    if let Some(range) = node.range {
        return Ok(widened(range));
    }
    let range = interval(graph, id, known)?;
    warnings.push(format!(
        "no calibrated range for `{}`: interval bounds [{:.3}, {:.3}] are used, which cost accuracy; calibrate with data",
        node.name, range[0], range[1]
    ));
    Ok(widened(range))
}

/// A range with a width, so that fits exist: of values that are all alike, some of their size around them.
pub(crate) fn widened(range: [f64; 2]) -> [f64; 2] {
    let size = range[0].abs().max(range[1].abs());
    if range[1] - range[0] > 1e-6 * size {
        return range;
    }
    let around = if size > 0.0 { size } else { 1.0 };
    [range[0] - around, range[1] + around]
}

/// Interval bounds of a tensor from the bounds of its operands; `known` keeps what has been found. Graphs are as deep as their files say, so
/// that operands wait in a list.
pub(crate) fn interval(
    graph: &TensorGraph,
    id: NodeId,
    known: &mut BTreeMap<NodeId, [f64; 2]>,
) -> Result<[f64; 2], CompileError> {
    let mut waiting = vec![id];
    loop {
        let Some(&last) = waiting.last() else { return Ok(known[&id]) };
        let operands = graph.operands(last);
        let own = graph.node(last).range.or_else(|| known.get(&last).copied());
        let missing = operands.iter().find(|o| own.is_none() && !known.contains_key(*o));
        if let Some(operand) = missing {
            waiting.push(*operand);
            continue;
        }
        let of_operands = || interval_of(graph, last, &operands.iter().map(|o| known[o]).collect::<Vec<_>>());
        let range = own.map_or_else(of_operands, Ok)?;
        known.insert(last, range);
        waiting.pop();
    }
}

/// Interval bounds of a node from those of its operands.
fn interval_of(graph: &TensorGraph, id: NodeId, operands: &[[f64; 2]]) -> Result<[f64; 2], CompileError> {
    let node = graph.node(id);
    let extent = |values: &[f64]| {
        [
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ]
    };
    Ok(match &node.kind {
        Kind::Input => input_range(graph),
        Kind::Linear { operators, scale, bias } => {
            let shape = &graph.node(graph.operands(id)[0]).shape;
            let (rows, _) = matrix_rows(operators, 1.0, shape, &graph.tensors)
                .map_err(|e| CompileError::map("activation lowering", &node.name, &e))?;
            let ends =
                (0..rows.rows()).flat_map(|r| row_bounds(rows.row(r), operands[0])).collect::<Vec<_>>();
            let inner = extent(&ends);
            let bias = bias.map_or([0.0, 0.0], |b| {
                let values: Vec<f64> =
                    graph.tensors[b.0 as usize].values.iter().map(|v| f64::from(*v)).collect();
                extent(&values)
            });
            let scaled = extent(&[inner[0] * scale, inner[1] * scale]);
            [scaled[0] + bias[0], scaled[1] + bias[1]]
        }
        Kind::Elementwise(Function::Square) => {
            let bound = operands[0][0].abs().max(operands[0][1].abs());
            [0.0, bound * bound]
        }
        Kind::Elementwise(Function::Exact(f)) => {
            // Sampled: ends are, and between them activations bend slowly.
            let [low, high] = operands[0];
            let inner = (0..=1000).map(|k| f.value(low + (high - low) * f64::from(k) / 1000.0));
            extent(&inner.collect::<Vec<_>>())
        }
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => {
            let bound: f64 = coefficients.iter().map(|c| c.abs()).sum();
            [-bound, bound]
        }
        Kind::Add => [operands[0][0] + operands[1][0], operands[0][1] + operands[1][1]],
        Kind::Sub => [operands[0][0] - operands[1][1], operands[0][1] - operands[1][0]],
        Kind::Mul => {
            let products: Vec<f64> =
                operands[0].iter().flat_map(|a| operands[1].iter().map(move |b| a * b)).collect();
            extent(&products)
        }
        Kind::Concat { .. } => extent(&operands.concat()),
    })
}

/// Smallest and largest `Σ w·x` for every x in `range`.
fn row_bounds((_, weights): (&[u32], &[f64]), range: [f64; 2]) -> [f64; 2] {
    weights.iter().fold([0.0, 0.0], |sum, w| {
        let (a, b) = (w * range[0], w * range[1]);
        [sum[0] + a.min(b), sum[1] + a.max(b)]
    })
}

/// Values of the preprocessed input, for raw values in `[0, 255]` where the scale is 1/255 and `[0, 1]` else.
pub(crate) fn input_range(graph: &TensorGraph) -> [f64; 2] {
    let Some(input) = &graph.input else { return [0.0, 1.0] };
    if let Some(range) = graph.node(input.node).range {
        return range;
    }
    let p = &input.preprocessing;
    let raw = if p.scale < 0.5 { 255.0 * p.scale } else { p.scale };
    let at = |list: &[f64], k: usize, default: f64| list.get(k).or(list.first()).copied().unwrap_or(default);
    let channels = p.mean.len().max(p.std.len()).max(1);
    let ends = (0..channels).flat_map(|c| [0.0, raw].map(|x| (x - at(&p.mean, c, 0.0)) / at(&p.std, c, 1.0)));
    ends.fold([f64::INFINITY, f64::NEG_INFINITY], |r, x| [r[0].min(x), r[1].max(x)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deeper than any stack of calls.
    #[test]
    fn bounds_of_deep_graphs_are_found() {
        let mut graph = TensorGraph::new("deep");
        let node = |kind, name: &str, range| TensorNode {
            kind,
            name: name.into(),
            shape: vec![1],
            range,
            density: None,
            fitting: None,
        };
        let x = graph.add(node(Kind::Input, "x", Some([-1.0, 2.0])), &[]);
        let mut last = x;
        for _ in 0..50_000 {
            last = graph.add(node(Kind::Elementwise(Function::Exact(Activation::Relu)), "y", None), &[last]);
        }
        assert_eq!(interval(&graph, last, &mut BTreeMap::new()), Ok([0.0, 2.0]));
        let sum = graph.add(node(Kind::Sub, "z", None), &[x, last]);
        assert_eq!(interval(&graph, sum, &mut BTreeMap::new()), Ok([-3.0, 2.0]));
    }

    #[test]
    fn narrow_ranges_keep_their_size() {
        assert_eq!(widened([0.0, 5e-7]), [0.0, 5e-7]);
        assert_eq!(widened([3.0, 3.0]), [0.0, 6.0]);
        assert_eq!(widened([0.0, 0.0]), [-1.0, 1.0]);
    }
}
