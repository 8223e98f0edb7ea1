//! Files that are whole or absent, and stay after a crash: written beside their place, synchronised, renamed, and the
//! folder synchronised after it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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

/// Writes bytes that only the server's user may read; durable when it returns.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(folder)
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
