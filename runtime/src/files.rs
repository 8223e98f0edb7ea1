//! What the server reads and writes: evaluation keys and encrypted inputs in, encrypted outputs out.
//!
//! Containers of `ir`, one section per key or ciphertext, its tag being its place in the circuit's order, with the
//! engine's checked payloads inside. Every file must carry the digest of the circuit it is used with.

use cipherloom_ckks::wire::{self, WireError};
use cipherloom_ckks::{Ciphertext, Context, EvaluationKey, KeyShape};
use cipherloom_ir::container::{Container, ContainerError, ContainerReader, ContainerWriter, Kind};
use cipherloom_ir::{Circuit, Digest};
use std::io::{Read, Seek, Write};

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The container is not sound, or belongs to another circuit.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A payload is not sound.
    #[error("{what} {index}: {source}")]
    Payload {
        /// "evaluation key" or "ciphertext".
        what: &'static str,
        /// Place in the file.
        index: usize,
        /// Why.
        source: WireError,
    },
    /// The file holds another number of things than the circuit lists.
    #[error("holds {found} {what}s, the circuit has {wanted}")]
    Count {
        /// "evaluation key" or "ciphertext".
        what: &'static str,
        /// The circuit's number.
        wanted: usize,
        /// The file's number.
        found: usize,
    },
    /// A key that does not fit its place in the circuit's key table.
    #[error("evaluation key {index}: {found:?} was found instead of {wanted:?}")]
    Shape {
        /// Position in the key table.
        index: usize,
        /// What the file holds there.
        found: KeyShape,
        /// What the circuit lists there.
        wanted: KeyShape,
    },
    /// Sections that are not numbered in order.
    #[error("section {index} carries the number {tag}; the file was not written by `cipherloom`")]
    Order {
        /// Place in the file.
        index: usize,
        /// Its tag.
        tag: u32,
    },
}

const KEY: &str = "evaluation key";
const CIPHERTEXT: &str = "ciphertext";

/// Reads the evaluation keys of a circuit, one at a time, expanding their uniform halves.
pub fn read_keys<R: Read + Seek>(
    stream: R,
    circuit: &Circuit,
    digest: &Digest,
    context: &Context,
) -> Result<Vec<EvaluationKey>, FileError> {
    let mut file = KeyFile::open(stream, circuit, digest)?;
    let mut keys = Vec::with_capacity(circuit.keys.len());
    for (index, spec) in circuit.keys.iter().enumerate() {
        let bytes = file.bytes(context, index, &crate::keys::key_shape(context, spec))?;
        keys.push(payload(KEY, index, &bytes, |input| wire::read_evaluation_key(context, input))?);
    }
    Ok(keys)
}

/// A file of evaluation keys whose header and order have been checked against a circuit.
pub(crate) struct KeyFile<R>(ContainerReader<R>);

impl<R: Read + Seek> KeyFile<R> {
    pub(crate) fn open(stream: R, circuit: &Circuit, digest: &Digest) -> Result<KeyFile<R>, FileError> {
        let file = ContainerReader::open(stream, Kind::EvaluationKeys)?;
        file.header().belongs_to(digest)?;
        check_sections(file.header(), KEY, circuit.keys.len())?;
        Ok(KeyFile(file))
    }

    /// The payload of a key, whose checksum holds.
    pub(crate) fn bytes(
        &mut self,
        context: &Context,
        index: usize,
        shape: &KeyShape,
    ) -> Result<Vec<u8>, FileError> {
        // A payload is the shape, the seed and the residues; the slack covers its own small header.
        let limit = wire::evaluation_key_bytes(context, shape) as u64 + 256;
        Ok(self.0.read_section(index, limit)?)
    }

    /// Checks all that reading this key would, and that it is of this shape.
    pub(crate) fn check(
        &mut self,
        context: &Context,
        index: usize,
        shape: &KeyShape,
    ) -> Result<(), FileError> {
        let bytes = self.bytes(context, index, shape)?;
        let found = payload(KEY, index, &bytes, |input| wire::check_evaluation_key(context, input))?;
        of_shape(index, &found, shape)
    }
}

/// The key of a payload.
pub(crate) fn key_of(
    context: &Context,
    index: usize,
    shape: &KeyShape,
    bytes: &[u8],
) -> Result<EvaluationKey, FileError> {
    let key = payload(KEY, index, bytes, |input| wire::read_evaluation_key(context, input))?;
    of_shape(index, key.shape(), shape)?;
    Ok(key)
}

fn of_shape(index: usize, found: &KeyShape, wanted: &KeyShape) -> Result<(), FileError> {
    match found == wanted {
        true => Ok(()),
        false => Err(FileError::Shape { index, found: *found, wanted: *wanted }),
    }
}

/// Reads the encrypted inputs of a circuit: for each input its ciphertexts.
pub fn read_inputs(
    bytes: &[u8],
    circuit: &Circuit,
    digest: &Digest,
    context: &Context,
) -> Result<Vec<Vec<Ciphertext>>, FileError> {
    let file = Container::read(bytes, Kind::EncryptedInput)?;
    file.header().belongs_to(digest)?;
    let counts: Vec<usize> =
        circuit.inputs.iter().map(|i| circuit.layout(i.layout).ciphertexts as usize).collect();
    check_sections(file.header(), CIPHERTEXT, counts.iter().sum())?;
    let sections = &file.header().sections;
    let mut ciphertexts = sections.iter().enumerate().map(|(index, section)| {
        let bytes = file.bytes_of(section)?;
        payload(CIPHERTEXT, index, bytes, |input| wire::read_ciphertext(context, input))
    });
    counts.iter().map(|&n| ciphertexts.by_ref().take(n).collect()).collect()
}

/// Writes the encrypted outputs of a circuit: for each output its ciphertexts.
pub fn write_outputs<W: Write + Seek>(
    out: W,
    digest: &Digest,
    context: &Context,
    outputs: &[Vec<Ciphertext>],
) -> Result<W, FileError> {
    let all: Vec<&Ciphertext> = outputs.iter().flatten().collect();
    let mut file = ContainerWriter::new(out, Kind::EncryptedOutput, Some(*digest), all.len() as u32)?;
    for (index, ciphertext) in all.into_iter().enumerate() {
        let mut bytes = Vec::with_capacity(wire::ciphertext_bytes(context, ciphertext.limbs(), 2));
        wire::write_ciphertext(context, ciphertext, &mut bytes).map_err(|source| FileError::Payload {
            what: CIPHERTEXT,
            index,
            source,
        })?;
        file.write_section(index as u32, &bytes)?;
    }
    Ok(file.finish()?)
}

fn check_sections(
    header: &cipherloom_ir::container::Header,
    what: &'static str,
    wanted: usize,
) -> Result<(), FileError> {
    let found = header.sections.len();
    if found != wanted {
        return Err(FileError::Count { what, wanted, found });
    }
    match header.sections.iter().enumerate().find(|(i, s)| s.tag as usize != *i) {
        Some((index, section)) => Err(FileError::Order { index, tag: section.tag }),
        None => Ok(()),
    }
}

fn payload<T>(
    what: &'static str,
    index: usize,
    bytes: &[u8],
    read: impl FnOnce(&mut &[u8]) -> Result<T, WireError>,
) -> Result<T, FileError> {
    let mut input = bytes;
    let value = read(&mut input).and_then(|v| wire::expect_end(&mut input).map(|()| v));
    value.map_err(|source| FileError::Payload { what, index, source })
}
