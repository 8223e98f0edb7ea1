//! Keys that need not be in memory: an operation is told where one is, and takes it for as long as it works with it.
//!
//! Promises: no operation holds more than one key of a store at a time, so whoever keeps a store knows what it must have room
//! for. A linear sweep takes the keys of its babies by input and step; then those of its giant steps, first of steps that nothing is carried
//! onto, by output and step, then, output by output, of the others by the length of the way that leads to each.

use std::ops::Deref;
use std::sync::Arc;

use crate::{CkksError, EvaluationKey, KeyShape};

/// Where keys are that are brought into memory when they are used.
pub trait KeyStore: Sync {
    /// What the key of this number switches.
    fn shape(&self, index: usize) -> &KeyShape;

    /// The key of this number, for as long as the result lives.
    ///
    /// # Errors
    /// [`CkksError::KeyStore`] where it cannot be had.
    fn take(&self, index: usize) -> Result<Arc<EvaluationKey>, CkksError>;
}

/// A key in memory, or the place of one in a store.
#[derive(Clone, Copy)]
pub enum KeyHandle<'a> {
    /// In memory.
    Held(&'a EvaluationKey),
    /// The key of this number.
    Stored(&'a dyn KeyStore, usize),
}

impl<'a> KeyHandle<'a> {
    /// What the key switches, its limbs and gadget.
    pub fn shape(self) -> &'a KeyShape {
        match self {
            KeyHandle::Held(key) => key.shape(),
            KeyHandle::Stored(store, index) => store.shape(index),
        }
    }

    /// The key itself.
    ///
    /// # Errors
    /// Those of [`KeyStore::take`].
    pub fn take(self) -> Result<TakenKey<'a>, CkksError> {
        match self {
            KeyHandle::Held(key) => Ok(TakenKey::Held(key)),
            KeyHandle::Stored(store, index) => store.take(index).map(TakenKey::Taken),
        }
    }
}

impl<'a> From<&'a EvaluationKey> for KeyHandle<'a> {
    fn from(key: &'a EvaluationKey) -> KeyHandle<'a> {
        KeyHandle::Held(key)
    }
}

/// A key while it is used; a store may give its memory to another one afterwards.
pub enum TakenKey<'a> {
    /// It was in memory before.
    Held(&'a EvaluationKey),
    /// Taken from a store.
    Taken(Arc<EvaluationKey>),
}

impl Deref for TakenKey<'_> {
    type Target = EvaluationKey;
    fn deref(&self) -> &EvaluationKey {
        match self {
            TakenKey::Held(key) => key,
            TakenKey::Taken(key) => key,
        }
    }
}
