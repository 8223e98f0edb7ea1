//! `decrypt`: the client's last step.

use super::report::Report;
use cipherloom::client::Scores;
use cipherloom::{Error, circuits, files, session};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `decrypt`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Manifest of the circuit.
    manifest: PathBuf,
    /// Encrypted output.
    answer: PathBuf,
    /// Secret key.
    #[arg(long, value_name = "FILE", default_value = "secret.key")]
    secret: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Error> {
    let start = Instant::now();
    let place = arguments.manifest.display().to_string();
    files::one_stream(&[&arguments.manifest, &arguments.answer, &arguments.secret])?;
    let client = session::client(&place, circuits::manifest(&place, &files::read(&arguments.manifest)?)?)?;
    let secret = session::read_secret(&arguments.secret, &client)?;
    let scores = session::decrypt_file(&arguments.answer, &client, &secret)?;
    let mut facts = answer_facts(&scores);
    facts["seconds"] = json!({ "decrypt": start.elapsed().as_secs_f64() });
    facts["peak_memory_bytes"] = json!(cipherloom::memory::peak_bytes());
    Ok(Report::new(answer_text(&scores), facts))
}

/// The answer for programs.
pub(super) fn answer_facts(scores: &Scores) -> Value {
    let mut facts = json!({ "class": scores.class, "label": scores.label, "scores": scores.values });
    if let Some(probabilities) = &scores.probabilities {
        facts["probabilities"] = json!(probabilities);
    }
    facts
}

/// The answer for people.
pub(super) fn answer_text(scores: &Scores) -> String {
    let label = match &scores.label {
        Some(label) => format!("class {} ({label})", scores.class),
        None => format!("class {}", scores.class),
    };
    let shown: Vec<String> = scores.values.iter().take(20).map(|v| format!("{v:.3}")).collect();
    let more = if scores.values.len() > 20 { " …" } else { "" };
    format!("{label}\nscores {}{more}", shown.join(" "))
}
