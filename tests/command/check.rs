//! `check`, `compile --explain`, and answers that are not to be trusted or not to be given away.

use crate::{cipherloom, done, json, npy, shipped};
use cipherloom::data::{self, Values};
use serde_json::Value;

fn number(value: &Value, pointer: &str) -> f64 {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{pointer} is no number in {value}"))
}

/// The classes of the shipped samples, in the order of their names.
fn labels(folder: &std::path::Path) -> String {
    let path = folder.join("labels.npy");
    std::fs::write(&path, npy("|u1", "(10,)", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap();
    path.display().to_string()
}

#[test]
fn four_evaluations_agree_and_the_simulation_foretells_the_encrypted_errors() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, samples, labels) = (shipped("lola.onnx"), shipped("samples"), labels(f));
    let found = done(f, &["check", &model, "--data", &samples, "--labels", &labels, "--encrypted", "5"]);
    assert_eq!(found["images"], 10);
    for accuracy in ["/clear_accuracy", "/polynomial_accuracy", "/simulated_accuracy"] {
        assert_eq!(number(&found, accuracy), 1.0, "{accuracy}: {found}");
    }
    assert_eq!((&found["encrypted"]["images"], &found["encrypted"]["agree"]), (&5.into(), &5.into()));
    assert!(number(&found, "/encrypted/precision_bits") > 10.0, "{found}");
    let measured = number(&found, "/encrypted/max_logit_error");
    let foretold = number(&found, "/encrypted/simulated_max_logit_error");
    assert!((1.0 / 3.0..3.0).contains(&(foretold / measured)), "{foretold} foretold, {measured} measured");
    // The polynomials of lola are squares, exact in both.
    assert!(found["layers"].as_array().unwrap().iter().all(|l| l["divergence"].as_f64() < Some(1e-3)));
    let ranges = found["ranges"].as_array().unwrap();
    assert!(ranges.iter().all(|r| r["images_outside"] == 0), "{found}");
    assert!(found["problems"].as_array().unwrap().is_empty() && found["first_wrong_layer"].is_null());
    // Equal draws, equal findings.
    let again = |draw: &str| {
        let arguments = ["check", &model, "--data", &samples, "--encrypted", "0", "--draw", draw];
        number(&done(f, &arguments), "/simulated/max_logit_error")
    };
    assert_eq!(again("7"), again("7"));
    assert_ne!(again("7"), again("8"));
}

#[test]
fn data_that_the_circuit_was_not_made_for_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let samples = shipped("samples");
    let (code, found) = json(
        f,
        &["check", &shipped("lola.onnx"), "--data", &samples, "--input-scale", "1", "--encrypted", "0"],
    );
    assert_eq!(code, 3, "{found}");
    let problem = &found["problems"][0];
    assert_eq!((&problem["kind"], &problem["where"]), (&"bad-input".into(), &"tensor image".into()));
    assert!(problem["remedy"].as_str().unwrap().contains("--input-scale"), "{problem}");
    assert!(found["clear_accuracy"].is_null(), "there are no labels: {found}");
    let wrong = npy("|u1", "(3,)", &[1, 2, 3]);
    std::fs::write(f.join("few.npy"), wrong).unwrap();
    let arguments = ["check", &shipped("lola.onnx"), "--data", &samples, "--labels", "few.npy"];
    let (code, error) = json(f, &arguments);
    assert_eq!((code, &error["what"]), (3, &"holds 3 labels for 10 samples".into()));
}

/// Calibrated on a dark square, the polynomials of a ReLU network leave their ranges on digits.
#[test]
fn the_first_layer_that_goes_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    std::fs::write(f.join("dark.npy"), npy("|u1", "(28, 28)", &[30; 784])).unwrap();
    let model = shipped("lenet5-relu.onnx");
    let samples = shipped("samples");
    let arguments = ["check", &model, "--data", &samples, "--calibrate", "dark.npy", "--encrypted", "0"];
    let (code, found) = json(f, &[&arguments[..], &["--precision", "8"]].concat());
    assert_eq!(code, 4, "{found}");
    assert_eq!(found["first_wrong_layer"], "act1", "{found}");
    let problems = found["problems"].as_array().unwrap();
    let named =
        problems.iter().any(|p| p["where"] == "layer act1" && p["what"].as_str().unwrap().contains("image"));
    assert!(named, "{found}");
    let warnings = found["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w.as_str().unwrap().contains("`conv1` leaves its range")), "{found}");
}

#[test]
fn activations_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, samples) = (shipped("lenet5-relu.onnx"), shipped("samples"));
    let arguments = ["compile", &model, "--explain", "activations", "--calibrate", &samples];
    let found = done(f, &arguments);
    let activations = found["activations"].as_array().unwrap();
    assert_eq!(activations.len(), 4);
    for one in activations {
        assert_eq!((&one["degree"], &one["function"]), (&4.into(), &"Relu".into()));
        let fits = one["fits"].as_array().unwrap();
        let typical: Vec<f64> = fits.iter().map(|fit| number(fit, "/typical_error")).collect();
        assert!(typical[3] < typical[0], "degree 7 is closer than degree 2: {one}");
        let levels: Vec<f64> = fits.iter().map(|fit| number(fit, "/levels")).collect();
        assert_eq!(levels, [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    let degrees = found["degrees"].as_array().unwrap();
    assert!(number(&degrees[3], "/levels") > number(&degrees[0], "/levels"));
    assert!(number(&degrees[2], "/agreement") >= 0.9, "{found}");
    let text = String::from_utf8(cipherloom(f, &arguments).stdout).unwrap();
    assert!(text.contains("worst error") && text.contains("levels at least"), "{text}");
    assert_eq!(std::fs::read_dir(f).unwrap().count(), 0, "an explanation writes no file");
}

#[test]
fn the_degree_of_activations_follows_from_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, samples) = (shipped("lenet5-relu.onnx"), shipped("samples"));
    let arguments = ["compile", &model, "--calibrate", &samples, "--precision", "5", "-o", "m.loom"];
    assert_eq!(done(f, &arguments)["activation_degree"], 4, "too few samples to choose by");
    let chosen = done(f, &[&arguments[..], &["--activation-degree", "7"]].concat());
    assert_eq!(chosen["activation_degree"], 7);
    let other = cipherloom(f, &[&arguments[..], &["--activation-degree", "8"]].concat());
    let error = String::from_utf8(other.stderr).unwrap();
    assert!(error.contains("'8'") && error.contains("auto, 2, 3, 4, 7, 15, 31, 63"), "{error}");
}

#[test]
fn layers_are_refitted_where_data_can_judge() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    // The ten samples, brighter and darker, as often as it takes to judge.
    let model = shipped("lenet5-relu.onnx");
    let mut images = Vec::new();
    for level in (115..265).step_by(10) {
        for digit in 0..10 {
            let path = shipped(&format!("samples/digit-{digit}.png"));
            let sample = data::read_one(path.as_ref(), &[1, 28, 28], 0).unwrap();
            let Values::Bytes(image) = sample.values else { panic!("a PNG has bytes") };
            images.extend(image.into_iter().map(|p| (u32::from(p) * level / 255).min(255) as u8));
        }
    }
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 150, 0, 0, 0, 28, 0, 0, 0, 28][..], &images].concat();
    std::fs::write(f.join("images.idx"), idx).unwrap();
    let arguments = ["compile", &model, "--calibrate", "images.idx", "--precision", "5", "-o", "m.loom"];
    let kept = cipherloom(f, &[&arguments[..], &["--refit", "never"]].concat());
    let told = String::from_utf8(kept.stderr).unwrap();
    assert!(told.contains("keep the class") && !told.contains("refitted"), "{told}");
    let weights = std::fs::read(f.join("m.loom")).unwrap();
    let refitted = cipherloom(f, &arguments);
    let told = String::from_utf8(refitted.stderr).unwrap();
    assert!(told.contains("layers refitted to polynomials of degree 2 at most"), "{told}");
    assert_ne!(std::fs::read(f.join("m.loom")).unwrap(), weights);
    let check = ["check", &model, "--data", "images.idx", "--calibrate", "images.idx", "--encrypted", "1"];
    let found = done(f, &[&check[..], &["--precision", "5"]].concat());
    assert!(number(&found, "/polynomial_agreement") >= 0.95, "{found}");
    assert_eq!(number(&found, "/refit/degrees/repaired"), 2.0);
}

#[test]
fn answers_are_released_with_a_proof_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    done(f, &["compile", &shipped("lola.onnx"), "-o", "m.loom"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    done(f, &["encrypt", "m.manifest", "--secret", "s.key", &shipped("samples/digit-3.png"), "-o", "in.ct"]);
    done(f, &["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "out.ct"]);
    let decrypt = ["decrypt", "m.manifest", "--secret", "s.key", "out.ct"];
    let whole = done(f, &decrypt);
    assert_eq!((&whole["class"], &whole["trusted"]), (&3.into(), &true.into()));
    let label = done(f, &[&decrypt[..], &["--label-only"]].concat());
    assert_eq!(label["class"], 3);
    assert!(label.get("scores").is_none() && label.get("probabilities").is_none(), "{label}");
    for how in ["round", "flood"] {
        // Nothing is proved of lola's error.
        let (code, refused) = json(f, &[&decrypt[..], &["--release", how]].concat());
        assert_eq!(code, 4, "{refused}");
        let what = refused["what"].as_str().unwrap();
        assert!(what.contains("cannot be released") && what.contains("inf"), "{refused}");
        assert!(refused["remedy"].as_str().unwrap().contains("holder of the secret key"), "{refused}");
    }
}

#[test]
fn features_of_a_linear_layer_are_released_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let lola = shipped("lola.onnx");
    done(f, &["compile", &lola, "--output", "bn1", "--precision", "24", "-o", "m.loom"]);
    done(f, &["keygen", "m.manifest", "--secret", "s.key", "--keys", "e.keys"]);
    done(f, &["encrypt", "m.manifest", "--secret", "s.key", &shipped("samples/digit-3.png"), "-o", "in.ct"]);
    done(f, &["run", "m.loom", "--keys", "e.keys", "in.ct", "-o", "out.ct"]);
    let decrypt = ["decrypt", "m.manifest", "--secret", "s.key", "out.ct"];
    let scores = |found: &Value| -> Vec<f64> {
        found["scores"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let bare = scores(&done(f, &decrypt));
    let rounded = scores(&done(f, &[&decrypt[..], &["--release", "round"]].concat()));
    let steps: Vec<f64> = (4..12).map(|k| f64::exp2(-f64::from(k))).collect();
    let on = |step: &f64| rounded.iter().all(|v| (v / step).fract() == 0.0);
    let step = steps.into_iter().find(on).expect("all scores are multiples of a step");
    assert!(rounded.iter().zip(&bare).all(|(r, b)| (r - b).abs() <= step), "{step}: {rounded:?} {bare:?}");
    // 2^28 below the scores would take more bits than a base prime has.
    let (code, refused) = json(f, &[&decrypt[..], &["--release", "flood"]].concat());
    assert_eq!(code, 4, "{refused}");
}

#[test]
fn few_data_choose_no_degree_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (model, samples) = (shipped("lenet5-relu.onnx"), shipped("samples"));
    let arguments = ["compile", &model, "--calibrate", &samples, "--stop-after", "activation"];
    let out = cipherloom(folder.path(), &arguments);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("not chosen by data: 10 samples are fewer than 50"), "{said}");
}
