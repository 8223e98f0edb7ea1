//! `inspect`: what a circuit or a manifest holds.

use super::report::{Report, bytes_text, line};
use cipherloom::compiler::cost::{CostModel, Profile};
use cipherloom::compiler::{Purpose, bootstraps, key_curve};
use cipherloom::ir::scheme::BOOTSTRAP_SETS;
use cipherloom::ir::{Circuit, Manifest, PLAINTEXT_BYTES, Verified, WorstError, container::Kind as FileKind};
use cipherloom::page::{self, Page};
use cipherloom::runtime::MemoryDemand;
use cipherloom::{Error, Kind, circuits, files};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Circuit (.loom) or manifest.
    file: PathBuf,
    /// Print the whole circuit in text form.
    #[arg(long)]
    text: bool,
    /// Write the circuit as an HTML page: network, layouts, levels, costs, keys, memory (`-`: standard output).
    #[arg(long, value_name = "PAGE", conflicts_with = "text")]
    html: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Error> {
    let page: Vec<&Path> = arguments.html.as_deref().into_iter().collect();
    files::check(&[&arguments.file], &page)?;
    let bytes = files::read(&arguments.file)?;
    let place = arguments.file.display().to_string();
    let magic: Option<[u8; 8]> = bytes.get(..8).and_then(|b| b.try_into().ok());
    match magic.and_then(FileKind::of_magic) {
        Some(FileKind::Circuit) => {
            let circuit = circuits::circuit(&place, &bytes)?;
            if let Some(path) = &arguments.html {
                return write_page(&circuit, path);
            }
            if arguments.text {
                let text = circuit.to_text();
                return Ok(Report::new(text.trim_end().to_owned(), json!({ "text": text })));
            }
            let manifest = circuits::manifest_of(&place, &circuit)?;
            let mut report = manifest_report(&manifest);
            let mut ops: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
            circuit.nodes.iter().for_each(|n| *ops.entry(n.op.name()).or_default() += 1);
            let list: Vec<String> = ops.iter().map(|(op, n)| format!("{n} {op}")).collect();
            report.text += &format!("\nnodes      {}: {}", circuit.nodes.len(), list.join(", "));
            report.json.insert("nodes".into(), json!(circuit.nodes.len()));
            report.json.insert("ops".into(), json!(ops));
            add_memory(&mut report, &circuit);
            add_bootstraps(&mut report, &circuit, &place)?;
            add_curve(&mut report, &circuit, &place)?;
            Ok(report)
        }
        Some(FileKind::Manifest) if arguments.html.is_some() => {
            Err(Error::new(Kind::BadInput, place, "is a manifest, which holds no network")
                .remedy("give the circuit (.loom) beside it"))
        }
        Some(FileKind::Manifest) => Ok(manifest_report(&circuits::manifest(&place, &bytes)?)),
        Some(other) => Err(Error::new(Kind::BadInput, place, format!("is a file of {other}"))
            .remedy("inspect takes circuits and manifests")),
        None => Err(Error::new(Kind::BadInput, place, "is not a Cipherloom file")
            .remedy("inspect takes the .loom and .manifest files that compile writes")),
    }
}

/// Writes the circuit's page.
fn write_page(circuit: &Circuit, path: &Path) -> Result<Report, Error> {
    let profile = Profile::committed();
    let bytes =
        page::write(path, &Page { circuit, purpose: Purpose::Encrypted, profile: &profile, report: None })?;
    let text = format!("wrote {} ({})", path.display(), bytes_text(bytes as u64));
    Ok(Report::new(text, json!({ "html": path, "html_bytes": bytes })).beside(&[path]))
}

/// Adds what a run takes of memory, and the least with paged keys.
fn add_memory(report: &mut Report, circuit: &Verified) {
    let demand = MemoryDemand::of(circuit, PLAINTEXT_BYTES);
    let MemoryDemand { keys, largest_key, .. } = demand;
    report.text += &format!(
        "\nmemory     keys take {} in memory, the largest {}; with keys paged, `run --max-memory` takes {} or more",
        bytes_text(keys),
        bytes_text(largest_key),
        bytes_text(demand.least())
    );
    let facts =
        json!({ "keys": keys, "largest_key": largest_key, "whole": demand.whole(), "least": demand.least() });
    report.json.insert("memory_bytes".into(), facts);
}

/// Adds how many bootstraps a circuit has, of which set, and what they take of its time.
fn add_bootstraps(report: &mut Report, circuit: &Circuit, place: &str) -> Result<(), Error> {
    let Some(request) = circuit.bootstrap else { return Ok(()) };
    let cost = CostModel::of_circuit(&Profile::committed(), circuit);
    let found = bootstraps(circuit, &cost).map_err(|e| Error::new(Kind::Internal, place, e))?;
    let Some(found) = found else { return Ok(()) };
    let set = BOOTSTRAP_SETS.iter().find(|(_, set)| *set == request).map(|(name, _)| name);
    report.text += &format!(
        "\nbootstrap  set {}, {} usable levels: {found}",
        set.unwrap_or(&"of its own"),
        request.levels
    );
    let facts = json!({ "set": set, "usable_levels": request.levels, "count": found.count, "seconds": found.seconds });
    report.json.insert("bootstrap".into(), facts);
    Ok(())
}

/// Rows of the table of keys against time.
const CURVE_ROWS: usize = 12;

/// Adds what the circuit's rotations would cost with other keys: a table of some points, all of them as JSON.
fn add_curve(report: &mut Report, circuit: &Verified, place: &str) -> Result<(), Error> {
    let curve =
        key_curve(circuit, &Profile::committed()).map_err(|e| Error::new(Kind::Internal, place, e))?;
    if curve.is_empty() {
        if let Some(plan) = circuit.bootstrap_plan() {
            report.text += &format!(
                "\nkeys against time: no curve; a bootstrap needs {} of the {} keys, whatever rotations are chosen",
                plan.keys.len(),
                circuit.keys.len()
            );
        }
        return Ok(());
    }
    report.text += "\nkeys against time (compile --max-key-memory takes a point; * is this circuit)";
    let mut shown = std::collections::BTreeSet::new();
    let last = curve.len().saturating_sub(1);
    for row in 0..CURVE_ROWS.min(curve.len()) {
        shown.insert(row * last / (CURVE_ROWS.min(curve.len()) - 1).max(1));
    }
    for (_, point) in curve.iter().enumerate().filter(|(k, p)| shown.contains(k) || p.is_circuit) {
        let mark = if point.is_circuit { " *" } else { "" };
        report.text += &format!(
            "\n  {:>9} in memory  {:>9.2} ms{mark}",
            bytes_text(point.key_bytes),
            point.seconds * 1e3
        );
    }
    let rows = curve.iter().map(|p| {
        json!({ "key_memory_bytes": p.key_bytes, "forecast_seconds": p.seconds, "is_circuit": p.is_circuit })
    });
    report.json.insert("keys_against_time".into(), rows.collect());
    Ok(())
}

fn manifest_report(m: &Manifest) -> Report {
    let shape = |s: &[u32]| s.iter().map(u32::to_string).collect::<Vec<_>>().join("x");
    let mut lines = vec![
        format!("model      {}", line(&m.name)),
        format!("circuit    {}", m.circuit.short()),
        format!(
            "ring       N = 2^{}, {} levels, scale 2^{}, {} special primes",
            m.parameters.log_n,
            m.parameters.top().0,
            m.parameters.log_scale,
            m.parameters.special.len()
        ),
        format!("keys       {} ({})", m.keys.len(), bytes_text(m.forecast.key_bytes)),
    ];
    for i in &m.inputs {
        let [low, high] = i.range;
        lines.push(format!(
            "input      {}: {}, values in [{low}, {high}], {} ciphertext(s)",
            line(&i.name),
            shape(&i.layout.shape),
            i.layout.ciphertexts
        ));
    }
    for o in &m.outputs {
        let [low, high] = o.range;
        let steps = if o.client_steps.is_empty() {
            String::new()
        } else {
            format!(", the client applies {:?}", o.client_steps)
        };
        lines.push(format!(
            "output     {}: {}, values in [{low}, {high}]{steps}",
            line(&o.name),
            shape(&o.layout.shape)
        ));
        lines.push(match o.worst_error {
            WorstError { secret_key, public_key } if secret_key.is_finite() => format!(
                "           error at most {secret_key:.3e} (public key {public_key:.3e}) except with probability 2^-128"
            ),
            _ => "           no bound of the error is proved for every input in range; the forecast is an average".to_owned(),
        });
    }
    let f = &m.forecast;
    lines.push(format!(
        "forecast   {:.3} s on one thread, {} memory, {} up, {} down, {:.1} bits of precision ({:.1} under a public key)",
        f.seconds,
        bytes_text(f.memory_bytes),
        bytes_text(f.upload_bytes),
        bytes_text(f.download_bytes),
        f.precision_bits,
        f.public_key_precision_bits
    ));
    Report::new(
        lines.join("\n"),
        serde_json::to_value(m).unwrap_or_else(|e| json!({ "error": e.to_string() })),
    )
}
