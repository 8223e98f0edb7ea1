//! What accuracy each degree of activation polynomials leaves, on data.

use super::class;
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
}

impl std::fmt::Display for AtDegree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "polynomials of degree {} at most", self.degree)?;
        self.agreement.map_or(Ok(()), |share| {
            write!(f, " keep the class of {:.1} % of the calibration data", 100.0 * share)
        })
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

/// The lowest degree from 4 with which 98 % of the first samples (300 at most) keep their class, else the one with which most do;
/// `None` where nothing can be said: activations that are not approximated, a first output that is no vector of scores, fewer
/// than 50 samples.
///
/// # Errors
/// As [`degrees`].
pub fn faithful(model: &Model, data: &Dataset) -> Result<Option<AtDegree>, Error> {
    if !is_judged(model, data) {
        return Ok(None);
    }
    let trial = Trial::new(model, Some(data), FAITHFUL_SAMPLES);
    let mut best: Option<AtDegree> = None;
    let least = CompileOptions::default().activation_degree;
    for degree in DEGREES.into_iter().filter(|degree| *degree >= least) {
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
/// is as good, where no layer is refitted, and where [`faithful`] says nothing.
///
/// # Errors
/// As [`degrees`], of the model as it was.
pub fn refitted(
    model: &Model,
    data: &Dataset,
    degree: u32,
    lowered: Lowered,
) -> Result<Option<Refitted>, Error> {
    if !is_judged(model, data) {
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

/// Why data cannot choose the degrees of a model that has activations to choose them for.
pub fn unjudged(model: &Model, data: &Dataset) -> Option<String> {
    let graph = &model.frontend().graph;
    let scores = graph.outputs.first().map_or(&[][..], |output| &graph.node(output.node).shape);
    let is_vector = scores.iter().filter(|extent| **extent > 1).count() == 1;
    let found = data.samples.len();
    match (is_approximated(model), is_vector) {
        (false, _) => None,
        (true, false) => Some(format!("the first output, of shape {scores:?}, is no vector of scores")),
        (true, true) if found < FEWEST_SAMPLES => {
            Some(format!("{found} samples are fewer than {FEWEST_SAMPLES}"))
        }
        (true, true) => None,
    }
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
        })
    }
}

fn classes(graph: &TensorGraph, inputs: &[Vec<f64>]) -> Vec<Option<usize>> {
    inputs.par_iter().map(|x| class(&evaluate::scores(graph, x))).collect()
}
