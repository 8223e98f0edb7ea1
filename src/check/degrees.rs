//! What accuracy each degree of activation polynomials leaves, on data.
//!
//! A little above the soft cap: by classes and by distances, it is one question.

use super::{class, percent};
use crate::data::{Dataset, Sample};
use crate::error::{Error, Kind};
use crate::model::{Model, slot_values};
use cipherloom_compiler::activation::form::Form;
use cipherloom_compiler::activation::{self, DEGREES, explain};
use cipherloom_compiler::graph::{Function, Kind as GraphKind, TensorGraph, evaluate};
use cipherloom_compiler::refit::{Degrees, refit};
use cipherloom_compiler::{CompileError, CompileOptions};
use rayon::prelude::*;
use serde::Serialize;

/// Most samples that are evaluated: shares are known to a per cent or so.
const MAX_SAMPLES: usize = 500;

/// Share of the samples whose class a degree must keep to be chosen.
const FAITHFUL: f64 = 0.98;
/// What a higher degree must add to the share where none keeps so many.
const WORTH_A_LEVEL: f64 = 0.005;
/// Fewest samples that a degree is chosen by.
const FEWEST_SAMPLES: usize = 50;
/// Fewest samples, kept from the fit, that a lower degree behind refitted layers is chosen by: of few, none may be an outlier.
const FEWEST_KEPT: usize = 50;
/// Most samples that a degree is chosen by.
const FAITHFUL_SAMPLES: usize = 300;

/// Relative error, of the worst sample, up to which a degree is chosen where outputs are no class scores.
const NEAR: f64 = 0.05;
/// Share of that error that a higher degree must take away where none is so near.
const WORTH_A_LEVEL_OF_ERROR: f64 = 0.2;
/// Fewest samples that a degree is chosen by where outputs are no class scores: each of their elements tells.
const FEWEST_NEAR: usize = 8;
/// Most such samples: outputs of that kind come from large networks.
const NEAR_SAMPLES: usize = 32;

/// A model whose activations are polynomials of at most one degree.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AtDegree {
    /// The degree.
    pub degree: u32,
    /// Fewest levels of the circuit.
    pub levels: u32,
    /// Share of the samples with the class of the model's own activations; absent without data.
    pub agreement: Option<f64>,
    /// Share with the right class; absent without labels.
    pub accuracy: Option<f64>,
    /// Distance of outputs from those of the model's own activations over their size, in the L2 norm, of the worst sample and
    /// output; given by [`faithful`] alone, where outputs are no class scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

impl std::fmt::Display for AtDegree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "polynomials of degree {} at most", self.degree)?;
        if let Some(share) = self.agreement {
            write!(f, " keep the class of {:.1} % of the calibration data", 100.0 * share)?;
        }
        let Some(error) = self.error else { return Ok(()) };
        write!(
            f,
            " leave the outputs within {} of the model's on the calibration data (relative L2 error, worst sample)",
            percent(error)
        )?;
        if error >= NEAR { write!(f, "; none leaves less than {}", percent(NEAR)) } else { Ok(()) }
    }
}

/// Every degree, on the first samples of `data`.
///
/// # Errors
/// A model whose activations cannot be lowered.
pub fn degrees(model: &Model, data: Option<&Dataset>) -> Result<Vec<AtDegree>, Error> {
    // By the model's own layers, whatever was refitted.
    let trial = Trial::new(model, data, MAX_SAMPLES);
    DEGREES.iter().map(|degree| trial.at(*degree)).collect()
}

/// The lowest degree from 4 with which 98 % of the first samples (300 at most) keep their class, else the one with which most do.
///
/// Where the first output is no vector of scores (a map, one number): the lowest from 4 with which the outputs of every one of the first
/// samples (32 at most) stay within 5 % of the model's, in the L2 norm and relatively to the sample's outputs or to what is usual where
/// they are smaller, else the one with which they are nearest.
///
/// `None` where nothing can be said: activations that are not approximated, fewer than 50 samples (8 where outputs are no scores).
///
/// # Errors
/// As [`degrees`].
pub fn faithful(model: &Model, data: &Dataset) -> Result<Option<AtDegree>, Error> {
    if !is_judged(model, data) {
        return Ok(None);
    }
    if !gives_scores(model) {
        let graph = &model.frontend().graph;
        let found = nearest(graph, &inputs(model, Some(data), NEAR_SAMPLES));
        return found.map(Some).map_err(|e| Error::new(Kind::UnsupportedModel, &graph.name, e));
    }
    let trial = Trial::new(model, Some(data), FAITHFUL_SAMPLES);
    let mut best: Option<AtDegree> = None;
    for degree in chosen_among() {
        let found = trial.at(degree)?;
        let share = |at: AtDegree| at.agreement.unwrap_or(0.0);
        if best.is_none_or(|best| share(found) > share(best) + WORTH_A_LEVEL) {
            best = Some(found);
        }
        if share(found) >= FAITHFUL {
            break;
        }
    }
    Ok(best)
}

/// Degrees that data choose among.
fn chosen_among() -> impl Iterator<Item = u32> {
    let least = CompileOptions::default().activation_degree;
    DEGREES.into_iter().filter(move |degree| *degree >= least)
}

/// The lowest degree that leaves outputs near, else the one that leaves them nearest.
fn nearest(graph: &TensorGraph, inputs: &[Vec<f64>]) -> Result<AtDegree, CompileError> {
    let wanted = outputs(graph, inputs);
    let mut best: Option<AtDegree> = None;
    for degree in chosen_among() {
        let error = relative_error(&wanted, &outputs(&activation::lower(graph, degree)?.0, inputs));
        let least = best.and_then(|best| best.error).unwrap_or(f64::INFINITY);
        if best.is_none() || error < NEAR || error < (1.0 - WORTH_A_LEVEL_OF_ERROR) * least {
            let levels = explain::levels(graph, degree)?;
            best = Some(AtDegree { degree, levels, agreement: None, accuracy: None, error: Some(error) });
        }
        if error < NEAR {
            break;
        }
    }
    best.ok_or_else(|| CompileError::Internal("no degree is chosen among".into()))
}

/// All outputs, by sample.
fn outputs(graph: &TensorGraph, inputs: &[Vec<f64>]) -> Vec<Vec<Vec<f64>>> {
    let of = |x: &Vec<f64>| {
        let mut values = evaluate::graph(graph, x);
        let nodes: Vec<usize> = graph.outputs.iter().map(|o| o.node.0 as usize).collect();
        nodes.iter().map(|k| std::mem::take(&mut values[*k])).collect()
    };
    inputs.par_iter().map(of).collect()
}

/// Largest distance of an output over its size, in the L2 norm; outputs smaller than usual count as large as usual.
fn relative_error(wanted: &[Vec<Vec<f64>>], found: &[Vec<Vec<f64>>]) -> f64 {
    let squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let count = wanted.first().map_or(0, Vec::len);
    let of = |output: usize| {
        let usual = wanted.iter().map(|w| squares(&w[output])).sum::<f64>() / wanted.len() as f64;
        let each = wanted.iter().zip(found).map(|(w, f)| {
            let differences: Vec<f64> = w[output].iter().zip(&f[output]).map(|(w, f)| w - f).collect();
            match (squares(&differences), squares(&w[output]).max(usual)) {
                (0.0, _) => 0.0,
                (distance, size) => (distance / size).sqrt(),
            }
        });
        each.fold(0.0, |worst: f64, e| if e.is_finite() { worst.max(e) } else { f64::INFINITY })
    };
    (0..count).map(of).fold(0.0, f64::max)
}

/// Whether degrees that take fewer levels are tried behind refitted layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowered {
    /// They are.
    Tried,
    /// Degrees stay: the nearest to the model, in the same time.
    Never,
}

/// A model refitted to polynomials ([`refit`](cipherloom_compiler::refit)), tried on samples that it was not fitted to.
#[derive(Clone, Debug, Serialize)]
pub struct Refitted {
    #[serde(skip)]
    graph: TensorGraph,
    /// Degrees of its polynomials.
    pub degrees: Degrees,
    /// Share of those samples with the class of the model's own activations.
    pub agreement: f64,
    /// The same share for polynomials of one degree and the model's own layers.
    pub before: f64,
}

impl Refitted {
    /// The model with other weights, and with what its polynomials are fitted by.
    pub fn graph(&self) -> &TensorGraph {
        &self.graph
    }
}

impl std::fmt::Display for Refitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [now, before] = [self.agreement, self.before].map(|share| 100.0 * share);
        write!(
            f,
            "layers refitted to polynomials of {}: {now:.1} % of data that they were not fitted to keep their class, {before:.1} % before",
            self.degrees
        )
    }
}

/// What polynomials leave of the scores of samples.
struct Kept {
    /// Share of the samples with the class of the model's own activations.
    agreement: f64,
    /// Mean square distance of the scores.
    distance: f64,
    /// Fewest levels.
    levels: u32,
}

/// The model with layers refitted to polynomials, two of three samples (300 at most) being fitted to and the third for comparing.
///
/// Of a degree that takes fewer levels, where all readers are refitted, if there are 150 samples and it keeps the class of as many as
/// the same degree does when refitted, and of 98 % or as many as the model's own layers do; else of the same degree, if that
/// keeps as many as those. In both cases scores must not be farther from the model's than with its own layers. `None` where neither
/// is as good, where no layer is refitted, where outputs are no class scores, and where [`faithful`] says nothing.
///
/// # Errors
/// As [`degrees`], of the model as it was.
pub fn refitted(
    model: &Model,
    data: &Dataset,
    degree: u32,
    lowered: Lowered,
) -> Result<Option<Refitted>, Error> {
    if !is_judged(model, data) || !gives_scores(model) {
        return Ok(None);
    }
    let own = &model.frontend().graph;
    let inputs = inputs(model, Some(data), FAITHFUL_SAMPLES);
    let (fitted, judged) = (every_third(&inputs, |k| k != 2), every_third(&inputs, |k| k == 2));
    let scores = |graph: &TensorGraph| -> Vec<Vec<f64>> {
        judged.par_iter().map(|x| evaluate::scores(graph, x)).collect()
    };
    let wanted = scores(own);
    let kept = |graph: &TensorGraph| -> Result<Kept, CompileError> {
        let found = scores(&activation::lower(graph, degree)?.0);
        let same =
            wanted.iter().zip(&found).filter(|(w, f)| class(f).is_some() && class(w) == class(f)).count();
        let squares = wanted.iter().flatten().zip(found.iter().flatten()).map(|(w, f)| (w - f) * (w - f));
        let count = judged.len() as f64;
        let levels = explain::levels(graph, degree)?;
        Ok(Kept { agreement: same as f64 / count, distance: squares.sum::<f64>() / count, levels })
    };
    let before = kept(own).map_err(|e| Error::new(Kind::UnsupportedModel, &own.name, e))?;
    // A refitted model that cannot be lowered (a root of values that are negative now) is none.
    let tried = |repaired| {
        let degrees = Degrees { repaired, carried: degree };
        let graph = refit(own, degrees, &fitted)?;
        let kept = kept(&graph).ok()?;
        let refitted = Refitted { graph, degrees, agreement: kept.agreement, before: before.agreement };
        let as_near = kept.distance.is_finite() && kept.distance.total_cmp(&before.distance).is_le();
        as_near.then_some((refitted, kept))
    };
    let depth = |degree: u32| Form::depth(degree as usize);
    let fewer = DEGREES.into_iter().rev().find(|lower| depth(*lower) < depth(degree));
    let same = tried(degree);
    let is_tried = lowered == Lowered::Tried && judged.len() >= FEWEST_KEPT;
    let lower = fewer.filter(|_| is_tried).and_then(tried);
    let least = same.as_ref().map_or(0.0, |(_, same)| same.agreement).max(before.agreement.min(FAITHFUL));
    let lower = lower.filter(|(_, lower)| lower.levels < before.levels && lower.agreement >= least);
    let same = same.filter(|(_, same)| same.agreement >= before.agreement);
    Ok(lower.or(same).map(|(refitted, _)| refitted))
}

fn every_third<T: Clone>(all: &[T], wanted: fn(usize) -> bool) -> Vec<T> {
    all.iter().enumerate().filter(|(k, _)| wanted(k % 3)).map(|(_, one)| one.clone()).collect()
}

/// Whether data can tell what an approximation of the model keeps.
fn is_judged(model: &Model, data: &Dataset) -> bool {
    is_approximated(model) && unjudged(model, data).is_none()
}

fn is_approximated(model: &Model) -> bool {
    let graph = &model.frontend().graph;
    graph.order().any(|id| matches!(graph.node(id).kind, GraphKind::Elementwise(Function::Exact(_))))
}

/// Whether the first output is a vector, such as scores of classes.
fn gives_scores(model: &Model) -> bool {
    let graph = &model.frontend().graph;
    let scores = graph.outputs.first().map_or(&[][..], |output| &graph.node(output.node).shape);
    scores.iter().filter(|extent| **extent > 1).count() == 1
}

/// Why data cannot choose the degrees of a model that has activations to choose them for.
pub fn unjudged(model: &Model, data: &Dataset) -> Option<String> {
    let fewest = if gives_scores(model) { FEWEST_SAMPLES } else { FEWEST_NEAR };
    let found = data.samples.len();
    let reason = || format!("{found} samples are fewer than {fewest}");
    (is_approximated(model) && found < fewest).then(reason)
}

/// The first samples, preprocessed.
fn inputs(model: &Model, data: Option<&Dataset>, most: usize) -> Vec<Vec<f64>> {
    let samples: &[Sample] = data.map_or(&[], |d| &d.samples[..d.samples.len().min(most)]);
    let (shape, preprocessing) = (model.input_shape(), model.preprocessing());
    samples.iter().map(|s| slot_values(s, &preprocessing, &shape)).collect()
}

/// A model with its classes on some samples.
struct Trial<'a> {
    graph: &'a TensorGraph,
    inputs: Vec<Vec<f64>>,
    labels: Option<&'a [u32]>,
    /// Classes by the model's own activations.
    clear: Vec<Option<usize>>,
}

impl<'a> Trial<'a> {
    fn new(model: &'a Model, data: Option<&'a Dataset>, most: usize) -> Trial<'a> {
        let graph = &model.frontend().graph;
        let inputs = inputs(model, data, most);
        let clear = classes(graph, &inputs);
        Trial { graph, inputs, labels: data.and_then(|d| d.labels.as_deref()), clear }
    }

    /// What polynomials of at most this degree do.
    fn at(&self, degree: u32) -> Result<AtDegree, Error> {
        let unsupported = |e| Error::new(Kind::UnsupportedModel, &self.graph.name, e);
        let (lowered, _) = activation::lower(self.graph, degree).map_err(unsupported)?;
        let found = classes(&lowered, &self.inputs);
        let same = found.iter().zip(&self.clear).filter(|(a, b)| a.is_some() && a == b).count();
        let right = |labels: &[u32]| {
            found.iter().zip(labels).filter(|(class, label)| **class == Some(**label as usize)).count()
        };
        let share =
            |matches: usize| (!self.inputs.is_empty()).then(|| matches as f64 / self.inputs.len() as f64);
        Ok(AtDegree {
            degree,
            levels: explain::levels(self.graph, degree).map_err(unsupported)?,
            agreement: share(same),
            accuracy: self.labels.and_then(|labels| share(right(labels))),
            error: None,
        })
    }
}

fn classes(graph: &TensorGraph, inputs: &[Vec<f64>]) -> Vec<Option<usize>> {
    inputs.par_iter().map(|x| class(&evaluate::scores(graph, x))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cipherloom_compiler::graph::{GraphInput, GraphOutput, TensorNode};
    use cipherloom_ir::{Activation, Preprocessing};

    /// An activation of a map of two by two.
    fn map(function: Activation, range: [f64; 2]) -> TensorGraph {
        let mut graph = TensorGraph::new("map");
        let node = |kind, name: &str, range| TensorNode {
            kind,
            name: name.into(),
            shape: vec![1, 2, 2],
            range,
            density: None,
            fitting: None,
        };
        let x = graph.add(node(GraphKind::Input, "x", Some(range)), &[]);
        let y = graph.add(node(GraphKind::Elementwise(Function::Exact(function)), "y", None), &[x]);
        let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
        graph.input = Some(GraphInput { node: x, preprocessing, samples: vec![] });
        let output = GraphOutput { node: y, name: "y".into(), labels: vec![], client_steps: vec![] };
        graph.outputs = vec![output];
        graph
    }

    fn samples(range: [f64; 2]) -> Vec<Vec<f64>> {
        let at = |k: usize| range[0] + (range[1] - range[0]) * (k * 7 % 32) as f64 / 31.0;
        (0..8).map(|k| (0..4).map(|j| at(4 * k + j)).collect()).collect()
    }

    #[test]
    fn the_lowest_degree_that_leaves_maps_near_is_chosen() {
        let chosen = |function, range| nearest(&map(function, range), &samples(range)).expect("a map");
        let smooth = chosen(Activation::Sigmoid, [-2.0, 2.0]);
        assert_eq!(smooth.degree, 4);
        assert!(smooth.error.is_some_and(|e| e < NEAR), "{smooth:?}");
        let kinked = chosen(Activation::Relu, [-4.0, 4.0]);
        assert!(kinked.degree > 4, "{kinked:?}");
        let text = smooth.to_string();
        assert!(
            text.contains("of degree 4 at most leave the outputs within") && !text.contains("none"),
            "{text}"
        );
    }

    #[test]
    fn small_outputs_are_measured_by_what_is_usual() {
        let wanted = [vec![vec![10.0, 0.0]], vec![vec![0.0, 1e-9]]];
        let found = [vec![vec![10.0, 0.1]], vec![vec![0.0, 0.0]]];
        let error = relative_error(&wanted, &found);
        assert!((error - 0.01).abs() < 1e-12, "{error}");
        assert_eq!(relative_error(&wanted, &[vec![vec![f64::NAN, 0.0]], wanted[1].clone()]), f64::INFINITY);
        assert_eq!(relative_error(&[vec![vec![0.0]]], &[vec![vec![0.0]]]), 0.0);
    }
}
