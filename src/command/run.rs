//! `run`: the server's step. Circuit, evaluation keys and encrypted input to encrypted output.

use super::compile::bytes;
use super::report::{Output, Report, bytes_text};
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
    /// Most memory that the whole run takes (512M, 8G, or bytes). Where the evaluation keys do not fit, they are read from their
    /// file when they are used and as many of them kept as there is room for: slower, the same answer. `inspect` tells the least.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_memory: Option<u64>,
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
    let mut outputs = vec![arguments.output.as_path()];
    outputs.extend(arguments.evaluation.trace.as_deref());
    files::check(&[&arguments.circuit, &arguments.keys, &arguments.input], &outputs)?;
    let place = arguments.circuit.display().to_string();
    let circuit = circuits::circuit(&place, &files::read(&arguments.circuit)?)?;
    let mut server = session::Server::open(
        &place,
        circuit,
        &arguments.keys,
        arguments.evaluation.options(),
        arguments.max_memory,
    )?;
    let input = server.read_input(&arguments.input)?;
    let load = start.elapsed().as_secs_f64();
    let start = Instant::now();
    server.prepare()?;
    let prepare = start.elapsed().as_secs_f64();
    output.step("evaluating");
    let (answer, seconds) =
        server.run(&input, arguments.evaluation.repeat, arguments.evaluation.trace.as_deref())?;
    server.write_output(&arguments.output, &answer)?;
    let (key_bytes, paging) = server.paging();
    let mut text = format!(
        "{} (load {load:.3} s, prepare {prepare:.3} s, run {seconds:.4} s)",
        arguments.output.display()
    );
    if let Some(paging) = paging {
        text += &format!(
            "\nkeys were paged: room for {} of {}, {} read when used, {} of them again",
            bytes_text(paging.limit_bytes),
            bytes_text(key_bytes),
            paging.reads,
            paging.read_again
        );
    }
    let paged = paging.map(|paging| {
        json!({ "limit_bytes": paging.limit_bytes, "reads": paging.reads, "read_again": paging.read_again })
    });
    Ok(Report::new(
        text,
        json!({
            "seconds": { "load": load, "prepare": prepare, "run": seconds },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
            "key_memory_bytes": key_bytes,
            "paged_keys": paged,
        }),
    )
    .beside(&outputs))
}
