//! The client's home folder: one model at one server.
//!
//! | file | what | who reads it |
//! |---|---|---|
//! | `client.json` | server, token, model, digest of the registered keys | owner |
//! | `ca.pem` | certificates that vouch for the server, if given | owner |
//! | `model.manifest` | the manifest, pinned at `init` | owner |
//! | `secret.key` | the secret key, under a passphrase if one was given | owner |
//! | `eval.keys` | evaluation keys, until the server has them | owner |
//!
//! The folder is its owner's alone; files are whole or absent.

use crate::connection::{Server, Token};
use crate::error::{Kind, RemoteError};
use crate::passphrase::{self, Passphrase};
use cipherloom_client::{Client, SecretKey};
use cipherloom_ir::Digest;
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

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

    pub(crate) fn create(&self) -> Result<(), RemoteError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(|e| RemoteError::io(&self.folder, &e))
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

    fn facts(&self) -> Result<Facts, RemoteError> {
        let path = self.facts_path();
        let bytes = std::fs::read(&path).map_err(|e| {
            RemoteError::io(&path, &e).remedy("set up this home with `cipherloom client init` first")
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|e| RemoteError::new(Kind::BadInput, path.display(), format!("is damaged: {e}")))
    }

    /// Server and model of this home, and the keys that are registered.
    pub(crate) fn read(&self) -> Result<(Server, Digest, Option<Digest>), RemoteError> {
        let facts = self.facts()?;
        let ca = self.folder.join("ca.pem");
        let ca = match ca.exists() {
            true => Some(std::fs::read(&ca).map_err(|e| RemoteError::io(&ca, &e))?),
            false => None,
        };
        let token = Token::new(&facts.token);
        Ok((Server { url: facts.server, token, ca }, facts.model, facts.keys))
    }

    /// Notes server and model.
    pub(crate) fn write(
        &self,
        server: &Server,
        model: &Digest,
        keys: Option<Digest>,
    ) -> Result<(), RemoteError> {
        if let Some(ca) = &server.ca {
            self.put("ca.pem", ca)?;
        }
        let token = server.token.secret().to_owned();
        let facts = Facts { server: server.url.clone(), token, model: *model, keys };
        let bytes = serde_json::to_vec_pretty(&facts)
            .map_err(|e| RemoteError::new(Kind::Internal, self.folder.display(), e))?;
        self.put("client.json", &bytes)
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
        let mut plain = Cursor::new(Vec::with_capacity(SECRET_BYTES_MAX));
        client.write_secret_key(secret, &mut plain).map_err(|e| RemoteError::client(path.display(), &e))?;
        let plain = Zeroizing::new(plain.into_inner());
        match passphrase {
            Some(passphrase) => self.put("secret.key", &passphrase::seal(passphrase, &plain)?),
            None => self.put("secret.key", &plain),
        }
    }

    /// Reads the secret key of the circuit.
    pub(crate) fn secret(
        &self,
        client: &Client,
        passphrase: Option<&Passphrase>,
    ) -> Result<SecretKey, RemoteError> {
        let path = self.secret_path();
        let bytes = Zeroizing::new(std::fs::read(&path).map_err(|e| RemoteError::io(&path, &e))?);
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
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).map_err(wrong)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        client
            .write_evaluation_keys(secret, &mut out, |_| ())
            .map_err(|e| RemoteError::client(path.display(), &e))?;
        out.flush().map_err(wrong)?;
        drop(out);
        file.persist(&path).map(drop).map_err(|e| wrong(e.error))
    }

    /// Removes the evaluation keys, which the server has.
    pub(crate) fn drop_keys(&self) {
        let _ = std::fs::remove_file(self.keys_path()); // one left over is overwritten by the next
    }

    /// Removes what was set up, the secret key with it.
    pub(crate) fn remove(&self) -> Result<(), RemoteError> {
        for name in ["eval.keys", "secret.key", "model.manifest", "ca.pem", "client.json"] {
            let path = self.folder.join(name);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(RemoteError::io(&path, &e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a file whole, for its owner alone (as temporary files are made).
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), RemoteError> {
        let path = self.folder.join(name);
        let wrong = |e: std::io::Error| RemoteError::io(&path, &e);
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).map_err(wrong)?;
        file.write_all(bytes).map_err(wrong)?;
        file.as_file().sync_all().map_err(wrong)?;
        file.persist(&path).map(drop).map_err(|e| wrong(e.error))
    }
}

/// Room for a secret key's file, so that no copy is left behind by a buffer that grows.
const SECRET_BYTES_MAX: usize = 1 << 16;
