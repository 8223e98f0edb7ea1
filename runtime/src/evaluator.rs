//! A circuit made ready to run: ring tables, keys, plaintexts, schedule.

use crate::encrypted::Encrypted;
use crate::error::RuntimeError;
use crate::keys::KeySet;
use crate::observe::{NodeEvent, Observer};
use crate::plaintexts::Plaintexts;
use crate::schedule::Schedule;
use cipherloom_ckks::{Ciphertext, Context, EvaluationKey};
use cipherloom_ir::scheme::CanonicalScales;
use cipherloom_ir::{Circuit, Verified};
use cipherloom_ring::Path;
use std::sync::Arc;
use std::time::Instant;

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

/// What every part of an evaluation reads: the circuit, its ring and its scales as numbers.
pub(crate) struct Frame {
    pub(crate) circuit: Verified,
    pub(crate) context: Arc<Context>,
    pub(crate) scales: CanonicalScales,
}

/// A verified circuit with its keys.
pub struct Evaluator {
    frame: Frame,
    keys: KeySet,
    schedule: Schedule,
    plaintexts: Option<Plaintexts>,
    options: Options,
}

impl Evaluator {
    /// The ring of a circuit, to read keys and ciphertexts with.
    pub fn context(circuit: &Verified, options: &Options) -> Result<Arc<Context>, RuntimeError> {
        let p = &circuit.parameters;
        Context::new(p.log_n, &p.chain, &p.special, options.path)
            .map(Arc::new)
            .map_err(RuntimeError::Parameters)
    }

    /// Takes a circuit and its evaluation keys, in the order of the circuit's key table.
    pub fn new(
        circuit: Verified,
        context: Arc<Context>,
        keys: Vec<EvaluationKey>,
        options: Options,
    ) -> Result<Evaluator, RuntimeError> {
        let keys = KeySet::new(&context, &circuit.keys, keys)?;
        let schedule = Schedule::new(&circuit);
        let scales = CanonicalScales::new(&circuit.parameters);
        let frame = Frame { circuit, context, scales };
        Ok(Evaluator { frame, keys, schedule, plaintexts: None, options })
    }

    /// Materialises and encodes the plaintexts; [`Evaluator::run`] does it if it has not been done.
    pub fn prepare(&mut self) -> Result<(), RuntimeError> {
        if self.plaintexts.is_none() {
            let budget = self.options.plaintext_budget_bytes;
            self.plaintexts = Some(Plaintexts::prepare(&self.frame, budget)?);
        }
        Ok(())
    }

    /// Changes the memory for prepared plaintexts; they are prepared anew at the next evaluation.
    pub fn set_plaintext_budget(&mut self, bytes: usize) {
        self.options.plaintext_budget_bytes = bytes;
        self.plaintexts = None;
    }

    /// Evaluates once on the current rayon pool: ciphertexts of each input to those of each output.
    pub fn run(
        &mut self,
        inputs: &[Vec<Ciphertext>],
        observer: &dyn Observer,
    ) -> Result<Vec<Vec<Ciphertext>>, RuntimeError> {
        self.prepare()?;
        self.check_inputs(inputs)?;
        let plaintexts = self.plaintexts.as_ref().expect("prepared above");
        let circuit: &Circuit = &self.frame.circuit;
        let meaning = Encrypted { frame: &self.frame, keys: &self.keys, plaintexts, inputs };
        let apply = |index: usize, operands: &[Arc<Ciphertext>]| {
            let start = Instant::now();
            let results = meaning.apply(index, operands)?;
            let node = &circuit.nodes[index];
            observer.node_done(&NodeEvent {
                node: index,
                op: node.op.name(),
                origin: &circuit.origins[node.origin as usize],
                nodes: circuit.nodes.len(),
                elapsed: start.elapsed(),
            });
            Ok(results)
        };
        let mut values = self.schedule.run(circuit, &apply).map_err(|(_, e)| e)?.into_iter();
        let take = |n: usize, values: &mut dyn Iterator<Item = Arc<Ciphertext>>| {
            values.take(n).map(|v| Arc::try_unwrap(v).unwrap_or_else(|v| (*v).clone())).collect()
        };
        Ok(circuit.outputs.iter().map(|o| take(o.values.len(), &mut values)).collect())
    }

    /// The circuit.
    pub fn circuit(&self) -> &Verified {
        &self.frame.circuit
    }

    fn check_inputs(&self, inputs: &[Vec<Ciphertext>]) -> Result<(), RuntimeError> {
        let specs = &self.frame.circuit.inputs;
        for (k, spec) in specs.iter().enumerate() {
            let wanted = self.frame.circuit.layout(spec.layout).ciphertexts as usize;
            let given = inputs.get(k).map_or(&[][..], |v| &v[..]);
            if given.len() != wanted {
                return Err(RuntimeError::InputCount { name: spec.name.clone(), wanted, found: given.len() });
            }
            for (index, ciphertext) in given.iter().enumerate() {
                let wrong = |what: String| RuntimeError::WrongInput { name: spec.name.clone(), index, what };
                let (limbs, top) = (ciphertext.limbs().0, self.frame.circuit.parameters.top().limbs());
                if limbs != top {
                    return Err(wrong(format!("has {limbs} limbs, a fresh encryption has {top}")));
                }
                if ciphertext.degree() != 1 {
                    return Err(wrong(format!("has degree {}", ciphertext.degree())));
                }
                if ciphertext.part(0).degree() != self.frame.context.degree() {
                    return Err(wrong("is in another ring".into()));
                }
            }
        }
        Ok(())
    }
}
