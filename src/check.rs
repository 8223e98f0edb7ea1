//! Whether the circuit of a model gives the model's answers, found out on data before anything is encrypted.
//!
//! Four evaluations stand side by side: *clear* (tract, the model's own activations), *polynomial* (the circuit, exact
//! slots), *simulated* (the circuit, with the errors that encryption would leave) and, for some images, *encrypted*.
//! Beside the answers it compares layers, and ranges seen with ranges certified, and names what goes wrong first.
//!
//! Relies on a model that compiles. Promises: the same findings for the same data, options and [`Draw`], for any number of
//! threads, encrypted figures apart; a model or data that are no good are [`Findings::problems`], not an `Err`.

mod degrees;
mod encrypted;
mod judge;
mod layers;

use crate::data::Dataset;
use crate::error::{Error, Kind};
use crate::model::{Compiled, Model, slot_values};
use cipherloom_compiler::CompileOptions;
use cipherloom_ir::{Circuit, Draw, Encryption, Exact, ExactError, Noisy};
pub use degrees::{AtDegree, Lowered, Refitted, degrees, faithful, refitted, unjudged};
pub use judge::{interval, percent};
use layers::{Beside, Layers, Ranges};
use rayon::prelude::*;
use serde::Serialize;

/// What is to be checked beside the answers of the circuit.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many images, from the first, are evaluated on ciphertexts as well.
    pub encrypted: usize,
    /// Which errors the simulation draws.
    pub draw: Draw,
}

/// How one evaluation's scores differ from those of the exact circuit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScoreError {
    /// Largest difference of a score.
    pub max_logit_error: f64,
    /// −log2(that / largest score).
    pub precision_bits: f64,
}

/// Evaluations on ciphertexts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Encrypted {
    /// Images evaluated.
    pub images: usize,
    /// Images whose class is that of the clear model.
    pub agree: usize,
    /// Images whose answer the client refuses, or says not to trust.
    pub alarms: usize,
    /// Difference from the exact circuit.
    #[serde(flatten)]
    pub error: ScoreError,
    /// What the simulation drew for the same images.
    pub simulated_max_logit_error: f64,
}

/// One layer of the model.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// ONNX name of its tensor.
    pub name: String,
    /// Root mean square of (polynomial − clear), over that of clear.
    pub divergence: f64,
    /// −log2 of the simulated error, in root mean square over that of the exact slots; absent where the circuit has
    /// merged the layer into another.
    pub noise_bits: Option<f64>,
}

/// A tensor whose range is certified.
#[derive(Clone, Debug, Serialize)]
pub struct RangeSeen {
    /// ONNX name.
    pub tensor: String,
    /// Range that the circuit was made for.
    pub certificate: [f64; 2],
    /// Smallest and largest value on the data, as the polynomials yield it.
    pub seen: [f64; 2],
    /// Distance of what was seen from the nearer end, over the width of the certificate; negative outside.
    pub headroom: f64,
    /// Images with a value outside.
    pub images_outside: usize,
}

/// What was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Images of the data set.
    pub images: usize,
    /// Correct classes of the original model over all images; absent without labels.
    pub clear_accuracy: Option<f64>,
    /// The same of the circuit with exact slots.
    pub polynomial_accuracy: Option<f64>,
    /// The same with the errors of encryption.
    pub simulated_accuracy: Option<f64>,
    /// Share of images with the clear model's class: of the circuit with exact slots.
    pub polynomial_agreement: f64,
    /// The same with the errors of encryption.
    pub simulated_agreement: f64,
    /// Largest |polynomial − clear| of a score.
    pub polynomial_max_logit_error: f64,
    /// Largest score of the circuit.
    pub largest_logit: f64,
    /// Simulated errors.
    pub simulated: ScoreError,
    /// Evaluations on ciphertexts, where some were wanted.
    pub encrypted: Option<Encrypted>,
    /// Layers, in order.
    pub layers: Vec<Layer>,
    /// First layer whose values are no longer those of the model, where one is.
    pub first_wrong_layer: Option<String>,
    /// Certified tensors: input, activations, outputs.
    pub ranges: Vec<RangeSeen>,
    /// Why the circuit's answers must not be trusted on such data; empty if they may.
    pub problems: Vec<Error>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What one image showed.
struct ImageFacts {
    clear: Vec<f64>,
    polynomial: Vec<f64>,
    simulated: Vec<f64>,
    /// Squares of the difference and of the clear values, by layer.
    divergence: Vec<[f64; 2]>,
    /// Squares of the error and of the exact slots, by origin of the circuit.
    noise: Vec<[f64; 2]>,
    /// Smallest and largest value, by certified tensor.
    seen: Vec<[f64; 2]>,
}

/// A compiled model with what it is compared by.
struct Subject<'a> {
    model: &'a Model,
    circuit: &'a Circuit,
    noisy: Noisy,
    layers: Layers,
    ranges: Ranges,
}

/// Compiles a model and compares its circuit with it on `data`.
///
/// # Errors
/// A model that does not compile, an empty data set, labels that are not one per image; failures of the encrypted
/// evaluation other than a refused answer.
pub fn check(
    model: &Model,
    options: &CompileOptions,
    data: &Dataset,
    wanted: &Wanted,
) -> Result<Findings, Error> {
    let labels = data.labels.as_deref();
    if data.samples.is_empty() || labels.is_some_and(|l| l.len() != data.samples.len()) {
        let count = labels.map_or(0, <[u32]>::len);
        let what = format!("{} images and {count} labels; one label per image is wanted", data.samples.len());
        return Err(Error::new(Kind::BadInput, "check", what));
    }
    let compiled = model.compile(options)?;
    let subject = Subject::new(model, &compiled, options)?;
    let numbered: Vec<(usize, &crate::data::Sample)> = data.samples.iter().enumerate().collect();
    let facts: Vec<ImageFacts> = numbered
        .par_iter()
        .map(|(k, sample)| subject.image(sample, wanted.draw.numbered(*k as u64)))
        .collect::<Result<_, Error>>()?;
    let warnings = compiled.report.warnings.clone();
    let mut findings = subject.findings(&facts, labels, warnings);
    if wanted.encrypted > 0 {
        let samples = &data.samples[..wanted.encrypted.min(data.samples.len())];
        findings.encrypted = Some(encrypted::evaluate(compiled, samples, &facts)?);
    }
    judge::judge(&mut findings);
    Ok(findings)
}

impl<'a> Subject<'a> {
    fn new(model: &'a Model, compiled: &'a Compiled, options: &CompileOptions) -> Result<Subject<'a>, Error> {
        let circuit: &Circuit = &compiled.circuit;
        let internal = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, &circuit.name, e);
        let layers = Layers::of(model, circuit, options.activation_degree).map_err(|e| internal(&e))?;
        let ranges = Ranges::of(circuit, &layers);
        let noisy = Noisy::new(circuit, Encryption::SecretKey).map_err(|e| internal(&e))?;
        Ok(Subject { model, circuit, noisy, layers, ranges })
    }

    fn image(&self, sample: &crate::data::Sample, draw: Draw) -> Result<ImageFacts, Error> {
        let internal = |e: ExactError| Error::new(Kind::Internal, &self.circuit.name, e);
        let clear = self.model.clear_scores(sample)?.into_iter().map(f64::from).collect();
        let input = slot_values(sample, &self.model.preprocessing(), &self.model.input_shape());
        let (divergence, polynomial_values) = self.layers.compare(&self.model.frontend().graph, &input);
        let seen = self.ranges.seen(&polynomial_values);
        let beside = Beside::new(self.circuit, &self.noisy, &input, draw).map_err(internal)?;
        let (exact, noisy, noise) = beside.run(self.circuit).map_err(internal)?;
        let first =
            |values: &[_]| Exact::tensors(self.circuit, values).into_iter().next().unwrap_or_default();
        Ok(ImageFacts { clear, polynomial: first(&exact), simulated: first(&noisy), divergence, noise, seen })
    }

    fn findings(&self, facts: &[ImageFacts], labels: Option<&[u32]>, warnings: Vec<String>) -> Findings {
        let images = facts.len();
        let share = |count: usize| count as f64 / images as f64;
        let accuracy = |scores: fn(&ImageFacts) -> &[f64]| {
            let correct = |labels: &[u32]| {
                facts
                    .iter()
                    .zip(labels)
                    .filter(|(f, label)| class(scores(f)) == Some(**label as usize))
                    .count()
            };
            labels.map(|labels| share(correct(labels)))
        };
        let agreement = |scores: fn(&ImageFacts) -> &[f64]| {
            let same = |f: &&ImageFacts| class(scores(f)).is_some_and(|c| Some(c) == class(&f.clear));
            share(facts.iter().filter(same).count())
        };
        let largest_error = |a: fn(&ImageFacts) -> &[f64], b: fn(&ImageFacts) -> &[f64]| {
            facts.iter().map(|f| difference(a(f), b(f))).fold(0.0, f64::max)
        };
        let largest_logit = facts.iter().flat_map(|f| &f.polynomial).fold(0f64, |m, x| m.max(x.abs()));
        Findings {
            images,
            clear_accuracy: accuracy(|f| &f.clear),
            polynomial_accuracy: accuracy(|f| &f.polynomial),
            simulated_accuracy: accuracy(|f| &f.simulated),
            polynomial_agreement: agreement(|f| &f.polynomial),
            simulated_agreement: agreement(|f| &f.simulated),
            polynomial_max_logit_error: largest_error(|f| &f.polynomial, |f| &f.clear),
            largest_logit,
            simulated: ScoreError::of(largest_error(|f| &f.simulated, |f| &f.polynomial), largest_logit),
            encrypted: None,
            layers: self.layers.findings(facts),
            first_wrong_layer: None,
            ranges: self.ranges.findings(facts),
            problems: vec![],
            warnings,
        }
    }
}

impl ScoreError {
    fn of(max_logit_error: f64, largest_logit: f64) -> ScoreError {
        ScoreError { max_logit_error, precision_bits: -(max_logit_error / largest_logit).log2() }
    }
}

/// Index of the largest score, the first of equals; none where a score is no finite number.
fn class(scores: &[f64]) -> Option<usize> {
    let finite = !scores.is_empty() && scores.iter().all(|s| s.is_finite());
    finite.then(|| (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best }))
}

/// Largest |a − b|; infinite where one of them is no finite number.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let each = a.iter().zip(b).map(|(a, b)| if (a - b).is_finite() { (a - b).abs() } else { f64::INFINITY });
    each.fold(0.0, f64::max)
}
