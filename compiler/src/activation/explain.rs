//! What the polynomials that stand for activations cost: for every activation and degree, its error and its levels.
//!
//! Relies on the same fits as the stage itself. Promises: the chosen degree and its error are those of the circuit.

use super::fit::{chebyshev, frequency};
use super::form::Form;
use super::{DEGREES, Fit, lower, range_of};
use crate::compose::{Merge, compose};
use crate::error::CompileError;
use crate::graph::{Function, Kind, NodeId, TensorGraph};
use crate::levels::Levels;
use cipherloom_ir::Activation;
use std::collections::BTreeMap;

/// Points at which a typical error is measured.
const POINTS: u32 = 1000;

/// One activation of a model and the polynomial that stands for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// ONNX name of the activation's result.
    pub tensor: String,
    /// What it computes.
    pub function: Activation,
    /// Range of its argument that the polynomial was fitted on.
    pub range: [f64; 2],
    /// Whether the range comes from data or the model; else it is an interval bound.
    pub calibrated: bool,
    /// Degree in the circuit.
    pub degree: u32,
    /// Every degree.
    pub fits: Vec<Fitted>,
}

/// A polynomial of one degree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Its degree.
    pub degree: u32,
    /// Levels that it takes.
    pub levels: u32,
    /// Largest error on the range.
    pub worst_error: f64,
    /// Root mean square error for arguments distributed as the calibration data (all alike where nothing is known).
    pub typical_error: f64,
}

/// All activations, in order, as they are lowered with polynomials of at most `degree`.
///
/// # Errors
/// A range that cannot be bounded.
pub fn explain(graph: &TensorGraph, degree: u32) -> Result<Vec<Explained>, CompileError> {
    let (lowered, _) = lower(graph, degree)?;
    // A function that is a line on its range has become a linear node.
    let polynomials = lowered.order().filter_map(|id| match &lowered.node(id).kind {
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => {
            Some((lowered.node(id).name.as_str(), coefficients.len() as u32 - 1))
        }
        _ => None,
    });
    let degrees: BTreeMap<&str, u32> = polynomials.collect();
    let exact = graph.order().filter_map(|id| match &graph.node(id).kind {
        Kind::Elementwise(Function::Exact(function)) => Some((id, function)),
        _ => None,
    });
    let mut known = BTreeMap::new();
    let one = |(id, function): (NodeId, &Activation)| {
        let source = graph.operands(id)[0];
        let range = range_of(graph, source, &mut known, &mut vec![])?;
        let density = graph.node(source).density.as_ref();
        let wanted = graph.node(id).fitting.as_ref().map(|fitting| &fitting.wanted[..]);
        let fit = |degree| Fit { function, range, density, wanted, degree };
        Ok(Explained {
            tensor: graph.node(id).name.clone(),
            function: function.clone(),
            range,
            calibrated: graph.node(source).range.is_some(),
            degree: degrees.get(graph.node(id).name.as_str()).copied().unwrap_or(1),
            fits: DEGREES.map(|degree| fitted(&fit(degree))).to_vec(),
        })
    };
    exact.map(one).collect()
}

/// Fewest levels of a model whose activations have at most this degree.
///
/// # Errors
/// As [`explain`].
pub fn levels(graph: &TensorGraph, degree: u32) -> Result<u32, CompileError> {
    let (lowered, _) = lower(graph, degree)?;
    Ok(Levels::of(&compose(&lowered, Merge::All)?).top().0)
}

fn fitted(fit: &Fit<'_>) -> Fitted {
    let Fit { function, range, density, degree, .. } = *fit;
    let (coefficients, worst_error) = fit.of(degree);
    let (mut total, mut weights) = (0.0, 0.0);
    for k in 0..=POINTS {
        let t = 2.0 * f64::from(k) / f64::from(POINTS) - 1.0;
        let x = range[0] + (t + 1.0) / 2.0 * (range[1] - range[0]);
        let weight = frequency(density, range, t);
        let error = chebyshev(&coefficients, t) - function.value(x);
        total += weight * error * error;
        weights += weight;
    }
    let typical_error = if weights > 0.0 { (total / weights).sqrt() } else { worst_error };
    Fitted { degree, levels: Form::depth(degree as usize), worst_error, typical_error }
}
