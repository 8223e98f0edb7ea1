//! Whatever is wrong with a file: a clear error, the documented exit code, no panic, no partial file.

use crate::{cipherloom, done, json, npy, shipped};
use std::path::Path;

/// Expects a failure of this kind; the error names the place and leaves no output file.
#[track_caller]
pub fn fails(folder: &Path, code: i32, kind: &str, arguments: &[&str]) -> String {
    let before = names(folder);
    let (found, error) = json(folder, arguments);
    assert_eq!(found, code, "{arguments:?}: {error}");
    assert_eq!(error["kind"], kind, "{arguments:?}: {error}");
    for field in ["where", "what", "remedy"] {
        assert!(error[field].is_string(), "{arguments:?}: {error}");
    }
    assert_eq!(before, names(folder), "{arguments:?} left a file");
    let plain = cipherloom(folder, arguments);
    let text = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{arguments:?}: {text}");
    format!("{}: {}", error["where"].as_str().unwrap(), error["what"].as_str().unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file of a finished journey with lola.
pub fn journey(f: &Path) {
    done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    done(f, &["encrypt", "m.manifest", "--secret", "s.key", &shipped("samples/digit-3.png"), "-o", "in.ct"]);
    done(f, &["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "out.ct"]);
}

#[test]
fn broken_files_of_every_format_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    journey(f);
    let image = shipped("samples/digit-3.png");
    // Which command reads the file, as argument 0 of its list.
    let readers: [(&str, Vec<&str>); 6] = [
        ("m.loom", vec!["run", "bad", "--keys", "e.keys", "in.ct", "-o", "x"]),
        ("e.keys", vec!["run", "m.loom", "--keys", "bad", "in.ct", "-o", "x"]),
        ("in.ct", vec!["run", "m.loom", "--keys", "e.keys", "bad", "-o", "x"]),
        ("m.manifest", vec!["encrypt", "bad", "--secret", "s.key", &image, "-o", "x"]),
        ("s.key", vec!["decrypt", "m.manifest", "--secret", "bad", "out.ct"]),
        ("out.ct", vec!["decrypt", "m.manifest", "--secret", "s.key", "bad"]),
    ];
    for (file, arguments) in &readers {
        let whole = std::fs::read(f.join(file)).unwrap();
        let mut damaged: Vec<Vec<u8>> = vec![vec![], b"hello".to_vec(), whole[..whole.len() / 2].to_vec()];
        damaged.push(whole[..whole.len() - 1].to_vec());
        damaged.push([&whole[..], &[0][..]].concat());
        for at in [9, 20, 70, whole.len() / 2, whole.len() - 2] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            damaged.push(flipped);
        }
        for bytes in damaged {
            std::fs::write(f.join("bad"), &bytes).unwrap();
            let (code, error) = json(f, arguments);
            assert!([3, 5].contains(&code), "{file}, {} bytes: {code} {error}", bytes.len());
            assert!(!f.join("x").exists(), "{file}");
        }
        std::fs::remove_file(f.join("bad")).unwrap();
        // Another format in its place.
        std::fs::copy(f.join(if *file == "m.loom" { "e.keys" } else { "m.loom" }), f.join("bad")).unwrap();
        fails(f, 3, "bad-input", arguments);
        std::fs::remove_file(f.join("bad")).unwrap();
        fails(f, 3, "bad-input", arguments);
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    journey(f);
    done(f, &["compile", &shipped("mlp.onnx"), "-o", "n.loom"]);
    done(f, &["keygen", "n.manifest", "--secret", "t.key", "--keys", "n.keys"]);
    let image = shipped("samples/digit-3.png");
    fails(f, 5, "mismatch", &["run", "m.loom", "--keys", "n.keys", "in.ct", "-o", "x"]);
    fails(f, 5, "mismatch", &["run", "n.loom", "--keys", "n.keys", "in.ct", "-o", "x"]);
    fails(f, 5, "mismatch", &["encrypt", "m.manifest", "--secret", "t.key", &image, "-o", "x"]);
    fails(f, 5, "mismatch", &["decrypt", "n.manifest", "--secret", "t.key", "out.ct"]);
    // The right circuit, another client's key: the answer would be noise, and is refused.
    done(f, &["keygen", "m.manifest", "--secret", "u.key", "--keys", "u.keys"]);
    let error = fails(f, 5, "mismatch", &["decrypt", "m.manifest", "--secret", "u.key", "out.ct"]);
    assert!(error.contains("keys of this secret, or the input lay outside its range"), "{error}");
}

#[test]
fn images_and_arrays_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let model = shipped("lola.onnx");
    let write = |name: &str, bytes: &[u8]| std::fs::write(f.join(name), bytes).unwrap();
    write("text.png", b"not an image");
    assert!(fails(f, 3, "bad-input", &["predict", &model, "text.png"]).contains("is none of PNG"));
    write("cut.png", &std::fs::read(shipped("samples/digit-3.png")).unwrap()[..60]);
    assert!(fails(f, 3, "bad-input", &["predict", &model, "cut.png"]).contains("PNG is broken"));
    write("wide.npy", &npy("|u1", "(1, 29, 28)", &[0; 812]));
    assert!(fails(f, 3, "bad-input", &["predict", &model, "wide.npy"]).contains("the model wants 1x28x28"));
    let mut values = vec![0f32; 784];
    values[5] = f32::NAN;
    let nan: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    write("nan.npy", &npy("<f4", "(28, 28)", &nan));
    assert!(fails(f, 3, "bad-input", &["predict", &model, "nan.npy"]).contains("NaN at element 5"));
    let far: Vec<u8> = (0..784).flat_map(|k| (if k == 9 { 500f32 } else { 0.0 }).to_le_bytes()).collect();
    let mut infinite = far.clone();
    infinite[36..40].copy_from_slice(&f32::INFINITY.to_le_bytes());
    write("inf.npy", &npy("<f4", "(28, 28)", &infinite));
    assert!(fails(f, 3, "bad-input", &["predict", &model, "inf.npy"]).contains("inf at element 9"));
    write("far.npy", &npy("<f4", "(28, 28)", &far));
    let error = fails(f, 3, "bad-input", &["predict", &model, "far.npy"]);
    assert!(error.contains("element 9") && error.contains("could not be decoded"), "{error}");
    assert!(fails(f, 3, "bad-input", &["predict", &model, "absent.png"]).contains("No such file"));
    let image = shipped("samples/digit-3.png");
    assert!(
        fails(f, 3, "bad-input", &["predict", &model, &image, "--index", "1"]).contains("holds 1 sample")
    );
}

#[test]
fn models_and_places_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let whole = std::fs::read(shipped("lola.onnx")).unwrap();
    for (name, bytes) in
        [("empty.onnx", &[][..]), ("cut.onnx", &whole[..whole.len() / 2]), ("text.onnx", b"hello")]
    {
        std::fs::write(f.join(name), bytes).unwrap();
        fails(f, 3, "bad-input", &["compile", name]);
    }
    fails(f, 3, "bad-input", &["compile", "absent.onnx"]);
    // All bits of two words set, in the middle of the weights: one of them is a NaN whatever the alignment.
    let mut nan = whole.clone();
    nan[whole.len() / 2..][..8].fill(0xff);
    std::fs::write(f.join("nan.onnx"), nan).unwrap();
    assert!(fails(f, 3, "bad-input", &["compile", "nan.onnx"]).contains("NaN"));
    // Two weights of 8e37, finite whatever the alignment.
    let mut huge = whole.clone();
    huge[whole.len() / 2..][..8].fill(0x7e);
    std::fs::write(f.join("huge.onnx"), huge).unwrap();
    assert!(fails(f, 3, "bad-input", &["compile", "huge.onnx"]).contains("at most 2^64"));
    std::fs::write(f.join("open.onnx"), without_size(&whole)).unwrap();
    assert!(fails(f, 3, "bad-input", &["compile", "open.onnx"]).contains("has no fixed size"));
    fails(f, 6, "resources", &["compile", &shipped("lola.onnx"), "-o", "no/such/folder/m.loom"]);
    fails(f, 2, "usage", &["compile", &shipped("lola.onnx"), "-o", "same", "--manifest", "same"]);
    for wrong in [&["compile"][..], &["no-such-command"], &["compile", "m.onnx", "--precision", "NaN"]] {
        let out = cipherloom(f, wrong);
        assert_eq!(out.status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(json(f, &["compile"]).1["kind"], "usage");
    fails(f, 2, "usage", &["compile", &shipped("lola.onnx"), "--input-mean", "0.1,0.2"]);
}

/// The model with its dimensions of 28 left open (an empty symbol in place of the value), and with the metadata that
/// would settle them under another name.
fn without_size(model: &[u8]) -> Vec<u8> {
    let mut out = model.to_vec();
    for at in 0..out.len() - 16 {
        if out[at..].starts_with(&[0x0a, 2, 8, 28]) {
            out[at + 2..at + 4].copy_from_slice(&[0x12, 0]);
        }
        if out[at..].starts_with(b"cipherloom.input") {
            out[at + 15] = b'x';
        }
    }
    out
}

#[test]
fn nothing_is_overwritten_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    std::fs::copy(shipped("lola.onnx"), f.join("lola.onnx")).unwrap();
    fails(f, 2, "usage", &["compile", "lola.onnx", "-o", "./lola.onnx"]);
    done(f, &["compile", "lola.onnx"]);
    fails(f, 2, "usage", &["keygen", "lola.manifest", "--secret", "k", "--keys", "./k"]);
    done(f, &["keygen", "lola.manifest"]);
    fails(f, 2, "usage", &["keygen", "lola.manifest", "--secret", "new.key", "--keys", "secret.key"]);
    fails(f, 6, "resources", &["keygen", "lola.manifest", "--secret", "no/folder/s", "--keys", "new.keys"]);
    let image = shipped("samples/digit-3.png");
    fails(f, 2, "usage", &["encrypt", "lola.manifest", &image, "-o", "lola.manifest"]);
}

#[test]
fn models_beyond_leveled_depth_are_refused_with_their_reason() {
    let data = std::env::var_os("CIPHERLOOM_DATA").map_or(crate::root().join("../shared/data"), Into::into);
    if !data.is_dir() {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str| data.join("models").join(name).display().to_string();
    let deep = fails(
        folder.path(),
        4,
        "unsupported-model",
        &["compile", "--bootstrap", "never", &model("resnet20_cifar10_folded.onnx")],
    );
    assert!(deep.contains("bootstrapping"), "{deep}");
}
