//! `check` on MNIST for every shipped model: accuracies and agreement side by side, how well the simulation foretells
//! encrypted errors, and how many images it takes a minute; and a third-party network with max pools.
//!
//! `cargo bench --bench check -- [MODEL] [--record]` (needs the data folder); rows go to `benches/results/check.json`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::check::{Wanted, check};
use cipherloom::compiler::CompileOptions;
use cipherloom::ir::{Draw, Encryption, Noisy, Preprocessing};
use cipherloom::{Model, data, slot_values};
use harness::{Arguments, MODELS, Row, root};
use rayon::prelude::*;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

const IMAGES: usize = 1000;
const ENCRYPTED: usize = 20;
const TIMED: usize = 200;
/// The third-party network with max pools, its training images that give the ranges, and images that are encrypted.
const MAX_POOLS: &str = "opt-mnist";
const CALIBRATED: usize = 1000;
const ENCRYPTED_MAX_POOLS: usize = 100;

fn main() {
    let arguments = Arguments::parse();
    let Some(folder) = harness::data() else {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return;
    };
    let mut rows = Vec::new();
    for name in MODELS.into_iter().filter(|m| arguments.wants(m)) {
        let model = Model::open(root().join(format!("models/{name}.onnx"))).expect("a shipped model");
        let images = test_images(&folder, &model);
        rows.extend(measure(name, &model, &CompileOptions::default(), &images, ENCRYPTED));
    }
    if arguments.wants(MAX_POOLS) {
        rows.extend(max_pools(&folder));
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "check", &rows);
}

fn test_images(folder: &Path, model: &Model) -> data::Dataset {
    let images = folder.join("mnist/t10k-images-idx3-ubyte.gz");
    let mut dataset = data::read(&images, &model.input_shape()).expect("MNIST");
    let labels = folder.join("mnist/t10k-labels-idx1-ubyte.gz");
    dataset.label(data::read_labels(&labels).expect("labels"), &labels).expect("one label per image");
    dataset.truncate(IMAGES);
    dataset
}

/// A network that nobody here trained, with eight maxima in a row: its class on so many encrypted images is a row besides.
fn max_pools(folder: &Path) -> Vec<Row> {
    let mut model = Model::open(folder.join("models/wonnx_opt-mnist.onnx")).expect("a third-party model");
    let bytes = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    model.set_preprocessing(bytes).expect("its input is bytes");
    let training = folder.join("mnist/train-images-idx3-ubyte.gz");
    let training = data::read(&training, &model.input_shape()).expect("MNIST");
    model.calibrate(&training.samples[..CALIBRATED]).expect("ranges");
    let options = CompileOptions { activation_degree: 7, precision_bits: 7.0, ..CompileOptions::default() };
    let mut rows = measure(MAX_POOLS, &model, &options, &test_images(folder, &model), ENCRYPTED_MAX_POOLS);
    let encrypted = rows.iter().find(|r| r.name.ends_with("_check_encrypted")).expect("a row of measure");
    let agreement = Row { name: "opt_mnist_agreement".into(), ..encrypted.clone() };
    rows.push(agreement);
    rows
}

fn measure(
    name: &str,
    model: &Model,
    options: &CompileOptions,
    dataset: &data::Dataset,
    encrypted: usize,
) -> Vec<Row> {
    let wanted = Wanted { encrypted, draw: Draw(0) };
    let found = check(model, options, dataset, &wanted).expect("findings");
    let encrypted = found.encrypted.expect("encrypted images were wanted");
    let ratio = encrypted.simulated_max_logit_error / encrypted.error.max_logit_error;
    let share = |share: Option<f64>| 100.0 * share.expect("the data have labels");
    let more = json!({
        "images": found.images, "encrypted": encrypted, "problems": found.problems.len(),
        "polynomial_max_logit_error": found.polynomial_max_logit_error,
    });
    let name = name.replace('-', "_");
    let row = |what: &str, value: f64, unit| Row {
        name: format!("{name}_check_{what}"),
        value,
        unit,
        threads: rayon::current_num_threads(),
        more: more.clone(),
    };
    vec![
        row("clear", share(found.clear_accuracy), "%"),
        row("polynomial", share(found.polynomial_accuracy), "%"),
        row("simulated", share(found.simulated_accuracy), "%"),
        row("encrypted", 100.0 * encrypted.agree as f64 / encrypted.images as f64, "%"),
        row("simulated_over_encrypted", ratio, "ratio"),
        row("images_per_minute", simulated_per_minute(model, options, dataset), "images"),
    ]
}

/// Images that the noisy meaning alone takes a minute, on all threads.
fn simulated_per_minute(model: &Model, options: &CompileOptions, dataset: &data::Dataset) -> f64 {
    let compiled = model.compile(options).expect("a circuit");
    let circuit = &compiled.circuit;
    let noisy = Noisy::new(circuit, Encryption::SecretKey).expect("a noisy meaning");
    let (preprocessing, shape) = (model.preprocessing(), model.input_shape());
    let samples = &dataset.samples[..TIMED.min(dataset.samples.len())];
    let inputs: Vec<_> = samples.iter().map(|s| slot_values(s, &preprocessing, &shape)).collect();
    let start = Instant::now();
    let run = |(k, input): (usize, &Vec<f64>)| noisy.run(circuit, &[input], Draw(k as u64)).expect("scores");
    let outputs: Vec<_> = inputs.par_iter().enumerate().map(run).collect();
    60.0 * outputs.len() as f64 / start.elapsed().as_secs_f64()
}
