//! A circuit with the keys of one client.

use crate::error::RuntimeError;
use crate::keys::KeySet;
use crate::observe::Observer;
use crate::program::Program;
use cipherloom_ckks::{Ciphertext, Context, EvaluationKey};
use cipherloom_ir::Verified;
use cipherloom_ring::Path;
use std::sync::Arc;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for prepared plaintexts, bytes; beyond it they are made again at every use.
    pub plaintext_budget_bytes: usize,
    /// Kernel path; all give the same bytes.
    pub path: Path,
}

impl Default for Options {
    fn default() -> Options {
        Options { plaintext_budget_bytes: cipherloom_ir::PLAINTEXT_BYTES as usize, path: Path::best() }
    }
}

/// A verified circuit with its keys.
pub struct Evaluator {
    program: Program,
    keys: KeySet,
}

impl Evaluator {
    /// The ring of a circuit, to read keys and ciphertexts with.
    pub fn context(circuit: &Verified, options: &Options) -> Result<Arc<Context>, RuntimeError> {
        Program::context(circuit, options)
    }

    /// Takes a circuit and its evaluation keys, in the order of the circuit's key table.
    pub fn new(
        circuit: Verified,
        context: Arc<Context>,
        keys: Vec<EvaluationKey>,
        options: Options,
    ) -> Result<Evaluator, RuntimeError> {
        let keys = KeySet::new(&context, &circuit.keys, keys)?;
        Ok(Evaluator::with_keys(circuit, context, keys, options))
    }

    /// The same with keys that have been checked against this circuit, in memory or paged.
    pub fn with_keys(circuit: Verified, context: Arc<Context>, keys: KeySet, options: Options) -> Evaluator {
        Evaluator { program: Program::new(Arc::new(circuit), context, options), keys }
    }

    /// The keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Materialises and encodes the plaintexts; [`Evaluator::run`] does it if it has not been done.
    pub fn prepare(&mut self) -> Result<(), RuntimeError> {
        self.program.prepare()
    }

    /// Changes the memory for prepared plaintexts; they are prepared anew at the next evaluation.
    pub fn set_plaintext_budget(&mut self, bytes: usize) {
        self.program.set_plaintext_budget(bytes);
    }

    /// Evaluates once on the current rayon pool: ciphertexts of each input to those of each output.
    pub fn run(
        &mut self,
        inputs: &[Vec<Ciphertext>],
        observer: &dyn Observer,
    ) -> Result<Vec<Vec<Ciphertext>>, RuntimeError> {
        self.program.prepare()?;
        self.program.run(&self.keys, inputs, observer)
    }

    /// The circuit.
    pub fn circuit(&self) -> &Verified {
        self.program.circuit()
    }
}
