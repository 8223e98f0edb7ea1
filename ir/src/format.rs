//! File bytes of circuits.
//!
//! A `.loom` is a container of kind *circuit* with two sections: the description (postcard of the structs in
//! [`file`]) and the weights (all tensors' values, 32-bit floats, little endian, in table order); a circuit that
//! bootstraps has a third, with the request and the primes above the chain. Promises: a
//! circuit whose values are numbered in order comes back equal; a file is accepted only if it is the one that
//! [`Circuit::to_bytes`] writes for its circuit, so its digest is the circuit's digest; memory stays within a
//! small multiple of the file, save for products of plans, which are bounded by name.

mod file;
mod products;

use crate::circuit::Circuit;
use crate::container::{Container, ContainerError, Kind, in_memory};
use crate::digest::Digest;
use crate::verify::bounds::MAX_DIAGONALS;
use file::{FileBootstrap, FileCircuit};
use thiserror::Error;

const DESCRIPTION: u32 = 1;
const WEIGHTS: u32 = 2;
const BOOTSTRAP: u32 = 3;

/// Why bytes are not a circuit or manifest.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The container is not sound.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A section does not decode.
    #[error("the {what} does not decode: {reason}")]
    Decode {
        /// Which part.
        what: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Bytes are left over.
    #[error("the {what} is followed by {bytes} surplus bytes")]
    Surplus {
        /// Which part.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// The weight section has not the size that the shapes say.
    #[error("the tensors' shapes ask for {expected} bytes of weights, the file has {found}")]
    Weights {
        /// Bytes that the shapes ask for.
        expected: u64,
        /// Bytes present.
        found: u64,
    },
    /// A product list names something outside its plan.
    #[error("the product list of a plan leaves its index space of {space}")]
    Products {
        /// Number of possible products.
        space: u64,
    },
    /// The plans list too many products.
    #[error("the plans list more than {MAX_DIAGONALS} products")]
    TooManyProducts,
    /// The nodes define too many values.
    #[error("the nodes define more values than can be numbered")]
    TooManyValues,
    /// The bytes decode, but are not how this circuit is written.
    #[error("the {what} is not in canonical form")]
    NotCanonical {
        /// Which part.
        what: &'static str,
    },
}

impl Circuit {
    /// The circuit's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let description = encode(&FileCircuit::of(self));
        let mut weights = Vec::with_capacity(4 * self.tensors.iter().map(|t| t.values.len()).sum::<usize>());
        for value in self.tensors.iter().flat_map(|t| &t.values) {
            weights.extend(value.to_le_bytes());
        }
        let bootstrap = FileBootstrap::of(self).as_ref().map(encode);
        let mut sections = vec![(DESCRIPTION, &description[..]), (WEIGHTS, &weights)];
        sections.extend(bootstrap.as_deref().map(|bytes| (BOOTSTRAP, bytes)));
        in_memory(Kind::Circuit, None, &sections)
    }

    /// Reads a circuit's file; nothing is verified yet but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Circuit, FormatError> {
        let container = Container::read(bytes, Kind::Circuit)?;
        let sections = container.header().sections.len();
        if !(2..=3).contains(&sections) || container.header().circuit.is_some() {
            return Err(FormatError::NotCanonical { what: "section table" });
        }
        let description = container.section(DESCRIPTION)?;
        let file: FileCircuit = decode("description of the circuit", description)?;
        let mut circuit = file.into_circuit(container.section(WEIGHTS)?)?;
        if sections == 3 {
            let written = container.section(BOOTSTRAP)?;
            decode::<FileBootstrap>("bootstrapping of the circuit", written)?.join(&mut circuit);
            if FileBootstrap::of(&circuit).as_ref().map(encode).as_deref() != Some(written) {
                return Err(FormatError::NotCanonical { what: "bootstrapping of the circuit" });
            }
        }
        if encode(&FileCircuit::of(&circuit)) != description {
            return Err(FormatError::NotCanonical { what: "description of the circuit" });
        }
        Ok(circuit)
    }

    /// Digest of the circuit's file: what manifest, keys and ciphertexts are bound to.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }
}

/// Postcard bytes of a format struct.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data serialises to memory")
}

/// A format struct from all of these bytes.
pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, FormatError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(FormatError::Surplus { what, bytes: rest.len() }),
        Err(error) => Err(FormatError::Decode { what, reason: error.to_string() }),
    }
}
