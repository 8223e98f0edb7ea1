//! Keys that stay in their file: each is read and expanded when it is used, and a bounded part of them is kept.
//!
//! The file is checked whole when it is opened: header, order, checksums, every shape and residue. It stays open, and its
//! table of checksums in memory: a file that is replaced under its name changes nothing, one that is cut short or written
//! over is an error of the use that meets it. Promises: keys are those that were checked; the limit of
//! [`Cache`](super::cache::Cache).

use super::cache::Cache;
use super::key_memory_bytes;
use crate::files::{FileError, KeyFile};
use cipherloom_ckks::{CkksError, Context, EvaluationKey, KeyShape, KeyStore};
use cipherloom_ir::container::ContainerError;
use std::io::{ErrorKind, Read, Seek};
use std::sync::{Arc, Mutex};

/// Where a file of keys is read from.
pub(crate) trait Stream: Read + Seek + Send {}

impl<T: Read + Seek + Send> Stream for T {}

/// How keys were paged so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Most bytes of expanded keys in memory.
    pub limit_bytes: u64,
    /// Keys that were read and expanded, not counting the check of the file.
    pub reads: u64,
    /// Those among them that had been read before.
    pub read_again: u64,
    /// Uses that did not come in the order of the circuit.
    pub unforeseen: u64,
}

/// The keys of a checked file.
pub(crate) struct PagedKeys {
    context: Arc<Context>,
    shapes: Vec<KeyShape>,
    file: Mutex<KeyFile<Box<dyn Stream>>>,
    cache: Mutex<Cache<EvaluationKey>>,
}

const LOCK: &str = "nothing panics while it reads or counts";

impl PagedKeys {
    /// Checks the file; `order` names the uses of an evaluation.
    pub(crate) fn open(
        mut file: KeyFile<Box<dyn Stream>>,
        context: Arc<Context>,
        shapes: Vec<KeyShape>,
        limit_bytes: u64,
        order: &[usize],
    ) -> Result<PagedKeys, FileError> {
        shapes.iter().enumerate().try_for_each(|(index, shape)| file.check(&context, index, shape))?;
        let cache = Mutex::new(Cache::new(limit_bytes, order));
        Ok(PagedKeys { context, shapes, file: Mutex::new(file), cache })
    }

    pub(crate) fn paging(&self) -> Paging {
        let cache = self.cache.lock().expect(LOCK);
        let counts = cache.counts();
        Paging {
            limit_bytes: cache.limit(),
            reads: counts.reads,
            read_again: counts.again,
            unforeseen: counts.unforeseen,
        }
    }

    /// No lock is held while a key is expanded, which may run other work on this thread.
    fn read(&self, index: usize) -> Result<EvaluationKey, FileError> {
        let bytes = self.file.lock().expect(LOCK).bytes(&self.context, index, &self.shapes[index])?;
        crate::files::key_of(&self.context, index, &self.shapes[index], &bytes)
    }
}

impl KeyStore for PagedKeys {
    fn shape(&self, index: usize) -> &KeyShape {
        &self.shapes[index]
    }

    fn take(&self, index: usize) -> Result<Arc<EvaluationKey>, CkksError> {
        let bytes = key_memory_bytes(&self.shapes[index], self.context.n());
        {
            let mut cache = self.cache.lock().expect(LOCK);
            if let Some(key) = cache.take(index) {
                return Ok(key);
            }
            cache.reserve(bytes);
        }
        let read = self.read(index);
        let mut cache = self.cache.lock().expect(LOCK);
        match read {
            Ok(key) => {
                let key = Arc::new(key);
                cache.insert(index, key.clone(), bytes);
                Ok(key)
            }
            Err(error) => {
                cache.release(bytes);
                Err(CkksError::KeyStore { index, what: changed(&error) })
            }
        }
    }
}

/// What happened to a file that was sound when it was opened.
fn changed(error: &FileError) -> String {
    match error {
        FileError::Container(ContainerError::Io(e)) if e.kind() == ErrorKind::UnexpectedEof => {
            "the file was cut short since it was opened".into()
        }
        FileError::Container(ContainerError::Checksum { .. }) => {
            "the file was written over since it was opened".into()
        }
        other => other.to_string(),
    }
}

impl std::fmt::Debug for PagedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PagedKeys({} keys, {:?})", self.shapes.len(), self.paging())
    }
}
