//! Reading containers, from memory or section by section from a seekable stream.

use super::{
    CHECKSUM_BYTES, ContainerError, ENTRY_BYTES, FIXED_BYTES, Header, Kind, MAX_SECTIONS, Section, VERSION,
    checksum, header_bytes,
};
use crate::digest::Digest;
use std::io::{Read, Seek, SeekFrom};

/// A container in memory with a checked header.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> Container<'a> {
    /// Checks the header of a file of this kind.
    pub fn read(bytes: &'a [u8], kind: Kind) -> Result<Container<'a>, ContainerError> {
        let size = bytes.len() as u64;
        let sections = section_count(bytes, kind, size)?;
        let header = parse_header(&bytes[..header_bytes(sections)], kind, size)?;
        Ok(Container { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The checked bytes of the only section with this tag.
    pub fn section(&self, tag: u32) -> Result<&'a [u8], ContainerError> {
        self.bytes_of(self.header.section(tag)?)
    }

    /// The checked bytes of a section of this container's table.
    pub fn bytes_of(&self, section: &Section) -> Result<&'a [u8], ContainerError> {
        let end = section.offset.saturating_add(section.length);
        let bytes = self
            .bytes
            .get(section.offset as usize..end as usize)
            .ok_or(ContainerError::Checksum { tag: section.tag })?;
        section.check(bytes)?;
        Ok(bytes)
    }
}

/// A container in a file or another seekable stream; holds the header only.
#[derive(Debug)]
pub struct ContainerReader<R> {
    header: Header,
    stream: R,
}

impl<R: Read + Seek> ContainerReader<R> {
    /// Checks the header of a file of this kind, reading no section.
    pub fn open(mut stream: R, kind: Kind) -> Result<ContainerReader<R>, ContainerError> {
        let size = stream.seek(SeekFrom::End(0))?;
        stream.rewind()?;
        let mut head = vec![0; FIXED_BYTES.min(size as usize)];
        stream.read_exact(&mut head)?;
        let sections = section_count(&head, kind, size)?;
        head.resize(header_bytes(sections), 0);
        stream.read_exact(&mut head[FIXED_BYTES..])?;
        Ok(ContainerReader { header: parse_header(&head, kind, size)?, stream })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The checked bytes of section `index` of the table, if it has at most `limit_bytes`.
    pub fn read_section(&mut self, index: usize, limit_bytes: u64) -> Result<Vec<u8>, ContainerError> {
        let missing = ContainerError::MissingSection { kind: self.header.kind, tag: index as u32 };
        let section = *self.header.sections.get(index).ok_or(missing)?;
        if section.length > limit_bytes {
            let (tag, found) = (section.tag, section.length);
            return Err(ContainerError::SectionSize { tag, found, limit: limit_bytes });
        }
        self.stream.seek(SeekFrom::Start(section.offset))?;
        let mut bytes = vec![0; section.length as usize];
        self.stream.read_exact(&mut bytes)?;
        section.check(&bytes)?;
        Ok(bytes)
    }
}

/// Checks magic and version in the fixed part, and that the file is long enough for its section table.
fn section_count(head: &[u8], kind: Kind, size: u64) -> Result<usize, ContainerError> {
    let truncated = |needed: usize| ContainerError::Truncated { needed: needed as u64, found: size };
    let Some(magic) = head.first_chunk::<8>() else {
        return Err(if kind.magic().starts_with(head) {
            truncated(FIXED_BYTES)
        } else {
            ContainerError::Magic { expected: kind }
        });
    };
    match Kind::of_magic(*magic) {
        Some(found) if found == kind => {}
        Some(found) => return Err(ContainerError::Kind { expected: kind, found }),
        None => return Err(ContainerError::Magic { expected: kind }),
    }
    let version = number4(head, 8).ok_or(truncated(FIXED_BYTES))?;
    if version != VERSION {
        return Err(ContainerError::Version { found: version });
    }
    let sections = number4(head, 12).ok_or(truncated(FIXED_BYTES))?;
    if sections > MAX_SECTIONS {
        return Err(ContainerError::Sections { found: sections });
    }
    let needed = header_bytes(sections as usize);
    if size < needed as u64 { Err(truncated(needed)) } else { Ok(sections as usize) }
}

/// Reads a header that is complete and of the right kind and version.
fn parse_header(head: &[u8], kind: Kind, size: u64) -> Result<Header, ContainerError> {
    let (body, sum) = head.split_at(head.len() - CHECKSUM_BYTES);
    if checksum(body) != *sum {
        return Err(ContainerError::HeaderChecksum);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&body[16..FIXED_BYTES]);
    let circuit = (digest != [0; 32]).then_some(Digest(digest));
    let mut end = head.len() as u64;
    let mut sections = vec![];
    for (index, entry) in body[FIXED_BYTES..].chunks_exact(ENTRY_BYTES).enumerate() {
        let section = parse_section(entry);
        let (offset, length) = (section.offset, section.length);
        match offset.checked_add(length) {
            Some(next) if offset == end && next <= size && entry[4..8] == [0; 4] => end = next,
            _ => return Err(ContainerError::Extent { index, offset, length, size }),
        }
        sections.push(section);
    }
    if end != size {
        return Err(ContainerError::Trailing { expected: end, found: size });
    }
    Ok(Header { kind, circuit, sections })
}

fn parse_section(entry: &[u8]) -> Section {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entry[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&entry[24..ENTRY_BYTES]);
    Section { tag: word(0) as u32, offset: word(8), length: word(16), checksum }
}

fn number4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}
