//! A secret key's file under a passphrase.
//!
//! PBKDF2 with HMAC-SHA256 (RFC 8018, NIST SP 800-132) makes the key, ChaCha20-Poly1305 (RFC 8439) seals the file. The form:
//! magic, number of iterations (4 bytes, little endian), salt (16), nonce (12), sealed bytes with their tag; the part before the
//! nonce is authenticated too.

use crate::error::{Kind, RemoteError};
use cipherloom_ir::container::SEALED_MAGIC;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use std::num::NonZeroU32;
use std::path::Path;
use zeroize::Zeroizing;

/// OWASP's figure for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023).
const ITERATIONS: u32 = 600_000;
/// A file may ask for more, but not for hours.
const ITERATIONS_MAX: u32 = 100_000_000;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 8 + 4 + SALT_BYTES;

/// A passphrase; wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// The first line of these bytes, which may not be empty.
    pub fn new(bytes: &[u8]) -> Result<Passphrase, RemoteError> {
        match bytes.split(|b| *b == b'\n' || *b == b'\r').next() {
            None | Some([]) => Err(RemoteError::new(Kind::Usage, "passphrase", "is empty")
                .remedy("write one on the first line, or name none to leave the key unsealed")),
            Some(line) => Ok(Passphrase(Zeroizing::new(line.to_vec()))),
        }
    }

    fn key(&self, head: &[u8; HEAD_BYTES]) -> Result<LessSafeKey, RemoteError> {
        let iterations = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let count = NonZeroU32::new(iterations.min(ITERATIONS_MAX)).unwrap_or(NonZeroU32::MIN);
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &head[12..], &self.0, &mut *key);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*key)
            .map_err(|_| RemoteError::new(Kind::Internal, "passphrase", "no key could be made"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// Whether a file is sealed.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&SEALED_MAGIC)
}

/// Seals a file.
pub(crate) fn seal(passphrase: &Passphrase, plain: &[u8]) -> Result<Vec<u8>, RemoteError> {
    seal_with(passphrase, plain, ITERATIONS)
}

fn seal_with(passphrase: &Passphrase, plain: &[u8], iterations: u32) -> Result<Vec<u8>, RemoteError> {
    let mut random = [0; SALT_BYTES + NONCE_LEN];
    getrandom::fill(&mut random)
        .map_err(|_| RemoteError::new(Kind::Resources, "passphrase", "the system gives no randomness"))?;
    let (salt, nonce) = random.split_at(SALT_BYTES);
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&SEALED_MAGIC);
    head[8..12].copy_from_slice(&iterations.to_le_bytes());
    head[12..].copy_from_slice(salt);
    let key = passphrase.key(&head)?;
    // The buffer holds the plain bytes only until they are sealed in place, and never grows.
    let mut sealed = Vec::with_capacity(plain.len() + CHACHA20_POLY1305.tag_len());
    sealed.extend_from_slice(plain);
    let once = Nonce::try_assume_unique_for_key(nonce)
        .and_then(|nonce| key.seal_in_place_append_tag(nonce, Aad::from(&head), &mut sealed));
    once.map_err(|_| RemoteError::new(Kind::Internal, "passphrase", "the key could not be sealed"))?;
    Ok([&head[..], nonce, &sealed].concat())
}

/// Opens a sealed file.
pub(crate) fn open(
    path: &Path,
    passphrase: &Passphrase,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, RemoteError> {
    let broken = || RemoteError::new(Kind::BadInput, path.display(), "the sealed key is damaged");
    let (head, rest) = sealed.split_first_chunk::<HEAD_BYTES>().ok_or_else(broken)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
    let key = passphrase.key(head)?;
    let mut plain = Zeroizing::new(rest.to_vec());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(head), &mut plain)
        .map_err(|_| {
            RemoteError::new(Kind::Mismatch, path.display(), "the passphrase does not open this key")
                .remedy("give the passphrase that was used at `client init`")
        })?
        .len();
    plain.truncate(length);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_passphrase_is_none() {
        for empty in ["", "\n", "\r\nsecond line"] {
            assert!(Passphrase::new(empty.as_bytes()).is_err_and(|e| e.kind == Kind::Usage), "{empty:?}");
        }
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_alone() {
        let right = Passphrase::new(b"correct horse\n").unwrap();
        let wrong = Passphrase::new(b"battery staple").unwrap();
        let sealed = seal_with(&right, b"secret", 10).unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(6).any(|w| w == b"secret"));
        let path = Path::new("secret.key");
        assert_eq!(&**open(path, &right, &sealed).unwrap(), b"secret");
        assert_eq!(open(path, &wrong, &sealed).unwrap_err().kind, Kind::Mismatch);
        // Without the upper bytes of the count, which would make opening slow.
        for k in (0..sealed.len()).filter(|k| !(9..12).contains(k)) {
            let mut bad = sealed.clone();
            bad[k] ^= 1;
            assert!(open(path, &right, &bad).is_err() || !is_sealed(&bad), "byte {k}");
            assert!(open(path, &right, &sealed[..k]).is_err(), "cut at {k}");
        }
        assert_ne!(seal_with(&right, b"secret", 10).unwrap(), sealed, "salt and nonce are fresh");
    }
}
