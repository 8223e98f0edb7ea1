//! `keygen`: a secret key, owner-only, and the evaluation keys that a manifest lists.

use super::report::{Output, Report, bytes_text};
use cipherloom::files::{self, Existing};
use cipherloom::{Error, circuits, session};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Keys that take longer show how far they are.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `keygen`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Manifest of the circuit.
    manifest: PathBuf,
    /// Secret key to write; it stays with the client.
    #[arg(long, value_name = "FILE", default_value = "secret.key")]
    secret: PathBuf,
    /// Evaluation keys to write, for the server.
    #[arg(long, value_name = "FILE", default_value = "eval.keys")]
    keys: PathBuf,
    /// Public key to write as well: whoever has it can encrypt for the circuit.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Replace an existing secret key.
    #[arg(long)]
    force: bool,
}

impl Arguments {
    fn existing(&self) -> Existing {
        if self.force { Existing::Replaced } else { Existing::Kept }
    }
}

/// Refuses paths that exclude each other, and yields those of the outputs.
fn check_paths(arguments: &Arguments) -> Result<Vec<&Path>, Error> {
    let mut outputs = vec![arguments.keys.as_path()];
    outputs.extend(arguments.public.as_deref());
    files::check(&[&arguments.manifest], &outputs)?;
    files::check_secret(&arguments.secret, arguments.existing())?;
    outputs.push(&arguments.secret);
    files::one_stream(&outputs)?;
    files::distinct(&[&[arguments.manifest.as_path()], &outputs[..]].concat())?;
    Ok(outputs)
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let start = Instant::now();
    let place = arguments.manifest.display().to_string();
    let outputs = check_paths(arguments)?;
    let manifest = circuits::manifest(&place, &files::read(&arguments.manifest)?)?;
    let client = session::client(&place, manifest)?;
    let count = client.key_shapes().len();
    let all = client.evaluation_key_bytes();
    output.step(&format!("making {count} keys, {}", bytes_text(all)));
    let secret = client.generate_secret().map_err(|e| session::client_error(&place, &e))?;
    // All files are whole before any takes its name; the secret key first, so that no keys stand without it.
    let mut told = Instant::now();
    let progress = |bytes: u64| {
        if told.elapsed() > PROGRESS_EVERY && bytes < all {
            told = Instant::now();
            output.step(&format!("made {} of {}", bytes_text(bytes), bytes_text(all)));
        }
    };
    let keys = session::keys_file(&arguments.keys, &client, &secret, progress)?;
    let public =
        arguments.public.as_deref().map(|p| session::public_file(p, &client, &secret)).transpose()?;
    session::write_secret(&arguments.secret, &client, &secret, arguments.existing())?;
    let key_bytes = keys.bytes()?;
    keys.persist()?;
    public.map_or(Ok(()), files::Pending::persist)?;
    let text = format!(
        "{count} evaluation keys, {}: {} (for the server)\nsecret key: {} (keep it)",
        bytes_text(key_bytes),
        arguments.keys.display(),
        arguments.secret.display()
    );
    Ok(Report::new(
        text,
        json!({
            "keys": count,
            "key_bytes": key_bytes,
            "log_qp": client.security().log_qp,
            "seconds": { "keygen": start.elapsed().as_secs_f64() },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
        }),
    )
    .beside(&outputs))
}
