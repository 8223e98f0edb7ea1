//! Models and their circuits: ONNX in, verified circuit out.

use crate::check::Refitted;
use crate::data::{Sample, Values};
use crate::error::{Error, Kind};
use crate::files;
use cipherloom_compiler::frontend::{self, FrontendError, LoadOptions};
use cipherloom_compiler::graph::TensorGraph;
use cipherloom_compiler::stages::Stage;
use cipherloom_compiler::{CompileError, CompileOptions, Purpose, Report, Watch};
use cipherloom_ir::{Circuit, Manifest, Preprocessing, Verified};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A loaded ONNX model.
pub struct Model {
    inner: frontend::Model,
    /// What is compiled in place of the model's graph.
    refitted: Option<Refitted>,
    place: String,
    load_seconds: f64,
}

/// A compiled model.
pub struct Compiled {
    /// The circuit, for the server.
    pub circuit: Verified,
    /// The client's view of it.
    pub manifest: Manifest,
    /// What the compiler chose and predicts.
    pub report: Report,
    /// Wall-clock time of the compilation, load and verification included.
    pub compile_seconds: f64,
}

/// A model compiled for looking at.
pub struct Draft {
    /// The circuit, which nothing runs.
    pub circuit: Circuit,
    /// What the compiler chose and predicts.
    pub report: Report,
    /// Wall-clock time of the compilation, load included.
    pub compile_seconds: f64,
}

impl Model {
    /// Loads an ONNX file; `-` is standard input, where the model has the name of its graph.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::open_cut(path, None)
    }

    /// The same with a tensor of the network as its only output, in place of the model's own.
    pub fn open_cut(path: impl AsRef<Path>, tensor: Option<&str>) -> Result<Model, Error> {
        let start = Instant::now();
        let path = path.as_ref();
        let place = path.display().to_string();
        let options = LoadOptions { output: tensor.map(str::to_owned), ..LoadOptions::default() };
        let inner = match path.as_os_str() == "-" {
            true => frontend::load_bytes(&files::read(path)?, &options),
            false => frontend::load(path, &options),
        }
        .map_err(|e| model_error(&place, &e))?;
        Ok(Model { inner, refitted: None, place, load_seconds: start.elapsed().as_secs_f64() })
    }

    /// Refuses outputs that would replace a file that weights were read from.
    pub fn keep_weights(&self, outputs: &[&Path]) -> Result<(), Error> {
        let weights: Vec<&Path> = self.inner.files.iter().map(|path| path.as_path()).collect();
        files::distinct(&[&weights, outputs].concat())
    }

    /// Shape of one input, without the batch axis.
    pub fn input_shape(&self) -> Vec<u32> {
        let graph = &self.inner.graph;
        graph.input.as_ref().map_or(vec![], |i| graph.node(i.node).shape.clone())
    }

    /// From raw bytes to the model's input.
    pub fn preprocessing(&self) -> Preprocessing {
        let input = self.inner.graph.input.as_ref();
        input.map_or(Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] }, |i| {
            i.preprocessing.clone()
        })
    }

    /// Replaces how raw bytes become the model's input.
    pub fn set_preprocessing(&mut self, preprocessing: Preprocessing) -> Result<(), Error> {
        let channels = Preprocessing::channels(&self.input_shape());
        let fits = |l: &[f64]| [1, channels].contains(&l.len()) && l.iter().all(|x| x.is_finite());
        let Preprocessing { scale, mean, std } = &preprocessing;
        if !scale.is_finite() || !fits(mean) || !fits(std) || std.contains(&0.0) {
            let what =
                format!("input scale, mean and std must be finite, std not 0, one value or {channels}");
            return Err(Error::new(Kind::Usage, &self.place, what));
        }
        if let Some(input) = &mut self.inner.graph.input {
            input.preprocessing = preprocessing;
        }
        self.refitted = None;
        Ok(())
    }

    /// The frontend's view: graph, reference evaluation, metadata, notes.
    pub fn frontend(&self) -> &frontend::Model {
        &self.inner
    }

    /// The graph that is compiled: the model's own, or the one that was refitted to its polynomials.
    pub fn graph(&self) -> &TensorGraph {
        self.refitted.as_ref().map_or(&self.inner.graph, Refitted::graph)
    }

    /// How the graph that is compiled was refitted, if it was.
    pub fn refitted(&self) -> Option<&Refitted> {
        self.refitted.as_ref()
    }

    /// Takes a refitted graph in place of the model's own, until the model is calibrated again. Drafts and what a circuit is compared with
    /// stay the model's.
    pub fn take_refitted(&mut self, refitted: Refitted) {
        self.refitted = Some(refitted);
    }

    /// Measures the ranges of all tensors on samples (float model inputs or raw bytes), in place of the model's own.
    pub fn calibrate(&mut self, samples: &[Sample]) -> Result<(), Error> {
        let shape: Vec<usize> =
            std::iter::once(1).chain(self.input_shape().iter().map(|&d| d as usize)).collect();
        let preprocessing = self.preprocessing();
        let images: Vec<_> = samples
            .iter()
            .map(|s| {
                let values = slot_values(s, &preprocessing, &self.input_shape());
                let values = values.into_iter().map(|v| v as f32).collect();
                ndarray::ArrayD::from_shape_vec(shape.clone(), values)
                    .map_err(|e| Error::new(Kind::BadInput, "calibration data", e))
            })
            .collect::<Result<_, _>>()?;
        self.refitted = None;
        self.inner.calibrate(&images).map_err(|e| model_error(&self.place, &e))
    }

    /// Compiles to a circuit of at least 128-bit security (of what the options ask for, where it bootstraps).
    pub fn compile(&self, options: &CompileOptions) -> Result<Compiled, Error> {
        let (_, compiled) = self.compile_watched(options, &Watch::default())?;
        compiled.ok_or_else(|| Error::new(Kind::Internal, &self.place, "the compilation ended early"))
    }

    /// The same; also what stages leave, as text, and nothing else where the compilation is to stop after a stage.
    pub fn compile_watched(
        &self,
        options: &CompileOptions,
        watch: &Watch,
    ) -> Result<(BTreeMap<Stage, String>, Option<Compiled>), Error> {
        let start = Instant::now();
        let watched = cipherloom_compiler::compile_watched(self.graph(), options, watch)
            .map_err(|e| self.refused(&e))?;
        let compiled = watched.compiled.map(|c| self.verified(c, options, start)).transpose()?;
        Ok((watched.texts, compiled))
    }

    /// The refusal of a model that is too deep names the operators that are deeper than they look.
    fn refused(&self, error: &CompileError) -> Error {
        let mut refusal = compile_error(&self.place, error);
        if let CompileError::NeedsBootstrapping { .. } | CompileError::NoCut { .. } = error {
            self.inner.notes.iter().for_each(|note| refusal.what += &format!("; {note}"));
        }
        refusal
    }

    fn verified(
        &self,
        compiled: cipherloom_compiler::Compiled,
        options: &CompileOptions,
        start: Instant,
    ) -> Result<Compiled, Error> {
        let circuit = Verified::new(compiled.circuit, &options.policy)
            .map_err(|e| Error::new(Kind::Internal, &self.place, e).remedy("please report the model"))?;
        let manifest = Manifest::of(&circuit).map_err(|e| Error::new(Kind::Internal, &self.place, e))?;
        Ok(Compiled {
            circuit,
            manifest,
            report: compiled.report,
            compile_seconds: self.load_seconds + start.elapsed().as_secs_f64(),
        })
    }

    /// Compiles to a draft with exact activations and as many levels as it takes: it can be looked at, not run. Also what
    /// stages leave, and nothing else where the compilation is to stop after a stage.
    pub fn draft_watched(
        &self,
        options: &CompileOptions,
        watch: &Watch,
    ) -> Result<(BTreeMap<Stage, String>, Option<Draft>), Error> {
        let start = Instant::now();
        let options = CompileOptions { purpose: Purpose::Draft, ..options.clone() };
        let watched = cipherloom_compiler::compile_watched(&self.inner.graph, &options, watch)
            .map_err(|e| compile_error(&self.place, &e))?;
        let draft = watched.compiled.map(|c| Draft {
            circuit: c.circuit,
            report: c.report,
            compile_seconds: self.load_seconds + start.elapsed().as_secs_f64(),
        });
        Ok((watched.texts, draft))
    }

    /// Output of the original model on one sample (`tract`), flattened.
    pub fn clear_scores(&self, sample: &Sample) -> Result<Vec<f32>, Error> {
        let shape: Vec<usize> =
            std::iter::once(1).chain(self.input_shape().iter().map(|&d| d as usize)).collect();
        let values = slot_values(sample, &self.preprocessing(), &self.input_shape());
        let values = values.into_iter().map(|v| v as f32).collect();
        let input = ndarray::ArrayD::from_shape_vec(shape, values)
            .map_err(|e| Error::new(Kind::BadInput, &self.place, e))?;
        let output = self.inner.reference.run(&input).map_err(|e| model_error(&self.place, &e))?;
        Ok(output.iter().copied().collect())
    }
}

/// A sample as the model's input values: bytes are preprocessed, floats are taken as they are.
pub fn slot_values(sample: &Sample, preprocessing: &Preprocessing, shape: &[u32]) -> Vec<f64> {
    match &sample.values {
        Values::Bytes(bytes) => preprocessing.apply(shape, bytes.iter().map(|b| f64::from(*b))),
        Values::Floats(values) => values.iter().map(|v| f64::from(*v)).collect(),
    }
}

fn model_error(place: &str, error: &FrontendError) -> Error {
    let kind = match error {
        FrontendError::Unsupported { .. } => Kind::UnsupportedModel,
        FrontendError::Read { source, .. } => return Error::io(Path::new(place), source),
        _ => Kind::BadInput,
    };
    Error::new(kind, place, error)
}

fn compile_error(place: &str, error: &CompileError) -> Error {
    let text = error.to_string();
    let (what, remedy) = text.split_once("; remedy: ").unwrap_or((&text, ""));
    let kind = match error {
        CompileError::Internal(_) | CompileError::Broken { .. } => Kind::Internal,
        CompileError::Stage(_) => Kind::Usage,
        CompileError::KeyMemory { .. } => Kind::Resources,
        _ => Kind::UnsupportedModel,
    };
    Error::new(kind, place, what).remedy(remedy)
}
