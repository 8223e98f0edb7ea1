//! `encrypt`: one sample, or as many as the circuit takes at once, under the secret key or a public key.

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
    /// Which sample of a file that holds several; for a circuit that takes a batch, the first of so many.
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Encrypted input to write.
    #[arg(short, long, default_value = "input.ct")]
    output: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<Report, Error> {
    let start = Instant::now();
    let place = arguments.manifest.display().to_string();
    let key = arguments.public.as_ref().unwrap_or(&arguments.secret);
    files::check(&[&arguments.manifest, &arguments.data, key], &[&arguments.output])?;
    let client = session::client(&place, circuits::manifest(&place, &files::read(&arguments.manifest)?)?)?;
    let shape = client.manifest().inputs.first().map_or(&[][..], |i| &i.layout.shape);
    let batch = client.manifest().batch() as usize;
    let samples = data::read_from(&arguments.data, shape, arguments.index, batch)?;
    let (encrypted, warnings) = match &arguments.public {
        Some(path) => session::encrypt_public(&client, &session::read_public(path, &client)?, &samples)?,
        None => session::encrypt(&client, &session::read_secret(&arguments.secret, &client)?, &samples)?,
    };
    warnings.iter().for_each(|w| output.remark(&format!("warning: {w}")));
    let bytes = session::write_input(&arguments.output, &client, &encrypted)?;
    let of = if batch > 1 { format!(", {} of {batch} images", samples.len()) } else { String::new() };
    Ok(Report::new(
        format!("{} ({}{of})", arguments.output.display(), bytes_text(bytes)),
        json!({
            "images": samples.len(),
            "upload_bytes": bytes,
            "warnings": warnings,
            "seconds": { "encrypt": start.elapsed().as_secs_f64() },
            "peak_memory_bytes": cipherloom::memory::peak_bytes(),
        }),
    )
    .beside(&[&arguments.output]))
}
