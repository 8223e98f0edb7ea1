//! The service on loopback: what it adds to an evaluation, LeNet-1 from image to class, many clients at once, kills and
//! corrupted requests, features for another classifier.
//!
//! `cargo bench --bench service -- [overhead|lenet1|load|fault|transfer] [--record]`; rows go to `benches/results/service.json`.
//! `CIPHERLOOM_LOAD_S` shortens the load (default 300 s), `CIPHERLOOM_FAULT_RUNS` (100) and `CIPHERLOOM_FUZZ_REQUESTS` (100,000) the
//! faults, which are the tests' own, run by cargo. `PYTHON` names a python with numpy, onnx and onnxruntime for the transfer.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

mod command;
#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::ir::Digest;
use cipherloom::remote::{Connection, Server, Submission, Token};
use command::command;
use harness::{Arguments, Row, median, root};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Rounds in which evaluations alone and requests take turns, and how many of each a round has.
const ROUNDS: usize = 9;
const REQUESTS: usize = 15;
/// Clients at once.
const CLIENTS: usize = 50;
const MODELS: [&str; 3] = ["lola", "mlp", "cryptonets"];

fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rows = Vec::new();
    if arguments.wants("overhead") {
        rows.extend(overhead(folder.path()));
    }
    if arguments.wants("lenet1") {
        rows.extend(lenet1(folder.path()));
    }
    if arguments.wants("fault") {
        rows.extend(faults());
    }
    if arguments.wants("transfer") {
        rows.extend(transfer());
    }
    if arguments.wants("load") {
        rows.push(load(folder.path()));
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "service", &rows);
}

/// A model with a client's keys and an encrypted input.
struct Case {
    model: Digest,
    keys: String,
    input: Vec<u8>,
    run_s: f64,
}

fn case(folder: &Path, model: &str) -> Case {
    let at = |name: &str| folder.join(format!("{model}.{name}")).display().to_string();
    let onnx = root().join(format!("models/{model}.onnx")).display().to_string();
    let image = root().join("models/samples/digit-3.png").display().to_string();
    std::fs::create_dir_all(folder.join("models")).unwrap();
    let loom = folder.join(format!("models/{model}.loom")).display().to_string();
    command(&["compile", &onnx, "-o", &loom, "--manifest", &at("manifest")]);
    command(&["keygen", &at("manifest"), "--secret", &at("secret"), "--keys", &at("keys"), "--force"]);
    command(&["encrypt", &at("manifest"), "--secret", &at("secret"), &image, "-o", &at("in")]);
    let run_s = run_s(folder, model, REQUESTS);
    let facts = command(&["inspect", &at("manifest")]);
    Case {
        model: facts["circuit"].as_str().unwrap().parse().unwrap(),
        keys: at("keys"),
        input: std::fs::read(at("in")).unwrap(),
        run_s,
    }
}

/// Median of evaluations alone, in a process of their own.
fn run_s(folder: &Path, model: &str, repeat: usize) -> f64 {
    let at = |name: &str| folder.join(format!("{model}.{name}")).display().to_string();
    let loom = folder.join(format!("models/{model}.loom")).display().to_string();
    let words =
        ["run", &loom, "--keys", &at("keys"), &at("in"), "-o", &at("out"), "--repeat", &repeat.to_string()];
    command(&words)["seconds"]["run"].as_f64().unwrap()
}

/// A server of the folder's models; killed when dropped.
struct Running(Child, String);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cipherloom"))
        .args(["--json", "-q", "serve", "--listen", "127.0.0.1:0", "--rate", "100000", "--data"])
        .args([folder.join("data"), folder.join("models")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    Running(child, said["listening"].as_str().unwrap().to_owned())
}

fn connect(folder: &Path, server: &Running, client: &str) -> Connection {
    let data = folder.join("data").display().to_string();
    let made = command(&["serve", "token", "add", client, "--data", &data]);
    let token = Token::new(made["token"].as_str().unwrap()).unwrap();
    Connection::new(&Server { url: server.1.clone(), token, ca: None }).unwrap()
}

/// From the encrypted input's bytes to the answer's, seconds; the second part is the server's time of evaluation.
fn once(connection: &Connection, case: &Case, keys: Digest, name: &str) -> (f64, f64) {
    let start = Instant::now();
    let submission = Submission { model: case.model, keys, input: &case.input, idempotency: name };
    let job = connection.submit(&submission).expect("accepted, perhaps after 429");
    let (_, ms) = connection.result(&job.id).expect("no job is lost");
    (start.elapsed().as_secs_f64(), ms.expect("a time of evaluation") / 1e3)
}

fn overhead(folder: &Path) -> Vec<Row> {
    let case = case(folder, "lola");
    let server = start(folder);
    let connection = connect(folder, &server, "overhead");
    let keys = connection.register(&case.model, Path::new(&case.keys), &mut |_, _| {}).unwrap();
    once(&connection, &case, keys, "warm");
    // Medians of a round, and the median of what the rounds say: the machine's speed drifts.
    let round = |round: usize| {
        let run_s = run_s(folder, "lola", REQUESTS);
        let request = |k: usize| once(&connection, &case, keys, &format!("r{round}-{k}"));
        let times: Vec<(f64, f64)> = (0..REQUESTS).map(request).collect();
        let through = median(times.iter().map(|t| t.0).collect());
        [through - run_s, through, run_s, median(times.iter().map(|t| t.1).collect())]
    };
    let rounds: Vec<[f64; 4]> = (0..ROUNDS).map(round).collect();
    let [value, through, run, evaluation] =
        [0, 1, 2, 3].map(|k| median(rounds.iter().map(|r| r[k] * 1e3).collect()));
    let more = json!({ "through_ms": through, "run_ms": run, "evaluation_ms": evaluation, "rounds": ROUNDS,
        "upload_bytes": case.input.len() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    vec![Row { name: "service_overhead_ms".into(), value, unit: "ms", threads, more }]
}

/// One image through the service, keys registered: from its pixels to the decrypted class.
fn lenet1(folder: &Path) -> Vec<Row> {
    let case = case(folder, "lenet1");
    let server = start(folder);
    let data = folder.join("data").display().to_string();
    let made = command(&["serve", "token", "add", "lenet1", "--data", &data]);
    std::fs::write(folder.join("token"), made["token"].as_str().unwrap()).unwrap();
    let images = (0..10).map(|d| root().join(format!("models/samples/digit-{d}.png")).display().to_string());
    let [home, token] = ["home", "token"].map(|name| folder.join(name).display().to_string());
    let words =
        ["client", "predict", "--server", &server.1, "--token", &token, "--home", &home, "--model", "lenet1"];
    let words: Vec<String> = words.map(str::to_owned).into_iter().chain(images).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The first call makes and registers the keys; the answers of the second are counted.
    command(&words);
    let answers = command(&words);
    let answers = answers["answers"].as_array().unwrap();
    let part = |answer: &Value, name: &str| answer["exchange"][name].as_f64().unwrap();
    let whole =
        |a: &Value| ["encrypt_s", "server_s", "decrypt_s"].iter().map(|name| part(a, name)).sum::<f64>();
    let right = answers.iter().enumerate().filter(|(digit, a)| a["class"] == *digit).count();
    let (seconds, bytes) = (median(answers.iter().map(whole).collect()), part(&answers[0], "upload_bytes"));
    let more = json!({ "images": answers.len(), "right": right, "run_s": case.run_s });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let row = |name: &str, value, unit| Row { name: name.into(), value, unit, threads, more: more.clone() };
    vec![row("lenet1_service_s", seconds, "s"), row("lenet1_upload_bytes", bytes, "")]
}

/// The long form of the tests that kill the server and send it nonsense; the counts are those that they print.
fn faults() -> Vec<Row> {
    let long = |name: &str, usual: &str| std::env::var(name).unwrap_or(usual.to_owned());
    let out = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--test", "command", "service::faults", "--", "--nocapture"])
        .env("CIPHERLOOM_FAULT_RUNS", long("CIPHERLOOM_FAULT_RUNS", "100"))
        .env("CIPHERLOOM_FUZZ_REQUESTS", long("CIPHERLOOM_FUZZ_REQUESTS", "100000"))
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    let count = |name: &str| -> f64 {
        let after = said.split(&format!("{name} ")).nth(1).unwrap_or_else(|| panic!("{name} in {said}"));
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap()
    };
    let kills = json!({ "kills": count("kills"), "in_flight_at_least": count("in flight at least"), "right": count("right") });
    let requests = json!({ "answered": count("answered"), "dropped": count("dropped") });
    let row = |name: &str, more: &Value| Row {
        name: name.into(),
        value: count(name),
        unit: "",
        threads: 1,
        more: more.clone(),
    };
    vec![
        row("fault_kill9_runs", &kills),
        row("fault_lost_jobs", &kills),
        row("fuzz_requests", &requests),
        row("fuzz_requests_panics", &requests),
    ]
}

/// Features of clothes by a network for digits (docs/examples/transfer.py): accuracies in the clear and by ciphertexts.
fn transfer() -> Vec<Row> {
    let Some(data) = harness::data() else {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return vec![];
    };
    let out = Command::new(std::env::var("PYTHON").unwrap_or("python3".into()))
        .arg(root().join("docs/examples/transfer.py"))
        .args(["--cipherloom", env!("CARGO_BIN_EXE_cipherloom"), "--model"])
        .arg(root().join("models/cryptonets.onnx"))
        .arg("--data")
        .arg(data.join("fashion-mnist"))
        .output()
        .expect("python starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let facts: Value = serde_json::from_slice(&out.stdout).expect("the example prints one object");
    let row = |name: &str| {
        let value = facts[name].as_f64().expect("an accuracy");
        Row { name: name.into(), value, unit: "%", threads: 1, more: facts.clone() }
    };
    vec![row("transfer_accuracy_clear"), row("transfer_accuracy_encrypted")]
}

fn load(folder: &Path) -> Row {
    let seconds = std::env::var("CIPHERLOOM_LOAD_S").ok().and_then(|s| s.parse().ok()).unwrap_or(300);
    let cases: Vec<Case> = MODELS.iter().map(|m| case(folder, m)).collect();
    let server = start(folder);
    let connections: Vec<(Connection, &Case, Digest)> = (0..CLIENTS)
        .map(|k| {
            let connection = connect(folder, &server, &format!("client-{k}"));
            let case = &cases[k % cases.len()];
            let keys = connection.register(&case.model, Path::new(&case.keys), &mut |_, _| {}).unwrap();
            (connection, case, keys)
        })
        .collect();
    let (times, end) = (Mutex::new(Vec::new()), Instant::now() + Duration::from_secs(seconds));
    std::thread::scope(|scope| {
        for (k, (connection, case, keys)) in connections.iter().enumerate() {
            let times = &times;
            scope.spawn(move || {
                for n in 0.. {
                    if Instant::now() > end {
                        break;
                    }
                    let time = once(connection, case, *keys, &format!("load-{k}-{n}")).0;
                    times.lock().unwrap().push(time);
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_by(f64::total_cmp);
    let p99 = times[(times.len() - 1) * 99 / 100];
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned();
    let more = json!({ "clients": CLIENTS, "requests": times.len(), "seconds": seconds, "models": MODELS,
        "median_ms": median(times.clone()) * 1e3, "server_peak": peak });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Row { name: "service_load_p99_ms".into(), value: p99 * 1e3, unit: "ms", threads, more }
}
