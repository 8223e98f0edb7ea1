//! A trained ResNet-20 across its bootstraps: CIFAR-10 test images encrypted, against the circuit's exact meaning, the
//! clear model and the labels.
//!
//! `cargo bench --bench resnet20 -- [--images 10] [--record]` (needs the data folder, 14 GiB of memory and about
//! a minute per image without AVX-512); rows go to `benches/results/resnet20.json`. Activations are of degree 7, calibrated on the first
//! 300 training images.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its rows and stops at the first surprise"
)]

#[allow(dead_code, reason = "each bench uses its part of the harness")]
mod harness;

use cipherloom::compiler::CompileOptions;
use cipherloom::ir::{Exact, Op, Preprocessing};
use cipherloom::{Model, data, session};
use harness::{Arguments, Row};
use serde_json::json;
use std::time::Instant;

const CALIBRATION_IMAGES: usize = 300;
const DEGREE: u32 = 7;
/// Encrypted images without `--images`.
const IMAGES: usize = 10;
/// Images of the exact meaning and of the clear model.
const EXACT_IMAGES: usize = 200;

fn main() {
    let arguments = Arguments::parse();
    let Some(folder) = harness::data() else {
        println!("skipped: no data folder (set CIPHERLOOM_DATA)");
        return;
    };
    let mut model = Model::open(folder.join("models/resnet20_cifar10_folded.onnx")).unwrap();
    let [mean, std] = [vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]];
    model.set_preprocessing(Preprocessing { scale: 1.0 / 255.0, mean, std }).unwrap();
    let read = |file: &str| data::read(&folder.join("cifar10").join(file), &model.input_shape()).unwrap();
    let (mut training, mut test) = (read("cifar10_train_7044.npz"), read("cifar10_test_first761.npz"));
    training.truncate(CALIBRATION_IMAGES);
    test.truncate(EXACT_IMAGES);
    let labels = test.labels.clone().unwrap();
    model.calibrate(&training.samples).unwrap();

    let options = CompileOptions { activation_degree: DEGREE, ..CompileOptions::default() };
    let compiled = model.compile(&options).unwrap();
    let circuit = compiled.circuit.clone();
    let exact = Exact::new(&circuit).unwrap();
    let expected: Vec<Vec<f64>> =
        test.samples.iter().map(|s| session::exact_scores(&circuit, &exact, s).unwrap()).collect();
    let clear: Vec<usize> = test.samples.iter().map(|s| argmax(&model.clear_scores(s).unwrap())).collect();

    let client = session::client("resnet20", compiled.manifest.clone()).unwrap();
    let secret = client.generate_secret().unwrap();
    let start = Instant::now();
    let keys = session::evaluation_keys(&client, &secret).unwrap();
    let keygen_s = start.elapsed().as_secs_f64();
    let key_bytes: usize = keys.iter().map(|key| key.memory_bytes()).sum();
    let mut server = session::Server::new("resnet20", compiled.circuit, keys, Default::default()).unwrap();
    server.prepare().unwrap();

    let (mut seconds, mut classes, mut largest, mut span) = (vec![], vec![], 0f64, 0f64);
    for (sample, wanted) in test.samples.iter().zip(&expected).take(arguments.count.unwrap_or(IMAGES)) {
        let (encrypted, _) = session::encrypt(&client, &secret, std::slice::from_ref(sample)).unwrap();
        let input = server.receive(encrypted).unwrap();
        let start = Instant::now();
        let (answer, _) = server.run(&input, 1, None).unwrap();
        seconds.push(start.elapsed().as_secs_f64());
        let scores = session::decrypt(&client, &secret, answer).unwrap().remove(0).remove(0);
        let errors = scores.values.iter().zip(wanted).map(|(a, b)| (a - b).abs());
        largest = errors.fold(largest, f64::max);
        let [low, high] = [f64::min, f64::max].map(|pick| wanted.iter().copied().reduce(pick).unwrap());
        span = span.max(high - low);
        println!("image {}: class {}, {:.1} s", classes.len(), scores.class, seconds[seconds.len() - 1]);
        classes.push(scores.class);
    }

    let right = |classes: &[usize]| {
        let right = classes.iter().zip(&labels).filter(|(class, label)| **class == **label as usize).count();
        100.0 * right as f64 / classes.len() as f64
    };
    let exact: Vec<usize> = expected.iter().map(|scores| argmax(scores)).collect();
    let agree = classes.iter().zip(&exact).filter(|(a, b)| a == b).count();
    let bootstraps = circuit.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count();
    let more = json!({
        "images": classes.len(), "encrypted_accuracy_percent": right(&classes),
        "agree_with_exact": agree, "largest_error_percent_of_span": 100.0 * largest / span,
        "exact_images": EXACT_IMAGES, "exact_accuracy_percent": right(&exact), "clear_accuracy_percent": right(&clear),
        "degree": DEGREE, "calibration_images": CALIBRATION_IMAGES, "log_qp": compiled.report.log_qp,
        "bootstraps": bootstraps, "compile_s": compiled.compile_seconds,
        "keygen_s": keygen_s, "key_bytes": key_bytes, "peak_gib": harness::peak_gib(),
        "forecast_s": circuit.forecast.seconds,
    });
    let rows = [Row {
        name: "resnet20_cifar10_run_s".into(),
        value: harness::median(seconds),
        unit: "s",
        threads: rayon::current_num_threads(),
        more,
    }];
    rows.iter().for_each(harness::print);
    harness::finish(&arguments, "resnet20", &rows);
}

fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
