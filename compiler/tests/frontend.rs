//! The frontend against tract: every operator on small models, whole models, and what is refused.

#[path = "frontend/circuits.rs"]
mod circuits;
#[path = "frontend/conformance.rs"]
mod conformance;
#[path = "frontend/external.rs"]
mod external;
#[path = "frontend/inline.rs"]
mod inline;
#[path = "frontend/models.rs"]
mod models;
#[path = "frontend/names.rs"]
mod names;
#[path = "frontend/onnx.rs"]
mod onnx;
#[path = "frontend/operators.rs"]
mod operators;
#[path = "frontend/refusals.rs"]
mod refusals;
#[path = "frontend/stages.rs"]
mod stages;
#[allow(dead_code, reason = "the bench counts by operator")]
#[path = "conformance/suite.rs"]
mod suite;
#[path = "frontend/wide.rs"]
mod wide;

use cipherloom_compiler::frontend::Model;
use cipherloom_compiler::graph::evaluate;
use ndarray::ArrayD;

/// A random input tensor for a model.
pub fn input(model: &Model, seed: u64) -> ArrayD<f32> {
    let shape = model.reference.input_shape().to_vec();
    let values = onnx::random(shape.iter().product(), seed + 1000);
    ArrayD::from_shape_vec(shape, values).expect("as many values as the shape has")
}

/// Our meaning of the graph equals tract's of the file, up to `tolerance` of the largest score (at least 1).
#[track_caller]
pub fn agrees(model: &Model, x: &ArrayD<f32>, tolerance: f64) {
    let theirs = model.reference.run(x).expect("tract evaluates what it loaded");
    let flat: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let ours = evaluate::scores(&model.graph, &flat);
    assert_eq!(ours.len(), theirs.len(), "number of scores");
    let largest = ours.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (k, (a, b)) in ours.iter().zip(theirs.iter()).enumerate() {
        let error = (a - f64::from(*b)).abs();
        assert!(error <= tolerance * largest, "score {k}: ours {a}, tract's {b}");
    }
}
