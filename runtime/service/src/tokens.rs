//! Bearer tokens: who may do what until when.
//!
//! A token is 32 random bytes, shown once; the file `tokens.json` holds its BLAKE3 hash (a fast hash is enough for what cannot
//! be guessed), its client, scopes and expiry. The file is replaced as a whole, and a running server reads it again as soon
//! as it differs: a revoked token is refused from the next request on.

use crate::clock::now_ms;
use crate::{disk, files, log};
use cipherloom_ir::Digest;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// List models, fetch manifests.
    Models,
    /// Register and remove evaluation keys.
    Keys,
    /// Submit, watch, cancel jobs; fetch results; see and delete the client's data.
    Jobs,
    /// Read the metrics.
    Metrics,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Models, Scope::Keys, Scope::Jobs, Scope::Metrics];
    /// What a client needs.
    pub const CLIENT: [Scope; 3] = [Scope::Models, Scope::Keys, Scope::Jobs];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Models => "models",
            Scope::Keys => "keys",
            Scope::Jobs => "jobs",
            Scope::Metrics => "metrics",
        }
    }

    /// The scope of a name.
    pub fn of_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Names it for `revoke`.
    pub id: String,
    /// Whose data it reaches.
    pub client: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// BLAKE3 of the token.
    hash: Digest,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Milliseconds since 1970, if it ends.
    pub expires_ms: Option<u64>,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Reading or writing.
    #[error("the token file: {0}")]
    Io(#[from] io::Error),
    /// Not what this program writes.
    #[error("the token file is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// A client's name that cannot name a folder.
    #[error("a client's name has 1 to 64 letters, digits, '-' or '_', not {0:?}")]
    ClientName(String),
    /// A folder that no server or `token add` has used.
    #[error("holds no tokens")]
    NoTokens,
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Entropy,
}

/// The tokens of a data folder.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The token file of a data folder, which is made if need be.
    pub fn open(data: &Path) -> Result<TokenFile, TokenError> {
        files::private_folder(data)?;
        Ok(TokenFile { path: data.join("tokens.json") })
    }

    /// The same of a folder that a server or `token add` has used; nothing is made.
    pub fn existing(data: &Path) -> Result<TokenFile, TokenError> {
        let path = data.join("tokens.json");
        match path.try_exists()? || data.join("service.redb").try_exists()? {
            true => Ok(TokenFile { path }),
            false => Err(TokenError::NoTokens),
        }
    }

    /// All tokens.
    pub fn list(&self) -> Result<Vec<TokenRecord>, TokenError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a token; it is returned once and cannot be read back.
    pub fn add(
        &self,
        client: &str,
        scopes: &[Scope],
        lifetime: Option<Duration>,
    ) -> Result<(TokenRecord, String), TokenError> {
        let named = (1..=64).contains(&client.len())
            && client.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
        if !named {
            return Err(TokenError::ClientName(client.to_owned()));
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| TokenError::Entropy)?;
        let token = format!("cl1-{}", Digest(secret));
        let hash = Digest::of(token.as_bytes());
        let record = TokenRecord {
            id: Digest::of(&hash.0).short(),
            client: client.to_owned(),
            scopes: scopes.to_vec(),
            hash,
            created_ms: now_ms(),
            expires_ms: lifetime.map(|l| now_ms() + l.as_millis() as u64),
        };
        let _lock = self.lock()?;
        let mut all = self.list()?;
        all.push(record.clone());
        self.write(&all)?;
        Ok((record, token))
    }

    /// Ends a token, by its id; says whether there was one.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        let _lock = self.lock()?;
        let mut all = self.list()?;
        let before = all.len();
        all.retain(|t| t.id != id);
        if all.len() != before {
            self.write(&all)?;
        }
        Ok(all.len() != before)
    }

    /// Keeps others from changing the tokens until it is dropped.
    fn lock(&self) -> io::Result<File> {
        let path = self.path.with_extension("lock");
        let file = files::private_file(&path)?;
        disk::take_after(&file, &self.path)?;
        file.lock()?;
        Ok(file)
    }

    fn write(&self, all: &[TokenRecord]) -> Result<(), TokenError> {
        Ok(disk::replace(&self.path, &serde_json::to_vec_pretty(all)?)?)
    }
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Unknown,
    Expired,
}

/// The tokens as a running server knows them.
pub(crate) struct Tokens {
    file: TokenFile,
    known: Mutex<(Option<Stamp>, Vec<TokenRecord>)>,
}

/// What differs when a file has been replaced.
type Stamp = (SystemTime, u64, u64);

impl Tokens {
    pub(crate) fn new(file: TokenFile) -> Result<Tokens, TokenError> {
        let known = Mutex::new((stamp(&file.path), file.list()?));
        Ok(Tokens { file, known })
    }

    /// The record of a token that is presented.
    pub(crate) fn find(&self, token: &str) -> Result<TokenRecord, Denied> {
        let hash = Digest::of(token.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let now = stamp(&self.file.path);
        if known.0 != now {
            match self.file.list() {
                Ok(all) => *known = (now, all),
                // Better yesterday's tokens than none; the next request reads again.
                Err(e) => log::event("tokens_unreadable", &[("error", e.to_string().into())]),
            }
        }
        // Hashes are compared, so the time tells nothing about the token.
        let record = known.1.iter().find(|t| t.hash == hash).ok_or(Denied::Unknown)?;
        match record.expires_ms.is_some_and(|end| end <= now_ms()) {
            true => Err(Denied::Expired),
            false => Ok(record.clone()),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, metadata.len(), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_expire_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::open(folder.path()).unwrap();
        let (a, token) = file.add("alice", &Scope::CLIENT, None).unwrap();
        let (_, old) = file.add("bob", &[Scope::Jobs], Some(Duration::ZERO)).unwrap();
        let text = std::fs::read_to_string(folder.path().join("tokens.json")).unwrap();
        assert!(!text.contains(&token) && !text.contains(&token[4..]));
        let tokens = Tokens::new(TokenFile::open(folder.path()).unwrap()).unwrap();
        assert_eq!(tokens.find(&token).unwrap().client, "alice");
        assert_eq!(tokens.find(&old), Err(Denied::Expired));
        assert_eq!(tokens.find("cl1-00"), Err(Denied::Unknown));
        assert!(file.revoke(&a.id).unwrap() && !file.revoke(&a.id).unwrap());
        assert_eq!(tokens.find(&token), Err(Denied::Unknown), "a running server sees it at once");
        std::fs::write(folder.path().join("tokens.json"), "[{").unwrap();
        assert_eq!(tokens.find(&old), Err(Denied::Expired), "what was known stays while the file is damaged");
        for name in ["", "..", "a/b", "é", &"x".repeat(65)] {
            assert!(matches!(file.add(name, &[], None), Err(TokenError::ClientName(_))), "{name}");
        }
    }

    #[test]
    fn parallel_changes_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::open(folder.path()).unwrap();
        let (gone, _) = file.add("gone", &Scope::CLIENT, None).unwrap();
        std::thread::scope(|s| {
            for k in 0..20 {
                let file = &file;
                s.spawn(move || file.add(&format!("client-{k}"), &Scope::CLIENT, None).unwrap());
            }
            s.spawn(|| file.revoke(&gone.id).unwrap());
        });
        let left = file.list().unwrap();
        assert!(left.len() == 20 && left.iter().all(|t| t.client != "gone"), "{}", left.len());
    }

    #[test]
    fn owner_and_mode_stay_and_nothing_is_made_by_looking() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(TokenFile::existing(&folder.path().join("none")), Err(TokenError::NoTokens)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = TokenFile::open(folder.path()).unwrap();
        file.add("alice", &Scope::CLIENT, None).unwrap();
        let path = folder.path().join("tokens.json");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        // Only root can give files away; others see that the mode stays.
        let given = chown(&path, Some(7), Some(7)).is_ok();
        file.add("bob", &Scope::CLIENT, None).unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, given && found.uid() != 7), (0o640, false));
        let lock = std::fs::metadata(folder.path().join("tokens.lock")).unwrap();
        assert_eq!(lock.uid(), found.uid(), "the server's user can lock too");
    }
}
