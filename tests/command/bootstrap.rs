//! A network that no leveled parameters are long enough for: compiled with bootstraps, or refused where they are forbidden.

use crate::deep_cnn::deep_cnn;
use crate::{cipherloom, done, json};

#[test]
fn deep_networks_are_bootstrapped_unless_that_is_forbidden() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deep.onnx"), deep_cnn(20)).unwrap();
    let (code, refused) = json(folder.path(), &["compile", "--bootstrap", "never", "deep.onnx"]);
    assert_eq!((code, refused["kind"].as_str()), (4, Some("unsupported-model")), "{refused}");
    let (what, remedy) = (refused["what"].to_string(), refused["remedy"].to_string());
    assert!(what.contains("needs bootstrapping") && what.contains("--bootstrap never"), "{refused}");
    assert!(remedy.contains("leave that out"), "{refused}");
    // Precision that a network of random weights does not have is refused with what there is.
    let (code, refused) = json(folder.path(), &["compile", "--precision", "25", "deep.onnx"]);
    assert_eq!(code, 4, "{refused}");
    assert!(refused["what"].to_string().contains("best: "), "{refused}");

    let compiled = done(folder.path(), &["compile", "--precision", "5", "deep.onnx"]);
    let told = compiled["choices"].to_string();
    assert!(told.contains("bootstraps, "), "{told}");
    let inspected = done(folder.path(), &["inspect", "deep.loom"]);
    assert!(inspected["bootstrap"]["count"].as_u64() >= Some(3), "{inspected}");
    let text = String::from_utf8(cipherloom(folder.path(), &["inspect", "deep.loom"]).stdout).unwrap();
    assert!(text.contains("usable levels: ") && text.contains("keys against time: no curve"), "{text}");
}
