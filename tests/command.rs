//! The command as a user runs it: the whole way on shipped models, and bad input of every kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

#[path = "command/bad_input.rs"]
mod bad_input;
#[path = "command/bootstrap.rs"]
mod bootstrap;
#[path = "command/check.rs"]
mod check;
#[allow(dead_code, reason = "the list is the generator's")]
#[path = "../models/generate/deep.rs"]
mod deep_cnn;
#[path = "command/journey.rs"]
mod journey;
#[path = "command/npy.rs"]
mod npy;
#[allow(dead_code, reason = "the writer of the compiler's tests writes more kinds of files")]
#[path = "../compiler/tests/frontend/onnx.rs"]
mod onnx;
#[path = "command/outputs.rs"]
mod outputs;
#[path = "command/page.rs"]
mod page;
#[path = "command/paging.rs"]
mod paging;
#[cfg(feature = "service")]
#[path = "command/service.rs"]
mod service;

pub use npy::npy;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The workspace root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A shipped file.
pub fn shipped(file: &str) -> String {
    root().join("models").join(file).display().to_string()
}

/// Runs the command in a folder.
pub fn cipherloom(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cipherloom"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the command starts")
}

/// Runs the command with these bytes on its standard input.
pub fn piped(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cipherloom"));
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    // A command that refuses its arguments ends before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the command ends")
}

/// Runs with `--json`: exit code and the one object that it prints.
pub fn json(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let out = cipherloom(folder, &all);
    let text = String::from_utf8(out.stdout).expect("output is UTF-8");
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}"));
    (out.status.code().expect("no signal"), value)
}

/// Runs with `--json` and expects success.
pub fn done(folder: &Path, arguments: &[&str]) -> Value {
    let (code, value) = json(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {value}");
    value
}
