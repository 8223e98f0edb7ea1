//! `doctor`: what this machine offers, and how far its speed is from a cost profile.

use super::compile::read_profile;
use super::report::{Report, bytes_text};
use cipherloom::compiler::cost::Profile;
use cipherloom::measure::{Effort, Sample, Size, samples};
use cipherloom::{Error, Kind, memory, ring::Path};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Cost profile to compare with (default: the one that comes with this version).
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// What is measured: a ring of the smaller models and one of the larger ones.
const SIZES: [Size; 2] =
    [Size { log_n: 13, limbs: 6, digit_limbs: 2 }, Size { log_n: 14, limbs: 8, digit_limbs: 2 }];
/// Some twenty calls are measured per size.
const EFFORT: Effort = Effort { time: Duration::from_millis(25), calls_min: 3 };

pub(super) fn run(arguments: &Arguments) -> Result<Report, Error> {
    let profile = read_profile(arguments.profile.as_deref())?;
    let paths: Vec<String> = Path::available().iter().map(|p| format!("{p:?}").to_lowercase()).collect();
    let best = format!("{:?}", Path::best()).to_lowercase();
    let memory_bytes = memory::machine_bytes();
    let threads = rayon::current_num_threads();
    let Comparison { groups, overall } = compare(&profile)?;
    let lines: Vec<String> =
        groups.iter().map(|(group, ratio)| format!("  {group:<18} {ratio:.2}")).collect();
    let origin = &profile.origin;
    let text = format!(
        "cipherloom {}\nkernels   {best} (available: {})\nthreads   {threads}\nmemory    {}\n\
         profile   {} of {} ({}, {})\ntime on one thread, measured / profile:\n{}\n  {:<18} {overall:.2}",
        env!("CARGO_PKG_VERSION"),
        paths.join(", "),
        memory_bytes.map_or("unknown".into(), bytes_text),
        profile.digest().short(),
        origin.date,
        origin.machine,
        origin.commit,
        lines.join("\n"),
        "overall",
    );
    let groups: Map<String, serde_json::Value> =
        groups.into_iter().map(|(group, ratio)| (group.to_owned(), json!(ratio))).collect();
    Ok(Report::new(
        text,
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel_path": best,
            "kernel_paths": paths,
            "threads": threads,
            "memory_bytes": memory_bytes,
            "profile": {
                "digest": profile.digest(), "machine": origin.machine, "date": origin.date,
                "commit": origin.commit,
            },
            "measured_over_profile": { "overall": overall, "groups": groups },
        }),
    ))
}

/// Measured times over those of a profile, geometric means.
struct Comparison {
    groups: BTreeMap<&'static str, f64>,
    overall: f64,
}

fn compare(profile: &Profile) -> Result<Comparison, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|e| Error::new(Kind::Resources, "threads", e))?;
    let mut logs: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for size in SIZES {
        for Sample { group, counts, ns, .. } in pool.install(|| samples(size, EFFORT))? {
            logs.entry(group).or_default().push((ns / profile.ns(size.log_n, &counts)).ln());
        }
    }
    let mean = |logs: &[f64]| (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    let all: Vec<f64> = logs.values().flatten().copied().collect();
    Ok(Comparison {
        overall: mean(&all),
        groups: logs.iter().map(|(group, logs)| (*group, mean(logs))).collect(),
    })
}
