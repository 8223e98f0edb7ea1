//! `decrypt`: the client's last step.

use super::report::{Report, line};
use cipherloom::client::{Release, Released, Scores};
use cipherloom::{Error, Kind, circuits, files, session};
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
    /// Make the scores fit to be given to others: round them, or flood them with noise, by the proved worst-case error.
    #[arg(long, value_name = "HOW", value_enum)]
    release: Option<ReleaseName>,
    /// How many decryptions under this key are released in all, for `--release flood`.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    decryptions: u32,
    /// Print the class and nothing of the scores.
    #[arg(long)]
    label_only: bool,
    /// Images that were encrypted, for a circuit that takes a batch (default: all its places).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ReleaseName {
    /// Multiples of a step that is large beside the error.
    Round,
    /// Noise that is large beside the error.
    Flood,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Error> {
    let start = Instant::now();
    let place = arguments.manifest.display().to_string();
    files::one_stream(&[&arguments.manifest, &arguments.answer, &arguments.secret])?;
    let client = session::client(&place, circuits::manifest(&place, &files::read(&arguments.manifest)?)?)?;
    let secret = session::read_secret(&arguments.secret, &client)?;
    let how = arguments.release.map(|name| match name {
        ReleaseName::Round => Release::Round,
        ReleaseName::Flood => Release::Flood { decryptions: arguments.decryptions },
    });
    let released = match how {
        Some(how) => session::release_file(&arguments.answer, &client, &secret, how)?,
        None => vec![],
    };
    let answers: Vec<Vec<Scores>> = match how {
        Some(_) => released.iter().map(|image| image.iter().map(|r| r.scores.clone()).collect()).collect(),
        None => session::decrypt_file(&arguments.answer, &client, &secret)?,
    };
    let images = arguments.images.map_or(answers.len(), |n| n as usize);
    if images > answers.len() {
        let what = format!("the circuit takes {} image(s) at once, {images} were asked for", answers.len());
        return Err(Error::new(Kind::Usage, place, what).remedy("give a smaller --images"));
    }
    let detail = if arguments.label_only { Detail::Label } else { Detail::Scores };
    let mut facts = batch_facts(&answers[..images], detail);
    if let Some(outputs) = released.first() {
        let facts_of = |r: &Released| json!({ "worst_error": r.bound, "step": r.step, "flood": r.flood, "output": r.scores.name });
        facts["release"] = match &outputs[..] {
            [one] => facts_of(one),
            all => all.iter().map(facts_of).collect(),
        };
    }
    facts["seconds"] = json!({ "decrypt": start.elapsed().as_secs_f64() });
    facts["peak_memory_bytes"] = json!(cipherloom::memory::peak_bytes());
    Ok(Report::new(batch_text(&answers[..images], detail), facts))
}

/// The answers of a batch for programs; one answer stands alone.
fn batch_facts(answers: &[Vec<Scores>], detail: Detail) -> Value {
    match answers {
        [one] => answer_facts(one, detail),
        all => {
            json!({ "images": all.iter().map(|outputs| answer_facts(outputs, detail)).collect::<Vec<_>>() })
        }
    }
}

/// The answers of a batch for people; one answer stands alone.
fn batch_text(answers: &[Vec<Scores>], detail: Detail) -> String {
    match answers {
        [one] => answer_text(one, detail),
        all => {
            let answer =
                |(k, outputs): (usize, &Vec<Scores>)| format!("image {k}: {}", answer_text(outputs, detail));
            all.iter().enumerate().map(answer).collect::<Vec<_>>().join("\n")
        }
    }
}

/// How much of an answer is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Class, scores and probabilities.
    Scores,
    /// The class alone.
    Label,
}

/// The answer for programs: what the first output says and, where there are more, all of them.
pub(super) fn answer_facts(outputs: &[Scores], detail: Detail) -> Value {
    let mut facts = outputs.first().map_or_else(|| json!({}), |first| output_facts(first, detail));
    if outputs.len() > 1 {
        let named = |scores: &Scores| {
            let mut own = output_facts(scores, detail);
            (own["name"], own["shape"]) = (json!(scores.name), json!(scores.shape));
            own
        };
        facts["outputs"] = outputs.iter().map(named).collect();
        let alarm = outputs.iter().find_map(|scores| scores.alarm.as_ref());
        facts["trusted"] = json!(alarm.is_none());
        if let Some(alarm) = alarm {
            facts["warning"] = json!(alarm.to_string());
        }
    }
    facts
}

fn output_facts(scores: &Scores, detail: Detail) -> Value {
    let mut facts = json!({ "class": scores.class, "label": scores.label });
    if detail == Detail::Scores {
        facts["scores"] = json!(scores.values);
        if let Some(probabilities) = &scores.probabilities {
            facts["probabilities"] = json!(probabilities);
        }
    }
    facts["trusted"] = json!(scores.alarm.is_none());
    if let Some(alarm) = &scores.alarm {
        facts["warning"] = json!(alarm.to_string());
    }
    facts
}

/// The answer for people, outputs by name where there are several.
pub(super) fn answer_text(outputs: &[Scores], detail: Detail) -> String {
    match outputs {
        [one] => output_text(one, detail),
        all => {
            let named =
                |scores: &Scores| format!("output {}: {}", line(&scores.name), output_text(scores, detail));
            all.iter().map(named).collect::<Vec<_>>().join("\n")
        }
    }
}

fn output_text(scores: &Scores, detail: Detail) -> String {
    let label = match &scores.label {
        Some(label) => format!("class {} ({})", scores.class, line(label)),
        None => format!("class {}", scores.class),
    };
    let alarm = scores.alarm.as_ref().map_or(String::new(), |a| format!("warning: {a}\n"));
    if detail == Detail::Label {
        return alarm + &label;
    }
    let shown: Vec<String> = scores.values.iter().take(20).map(|v| format!("{v:.3}")).collect();
    let more = if scores.values.len() > 20 { " …" } else { "" };
    let steps = if scores.probabilities.is_some() { " before softmax" } else { "" };
    format!("{alarm}{label}\nscores{steps} {}{more}", shown.join(" "))
}
