//! How large constants may become: known before anything is computed.
//!
//! tract evaluates operators on constants while it analyses a model, and a few bytes of a file (a broadcast, a tile)
//! can ask for more than memory holds. Its rules for shapes tell the size of a result beforehand. Needs: a parsed,
//! not yet analysed model. Promises: after [`Growth::check`] no operator on constants whose rules tell its shape
//! yields more than [`MAX_ELEMENTS`] elements, all together no more than [`MAX_FOLDED_ELEMENTS`].

use super::draft::MAX_ELEMENTS;
use super::error::BadTensor;
use super::proto::GROWING;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceOp};
use tract_onnx::tract_hir::internal::DimLike;

/// Elements of all results of operators on constants, together: four times the largest file.
const MAX_FOLDED_ELEMENTS: u64 = 1 << 31;

/// What has been asked for so far.
#[derive(Default)]
pub(super) struct Growth {
    elements: u64,
}

impl Growth {
    /// Computes constants as tract's analysis will, each after its size has been checked, and leaves them in the model.
    pub fn check(&mut self, model: &mut InferenceModel) -> Result<(), BadTensor> {
        // The order of the file, in which operands stand before their use.
        for id in 0..model.nodes().len() {
            let node = model.node(id);
            let facts = node.inputs.iter().map(|o| model.outlet_fact(*o).ok().cloned());
            let Some(inputs) = facts.collect::<Option<Vec<_>>>() else { continue };
            if inputs.is_empty() || inputs.iter().any(|f| f.value.concretize().is_none()) {
                continue;
            }
            let outputs: Vec<InferenceFact> = node.outputs.iter().map(|o| o.fact.clone()).collect();
            let name = node.name.clone();
            let node = model.node_mut(id);
            if let Some(found) = elements(&mut node.op, &inputs, &outputs) {
                self.add(found).map_err(|reason| BadTensor { tensor: name, reason })?;
            }
            let Ok((_, inferred, _)) = node.op.infer(refs(&inputs), refs(&outputs), tvec!()) else {
                continue;
            };
            for (outlet, fact) in node.outputs.iter_mut().zip(inferred) {
                outlet.fact = fact;
            }
        }
        Ok(())
    }

    /// Whether the result of an ONNX operator on constants may be computed.
    pub fn holds(&mut self, op_type: &str, op: &mut Box<dyn InferenceOp>, inputs: &[InferenceFact]) -> bool {
        let outputs = vec![InferenceFact::default(); op.nboutputs().unwrap_or(1)];
        match elements(op, inputs, &outputs) {
            Some(found) => self.add(found).is_ok(),
            None => !GROWING.contains(&op_type),
        }
    }

    fn add(&mut self, found: u64) -> Result<(), String> {
        self.elements = self.elements.saturating_add(found);
        if found > MAX_ELEMENTS as u64 {
            return Err(format!(
                "as a constant it would have {found} values; at most {MAX_ELEMENTS} are folded"
            ));
        }
        match self.elements > MAX_FOLDED_ELEMENTS {
            true => {
                Err(format!("with it more than {MAX_FOLDED_ELEMENTS} values of constants would be folded"))
            }
            false => Ok(()),
        }
    }
}

/// Elements of an operator's results, as far as its rules tell.
fn elements(
    op: &mut Box<dyn InferenceOp>,
    inputs: &[InferenceFact],
    outputs: &[InferenceFact],
) -> Option<u64> {
    let (_, inferred, _) = op.infer_facts(refs(inputs), refs(outputs), tvec!()).ok()?;
    let one = |fact: &InferenceFact| {
        let dims = fact.shape.concretize()?;
        dims.iter().try_fold(1u64, |n, d| Some(n.saturating_mul(d.to_usize().ok()? as u64)))
    };
    inferred.iter().map(one).try_fold(0u64, |sum, n| Some(sum.saturating_add(n?)))
}

fn refs(facts: &[InferenceFact]) -> TVec<&InferenceFact> {
    facts.iter().collect()
}
