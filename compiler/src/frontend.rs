//! From an ONNX file to the tensor graph.
//!
//! Operator types, attributes and names come from the ONNX protocol buffers; shapes, folded constants and the
//! oracle from tract, which is used here and nowhere else; arithmetic on constants is ours, so that a model gives the
//! same circuit on every machine. Everything that is unsupported is reported at once, by
//! ONNX name. Needs: bytes from anywhere (they may be hostile). Leaves: a [`Model`] whose graph means what the file
//! means, up to the rounding of folded weights to float32. No input makes it panic.

pub(crate) mod calibrate;
mod call;
mod draft;
mod error;
mod external;
mod fold;
mod functions;
mod growth;
mod inline;
mod legacy;
mod lower;
mod metadata;
mod names;
mod narrow;
mod ops;
mod proto;
mod reference;
mod registry;
mod restate;
mod tensor;

pub use error::{BadTensor, FrontendError, Unsupported};
pub use metadata::Metadata;
pub use reference::Reference;
pub use tensor::TensorFile;

use crate::graph::TensorGraph;
use external::Beside;
use proto::{Declared, Source};
use reference::Analysis;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Operator sets that are accepted.
pub const OPSETS: RangeInclusive<i64> = 6..=25;

/// Times that branches are decided, each by what the ones before have told.
const MAX_DECISIONS: usize = 16;

/// How to load a model.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Shape of the input, with the batch, for a model that leaves it open.
    pub input_shape: Option<Vec<usize>>,
    /// Tensor to take as the only output, by ONNX name: the network is cut there.
    pub output: Option<String>,
    /// Largest file that is read.
    pub max_bytes: u64,
    /// What the first axis of the input counts.
    pub first_axis: FirstAxis,
    /// Inputs of the file that are constants: position among its inputs without initializers, and value.
    pub bound: Vec<(usize, TensorFile)>,
}

/// What the first axis of the model's input counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstAxis {
    /// Images, of which a circuit takes one.
    #[default]
    Images,
    /// Data like every other axis: the whole tensor is one input, of any number of axes.
    Data,
}

impl Default for LoadOptions {
    /// Files up to 2 GiB (the limit of protocol buffers), shape as the model says.
    fn default() -> LoadOptions {
        LoadOptions {
            input_shape: None,
            output: None,
            max_bytes: 2 << 30,
            first_axis: FirstAxis::Images,
            bound: Vec::new(),
        }
    }
}

/// A loaded model.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it computes.
    pub graph: TensorGraph,
    /// The oracle.
    pub reference: Reference,
    /// What the file says about its data.
    pub metadata: Metadata,
    /// What the user should know: steps left to the client, approximations.
    pub notes: Vec<String>,
    /// Files beside the model that weights were read from.
    pub files: Vec<PathBuf>,
}

/// Loads a model from a file; weights may lie in other files of its folder.
///
/// # Errors
/// What is wrong with the file or the model; see [`FrontendError`].
pub fn load(path: &Path, options: &LoadOptions) -> Result<Model, FrontendError> {
    let unreadable = |source| FrontendError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let stated = file.metadata().map_err(unreadable)?.len();
    if stated > options.max_bytes {
        return Err(FrontendError::TooLarge { bytes: stated, limit_bytes: options.max_bytes });
    }
    // Devices and pipes state no size, and files grow: one byte too many is read, and refused by `load_bytes`.
    let mut bytes = Vec::new();
    file.take(options.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut model = load_from(&bytes, options, &[folder(path), folder(&real)])?;
    if !stem.is_empty() {
        model.graph.name = stem;
    }
    Ok(model)
}

/// Loads a model from memory; its name is the ONNX graph's, and its weights lie in it.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: &[u8], options: &LoadOptions) -> Result<Model, FrontendError> {
    load_from(bytes, options, &[])
}

/// Loads a model whose weights lie in it or in files of these folders.
fn load_from(bytes: &[u8], options: &LoadOptions, folders: &[PathBuf]) -> Result<Model, FrontendError> {
    let size = bytes.len() as u64;
    if size > options.max_bytes {
        return Err(FrontendError::TooLarge { bytes: size, limit_bytes: options.max_bytes });
    }
    let beside = Beside { folders, bytes_max: options.max_bytes - size };
    let mut source = proto::read(bytes, &options.bound, beside)?;
    let mut metadata = Metadata::read(&source.model)?;
    if let Some(tensor) = &options.output {
        if source.graph().output.iter().all(|own| own.name != *tensor) {
            // They name the classes of the model's own output.
            metadata.labels.clear();
        }
        source.cut(tensor)?;
    }
    let shape = input_shape(&source, &metadata, options)?;
    source.fix_input(&shape);
    let analysis = decided(&mut source)?;
    let lowered = lower::lower(&source, analysis, &shape, &metadata)?;
    let reference = Reference::new(&mut source, &shape, &lowered.scores)?;
    let notes = [source.notes, lowered.notes].concat();
    Ok(Model { graph: lowered.graph, reference, metadata, notes, files: source.files })
}

/// The analysis of a model in which every If has made way for a branch, as far as constants and shapes tell which one runs.
fn decided(source: &mut Source) -> Result<Analysis, FrontendError> {
    let mut analysis = Analysis::of(source)?;
    for _ in 0..MAX_DECISIONS {
        if !source.decide(|name| analysis.truth(name))? {
            break;
        }
        analysis = Analysis::of(source)?;
    }
    Ok(analysis)
}

/// Fixes every dimension of the input: a symbolic batch is 1, others come from the options or the metadata.
fn input_shape(
    source: &Source,
    metadata: &Metadata,
    options: &LoadOptions,
) -> Result<Vec<usize>, FrontendError> {
    let given = options.input_shape.as_ref().or(metadata.shape.as_ref());
    if let Some(given) = given {
        let fits = |(d, g): (&Declared, &usize)| {
            matches!(d, Declared::Symbol(_)) || *d == Declared::Fixed(*g as u64)
        };
        if given.len() != source.dims.len() || !source.dims.iter().zip(given).all(fits) {
            return Err(FrontendError::Interface {
                reason: format!(
                    "the shape {given:?} that is asked for contradicts the declaration of input `{}`",
                    source.input
                ),
            });
        }
    }
    let mut shape = Vec::new();
    for (axis, dim) in source.dims.iter().enumerate() {
        shape.push(match (dim, given) {
            (Declared::Fixed(size), _) => *size as usize,
            (Declared::Symbol(_), Some(given)) => given[axis],
            (Declared::Symbol(_), None) if axis == 0 => 1,
            (Declared::Symbol(name), None) => {
                return Err(FrontendError::Dynamic {
                    input: source.input.clone(),
                    axis,
                    dimension: name.clone(),
                });
            }
        });
    }
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let images = options.first_axis == FirstAxis::Images;
    if images && shape.len() < 2 || elements.is_none_or(|n| n == 0 || n > draft::MAX_ELEMENTS) {
        let reason = format!("input `{}` has shape {shape:?}", source.input);
        return Err(FrontendError::Interface { reason });
    }
    if images && shape[0] != 1 {
        return Err(FrontendError::Batch { input: source.input.clone(), found: shape[0] as u64 });
    }
    Ok(shape)
}
