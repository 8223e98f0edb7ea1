//! `encrypt`: one sample for one circuit, under the secret key.

use super::report::{Output, Report, bytes_text};
use cipherloom::{Error, Kind, circuits, data, files, session};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `encrypt`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Manifest of the circuit.
    manifest: PathBuf,
    /// Image or array (PNG, JPEG, npy, npz, IDX).
    data: PathBuf,
    /// Secret key.
    #[arg(long, value_name = "FILE", default_value = "secret.key")]
    secret: PathBuf,
    /// Which sample of a file that holds several.
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Encrypted input to write.
    #[arg(short, long, default_value = "input.ct")]
    output: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let start = Instant::now();
    let place = arguments.manifest.display().to_string();
    let client = session::client(&place, circuits::manifest(&place, &files::read(&arguments.manifest)?)?)?;
    let secret = session::read_secret(&arguments.secret, &client)?;
    let input = &client.manifest().inputs[0];
    let dataset = data::read(&arguments.data, &input.layout.shape)?;
    let Some(sample) = dataset.samples.get(arguments.index) else {
        let what =
            format!("holds {} sample(s), index {} was asked for", dataset.samples.len(), arguments.index);
        return Err(Error::new(Kind::BadInput, arguments.data.display(), what));
    };
    let (encrypted, warnings) = session::encrypt(&client, &secret, sample)?;
    warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    session::write_input(&arguments.output, &client, &encrypted)?;
    let bytes = std::fs::metadata(&arguments.output).map_or(0, |m| m.len());
    Ok(Report::new(
        format!("{} ({})", arguments.output.display(), bytes_text(bytes)),
        json!({
            "upload_bytes": bytes,
            "warnings": warnings,
            "seconds": { "encrypt": start.elapsed().as_secs_f64() },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
        }),
    ))
}
