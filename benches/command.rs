//! Calls the command as its own process, for benches that measure what a user sees.

use serde_json::Value;
use std::process::Command;

/// The object that the command prints under `--json`.
pub fn command(arguments: &[&str]) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_cipherloom"))
        .arg("--json")
        .args(arguments)
        .output()
        .expect("the command starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_str(&text).expect("--json prints one object")
}
