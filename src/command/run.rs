//! `run`: the server's step. Circuit, evaluation keys and encrypted input to encrypted output.

use super::report::{Output, Report};
use cipherloom::{Error, circuits, files, session};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `run`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Circuit (.loom).
    circuit: PathBuf,
    /// Encrypted input.
    input: PathBuf,
    /// Evaluation keys (`-`: standard input).
    #[arg(long, value_name = "FILE", default_value = "eval.keys")]
    keys: PathBuf,
    /// Encrypted output to write.
    #[arg(short, long, default_value = "output.ct")]
    output: PathBuf,
    #[command(flatten)]
    evaluation: Evaluation,
}

/// How to evaluate.
#[derive(clap::Args)]
pub(super) struct Evaluation {
    /// Evaluate this often and report the median time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) repeat: u32,
    /// Memory for prepared plaintexts, MiB; what does not fit is made again at each use.
    #[arg(long, value_name = "MIB", default_value_t = 1536)]
    pub(super) plaintext_memory: usize,
    /// Write time per operation to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
}

impl Evaluation {
    pub(super) fn options(&self) -> cipherloom::runtime::Options {
        let plaintext_budget_bytes = self.plaintext_memory.saturating_mul(1 << 20);
        cipherloom::runtime::Options { plaintext_budget_bytes, ..Default::default() }
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let start = Instant::now();
    files::distinct(&[&arguments.circuit, &arguments.keys, &arguments.input, &arguments.output])?;
    files::one_stream(&[&arguments.circuit, &arguments.keys, &arguments.input])?;
    let place = arguments.circuit.display().to_string();
    let circuit = circuits::circuit(&place, &files::read(&arguments.circuit)?)?;
    let mut server = session::Server::open(&place, circuit, &arguments.keys, arguments.evaluation.options())?;
    let input = server.read_input(&arguments.input)?;
    let load = start.elapsed().as_secs_f64();
    let start = Instant::now();
    server.prepare()?;
    let prepare = start.elapsed().as_secs_f64();
    output.step("evaluating");
    let (answer, seconds) =
        server.run(&input, arguments.evaluation.repeat, arguments.evaluation.trace.as_deref())?;
    server.write_output(&arguments.output, &answer)?;
    Ok(Report::new(
        format!(
            "{} (load {load:.3} s, prepare {prepare:.3} s, run {seconds:.4} s)",
            arguments.output.display()
        ),
        json!({
            "seconds": { "load": load, "prepare": prepare, "run": seconds },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
        }),
    )
    .beside(&arguments.output))
}
