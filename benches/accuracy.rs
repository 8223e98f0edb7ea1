//! 100 MNIST test images through every shipped model: encrypted answer against the clear model (tract) and against
//! the exact meaning of the same circuit; and the accuracy of that exact meaning on the whole test set. Beside these what
//! refitted layers keep of two models' accuracy, calibrated on 300 training images.
//!
//! `cargo bench --bench accuracy -- [MODEL | refit] [--record]` (needs the data folder); rows go to
//! `benches/results/accuracy.json`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::check::{Lowered, faithful, refitted};
use cipherloom::compiler::graph::{TensorGraph, evaluate};
use cipherloom::compiler::{CompileOptions, activation};
use cipherloom::ir::{Circuit, Exact, Preprocessing};
use cipherloom::{Compiled, Model, data, session, slot_values};
use harness::{Arguments, MODELS, Row, root};
use rayon::prelude::*;
use serde_json::json;
use std::time::Instant;

const IMAGES: usize = 100;
/// Training images that models with ReLU are calibrated on.
const CALIBRATION_IMAGES: usize = 300;

fn main() {
    let arguments = Arguments::parse();
    let Some(folder) = harness::data() else {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return;
    };
    let mut rows = Vec::new();
    for name in MODELS.into_iter().filter(|m| arguments.wants(m)) {
        let model = Model::open(root().join(format!("models/{name}.onnx"))).expect("a shipped model");
        let images = folder.join("mnist/t10k-images-idx3-ubyte.gz");
        let mut dataset = data::read(&images, &model.input_shape()).expect("MNIST");
        let labels =
            data::read_labels(&folder.join("mnist/t10k-labels-idx1-ubyte.gz")).expect("MNIST labels");
        let compiled = model.compile(&CompileOptions::default()).expect("a circuit");
        rows.push(exact_accuracy(name, &compiled.circuit, &dataset, &labels));
        dataset.samples.truncate(IMAGES);
        rows.extend(measure(name, &model, compiled, &dataset));
    }
    if arguments.wants("refit") {
        let mnist = |file: &str| folder.join("mnist").join(file);
        let relu = Model::open(root().join("models/lenet5-relu.onnx")).unwrap();
        let labelled = |images: &str, labels: &str, shape: &[u32]| {
            let mut dataset = data::read(&mnist(images), shape).unwrap();
            dataset.label(data::read_labels(&mnist(labels)).unwrap(), &mnist(labels)).unwrap();
            dataset
        };
        let shape = relu.input_shape();
        let training = labelled("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", &shape);
        let test = labelled("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", &shape);
        rows.push(refit("lenet5_relu", relu, training, &test));
        let mut resnet = Model::open(folder.join("models/resnet20_cifar10_folded.onnx")).unwrap();
        let [mean, std] = [vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]];
        resnet.set_preprocessing(Preprocessing { scale: 1.0 / 255.0, mean, std }).unwrap();
        let cifar = |file: &str| data::read(&folder.join("cifar10").join(file), &[3, 32, 32]).unwrap();
        let (training, test) = (cifar("cifar10_train_7044.npz"), cifar("cifar10_test_first761.npz"));
        rows.push(refit("resnet20_cifar10", resnet, training, &test));
    }
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "accuracy", &rows);
}

/// Right answers of the polynomials behind refitted layers, percent of the test images; beside them those of the model and of polynomials
/// alone.
fn refit(name: &str, mut model: Model, mut training: data::Dataset, test: &data::Dataset) -> Row {
    training.truncate(CALIBRATION_IMAGES);
    model.calibrate(&training.samples).unwrap();
    let degree = faithful(&model, &training).unwrap().expect("enough samples").degree;
    let labels = test.labels.as_deref().expect("labels");
    let right = |graph: &TensorGraph| {
        let score = |s: &data::Sample| slot_values(s, &model.preprocessing(), &model.input_shape());
        let class = |s: &data::Sample| argmax(&evaluate::scores(graph, &score(s)));
        let classes: Vec<usize> = test.samples.par_iter().map(class).collect();
        let right = classes.iter().zip(labels).filter(|(c, l)| **c == **l as usize).count();
        100.0 * right as f64 / labels.len() as f64
    };
    let polynomials = |graph: &TensorGraph| right(&activation::lower(graph, degree).unwrap().0);
    let forecast = |model: &Model| {
        let options = CompileOptions { activation_degree: degree, ..CompileOptions::default() };
        model.compile(&options).unwrap().circuit.forecast.seconds
    };
    let (own, alone, before_s) = (right(model.graph()), polynomials(model.graph()), forecast(&model));
    let same = refitted(&model, &training, degree, Lowered::Never).unwrap();
    let same = same.map(|same| polynomials(same.graph()));
    let start = Instant::now();
    let refitted = refitted(&model, &training, degree, Lowered::Tried).unwrap().expect("as good as before");
    let (refit_s, degrees) = (start.elapsed().as_secs_f64(), refitted.degrees);
    let value = polynomials(refitted.graph());
    model.take_refitted(refitted);
    let more = json!({
        "images": labels.len(), "calibration_images": CALIBRATION_IMAGES, "model_percent": own, "polynomials_alone_percent": alone,
        "same_degree_percent": same, "degree": degree, "degree_repaired": degrees.repaired, "refit_s": refit_s,
        "forecast_alone_s": before_s, "forecast_s": forecast(&model),
    });
    Row {
        name: format!("{name}_refitted_accuracy"),
        value,
        unit: "%",
        threads: rayon::current_num_threads(),
        more,
    }
}

/// Correct classes of the exact meaning, percent of the whole test set.
fn exact_accuracy(name: &str, circuit: &Circuit, dataset: &data::Dataset, labels: &[u32]) -> Row {
    let exact = Exact::new(circuit).expect("an exact meaning");
    let input = &circuit.inputs[0];
    let shape = &circuit.layout(input.layout).shape;
    let slots = |s: &data::Sample| vec![slot_values(s, &input.preprocessing, shape)];
    let mut correct = 0;
    for (samples, labels) in dataset.samples.chunks(500).zip(labels.chunks(500)) {
        let batch: Vec<Vec<Vec<f64>>> = samples.iter().map(slots).collect();
        let outputs = exact.run_batch(circuit, &batch).expect("exact scores");
        correct += outputs.iter().zip(labels).filter(|(o, label)| argmax(&o[0]) == **label as usize).count();
    }
    let images = dataset.samples.len();
    Row {
        name: format!("{}_exact_accuracy", name.replace('-', "_")),
        value: 100.0 * correct as f64 / images as f64,
        unit: "%",
        threads: rayon::current_num_threads(),
        more: json!({ "images": images }),
    }
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |b, i| if values[i] > values[b] { i } else { b })
}

fn measure(name: &str, model: &Model, compiled: Compiled, dataset: &data::Dataset) -> Vec<Row> {
    let exact = Exact::new(&compiled.circuit).expect("an exact meaning");
    let client = session::client(name, compiled.manifest.clone()).expect("a client");
    let secret = client.generate_secret().expect("a secret key");
    let keys = session::evaluation_keys(&client, &secret).expect("evaluation keys");
    let log_qp = compiled.report.log_qp;
    let circuit = compiled.circuit.clone();
    let mut server =
        session::Server::new(name, compiled.circuit, keys, Default::default()).expect("a server");
    let (mut agree, mut error_max, mut span, mut largest) = (0, 0f64, 0f64, 0f64);
    for sample in &dataset.samples {
        let (encrypted, _) =
            session::encrypt(&client, &secret, std::slice::from_ref(sample)).expect("an encryption");
        let input = server.receive(encrypted).expect("ciphertexts");
        let (answer, _) = server.run(&input, 1, None).expect("an answer");
        let scores = session::decrypt(&client, &secret, answer).expect("scores").remove(0).remove(0);
        let clear = model.clear_scores(sample).expect("clear scores");
        let clear: Vec<f64> = clear.into_iter().map(f64::from).collect();
        agree += usize::from(argmax(&clear) == scores.class);
        let wanted = session::exact_scores(&circuit, &exact, sample).expect("exact scores");
        let low = wanted.iter().copied().fold(f64::INFINITY, f64::min);
        let high = wanted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        span = span.max(high - low);
        largest = largest.max(high.abs()).max(low.abs());
        for (a, b) in scores.values.iter().zip(&wanted) {
            error_max = error_max.max((a - b).abs());
        }
    }
    let name = name.replace('-', "_");
    let more = json!({
        "images": dataset.samples.len(), "max_logit_error": error_max, "logit_span": span, "largest_logit": largest,
        "log_n": circuit.parameters.log_n, "log_qp": log_qp,
    });
    let row = |what: &str, value, unit| Row {
        name: format!("{name}_{what}"),
        value,
        unit,
        threads: rayon::current_num_threads(),
        more: more.clone(),
    };
    vec![
        row("agree", agree as f64, "images"),
        row("precision_bits", -(error_max / largest).log2(), "bits"),
        row("logit_error_percent", 100.0 * error_max / span, "%"),
    ]
}
