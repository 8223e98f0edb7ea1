//! The circuits that a server offers, verified, by digest.

use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Circuit, Digest, Manifest, Verified};
use cipherloom_runtime::expanded_key_bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model that can be asked for.
pub(crate) struct Model {
    pub(crate) circuit: Arc<Verified>,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_bytes: Vec<u8>,
    /// Evaluation keys in memory.
    pub(crate) key_memory_bytes: u64,
    /// What an evaluation takes besides the keys: plaintexts, values, tables.
    pub(crate) program_memory_bytes: u64,
}

/// Slack over the forecast for headers of files: a section table has 40 bytes an entry.
const HEADER_BYTES: u64 = 64 << 10;

/// Largest file of a circuit, as `run` takes it.
const LOOM_BYTES_MAX: u64 = 1 << 31;

impl Model {
    fn new(circuit: Verified) -> Result<Model, String> {
        let manifest = Manifest::of(&circuit).map_err(|e| e.to_string())?;
        let key_memory_bytes = expanded_key_bytes(&circuit);
        let forecast = circuit.forecast.memory_bytes.saturating_sub(key_memory_bytes);
        Ok(Model {
            manifest_bytes: manifest.to_bytes(),
            key_memory_bytes,
            program_memory_bytes: forecast.max(circuit.peak_value_bytes()),
            manifest,
            circuit: Arc::new(circuit),
        })
    }

    /// Most bytes that a file of its evaluation keys has.
    pub(crate) fn key_bytes_max(&self) -> u64 {
        // A circuit without a forecast is bounded by the keys' size in memory, which seeds halve on disk.
        let keys = self.manifest.forecast.key_bytes.max(self.key_memory_bytes);
        keys.saturating_add(HEADER_BYTES + 512 * self.manifest.keys.len() as u64)
    }

    /// Fewer bytes no file of its evaluation keys has: each key holds polynomials, whose coefficients take more than a byte.
    pub(crate) fn key_bytes_min(&self) -> u64 {
        ((self.manifest.keys.len() as u64) << self.manifest.parameters.log_n).max(1)
    }

    /// Most bytes that a file of its encrypted inputs has: whole ciphertexts at the top level.
    pub(crate) fn input_bytes_max(&self) -> u64 {
        let p = &self.manifest.parameters;
        let ciphertext = (2 * 8 * p.chain.len() as u64) << p.log_n;
        let count: u64 = self.manifest.inputs.iter().map(|i| u64::from(i.layout.ciphertexts)).sum();
        count.saturating_mul(ciphertext).saturating_add(HEADER_BYTES)
    }
}

/// All models of a server.
pub(crate) struct Models(BTreeMap<Digest, Arc<Model>>);

impl Models {
    /// Reads and verifies every `.loom` among the paths and in the folders among them, in order of names.
    pub(crate) fn open(paths: &[PathBuf], policy: &SecurityPolicy) -> Result<Models, ModelError> {
        let mut models = BTreeMap::new();
        for path in looms(paths)? {
            let wrong = |what: String| ModelError { path: path.clone(), what };
            let bytes = read(&path).map_err(|e| wrong(e.to_string()))?;
            let circuit = Circuit::from_bytes(&bytes).map_err(|e| wrong(e.to_string()))?;
            let verified = Verified::new(circuit, policy).map_err(|e| wrong(e.to_string()))?;
            let model = Model::new(verified).map_err(wrong)?;
            models.insert(model.manifest.circuit, Arc::new(model));
        }
        match models.is_empty() {
            true => {
                let path = paths.first().cloned().unwrap_or_default();
                Err(ModelError { path, what: "no .loom file stands here".into() })
            }
            false => Ok(Models(models)),
        }
    }

    pub(crate) fn get(&self, id: &Digest) -> Option<&Arc<Model>> {
        self.0.get(id)
    }

    /// In the order of their digests.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.0.values()
    }
}

/// A model that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct ModelError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub what: String,
}

/// Reads a file whole, unless it is larger than any circuit (a device may have no end).
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let too_large = || Err(io::Error::other(format!("is larger than {LOOM_BYTES_MAX} bytes")));
    let (file, mut bytes) = (File::open(path)?, Vec::new());
    let told = file.metadata()?;
    if told.is_file() && told.len() > LOOM_BYTES_MAX {
        return too_large();
    }
    file.take(LOOM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LOOM_BYTES_MAX {
        true => too_large(),
        false => Ok(bytes),
    }
}

fn looms(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ModelError> {
    let is_loom = |p: &Path| p.extension().is_some_and(|e| e == "loom");
    let mut all = Vec::new();
    for path in paths {
        let wrong = |e: std::io::Error| ModelError { path: path.clone(), what: e.to_string() };
        match path.is_dir() {
            true => {
                let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(wrong)?.collect();
                all.extend(entries.map_err(wrong)?.into_iter().map(|e| e.path()).filter(|p| is_loom(p)));
            }
            false => all.push(path.clone()),
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_any_circuit_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LOOM_BYTES_MAX + 1).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().starts_with("is larger than"));
        file.as_file().set_len(3).unwrap();
        assert_eq!(read(file.path()).unwrap(), [0; 3]);
    }
}
