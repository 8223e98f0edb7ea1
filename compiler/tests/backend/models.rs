//! The shipped models: circuits mean their graphs, and cost what the snapshots say.

use crate::{check, figures, nets};
use cipherloom_compiler::frontend::{LoadOptions, load};
use cipherloom_compiler::graph::TensorGraph;
use cipherloom_compiler::stages::Stage;
use cipherloom_compiler::{CompileError, CompileOptions, Packing, Purpose, Watch, compile, compile_watched};
use std::path::PathBuf;

const SHIPPED: [&str; 5] = ["lola", "mlp", "cryptonets", "lenet", "lenet5-relu"];

fn shipped(packing: Packing) -> String {
    let one = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../models/{name}.onnx"));
        let graph = load(&path, &LoadOptions::default()).expect(name).graph;
        figures(name, &check(&graph, &CompileOptions { packing, ..nets::options() }))
    };
    SHIPPED.map(one).concat()
}

#[test]
fn shipped_models_mean_their_graphs() {
    insta::assert_snapshot!("shipped_by_dynamic_program", shipped(Packing::DynamicProgram));
}

#[test]
fn saturated_models_mean_their_graphs() {
    insta::assert_snapshot!("shipped_saturated", shipped(Packing::Saturated));
}

#[test]
fn the_multiplexed_baseline_means_the_same() {
    insta::assert_snapshot!("shipped_multiplexed", shipped(Packing::Multiplexed));
}

/// What rescale saves on each shipped model.
#[test]
fn rescale_is_never_worse_than_the_emission() {
    let mut text = String::from("run: cargo test -p cipherloom-compiler --test backend rescale_is_never\n");
    for name in SHIPPED {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../models/{name}.onnx"));
        let graph = load(&path, &LoadOptions::default()).expect(name).graph;
        let watch = Watch { print: [Stage::Emission, Stage::Rescale].into(), stop: Some(Stage::Rescale) };
        let texts = compile_watched(&graph, &nets::options(), &watch).expect(name).texts;
        let lines = texts.values().map(|t| t.lines().last().unwrap_or_default().to_owned());
        let lines: Vec<String> = lines.collect();
        let us = |line: &str| {
            let number = line.trim_start_matches("cost: ").split(' ').next().unwrap_or_default();
            number.parse::<u64>().expect("a line of costs starts with microseconds")
        };
        assert!(us(&lines[1]) <= us(&lines[0]), "{name}: {lines:?}");
        text += &format!("{name}\n  emitted {}\n  rewritten {}\n", lines[0], lines[1]);
    }
    insta::assert_snapshot!("shipped_rescale", text);
}

/// ResNet-20 for CIFAR-10 from elsewhere, if the data folder is there.
fn resnet(form: &str) -> Option<TensorGraph> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("CIPHERLOOM_DATA").map_or(folder, PathBuf::from);
    let path = data.join(format!("models/resnet20_cifar10_{form}.onnx"));
    if !path.exists() {
        eprintln!("skipped: {} is absent (set CIPHERLOOM_DATA)", path.display());
        return None;
    }
    Some(load(&path, &LoadOptions::default()).expect(form).graph)
}

#[test]
fn resnet_drafts_mean_their_graphs() {
    for form in ["folded", "bn"] {
        let Some(graph) = resnet(form) else { continue };
        let draft = check(&graph, &CompileOptions { purpose: Purpose::Draft, ..nets::options() });
        insta::assert_snapshot!(format!("resnet20_{form}"), figures(form, &draft));
        let refused = compile(&graph, &nets::options());
        assert!(matches!(refused, Err(CompileError::NeedsBootstrapping { .. })), "{refused:?}");
    }
}
