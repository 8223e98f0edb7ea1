//! What the client gets in place of the model: how to encrypt, which keys to make, how to read the answer.
//!
//! Promises: a pure function of the circuit (a `.loom` alone yields it) that holds no weight and no geometry of
//! the network beyond the layouts of inputs and outputs and the list of keys.

use crate::circuit::{Circuit, ClientStep, Forecast, InputSpec, OutputSpec, Preprocessing, RangeCertificate};
use crate::container::{Container, Kind, in_memory};
use crate::digest::Digest;
use crate::format::{FormatError, decode, encode};
use crate::interpret::{OutputBound, TraceError, WorstError, output_bounds};
use crate::layout::{Layout, LayoutId};
use crate::scheme::{KeySpec, Level, Parameters};
use crate::verify::{LawError, entry, value_types};
use serde::{Deserialize, Serialize};

/// The client's description of a circuit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model.
    pub name: String,
    /// The circuit that this describes.
    pub circuit: Digest,
    /// Encryption parameters.
    pub parameters: Parameters,
    /// Evaluation keys to make, in the order in which the circuit numbers them.
    pub keys: Vec<KeySpec>,
    /// What to encrypt, in order.
    pub inputs: Vec<ManifestInput>,
    /// What comes back, in order.
    pub outputs: Vec<ManifestOutput>,
    /// Calibrated ranges.
    pub certificate: Vec<RangeCertificate>,
    /// Predicted cost.
    pub forecast: Forecast,
}

/// An input tensor, encrypted at the top level and its canonical scale `2^log_scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestInput {
    /// ONNX name.
    pub name: String,
    /// Where its elements go; `layout.ciphertexts` ciphertexts are sent.
    pub layout: Layout,
    /// From raw data to slot values.
    pub preprocessing: Preprocessing,
    /// Values the circuit was made for, `[min, max]` after preprocessing.
    pub range: [f64; 2],
}

/// An output tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestOutput {
    /// ONNX name.
    pub name: String,
    /// Where its elements stand; `layout.ciphertexts` ciphertexts come back.
    pub layout: Layout,
    /// Level of its ciphertexts; their scale is the canonical one of that level, exactly.
    pub level: Level,
    /// The decrypted slots are multiplied by this.
    pub scale: f64,
    /// Range certificate `[min, max]`.
    pub range: [f64; 2],
    /// Bound of every element's error, for inputs inside their ranges; infinite (null in JSON) unless it is proved that
    /// none of them makes the output wrap around. See [`output_bounds`].
    pub worst_error: WorstError,
    /// Class names, empty or one per element.
    pub labels: Vec<String>,
    /// Steps of the model that are left to the client.
    pub client_steps: Vec<ClientStep>,
}

const DESCRIPTION: u32 = 1;
const RAISED: u32 = 2;

impl Manifest {
    /// The manifest of a circuit; an error only if the circuit breaks a law or is a draft.
    pub fn of(circuit: &Circuit) -> Result<Manifest, TraceError> {
        let types = value_types(circuit)?;
        let layout = |id: LayoutId| entry("layout", &circuit.layouts, id.0).cloned();
        let input = |input: &InputSpec| -> Result<ManifestInput, LawError> {
            Ok(ManifestInput {
                name: input.name.clone(),
                layout: layout(input.layout)?,
                preprocessing: input.preprocessing.clone(),
                range: input.range,
            })
        };
        let bounds = output_bounds(circuit)?;
        let output = |(output, bound): (&OutputSpec, &OutputBound)| -> Result<ManifestOutput, LawError> {
            let first = output.values.first().map_or(u32::MAX, |v| v.0);
            Ok(ManifestOutput {
                name: output.name.clone(),
                layout: layout(output.layout)?,
                level: entry("value", &types, first)?.level,
                scale: output.scale,
                range: output.range,
                worst_error: bound.proved(),
                labels: output.labels.clone(),
                client_steps: output.client_steps.clone(),
            })
        };
        Ok(Manifest {
            name: circuit.name.clone(),
            circuit: circuit.digest(),
            parameters: circuit.parameters.clone(),
            keys: circuit.keys.clone(),
            inputs: circuit.inputs.iter().map(input).collect::<Result<_, _>>()?,
            outputs: circuit.outputs.iter().zip(&bounds).map(output).collect::<Result<_, _>>()?,
            certificate: circuit.certificate.clone(),
            forecast: circuit.forecast,
        })
    }

    /// Images that one input holds, and one output.
    pub fn batch(&self) -> u32 {
        self.inputs.first().map_or(1, |input| input.layout.batch)
    }

    /// The manifest's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let raised = &self.parameters.raised;
        let description = encode(&Manifest { parameters: self.parameters.without_raised(), ..self.clone() });
        let raised = (!raised.is_empty()).then(|| encode(raised));
        let mut sections = vec![(DESCRIPTION, &description[..])];
        sections.extend(raised.as_deref().map(|bytes| (RAISED, bytes)));
        in_memory(Kind::Manifest, Some(self.circuit), &sections)
    }

    /// Reads a manifest's file; nothing is verified yet but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let container = Container::read(bytes, Kind::Manifest)?;
        let description = container.section(DESCRIPTION)?;
        let mut manifest: Manifest = decode("manifest", description)?;
        if container.header().sections.len() > 1 {
            manifest.parameters.raised = decode("primes of mod-raise", container.section(RAISED)?)?;
        }
        container.header().belongs_to(&manifest.circuit)?;
        if manifest.to_bytes() != bytes {
            return Err(FormatError::NotCanonical { what: "manifest" });
        }
        Ok(manifest)
    }
}
