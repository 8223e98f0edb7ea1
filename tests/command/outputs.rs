//! Where output goes: nothing that is needed is replaced, and what a stream carries is alone there.

use crate::bad_input::{fails, journey};
use crate::{cipherloom, done, json, shipped};
use std::process::Command;

#[test]
fn neither_inputs_nor_secret_keys_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    journey(f);
    std::fs::copy(shipped("lola.onnx"), f.join("lola.onnx")).unwrap();
    std::fs::write(f.join("sealed.key"), b"LOOMSEAL and more").unwrap();
    done(f, &["keygen", "m.manifest", "--secret", "t.key", "--keys", "t.keys", "--public", "p.key"]);
    let before =
        ["s.key", "m.loom", "e.keys", "lola.onnx", "sealed.key"].map(|n| std::fs::read(f.join(n)).unwrap());
    let image = shipped("samples/digit-3.png");
    let run = ["run", "m.loom", "in.ct", "--keys", "e.keys"];
    for output in [
        &["-o", "s.key"][..],
        &["-o", "sealed.key"],
        &["--trace", "s.key"],
        &["--trace", "e.keys"],
        &["--trace", "m.loom"],
        &["-o", "x", "--trace", "./x"],
        &["-o", "-", "--trace", "-"],
    ] {
        fails(f, 2, "usage", &[&run, output].concat());
    }
    for output in [
        &["-o", "s.key"][..],
        &["--manifest", "s.key"],
        &["--html", "s.key"],
        &["--draft", "--html", "s.key"],
    ] {
        fails(f, 2, "usage", &[&["compile", "lola.onnx"], output].concat());
    }
    fails(f, 2, "usage", &["encrypt", "m.manifest", "--public", "p.key", &image, "-o", "s.key"]);
    fails(f, 2, "usage", &["predict", "lola.onnx", &image, "--trace", "lola.onnx"]);
    fails(f, 2, "usage", &["inspect", "m.loom", "--html", "s.key"]);
    fails(f, 2, "usage", &["keygen", "m.manifest", "--secret", "new.key", "--keys", "s.key"]);
    let after =
        ["s.key", "m.loom", "e.keys", "lola.onnx", "sealed.key"].map(|n| std::fs::read(f.join(n)).unwrap());
    assert!(before == after);
}

#[test]
fn a_stream_carries_the_output_alone() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let image = shipped("samples/digit-3.png");
    let traced = cipherloom(f, &["--json", "predict", &shipped("lola.onnx"), &image, "--trace", "-"]);
    let rows: serde_json::Value = serde_json::from_slice(&traced.stdout).expect("one document");
    assert!(rows.is_array() && String::from_utf8_lossy(&traced.stderr).contains("\"class\":3"));
    done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom"]);
    let stdout: &[&str] = if cfg!(target_os = "linux") { &["-", "/dev/stdout"] } else { &["-"] };
    for (k, stdout) in stdout.iter().enumerate() {
        let keys = ["--keys", &format!("{k}.keys"), "--public", &format!("{k}.public")];
        let made = cipherloom(f, &[&["keygen", "m.manifest", "--secret", stdout], &keys[..]].concat());
        assert!(String::from_utf8_lossy(&made.stderr).contains("evaluation keys"), "the report stands aside");
        std::fs::write(f.join("s.key"), &made.stdout).unwrap();
        done(f, &["encrypt", "m.manifest", &image, "--secret", "s.key", "-o", "in.ct"]);
    }
    let token = cipherloom(f, &["serve", "token", "add", "a", "--data", "d", "-o", "-"]);
    assert!(
        token.stdout.starts_with(b"cl1-")
            && token.stdout.trim_ascii_end().iter().all(|b| !b.is_ascii_whitespace())
    );
    let error = fails(f, 2, "usage", &["serve", "token", "add", "b", "--data", "d", "-o", "d/tokens.json"]);
    assert!(error.contains("two things at once"), "{error}");
    #[cfg(target_os = "linux")]
    {
        // What a descriptor's file holds stays.
        std::fs::write(f.join("log"), "before ").unwrap();
        let log = std::fs::File::options().append(true).open(f.join("log")).unwrap();
        let traced = ["predict", &shipped("lola.onnx"), &image, "--trace", "/dev/stderr"];
        let run =
            std::process::Command::new(env!("CARGO_BIN_EXE_cipherloom")).args(traced).stderr(log).output();
        assert!(run.unwrap().status.success());
        assert!(std::fs::read_to_string(f.join("log")).unwrap().starts_with("before "));
    }
    // The name of a manifest does not follow from a stream's.
    for stream in ["-", "/dev/null"] {
        let error = fails(f, 2, "usage", &["compile", &shipped("lola.onnx"), "-o", stream]);
        assert!(error.contains("manifest"), "{error}");
    }
}

#[test]
fn messages_say_what_to_do_and_move_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    assert!(json(f, &["compile", "absent.onnx"]).1["remedy"].as_str().unwrap().contains("spelling"));
    let (_, error) = json(f, &["compile", "m.onnx", "--precisoin", "3"]);
    assert!(!error["what"].as_str().unwrap().contains(['\n', ':']), "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("Usage:"), "{error}");
    let (_, none) = json(f, &["completions"]);
    assert!(none["what"].as_str().unwrap().starts_with("the following required arguments"), "{none}");
    let out = cipherloom(f, &["compile", "\u{1b}[31m\nclass 3\u{9b}.onnx"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(
        text.starts_with("error: \\u001b[31m\\u000aclass 3\\u009b.onnx: ") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn more_threads_than_the_option_takes_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cipherloom"));
    let out = command.args(["completions", "bash"]).env("RAYON_NUM_THREADS", "20000").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn strange_arguments_and_full_devices_are_answered() {
    use std::os::unix::ffi::OsStrExt;
    let command = || Command::new(env!("CARGO_BIN_EXE_cipherloom"));
    let out = command().arg(std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    for printed in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let out = command().arg(printed).stdout(full).output().unwrap();
        assert_eq!(out.status.code(), Some(6), "{printed}");
        assert!(String::from_utf8_lossy(&out.stderr).contains("free space"));
    }
}
