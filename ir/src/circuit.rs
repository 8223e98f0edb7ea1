//! A circuit: tables of described data and a list of nodes in topological order.

use crate::digest::Digest;
use crate::layout::{Layout, LayoutId};
use crate::map::{LinearMap, MapId, Tensor, TensorId};
use crate::op::{Op, ValueId};
use crate::scheme::{BootstrapRequest, KeySpec, Parameters};
use serde::{Deserialize, Serialize};

/// One operation and the values it defines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// First value it defines; it defines `results` consecutive ones.
    pub first: ValueId,
    /// Number of values it defines (1, or a plan's outputs).
    pub results: u32,
    /// Index into [`Circuit::origins`]: which layer of the model this belongs to.
    pub origin: u32,
}

/// How raw input elements become slot values: `(x · scale − mean[c]) / std[c]`, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Factor on the raw value (1/255 for bytes).
    pub scale: f64,
    /// Mean per channel (one entry: all channels).
    pub mean: Vec<f64>,
    /// Standard deviation per channel (one entry: all channels).
    pub std: Vec<f64>,
}

impl Preprocessing {
    /// Channels of a tensor of this shape: the first axis of an image or feature map; a plain vector has one.
    pub fn channels(shape: &[u32]) -> usize {
        if shape.len() > 1 { shape[0] as usize } else { 1 }
    }

    /// Slot values of raw elements in row-major order. The lists have one entry or one per channel of `shape`.
    pub fn apply(&self, shape: &[u32], values: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
        let plane = (values.len() / Preprocessing::channels(shape).max(1)).max(1);
        let of = |list: &[f64], channel: usize| if list.len() == 1 { list[0] } else { list[channel] };
        let one = |(k, x): (usize, f64)| {
            let channel = k / plane;
            (x * self.scale - of(&self.mean, channel)) / of(&self.std, channel)
        };
        values.enumerate().map(one).collect()
    }
}

/// An input tensor of the circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// ONNX name.
    pub name: String,
    /// Where the client puts its elements.
    pub layout: LayoutId,
    /// From raw data to slot values.
    pub preprocessing: Preprocessing,
    /// Values the circuit was made for, `[min, max]` after preprocessing.
    pub range: [f64; 2],
}

/// What the client does with the decrypted scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientStep {
    /// Softmax over the flattened output.
    Softmax,
    /// Index of the largest element.
    ArgMax,
}

/// An output tensor of the circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// ONNX name.
    pub name: String,
    /// Where its elements stand.
    pub layout: LayoutId,
    /// One value per ciphertext of the layout.
    pub values: Vec<ValueId>,
    /// The decrypted slots are multiplied by this (1 unless a normalisation was left to the client).
    pub scale: f64,
    /// Range certificate `[min, max]` of the outputs.
    pub range: [f64; 2],
    /// Class names, empty or one per element.
    pub labels: Vec<String>,
    /// Steps of the model that are left to the client.
    pub client_steps: Vec<ClientStep>,
}

/// Range that a tensor of the model was calibrated on; values beyond it void the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RangeCertificate {
    /// ONNX tensor name.
    pub tensor: String,
    /// `[min, max]`.
    pub range: [f64; 2],
}

/// What the compiler predicts before anything is run.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Forecast {
    /// Evaluation time on one thread of the profile's machine.
    pub seconds: f64,
    /// Peak memory of the evaluating process.
    pub memory_bytes: u64,
    /// Evaluation keys on disk.
    pub key_bytes: u64,
    /// Encrypted input.
    pub upload_bytes: u64,
    /// Encrypted output.
    pub download_bytes: u64,
    /// −log2(largest output error / largest output), on average, for inputs encrypted with the secret key.
    pub precision_bits: f64,
    /// The same for inputs encrypted with a public key, whose noise is √(4N/3) times larger.
    pub public_key_precision_bits: f64,
    /// Digest of the cost profile by which the circuit was chosen and its time predicted.
    pub profile: Option<Digest>,
}

/// A homomorphic circuit. Only `Verified` circuits are run.
#[derive(Clone, Debug, PartialEq)]
pub struct Circuit {
    /// Name of the model.
    pub name: String,
    /// Encryption parameters.
    pub parameters: Parameters,
    /// How its bootstraps work; `None` where it has none.
    pub bootstrap: Option<BootstrapRequest>,
    /// Evaluation keys that it uses, sorted, no duplicates.
    pub keys: Vec<KeySpec>,
    /// Weight tensors.
    pub tensors: Vec<Tensor>,
    /// Layouts.
    pub layouts: Vec<Layout>,
    /// Linear maps.
    pub maps: Vec<LinearMap>,
    /// Inputs.
    pub inputs: Vec<InputSpec>,
    /// Layer names that nodes refer to.
    pub origins: Vec<String>,
    /// Operations in topological order.
    pub nodes: Vec<Node>,
    /// Outputs.
    pub outputs: Vec<OutputSpec>,
    /// Calibrated ranges.
    pub certificate: Vec<RangeCertificate>,
    /// Predicted cost.
    pub forecast: Forecast,
}

impl Circuit {
    /// A circuit of this name for these parameters, without anything else.
    pub(crate) fn empty(name: &str, parameters: Parameters) -> Circuit {
        Circuit {
            name: name.to_owned(),
            parameters,
            bootstrap: None,
            keys: vec![],
            tensors: vec![],
            layouts: vec![],
            maps: vec![],
            inputs: vec![],
            origins: vec![],
            nodes: vec![],
            outputs: vec![],
            certificate: vec![],
            forecast: Forecast::default(),
        }
    }

    /// Slots of one ciphertext.
    pub fn slots(&self) -> usize {
        self.parameters.slots()
    }
    /// A layout of this circuit. Ids come from the circuit itself, so a foreign id is a bug of the caller.
    pub fn layout(&self, id: LayoutId) -> &Layout {
        &self.layouts[id.0 as usize]
    }
    /// A linear map of this circuit.
    pub fn map(&self, id: MapId) -> &LinearMap {
        &self.maps[id.0 as usize]
    }
    /// A weight tensor of this circuit.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }
    /// Number of values that the nodes define.
    pub fn values(&self) -> usize {
        self.nodes.last().map_or(0, |n| (n.first.0 + n.results) as usize)
    }
}
