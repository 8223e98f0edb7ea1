//! The tables of docs/saturation.md.

use super::ablation::{Variant, WHOLE, WITHOUT};
use super::benchmarks::{ms, named, number, origin};
use serde_json::Value;

/// Marker and table, for each table of the document.
pub fn tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![
        ("saturation", saturation(rows)),
        ("stages", stages(rows)),
        ("e-graphs", egraphs(rows)),
        ("drafts", drafts(rows)),
    ]
}

/// Names and rows of the networks whose forecasts were recorded, with and without each stage.
fn forecasts(rows: &[Value]) -> Vec<(&str, &Value)> {
    named(rows, "saturation_forecast_gain_")
}

/// The baselines beside saturation.
fn saturation(rows: &[Value]) -> String {
    let mut out = String::from(
        "| network | packing | levels | rotations | keys | forecast | measured | compile | off / this |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    // Those that were evaluated, then those that were only forecast.
    let mut compared = named(rows, "saturation_speedup_");
    let evaluated: Vec<&str> = compared.iter().map(|(network, _)| *network).collect();
    compared.extend(forecasts(rows).into_iter().filter(|(network, _)| !evaluated.contains(network)));
    for (network, row) in &compared {
        let time = |case: &Value| case["measured_s"].as_f64().unwrap_or_else(|| number(case, "forecast_s"));
        let off = time(&row[WHOLE[0].key]);
        for Variant { key, title, .. } in &WHOLE {
            let case = &row[*key];
            let measured =
                case["measured_s"].as_f64().map_or("–".into(), |s| format!("{} ms", ms(1e3 * s)));
            out += &format!(
                "| {network} | {title} | {} | {} | {} | {} ms | {measured} | {} ms | {:.2} |\n",
                case["levels"],
                case["rotations"],
                case["rotation_keys"],
                ms(1e3 * number(case, "forecast_s")),
                ms(1e3 * number(case, "compile_s")),
                off / time(case),
            );
        }
    }
    out + &origin(&compared.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

/// What each stage contributes: forecasts of circuits that lack it over those of circuits by all stages.
fn stages(rows: &[Value]) -> String {
    let titles: Vec<String> = WITHOUT.iter().map(|v| format!("without {}", v.title)).collect();
    let mut out = format!(
        "| network | all stages | {} |\n|---|---|{}\n",
        titles.join(" | "),
        "---|".repeat(titles.len())
    );
    let text = |case: &Value| {
        format!(
            "{} rotations by {} keys, {} levels",
            case["rotations"], case["rotation_keys"], case["levels"]
        )
    };
    for (network, row) in forecasts(rows) {
        let all = &row["saturated"];
        let cells = WITHOUT.iter().map(|variant| {
            let case = &row[variant.key];
            match case["forecast_s"].as_f64() {
                Some(seconds) => format!("{:.2}x; {}", seconds / number(all, "forecast_s"), text(case)),
                None => "–".into(),
            }
        });
        let cells: Vec<String> = cells.collect();
        let seconds = ms(1e3 * number(all, "forecast_s"));
        out += &format!("| {network} | {seconds} ms; {} | {} |\n", text(all), cells.join(" | "));
    }
    out + &origin(&forecasts(rows).into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

/// Sizes of the e-graphs that the saturated circuits were extracted from.
fn egraphs(rows: &[Value]) -> String {
    let mut out = String::from("| network | packing | rotation | rescale |\n|---|---|---|---|\n");
    for (network, row) in forecasts(rows) {
        let sizes = row["saturated"]["egraphs"].as_array().map_or(&[][..], Vec::as_slice);
        let cell = |stage: &str| {
            let size = sizes.iter().find(|size| size["stage"] == stage);
            let text =
                |s: &Value| format!("{} terms, {} classes, {} rounds", s["terms"], s["classes"], s["rounds"]);
            size.map_or("–".into(), text)
        };
        let cells = ["packing", "rotation", "rescale"].map(cell);
        out += &format!("| {network} | {} |\n", cells.join(" | "));
    }
    out
}

/// One line per network that is compiled as a draft.
fn drafts(rows: &[Value]) -> String {
    let mut out = String::from(
        "| network | rotations | keys | levels | ciphertexts of a tensor, at most | forecast | compiled in |\n|---|---|---|---|---|---|---|\n",
    );
    let drafts = named(rows, "rotations_");
    for (network, row) in &drafts {
        out += &format!(
            "| {network} | {} | {} | {} | {} | {:.1} s | {:.1} s |\n",
            row["rotations"],
            row["rotation_keys"],
            row["levels"],
            row["ciphertexts_most"],
            number(row, "forecast_s"),
            number(row, "compile_s"),
        );
    }
    out + &origin(&drafts.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}
