//! What the client reads off decrypted outputs.
//!
//! Scores are for the holder of the secret key: they carry CKKS noise, which depends on the key, and are not made for
//! publication.

use cipherloom_ir::{ClientStep, ManifestOutput};

/// A decrypted output tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// ONNX name of the output.
    pub name: String,
    /// Shape without the batch axis.
    pub shape: Vec<u32>,
    /// Raw outputs in row-major order, before the steps that the model leaves to the client.
    pub values: Vec<f64>,
    /// Softmax of the values, if the model ends with it.
    pub probabilities: Option<Vec<f64>>,
    /// Index of the largest value, the first of equals.
    pub class: usize,
    /// Its name, if the model has labels.
    pub label: Option<String>,
}

/// Interprets the decrypted elements of an output.
pub(crate) fn scores(output: &ManifestOutput, values: Vec<f64>) -> Scores {
    let class = (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best });
    let softmax_wanted = output.client_steps.contains(&ClientStep::Softmax);
    Scores {
        name: output.name.clone(),
        shape: output.layout.shape.clone(),
        probabilities: softmax_wanted.then(|| softmax(&values)),
        class,
        label: output.labels.get(class).cloned(),
        values,
    }
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|v| libm::exp(v - largest)).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / total).collect()
}
