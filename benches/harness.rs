//! What the benches share: arguments, medians, peak memory, and the result files under `benches/results/`.
//!
//! A result file is a list of rows {name, value, unit, threads, machine, commit, date, …}. Rows are written only with
//! `--record`; a row of the same name is replaced, and a name stands in one file only. A value is in the unit that
//! its name ends in (`_s`, `_ms`, `_gib`) or that `unit` says.

#![allow(clippy::print_stdout, reason = "a bench prints its rows")]

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of a bench: `cargo bench --bench NAME -- [FILTER..] [--threads 1,2] [--record]`.
pub struct Arguments {
    /// Only rows whose name contains one of these; all rows where there is none.
    pub filters: Vec<String>,
    /// Numbers of threads, for benches that measure several.
    pub threads: Option<Vec<usize>>,
    /// How many images or vectors, for benches that take as many as they are told.
    pub count: Option<usize>,
    /// Only forecasts, for benches that evaluate too: figures that do not depend on the machine.
    pub forecasts: bool,
    /// Write the result file.
    pub record: bool,
}

impl Arguments {
    pub fn parse() -> Arguments {
        let mut arguments =
            Arguments { filters: vec![], threads: None, count: None, forecasts: false, record: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => {}
                "--record" => arguments.record = true,
                "--forecasts" => arguments.forecasts = true,
                "--threads" => {
                    let numbers = words.next().expect("--threads is followed by numbers such as 1,2");
                    let number = |n: &str| n.parse().expect("a number of threads");
                    arguments.threads = Some(numbers.split(',').map(number).collect());
                }
                "--images" | "--vectors" => {
                    let number = words.next().and_then(|n| n.parse().ok());
                    arguments.count =
                        Some(number.unwrap_or_else(|| panic!("{word} is followed by a number")));
                }
                flag if flag.starts_with("--") => panic!("unknown flag {flag}"),
                _ => arguments.filters.push(word),
            }
        }
        arguments
    }

    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| name.contains(f.as_str()))
    }
}

/// The shipped models.
pub const MODELS: [&str; 6] = ["lola", "mlp", "cryptonets", "lenet1", "lenet", "lenet5-relu"];

/// The middle value (of an even number, the lower of the two).
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// One result.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub threads: usize,
    /// log_n, log_qp, precision_bits and the like.
    pub more: Value,
}

/// The workspace root: benches belong to several packages of it.
pub fn root() -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut roots = folders.filter(|folder| folder.join("benches/results").is_dir());
    roots.next().expect("benches/results stands in the workspace").to_owned()
}

/// Where real test data lie: `CIPHERLOOM_DATA`, default `../shared/data` beside the workspace.
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CIPHERLOOM_DATA").map_or(root().join("../shared/data"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Prints a row.
pub fn print(row: &Row) {
    println!("{:<28} {:>12.4} {:<6} {}", row.name, row.value, row.unit, row.more);
}

/// With `--record` merges rows into `benches/results/FILE.json`.
pub fn finish(arguments: &Arguments, file: &str, rows: &[Row]) {
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
    object.insert("commit".into(), json!(commit()));
    object.insert("date".into(), json!(date()));
    if let Value::Object(more) = &row.more {
        object.extend(more.clone());
    }
    Value::Object(object)
}

/// Largest resident size of this process so far.
pub fn peak_gib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / f64::from(1u32 << 20)
}

/// Version of the source.
pub fn commit() -> String {
    output("git", &["describe", "--always", "--dirty"])
}

/// Today.
pub fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d"])
}

/// Processor, cores and kernel path.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|l| l.starts_with(name)).unwrap_or("");
        line.split_once(':').map_or("unknown", |(_, v)| v.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let path = cipherloom_ring::Path::best();
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
