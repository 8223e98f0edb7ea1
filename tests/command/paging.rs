//! Less memory than the keys take: the same answer, and errors that say what would do or what happened to the file.

use crate::{cipherloom, done, json, piped, shipped};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// A circuit, its keys and an encrypted image.
fn files(f: &Path) {
    done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    done(f, &["encrypt", "m.manifest", "--secret", "s.key", &shipped("samples/digit-3.png"), "-o", "in.ct"]);
}

#[test]
fn less_memory_than_keys_take_gives_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    files(f);
    let run = |more: &[&str]| done(f, &[&["run", "m.loom", "--keys", "e.keys", "in.ct"], more].concat());
    let free = run(&["-o", "free.ct"]);
    let memory = done(f, &["inspect", "m.loom"])["memory_bytes"].clone();
    let [keys, whole, least] = ["keys", "whole", "least"].map(|name| memory[name].as_u64().unwrap());
    assert!(free["paged_keys"].is_null() && free["key_memory_bytes"] == keys, "{free}");
    let bytes = |name: &str| std::fs::read(f.join(name)).unwrap();
    for (limit, threads) in [(least, "1"), (least, "2"), (least + keys / 3, "2")] {
        let paged = run(&[
            "-o",
            "paged.ct",
            "--max-memory",
            &limit.to_string(),
            "--threads",
            threads,
            "--repeat",
            "3",
        ]);
        println!("limit {limit}, whole {whole}: {paged}");
        assert!(paged["paged_keys"]["read_again"].as_u64() > Some(0), "{paged}");
        assert!(paged["peak_memory_bytes"].as_u64() < Some(limit), "limit {limit}: {paged}");
        assert!(bytes("paged.ct") == bytes("free.ct"), "limit {limit}, {threads} threads");
    }
    let roomy = run(&["-o", "roomy.ct", "--max-memory", &whole.to_string()]);
    assert!(roomy["paged_keys"].is_null() && roomy["peak_memory_bytes"].as_u64() < Some(whole), "{roomy}");
    let text = ["run", "m.loom", "--keys", "e.keys", "in.ct", "--max-memory", &least.to_string()];
    let text = String::from_utf8(cipherloom(f, &text).stdout).unwrap();
    assert!(text.contains("keys were paged: room for "), "{text}");

    let short = (least - 1).to_string();
    let (code, refused) =
        json(f, &["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "x", "--max-memory", &short]);
    assert_eq!((code, refused["kind"].as_str()), (6, Some("resources")), "{refused}");
    assert!(refused["what"].as_str().unwrap().contains(&format!("at least {least} bytes")), "{refused}");
    assert!(refused["remedy"].as_str().unwrap().contains("--plaintext-memory"), "{refused}");
    let stream = ["run", "m.loom", "in.ct", "--keys", "-", "-o", "x", "--max-memory", &least.to_string()];
    let stream = piped(f, &stream, &bytes("e.keys"));
    assert_eq!(stream.status.code(), Some(2), "{}", String::from_utf8_lossy(&stream.stderr));
    assert!(!f.join("x").exists());
}

#[test]
fn keys_that_are_cut_short_during_a_run_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    files(f);
    let least = done(f, &["inspect", "m.loom"])["memory_bytes"]["least"].to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cipherloom"));
    command.args(["-v", "run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "x", "--repeat", "10000"]);
    command.args(["--max-memory", &least]).current_dir(f).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "evaluating");
    std::fs::File::options().write(true).open(f.join("e.keys")).unwrap().set_len(1000).unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(6), "{rest}");
    assert!(rest.starts_with("error: e.keys: node ") && rest.contains("cut short"), "{rest}");
    assert!(rest.contains("help: leave the file as it is"), "{rest}");
    assert!(!f.join("x").exists());
}
