//! Weights in files beside the model, as exporters write them today.

use crate::onnx::{File, Node, random};
use cipherloom_compiler::frontend::{LoadOptions, Model, load, load_bytes};
use std::path::Path;

/// A convolution and a bias, both in `place` but for the bytes that they begin at.
fn file(location: &str, bias_from: &str) -> File {
    let layer = File::new(17, &[1, 2, 4, 4]).node(Node::new("Conv", "x w b", "y"));
    let weights = [("location", location), ("offset", "0"), ("length", "144")];
    layer.external("w", &[2, 2, 3, 3], &weights).external(
        "b",
        &[2],
        &[("location", location), ("offset", bias_from)],
    )
}

fn data() -> Vec<u8> {
    random(38, 5).iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn loaded(folder: &Path, file: &File) -> Result<Model, String> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, file.bytes("y")).map_err(|e| e.to_string())?;
    load(&path, &LoadOptions::default()).map_err(|e| e.to_string())
}

#[test]
fn weights_beside_the_model_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("weights")).unwrap();
    std::fs::write(folder.path().join("weights/all.data"), data()).unwrap();
    let model = loaded(folder.path(), &file("weights/all.data", "144")).unwrap();
    let values = random(38, 5);
    let held: Vec<&[f32]> = model.graph.tensors.iter().map(|t| &t.values[..]).collect();
    assert!(held.contains(&&values[..36]) && held.contains(&&values[36..]), "{held:?}");
}

#[test]
fn what_lies_elsewhere_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("models");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(outer.path().join("secret.data"), data()).unwrap();
    std::fs::write(folder.join("short.data"), &data()[..148]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outer.path().join("secret.data"), folder.join("link.data")).unwrap();
    let absolute = outer.path().join("secret.data").display().to_string();
    for (location, bias_from, reason) in [
        ("../secret.data", "144", "outside the model's folder"),
        (absolute.as_str(), "144", "outside the model's folder"),
        #[cfg(unix)]
        ("link.data", "144", "outside the model's folder"),
        (".", "144", "no plain file"),
        ("lost.data", "144", "not beside the model: copy it there, or save the model as one file"),
        ("short.data", "152", "from 152 on of `short.data`, which has 148"),
        ("short.data", "18446744073709551615", "which has 148"),
        ("short.data", "-1", "is `-1`, no number"),
        ("short.data", "144", "dimensions [2] ask for 2 values, 1 are stored"),
    ] {
        let error = loaded(&folder, &file(location, bias_from)).map(drop).unwrap_err();
        assert!(error.contains(reason), "{location}: {error}");
    }
    // One file that is missing is said once.
    let error = loaded(&folder, &file("lost.data", "144")).map(drop).unwrap_err();
    assert_eq!(error.matches("lost.data").count(), 1, "{error}");
    let error =
        load_bytes(&file("short.data", "144").bytes("y"), &LoadOptions::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("not read from a file"), "{error}");
}

#[test]
fn files_beside_the_model_count_to_its_size() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.data"), data()).unwrap();
    let path = folder.path().join("model.onnx");
    let bytes = file("all.data", "144").bytes("y");
    std::fs::write(&path, &bytes).unwrap();
    let limited = |room: u64| LoadOptions { max_bytes: bytes.len() as u64 + room, ..LoadOptions::default() };
    assert!(load(&path, &limited(152)).is_ok());
    let error = load(&path, &limited(151)).map(drop).unwrap_err().to_string();
    assert!(error.contains("too large: 151 bytes"), "{error}");
}

/// As in a store of models: names are links to files that lie together elsewhere.
#[cfg(unix)]
#[test]
fn weights_beside_the_file_behind_a_link_are_read() {
    let outer = tempfile::tempdir().unwrap();
    let (blobs, names) = (outer.path().join("blobs"), outer.path().join("names"));
    std::fs::create_dir(&blobs).unwrap();
    std::fs::create_dir(&names).unwrap();
    std::fs::write(blobs.join("aa"), file("all.data", "144").bytes("y")).unwrap();
    std::fs::write(blobs.join("bb"), data()).unwrap();
    std::os::unix::fs::symlink("../blobs/aa", names.join("model.onnx")).unwrap();
    std::os::unix::fs::symlink("../blobs/bb", names.join("all.data")).unwrap();
    let model = load(&names.join("model.onnx"), &LoadOptions::default()).unwrap();
    assert_eq!(model.files, [blobs.join("bb").canonicalize().unwrap()]);
}

/// Exporters may list a tensor twice among the outputs.
#[test]
fn an_output_that_is_listed_twice_is_one() {
    let file = File::new(17, &[1, 2, 4, 4]).node(Node::new("Neg", "x", "y"));
    let model = load_bytes(&file.bytes("y y"), &LoadOptions::default()).unwrap();
    assert_eq!(model.graph.outputs.len(), 1);
}
