//! Reading whole files within a bound, and writing files that are never seen half-written.

use crate::error::{Error, Kind};
use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;

/// Largest file that is read whole (models and circuits).
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
    let mut bytes = Vec::new();
    let mut source: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(path).map_err(|e| Error::io(path, &e))?),
    };
    source.by_ref().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, &e))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let what = format!("is larger than {MAX_FILE_BYTES} bytes");
        return Err(Error::new(Kind::BadInput, path.display(), what));
    }
    Ok(bytes)
}

/// Writes through `fill` under a temporary name beside `path` and renames; on failure nothing is left behind.
/// `-` is standard output.
pub fn write(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), Error>,
) -> Result<(), Error> {
    let io = |e: std::io::Error| unwritable(path, &e);
    if path.as_os_str() == "-" {
        let mut whole = Cursor::new(Vec::new());
        fill(&mut whole)?;
        let mut out = std::io::stdout().lock();
        return out.write_all(whole.get_ref()).and_then(|()| out.flush()).map_err(io);
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
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Writes bytes; see [`write()`].
pub fn write_bytes(path: &Path, access: Access, bytes: &[u8]) -> Result<(), Error> {
    write(path, access, |out| out.write_all(bytes).map_err(|e| unwritable(path, &e)))
}

/// The error of a failed write.
pub fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Resources, path.display(), format!("cannot be written: {error}"))
        .remedy("choose another path with --output, or free space")
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
