//! The tables of docs/bootstrapping.md, made from the rows of the precision study.

use super::benchmarks::origin;
use serde_json::Value;

/// Marker and table, for each table of the document.
pub fn tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![("bootstrap designs", designs(rows)), ("bootstrap sets", sets(rows))]
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} of {} is no number", row["name"]))
}

/// What a row's name says: `study_cos_d31_x2_a3_r7_s50` or `study_exp_d15_x5_s2_r7_s50`.
fn design(name: &str) -> Option<String> {
    let words: Vec<&str> = name.strip_prefix("study_")?.split('_').collect();
    let [kind, degree, doublings, end, ..] = words[..] else { return None };
    let degree = degree.strip_prefix('d')?;
    let doublings = doublings.strip_prefix('x')?;
    match kind {
        "cos" if end == "a1" => {
            Some(format!("cosine, degree {degree} in y², {doublings} doublings, no arcsine"))
        }
        "cos" => Some(format!(
            "cosine, degree {degree} in y², {doublings} doublings, arcsine of degree {}",
            end.strip_prefix('a')?
        )),
        "exp" => Some(format!(
            "exponential, degree {degree}, {doublings} squarings, sines: {}",
            end.strip_prefix('s')?
        )),
        _ => None,
    }
}

fn designs(rows: &[Value]) -> String {
    let mut out = String::from(
        "| design | r | bits per level | levels | mean bits | worst bits | usable levels |\n|---|---|---|---|---|---|---|\n",
    );
    let mut used = Vec::new();
    for row in rows {
        let Some(design) = design(row["name"].as_str().unwrap_or("")) else { continue };
        out += &format!(
            "| {design} | {} | {} | {} | {:.1} | {:.1} | {} |\n",
            number(row, "ratio_bits"),
            number(row, "scale_bits"),
            number(row, "levels"),
            number(row, "value"),
            number(row, "worst_bits"),
            number(row, "usable_levels"),
        );
        used.push(row);
    }
    out + &origin(&used)
}

fn sets(rows: &[Value]) -> String {
    let mut out = String::from(
        "| set | usable levels | log QP | of the ephemeral secret | primes, special, digits | keys | products | uniform: mean, worst | constant | one-sided | one-hot |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut used = Vec::new();
    for row in rows {
        let Some(name) = row["name"].as_str().and_then(|name| name.strip_prefix("study_set_")) else {
            continue;
        };
        let kinds = row["kinds"].as_array().map_or(&[][..], Vec::as_slice);
        let kind = |k: &Value| {
            let [mean, worst] = [1, 2].map(|i| k[i].as_f64().unwrap_or(f64::NAN));
            format!("{mean:.1}, {worst:.1}")
        };
        out += &format!(
            "| {name} | {} | {:.0} | {:.0} | {}, {}, {} | {}: {:.2} GiB | {} | {} |\n",
            number(row, "usable_levels"),
            number(row, "log_qp"),
            number(row, "ephemeral_log_qp"),
            number(row, "primes"),
            number(row, "special_primes"),
            number(row, "digits"),
            number(row, "keys"),
            number(row, "key_gib"),
            number(row, "products"),
            kinds.iter().map(kind).collect::<Vec<_>>().join(" | "),
        );
        used.push(row);
    }
    out + &origin(&used)
}
