//! What the client reads off decrypted outputs.
//!
//! Scores are for the holder of the secret key: they carry CKKS noise, which depends on the key, and are not made for
//! publication.

use cipherloom_ir::{ClientStep, ManifestOutput};

/// A score may leave the certified range by this part of the range's width before the answer is doubted: calibration has
/// widened the range already, and what images of the calibrated kind add to that is small.
const ALARM_MARGIN: f64 = 0.25;

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
    /// Set where a value lies beyond the output's certified range, with a margin: the answer is not to be trusted.
    pub alarm: Option<Alarm>,
}

/// A decrypted value that the circuit was not made for: the input was of another kind than the calibration data, left
/// its range, or was not what the server computed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Row-major index of the first such element.
    pub index: usize,
    /// The certified range.
    pub range: [f64; 2],
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [low, high] = self.range;
        let index = self.index;
        write!(
            f,
            "do not trust this answer: score {index} lies outside [{low}, {high}], the range that the circuit was made for"
        )
    }
}

/// The alarm of an output whose range is certified. It is raised after decryption, so that nothing of it reaches the
/// server.
fn alarm(output: &ManifestOutput, values: &[f64]) -> Option<Alarm> {
    let [low, high] = output.range;
    let margin = ALARM_MARGIN * (high - low);
    let certified = margin > 0.0 && margin.is_finite();
    let fits = |v: &f64| (low - margin..=high + margin).contains(v);
    let index = values.iter().position(|v| !fits(v)).filter(|_| certified)?;
    Some(Alarm { index, range: output.range })
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
        alarm: alarm(output, &values),
        values,
    }
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|v| libm::exp(v - largest)).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / total).collect()
}
