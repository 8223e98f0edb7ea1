//! The tables of figures in README.md and docs/benchmarks.md are made from `benches/results/`; these tests keep them
//! current. `UPDATE_README=1 cargo test --test readme` rewrites them.

#[allow(dead_code, reason = "what the compiler is told matters to the benches")]
#[path = "../benches/ablation.rs"]
mod ablation;
#[path = "readme/benchmarks.rs"]
mod benchmarks;
#[path = "readme/bootstrapping.rs"]
mod bootstrapping;
#[path = "readme/saturation.rs"]
mod saturation;

use serde_json::Value;
use std::path::PathBuf;

/// Row name, what it is with fields of the row in braces, and what the peers take for it on this class of machine (ANCHORS of 2026-11, one thread).
const ROWS: [(&str, &str, &str); 18] = [
    ("lola_run_s", "lola (conv, two dense, squares), one image", "Orion 0.207 s, HElayers 0.345 s"),
    ("mlp_run_s", "mlp 784-128-128-10, one image", "Orion 0.286 s, HElayers 0.198 s"),
    ("cryptonets_run_s", "cryptonets, one image", "HElayers 0.94 s"),
    ("lenet_run_s", "lenet (32 and 64 maps, 512), one image", "Orion 2.2 s, HElayers 11.5 s"),
    ("lenet_run_gib", "peak memory of that", "Orion 10.4 GiB"),
    ("lenet5_relu_run_s", "lenet5 with ReLU, one image", ""),
    (
        "ecg_run_s",
        "a signal of 12 x 1000 (an electrocardiogram), generated network: three strided convolutions, squares",
        "",
    ),
    (
        "volume_run_s",
        "a volume of 28 x 28 x 28, generated network: two strided 3-D convolutions, squares",
        "",
    ),
    (
        "resnet20_cifar10_run_s",
        "ResNet-20 for CIFAR-10, {bootstraps} bootstraps, one image",
        "published, machines and threads their own: Orion 618 s, FHEON 403 s, OpenFHE 300 to 405 s",
    ),
    (
        "bootstrap_2p16_9_s",
        "bootstrap, N = 2^16, all slots, {usable_levels} levels of 40 bits, {precision_mean_bits} bits in the mean",
        "Lattigo 11.0 s (27 bits), OpenFHE 17.1 s (14 bits)",
    ),
    ("bootstrap_2p16_9_gib", "peak memory of that", "Lattigo 17 GiB"),
    (
        "bootstrap_2p16_14_s",
        "bootstrap, N = 2^16, all slots, {usable_levels} levels of 40 bits, {precision_mean_bits} bits in the mean",
        "Poulpy 4.3 to 5.1 s (15 levels of 35 bits, 21.9 bits)",
    ),
    ("rotate_2p15", "rotation, N = 2^15, 620 bits of Q", "Poulpy 12 ms, Lattigo 44 ms"),
    ("rotate_2p14", "rotation, N = 2^14, 300 bits of Q", "Poulpy 2.2 ms, Lattigo 9.1 ms"),
    ("lola_precision_bits", "lola, worst precision over 100 test images", "Orion 11 bits"),
    ("mlp_precision_bits", "mlp, the same", "Orion 12 bits"),
    ("lenet5_relu_exact_accuracy", "lenet5 with ReLU: accuracy of the circuit on 10,000 images", ""),
    ("lenet5_relu_agree", "lenet5 with ReLU: of 100 images, encrypted class = clear class", ""),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn results() -> Vec<Value> {
    let mut rows = Vec::new();
    let folder = std::fs::read_dir(root().join("benches/results")).expect("benches/results exists");
    let mut files: Vec<PathBuf> =
        folder.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a result file is readable");
        let list: Vec<Value> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        rows.extend(list);
    }
    rows
}

fn table(results: &[Value]) -> String {
    let mut out = String::from("| what | Cipherloom | threads | peers (one thread) |\n|---|---|---|---|\n");
    let mut machine = "no machine yet".to_owned();
    for (name, what, peers) in ROWS {
        let Some(row) = results.iter().find(|r| r["name"] == name) else { continue };
        let what = filled(what, row);
        out += &format!("| {what} | **{}** | {} | {peers} |\n", shown(row), row["threads"]);
        machine = row["machine"].as_str().unwrap_or("unknown").to_owned();
    }
    out + &format!("\nMachine: {machine}.\n")
}

/// The text with the row's numbers in place of `{field}`.
fn filled(text: &str, row: &Value) -> String {
    let fields = row.as_object().into_iter().flatten();
    let numbers = fields.filter_map(|(field, value)| Some((format!("{{{field}}}"), value.as_f64()?)));
    numbers.fold(text.to_owned(), |text, (field, value)| {
        let digits = usize::from(value.fract() != 0.0);
        text.replace(&field, &format!("{value:.digits$}"))
    })
}

/// A row's value with its unit.
fn shown(row: &Value) -> String {
    let (value, unit) = (row["value"].as_f64().expect("a number"), row["unit"].as_str().expect("a unit"));
    match unit {
        "gib" => format!("{value:.2} GiB"),
        "s" if value < 1.0 => format!("{value:.4} s"),
        "s" => format!("{value:.2} s"),
        "ms" => format!("{value:.2} ms"),
        "bits" => format!("{value:.1} bits"),
        "%" => format!("{value:.2} %"),
        _ => format!("{value}"),
    }
}

/// The document with `table` between its markers.
fn with_table(file: &str, text: &str, marker: &str, table: &str) -> String {
    let (open, close) = (format!("<!-- {marker} -->\n"), format!("<!-- /{marker} -->"));
    let (before, rest) = text.split_once(&open).unwrap_or_else(|| panic!("{file} has no {open}"));
    let (_, after) = rest.split_once(&close).unwrap_or_else(|| panic!("{file} has no {close}"));
    format!("{before}{open}{table}{close}{after}")
}

/// Compares a document with its tables, or rewrites it.
fn keep(file: &str, tables: &[(&str, String)]) {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
    let wanted =
        tables.iter().fold(text.clone(), |text, (marker, table)| with_table(file, &text, marker, table));
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).unwrap_or_else(|e| panic!("{file}: {e}"));
    } else {
        assert!(wanted == text, "{file} is not current: UPDATE_README=1 cargo test --test readme");
    }
}

#[test]
fn a_name_stands_once_in_all_results() {
    let results = results();
    let mut names: Vec<&str> = results.iter().filter_map(|r| r["name"].as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands once in all of benches/results");
}

#[test]
fn the_table_of_figures_is_what_was_measured() {
    keep("README.md", &[("figures", table(&results()))]);
}

#[test]
fn the_tables_of_benches_are_what_was_measured() {
    keep("docs/benchmarks.md", &benchmarks::tables(&results()));
    keep("docs/kernels.md", &benchmarks::kernel_tables(&results()));
    keep("docs/accuracy.md", &benchmarks::check_tables(&results()));
    keep("docs/saturation.md", &saturation::tables(&results()));
    keep("docs/bootstrapping.md", &bootstrapping::tables(&results()));
    keep("docs/operations.md", &benchmarks::service_tables(&results()));
    keep("docs/fuzzing.md", &benchmarks::fuzz_tables(&results()));
    keep("docs/conformance.md", &benchmarks::conformance_tables(&results()));
}
