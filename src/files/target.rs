//! Where output goes: links followed, streams and devices told from files, and secret keys kept from being replaced.

use super::{Existing, taken, unwritable};
use crate::error::{Error, Kind};
use cipherloom_ir::container::{Kind as FileKind, SEALED_MAGIC};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Links that are followed one after the other, as Linux does.
const LINKS_MAX: usize = 40;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output: `-`, or a name of its descriptor.
    Stdout,
    /// A device, a pipe or another descriptor, which is written to as it is.
    Device(PathBuf),
    /// A file or the free name of one, whose folder exists; no link.
    File(PathBuf),
}

impl Target {
    /// Follows links by hand: the last of them may dangle, and what stands behind a descriptor must not be replaced.
    fn of(path: &Path) -> io::Result<Target> {
        if path.as_os_str() == "-" {
            return Ok(Target::Stdout);
        }
        let mut place = path.to_path_buf();
        for _ in 0..LINKS_MAX {
            let name = place.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
            let folder = std::fs::canonicalize(folder_of(&place))?;
            place = folder.join(&name);
            if is_descriptors(&folder) {
                let own = ["/proc/self/fd", "/dev/fd"].iter();
                let own = own.flat_map(std::fs::canonicalize).any(|own| own == folder);
                return Ok(if own && name == "1" { Target::Stdout } else { Target::Device(place) });
            }
            match std::fs::read_link(&place) {
                Ok(target) => place = folder.join(target),
                Err(_) if is_special(&place) => return Ok(Target::Device(place)),
                Err(_) => return Ok(Target::File(place)),
            }
        }
        Err(io::Error::other("links lead in a circle"))
    }

    /// Where an output at this path goes; a folder and a secret key are refused.
    pub(super) fn writable(path: &Path) -> Result<Target, Error> {
        let target = Target::of(path).map_err(|e| unwritable(path, &e))?;
        let Target::File(place) = &target else { return Ok(target) };
        if place.is_dir() {
            return Err(unwritable(path, &io::ErrorKind::IsADirectory.into()));
        }
        match is_secret_key(place).map_err(|e| unwritable(path, &e))? {
            true => Err(Error::new(Kind::Usage, path.display(), "is a secret key, which would be replaced")
                .remedy("choose another path")),
            false => Ok(target),
        }
    }

    /// The same for a new secret key, which replaces a file only where that is wanted.
    pub(super) fn of_secret(path: &Path, existing: Existing) -> Result<Target, Error> {
        let target = Target::of(path).map_err(|e| unwritable(path, &e))?;
        match &target {
            Target::File(place) if place.is_dir() => {
                Err(unwritable(path, &io::ErrorKind::IsADirectory.into()))
            }
            Target::File(place) if existing == Existing::Kept && place.exists() => Err(taken(path)),
            _ => Ok(target),
        }
    }
}

/// Whether files here are the open files of a process.
fn is_descriptors(folder: &Path) -> bool {
    folder == Path::new("/dev/fd") || (folder.starts_with("/proc") && folder.ends_with("fd"))
}

fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Whether a file is a secret key, as `keygen` or `client init` writes it; one that cannot be read might be.
fn is_secret_key(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 8];
    match std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) => Ok(magic == SEALED_MAGIC || FileKind::of_magic(magic) == Some(FileKind::SecretKey)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The folder that a path lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether an output goes to standard output.
pub fn is_stdout(path: &Path) -> bool {
    matches!(Target::of(path), Ok(Target::Stdout))
}

/// Whether an output goes to a stream or a device, beside which no other file can stand.
pub fn is_stream(path: &Path) -> bool {
    matches!(Target::of(path), Ok(Target::Stdout | Target::Device(_)))
}

/// Refuses what a command must not read and write at once, before it begins: a file named twice, a standard stream for two
/// files, an output that cannot be written to or would replace a secret key.
pub fn check(inputs: &[&Path], outputs: &[&Path]) -> Result<(), Error> {
    distinct(&[inputs, outputs].concat())?;
    one_stream(inputs)?;
    one_stream(outputs)?;
    outputs.iter().try_for_each(|path| Target::writable(path).map(drop))
}

/// Refuses a list of inputs, or of outputs, in which a standard stream stands twice: each carries one file.
pub fn one_stream(paths: &[&Path]) -> Result<(), Error> {
    let stream = |p: &&&Path| p.as_os_str() == "/dev/stdin" || is_stdout(p);
    match paths.iter().filter(stream).count() > 1 {
        true => Err(Error::new(Kind::Usage, "-", "a standard stream is named for two files at once")
            .remedy("give each but one its own path")),
        false => Ok(()),
    }
}

/// Refuses a list of paths in which two lead to the same file; streams and devices may stand more than once.
pub fn distinct(paths: &[&Path]) -> Result<(), Error> {
    let real: Vec<Option<PathBuf>> = paths.iter().map(|path| file_at(path)).collect();
    for (k, path) in real.iter().enumerate() {
        if path.is_some() && real[..k].contains(path) {
            let what = "is named for two things at once; one would overwrite the other";
            return Err(Error::new(Kind::Usage, paths[k].display(), what).remedy("give each its own path"));
        }
    }
    Ok(())
}

/// The file that a path leads to, or will; an input's descriptor leads to the file behind it.
fn file_at(path: &Path) -> Option<PathBuf> {
    match Target::of(path).ok()? {
        Target::Stdout => None,
        Target::File(place) => Some(place),
        Target::Device(place) => std::fs::canonicalize(place).ok().filter(|place| !is_special(place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_and_devices_are_told_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        assert_eq!(Target::of(&folder.join("new")).unwrap(), Target::File(folder.join("new")));
        assert!(Target::of(&folder.join("no/new")).is_err());
        assert!(is_stdout("-".as_ref()) && !is_stdout(&folder.join("-")));
        if cfg!(target_os = "linux") {
            assert!(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().all(|p| is_stdout(p.as_ref())));
            assert_eq!(Target::of("/dev/null".as_ref()).unwrap(), Target::Device("/dev/null".into()));
            assert!(distinct(&["/dev/null".as_ref(), "/dev/null".as_ref()]).is_ok());
            assert!(one_stream(&["-".as_ref(), "/dev/stdout".as_ref()]).is_err());
        }
    }
}
