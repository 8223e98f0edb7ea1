//! Writing containers: sections as they come, the header last.

use super::{ContainerError, Header, Kind, MAX_SECTIONS, Section, checksum, header_bytes};
use crate::digest::Digest;
use std::io::{Cursor, Seek, SeekFrom, Write};

/// Writes a container; the number of sections is announced first, so that their place is known.
#[derive(Debug)]
pub struct ContainerWriter<W> {
    header: Header,
    announced: u32,
    position: u64,
    stream: W,
}

impl<W: Write + Seek> ContainerWriter<W> {
    /// Starts a file of this kind with `sections` sections, bound to a circuit unless it is one.
    pub fn new(
        mut stream: W,
        kind: Kind,
        circuit: Option<Digest>,
        sections: u32,
    ) -> Result<ContainerWriter<W>, ContainerError> {
        if sections > MAX_SECTIONS {
            return Err(ContainerError::Sections { found: sections });
        }
        let place = vec![0; header_bytes(sections as usize)];
        stream.write_all(&place)?;
        let header = Header { kind, circuit, sections: vec![] };
        Ok(ContainerWriter { header, announced: sections, position: place.len() as u64, stream })
    }

    /// Appends a section.
    pub fn write_section(&mut self, tag: u32, bytes: &[u8]) -> Result<(), ContainerError> {
        let (announced, written) = (self.announced, self.header.sections.len() as u32 + 1);
        if written > announced {
            return Err(ContainerError::Announced { announced, written });
        }
        self.stream.write_all(bytes)?;
        let section =
            Section { tag, offset: self.position, length: bytes.len() as u64, checksum: checksum(bytes) };
        self.position += section.length;
        self.header.sections.push(section);
        Ok(())
    }

    /// Writes the header and gives the stream back, flushed, at its end.
    pub fn finish(mut self) -> Result<W, ContainerError> {
        let (announced, written) = (self.announced, self.header.sections.len() as u32);
        if written != announced {
            return Err(ContainerError::Announced { announced, written });
        }
        self.stream.rewind()?;
        self.stream.write_all(&self.header.bytes())?;
        self.stream.seek(SeekFrom::Start(self.position))?;
        self.stream.flush()?;
        Ok(self.stream)
    }
}

/// A whole container in memory.
pub(crate) fn in_memory(kind: Kind, circuit: Option<Digest>, sections: &[(u32, &[u8])]) -> Vec<u8> {
    let write = || -> Result<Vec<u8>, ContainerError> {
        let mut writer = ContainerWriter::new(Cursor::new(vec![]), kind, circuit, sections.len() as u32)?;
        for (tag, bytes) in sections {
            writer.write_section(*tag, bytes)?;
        }
        Ok(writer.finish()?.into_inner())
    };
    write().expect("memory takes what is written, and callers write a handful of sections")
}
