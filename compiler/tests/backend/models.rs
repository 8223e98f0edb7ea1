//! The shipped models: circuits mean their graphs, and cost what the snapshots say.

use crate::{check, figures, nets};
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::frontend::{LoadOptions, load};
use cipherloom_compiler::graph::TensorGraph;
use cipherloom_compiler::stages::Stage;
use cipherloom_compiler::{
    Bootstrapping, CompileError, CompileOptions, Compiled, Packing, Purpose, Watch, account, compile,
    compile_watched,
};
use cipherloom_ir::Forecast;
use std::path::PathBuf;

const SHIPPED: [&str; 5] = ["lola", "mlp", "cryptonets", "lenet", "lenet5-relu"];

/// The shipped models, each with its circuit.
fn shipped(packing: Packing) -> Vec<(&'static str, Compiled)> {
    let one = |name: &'static str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../models/{name}.onnx"));
        let graph = load(&path, &LoadOptions::default()).expect(name).graph;
        (name, check(&graph, &CompileOptions { packing, ..nets::options() }))
    };
    SHIPPED.map(one).into()
}

fn all_figures(circuits: &[(&str, Compiled)]) -> String {
    circuits.iter().map(|(name, compiled)| figures(name, compiled)).collect()
}

/// What the fixed profile predicts of each circuit.
fn forecasts(circuits: &[(&str, Compiled)]) -> String {
    let mut out = String::from("run: cargo test -p cipherloom-compiler --test backend saturated_models\n");
    for (name, compiled) in circuits {
        let Forecast {
            seconds, memory_bytes, key_bytes, upload_bytes, download_bytes, precision_bits, ..
        } = compiled.circuit.forecast;
        let account = account(&compiled.circuit, &CostModel::of_circuit(&nets::profile(), &compiled.circuit));
        let parts = account.expect(name).memory.parts();
        assert_eq!(parts.iter().map(|p| p.1).sum::<u64>(), memory_bytes, "{name}: parts are the whole");
        out += &format!(
            "{name}: {seconds} s, {memory_bytes} bytes of memory, {key_bytes} bytes of keys, {upload_bytes} up, \
             {download_bytes} down, {precision_bits:.2} bits\n"
        );
        parts.iter().for_each(|(what, bytes)| out += &format!("  {bytes:>12} {what}\n"));
    }
    out
}

#[test]
fn shipped_models_mean_their_graphs() {
    insta::assert_snapshot!("shipped_by_dynamic_program", all_figures(&shipped(Packing::DynamicProgram)));
}

#[test]
fn saturated_models_mean_their_graphs() {
    let circuits = shipped(Packing::Saturated);
    insta::assert_snapshot!("shipped_saturated", all_figures(&circuits));
    insta::assert_snapshot!("shipped_forecasts", forecasts(&circuits));
}

#[test]
fn the_multiplexed_baseline_means_the_same() {
    insta::assert_snapshot!("shipped_multiplexed", all_figures(&shipped(Packing::Multiplexed)));
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
        let never = CompileOptions { bootstrapping: Bootstrapping::Never, ..nets::options() };
        let refused = compile(&graph, &never);
        assert!(matches!(refused, Err(CompileError::NeedsBootstrapping { .. })), "{refused:?}");
    }
}
