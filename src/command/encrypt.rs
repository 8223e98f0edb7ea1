//! `encrypt`: one sample for one circuit, under the secret key or a public key.

use super::report::{Output, Report, bytes_text};
use cipherloom::{Error, circuits, data, files, session};
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
    /// Public key, in place of the secret key: a larger file and more noise.
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    public: Option<PathBuf>,
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
    let key = arguments.public.as_ref().unwrap_or(&arguments.secret);
    files::distinct(&[&arguments.manifest, &arguments.data, key, &arguments.output])?;
    files::one_stream(&[&arguments.manifest, &arguments.data, key])?;
    let shape = client.manifest().inputs.first().map_or(&[][..], |i| &i.layout.shape);
    let sample = data::read_one(&arguments.data, shape, arguments.index)?;
    let (encrypted, warnings) = match &arguments.public {
        Some(path) => session::encrypt_public(&client, &session::read_public(path, &client)?, &sample)?,
        None => session::encrypt(&client, &session::read_secret(&arguments.secret, &client)?, &sample)?,
    };
    warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    let bytes = session::write_input(&arguments.output, &client, &encrypted)?;
    Ok(Report::new(
        format!("{} ({})", arguments.output.display(), bytes_text(bytes)),
        json!({
            "upload_bytes": bytes,
            "warnings": warnings,
            "seconds": { "encrypt": start.elapsed().as_secs_f64() },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
        }),
    )
    .beside(&arguments.output))
}
