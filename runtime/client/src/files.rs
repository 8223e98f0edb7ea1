//! The client's files: `cipherloom-ir`'s container around the payloads of `cipherloom-ckks`.
//!
//! | file | sections, tagged 0, 1, … in this order |
//! |---|---|
//! | secret key, public key | the key |
//! | evaluation keys | one per key, in the manifest's order |
//! | encrypted input, output | one per ciphertext: tensors in the manifest's order, their ciphertexts in order |
//!
//! Every file names its circuit. Keys are made and written one at a time, so that a large set needs little memory; a
//! reader knows from the manifest how long each section may be and allocates no more.

use crate::{Client, ClientError, EncryptedInput, EncryptedOutput, FreshCiphertext, SecretKey};
use cipherloom_ckks::wire::{
    ciphertext_bytes, evaluation_key_bytes, expect_end, read_ciphertext, read_public_key, write_ciphertext,
    write_evaluation_key, write_public_key, write_seeded_ciphertext,
};
use cipherloom_ckks::{Ciphertext, Context, PublicKey};
use cipherloom_ir::container::{ContainerReader, ContainerWriter, Kind};
use std::io::{Read, Seek, Write};
use zeroize::Zeroizing;

/// Room for a secret key's file, sealed or not (16 KiB at N = 2^16), so that no copy is left behind by a buffer that grows.
pub const SECRET_KEY_BYTES_MAX: usize = 1 << 16;

impl EncryptedInput {
    /// The ciphertexts in the form that a server computes with.
    pub fn expand(&self, context: &Context) -> Result<Vec<Ciphertext>, ClientError> {
        self.ciphertexts.iter().map(|c| Ok(c.clone().expand(context)?)).collect()
    }
}

impl Client {
    /// Writes the secret key's file. Whoever reads it reads everything: the caller sees to its permissions.
    pub fn write_secret_key(&self, secret: &SecretKey, out: impl Write + Seek) -> Result<(), ClientError> {
        secret.check(self.context())?;
        let mut payload = Zeroizing::new(Vec::with_capacity(secret_key_bytes(self.context())));
        secret.write(&mut *payload)?;
        let mut file = ContainerWriter::new(out, Kind::SecretKey, Some(self.manifest().circuit), 1)?;
        file.write_section(0, &payload)?;
        file.finish()?;
        Ok(())
    }

    /// Reads a secret key of this circuit.
    pub fn read_secret_key(&self, from: impl Read + Seek) -> Result<SecretKey, ClientError> {
        let mut file = self.open(from, Kind::SecretKey, 1)?;
        let payload = Zeroizing::new(file.read_section(0, secret_key_bytes(self.context()) as u64)?);
        let mut rest = payload.as_slice();
        let secret = SecretKey::read(&mut rest)?;
        expect_end(&mut rest)?;
        secret.check(self.context())?;
        Ok(secret)
    }

    /// Writes a public key's file.
    pub fn write_public_key(&self, key: &PublicKey, out: impl Write + Seek) -> Result<(), ClientError> {
        let mut payload = Vec::new();
        write_public_key(self.context(), key, &mut payload)?;
        let mut file = ContainerWriter::new(out, Kind::PublicKey, Some(self.manifest().circuit), 1)?;
        file.write_section(0, &payload)?;
        file.finish()?;
        Ok(())
    }

    /// Reads a public key of this circuit.
    pub fn read_public_key(&self, from: impl Read + Seek) -> Result<PublicKey, ClientError> {
        let mut file = self.open(from, Kind::PublicKey, 1)?;
        // The payload is a count, a seed and one polynomial: less than a whole ciphertext.
        let limbs = self.fresh_limbs();
        let limit = ciphertext_bytes(self.context(), limbs, 2) as u64 + 64;
        let payload = file.read_section(0, limit)?;
        let mut rest = payload.as_slice();
        let key = read_public_key(self.context(), &mut rest)?;
        expect_end(&mut rest)?;
        Ok(key)
    }

    /// Makes the evaluation keys and writes their file. After each key `written` is told the bytes of all payloads so far,
    /// which end at [`Client::evaluation_key_bytes`].
    pub fn write_evaluation_keys(
        &self,
        secret: &SecretKey,
        out: impl Write + Seek,
        mut written: impl FnMut(u64),
    ) -> Result<(), ClientError> {
        let keys = self.evaluation_keys(secret)?;
        let (kind, circuit) = (Kind::EvaluationKeys, self.manifest().circuit);
        let mut file = ContainerWriter::new(out, kind, Some(circuit), keys.len() as u32)?;
        let mut payload = Vec::new();
        let mut bytes = 0;
        for (tag, key) in keys.enumerate() {
            payload.clear();
            write_evaluation_key(self.context(), &key?, &mut payload)?;
            file.write_section(tag as u32, &payload)?;
            bytes += payload.len() as u64;
            written(bytes);
        }
        file.finish()?;
        Ok(())
    }

    /// Bytes of the evaluation keys' payloads.
    pub fn evaluation_key_bytes(&self) -> u64 {
        self.key_shapes().iter().map(|shape| evaluation_key_bytes(self.context(), shape) as u64).sum()
    }

    /// Writes an encrypted input.
    pub fn write_input(&self, input: &EncryptedInput, out: impl Write + Seek) -> Result<(), ClientError> {
        let count = input.ciphertexts.len() as u32;
        let mut file = ContainerWriter::new(out, Kind::EncryptedInput, Some(input.circuit), count)?;
        let mut payload = Vec::new();
        for (tag, ciphertext) in input.ciphertexts.iter().enumerate() {
            payload.clear();
            match ciphertext {
                FreshCiphertext::Seeded(c) => write_seeded_ciphertext(self.context(), c, &mut payload)?,
                FreshCiphertext::Full(c) => write_ciphertext(self.context(), c, &mut payload)?,
            }
            file.write_section(tag as u32, &payload)?;
        }
        file.finish()?;
        Ok(())
    }

    /// Reads an encrypted output of this circuit.
    pub fn read_output(&self, from: impl Read + Seek) -> Result<EncryptedOutput, ClientError> {
        let limbs = self.output_ciphertexts();
        let mut file = self.open(from, Kind::EncryptedOutput, limbs.len())?;
        let mut ciphertexts = Vec::with_capacity(limbs.len());
        for (index, limbs) in limbs.into_iter().enumerate() {
            let payload = file.read_section(index, ciphertext_bytes(self.context(), limbs, 2) as u64)?;
            let mut rest = payload.as_slice();
            ciphertexts.push(read_ciphertext(self.context(), &mut rest)?);
            expect_end(&mut rest)?;
        }
        Ok(EncryptedOutput { circuit: self.manifest().circuit, ciphertexts })
    }

    /// Opens a file of this circuit with as many sections as there should be.
    fn open<R: Read + Seek>(
        &self,
        from: R,
        kind: Kind,
        expected: usize,
    ) -> Result<ContainerReader<R>, ClientError> {
        let file = ContainerReader::open(from, kind)?;
        file.header().belongs_to(&self.manifest().circuit)?;
        let tags = file.header().sections.iter().map(|section| section.tag as usize);
        if !tags.eq(0..expected) {
            let found = file.header().sections.len();
            return Err(ClientError::Count { what: "sections in their order", found, expected });
        }
        Ok(file)
    }
}

/// Bytes of a secret key's payload.
fn secret_key_bytes(context: &Context) -> usize {
    4 + context.n() / 4
}
