//! `predict`: everything at once, for a first try: the client's and the server's steps in one process.

use super::compile::{Choices, summary};
use super::decrypt::{Detail, answer_facts, answer_text};
use super::report::{Output, Report};
use super::run::Evaluation;
use cipherloom::{Error, data, files, session};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `predict`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// ONNX model (`-`: standard input).
    model: PathBuf,
    /// Image or array (PNG, JPEG, npy, npz, IDX).
    data: PathBuf,
    /// Which sample of a file that holds several.
    #[arg(long, default_value_t = 0)]
    index: usize,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    evaluation: Evaluation,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let place = arguments.model.display().to_string();
    let mut inputs = vec![arguments.model.as_path(), &arguments.data];
    inputs.extend(arguments.choices.profile());
    let trace: Vec<&Path> = arguments.evaluation.trace.as_deref().into_iter().collect();
    files::check(&inputs, &trace)?;
    let mut model = arguments.choices.open(&arguments.model)?;
    model.keep_weights(&trace)?;
    let sample = data::read_one(&arguments.data, &model.input_shape(), arguments.index)?;
    model.frontend().notes.iter().for_each(|n| output.remark(&format!("note: {n}")));
    let options = arguments.choices.options(&mut model, None, output)?;
    let compiled = model.compile(&options)?;
    compiled.report.warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    output.step(&summary(&compiled));
    let compile = compiled.compile_seconds;

    let mut clock = Clock::new();
    let client = session::client(&place, compiled.manifest.clone())?;
    let secret = client.generate_secret().map_err(|e| session::client_error(&place, &e))?;
    let keys = session::evaluation_keys(&client, &secret)?;
    let keygen = clock.lap();
    output.step(&format!("made {} keys in {keygen:.2} s", keys.len()));
    let (encrypted, warnings) = session::encrypt(&client, &secret, &[sample])?;
    warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    let encrypt = clock.lap();
    let options = arguments.evaluation.options();
    let mut server = session::Server::new(&place, compiled.circuit, keys, options)?;
    let input = server.receive(encrypted)?;
    let load = clock.lap();
    server.prepare()?;
    let prepare = clock.lap();
    output.step("evaluating on ciphertexts");
    let (answer, run) =
        server.run(&input, arguments.evaluation.repeat, arguments.evaluation.trace.as_deref())?;
    clock.lap();
    let outputs = session::decrypt(&client, &secret, answer)?.remove(0);
    let decrypt = clock.lap();

    let mut facts = answer_facts(&outputs, Detail::Scores);
    facts["seconds"] = json!({
        "compile": compile, "keygen": keygen, "encrypt": encrypt,
        "load": load, "prepare": prepare, "run": run, "decrypt": decrypt,
    });
    facts["peak_memory_bytes"] = json!(cipherloom::memory::peak_bytes());
    let text = format!(
        "{}\nseconds: compile {compile:.2}, keygen {keygen:.2}, encrypt {encrypt:.3}, prepare {prepare:.2}, run {run:.4}, decrypt {decrypt:.3}",
        answer_text(&outputs, Detail::Scores)
    );
    Ok(Report::new(text, facts).beside(&trace))
}

/// Wall-clock laps in seconds.
struct Clock(Instant);

impl Clock {
    fn new() -> Clock {
        Clock(Instant::now())
    }
    fn lap(&mut self) -> f64 {
        let lap = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        lap
    }
}
