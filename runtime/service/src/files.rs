//! Where everything stands in the data folder; all of it is readable by the server's user alone.
//!
//! | path | what |
//! |---|---|
//! | `service.lock` | nothing; held by the server for as long as it lives, which keeps a second one out |
//! | `service.redb` | records of keys and jobs (`ledger.rs`) |
//! | `tokens.json`, `tokens.lock` | hashes of tokens; held by whoever changes them |
//! | `keys/CLIENT/DIGEST.part`, `.keys` | evaluation keys, while they arrive and whole |
//! | `jobs/ID.in`, `.out` | encrypted input and output |
//! | `jobs/ID.tries` | how often an evaluation was begun, one byte each |

use crate::record::JobId;
use crate::server::StartError;
use cipherloom_ir::Digest;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Makes a folder that only its owner enters.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a file that only its owner reads, or takes the right from others.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// The data folder, which no other server opens while this is held.
#[derive(Debug)]
pub(crate) struct DataFolder {
    root: PathBuf,
    /// Locked. The database's own lock is not enough: after a failure it is closed and opened again.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if need be, and takes it, unless another server has it.
    pub(crate) fn open(root: &Path) -> Result<DataFolder, StartError> {
        let wrong =
            |path: &Path, e: io::Error| StartError::Storage { path: path.into(), what: e.to_string() };
        let folder = |path: &Path| private_folder(path).map_err(|e| wrong(path, e));
        folder(root)?;
        let place = root.join("service.lock");
        let lock = private_file(&place).map_err(|e| wrong(&place, e))?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => StartError::InUse,
            TryLockError::Error(e) => wrong(&place, e),
        })?;
        folder(&root.join("keys"))?;
        folder(&root.join("jobs"))?;
        Ok(DataFolder { root: root.to_path_buf(), _lock: lock })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("service.redb")
    }

    /// Folder of a client's keys; names of clients are letters, digits, '-' and '_' ([`crate::TokenFile::add`]).
    pub(crate) fn client(&self, client: &str) -> PathBuf {
        self.root.join("keys").join(client)
    }

    pub(crate) fn keys(&self, client: &str, digest: &Digest) -> PathBuf {
        self.client(client).join(format!("{digest}.keys"))
    }

    pub(crate) fn partial_keys(&self, client: &str, digest: &Digest) -> PathBuf {
        self.client(client).join(format!("{digest}.part"))
    }

    pub(crate) fn all_keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    pub(crate) fn input(&self, job: JobId) -> PathBuf {
        self.jobs().join(format!("{job}.in"))
    }

    pub(crate) fn output(&self, job: JobId) -> PathBuf {
        self.jobs().join(format!("{job}.out"))
    }

    pub(crate) fn tries(&self, job: JobId) -> PathBuf {
        self.jobs().join(format!("{job}.tries"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        assert!(matches!(DataFolder::open(folder.path()), Err(StartError::InUse)));
        drop(first);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        for name in ["service.lock", "keys"] {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join(name);
            // Each the kind of the other.
            match name {
                "keys" => std::fs::write(&place, "").unwrap(),
                _ => std::fs::create_dir(&place).unwrap(),
            }
            match DataFolder::open(folder.path()) {
                Err(StartError::Storage { path, .. }) => assert_eq!(path, place),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
