//! `compile`: an ONNX model to a circuit and its manifest.

use super::explain;
use super::report::{Output, Report, bytes_text};
use cipherloom::compiler::cost::Profile;
use cipherloom::compiler::stages::{Stage, StageError};
use cipherloom::compiler::{CompileOptions, Packing, Watch};
use cipherloom::{Access, Compiled, Error, Kind, Model, data, files};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `compile`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// ONNX model (`-`: standard input, and model.loom is written).
    model: PathBuf,
    /// Circuit to write (default: the model's name with .loom, in this folder).
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Manifest to write (default: beside the circuit, with .manifest).
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Data to measure value ranges on (npz, npy, IDX, an image or a folder of images), in place of the model's own.
    #[arg(long, value_name = "DATA")]
    calibrate: Option<PathBuf>,
    /// Print what a stage leaves, as text (docs/passes.md lists the stages).
    #[arg(long, value_name = "STAGE")]
    print_after: Vec<Stage>,
    /// Print what a stage leaves and end there, without writing files.
    #[arg(long, value_name = "STAGE")]
    stop_after: Option<Stage>,
    /// Explain a choice and end there, without writing files.
    #[arg(long, value_name = "WHAT", value_enum)]
    explain: Option<explain::Subject>,
    #[command(flatten)]
    choices: Choices,
}

/// What the user may choose about a compilation.
#[derive(clap::Args)]
pub(super) struct Choices {
    /// Bits of precision at the output: -log2(largest error / largest output).
    #[arg(long, value_name = "BITS", default_value_t = 10.0, value_parser = precision)]
    precision: f64,
    /// How layouts are chosen.
    #[arg(long, value_enum, default_value = "saturated")]
    packing: PackingName,
    /// Degree of the polynomials that stand for ReLU and other activations.
    #[arg(long, value_name = "DEGREE", default_value = "4", value_parser = ["2", "3", "4", "8"])]
    activation_degree: String,
    /// Leave out a stage: compose, balance, packing, rotation or rescale.
    #[arg(long, value_name = "STAGE", value_parser = switchable)]
    off: Vec<Stage>,
    /// Most memory for evaluation keys (512M, 2G, or bytes): the fastest circuit whose keys fit.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_key_memory: Option<u64>,
    /// Cost profile to choose by (default: the one that comes with this version; see `doctor`).
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Factor on raw bytes, in place of the model's own (a byte b becomes (b * scale - mean) / std).
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    input_scale: Option<f64>,
    /// Mean, one value or one per channel.
    #[arg(long, value_name = "MEAN,…", value_delimiter = ',', allow_negative_numbers = true)]
    input_mean: Option<Vec<f64>>,
    /// Standard deviation, one value or one per channel.
    #[arg(long, value_name = "STD,…", value_delimiter = ',')]
    input_std: Option<Vec<f64>>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PackingName {
    /// Equality saturation over layers, layouts and kernels.
    Saturated,
    /// Dynamic program over layouts and kernels.
    Dynamic,
    /// Fixed multiplexed layouts.
    Multiplexed,
}

fn switchable(name: &str) -> Result<Stage, StageError> {
    name.parse::<Stage>()?.switchable()
}

fn precision(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(bits) if (1.0..=30.0).contains(&bits) => Ok(bits),
        _ => Err("a number of bits from 1 to 30 is wanted".into()),
    }
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, unit)) if !unit.is_ascii_digit() => (&text[..at], unit.to_ascii_uppercase()),
        _ => (text, 'B'),
    };
    let power = "BKMGT".find(unit).map(|power| 10 * power as u32);
    let number = digits.parse::<u64>().ok();
    number
        .zip(power)
        .and_then(|(number, power)| number.checked_mul(1 << power))
        .ok_or_else(|| "a number of bytes is wanted, such as 512M or 2G".into())
}

impl Choices {
    /// Loads the model with the preprocessing that was chosen.
    pub(super) fn open(&self, path: &Path) -> Result<Model, Error> {
        let mut model = Model::open(path)?;
        let mut preprocessing = model.preprocessing();
        let Choices { input_scale, input_mean, input_std, .. } = self;
        preprocessing.scale = input_scale.unwrap_or(preprocessing.scale);
        preprocessing.mean = input_mean.clone().unwrap_or(preprocessing.mean);
        preprocessing.std = input_std.clone().unwrap_or(preprocessing.std);
        model.set_preprocessing(preprocessing)?;
        Ok(model)
    }

    pub(super) fn options(&self) -> Result<CompileOptions, Error> {
        Ok(CompileOptions {
            precision_bits: self.precision,
            packing: match self.packing {
                PackingName::Saturated => Packing::Saturated,
                PackingName::Dynamic => Packing::DynamicProgram,
                PackingName::Multiplexed => Packing::Multiplexed,
            },
            activation_degree: self.activation_degree.parse().expect("one of the listed degrees"),
            off: self.off.iter().copied().collect(),
            max_key_bytes: self.max_key_memory,
            profile: read_profile(self.profile.as_deref())?,
            ..CompileOptions::default()
        })
    }
}

/// The cost profile in a file, or the committed one.
pub(super) fn read_profile(path: Option<&Path>) -> Result<Arc<Profile>, Error> {
    let Some(path) = path else { return Ok(Profile::committed()) };
    let remedy = "give a file that `cargo bench --bench profile -- --record` wrote";
    let bad = |e: &dyn std::fmt::Display| Error::new(Kind::BadInput, path.display(), e).remedy(remedy);
    let text = String::from_utf8(files::read(path)?).map_err(|e| bad(&e))?;
    Profile::read(&text).map(Arc::new).map_err(|e| bad(&e))
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    files::one_stream(&[&arguments.model, arguments.calibrate.as_deref().unwrap_or("".as_ref())])?;
    let mut model = arguments.choices.open(&arguments.model)?;
    for note in &model.frontend().notes {
        output.remark(&format!("note: {note}"));
    }
    let calibration = match &arguments.calibrate {
        Some(path) => Some(data::read(path, &model.input_shape())?),
        None => None,
    };
    if let Some(dataset) = &calibration {
        output.step(&format!("measuring ranges on {} samples", dataset.samples.len()));
        model.calibrate(&dataset.samples)?;
    }
    let options = arguments.choices.options()?;
    if let Some(explain::Subject::Activations) = arguments.explain {
        return explain::activations(&model, options.activation_degree, calibration.as_ref());
    }
    let watch = Watch { print: arguments.print_after.iter().copied().collect(), stop: arguments.stop_after };
    let (texts, compiled) = model.compile_watched(&options, &watch)?;
    let stages: Value = texts.iter().map(|(stage, text)| (stage.name().to_owned(), json!(text))).collect();
    let texts: String = texts.values().map(String::as_str).collect();
    let Some(compiled) = compiled else {
        return Ok(Report::new(texts.trim_end().to_owned(), json!({ "stages": stages })));
    };
    for warning in &compiled.report.warnings {
        output.remark(&format!("warning: {warning}"));
    }
    let stem = match arguments.model.as_os_str() == "-" {
        true => "model".as_ref(),
        false => arguments.model.file_stem().unwrap_or_default(),
    };
    let circuit = arguments.output.clone().unwrap_or_else(|| Path::new(stem).with_extension("loom"));
    let manifest = arguments.manifest.clone().unwrap_or_else(|| circuit.with_extension("manifest"));
    files::distinct(&[&arguments.model, &circuit, &manifest])?;
    files::one_stream(&[&circuit, &manifest])?;
    let circuit_bytes = compiled.circuit.to_bytes();
    let manifest_bytes = compiled.manifest.to_bytes();
    let circuit_file = files::prepare_bytes(&circuit, Access::Shared, &circuit_bytes)?;
    files::prepare_bytes(&manifest, Access::Shared, &manifest_bytes)?.persist()?;
    circuit_file.persist()?;
    let mut facts = facts(&compiled, circuit_bytes.len(), manifest_bytes.len());
    if !watch.print.is_empty() {
        facts["stages"] = stages;
    }
    let text =
        format!("{texts}{}\nwrote {} and {}", summary(&compiled), circuit.display(), manifest.display());
    let printed = if manifest.as_os_str() == "-" { &manifest } else { &circuit };
    Ok(Report::new(text, facts).beside(printed))
}

/// The compilation for programs.
pub(super) fn facts(compiled: &Compiled, file_bytes: usize, manifest_bytes: usize) -> Value {
    let (c, r) = (&compiled.circuit, &compiled.report);
    json!({
        "model": c.name,
        "file_bytes": file_bytes,
        "manifest_bytes": manifest_bytes,
        "log_n": c.parameters.log_n,
        "log_qp": r.log_qp,
        "log_qp_bound": r.log_qp_bound,
        "levels": c.parameters.top().0,
        "rotations": r.rotations,
        "rotation_keys": r.rotation_keys,
        "choices": r.choices.iter().map(|(stage, text)| json!({ "stage": stage.name(), "text": text })).collect::<Vec<_>>(),
        "compile_seconds": compiled.compile_seconds,
        "forecast": c.forecast,
        "peak_memory_bytes": cipherloom::memory::peak_bytes(),
    })
}

/// The compilation for people.
pub(super) fn summary(compiled: &Compiled) -> String {
    let (c, r) = (&compiled.circuit, &compiled.report);
    let f = &c.forecast;
    let choices: String = r.choices.iter().map(|(stage, text)| format!("\n{stage}: {text}")).collect();
    format!(
        "{}: N = 2^{}, log QP {:.1} of at most {:.0} for 128 bits (ePrint 2024/463), {} levels, {} rotations, {} rotation keys\n\
         forecast: {:.3} s on one thread, {} memory, {} keys, {} up, {} down, {:.1} bits of precision ({:.1} under a public key){choices}",
        c.name,
        c.parameters.log_n,
        r.log_qp,
        r.log_qp_bound,
        c.parameters.top().0,
        r.rotations,
        r.rotation_keys,
        f.seconds,
        bytes_text(f.memory_bytes),
        bytes_text(f.key_bytes),
        bytes_text(f.upload_bytes),
        bytes_text(f.download_bytes),
        f.precision_bits,
        f.public_key_precision_bits,
    )
}
