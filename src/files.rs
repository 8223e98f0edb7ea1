//! Reading whole files within a bound, and writing files that are never seen half-written. All outputs go through here:
//! none replaces a secret key.

mod target;
mod temporary;

use crate::error::{Error, Kind};
use cipherloom_client::SECRET_KEY_BYTES_MAX;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use target::Target;
use temporary::Temporary;
use zeroize::Zeroizing;

pub use target::{check, distinct, is_stdout, is_stream, one_stream};

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

/// What becomes of a file that has the name of a new secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the write is refused.
    Kept,
    /// It is replaced.
    Replaced,
}

/// Where a file is written to: forwards, and back to fill in a header.
pub trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// Reads a file whole; `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_whole(path).map_err(|e| Error::io(path, &e))
}

/// [`read`] with the system's error; what is larger than [`MAX_FILE_BYTES`] is `FileTooLarge`.
pub(crate) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match path.as_os_str() == "-" {
        true => io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
        false => File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let what = format!("is larger than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Reads a secret into memory that is wiped; of a file larger than [`SECRET_KEY_BYTES_MAX`], which is none, so many bytes.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(vec![0; SECRET_KEY_BYTES_MAX]);
    let mut length = 0;
    let mut fill = |from: &mut dyn Read| -> io::Result<()> {
        while length < SECRET_KEY_BYTES_MAX {
            match from.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    match path.as_os_str() == "-" {
        true => stream(io::stdin()).and_then(|mut stdin| fill(&mut stdin)),
        false => File::open(path).and_then(|mut file| fill(&mut file)),
    }
    .map_err(|e| Error::io(path, &e))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A standard stream without the standard library's buffer, which nobody wipes.
#[cfg(unix)]
fn stream(standard: impl std::os::fd::AsFd) -> io::Result<File> {
    standard.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn stream(standard: impl std::os::windows::io::AsHandle) -> io::Result<File> {
    standard.as_handle().try_clone_to_owned().map(File::from)
}

/// A file that is written but does not have its name yet; dropped, it disappears.
#[must_use = "a file that is not persisted disappears"]
pub struct Pending {
    /// As the user named it.
    path: PathBuf,
    content: Content,
}

enum Content {
    /// A file that gets its place.
    File(Temporary),
    /// Bytes for a device, a pipe or, where none is named, standard output.
    Stream { bytes: Vec<u8>, device: Option<PathBuf> },
}

impl Pending {
    fn open(path: &Path, access: Access) -> Result<Pending, Error> {
        let content = match Target::writable(path)? {
            Target::File(place) => {
                Content::File(Temporary::new(place, access).map_err(|e| unwritable(path, &e))?)
            }
            Target::Device(device) => Content::Stream { bytes: vec![], device: Some(device) },
            Target::Stdout => Content::Stream { bytes: vec![], device: None },
        };
        Ok(Pending { path: path.to_path_buf(), content })
    }

    /// Bytes that were written.
    pub fn bytes(&self) -> Result<u64, Error> {
        match &self.content {
            Content::Stream { bytes, .. } => Ok(bytes.len() as u64),
            Content::File(file) => {
                file.as_file().metadata().map(|m| m.len()).map_err(|e| unwritable(&self.path, &e))
            }
        }
    }

    /// Gives the file its name, replacing what had it, unless that has become a secret key.
    pub fn persist(self) -> Result<(), Error> {
        match self.content {
            Content::File(file) => {
                Target::writable(&self.path)?;
                file.persist(Existing::Replaced)
            }
            Content::Stream { bytes, device: Some(device) } => to_device(&device, &bytes),
            Content::Stream { bytes, device: None } => {
                stream(io::stdout()).and_then(|mut out| out.write_all(&bytes))
            }
        }
        .map_err(|e| unwritable(&self.path, &e))
    }
}

/// Writes through `fill` into a file that does not have its name `path` yet; `-` is standard output, and what exists and is not a
/// regular file (a pipe, a device) is written to as it is. Links are followed. A secret key is never replaced.
pub fn prepare(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), Error>,
) -> Result<Pending, Error> {
    let mut pending = Pending::open(path, access)?;
    match &mut pending.content {
        Content::Stream { bytes, .. } => fill(&mut Cursor::new(bytes))?,
        Content::File(file) => {
            let mut buffered = io::BufWriter::with_capacity(1 << 20, file.as_file());
            fill(&mut buffered)?;
            let flushed = buffered.flush();
            drop(buffered);
            flushed.and_then(|()| file.as_file().sync_all()).map_err(|e| unwritable(path, &e))?;
        }
    }
    Ok(pending)
}

/// [`prepare`] and give the file its name.
pub fn write(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), Error>,
) -> Result<(), Error> {
    prepare(path, access, fill)?.persist()
}

/// [`prepare`] for bytes at hand.
pub fn prepare_bytes(path: &Path, access: Access, bytes: &[u8]) -> Result<Pending, Error> {
    let mut pending = Pending::open(path, access)?;
    match &mut pending.content {
        Content::Stream { bytes: whole, .. } => *whole = bytes.to_vec(),
        Content::File(file) => {
            let written = file.as_file().write_all(bytes).and_then(|()| file.as_file().sync_all());
            written.map_err(|e| unwritable(path, &e))?;
        }
    }
    Ok(pending)
}

/// Writes bytes; see [`write()`].
pub fn write_bytes(path: &Path, access: Access, bytes: &[u8]) -> Result<(), Error> {
    prepare_bytes(path, access, bytes)?.persist()
}

/// Writes to a device, a pipe or a descriptor, behind which there may be a file: what that holds stays.
fn to_device(device: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().append(true).open(device)?.write_all(bytes)
}

/// Writes a secret key for its owner alone, without a copy in a buffer.
pub fn write_secret(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Error> {
    let written = match Target::of_secret(path, existing)? {
        Target::Stdout => stream(io::stdout()).and_then(|mut out| out.write_all(bytes)),
        Target::Device(device) => to_device(&device, bytes),
        Target::File(place) => Temporary::new(place, Access::Owner).and_then(|file| {
            file.as_file().write_all(bytes)?;
            file.as_file().sync_all()?;
            // The name may have been taken while the keys were made.
            file.persist(existing)
        }),
    };
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => unwritable(path, &e),
    })
}

/// Refuses a place that a new secret key cannot be written to, before it is made.
pub fn check_secret(path: &Path, existing: Existing) -> Result<(), Error> {
    Target::of_secret(path, existing).map(drop)
}

fn taken(path: &Path) -> Error {
    Error::new(Kind::Usage, path.display(), "exists already; replacing a secret key loses it")
        .remedy("choose another path with --secret, or give --force")
}

/// The error of a failed write.
pub fn unwritable(path: &Path, error: &io::Error) -> Error {
    let (what, remedy) = match error.kind() {
        io::ErrorKind::NotFound => ("its folder does not exist".to_owned(), "make the folder first"),
        // The kind alone: the full text would name the temporary file.
        kind => (kind.to_string(), Error::io_remedy(kind)),
    };
    let error = Error::new(Kind::Resources, path.display(), format!("cannot be written: {what}"));
    error.remedy(remedy).or("choose another path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let failed = write(&path, Access::Shared, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::new(Kind::Internal, "x", "y"))
        });
        assert!(failed.is_err());
        assert_eq!(names(folder.path()), 0);
        write_bytes(&path, Access::Owner, b"whole").unwrap();
        assert_eq!(read(&path).unwrap(), b"whole");
        let error = write_bytes(&folder.path().join("no/such/folder"), Access::Shared, b"").unwrap_err();
        assert!(
            error.what.contains("folder does not exist") && error.remedy.contains("make the folder"),
            "{error}"
        );
    }

    #[test]
    fn secret_keys_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let early = prepare_bytes(&path, Access::Shared, b"a circuit").unwrap();
        std::fs::write(&path, "LOOMSKEY, written meanwhile").unwrap();
        assert!(early.persist().is_err());
        for magic in ["LOOMSKEY", "LOOMSEAL"] {
            std::fs::write(&path, format!("{magic} and more")).unwrap();
            assert!(write_bytes(&path, Access::Owner, b"x").is_err(), "{magic}");
            assert!(check(&[], &[&path]).is_err(), "{magic}");
        }
        // As it ends where another process has taken the name since the check.
        let error = write_secret(&path, b"new", Existing::Kept).unwrap_err();
        assert_eq!((error.kind, names(folder.path())), (Kind::Usage, 1));
        write_secret(&path, b"new", Existing::Replaced).unwrap();
        assert_eq!(&**read_secret(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_secrets_are_their_owners() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("there")).unwrap();
        symlink("there/file", at("link")).unwrap();
        for text in ["made", "replaced"] {
            write_bytes(&at("link"), Access::Shared, text.as_bytes()).unwrap();
            assert_eq!(read(&at("there/file")).unwrap(), text.as_bytes());
        }
        assert!(at("link").is_symlink());
        symlink("circle", at("circle")).unwrap();
        assert!(write_bytes(&at("circle"), Access::Shared, b"").is_err());
        let file = Temporary::new(at("there/key"), Access::Owner).unwrap();
        assert_eq!(file.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
