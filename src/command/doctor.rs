//! `doctor`: what this machine offers.

use super::report::{Report, bytes_text};
use cipherloom::{Error, memory, ring::Path};
use serde_json::json;

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<Report, Error> {
    let paths: Vec<String> = Path::available().iter().map(|p| format!("{p:?}").to_lowercase()).collect();
    let best = format!("{:?}", Path::best()).to_lowercase();
    let memory_bytes = memory::machine_bytes();
    let threads = rayon::current_num_threads();
    let text = format!(
        "cipherloom {}\nkernels   {best} (available: {})\nthreads   {threads}\nmemory    {}\nprofile   built-in cost constants",
        env!("CARGO_PKG_VERSION"),
        paths.join(", "),
        memory_bytes.map_or("unknown".into(), bytes_text),
    );
    Ok(Report::new(
        text,
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel_path": best,
            "kernel_paths": paths,
            "threads": threads,
            "memory_bytes": memory_bytes,
            "profile": "built-in",
        }),
    ))
}
