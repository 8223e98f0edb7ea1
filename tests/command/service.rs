//! The service as operator and client run it: real processes, real sockets, real kills.
//!
//! Relies on the shipped *lola*, compiled once. `CIPHERLOOM_FAULT_RUNS` and `CIPHERLOOM_FUZZ_REQUESTS` make the long form
//! (docs/operations.md); the counts are printed.

#[path = "service/client.rs"]
mod client;
#[path = "service/faults.rs"]
mod faults;
#[path = "service/hosts.rs"]
mod hosts;
#[path = "service/journey.rs"]
mod journey;
#[path = "service/page.rs"]
mod page;
#[path = "service/refusals.rs"]
mod refusals;

use crate::{done, shipped};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What the tests share: a compiled model, keys, inputs and what `run` makes of them.
struct Case {
    folder: TempDir,
    /// Digest of the circuit.
    model: String,
    keys: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

impl Case {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Digest of the keys' file.
    fn keys_digest(&self) -> String {
        cipherloom::ir::Digest::of(&self.keys).to_string()
    }
}

fn case() -> &'static Case {
    static CASE: OnceLock<Case> = OnceLock::new();
    CASE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let f = folder.path();
        std::fs::create_dir(f.join("models")).unwrap();
        done(f, &["compile", &shipped("lola.onnx"), "-o", "models/lola.loom", "--manifest", "m"]);
        done(f, &["keygen", "m", "--secret", "s", "--keys", "k"]);
        let read = |name: &str| std::fs::read(f.join(name)).unwrap();
        let (mut inputs, mut answers) = (vec![], vec![]);
        for digit in [1, 3, 7] {
            done(
                f,
                &[
                    "encrypt",
                    "m",
                    "--secret",
                    "s",
                    &shipped(&format!("samples/digit-{digit}.png")),
                    "-o",
                    "i",
                ],
            );
            done(f, &["run", "models/lola.loom", "--keys", "k", "i", "-o", "o"]);
            inputs.push(read("i"));
            answers.push(read("o"));
        }
        let model = done(f, &["inspect", "m"])["circuit"].as_str().unwrap().to_owned();
        Case { model, keys: read("k"), inputs, answers, folder }
    })
}

/// A server process; killed when dropped.
struct Running {
    child: Child,
    /// `host:port`.
    address: String,
    url: String,
    /// What it said on standard error.
    stderr: PathBuf,
}

impl Running {
    /// Starts a server of these models on a free port of loopback; `more` are further arguments.
    fn start(models: &Path, data: &Path, more: &[&str]) -> Running {
        let command = Command::new(env!("CARGO_BIN_EXE_cipherloom"));
        Running::start_by(command, models, data, &[&["--listen", "127.0.0.1:0"], more].concat())
    }

    /// The same by a command that starts `cipherloom`, perhaps elsewhere.
    fn start_by(mut command: Command, models: &Path, data: &Path, more: &[&str]) -> Running {
        std::fs::create_dir_all(data).unwrap();
        let stderr = data.join("stderr.log");
        let mut child = command
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&stderr).unwrap())
            .args(["serve", &models.display().to_string(), "--data", &data.display().to_string()])
            .args(["--json", "-q"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let url = said["listening"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
        let address = url.split("//").nth(1).unwrap().to_owned();
        Running { child, address, url, stderr }
    }

    /// Kill -9.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().code()
    }

    /// A request with a token: status, head, body.
    fn ask(&self, token: &str, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if !token.is_empty() {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        more.iter().for_each(|(k, v)| head += &format!("{k}: {v}\r\n"));
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // A server that refuses early may close before it has read all.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(stream)
    }

    fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(token, "GET", path, &[], b"")
    }

    /// Registers the case's keys.
    fn register(&self, token: &str) {
        let case = case();
        let (keys, bytes) = (case.keys_digest(), case.keys.len());
        let text = format!(r#"{{"model":"{}","digest":"{keys}","bytes":{bytes}}}"#, case.model);
        let announced = self.ask(token, "POST", "/v1/keys", &[], text.as_bytes());
        assert_eq!(announced.status, 200, "{announced:?}");
        let offset = announced.json()["offset"].as_u64().unwrap();
        if announced.json()["complete"] == true {
            return;
        }
        let path = format!("/v1/keys/{keys}");
        let place = [("upload-offset", &*offset.to_string())];
        let sent = self.ask(token, "PATCH", &path, &place, &case.keys[offset as usize..]);
        assert!(sent.status == 200 && sent.json()["complete"] == true, "{sent:?}");
    }

    /// Submits input `k` of the case under a name.
    fn submit(&self, token: &str, k: usize, name: &str) -> Answer {
        let case = case();
        let path = format!("/v1/jobs?model={}&keys={}", case.model, case.keys_digest());
        self.ask(token, "POST", &path, &[("idempotency-key", name)], &case.inputs[k])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer off the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Answer {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(all.len(), |k| k + 4);
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Answer { status, head, body: all[end..].to_vec() }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}{}", self.head, String::from_utf8_lossy(&self.body)))
    }
}

/// The token that a server made for this machine's user.
fn local_token(data: &Path) -> String {
    std::fs::read_to_string(data.join("local.token")).unwrap().trim().to_owned()
}

/// A token of a client.
fn token(data: &Path, client: &str, more: &[&str]) -> (String, String) {
    let mut arguments = vec!["serve", "token", "add", client, "--data", data.to_str().unwrap()];
    arguments.extend(more);
    let made = done(data, &arguments);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}
