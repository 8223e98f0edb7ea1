//! The evaluation keys of a circuit, in the order of its key table.

use crate::error::RuntimeError;
use cipherloom_ckks::{
    Context, EvaluationKey, Gadget, GaloisElement, KeyShape, KeyTarget, Limbs, RotationStep,
};
use cipherloom_ir::KeyId;
use cipherloom_ir::scheme::{KeyKind, KeySpec};

/// Evaluation keys that have been checked against a circuit's key table.
#[derive(Debug)]
pub struct KeySet {
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
        Ok(KeySet { keys })
    }

    /// A key of the table.
    pub(crate) fn get(&self, id: KeyId) -> &EvaluationKey {
        &self.keys[id.0 as usize]
    }
}

/// What the engine calls a key of the circuit's table. The client has the same lines: the two share no crate that knows
/// both tables.
pub(crate) fn key_shape(context: &Context, spec: &KeySpec) -> KeyShape {
    let target = match spec.kind {
        KeyKind::Relinearization => KeyTarget::Relinearization,
        KeyKind::Rotation(step) => KeyTarget::Galois(RotationStep(step).element(context.degree())),
        KeyKind::Conjugation => KeyTarget::Galois(GaloisElement::conjugation(context.degree())),
    };
    let gadget = Gadget {
        digit_limbs: spec.gadget.digit_limbs as usize,
        special_limbs: spec.gadget.special_limbs as usize,
    };
    KeyShape { target, limbs: Limbs(spec.level.limbs()), gadget }
}
