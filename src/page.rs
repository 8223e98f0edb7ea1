//! A circuit as one HTML page: its network with layouts, levels and costs, the hottest nodes, keys and memory.
//!
//! Relies on a circuit that verifies, at least as a draft, and on a cost profile. Promises: the same circuit and profile
//! give the same bytes; the page names nothing outside itself and may load nothing (its own policy says so); names from
//! the file are text and nothing else; no weight or constant of the model stands in it; its size is bounded whatever the
//! circuit.

mod charts;
mod colour;
mod facts;
mod lanes;
mod network;
mod tables;
mod text;

use crate::error::{Error, Kind};
use crate::files::{self, Access};
use cipherloom_compiler::cost::Profile;
use cipherloom_compiler::{CompileError, Purpose, Report};
use cipherloom_ir::Circuit;
use facts::Facts;
use std::path::Path;
use text::{Name, bytes, count, time};

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The circuit.
    pub circuit: &'a Circuit,
    /// Whether it can be run.
    pub purpose: Purpose,
    /// Costs of its nodes.
    pub profile: &'a Profile,
    /// What the compiler tells, where it has just made the circuit.
    pub report: Option<&'a Report>,
}

/// Writes the page and tells its size in bytes.
pub fn write(path: &Path, page: &Page<'_>) -> Result<usize, Error> {
    let text = html(page).map_err(|e| Error::new(Kind::Internal, &page.circuit.name, e))?;
    files::write_bytes(path, Access::Shared, text.as_bytes())?;
    Ok(text.len())
}

/// The page as text.
pub fn html(page: &Page<'_>) -> Result<String, CompileError> {
    let facts = Facts::of(page.circuit, page.profile)?;
    let name = Name(&page.circuit.name);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n<meta name=color-scheme content=\"light dark\">\n\
         <title>{name} – Cipherloom circuit</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <a class=skip href=\"#network\">Skip to the network</a>\n\
         <header>\n<h1><bdi>{name}</bdi></h1>\n<p class=subtitle>{subtitle}</p>\n{note}<dl class=tiles>{tiles}</dl>\n</header>\n\
         <main>\n{skyline}<div class=columns>\n{network}<div class=beside>\n{beside}</div>\n</div>\n</main>\n\
         <script>\n{script}</script>\n</body>\n</html>\n",
        style = include_str!("page/page.css"),
        script = include_str!("page/page.js"),
        subtitle = subtitle(page.circuit),
        note = note(page),
        tiles = tiles(page, &facts),
        skyline = skyline(&facts),
        network = network(&facts),
        beside = beside(page, &facts),
    ))
}

fn subtitle(circuit: &Circuit) -> String {
    let p = &circuit.parameters;
    format!(
        "N = 2<sup>{}</sup>, {} slots · {} above a base prime, scale 2<sup>{}</sup> · circuit <code>{}</code>",
        p.log_n,
        p.slots(),
        count(p.top().0 as usize, "level"),
        p.log_scale,
        circuit.digest().short(),
    )
}

/// What must be known before the figures are read.
fn note(page: &Page<'_>) -> String {
    let mut out = String::new();
    if page.purpose == Purpose::Draft {
        out += "<p class=note>A draft: activations are exact and count no time and no level, the chain is as long as needed. It shows what the \
                other layers would take; it cannot be encrypted or run, and its parameters are not secure.</p>\n";
    }
    if page.circuit.forecast.profile.is_some_and(|p| p != page.profile.digest()) {
        out += &format!(
            "<p class=note>The circuit was chosen by another cost profile; the times on this page are by profile <code>{}</code>.</p>\n",
            page.profile.digest().short()
        );
    }
    out
}

/// The figures of the whole.
fn tiles(page: &Page<'_>, facts: &Facts<'_>) -> String {
    let circuit = page.circuit;
    let f = &circuit.forecast;
    let rotations: usize = facts.layers.iter().map(|l| l.rotations).sum();
    let galois =
        |k: &&cipherloom_ir::scheme::KeySpec| k.kind != cipherloom_ir::scheme::KeyKind::Relinearization;
    let ciphertexts = circuit.layouts.iter().map(|l| l.ciphertexts).max().unwrap_or(0);
    let mut tiles = vec![
        ("forecast time", time(facts.ns()), "one thread, by the cost profile".to_owned()),
        ("peak memory", bytes(facts.account.memory.bytes()), "keys, plaintexts, values".into()),
        ("keys", circuit.keys.len().to_string(), format!("{} in memory", bytes(facts.account.memory.keys))),
        (
            "rotations",
            rotations.to_string(),
            format!("by {}", count(circuit.keys.iter().filter(galois).count(), "key")),
        ),
        (
            "nodes",
            circuit.nodes.len().to_string(),
            format!(
                "in {}, at most {}",
                count(facts.layers.len(), "layer"),
                count(ciphertexts as usize, "ciphertext")
            ),
        ),
    ];
    if page.purpose == Purpose::Encrypted {
        tiles.push(("transfer", bytes(f.upload_bytes), format!("up, {} down", bytes(f.download_bytes))));
        tiles.push((
            "precision",
            format!("{:.1} bits", f.precision_bits),
            format!("{:.1} under a public key", f.public_key_precision_bits),
        ));
    }
    let tile = |(what, value, more): (&str, String, String)| {
        format!("<div><dt>{what}</dt><dd><b>{value}</b><small>{more}</small></dd></div>")
    };
    tiles.into_iter().map(tile).collect()
}

fn skyline(facts: &Facts<'_>) -> String {
    format!(
        "<section class=sky aria-labelledby=sky-title><h2 id=sky-title>Where the time goes</h2>\
         <div class=skyline>{}</div><p class=axis><span>0</span><span>across: time · up and colour: {}</span><span>{}</span></p></section>\n",
        charts::skyline(facts),
        charts::ramp(facts),
        time(facts.ns()),
    )
}

fn network(facts: &Facts<'_>) -> String {
    let mut operations: Vec<&str> = network::by_operation(facts).iter().map(|o| o.0).collect();
    operations.sort_unstable();
    let options: String = operations.iter().map(|o| format!("<option>{o}</option>")).collect();
    format!(
        "<section id=network aria-labelledby=network-title><h2 id=network-title>Network</h2>\n\
         <form id=controls role=search hidden>\
         <label>Search <input type=search id=search placeholder=\"layer or operation\" autocomplete=off></label>\
         <label>Operation <select id=operation><option value=\"\">all</option>{options}</select></label>\
         <label>At least <select id=least><option value=0>0 %</option><option value=0.1>0.1 %</option><option value=1>1 %</option><option value=3>3 %</option></select></label>\
         <label>Order <select id=order><option value=network>of evaluation</option><option value=hottest>hottest first</option></select></label>\
         <span class=buttons><button type=button id=open>Expand all</button><button type=button id=close>Collapse all</button></span>\
         <output id=found></output></form>\n{}</section>\n",
        network::list(facts)
    )
}

/// What stands beside the network, or below it on a narrow window.
fn beside(page: &Page<'_>, facts: &Facts<'_>) -> String {
    let section = |id: &str, title: &str, inside: String| {
        format!("<section aria-labelledby={id}><h2 id={id}>{title}</h2>{inside}</section>\n")
    };
    let mut out = section("hottest", "Hottest nodes", tables::hottest(facts));
    if let Some(report) = page.report {
        out += &section("choices", "What the stages chose and saved", tables::choices(report));
    }
    out += &section("operations", "Time by operation", tables::operations(facts));
    out += &section("memory", "Memory", charts::memory(facts));
    out += &section("keys", "Keys", tables::keys(facts) + &charts::curve(facts));
    out + &section("ports", "Inputs and outputs", tables::ports(facts))
}
