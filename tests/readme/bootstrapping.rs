//! The tables of docs/bootstrapping.md, made from the rows of the precision study and of the bootstraps at full size.

use super::benchmarks::{number, origin};
use serde_json::Value;

/// Marker and table, for each table of the document.
pub fn tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![
        ("bootstrap designs", designs(rows)),
        ("bootstrap sets", sets(rows)),
        ("bootstrap measured", measured(rows)),
        ("resnet20", resnet20(rows)),
    ]
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

/// Bootstraps at full size: the row on one thread leads, those on two threads and of memory stand beside it.
fn measured(rows: &[Value]) -> String {
    let mut out = String::from(
        "| set | slots | one thread | two threads | real slots, one thread | peak | vectors | mean, worst bits | predicted mean | twice: mean bits |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut used = Vec::new();
    let find = |name: String| rows.iter().find(|row| row["name"] == name.as_str());
    for row in rows {
        let Some(set) =
            row["name"].as_str().and_then(|name| name.strip_prefix("bootstrap_")?.strip_suffix("_s"))
        else {
            continue;
        };
        let Some(memory) = find(format!("bootstrap_{set}_gib")) else { continue };
        let optional = |value: Option<f64>, unit: &str| match value {
            Some(value) if unit == " s" => format!("{value:.2}{unit}"),
            Some(value) => format!("{value:.1}{unit}"),
            None => "–".into(),
        };
        let two_threads = find(format!("bootstrap_{set}_2t_s")).map(|row| number(row, "value"));
        out += &format!(
            "| {set} | {} | {:.2} s | {} | {} | {:.2} GiB | {} | {:.1}, {:.1} | {:.1} | {} |\n",
            number(row, "slots"),
            number(row, "value"),
            optional(two_threads, " s"),
            optional(row["real_s"].as_f64(), " s"),
            number(memory, "value"),
            number(row, "vectors"),
            number(row, "precision_mean_bits"),
            number(row, "precision_worst_bits"),
            number(row, "predicted_mean_bits"),
            optional(row["twice_mean_bits"].as_f64(), ""),
        );
        used.push(row);
    }
    out + &origin(&used)
}

fn resnet20(rows: &[Value]) -> String {
    let Some(row) = rows.iter().find(|row| row["name"] == "resnet20_cifar10_run_s") else {
        return String::new();
    };
    let percent = |field: &str| format!("{:.1} %", number(row, field));
    let out = format!(
        "| what | value |\n|---|---|\n\
         | one image, {} threads, median of {} | {:.1} s |\n\
         | bootstraps | {} |\n\
         | keys: made in, bytes in memory | {:.0} s, {:.1} GB |\n\
         | peak memory | {:.1} GiB |\n\
         | encrypted class is that of the exact meaning | {} of {} |\n\
         | encrypted class is the label | {} |\n\
         | largest error of a score, of the span of an image's scores | {} |\n\
         | accuracy on the first {} test images: the file, the circuit's exact meaning | {}, {} |\n\
         | compilation | {:.0} s |\n",
        number(row, "threads"),
        number(row, "images"),
        number(row, "value"),
        number(row, "bootstraps"),
        number(row, "keygen_s"),
        number(row, "key_bytes") / 1e9,
        number(row, "peak_gib"),
        number(row, "agree_with_exact"),
        number(row, "images"),
        percent("encrypted_accuracy_percent"),
        format_args!("{:.4} %", number(row, "largest_error_percent_of_span")),
        number(row, "exact_images"),
        percent("clear_accuracy_percent"),
        percent("exact_accuracy_percent"),
        number(row, "compile_s"),
    );
    out + &origin(&[row])
}
