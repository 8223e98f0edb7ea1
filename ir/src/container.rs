//! The container around every file: magic, version, circuit digest, section table, checksums.
//!
//! All numbers are little endian. A file is
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic of the kind, `LOOM` and four letters |
//! | 4 | version (0) |
//! | 4 | number of sections |
//! | 32 | digest of the circuit that the file belongs to (zeros for a circuit itself) |
//! | 40 each | section: tag (4), reserved zero (4), offset (8), length (8), checksum (16) |
//! | 16 | checksum of all of the above |
//! | … | the sections, in table order, without gaps, to the end of the file |
//!
//! A checksum is BLAKE3 cut to 16 bytes: it finds accidents; authenticity is not promised. Promises: lengths are
//! checked against the real size before anything is allocated, and a section is returned only if its checksum
//! holds. What stands in a section is its owner's affair: payloads here are bytes.

mod read;
mod write;

use crate::digest::Digest;
pub use read::{Container, ContainerReader};
use std::fmt;
use thiserror::Error;
pub use write::ContainerWriter;
pub(crate) use write::in_memory;

/// The one version that this build reads and writes.
pub const VERSION: u32 = 0;
/// Most sections of a file: one per evaluation key and a few more.
pub const MAX_SECTIONS: u32 = 1 << 13;

const FIXED_BYTES: usize = 48;
const ENTRY_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 16;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A circuit with its weights, for the server.
    Circuit,
    /// A manifest, for the client.
    Manifest,
    /// A secret key; never leaves the client.
    SecretKey,
    /// A public key: whoever has it can encrypt for its circuit.
    PublicKey,
    /// Evaluation keys, for the server.
    EvaluationKeys,
    /// Encrypted inputs.
    EncryptedInput,
    /// Encrypted outputs.
    EncryptedOutput,
}

/// First bytes of a secret key's file under a passphrase, which is no container: it is sealed as a whole.
pub const SEALED_MAGIC: [u8; 8] = *b"LOOMSEAL";

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [
        Kind::Circuit,
        Kind::Manifest,
        Kind::SecretKey,
        Kind::PublicKey,
        Kind::EvaluationKeys,
        Kind::EncryptedInput,
        Kind::EncryptedOutput,
    ];

    /// First eight bytes of a file of this kind.
    pub fn magic(self) -> [u8; 8] {
        *match self {
            Kind::Circuit => b"LOOMCIRC",
            Kind::Manifest => b"LOOMMANI",
            Kind::SecretKey => b"LOOMSKEY",
            Kind::PublicKey => b"LOOMPKEY",
            Kind::EvaluationKeys => b"LOOMEKEY",
            Kind::EncryptedInput => b"LOOMEINP",
            Kind::EncryptedOutput => b"LOOMEOUT",
        }
    }

    /// The kind that starts with these bytes.
    pub fn of_magic(magic: [u8; 8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.magic() == magic)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Circuit => "circuit",
            Kind::Manifest => "manifest",
            Kind::SecretKey => "secret key",
            Kind::PublicKey => "public key",
            Kind::EvaluationKeys => "evaluation keys",
            Kind::EncryptedInput => "encrypted input",
            Kind::EncryptedOutput => "encrypted output",
        })
    }
}

/// An entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What the section is, in the numbering of its kind.
    pub tag: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    checksum: [u8; CHECKSUM_BYTES],
}

impl Section {
    /// Accepts the bytes read at this section's place, if they are what was written.
    pub fn check(&self, bytes: &[u8]) -> Result<(), ContainerError> {
        if bytes.len() as u64 == self.length && checksum(bytes) == self.checksum {
            Ok(())
        } else {
            Err(ContainerError::Checksum { tag: self.tag })
        }
    }
}

/// The checked beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the file holds.
    pub kind: Kind,
    /// The circuit that it belongs to, unless it is one.
    pub circuit: Option<Digest>,
    /// Its sections, in file order.
    pub sections: Vec<Section>,
}

impl Header {
    /// Refuses a file that belongs to another circuit.
    pub fn belongs_to(&self, circuit: &Digest) -> Result<(), ContainerError> {
        match self.circuit {
            Some(found) if found == *circuit => Ok(()),
            found => Err(ContainerError::Foreign { kind: self.kind, expected: *circuit, found }),
        }
    }

    /// The only section with this tag.
    pub fn section(&self, tag: u32) -> Result<&Section, ContainerError> {
        let mut matching = self.sections.iter().filter(|s| s.tag == tag);
        match (matching.next(), matching.next()) {
            (Some(section), None) => Ok(section),
            (None, _) => Err(ContainerError::MissingSection { kind: self.kind, tag }),
            (Some(_), Some(_)) => Err(ContainerError::RepeatedSection { kind: self.kind, tag }),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        out.extend(self.kind.magic());
        out.extend(VERSION.to_le_bytes());
        out.extend((self.sections.len() as u32).to_le_bytes());
        out.extend(self.circuit.map_or([0; 32], |d| d.0));
        for section in &self.sections {
            out.extend(section.tag.to_le_bytes());
            out.extend(0u32.to_le_bytes());
            out.extend(section.offset.to_le_bytes());
            out.extend(section.length.to_le_bytes());
            out.extend(section.checksum);
        }
        let sum = checksum(&out);
        out.extend(sum);
        out
    }
}

/// Bytes of a header with this many sections.
fn header_bytes(sections: usize) -> usize {
    FIXED_BYTES + sections * ENTRY_BYTES + CHECKSUM_BYTES
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut out = [0; CHECKSUM_BYTES];
    out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM_BYTES]);
    out
}

/// Why a file is refused.
#[derive(Debug, Error)]
pub enum ContainerError {
    /// Reading or writing failed.
    #[error("cannot read or write the file: {0}")]
    Io(#[from] std::io::Error),
    /// The file ends before its header does.
    #[error("the file is truncated: {found} bytes, its header needs {needed}")]
    Truncated {
        /// Bytes needed.
        needed: u64,
        /// Bytes present.
        found: u64,
    },
    /// Not a file of ours.
    #[error("not a Cipherloom file: expected {expected} (it would start with {:?})", String::from_utf8_lossy(&.expected.magic()))]
    Magic {
        /// What was wanted.
        expected: Kind,
    },
    /// A file of ours, of another kind.
    #[error("the file's kind is '{found}', expected '{expected}'")]
    Kind {
        /// What was wanted.
        expected: Kind,
        /// What the file holds.
        found: Kind,
    },
    /// A version that this build does not know.
    #[error("the file has format version {found}; this build reads version {VERSION}")]
    Version {
        /// Version of the file.
        found: u32,
    },
    /// Too many sections.
    #[error("the file claims {found} sections, at most {MAX_SECTIONS} are allowed")]
    Sections {
        /// Sections claimed.
        found: u32,
    },
    /// The header was damaged.
    #[error("the file's header is damaged (its checksum does not hold)")]
    HeaderChecksum,
    /// The section table and the file's size disagree.
    #[error("section {index} claims bytes {offset}+{length}, the file has {size} bytes")]
    Extent {
        /// Index in the table.
        index: usize,
        /// Claimed offset.
        offset: u64,
        /// Claimed length.
        length: u64,
        /// Size of the file.
        size: u64,
    },
    /// Bytes follow the last section.
    #[error("the file is {found} bytes long, its sections end at {expected}")]
    Trailing {
        /// End of the last section.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// A section was damaged.
    #[error("section {tag} of the file is damaged (its checksum does not hold)")]
    Checksum {
        /// Tag of the section.
        tag: u32,
    },
    /// A section that the kind needs is absent.
    #[error("{kind} without section {tag}")]
    MissingSection {
        /// Kind of the file.
        kind: Kind,
        /// Tag of the section.
        tag: u32,
    },
    /// A section stands twice.
    #[error("{kind} with section {tag} twice")]
    RepeatedSection {
        /// Kind of the file.
        kind: Kind,
        /// Tag of the section.
        tag: u32,
    },
    /// A section is longer than its reader allows.
    #[error("section {tag} has {found} bytes, at most {limit} are allowed")]
    SectionSize {
        /// Tag of the section.
        tag: u32,
        /// Its length.
        found: u64,
        /// The reader's limit.
        limit: u64,
    },
    /// The file belongs to another circuit.
    #[error("this {kind} file belongs to circuit {}, not to {}", .found.map_or("(none)".into(), |d| d.short()), .expected.short())]
    Foreign {
        /// Kind of the file.
        kind: Kind,
        /// The circuit at hand.
        expected: Digest,
        /// The circuit that the file names.
        found: Option<Digest>,
    },
    /// The writer was given more or fewer sections than announced.
    #[error("{written} sections written, {announced} announced")]
    Announced {
        /// Sections announced.
        announced: u32,
        /// Sections written.
        written: u32,
    },
}
