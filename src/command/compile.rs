//! `compile`: an ONNX model to a circuit and its manifest.
//!
//! Above the soft cap: what the user may choose is one list, for `check` and `predict` too, and beside it what is made of it.

use super::explain;
use super::report::{Output, Report, bytes_text, line};
use cipherloom::check::{Lowered, faithful, refitted, unjudged};
use cipherloom::compiler::cost::Profile;
use cipherloom::compiler::stages::{Stage, StageError};
use cipherloom::compiler::{
    BATCH_MAX, Bootstrapping, CompileOptions, EGraph, Packing, Purpose, Report as CompileReport, Watch,
};
use cipherloom::data::Dataset;
use cipherloom::page::{self, Page};
use cipherloom::{Access, Compiled, Draft, Error, Kind, Model, data, files};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `compile`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// ONNX model (`-`: standard input, and model.loom is written).
    model: PathBuf,
    /// Circuit to write (default: the model's name with .loom, in this folder).
    #[arg(short = 'o', long, value_name = "FILE")]
    circuit: Option<PathBuf>,
    /// Tensor that the circuit yields in place of the model's outputs: the network is cut there (features for another
    /// classifier, which the client decrypts as scores).
    #[arg(long, value_name = "TENSOR")]
    output: Option<String>,
    /// Manifest to write (default: beside the circuit, with .manifest).
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Data to measure value ranges on (npz, npy, IDX, an image or a folder of images), in place of the model's own.
    #[arg(long, value_name = "DATA")]
    calibrate: Option<PathBuf>,
    /// Write what was compiled as an HTML page too (see `inspect --html`), with what the stages chose.
    #[arg(long, value_name = "PAGE")]
    html: Option<PathBuf>,
    /// Only a draft, for looking at with --html or --print-after: exact activations, as many levels as it takes. No files
    /// are written that could be run.
    #[arg(long, conflicts_with_all = ["circuit", "manifest"])]
    draft: bool,
    /// Print what a stage leaves, as text (docs/passes.md lists the stages).
    #[arg(long, value_name = "STAGE")]
    print_after: Vec<Stage>,
    /// Print what a stage leaves and end there, without writing files.
    #[arg(long, value_name = "STAGE")]
    stop_after: Option<Stage>,
    /// Explain a choice and end there, without writing files.
    #[arg(long, value_name = "WHAT", value_enum)]
    explain: Option<explain::Subject>,
    /// Images that one evaluation classifies, side by side in the slots: a power of two. Together they take longer than one,
    /// and each of them less.
    #[arg(long, value_name = "IMAGES", default_value_t = 1, value_parser = batch)]
    batch: u32,
    #[command(flatten)]
    choices: Choices,
}

/// Where circuit and manifest go.
struct Outputs {
    circuit: PathBuf,
    manifest: PathBuf,
}

impl Arguments {
    /// Whether circuit and manifest are written.
    fn writes(&self) -> bool {
        !self.draft && self.stop_after.is_none() && self.explain.is_none()
    }

    /// The names that were given, or follow from others.
    fn outputs(&self) -> Result<Outputs, Error> {
        let stem = match self.model.as_os_str() == "-" {
            true => "model".as_ref(),
            false => self.model.file_stem().unwrap_or_default(),
        };
        let circuit = self.circuit.clone().unwrap_or_else(|| Path::new(stem).with_extension("loom"));
        if self.writes() && self.manifest.is_none() && files::is_stream(&circuit) {
            let what = "is no file that the manifest could be named after";
            return Err(Error::new(Kind::Usage, circuit.display(), what).remedy("give --manifest"));
        }
        let manifest = self.manifest.clone().unwrap_or_else(|| circuit.with_extension("manifest"));
        Ok(Outputs { circuit, manifest })
    }

    /// Refuses paths that exclude each other, and yields those of the outputs.
    fn check_paths<'a>(&'a self, circuit: &'a Path, manifest: &'a Path) -> Result<Vec<&'a Path>, Error> {
        let mut inputs = vec![self.model.as_path()];
        inputs.extend(self.calibrate.as_deref());
        inputs.extend(self.choices.profile());
        let mut outputs = if self.writes() { vec![circuit, manifest] } else { vec![] };
        outputs.extend(self.html.as_deref());
        files::check(&inputs, &outputs)?;
        Ok(outputs)
    }
}

fn batch(text: &str) -> Result<u32, String> {
    let batch = text.parse().ok().filter(|b: &u32| b.is_power_of_two() && *b <= BATCH_MAX);
    batch.ok_or_else(|| format!("a power of two up to {BATCH_MAX} is wanted"))
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
    /// Degree of the polynomials that stand for ReLU and other activations. `auto`: the lowest from 4 with which 98 % of the
    /// calibration data keep their class, or, where the first output is no vector of scores, outputs stay within 5 %; degree 4
    /// with fewer than 50 samples (fewer than 8 for such outputs).
    #[arg(long, value_name = "DEGREE", default_value = "auto",
        value_parser = ["auto", "2", "3", "4", "7", "15", "31", "63"])]
    activation_degree: String,
    /// Whether the layers behind activations are refitted to the polynomials, so that errors do not pile up.
    #[arg(long, value_enum, default_value = "auto")]
    refit: RefitName,
    /// Whether networks that no leveled parameters are long enough for are bootstrapped.
    #[arg(long, value_enum, default_value = "auto")]
    bootstrap: BootstrapName,
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

#[derive(Clone, Copy, clap::ValueEnum)]
enum RefitName {
    /// Where the degree is chosen by data, and data that were not fitted to keep their class; with lower degrees where they do.
    Auto,
    /// The same without lower degrees: nearest to the model, in the same time.
    SameDegree,
    /// The model's own weights are kept.
    Never,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum BootstrapName {
    /// They are, by the fastest of the sets of docs/bootstrapping.md.
    Auto,
    /// They are refused.
    Never,
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
pub(super) fn bytes(text: &str) -> Result<u64, String> {
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
    /// The file of the cost profile.
    pub(super) fn profile(&self) -> Option<&Path> {
        self.profile.as_deref()
    }

    /// Loads the model with the preprocessing that was chosen.
    pub(super) fn open(&self, path: &Path) -> Result<Model, Error> {
        self.open_cut(path, None)
    }

    /// The same, cut at a tensor.
    fn open_cut(&self, path: &Path, tensor: Option<&str>) -> Result<Model, Error> {
        let mut model = Model::open_cut(path, tensor)?;
        let mut preprocessing = model.preprocessing();
        let Choices { input_scale, input_mean, input_std, .. } = self;
        preprocessing.scale = input_scale.unwrap_or(preprocessing.scale);
        preprocessing.mean = input_mean.clone().unwrap_or(preprocessing.mean);
        preprocessing.std = input_std.clone().unwrap_or(preprocessing.std);
        model.set_preprocessing(preprocessing)?;
        Ok(model)
    }

    /// An error with the remedy beside its own that a lower degree is, where nobody chose the degree.
    fn lower(&self, error: Error, options: &CompileOptions) -> Error {
        let least = CompileOptions::default().activation_degree;
        let found = options.activation_degree;
        if self.activation_degree.parse::<u32>().is_ok() || found == least || error.kind == Kind::Internal {
            return error;
        }
        error.or(&format!("--activation-degree {least} (the data asked for {found})"))
    }

    /// Options for a model that was calibrated with some data, or was not.
    pub(super) fn options(
        &self,
        model: &mut Model,
        calibration: Option<&Dataset>,
        output: &Output,
    ) -> Result<CompileOptions, Error> {
        let profile = read_profile(self.profile.as_deref())?;
        let activation_degree = match (self.activation_degree.parse(), calibration) {
            (Ok(degree), _) => degree,
            (Err(_), None) => CompileOptions::default().activation_degree,
            (Err(_), Some(data)) => {
                output.step("choosing the degree of the activations' polynomials");
                let found = faithful(model, data)?;
                found.iter().for_each(|found| output.remark(&format!("note: {found}")));
                let degree = found.map_or(CompileOptions::default().activation_degree, |found| found.degree);
                if let Some(reason) = unjudged(model, data) {
                    output.remark(&format!(
                        "note: polynomials of degree {degree} at most, not chosen by data: {reason}; `check` measures what \
                         they leave, --activation-degree takes another"
                    ));
                }
                let lowered = match self.refit {
                    RefitName::Auto => Some(Lowered::Tried),
                    RefitName::SameDegree => Some(Lowered::Never),
                    RefitName::Never => None,
                };
                if let Some(lowered) = lowered {
                    output.step("refitting layers to the polynomials");
                    if let Some(better) = refitted(model, data, degree, lowered)? {
                        output.remark(&format!("note: {better}"));
                        model.take_refitted(better);
                    }
                }
                degree
            }
        };
        Ok(CompileOptions {
            precision_bits: self.precision,
            packing: match self.packing {
                PackingName::Saturated => Packing::Saturated,
                PackingName::Dynamic => Packing::DynamicProgram,
                PackingName::Multiplexed => Packing::Multiplexed,
            },
            activation_degree,
            bootstrapping: match self.bootstrap {
                BootstrapName::Auto => Bootstrapping::Auto,
                BootstrapName::Never => Bootstrapping::Never,
            },
            off: self.off.iter().copied().collect(),
            max_key_bytes: self.max_key_memory,
            profile,
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
    let Outputs { circuit, manifest } = arguments.outputs()?;
    let outputs = arguments.check_paths(&circuit, &manifest)?;
    let mut model = arguments.choices.open_cut(&arguments.model, arguments.output.as_deref())?;
    model.keep_weights(&outputs)?;
    let calibration = match &arguments.calibrate {
        Some(path) => Some(data::read(path, &model.input_shape())?),
        None => None,
    };
    if let Some(dataset) = &calibration {
        output.step(&format!("measuring ranges on {} samples", dataset.samples.len()));
        model.calibrate(&dataset.samples)?;
    }
    for note in &model.frontend().notes {
        output.remark(&format!("note: {note}"));
    }
    // Drafts have the model's own activations.
    let data = calibration.as_ref().filter(|_| !arguments.draft || arguments.explain.is_some());
    let options =
        CompileOptions { batch: arguments.batch, ..arguments.choices.options(&mut model, data, output)? };
    if let Some(explain::Subject::Activations) = arguments.explain {
        return explain::activations(&model, options.activation_degree, calibration.as_ref());
    }
    let watch = Watch { print: arguments.print_after.iter().copied().collect(), stop: arguments.stop_after };
    if arguments.draft {
        return draft(arguments, model.draft_watched(&options, &watch)?, &options.profile, output);
    }
    let (texts, compiled) =
        model.compile_watched(&options, &watch).map_err(|e| arguments.choices.lower(e, &options))?;
    let stages: Value = texts.iter().map(|(stage, text)| (stage.name().to_owned(), json!(text))).collect();
    let texts: String = texts.values().map(String::as_str).collect();
    let Some(compiled) = compiled else {
        return Ok(Report::new(texts.trim_end().to_owned(), json!({ "stages": stages })));
    };
    for warning in &compiled.report.warnings {
        output.remark(&format!("warning: {warning}"));
    }
    let page = arguments.html.as_deref();
    let circuit_bytes = compiled.circuit.to_bytes();
    let manifest_bytes = compiled.manifest.to_bytes();
    let circuit_file = files::prepare_bytes(&circuit, Access::Shared, &circuit_bytes)?;
    if let Some(path) = page {
        let (circuit, report) = (&compiled.circuit, Some(&compiled.report));
        page::write(path, &Page { circuit, purpose: Purpose::Encrypted, profile: &options.profile, report })?;
    }
    files::prepare_bytes(&manifest, Access::Shared, &manifest_bytes)?.persist()?;
    circuit_file.persist()?;
    let mut facts = facts(&compiled, circuit_bytes.len(), manifest_bytes.len());
    facts["activation_degree"] = json!(options.activation_degree);
    facts["refit"] = json!(model.refitted());
    if !watch.print.is_empty() {
        facts["stages"] = stages;
    }
    let also = page.map_or(String::new(), |p| format!(" and {}", p.display()));
    let written = format!("{} and {}{also}", circuit.display(), manifest.display());
    let text = format!("{texts}{}\nwrote {written}", summary(&compiled));
    Ok(Report::new(text, facts).beside(&outputs))
}

/// Tells of a draft: the texts of stages, figures and, where it is wanted, the page.
fn draft(
    arguments: &Arguments,
    (texts, draft): (BTreeMap<Stage, String>, Option<Draft>),
    profile: &Profile,
    output: &Output,
) -> Result<Report, Error> {
    let stages: Value = texts.iter().map(|(stage, text)| (stage.name().to_owned(), json!(text))).collect();
    let texts: String = texts.values().map(String::as_str).collect();
    let Some(Draft { circuit, report, compile_seconds }) = draft else {
        return Ok(Report::new(texts.trim_end().to_owned(), json!({ "stages": stages })));
    };
    report.warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    let page = arguments.html.as_deref();
    if let Some(path) = page {
        let (circuit, report) = (&circuit, Some(&report));
        page::write(path, &Page { circuit, purpose: Purpose::Draft, profile, report })?;
    }
    let predicted_ns: u64 = report.layers.iter().map(|l| l.predicted_ns).sum();
    let seconds = predicted_ns as f64 / 1e9;
    let wrote = page.map_or(String::new(), |p| format!("\nwrote {}", p.display()));
    let text = format!(
        "{texts}{}: a draft at N = 2^{}, {} levels, {} rotations, {} rotation keys\nforecast: {seconds:.3} s on one thread{}{wrote}",
        line(&circuit.name),
        report.log_n,
        report.levels,
        report.rotations,
        report.rotation_keys,
        told(&report),
    );
    let mut facts = json!({
        "model": circuit.name, "draft": true, "log_n": report.log_n, "levels": report.levels,
        "rotations": report.rotations, "rotation_keys": report.rotation_keys, "forecast_seconds": seconds,
        "choices": choices(&report), "egraphs": egraphs(&report), "compile_seconds": compile_seconds,
    });
    if !texts.is_empty() {
        facts["stages"] = stages;
    }
    let report = Report::new(text, facts);
    Ok(match page {
        Some(path) => report.beside(&[path]),
        None => report,
    })
}

/// What the stages chose, for programs.
fn choices(report: &CompileReport) -> Value {
    report.choices.iter().map(|(stage, text)| json!({ "stage": stage.name(), "text": text })).collect()
}

/// Sizes of the e-graphs, for programs.
fn egraphs(report: &CompileReport) -> Value {
    let size = |e: &EGraph| json!({ "stage": e.stage.name(), "terms": e.terms, "classes": e.classes, "rounds": e.rounds });
    report.egraphs.iter().map(size).collect()
}

/// What the stages chose, and from how much, for people.
fn told(report: &CompileReport) -> String {
    let mut out: String = report.choices.iter().map(|(stage, text)| format!("\n{stage}: {text}")).collect();
    for EGraph { stage, terms, classes, rounds } in &report.egraphs {
        out += &format!("\n{stage}: e-graph of {terms} terms in {classes} classes, {rounds} rounds of rules");
    }
    out
}

/// The compilation for programs.
pub(super) fn facts(compiled: &Compiled, file_bytes: usize, manifest_bytes: usize) -> Value {
    let (c, r) = (&compiled.circuit, &compiled.report);
    json!({
        "model": c.name,
        "batch": compiled.manifest.batch(),
        "file_bytes": file_bytes,
        "manifest_bytes": manifest_bytes,
        "log_n": c.parameters.log_n,
        "log_qp": r.log_qp,
        "log_qp_bound": r.log_qp_bound,
        "levels": c.parameters.top().0,
        "rotations": r.rotations,
        "rotation_keys": r.rotation_keys,
        "choices": choices(r),
        "egraphs": egraphs(r),
        "compile_seconds": compiled.compile_seconds,
        "forecast": c.forecast,
        "peak_memory_bytes": cipherloom::memory::peak_bytes(),
    })
}

/// The compilation for people.
pub(super) fn summary(compiled: &Compiled) -> String {
    let (c, r) = (&compiled.circuit, &compiled.report);
    let f = &c.forecast;
    let told = told(r);
    let batch = match compiled.manifest.batch() {
        1 => String::new(),
        batch => format!(" for {batch} images, {:.4} s each", f.seconds / f64::from(batch)),
    };
    format!(
        "{}: N = 2^{}, log QP {:.1} of at most {:.0} for 128 bits (ePrint 2024/463), {} levels, {} rotations, {} rotation keys\n\
         forecast: {:.3} s on one thread{batch}, {} memory, {} keys, {} up, {} down, {:.1} bits of precision ({:.1} under a public key){told}",
        line(&c.name),
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
