//! Reading whole files within a bound, and writing files that are never seen half-written.

use crate::error::{Error, Kind};
use std::io::{Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Largest file, and largest unpacked content of one, that is read whole.
pub const MAX_FILE_BYTES: u64 = 1 << 31;

/// Who may read a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The default of the system.
    Shared,
    /// Its owner alone.
    Owner,
}

/// Where a file is written to: forwards, and back to fill in a header.
pub trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// Reads a file whole; `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_whole(path).map_err(|e| Error::io(path, &e))
}

/// [`read`] with the system's error; what is larger than [`MAX_FILE_BYTES`] is `FileTooLarge`.
pub(crate) fn read_whole(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match path.as_os_str() == "-" {
        true => std::io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
        false => std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let what = format!("is larger than {MAX_FILE_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Refuses a list of inputs, or of outputs, in which `-` stands twice: each stream carries one file.
pub fn one_stream(paths: &[&Path]) -> Result<(), Error> {
    match paths.iter().filter(|p| p.as_os_str() == "-").count() > 1 {
        true => Err(Error::new(Kind::Usage, "-", "a standard stream is named for two files at once")
            .remedy("give each but one its own path")),
        false => Ok(()),
    }
}

/// A file that is written but does not have its name yet; dropped, it disappears.
#[must_use = "a file that is not persisted disappears"]
pub struct Pending {
    place: PathBuf,
    content: Content,
}

enum Content {
    /// A temporary file in the same folder.
    Temporary(tempfile::NamedTempFile),
    /// Bytes for standard output, a device or a pipe.
    Stream(Vec<u8>),
}

impl Pending {
    /// Bytes that were written.
    pub fn bytes(&self) -> Result<u64, Error> {
        match &self.content {
            Content::Stream(bytes) => Ok(bytes.len() as u64),
            Content::Temporary(file) => {
                file.as_file().metadata().map(|m| m.len()).map_err(|e| unwritable(&self.place, &e))
            }
        }
    }

    /// Gives the file its name, replacing what had it.
    pub fn persist(self) -> Result<(), Error> {
        let path = &self.place;
        match self.content {
            Content::Temporary(file) => file.persist(path).map(drop).map_err(|e| unwritable(path, &e.error)),
            Content::Stream(bytes) if path.as_os_str() == "-" => {
                let mut out = std::io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush()).map_err(|e| unwritable(path, &e))
            }
            Content::Stream(bytes) => std::fs::write(path, bytes).map_err(|e| unwritable(path, &e)),
        }
    }
}

/// Writes through `fill` under a temporary name beside `path`; `-` is standard output, and what exists and is not a
/// regular file (a pipe, a device) is written to as it is.
pub fn prepare(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), Error>,
) -> Result<Pending, Error> {
    let io = |e: std::io::Error| unwritable(path, &e);
    let place = path.to_path_buf();
    let special = std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
    if special || path.as_os_str() == "-" {
        let mut whole = Cursor::new(Vec::new());
        fill(&mut whole)?;
        return Ok(Pending { place, content: Content::Stream(whole.into_inner()) });
    }
    if path.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".cipherloom-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = if access == Access::Owner { 0o600 } else { 0o644 };
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    let mut file = builder.tempfile_in(folder).map_err(io)?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 20, file.as_file_mut());
    fill(&mut buffered)?;
    buffered.flush().map_err(io)?;
    drop(buffered);
    file.as_file().sync_all().map_err(io)?;
    Ok(Pending { place, content: Content::Temporary(file) })
}

/// [`prepare`] and give the file its name.
pub fn write(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), Error>,
) -> Result<(), Error> {
    prepare(path, access, fill)?.persist()
}

/// Refuses a list of paths in which two name the same file; `-` may stand more than once.
pub fn distinct(paths: &[&Path]) -> Result<(), Error> {
    let real = |p: &Path| {
        std::fs::canonicalize(p).or_else(|_| {
            let folder = p.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::canonicalize(folder).map(|f| f.join(p.file_name().unwrap_or_default()))
        })
    };
    let real: Vec<Option<PathBuf>> =
        paths.iter().map(|p| real(p).ok().filter(|_| p.as_os_str() != "-")).collect();
    for (k, path) in real.iter().enumerate() {
        if path.is_some() && real[..k].contains(path) {
            let what = "is named for two things at once; one would overwrite the other";
            return Err(Error::new(Kind::Usage, paths[k].display(), what).remedy("give each its own path"));
        }
    }
    Ok(())
}

/// [`prepare`] for bytes at hand.
pub fn prepare_bytes(path: &Path, access: Access, bytes: &[u8]) -> Result<Pending, Error> {
    prepare(path, access, |out| out.write_all(bytes).map_err(|e| unwritable(path, &e)))
}

/// Writes bytes; see [`write()`].
pub fn write_bytes(path: &Path, access: Access, bytes: &[u8]) -> Result<(), Error> {
    prepare_bytes(path, access, bytes)?.persist()
}

/// The error of a failed write.
pub fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    // The kind alone: the full text would name the temporary file.
    Error::new(Kind::Resources, path.display(), format!("cannot be written: {}", error.kind()))
        .remedy("choose another path, or free space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let failed = write(&path, Access::Shared, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::new(Kind::Internal, "x", "y"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_bytes(&path, Access::Owner, b"whole").unwrap();
        assert_eq!(read(&path).unwrap(), b"whole");
        assert!(write_bytes(&folder.path().join("no/such/folder"), Access::Shared, b"").is_err());
    }
}
