//! What the benches share: arguments, medians, and the result files under `benches/results/`.
//!
//! A result file is a list of rows {name, value, unit, threads, machine, commit, date, …}. Rows are written only with
//! `--record`; a row of the same name is replaced, and a name stands in one file only. A value is in the unit that
//! its name ends in (`_s`, `_ms`, `_gib`) or that `unit` says.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of a bench: `cargo bench --bench NAME -- [FILTER] [--record]`.
pub struct Arguments {
    /// Only rows whose name contains this.
    pub filter: Option<String>,
    /// Write the result file.
    pub record: bool,
}

impl Arguments {
    pub fn parse() -> Arguments {
        let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        Arguments {
            filter: arguments.iter().find(|a| !a.starts_with("--")).cloned(),
            record: arguments.iter().any(|a| a == "--record"),
        }
    }

    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|f| name.contains(f.as_str()))
    }
}

/// The middle value (of an even number, the lower of the two).
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// One result.
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub threads: usize,
    /// log_n, log_qp, precision_bits and the like.
    pub more: Value,
}

/// The workspace root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where real test data lie: `CIPHERLOOM_DATA`, default `../shared/data` beside the workspace.
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CIPHERLOOM_DATA").map_or(root().join("../shared/data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Prints rows; with `--record` merges them into `benches/results/FILE.json`.
pub fn finish(arguments: &Arguments, file: &str, rows: &[Row]) {
    for row in rows {
        println!("{:<28} {:>12.4} {:<6} {}", row.name, row.value, row.unit, row.more);
    }
    if !arguments.record {
        return;
    }
    let folder = root().join("benches/results");
    let path = folder.join(format!("{file}.json"));
    let mut all: Vec<Value> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).expect("a result file is a JSON list"),
        Err(_) => vec![],
    };
    for row in rows {
        refuse_double(&folder, &path, &row.name);
        all.retain(|r| r["name"] != row.name.as_str());
        all.push(described(row));
    }
    all.sort_by_key(|r| r["name"].as_str().unwrap_or("").to_owned());
    let lines: Vec<String> = all.iter().map(|r| format!("  {r}")).collect();
    std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).expect("benches/results is writable");
}

fn refuse_double(folder: &Path, path: &Path, name: &str) {
    for other in std::fs::read_dir(folder).expect("benches/results exists").flatten().map(|e| e.path()) {
        if other != path && other.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&other).expect("a result file is readable");
            assert!(
                !text.contains(&format!("\"name\":\"{name}\"")),
                "{name} stands in {} too",
                other.display()
            );
        }
    }
}

fn described(row: &Row) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), json!(row.name));
    object.insert("value".into(), json!((row.value * 1e6).round() / 1e6));
    object.insert("unit".into(), json!(row.unit));
    object.insert("threads".into(), json!(row.threads));
    object.insert("machine".into(), json!(machine()));
    object.insert("commit".into(), json!(output("git", &["describe", "--always", "--dirty"])));
    object.insert("date".into(), json!(output("date", &["-u", "+%Y-%m-%d"])));
    if let Value::Object(more) = &row.more {
        object.extend(more.clone());
    }
    Value::Object(object)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|l| l.starts_with(name)).unwrap_or("");
        line.split_once(':').map_or("unknown", |(_, v)| v.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let path = cipherloom::ring::Path::best();
    format!(
        "{} family {} model {}, {cores} cores, {path:?}",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )
}

fn output(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).current_dir(root()).output();
    out.map_or("unknown".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
