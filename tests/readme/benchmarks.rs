//! The tables of the documents, made from the rows of `benches/results/`. Nothing in them is typed by hand.
//!
//! Above the soft cap: a table is a function, and there are many.

use super::shown;
use serde_json::Value;

/// Libraries beside each other, by the word that their rows' names have.
const LIBRARIES: [(&str, &str); 5] = [
    ("cipherloom", "Cipherloom"),
    ("cipherloom40", "Cipherloom, 40-bit primes"),
    ("poulpy", "Poulpy"),
    ("lattigo", "Lattigo"),
    ("openfhe", "OpenFHE"),
];
const RINGS: [u32; 3] = [14, 15, 16];
/// Operations by the word that rows' names begin with, in the order of the tables.
const OPERATIONS: [(&str, &str); 7] = [
    ("rotate", "rotation"),
    ("multiply", "ct x ct, relinearize, rescale"),
    ("rotate8", "8 hoisted rotations"),
    ("multiply_plain", "ct x pt, rescale"),
    ("rescale", "rescale"),
    ("encode", "encode"),
    ("linear64", "64 diagonals, rescale"),
];

/// Marker and table, for each table of the document.
pub fn tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![
        ("primitives", primitives(rows)),
        ("networks", plain(rows, &["_run_s", "_run_gib"])),
        ("batches", batches(rows)),
        ("tiers", tiers(rows)),
        ("accuracy", plain(rows, &["_exact_accuracy", "_agree", "_precision_bits"])),
        ("peers", peers(rows)),
        ("peers per level", peers_per_level(rows)),
        ("peers parameters", parameters(rows)),
    ]
}

/// One line per model: an image alone and as one of a batch.
fn batches(rows: &[Value]) -> String {
    let mut out =
        String::from("| model | images | alone | each of the batch | gain |\n|---|---|---|---|---|\n");
    for (row, model) in
        rows.iter().filter_map(|r| Some((r, r["name"].as_str()?.strip_suffix("_batch_image_s")?)))
    {
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        let (alone, each) = (ms(number(row, "alone_s")), ms(number(row, "value")));
        let (batch, gain) = (number(row, "batch"), number(row, "gain"));
        out += &format!("| {} | {batch} | {alone} | {each} | {gain:.2} |\n", model.replace('_', "-"));
    }
    out + &machine_line(rows, "_batch_image_s")
}

/// One line per operation: every kernel path in milliseconds, and how many times as long as the fastest it takes.
fn tiers(rows: &[Value]) -> String {
    const PATHS: [(&str, &str); 3] = [("ifma", "AVX-512 IFMA"), ("avx2", "AVX2"), ("scalar", "scalar")];
    let titles = PATHS.map(|(_, title)| title).join(" | ");
    let mut out = format!("| operation, N = 2^14 | {titles} |\n|---|---|---|---|\n");
    for (operation, what) in OPERATIONS {
        let cell = |(path, _)| {
            let row = find(rows, &format!("tier_{operation}_{path}"))?;
            Some(format!("{:.2} ms ({:.2}x)", number(row, "value"), number(row, "times_best")))
        };
        let cells = PATHS.map(|path| cell(path).unwrap_or("–".into()));
        if cells.iter().any(|c| c != "–") {
            out += &format!("| {what} | {} |\n", cells.join(" | "));
        }
    }
    out + &machine_line(rows, "_scalar")
}

/// Where and when the rows with this suffix were measured.
fn machine_line(rows: &[Value], suffix: &str) -> String {
    let row = rows.iter().find(|r| r["name"].as_str().is_some_and(|name| name.ends_with(suffix)));
    row.map_or(String::new(), |r| {
        let text = |field: &str| r[field].as_str().unwrap_or("unknown").to_owned();
        format!("\n{}, {}, commit {}.\n", text("machine"), text("date"), text("commit"))
    })
}

/// Marker and table, for each table of docs/operations.md.
pub fn service_tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    let names = ["service_", "lenet1_service_", "lenet1_upload_", "fault_", "fuzz_requests", "transfer_"];
    let own = |name: &str| names.iter().any(|start| name.starts_with(start));
    let own: Vec<Value> = rows.iter().filter(|r| r["name"].as_str().is_some_and(own)).cloned().collect();
    let machine = own.first().map_or(String::new(), |_| machine_line(&own, ""));
    vec![("service", plain(&own, &[""]) + &machine)]
}

/// Marker and table, for each table of docs/fuzzing.md.
pub fn fuzz_tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    let mut out = String::from(
        "| target | executions | edges | seconds | peak memory | findings |\n|---|---|---|---|---|---|\n",
    );
    for row in rows
        .iter()
        .filter(|r| r["name"].as_str().is_some_and(|n| n.starts_with("fuzz_")) && r["edges"].is_number())
    {
        let name = row["name"].as_str().unwrap_or_default().trim_start_matches("fuzz_");
        let [executions, edges, seconds, peak, findings] =
            ["executions", "edges", "seconds", "peak_mb", "findings"].map(|field| number(row, field));
        out += &format!("| `{name}` | {executions} | {edges} | {seconds} | {peak} MB | {findings} |\n");
    }
    vec![("fuzz", out + &machine_line(rows, "fuzz_executions"))]
}

/// Marker and table, for each table of docs/kernels.md.
pub fn kernel_tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![("account", account(rows)), ("kernels", kernels(rows))]
}

/// Marker and table, for each table of docs/accuracy.md.
pub fn check_tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    vec![("check", check(rows)), ("generated", generated(rows)), ("refit", refit(rows))]
}

/// One line per model whose layers were refitted.
fn refit(rows: &[Value]) -> String {
    let mut out = String::from(
        "| model | test images | the file | polynomials alone | refitted, same degree | refitted, degrees | forecast, one thread |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows.iter().filter(|r| r["degree_repaired"].is_number()) {
        let name =
            row["name"].as_str().unwrap_or_default().trim_end_matches("_refitted_accuracy").replace('_', "-");
        let [images, file, alone, refitted] =
            ["images", "model_percent", "polynomials_alone_percent", "value"].map(|field| number(row, field));
        let same =
            row["same_degree_percent"].as_f64().map_or("none better".into(), |same| format!("{same:.2} %"));
        let [degree, repaired, before, after] =
            ["degree", "degree_repaired", "forecast_alone_s", "forecast_s"].map(|field| number(row, field));
        out += &format!(
            "| {name} | {images} | {file:.2} % | {alone:.2} %, degree {degree} | {same} | {refitted:.2} %, {repaired} and {degree} | {before:.2} s, now {after:.2} s |\n"
        );
    }
    out + &machine_line(rows, "lenet5_relu_refitted_accuracy")
}

/// One line per generated network.
fn generated(rows: &[Value]) -> String {
    let mut out = String::from(
        "| network | N | levels | circuit from file | encrypted from circuit |\n|---|---|---|---|---|\n",
    );
    for row in rows.iter().filter(|r| r["encrypted_percent"].is_number()) {
        let name =
            row["name"].as_str().unwrap_or_default().trim_start_matches("generated_").replace('_', "-");
        let [log_n, levels, file, circuit] =
            ["log_n", "levels", "value", "encrypted_percent"].map(|field| number(row, field));
        out += &format!("| {name} | 2^{log_n} | {levels} | {file:.4} % | {circuit:.4} % |\n");
    }
    out
}

/// One line per model that `check` was measured on.
fn check(rows: &[Value]) -> String {
    const COLUMNS: [(&str, &str); 6] = [
        ("clear", "clear"),
        ("polynomial", "polynomial"),
        ("simulated", "simulated"),
        ("encrypted", "encrypted: model's class"),
        ("simulated_over_encrypted", "simulated / encrypted largest error"),
        ("images_per_minute", "simulated images a minute"),
    ];
    let titles = COLUMNS.map(|(_, title)| title).join(" | ");
    let mut out = format!("| model | {titles} |\n|---|{}\n", "---|".repeat(COLUMNS.len()));
    let models = rows.iter().filter_map(|row| row["name"].as_str()?.strip_suffix("_check_clear"));
    for model in models {
        let cell = |(column, _)| find(rows, &format!("{model}_check_{column}")).map_or("–".into(), cell_of);
        out += &format!("| {} | {} |\n", model.replace('_', "-"), COLUMNS.map(cell).join(" | "));
    }
    out
}

fn cell_of(row: &Value) -> String {
    match row["unit"].as_str() {
        Some("ratio") => format!("{:.2}", number(row, "value")),
        Some("images") => format!("{:.0}", number(row, "value")),
        _ => shown(row),
    }
}

/// Marker and table, for each table of docs/conformance.md.
pub fn conformance_tables(rows: &[Value]) -> Vec<(&'static str, String)> {
    let (linear, nonpoly) = (find(rows, "onnx_linear_pass"), find(rows, "onnx_nonpoly_pass"));
    let tiers = [("linear, shape, polynomial", linear), ("not polynomial", nonpoly)];
    let mut counts = String::from("| tier | tests | pass | by the circuit's slots |\n|---|---|---|---|\n");
    let mut used = Vec::new();
    for (title, row) in tiers {
        let Some(row) = row else { continue };
        counts +=
            &format!("| {title} | {} | {} | {} |\n", row["of"], number(row, "value"), row["by_circuit"]);
        used.push(row);
    }
    if let Some(row) = find(rows, "onnx_encrypted_pass") {
        let (of, passes, error) = (&row["of"], number(row, "value"), number(row, "largest_error"));
        counts += &format!(
            "\nOf the {of} of both tiers that circuits pass, {passes} give the right encrypted answer, the largest error being {:.2} % of the \
             largest value.\n",
            100.0 * error
        );
        used.push(row);
    }
    let by_operator = |row: Option<&Value>| {
        let mut out = String::from("| operators | pass | tests |\n|---|---|---|\n");
        for (name, counts) in row.and_then(|row| row["operators"].as_object()).into_iter().flatten() {
            out += &format!("| {} | {} | {} |\n", name.replace('+', ", "), counts[0], counts[1]);
        }
        out
    };
    vec![
        ("counts", counts + &origin(&used)),
        ("linear", by_operator(linear)),
        ("nonpoly", by_operator(nonpoly)),
    ]
}

/// A rotation beside its transforms in the cache and one reading of its key.
fn account(rows: &[Value]) -> String {
    let mut out = String::from(
        "| rotation | primes, special, digits | inverse, forward | in-cache time of these | key | together | measured | ratio |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for ring in RINGS.iter().rev() {
        let row = |name: String| find(rows, &name);
        let (Some(rotation), Some(forward), Some(inverse), Some(stream)) = (
            row(format!("rotate_2p{ring}")),
            row(format!("forward_hot_2p{ring}")),
            row(format!("inverse_hot_2p{ring}")),
            row("stream_read".into()),
        ) else {
            continue;
        };
        let [limbs, special, digit] =
            ["primes", "special_primes", "digit_limbs"].map(|field| number(rotation, field));
        let digits = (limbs / digit).ceil();
        let (inverses, forwards) = (limbs + 2.0 * special, digits * (limbs + special) - limbs + 2.0 * limbs);
        let transforms = (inverses * number(inverse, "value") + forwards * number(forward, "value")) / 1e3;
        let key = 2.0 * digits * (limbs + special) * f64::from(8u32 << ring) / number(stream, "value") / 1e6;
        let measured = number(rotation, "value");
        out += &format!(
            "| N = 2^{ring} | {limbs}, {special}, {digits} | {inverses}, {forwards} | {} ms | {} ms | {} ms | {} ms | {:.2} |\n",
            ms(transforms),
            ms(key),
            ms(transforms + key),
            ms(measured),
            measured / (transforms + key),
        );
    }
    out
}

/// Rows of the kernel bench, as they are.
fn kernels(rows: &[Value]) -> String {
    let mut out = String::from("| kernel | value |\n|---|---|\n");
    let mut used = Vec::new();
    for row in rows.iter().filter(|row| row["unit"] == "us" || row["unit"] == "GB/s" || row["unit"] == "GHz")
    {
        let (name, unit) = (row["name"].as_str().unwrap_or(""), row["unit"].as_str().unwrap_or(""));
        out += &format!("| `{name}` | {} {unit} |\n", ms(number(row, "value")));
        used.push(row);
    }
    out + &origin(&used)
}

/// Rows whose names begin so, each with the rest of its name.
pub fn named<'a>(rows: &'a [Value], prefix: &str) -> Vec<(&'a str, &'a Value)> {
    rows.iter().filter_map(|r| Some((r["name"].as_str()?.strip_prefix(prefix)?, r))).collect()
}

fn find<'a>(rows: &'a [Value], name: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["name"] == name)
}

/// A field that every such row has.
pub fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} of {} is no number", row["name"]))
}

/// Milliseconds with three figures that count.
pub fn ms(value: f64) -> String {
    let decimals = if value < 1.0 { 3 } else { (2 - value.log10().floor() as i32).max(0) as usize };
    format!("{value:.decimals$}")
}

/// Where and when rows were measured, and from which commits, each once.
pub fn origin(rows: &[&Value]) -> String {
    let mut origins: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows {
        let word = |field: &str| row[field].as_str().unwrap_or("unknown");
        let (place, commit) = (format!("{}, {}", word("machine"), word("date")), word("commit"));
        match origins.iter_mut().find(|(known, _)| *known == place) {
            Some((_, commits)) if commits.contains(&commit) => {}
            Some((_, commits)) => commits.push(commit),
            None => origins.push((place, vec![commit])),
        }
    }
    let shown = origins.iter().map(|(place, commits)| format!("{place}, commit {}", commits.join(", ")));
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() { "Not measured yet.\n".into() } else { format!("\n{}.\n", shown.join("; ")) }
}

fn primitives(rows: &[Value]) -> String {
    let mut out = String::from(
        "| operation | N | bits of Q | ms, one thread | per 40 bits of Q | ms, two threads | speedup |\n|---|---|---|---|---|---|---|\n",
    );
    let mut used = Vec::new();
    for (operation, what) in OPERATIONS {
        for ring in RINGS {
            let name = format!("{operation}_2p{ring}");
            let Some(row) = find(rows, &name) else { continue };
            let log_q = number(row, "log_q");
            let per_level = number(row, "value") * 40.0 / log_q;
            let two = find(rows, &format!("{name}_threads2"));
            let cell =
                |field: &str, show: fn(f64) -> String| two.map_or("".into(), |row| show(number(row, field)));
            out += &format!(
                "| {what} | 2^{ring} | {log_q:.0} | {} | {} | {} | {} |\n",
                ms(number(row, "value")),
                ms(per_level),
                cell("value", ms),
                cell("speedup", |x| format!("{x:.2}")),
            );
            used.push(row);
            used.extend(two);
        }
    }
    out + &origin(&used)
}

/// Rows whose names end so, as they are.
fn plain(rows: &[Value], ends: &[&str]) -> String {
    let mut out = String::from("| row | value | threads | commit |\n|---|---|---|---|\n");
    for row in rows {
        let name = row["name"].as_str().unwrap_or("");
        if ends.iter().any(|end| name.ends_with(end)) {
            let commit = row["commit"].as_str().unwrap_or("unknown");
            out += &format!("| `{name}` | {} | {} | {commit} |\n", shown(row), row["threads"]);
        }
    }
    out
}

fn peer<'a>(rows: &'a [Value], library: &str, operation: &str, ring: u32) -> Option<&'a Value> {
    find(rows, &format!("peer_{library}_{operation}_2p{ring}_ms"))
}

/// One line per operation and ring, one column per library.
fn side_by_side(rows: &[Value], cell: impl Fn(&str, &str, u32, &Value) -> String) -> String {
    let titles: Vec<&str> = LIBRARIES.iter().map(|(_, title)| *title).collect();
    let mut out =
        format!("| operation | N | {} |\n|---|---|{}\n", titles.join(" | "), "---|".repeat(LIBRARIES.len()));
    for (operation, what) in OPERATIONS {
        for ring in RINGS {
            let cells = LIBRARIES.map(|(library, _)| {
                peer(rows, library, operation, ring)
                    .map_or("–".into(), |row| cell(library, operation, ring, row))
            });
            if cells.iter().any(|cell| cell != "–") {
                out += &format!("| {what} | 2^{ring} | {} |\n", cells.join(" | "));
            }
        }
    }
    out
}

fn peers(rows: &[Value]) -> String {
    let table = side_by_side(rows, |library, operation, ring, row| {
        let time = ms(number(row, "value"));
        let ratio = find(rows, &format!("ratio_{library}_{operation}_2p{ring}"));
        ratio.map_or(format!("**{time}**"), |ratio| format!("{time} ({:.2}x)", number(ratio, "value")))
    });
    let used: Vec<&Value> = rows.iter().filter(|row| row["library"].is_string()).collect();
    table + &origin(&used)
}

fn peers_per_level(rows: &[Value]) -> String {
    side_by_side(rows, |_, _, _, row| ms(number(row, "ms_per_40_bits")))
}

fn parameters(rows: &[Value]) -> String {
    let mut out = String::from(
        "| library | N | log Q | levels of 40 bits | log QP | ciphertext modulus | key | secret | precision of ct x ct, rotation, 64 diagonals (bits) |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (library, title) in LIBRARIES {
        for ring in RINGS {
            let Some(row) = peer(rows, library, "rotate", ring) else { continue };
            let word = |field: &str| row[field].as_str().unwrap_or("unknown").to_owned();
            let bits = ["multiply", "rotate", "linear64"].map(|operation| {
                peer(rows, library, operation, ring)
                    .and_then(|row| row["precision_bits"].as_f64())
                    .map_or("–".into(), |bits| format!("{bits:.1}"))
            });
            let (log_q, log_qp) = (number(row, "log_q"), number(row, "log_qp"));
            out += &format!(
                "| {title} {} ({}) | 2^{ring} | {log_q:.0} | {:.1} | {log_qp:.0} | {} | {} | {} | {} |\n",
                word("version"),
                word("path"),
                log_q / 40.0,
                word("chain"),
                word("key"),
                word("secret"),
                bits.join(", "),
            );
        }
    }
    out
}
