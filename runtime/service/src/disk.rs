//! Files that are whole or absent, and stay after a crash: written beside their place, synchronised, renamed, and the
//! folder synchronised after it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is written to see whether a disk takes anything.
const PROBE_BYTES: usize = 4 << 10;

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Gives a finished file its durable name.
pub(crate) fn settle(file: &File, from: &Path, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(from, to)?;
    to.parent().map_or(Ok(()), sync_folder)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes bytes that only the server's user may read; durable when it returns.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, bytes, |_| Ok(()))
}

/// The same, but owner and mode stay those of the file that is replaced: root may do it for the server's user.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, bytes, |file| take_after(file, path))
}

fn write_as(path: &Path, bytes: &[u8], own: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    own(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(folder)
}

/// Gives a new file owner and mode of the one at `path`; where there is none, the owner of its folder.
pub(crate) fn take_after(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (own, old) = (file.metadata()?, std::fs::metadata(path).ok());
    let model = old.as_ref().map_or_else(|| std::fs::metadata(folder_of(path)), |m| Ok(m.clone()))?;
    if own.uid() != model.uid() || old.is_some() && own.gid() != model.gid() {
        let kept = |e: io::Error| {
            let what = format!("cannot be left to its owner ({e}); run the command as that user");
            io::Error::new(e.kind(), what)
        };
        fchown(file, Some(model.uid()), Some(model.gid())).map_err(kept)?;
    }
    // After the owner, whose change would clear bits of the mode.
    old.map_or(Ok(()), |m| file.set_permissions(m.permissions()))
}

/// Whether a folder's disk has so many bytes for a user without privileges, and takes what is written: a little is, into a file
/// without a name, which a crash leaves nothing of.
pub(crate) fn has_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    // A file system without blocks (of a network, or without a bound) does not say what is free.
    if disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[1; PROBE_BYTES])?;
    file.sync_all()
}

/// Removes a file that may be absent.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A file that grows while it is received; dropped without [`Partial::keep`], it disappears.
pub(crate) struct Partial {
    path: PathBuf,
    file: Option<File>,
}

impl Partial {
    /// Starts an empty file.
    pub(crate) fn create(path: PathBuf) -> io::Result<Partial> {
        let file = File::create_new(&path)?;
        Ok(Partial { path, file: Some(file) })
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Where it stands until it is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable under its name.
    pub(crate) fn keep(mut self, to: &Path) -> io::Result<()> {
        let file = self.file.take().ok_or(io::ErrorKind::BrokenPipe)?;
        settle(&file, &self.path, to).inspect_err(|_| {
            let _ = remove(&self.path);
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_room_for_little_and_not_for_everything() {
        let folder = tempfile::tempdir().unwrap();
        has_room(folder.path(), 1).unwrap();
        assert_eq!(has_room(folder.path(), u64::MAX).map_err(|e| e.kind()), Err(io::ErrorKind::StorageFull));
        assert!(has_room(&folder.path().join("absent"), 1).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
