//! What the model says about its data: `cipherloom.input`, `cipherloom.ranges`, `cipherloom.std`.
//!
//! All three are JSON objects in the ONNX file's metadata_props, and optional. Promises: what is returned is
//! finite and consistent with itself; what is malformed is an error that names the key.

use super::error::FrontendError;
use crate::graph::Density;
use cipherloom_ir::Preprocessing;
use serde_json::Value;
use std::collections::BTreeMap;
use tract_onnx::pb::ModelProto;

const INPUT: &str = "cipherloom.input";
const RANGES: &str = "cipherloom.ranges";
const MOMENTS: &str = "cipherloom.std";

/// Factor on a raw byte when the model does not say.
const DEFAULT_SCALE: f64 = 1.0 / 255.0;

/// What the model's metadata say; empty where they are silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Axis order of the images that the model was described with (`NCHW`).
    pub layout: Option<String>,
    /// Shape of the input tensor, with the batch.
    pub shape: Option<Vec<usize>>,
    /// From raw data to tensor values.
    pub preprocessing: Option<Preprocessing>,
    /// Class names.
    pub labels: Vec<String>,
    /// `[min, max]` by tensor name.
    pub ranges: BTreeMap<String, [f64; 2]>,
    /// Mean and standard deviation by tensor name.
    pub moments: BTreeMap<String, Density>,
}

/// Values that a byte becomes when nothing is said: `[0, 1]`.
pub(super) fn default_preprocessing() -> Preprocessing {
    Preprocessing { scale: DEFAULT_SCALE, mean: vec![0.0], std: vec![1.0] }
}

impl Metadata {
    /// Reads the three keys.
    pub(super) fn read(model: &ModelProto) -> Result<Metadata, FrontendError> {
        let mut metadata = Metadata::default();
        for entry in &model.metadata_props {
            let key = entry.key.as_str();
            if ![INPUT, RANGES, MOMENTS].contains(&key) {
                continue;
            }
            let wrong = |reason: String| FrontendError::Metadata { key: key.to_owned(), reason };
            let value: Value =
                serde_json::from_str(&entry.value).map_err(|e| wrong(format!("not JSON ({e})")))?;
            match key {
                INPUT => metadata.read_input(&value).map_err(wrong)?,
                RANGES => metadata.ranges = by_tensor(&value, range).map_err(wrong)?,
                _ => metadata.moments = by_tensor(&value, moments).map_err(wrong)?,
            }
        }
        Ok(metadata)
    }

    fn read_input(&mut self, value: &Value) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Err("not a JSON object".to_owned()) };
        let mut preprocessing = default_preprocessing();
        for (field, value) in object {
            let named = |e: String| format!("`{field}` {e}");
            match field.as_str() {
                "layout" => self.layout = Some(layout(value).map_err(named)?),
                "shape" => self.shape = Some(shape(value).map_err(named)?),
                "scale" => preprocessing.scale = number(value).map_err(named)?,
                "mean" => preprocessing.mean = numbers(value).map_err(named)?,
                "std" => preprocessing.std = numbers(value).map_err(named)?,
                "labels" => self.labels = labels(value).map_err(named)?,
                _ => {
                    return Err(format!(
                        "unknown field `{field}`; known: layout, shape, scale, mean, std, labels"
                    ));
                }
            }
        }
        if preprocessing.scale == 0.0 || preprocessing.std.iter().any(|s| *s <= 0.0) {
            return Err("`scale` must not be 0 and every `std` must be positive".to_owned());
        }
        if preprocessing.mean.is_empty() || preprocessing.std.is_empty() {
            return Err("`mean` and `std` need one number, or one per channel".to_owned());
        }
        self.preprocessing = Some(preprocessing);
        Ok(())
    }

    /// The preprocessing for an input of this many channels.
    pub(super) fn preprocessing_for(&self, channels: usize) -> Result<Preprocessing, FrontendError> {
        let preprocessing = self.preprocessing.clone().unwrap_or_else(default_preprocessing);
        for (field, list) in [("mean", &preprocessing.mean), ("std", &preprocessing.std)] {
            if list.len() != 1 && list.len() != channels {
                return Err(FrontendError::Metadata {
                    key: INPUT.to_owned(),
                    reason: format!(
                        "`{field}` has {} numbers, the input has {channels} channels",
                        list.len()
                    ),
                });
            }
        }
        Ok(preprocessing)
    }

    /// The class names for an output of this many elements.
    pub(super) fn labels_for(&self, elements: usize) -> Result<Vec<String>, FrontendError> {
        if self.labels.is_empty() || self.labels.len() == elements {
            return Ok(self.labels.clone());
        }
        Err(FrontendError::Metadata {
            key: INPUT.to_owned(),
            reason: format!("{} labels for an output of {elements} elements", self.labels.len()),
        })
    }
}

fn number(value: &Value) -> Result<f64, String> {
    value.as_f64().filter(|v| v.is_finite()).ok_or_else(|| format!("must be a finite number, not {value}"))
}

fn numbers(value: &Value) -> Result<Vec<f64>, String> {
    match value {
        Value::Array(list) => list.iter().map(number).collect(),
        one => number(one).map(|v| vec![v]),
    }
}

fn layout(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(name @ ("NCHW" | "NC" | "NCW")) => Ok(name.to_owned()),
        _ => Err(format!("must be \"NCHW\" (the axis order of the ONNX input), not {value}")),
    }
}

fn shape(value: &Value) -> Result<Vec<usize>, String> {
    let dims = value.as_array().map(|list| list.iter().map(|v| v.as_u64().filter(|d| *d > 0)).collect());
    match dims {
        Some(Some(dims)) => {
            let dims: Vec<u64> = dims;
            Ok(dims.into_iter().map(|d| d as usize).collect())
        }
        _ => Err(format!("must be a list of positive integers, not {value}")),
    }
}

fn labels(value: &Value) -> Result<Vec<String>, String> {
    let one = |v: &Value| match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    let list: Option<Option<Vec<String>>> = value.as_array().map(|list| list.iter().map(one).collect());
    list.flatten().ok_or_else(|| "must be a list of strings".to_owned())
}

fn by_tensor<T>(
    value: &Value,
    read: fn(f64, f64) -> Result<T, String>,
) -> Result<BTreeMap<String, T>, String> {
    let Some(object) = value.as_object() else { return Err("not a JSON object".to_owned()) };
    let entry = |(name, value): (&String, &Value)| {
        let pair = numbers(value).ok().filter(|p| p.len() == 2);
        let Some(pair) = pair else {
            return Err(format!("tensor `{name}` needs a list of two finite numbers, not {value}"));
        };
        read(pair[0], pair[1]).map(|v| (name.clone(), v)).map_err(|e| format!("tensor `{name}`: {e}"))
    };
    object.iter().map(entry).collect()
}

fn range(min: f64, max: f64) -> Result<[f64; 2], String> {
    if min <= max { Ok([min, max]) } else { Err(format!("minimum {min} exceeds maximum {max}")) }
}

fn moments(mean: f64, std: f64) -> Result<Density, String> {
    if std >= 0.0 {
        Ok(Density { mean, std, histogram: Vec::new() })
    } else {
        Err(format!("standard deviation {std} is negative"))
    }
}
