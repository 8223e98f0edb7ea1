//! Shell completions and the man page, generated from the argument definitions.

use super::{Cli, report::Report};
use cipherloom::{Error, Kind};
use clap::CommandFactory;
use serde_json::json;

/// Arguments of `completions`.
#[derive(clap::Args)]
pub(super) struct CompletionArguments {
    /// Shell to complete for.
    shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(clap::Args)]
pub(super) struct ManArguments {}

pub(super) fn completions(arguments: &CompletionArguments) -> Result<Report, Error> {
    let mut out = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "cipherloom", &mut out);
    Ok(text(out))
}

pub(super) fn man(_: &ManArguments) -> Result<Report, Error> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut out)
        .map_err(|e| Error::new(Kind::Internal, "man page", e))?;
    Ok(text(out))
}

fn text(bytes: Vec<u8>) -> Report {
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Report::new(text.clone(), json!({ "text": text }))
}
