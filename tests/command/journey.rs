//! From ONNX to the decrypted class.

use crate::{cipherloom, done, json, piped, shipped};
use serde_json::Value;

fn has(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.pointer(name).is_some(), "{name} is missing in {value}");
    }
}

#[test]
fn predict_classifies_an_encrypted_digit() {
    let folder = tempfile::tempdir().unwrap();
    for (model, digit) in [("lola.onnx", 3), ("lola.onnx", 7), ("lenet1.onnx", 5)] {
        let image = shipped(&format!("samples/digit-{digit}.png"));
        let answer = done(folder.path(), &["predict", &shipped(model), &image]);
        assert_eq!(answer["class"], digit, "{answer}");
        assert_eq!(answer["label"], digit.to_string());
        assert_eq!(answer["scores"].as_array().unwrap().len(), 10);
        let steps = ["compile", "keygen", "encrypt", "load", "prepare", "run", "decrypt"];
        steps.iter().for_each(|s| has(&answer, &[&format!("/seconds/{s}")]));
        has(&answer, &["/peak_memory_bytes"]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "predict leaves no files");
}

#[test]
fn the_steps_apart_give_the_class_and_say_nothing_about_it_on_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let compiled = done(f, &["compile", &shipped("mlp.onnx"), "-o", "m.loom"]);
    has(
        &compiled,
        &["/model", "/file_bytes", "/manifest_bytes", "/log_n", "/log_qp", "/log_qp_bound", "/levels"],
    );
    has(&compiled, &["/rotations", "/rotation_keys", "/compile_seconds"]);
    for name in [
        "seconds",
        "memory_bytes",
        "key_bytes",
        "upload_bytes",
        "download_bytes",
        "precision_bits",
        "public_key_precision_bits",
    ] {
        has(&compiled, &[&format!("/forecast/{name}")]);
    }
    assert!(compiled["log_qp"].as_f64() <= compiled["log_qp_bound"].as_f64());
    let onnx = std::fs::metadata(shipped("mlp.onnx")).unwrap().len();
    assert!(compiled["file_bytes"].as_u64().unwrap() <= 2 * onnx + 64_000);

    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(f.join("s.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = cipherloom(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    assert_eq!(again.status.code(), Some(2), "a secret key is not replaced without --force");
    done(f, &["encrypt", "m.manifest", "--secret", "s.key", &shipped("samples/digit-5.png"), "-o", "in.ct"]);
    let one = done(f, &["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "one.ct", "--threads", "1"]);
    has(&one, &["/seconds/load", "/seconds/prepare", "/seconds/run", "/peak_memory_bytes"]);
    assert!(one.get("class").is_none() && one.get("scores").is_none());
    let arguments =
        ["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "two.ct", "--threads", "2", "--repeat", "2"];
    done(f, &arguments);
    let bytes = |name: &str| std::fs::read(f.join(name)).unwrap();
    assert!(bytes("one.ct") == bytes("two.ct"), "the answer's bytes do not depend on the thread count");
    let answer = done(f, &["decrypt", "m.manifest", "--secret", "s.key", "one.ct"]);
    assert_eq!(answer["class"], 5);

    // A third party encrypts with the public key alone; the holder of the secret key reads the answer.
    done(f, &["keygen", "m.manifest", "--secret", "t.key", "--keys", "t.keys", "--public", "t.public"]);
    done(
        f,
        &["encrypt", "m.manifest", "--public", "t.public", &shipped("samples/digit-7.png"), "-o", "pub.ct"],
    );
    done(f, &["run", "m.loom", "--keys", "t.keys", "pub.ct", "-o", "pub-out.ct"]);
    let answer = done(f, &["decrypt", "m.manifest", "--secret", "t.key", "pub-out.ct"]);
    assert_eq!(answer["class"], 7);

    let summary = cipherloom(f, &["inspect", "m.loom"]);
    assert!(String::from_utf8_lossy(&summary.stdout).contains("forecast"));
    let text = cipherloom(f, &["inspect", "m.loom", "--text"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("linear"));
    let manifest = done(f, &["inspect", "m.manifest"]);
    let digest = manifest["circuit"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
    for way in ["secret_key", "public_key"] {
        // Not proved for every input; a number would be the bound.
        assert!(manifest["outputs"][0]["worst_error"][way].is_null(), "{manifest}");
    }
}

#[test]
fn standard_streams_carry_models_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let stream = |arguments: &[&str], input: &[u8]| {
        let out = piped(f, arguments, input);
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let model = std::fs::read(shipped("lola.onnx")).unwrap();
    stream(&["compile", "-"], &model);
    let keys = stream(&["keygen", "model.manifest", "--secret", "s.key", "--keys", "-"], &[]);
    let image = std::fs::read(shipped("samples/digit-5.png")).unwrap();
    let input = stream(&["encrypt", "model.manifest", "-", "--secret", "s.key", "-o", "-"], &image);
    std::fs::write(f.join("in.ct"), &input).unwrap();
    let answer = stream(&["run", "model.loom", "in.ct", "--keys", "-", "-o", "-"], &keys);
    let text = stream(&["decrypt", "model.manifest", "-", "--secret", "s.key"], &answer);
    assert!(String::from_utf8_lossy(&text).contains('5'));
    let twice = piped(f, &["run", "model.loom", "-", "--keys", "-"], &keys);
    assert_eq!(twice.status.code(), Some(2), "one stream cannot carry two files");
    assert!(stream(&["predict", "-", &shipped("samples/digit-3.png")], &model).len() > 10);
}

#[test]
fn a_batch_is_classified_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let compiled = done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom", "--batch", "4"]);
    assert_eq!(compiled["batch"], 4, "{compiled}");
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    // The folder holds the digits 0 to 9: of the last places of a batch none is left empty.
    for (index, digits) in [("0", vec![0, 1, 2, 3]), ("7", vec![7, 8, 9])] {
        let count = digits.len().to_string();
        let sent = ["encrypt", "m.manifest", &shipped("samples"), "--secret", "s.key", "--index", index];
        let sent = done(f, &[&sent[..], &["-o", "x.ct"]].concat());
        assert_eq!(sent["images"], digits.len(), "{sent}");
        done(f, &["run", "m.loom", "--keys", "e.keys", "x.ct", "-o", "y.ct"]);
        let answer = ["decrypt", "m.manifest", "y.ct", "--secret", "s.key", "--images", &count];
        let answer = done(f, &answer);
        let classes: Vec<i64> =
            answer["images"].as_array().unwrap().iter().map(|i| i["class"].as_i64().unwrap()).collect();
        assert_eq!(classes, digits, "{answer}");
    }
    let more = cipherloom(f, &["decrypt", "m.manifest", "y.ct", "--secret", "s.key", "--images", "5"]);
    assert_eq!(more.status.code(), Some(2), "no more images than there are places");
    let odd = cipherloom(f, &["compile", &shipped("lola.onnx"), "--batch", "3"]);
    assert_eq!(odd.status.code(), Some(2), "a batch is a power of two");
}

/// Cryptonets with its features as a second output: protocol buffers that follow each other are one.
fn with_two_outputs(folder: &std::path::Path) -> String {
    const FEATURES: &[u8] = b"\x3a\x0d\x62\x0b\x0a\x03bn2\x12\x04\x0a\x02\x08\x01";
    let path = folder.join("two.onnx");
    let bytes = std::fs::read(shipped("cryptonets.onnx")).expect("it is shipped");
    std::fs::write(&path, [&bytes[..], FEATURES].concat()).expect("a temporary folder");
    path.display().to_string()
}

#[test]
fn all_outputs_of_all_images_are_decrypted() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let model = with_two_outputs(f);
    done(f, &["compile", &model, "-o", "m.loom", "--batch", "2"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    let sent =
        ["encrypt", "m.manifest", &shipped("samples"), "--secret", "s.key", "--index", "5", "-o", "x.ct"];
    done(f, &sent);
    done(f, &["run", "m.loom", "--keys", "e.keys", "x.ct", "-o", "y.ct"]);
    let answer = done(f, &["decrypt", "m.manifest", "y.ct", "--secret", "s.key"]);
    let clear = cipherloom::Model::open_cut(shipped("cryptonets.onnx"), Some("bn2")).unwrap();
    for (image, digit) in answer["images"].as_array().unwrap().iter().zip([5, 6]) {
        assert_eq!(
            (&image["class"], &image["trusted"]),
            (&serde_json::json!(digit), &serde_json::json!(true)),
            "{image}"
        );
        let outputs = image["outputs"].as_array().unwrap();
        assert_eq!((outputs.len(), &outputs[0]["scores"]), (2, &image["scores"]));
        assert_eq!(
            (&outputs[1]["name"], &outputs[1]["shape"]),
            (&serde_json::json!("bn2"), &serde_json::json!([100]))
        );
        let path = shipped(&format!("samples/digit-{digit}.png"));
        let sample = cipherloom::data::read_one(path.as_ref(), &clear.input_shape(), 0).unwrap();
        let wanted = clear.clear_scores(&sample).unwrap();
        let largest = wanted.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (x, y) in outputs[1]["scores"].as_array().unwrap().iter().zip(&wanted) {
            let error = (x.as_f64().unwrap() - f64::from(*y)).abs();
            assert!(error < 0.01 * f64::from(largest), "{x} instead of {y}");
        }
    }
    let text = cipherloom(f, &["predict", &model, &shipped("samples/digit-5.png")]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("class 5") && text.contains("output bn2: "), "{text}");
}

#[test]
fn a_network_cut_at_a_tensor_yields_features() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, image) = (shipped("cryptonets.onnx"), shipped("samples/digit-5.png"));
    let unknown = cipherloom(f, &["compile", &model, "--output", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(3));
    let message = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(message.contains("there are") && message.contains("bn2"), "{message}");
    done(f, &["compile", &model, "--output", "bn2", "-o", "m.loom"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    done(f, &["encrypt", "m.manifest", &image, "--secret", "s.key", "-o", "x.ct"]);
    done(f, &["run", "m.loom", "--keys", "e.keys", "x.ct", "-o", "y.ct"]);
    let answer = done(f, &["decrypt", "m.manifest", "y.ct", "--secret", "s.key"]);
    let found: Vec<f64> = answer["scores"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let clear = cipherloom::Model::open_cut(&model, Some("bn2")).unwrap();
    let sample = cipherloom::data::read_one(image.as_ref(), &clear.input_shape(), 0).unwrap();
    let wanted = clear.clear_scores(&sample).unwrap();
    assert_eq!((found.len(), &answer["label"]), (100, &Value::Null), "features have no labels");
    let largest = wanted.iter().fold(0f32, |m, x| m.max(x.abs()));
    for (x, y) in found.iter().zip(wanted) {
        assert!((x - f64::from(y)).abs() < 0.01 * f64::from(largest), "{x} instead of {y}");
    }
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    for threads in ["1", "2"] {
        let (loom, manifest) = (format!("{threads}.loom"), format!("{threads}.manifest"));
        let model = shipped("cryptonets.onnx");
        done(f, &["compile", &model, "-o", &loom, "--manifest", &manifest, "--threads", threads]);
    }
    let bytes = |name: &str| std::fs::read(f.join(name)).unwrap();
    assert!(bytes("1.loom") == bytes("2.loom"));
    assert!(bytes("1.manifest") == bytes("2.manifest"));
}

#[test]
fn the_machine_and_the_shell_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = done(folder.path(), &["doctor"]);
    has(&doctor, &["/kernel_path", "/threads", "/profile"]);
    let completions = cipherloom(folder.path(), &["completions", "bash"]);
    assert!(String::from_utf8_lossy(&completions.stdout).contains("predict"));
    let man = cipherloom(folder.path(), &["man"]);
    assert!(String::from_utf8_lossy(&man.stdout).starts_with(".ie"));
    let version = cipherloom(folder.path(), &["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains("kernels"));
}

#[test]
fn key_memory_is_a_limit_that_inspect_explains() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = shipped("lola.onnx");
    let (code, refused) = json(at, &["compile", &model, "--max-key-memory", "1K"]);
    assert_eq!(code, 6, "{refused}");
    done(at, &["compile", &model, "-o", "free.loom"]);
    let curve = done(at, &["inspect", "free.loom"])["keys_against_time"].clone();
    let points = curve.as_array().unwrap();
    let free = points.iter().find(|p| p["is_circuit"] == true).unwrap();
    let bytes = |point: &serde_json::Value| point["key_memory_bytes"].as_u64().unwrap();
    // One less than what the circuit takes: fewer keys, and no less time.
    let limit = (bytes(free) - 1).to_string();
    let small = done(at, &["compile", &model, "--max-key-memory", &limit, "-o", "small.loom"]);
    let curve = done(at, &["inspect", "small.loom"])["keys_against_time"].clone();
    let small_point = curve.as_array().unwrap().iter().find(|p| p["is_circuit"] == true).unwrap();
    assert!(bytes(small_point) < bytes(free), "{small}");
}
