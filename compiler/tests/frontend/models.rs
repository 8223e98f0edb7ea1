//! Whole models: the shipped ones, and third-party ones where the data folder has them.

use crate::{agrees, input};
use cipherloom_compiler::frontend::{LoadOptions, Model, load};
use cipherloom_compiler::graph::{Function, Kind};
use cipherloom_compiler::{CompileOptions, Purpose, compile};
use cipherloom_ir::Exact;
use std::path::PathBuf;

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn shipped(name: &str) -> Model {
    load(&workspace().join("models").join(format!("{name}.onnx")), &LoadOptions::default()).expect(name)
}

/// A third-party model, if the data folder is there.
fn third_party(name: &str) -> Option<PathBuf> {
    let data =
        std::env::var_os("CIPHERLOOM_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    let path = data.join("models").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is absent (set CIPHERLOOM_DATA)", path.display());
        return None;
    }
    Some(path)
}

/// The kinds of a graph's nodes, one letter each, with their names.
fn sketch(model: &Model) -> String {
    let line = |id| {
        let node = model.graph.node(id);
        let kind = match &node.kind {
            Kind::Input => "input".to_owned(),
            Kind::Linear { operators, bias, .. } => {
                let bias = if bias.is_some() { "+b" } else { "" };
                format!("linear[{}]{bias}", operators.len())
            }
            Kind::Elementwise(Function::Square) => "square".to_owned(),
            Kind::Elementwise(Function::Exact(a)) => format!("{a:?}"),
            other => format!("{other:?}"),
        };
        format!("{} {kind} {:?}", node.name, node.shape)
    };
    model.graph.order().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_models_agree_with_tract() {
    for name in ["lola", "mlp", "cryptonets", "lenet", "lenet5-relu"] {
        let model = shipped(name);
        for seed in 0..3 {
            agrees(&model, &input(&model, seed), 1e-4);
        }
        let every = model.graph.order().all(|id| model.graph.node(id).range.is_some());
        assert!(every, "{name}: a tensor has no range");
        assert_eq!(model.graph.outputs[0].labels.len(), 10);
    }
}

#[test]
fn shipped_models_become_small_graphs() {
    let all = ["lola", "mlp", "cryptonets", "lenet", "lenet5-relu"];
    let sketches: Vec<String> = all.iter().map(|n| format!("{n}\n{}\n", sketch(&shipped(n)))).collect();
    insta::assert_snapshot!(sketches.join("\n"));
}

#[test]
fn resnet20_agrees_with_tract_in_both_forms() {
    for name in ["resnet20_cifar10_folded.onnx", "resnet20_cifar10_bn.onnx"] {
        let Some(path) = third_party(name) else { return };
        let model = load(&path, &LoadOptions::default()).expect(name);
        for seed in 0..2 {
            agrees(&model, &input(&model, seed), 1e-4);
        }
        let relus =
            model.graph.order().filter(|id| matches!(model.graph.node(*id).kind, Kind::Elementwise(_)));
        assert_eq!(relus.count(), 19, "{name}");
        insta::assert_snapshot!(name, sketch(&model));
    }
}

#[test]
fn opt_mnist_agrees_with_tract_up_to_its_max_pooling() {
    let Some(path) = third_party("wonnx_opt-mnist.onnx") else { return };
    let options = LoadOptions { output: Some("ReLU32_Output_0".into()), ..LoadOptions::default() };
    let model = load(&path, &options).expect("what stands before the first MaxPool is supported");
    for seed in 0..2 {
        agrees(&model, &input(&model, seed), 1e-4);
    }
    let absent = LoadOptions { output: Some("no such tensor".into()), ..LoadOptions::default() };
    let error = load(&path, &absent).expect_err("there is no such tensor");
    assert!(error.to_string().contains("no such tensor"), "{error}");
    let draft = CompileOptions { purpose: Purpose::Draft, ..CompileOptions::default() };
    let circuit = compile(&model.graph, &draft).expect("a draft").circuit;
    let x = input(&model, 7);
    let image: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let exact = Exact::new(&circuit).expect("an exact meaning");
    let ours = exact.run(&circuit, &[image]).expect("values").remove(0);
    let theirs = model.reference.run(&x).expect("tract evaluates what it loaded");
    let largest = theirs.iter().fold(1f32, |m, v| m.max(v.abs()));
    for (a, b) in ours.iter().zip(theirs.iter()) {
        assert!((a - f64::from(*b)).abs() <= 1e-4 * f64::from(largest), "{a} instead of {b}");
    }
}

#[test]
fn opt_mnist_agrees_with_tract_through_its_max_pooling() {
    let Some(path) = third_party("wonnx_opt-mnist.onnx") else { return };
    let model = load(&path, &LoadOptions::default()).expect("maxima are rounds of Relus");
    for seed in 0..2 {
        agrees(&model, &input(&model, seed), 1e-4);
    }
    insta::assert_snapshot!(model.notes.join("\n"));
}
