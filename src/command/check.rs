//! `check`: a model's circuit beside the model, on data.

use super::compile::Choices;
use super::report::{Output, Report, line, table};
use cipherloom::check::{Findings, Wanted, check, interval, percent};
use cipherloom::ir::Draw;
use cipherloom::{Error, data, files};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// ONNX model (`-`: standard input).
    model: PathBuf,
    /// Test data: npz with images and labels, npy, IDX, an image or a folder of images.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Class labels of data that hold none (IDX or npy).
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Data to measure value ranges on, as in `compile`.
    #[arg(long, value_name = "DATA")]
    calibrate: Option<PathBuf>,
    /// Only the first images of the data.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// How many of them are evaluated on ciphertexts too.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    encrypted: u32,
    /// Which errors the simulation draws.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    draw: u64,
    #[command(flatten)]
    choices: Choices,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let start = Instant::now();
    let optional = [arguments.labels.as_deref(), arguments.calibrate.as_deref(), arguments.choices.profile()];
    let mut paths = vec![arguments.model.as_path(), &arguments.data];
    paths.extend(optional.into_iter().flatten());
    files::one_stream(&paths)?;
    let mut model = arguments.choices.open(&arguments.model)?;
    let mut dataset = data::read(&arguments.data, &model.input_shape())?;
    if let Some(path) = &arguments.labels {
        dataset.label(data::read_labels(path)?, path)?;
    }
    dataset.truncate(arguments.images.map_or(usize::MAX, |n| n as usize));
    let calibration = match &arguments.calibrate {
        Some(path) => Some(data::read(path, &model.input_shape())?),
        None => None,
    };
    if let Some(data) = &calibration {
        model.calibrate(&data.samples)?;
    }
    output.step(&format!("checking {} images", dataset.samples.len()));
    let wanted = Wanted { encrypted: arguments.encrypted as usize, draw: Draw(arguments.draw) };
    let options = arguments.choices.options(&mut model, calibration.as_ref(), output)?;
    let findings = check(&model, &options, &dataset, &wanted)?;
    let mut facts = json!(findings);
    facts["refit"] = json!(model.refitted());
    facts["seconds"] = json!({ "check": start.elapsed().as_secs_f64() });
    facts["peak_memory_bytes"] = json!(cipherloom::memory::peak_bytes());
    let verdict = findings.problems.first().map(|p| p.kind);
    Ok(Report::new(text(&findings), facts).ending_with(verdict))
}

/// The findings for people.
fn text(f: &Findings) -> String {
    let accuracy = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let mut rows = vec![
        ["".into(), "accuracy".into(), "model's class".into(), "largest score error".into()],
        ["clear".into(), accuracy(f.clear_accuracy), "".into(), "".into()],
        [
            "polynomial".into(),
            accuracy(f.polynomial_accuracy),
            percent(f.polynomial_agreement),
            format!("{:.3e} from clear", f.polynomial_max_logit_error),
        ],
        [
            "simulated".into(),
            accuracy(f.simulated_accuracy),
            percent(f.simulated_agreement),
            bits(f.simulated.max_logit_error, f.simulated.precision_bits),
        ],
    ];
    if let Some(e) = &f.encrypted {
        let error = format!(
            "{}; simulated {:.3e}",
            bits(e.error.max_logit_error, e.error.precision_bits),
            e.simulated_max_logit_error
        );
        rows.push(["encrypted".into(), "-".into(), format!("{} of {}", e.agree, e.images), error]);
    }
    let mut out = format!("{} images\n{}", f.images, table(&rows));
    let mut rows = vec![["layer", "divergence", "precision", ""].map(String::from)];
    for layer in &f.layers {
        let noise = layer.noise_bits.map_or("-".to_owned(), |b| format!("{b:.1} bits"));
        let wrong = if f.first_wrong_layer.as_ref() == Some(&layer.name) { "goes wrong here" } else { "" };
        rows.push([layer.name.clone(), percent(layer.divergence), noise, wrong.into()]);
    }
    out += &format!("\n{}", table(&rows));
    let mut rows = vec![["range of", "certified", "seen", "headroom", "images outside"].map(String::from)];
    for r in &f.ranges {
        let (certified, seen) = (interval(r.certificate), interval(r.seen));
        rows.push([r.tensor.clone(), certified, seen, percent(r.headroom), r.images_outside.to_string()]);
    }
    out += &format!("\n{}", table(&rows));
    out += &f.warnings.iter().map(|w| format!("warning: {}\n", line(w))).collect::<String>();
    for p in &f.problems {
        out += &format!("problem: {}: {}\n  help: {}\n", line(&p.place), line(&p.what), line(&p.remedy));
    }
    out + if f.problems.is_empty() {
        "the circuit follows the model on these images"
    } else {
        "do not use this circuit on such images"
    }
}

fn bits(error: f64, bits: f64) -> String {
    format!("{error:.3e} from polynomial, {bits:.1} bits")
}
