//! The evaluation keys of a circuit, in the order of its key table: in memory, or paged from their file.

mod cache;
mod paged;
mod uses;

use crate::error::RuntimeError;
use crate::files::{FileError, KeyFile};
use cipherloom_ckks::{CkksError, Context, EvaluationKey, KeyHandle, KeyShape};
use cipherloom_ir::scheme::{Gadget, KeyKind, KeySpec};
use cipherloom_ir::{Circuit, Digest, KeyId, Verified};
pub use paged::Paging;
use paged::{PagedKeys, Stream};
use std::io::{Read, Seek};
use std::sync::Arc;

/// Evaluation keys that have been checked against a circuit's key table.
#[derive(Debug)]
pub struct KeySet {
    specs: Vec<KeySpec>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Loaded(Vec<EvaluationKey>),
    Paged(Box<PagedKeys>),
}

impl KeySet {
    /// Takes keys in the circuit's order; each must switch what its entry says, with its gadget, at its level.
    pub fn new(
        context: &Context,
        specs: &[KeySpec],
        keys: Vec<EvaluationKey>,
    ) -> Result<KeySet, RuntimeError> {
        if keys.len() != specs.len() {
            return Err(RuntimeError::KeyCount { wanted: specs.len(), found: keys.len() });
        }
        for (index, (spec, key)) in specs.iter().zip(&keys).enumerate() {
            let (wanted, found) = (key_shape(context, spec), key.shape());
            if *found != wanted {
                let what = format!("{found:?} was given instead of {wanted:?}");
                return Err(RuntimeError::WrongKey { index, wanted: spec.kind, what });
            }
        }
        Ok(KeySet { specs: specs.to_vec(), keys: Keys::Loaded(keys) })
    }

    /// The keys of a file of which at most `limit_bytes` are in memory, expanded; it has room for the largest key at least.
    /// The whole file is checked here; a key that cannot be read later is [`RuntimeError::KeyPage`]. An evaluation with
    /// paged keys runs its nodes in the circuit's order, one after the other.
    pub fn paged(
        stream: impl Read + Seek + Send + 'static,
        circuit: &Verified,
        digest: &Digest,
        context: &Arc<Context>,
        limit_bytes: u64,
    ) -> Result<KeySet, FileError> {
        let stream: Box<dyn Stream> = Box::new(stream);
        let file = KeyFile::open(stream, circuit, digest)?;
        let shapes: Vec<KeyShape> = circuit.keys.iter().map(|spec| key_shape(context, spec)).collect();
        let order = uses::uses(circuit);
        let keys = PagedKeys::open(file, context.clone(), shapes, limit_bytes, &order)?;
        Ok(KeySet { specs: circuit.keys.clone(), keys: Keys::Paged(Box::new(keys)) })
    }

    /// How its keys were paged so far, unless they are all in memory.
    pub fn paging(&self) -> Option<Paging> {
        match &self.keys {
            Keys::Loaded(_) => None,
            Keys::Paged(keys) => Some(keys.paging()),
        }
    }

    /// A key of the table.
    pub(crate) fn get(&self, id: KeyId) -> KeyHandle<'_> {
        self.handle(id.0 as usize)
    }

    /// The key of this kind and gadget that reaches highest: one that a bootstrapping's plan uses.
    pub(crate) fn planned(&self, kind: KeyKind, gadget: Gadget) -> Result<KeyHandle<'_>, CkksError> {
        planned(&self.specs, kind, gadget).map(|index| self.handle(index)).ok_or(CkksError::Empty)
    }

    fn handle(&self, index: usize) -> KeyHandle<'_> {
        match &self.keys {
            Keys::Loaded(keys) => KeyHandle::Held(&keys[index]),
            Keys::Paged(keys) => KeyHandle::Stored(&**keys, index),
        }
    }
}

/// Number of the key of this kind and gadget that reaches highest.
fn planned(specs: &[KeySpec], kind: KeyKind, gadget: Gadget) -> Option<usize> {
    specs.iter().rposition(|spec| spec.kind == kind && spec.gadget == gadget)
}

/// What the engine calls a key of the circuit's table.
pub(crate) fn key_shape(context: &Context, spec: &KeySpec) -> KeyShape {
    shape_of(context.n(), spec)
}

/// The same for a ring degree.
pub(crate) fn shape_of(n: usize, spec: &KeySpec) -> KeyShape {
    let KeySpec { kind, level, gadget } = spec;
    KeyShape::of(kind.code(n), level.limbs(), gadget.digit_limbs, gadget.special_limbs)
}

/// Memory of a key, expanded: for every digit two polynomials over the chain and P.
pub(crate) fn key_memory_bytes(shape: &KeyShape, n: usize) -> u64 {
    let digits = shape.limbs.0.div_ceil(shape.gadget.digit_limbs.max(1));
    (2 * digits * shape.basis_limbs() * n * size_of::<u64>()) as u64
}

/// Memory of a circuit's evaluation keys, expanded.
pub fn expanded_key_bytes(circuit: &Circuit) -> u64 {
    let n = circuit.parameters.n();
    circuit.keys.iter().map(|spec| key_memory_bytes(&shape_of(n, spec), n)).sum()
}
