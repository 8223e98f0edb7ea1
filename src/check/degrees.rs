//! What accuracy each degree of activation polynomials leaves, on data.

use super::class;
use crate::data::{Dataset, Sample};
use crate::error::{Error, Kind};
use crate::model::{Model, slot_values};
use cipherloom_compiler::activation::{self, explain};
use cipherloom_compiler::graph::{TensorGraph, evaluate};
use rayon::prelude::*;
use serde::Serialize;

/// Most samples that are evaluated: shares are known to a per cent or so.
const MAX_SAMPLES: usize = 500;

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

/// Every degree, on the first samples of `data`.
///
/// # Errors
/// A model whose activations cannot be lowered.
pub fn degrees(model: &Model, data: Option<&Dataset>) -> Result<Vec<AtDegree>, Error> {
    let graph = &model.frontend().graph;
    let unsupported = |e| Error::new(Kind::UnsupportedModel, &graph.name, e);
    let samples: &[Sample] = data.map_or(&[], |d| &d.samples[..d.samples.len().min(MAX_SAMPLES)]);
    let (shape, preprocessing) = (model.input_shape(), model.preprocessing());
    let inputs: Vec<Vec<f64>> = samples.iter().map(|s| slot_values(s, &preprocessing, &shape)).collect();
    let classes = |graph: &TensorGraph| -> Vec<Option<usize>> {
        inputs.par_iter().map(|x| class(&evaluate::scores(graph, x))).collect()
    };
    let clear = classes(graph);
    let share = |matches: usize| (!inputs.is_empty()).then(|| matches as f64 / inputs.len() as f64);
    let one = |degree: &u32| {
        let (lowered, _) = activation::lower(graph, *degree).map_err(unsupported)?;
        let found = classes(&lowered);
        let same = found.iter().zip(&clear).filter(|(a, b)| a.is_some() && a == b).count();
        let right = |labels: &Vec<u32>| {
            found.iter().zip(labels).filter(|(class, label)| **class == Some(**label as usize)).count()
        };
        Ok(AtDegree {
            degree: *degree,
            levels: explain::levels(graph, *degree).map_err(unsupported)?,
            agreement: share(same),
            accuracy: data.and_then(|d| d.labels.as_ref()).and_then(|l| share(right(l))),
        })
    };
    explain::DEGREES.iter().map(one).collect()
}
