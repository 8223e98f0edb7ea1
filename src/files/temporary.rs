//! A file before it has its name.
//!
//! On Linux it has no name at all until it is whole (`O_TMPFILE`, then a link), so that nothing of it stays if the process ends
//! before. What it replaces is replaced by a rename, so that for a moment it has a temporary name. Where the file system or another
//! system cannot do that, it stands under a temporary name all the time; what commands that were killed have left under such names is
//! removed by a later one.

use super::target::folder_of;
use super::{Access, Existing};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, TempPath};

/// Names of temporary files, with six letters between.
const NAMES: [&str; 2] = [".cipherloom-", ".part"];
/// A temporary file that nobody has written to for so long was left by a command that was killed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A file that does not have its name yet; dropped, it disappears.
pub(super) struct Temporary {
    file: File,
    /// Its temporary name, if it has one.
    name: Option<TempPath>,
    place: PathBuf,
    access: Access,
}

impl Temporary {
    /// Makes an empty file with the rights that it will have at `place`, and removes those that were left there.
    pub(super) fn new(place: PathBuf, access: Access) -> io::Result<Temporary> {
        let folder = folder_of(&place);
        remove_stale(folder);
        let (file, name) = match nameless(folder, access) {
            Some(file) => (file, None),
            None => named(folder, access).map(|(file, name)| (file, Some(name)))?,
        };
        Ok(Temporary { file, name, place, access })
    }

    pub(super) fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name; what has it is replaced, or kept with an error of kind `AlreadyExists`.
    pub(super) fn persist(self, existing: Existing) -> io::Result<()> {
        let name = match self.name {
            Some(name) => name,
            None if existing == Existing::Kept => match link(&self.file, &self.place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    copied(&self.file, folder_of(&self.place), self.access)?
                }
                done => return done,
            },
            // A link replaces nothing, so a temporary name comes first.
            None => linked(&self.file, folder_of(&self.place))
                .or_else(|_| copied(&self.file, folder_of(&self.place), self.access))?,
        };
        match existing {
            Existing::Kept => name.persist_noclobber(&self.place),
            Existing::Replaced => name.persist(&self.place),
        }
        .map_err(|e| e.error)
    }
}

#[cfg(unix)]
fn mode(access: Access) -> u32 {
    match access {
        Access::Owner => 0o600,
        Access::Shared => 0o644,
    }
}

/// A file without a name, where such files can be made and named.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path, access: Access) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(folder, flags, Mode::from_raw_mode(mode(access))).ok()?);
    descriptor(&file).symlink_metadata().is_ok().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path, _: Access) -> Option<File> {
    None
}

/// Where the system shows an open file.
#[cfg(target_os = "linux")]
fn descriptor(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives a file without a name one that is free.
#[cfg(target_os = "linux")]
fn link(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    Ok(linkat(CWD, descriptor(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a file without a name a temporary one.
fn linked(file: &File, folder: &Path) -> io::Result<TempPath> {
    let mut builder = tempfile::Builder::new();
    let named = builder.prefix(NAMES[0]).suffix(NAMES[1]).make_in(folder, |name| link(file, name))?;
    Ok(named.into_temp_path())
}

/// A copy of a file that cannot be linked: what it took to make it is not lost.
fn copied(mut file: &File, folder: &Path, access: Access) -> io::Result<TempPath> {
    use std::io::Seek;
    let (mut copy, name) = named(folder, access)?;
    file.rewind()?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_all()?;
    Ok(name)
}

/// An empty file under a temporary name.
fn named(folder: &Path, access: Access) -> io::Result<(File, TempPath)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(NAMES[0]).suffix(NAMES[1]);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode(access)));
    #[cfg(not(unix))]
    let _ = access;
    builder.tempfile_in(folder).map(NamedTempFile::into_parts)
}

/// Removes temporary files that commands which were killed have left in a folder, where that is possible.
fn remove_stale(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.strip_prefix(NAMES[0]).and_then(|n| n.strip_suffix(NAMES[1]));
        let ours = ours.is_some_and(|letters| letters.len() == 6);
        let untouched =
            |entry: std::fs::DirEntry| entry.metadata()?.modified()?.elapsed().map_err(io::Error::other);
        if ours && entry.file_type().is_ok_and(|t| t.is_file()) {
            let path = entry.path();
            if untouched(entry).is_ok_and(|age| age > STALE) {
                let _ = std::fs::remove_file(path); // the next write tries again
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    /// The same file, written in each of the ways in which it may come to its name.
    #[test]
    fn every_way_to_a_name_gives_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out");
        for way in 0..3 {
            let mut file = Temporary::new(place.clone(), Access::Owner).unwrap();
            if way > 0 {
                let (other, name) = named(folder.path(), Access::Owner).unwrap();
                (file.file, file.name) = (other, Some(name));
            }
            assert_eq!(names(folder.path()), usize::from(file.name.is_some()) + usize::from(way > 0));
            file.as_file().write_all(format!("whole {way}").as_bytes()).unwrap();
            if way == 2 {
                file.name = Some(copied(&file.file, folder.path(), Access::Owner).unwrap());
            }
            file.persist(Existing::Replaced).unwrap();
            assert_eq!(std::fs::read_to_string(&place).unwrap(), format!("whole {way}"));
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
            }
            assert_eq!(names(folder.path()), 1);
        }
        let late = Temporary::new(place.clone(), Access::Owner).unwrap();
        let refused = late.persist(Existing::Kept).unwrap_err();
        assert_eq!((refused.kind(), names(folder.path())), (io::ErrorKind::AlreadyExists, 1));
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "whole 2");
    }

    #[test]
    fn a_new_name_is_linked_or_taken_by_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        for (place, named_before) in [("linked", false), ("renamed", true)] {
            let place = folder.path().join(place);
            let mut file = Temporary::new(place.clone(), Access::Owner).unwrap();
            if named_before {
                let (other, name) = named(folder.path(), Access::Owner).unwrap();
                (file.file, file.name) = (other, Some(name));
            }
            file.as_file().write_all(b"whole").unwrap();
            file.persist(Existing::Kept).unwrap();
            assert_eq!(std::fs::read(&place).unwrap(), b"whole");
        }
        assert_eq!(names(folder.path()), 2);
    }

    #[test]
    fn what_killed_commands_left_is_removed_a_day_later() {
        let folder = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - STALE - Duration::from_secs(60);
        for (name, modified) in [
            (".cipherloom-aB3xYz.part", Some(old)),
            (".cipherloom-backup", Some(old)),
            (".cipherloom-aaaaaa.part", None),
        ] {
            let file = File::create(folder.path().join(name)).unwrap();
            modified.map_or(Ok(()), |time| file.set_modified(time)).unwrap();
        }
        drop(Temporary::new(folder.path().join("out"), Access::Shared).unwrap());
        assert_eq!(names(folder.path()), 2);
        assert!(!folder.path().join(".cipherloom-aB3xYz.part").exists());
    }
}
