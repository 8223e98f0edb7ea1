//! The client's home folder: one model at one server.
//!
//! | file | what | who reads it |
//! |---|---|---|
//! | `client.json` | server, token, model, digest of the registered keys | owner |
//! | `ca.pem` | certificates that vouch for the server, if given | owner |
//! | `model.manifest` | the manifest, pinned at `init` | owner |
//! | `secret.key` | the secret key, under a passphrase if one was given | owner |
//! | `eval.keys` | evaluation keys, until the server has them | owner |
//! | `home.lock` | nothing; locked by the process that changes the home | owner |
//!
//! The folder is its owner's alone; files are whole or absent, and durable; evaluation keys, here or noted in `client.json`, are
//! always those of the secret key.

use crate::error::{Kind, RemoteError};
use crate::passphrase::{self, Passphrase};
use crate::server::{Server, Token};
use cipherloom_client::{Client, SECRET_KEY_BYTES_MAX, SecretKey};
use cipherloom_ir::Digest;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{BufWriter, Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// What temporary files are called; one that a killed process left is removed by the next.
const TEMPORARY: &str = ".new-";
/// What the temporary files' names have behind that.
const TEMPORARY_LETTERS: usize = 6;

/// What `client.json` says.
#[derive(Serialize, Deserialize)]
struct Facts {
    server: String,
    token: String,
    model: Digest,
    /// Digest of the keys that the server has acknowledged.
    keys: Option<Digest>,
}

/// A home folder.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The home in this folder, which need not exist yet.
    pub fn at(folder: &Path) -> Home {
        Home { folder: folder.to_path_buf() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a model has been set up here.
    pub fn exists(&self) -> bool {
        self.facts_path().exists()
    }

    /// Whether a secret key stands here, even of a set-up that did not end.
    pub(crate) fn has_secret(&self) -> bool {
        self.secret_path().exists()
    }

    /// Whether files of a client stand here.
    fn is_home(&self) -> bool {
        [self.facts_path(), self.secret_path(), self.folder.join("home.lock")]
            .iter()
            .any(|path| path.exists())
    }

    /// Makes the folder; one that is there is closed to others if it is a home or empty, and refused if it is theirs too.
    pub(crate) fn create(&self) -> Result<(), RemoteError> {
        let wrong = |e| RemoteError::io(&self.folder, &e);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(wrong)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mut access = std::fs::metadata(&self.folder).map_err(wrong)?.permissions();
            if access.mode() & 0o077 != 0 {
                if !self.is_home() && std::fs::read_dir(&self.folder).map_err(wrong)?.next().is_some() {
                    let what = "is open to other users, and holds other files than a client's";
                    return Err(RemoteError::new(Kind::Usage, self.folder.display(), what)
                        .remedy("give an empty folder, or one that is yours alone (chmod 700)"));
                }
                access.set_mode(0o700);
                std::fs::set_permissions(&self.folder, access).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// Keeps other processes from changing the home until the file is dropped; `waiting` is called if another one is at it.
    pub(crate) fn lock(&self, waiting: impl FnOnce()) -> Result<File, RemoteError> {
        let path = self.folder.join("home.lock");
        let wrong = |e: std::io::Error| RemoteError::io(&path, &e);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(wrong)?;
            }
            Err(TryLockError::Error(e)) => return Err(wrong(e)),
        }
        Ok(file)
    }

    fn facts_path(&self) -> PathBuf {
        self.folder.join("client.json")
    }

    fn secret_path(&self) -> PathBuf {
        self.folder.join("secret.key")
    }

    pub(crate) fn keys_path(&self) -> PathBuf {
        self.folder.join("eval.keys")
    }

    /// What `client.json` says, if there is one.
    fn facts_if_any(&self) -> Result<Option<Facts>, RemoteError> {
        let path = self.facts_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(RemoteError::io(&path, &e)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            RemoteError::new(Kind::BadInput, path.display(), format!("is damaged: {e}"))
                .remedy("remove it, and run `cipherloom client init` again: the secret key stays")
        })
    }

    fn facts(&self) -> Result<Facts, RemoteError> {
        self.facts_if_any()?.ok_or_else(|| {
            RemoteError::io(&self.facts_path(), &ErrorKind::NotFound.into())
                .remedy("set up this home with `cipherloom client init` first")
        })
    }

    fn write_facts(&self, facts: &Facts) -> Result<(), RemoteError> {
        let bytes = serde_json::to_vec_pretty(facts)
            .map_err(|e| RemoteError::new(Kind::Internal, self.folder.display(), e))?;
        self.put("client.json", &bytes)
    }

    /// The server of this home.
    pub fn server(&self) -> Result<Server, RemoteError> {
        self.read().map(|(server, _, _)| server)
    }

    /// Server and model of this home, and the keys that are registered.
    pub(crate) fn read(&self) -> Result<(Server, Digest, Option<Digest>), RemoteError> {
        let facts = self.facts()?;
        let ca = self.folder.join("ca.pem");
        let ca = match ca.exists() {
            true => Some(std::fs::read(&ca).map_err(|e| RemoteError::io(&ca, &e))?),
            false => None,
        };
        let token = Token::new(&facts.token).map_err(|e| e.at(self.facts_path().display()))?;
        Ok((Server { url: facts.server, token, ca }, facts.model, facts.keys))
    }

    /// The registered keys of a model, if they are noted here.
    pub(crate) fn registered(&self, model: &Digest) -> Result<Option<Digest>, RemoteError> {
        Ok(self.facts_if_any()?.filter(|facts| facts.model == *model).and_then(|facts| facts.keys))
    }

    /// Notes server and model. Who is given no authority trusts the public ones, not those of an earlier server.
    pub(crate) fn write(
        &self,
        server: &Server,
        model: &Digest,
        keys: Option<Digest>,
    ) -> Result<(), RemoteError> {
        match &server.ca {
            Some(ca) => self.put("ca.pem", ca)?,
            None => remove_file(&self.folder.join("ca.pem"))?,
        }
        let token = server.token.secret().to_owned();
        self.write_facts(&Facts { server: server.url.clone(), token, model: *model, keys })
    }

    /// Notes keys that the server has acknowledged; they need not lie here any more.
    pub(crate) fn note_keys(&self, keys: Digest) -> Result<(), RemoteError> {
        self.write_facts(&Facts { keys: Some(keys), ..self.facts()? })?;
        remove_file(&self.keys_path())
    }

    /// Forgets evaluation keys, here and registered: another secret key comes.
    pub(crate) fn forget_keys(&self) -> Result<(), RemoteError> {
        remove_file(&self.keys_path())?;
        match self.facts_if_any()? {
            Some(facts) => self.write_facts(&Facts { keys: None, ..facts }),
            None => Ok(()),
        }
    }

    /// The pinned manifest's bytes, if there is one.
    pub(crate) fn manifest(&self) -> Result<Option<Vec<u8>>, RemoteError> {
        let path = self.folder.join("model.manifest");
        match path.exists() {
            true => std::fs::read(&path).map(Some).map_err(|e| RemoteError::io(&path, &e)),
            false => Ok(None),
        }
    }

    pub(crate) fn pin_manifest(&self, bytes: &[u8]) -> Result<(), RemoteError> {
        self.put("model.manifest", bytes)
    }

    /// Writes the secret key, sealed if there is a passphrase.
    pub(crate) fn write_secret(
        &self,
        client: &Client,
        secret: &SecretKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), RemoteError> {
        let path = self.secret_path();
        let mut plain = Cursor::new(Vec::with_capacity(SECRET_KEY_BYTES_MAX));
        client.write_secret_key(secret, &mut plain).map_err(|e| RemoteError::client(path.display(), &e))?;
        let plain = Zeroizing::new(plain.into_inner());
        match passphrase {
            Some(passphrase) => self.put("secret.key", &passphrase::seal(passphrase, &plain)?),
            None => self.put("secret.key", &plain),
        }
    }

    /// Seals a secret key that was written without a passphrase.
    pub(crate) fn seal_secret(
        &self,
        client: &Client,
        secret: &SecretKey,
        passphrase: &Passphrase,
    ) -> Result<(), RemoteError> {
        match passphrase::is_sealed(&self.secret_bytes()?) {
            true => Ok(()),
            false => self.write_secret(client, secret, Some(passphrase)),
        }
    }

    fn secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, RemoteError> {
        let path = self.secret_path();
        std::fs::read(&path).map(Zeroizing::new).map_err(|e| {
            RemoteError::io(&path, &e).remedy("run `cipherloom client init` again: it makes what is missing")
        })
    }

    /// Digest of the secret key's file: tells whether another one has taken its place.
    pub(crate) fn secret_digest(&self) -> Result<Digest, RemoteError> {
        self.secret_bytes().map(|bytes| Digest::of(&bytes))
    }

    /// Reads the secret key of the circuit.
    pub(crate) fn secret(
        &self,
        client: &Client,
        passphrase: Option<&Passphrase>,
    ) -> Result<SecretKey, RemoteError> {
        let path = self.secret_path();
        let bytes = self.secret_bytes()?;
        let plain = match (passphrase::is_sealed(&bytes), passphrase) {
            (false, _) => bytes,
            (true, Some(passphrase)) => passphrase::open(&path, passphrase, &bytes)?,
            (true, None) => {
                let what = "the secret key is under a passphrase";
                return Err(RemoteError::new(Kind::Usage, path.display(), what)
                    .remedy("give --passphrase-file, or CIPHERLOOM_PASSPHRASE in the environment"));
            }
        };
        client
            .read_secret_key(Cursor::new(plain.as_slice()))
            .map_err(|e| RemoteError::client(path.display(), &e))
    }

    /// Makes evaluation keys into their file.
    pub(crate) fn write_keys(&self, client: &Client, secret: &SecretKey) -> Result<(), RemoteError> {
        let path = self.keys_path();
        let wrong = |e: std::io::Error| RemoteError::io(&path, &e);
        let mut file = self.temporary().map_err(wrong)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        client
            .write_evaluation_keys(secret, &mut out, |_| ())
            .map_err(|e| RemoteError::client(path.display(), &e))?;
        out.flush().map_err(wrong)?;
        drop(out);
        self.settle(file, &path).map_err(wrong)
    }

    /// Removes what was set up, the secret key with it.
    pub(crate) fn remove(&self) -> Result<(), RemoteError> {
        self.remove_temporary()?;
        ["eval.keys", "secret.key", "model.manifest", "ca.pem", "client.json"]
            .iter()
            .try_for_each(|name| remove_file(&self.folder.join(name)))
    }

    /// Removes what killed processes left; only who holds the lock may.
    pub(crate) fn remove_temporary(&self) -> Result<(), RemoteError> {
        let wrong = |e| RemoteError::io(&self.folder, &e);
        for entry in std::fs::read_dir(&self.folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            let letters = name.as_encoded_bytes().strip_prefix(TEMPORARY.as_bytes());
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && letters.is_some_and(|letters| letters.len() == TEMPORARY_LETTERS) {
                remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes a file whole.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), RemoteError> {
        let path = self.folder.join(name);
        let wrong = |e: std::io::Error| RemoteError::io(&path, &e);
        let mut file = self.temporary().map_err(wrong)?;
        file.write_all(bytes).map_err(wrong)?;
        self.settle(file, &path).map_err(wrong)
    }

    /// An empty file for its owner alone (as temporary files are made).
    fn temporary(&self) -> std::io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.folder)
    }

    /// Gives a finished file its durable name.
    fn settle(&self, file: NamedTempFile, path: &Path) -> std::io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

/// Removes a file that may be absent.
fn remove_file(path: &Path) -> Result<(), RemoteError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(RemoteError::io(path, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
