//! A client's home under changed minds, broken files and two commands at once; what the client refuses before it sends.

use super::{Running, case, token};
use crate::{cipherloom, done, json, piped, shipped};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// A server of the case's model, and a folder with a token of it in `token`.
fn set() -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Running::start(&case().path("models"), &data, &[]);
    std::fs::write(folder.path().join("token"), token(&data, "alice", &[]).0).unwrap();
    (folder, server)
}

fn init(f: &Path, server: &Running, more: &[&str]) -> (i32, Value) {
    let all = ["client", "init", "--server", &server.url, "--token", "token", "--home", "home"];
    json(f, &[&all[..], more].concat())
}

fn predict(f: &Path, more: &[&str]) -> (i32, Value) {
    json(f, &[&["client", "predict", &shipped("samples/digit-7.png"), "--home", "home"], more].concat())
}

fn keys(f: &Path) -> String {
    let text = std::fs::read(f.join("home/client.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["keys"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_named_again_is_used_or_refused() {
    let (folder, server) = set();
    let f = folder.path();
    let manifest = case().path("m").display().to_string();
    let mut other = std::fs::read(&manifest).unwrap();
    other.push(0);
    std::fs::write(f.join("other"), other).unwrap();
    std::fs::write(f.join("stale"), "cl1-stale").unwrap();
    assert_eq!(init(f, &server, &[]).0, 0);
    assert_eq!(init(f, &server, &["--manifest", &manifest, "--model", "lola"]).0, 0);

    for more in [["--manifest", "other"], ["--model", "mlp"]] {
        for (code, error) in [init(f, &server, &more), predict(f, &more)] {
            assert_eq!((code, error["kind"].as_str()), (5, Some("mismatch")), "{more:?}: {error}");
        }
    }
    let (code, error) = predict(f, &["--token", "stale"]);
    assert_eq!(code, 2, "the given token is sent: {error}");
    assert_eq!(predict(f, &["--token", "token", "--model", &case().model[..8]]).1["answers"][0]["class"], 7);
    let (code, error) = predict(f, &["--ca", "stale"]);
    assert_eq!((code, error["where"].as_str()), (3, Some("--ca")), "the given authority is read");
    let elsewhere = ["--server", "http://127.0.0.1:9"];
    let (code, error) = predict(f, &elsewhere);
    assert_eq!((code, error["where"].as_str()), (2, Some("token")), "another server does not get this one's");
    assert_eq!(predict(f, &[]).0, 0, "what was refused changed nothing");
}

#[test]
fn a_secret_key_is_sealed_later_and_replaced_with_its_keys() {
    let (folder, server) = set();
    let f = folder.path();
    std::fs::write(f.join("phrase"), "correct horse").unwrap();
    assert_eq!(init(f, &server, &[]).0, 0);
    let sealed = || std::fs::read(f.join("home/secret.key")).unwrap().starts_with(b"LOOMSEAL");
    assert!(!sealed());
    assert_eq!(json(f, &["client", "init", "--home", "home", "--passphrase-file", "phrase"]).0, 0);
    assert!(sealed());
    assert_eq!(predict(f, &[]).0, 2, "the key is under a passphrase");
    assert_eq!(predict(f, &["--passphrase-file", "phrase"]).1["answers"][0]["class"], 7);

    // Another secret key has other evaluation keys; what a killed command left goes.
    let before = keys(f);
    std::fs::remove_file(f.join("home/secret.key")).unwrap();
    std::fs::write(f.join("home/eval.keys"), &case().keys).unwrap();
    std::fs::write(f.join("home/.new-lefted"), "half").unwrap();
    assert_eq!(predict(f, &[]).0, 3);
    assert_eq!(init(f, &server, &[]).0, 0);
    assert!(![before, case().keys_digest()].contains(&keys(f)) && !f.join("home/.new-lefted").exists());
    assert_eq!(predict(f, &[]).1["answers"][0]["class"], 7);

    std::fs::write(f.join("home/client.json"), "{").unwrap();
    let (code, error) = init(f, &server, &[]);
    assert!(code == 3 && error["what"].as_str().unwrap().starts_with("is damaged"), "{error}");
    std::fs::remove_file(f.join("home/client.json")).unwrap();
    assert_eq!(init(f, &server, &[]).0, 0);
}

#[test]
fn two_commands_set_up_one_home() {
    let (folder, server) = set();
    let f = folder.path();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_cipherloom"))
            .args(["client", "init", "--server", &server.url, "--token", "token", "--home", "home", "-q"])
            .env("HTTP_PROXY", "http://127.0.0.1:9") // not for loopback: it would see the token
            .current_dir(f)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut child in [start(), start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(predict(f, &[]).1["answers"][0]["class"], 7);
    let status = done(f, &["client", "status", "--home", "home"]);
    assert_eq!(status["keys"].as_array().unwrap().len(), 1, "one secret key, one set of keys");
}

#[test]
fn a_file_that_cannot_be_read_is_told_before_anything_is_sent() {
    let (folder, server) = set();
    let f = folder.path();
    assert_eq!(init(f, &server, &[]).0, 0);
    assert_eq!(predict(f, &["missing.png"]).0, 3);
    let status = done(f, &["client", "status", "--home", "home"]);
    assert!(status["jobs"].as_array().unwrap().is_empty(), "{status}");
}

#[test]
fn credentials_are_looked_at_before_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    std::fs::write(f.join("empty"), "\n").unwrap();
    std::fs::write(f.join("binary"), [b'L', 0, 0xff, 0x1b]).unwrap();
    std::fs::write(f.join("token"), "cl1-made-up").unwrap();
    let there = ["client", "init", "--server", "http://127.0.0.1:9", "--home", "home"];
    for bad in ["empty", "binary"] {
        let (code, error) = json(f, &[&there[..], &["--token", bad]].concat());
        assert_eq!((code, error["where"].as_str()), (2, Some(bad)), "{error}");
    }
    let with_token = [&there[..], &["--token", "token"]].concat();
    let (code, error) = json(f, &[&with_token[..], &["--passphrase-file", "empty"]].concat());
    assert_eq!((code, error["where"].as_str()), (2, Some("empty")), "{error}");
    #[cfg(unix)]
    for value in [&b"\xff"[..], b""] {
        use std::os::unix::ffi::OsStrExt;
        let mut command = Command::new(env!("CARGO_BIN_EXE_cipherloom"));
        command.args(&with_token).current_dir(f);
        command.env("CIPHERLOOM_PASSPHRASE", std::ffi::OsStr::from_bytes(value));
        let out = command.output().unwrap();
        assert!(out.status.code() == Some(2) && out.stderr.starts_with(b"error: CIPHERLOOM_PASSPHRASE"));
    }
    assert!(!f.join("home").exists());

    let user = ["client", "init", "--server", "http://localhost:80@evil.example/", "--token", "token"];
    assert_eq!(cipherloom(f, &[&user[..], &["--home", "home"]].concat()).status.code(), Some(2));
    let twice: [&[&str]; 3] = [
        &["init", "--server", "http://127.0.0.1:9", "--token", "-", "--ca", "-"],
        &["ui", "--passphrase-file", "-", "--manifest", "-"],
        &["predict", "-", "--passphrase-file", "-"],
    ];
    for arguments in twice {
        let out = piped(f, &[&["client"], arguments, &["--home", "home"]].concat(), b"x");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && text.contains("standard stream"), "{arguments:?}: {text}");
    }
}
