//! Terms become a circuit again.
//!
//! Relies on [`Transcript`], which copies tables and operations. Promises: what that promises.

use super::term::{Tables, Term};
use crate::error::CompileError;
use crate::transcribe::Transcript;
use cipherloom_ir::{Circuit, CircuitBuilder, ValueId};

pub(super) struct Rebuild<'a> {
    tables: &'a Tables,
    transcript: Transcript<'a>,
}

impl<'a> Rebuild<'a> {
    pub(super) fn new(circuit: &'a Circuit, tables: &'a Tables) -> Result<Rebuild<'a>, CompileError> {
        let builder = CircuitBuilder::new(&circuit.name, circuit.parameters.clone())?;
        let gadget = circuit.keys.first().map(|k| k.gadget);
        Ok(Rebuild { tables, transcript: Transcript::new(circuit, &tables.maps, builder, gadget)? })
    }

    /// The values of a term: all results of a plan, all outputs, or one value.
    pub(super) fn term(
        &mut self,
        term: &Term,
        operands: Vec<ValueId>,
        origin: u32,
    ) -> Result<Vec<ValueId>, CompileError> {
        self.transcript.origin(origin);
        match term {
            Term::Input(input, ciphertext) => {
                return Ok(vec![self.transcript.inputs[*input as usize][*ciphertext as usize]]);
            }
            Term::Part(..) | Term::Deliver(_) => return Ok(operands),
            _ => {}
        }
        let op = self.tables.op(term, &operands);
        self.transcript.op(op.ok_or_else(|| CompileError::Internal(format!("rescale chose {term:?}")))?)
    }

    /// The circuit with these output values.
    pub(super) fn finish(self, values: &[ValueId]) -> Result<Circuit, CompileError> {
        self.transcript.finish(values)
    }
}
