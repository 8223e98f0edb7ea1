//! The README's table of figures is made from `benches/results/`; this test keeps it current.
//! `UPDATE_README=1 cargo test --test readme` rewrites it.

use serde_json::Value;
use std::path::PathBuf;

/// Row name, what it is, and what the peers take for it on this class of machine (ANCHORS of 2026-11, one thread).
const ROWS: [(&str, &str, &str); 12] = [
    ("lola_run_s", "lola (conv, two dense, squares), one image", "Orion 0.207 s, HElayers 0.345 s"),
    ("mlp_run_s", "mlp 784-128-128-10, one image", "Orion 0.286 s, HElayers 0.198 s"),
    ("cryptonets_run_s", "cryptonets, one image", "HElayers 0.94 s"),
    ("lenet_run_s", "lenet (32 and 64 maps, 512), one image", "Orion 2.2 s, HElayers 11.5 s"),
    ("lenet_run_gib", "peak memory of that", "Orion 10.4 GiB"),
    ("lenet5_relu_run_s", "lenet5 with ReLU, one image", ""),
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
        let (value, unit) = (row["value"].as_f64().expect("a number"), row["unit"].as_str().expect("a unit"));
        let shown = match unit {
            "gib" => format!("{value:.2} GiB"),
            "s" if value < 1.0 => format!("{value:.4} s"),
            "s" => format!("{value:.2} s"),
            "ms" => format!("{value:.2} ms"),
            "bits" => format!("{value:.1} bits"),
            "%" => format!("{value:.2} %"),
            _ => format!("{value}"),
        };
        out += &format!("| {what} | **{shown}** | {} | {peers} |\n", row["threads"]);
        machine = row["machine"].as_str().unwrap_or("unknown").to_owned();
    }
    out + &format!("\nMachine: {machine}.\n")
}

#[test]
fn the_table_of_figures_is_what_was_measured() {
    let results = results();
    let mut names: Vec<&str> = results.iter().filter_map(|r| r["name"].as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands once in all of benches/results");
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).expect("README.md is readable");
    let (before, rest) = text.split_once("<!-- figures -->\n").expect("the README has the marker");
    let (_, after) = rest.split_once("<!-- /figures -->").expect("the README has the end marker");
    let wanted = format!("{before}<!-- figures -->\n{}<!-- /figures -->{after}", table(&results));
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).expect("README.md is writable");
    } else {
        assert!(wanted == text, "README.md is not current: UPDATE_README=1 cargo test --test readme");
    }
}
