//! The evaluation keys of a circuit, in the order of its key table.

use crate::error::RuntimeError;
use cipherloom_ckks::{CkksError, Context, EvaluationKey, KeyShape};
use cipherloom_ir::scheme::{Gadget, KeyKind, KeySpec};
use cipherloom_ir::{Circuit, KeyId};

/// Evaluation keys that have been checked against a circuit's key table.
#[derive(Debug)]
pub struct KeySet {
    specs: Vec<KeySpec>,
    keys: Vec<EvaluationKey>,
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
        Ok(KeySet { specs: specs.to_vec(), keys })
    }

    /// A key of the table.
    pub(crate) fn get(&self, id: KeyId) -> &EvaluationKey {
        &self.keys[id.0 as usize]
    }

    /// The key of this kind and gadget that reaches highest: one that a bootstrapping's plan uses.
    pub(crate) fn planned(&self, kind: KeyKind, gadget: Gadget) -> Result<&EvaluationKey, CkksError> {
        let place = self.specs.iter().rposition(|spec| spec.kind == kind && spec.gadget == gadget);
        place.map(|index| &self.keys[index]).ok_or(CkksError::Empty)
    }
}

/// What the engine calls a key of the circuit's table.
pub(crate) fn key_shape(context: &Context, spec: &KeySpec) -> KeyShape {
    let KeySpec { kind, level, gadget } = spec;
    KeyShape::of(kind.code(context.n()), level.limbs(), gadget.digit_limbs, gadget.special_limbs)
}

/// Memory of a circuit's evaluation keys, expanded: for every digit two polynomials over the chain and P.
pub fn expanded_key_bytes(circuit: &Circuit) -> u64 {
    let bytes = |k: &KeySpec| {
        let digits = k.level.limbs().div_ceil(k.gadget.digit_limbs.max(1) as usize);
        let limbs = k.level.limbs() + k.gadget.special_limbs as usize;
        (2 * digits * limbs * circuit.parameters.n() * 8) as u64
    };
    circuit.keys.iter().map(bytes).sum()
}
