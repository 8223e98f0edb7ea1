//! A circuit made ready to run for any number of clients: ring tables, schedule and plaintexts, without keys.
//!
//! Relies on [`KeySet`] having been checked against the same circuit. Promises: the same bytes for every thread count; any
//! number of evaluations, one after another or at once, share what is prepared.

use crate::bootstrap::Bootstrapper;
use crate::encrypted::Encrypted;
use crate::error::RuntimeError;
use crate::evaluator::Options;
use crate::keys::KeySet;
use crate::observe::{NodeEvent, Observer};
use crate::plaintexts::Plaintexts;
use crate::schedule::{Order, Schedule};
use cipherloom_ckks::{Ciphertext, Context};
use cipherloom_ir::scheme::CanonicalScales;
use cipherloom_ir::{Circuit, Verified};
use std::sync::Arc;
use std::time::Instant;

/// What every part of an evaluation reads: the circuit, its ring and its scales as numbers.
pub(crate) struct Frame {
    pub(crate) circuit: Arc<Verified>,
    pub(crate) context: Arc<Context>,
    pub(crate) scales: CanonicalScales,
}

/// A verified circuit, for whichever keys.
pub struct Program {
    frame: Frame,
    schedule: Schedule,
    plaintexts: Option<Plaintexts>,
    /// Made with the first plaintexts; a circuit without bootstraps has none.
    bootstrapper: Option<Bootstrapper>,
    options: Options,
}

/// What carries the circuit's bootstraps out, where it has any.
fn bootstrapper(frame: &Frame) -> Result<Option<Bootstrapper>, RuntimeError> {
    let plan = frame.circuit.bootstrap_plan().cloned();
    plan.map(|plan| Bootstrapper::new(plan, frame.context.clone())).transpose()
}

impl Program {
    /// The ring of a circuit, to read keys and ciphertexts with.
    pub fn context(circuit: &Verified, options: &Options) -> Result<Arc<Context>, RuntimeError> {
        let p = &circuit.parameters;
        Context::new(p.log_n, &p.ciphertext_primes(), &p.special, options.path)
            .map(Arc::new)
            .map_err(RuntimeError::Parameters)
    }

    /// Takes a circuit and its ring.
    pub fn new(circuit: Arc<Verified>, context: Arc<Context>, options: Options) -> Program {
        let schedule = Schedule::new(&circuit);
        let scales = CanonicalScales::new(&circuit.parameters);
        let frame = Frame { circuit, context, scales };
        Program { frame, schedule, plaintexts: None, bootstrapper: None, options }
    }

    /// Materialises and encodes the plaintexts within the options' budget, and the transforms of bootstrapping; without it each
    /// evaluation does so for itself.
    pub fn prepare(&mut self) -> Result<(), RuntimeError> {
        if self.bootstrapper.is_none() {
            self.bootstrapper = bootstrapper(&self.frame)?;
        }
        if self.plaintexts.is_none() {
            self.plaintexts = Some(Plaintexts::prepare(&self.frame, self.options.plaintext_budget_bytes)?);
        }
        Ok(())
    }

    /// Changes the memory for prepared plaintexts; they are to be prepared anew.
    pub fn set_plaintext_budget(&mut self, bytes: usize) {
        self.options.plaintext_budget_bytes = bytes;
        self.plaintexts = None;
    }

    /// Evaluates once on the current rayon pool: ciphertexts of each input to those of each output.
    pub fn run(
        &self,
        keys: &KeySet,
        inputs: &[Vec<Ciphertext>],
        observer: &dyn Observer,
    ) -> Result<Vec<Vec<Ciphertext>>, RuntimeError> {
        self.check_inputs(inputs)?;
        let made;
        let plaintexts = match &self.plaintexts {
            Some(prepared) => prepared,
            None => {
                made = Plaintexts::prepare(&self.frame, self.options.plaintext_budget_bytes)?;
                &made
            }
        };
        let made;
        let bootstrapper = match &self.bootstrapper {
            Some(prepared) => Some(prepared),
            None => {
                made = bootstrapper(&self.frame)?;
                made.as_ref()
            }
        };
        let circuit: &Circuit = &self.frame.circuit;
        let meaning = Encrypted { frame: &self.frame, keys, plaintexts, bootstrapper, inputs };
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
        // Nodes that wait for each other's keys would need room for all of them.
        let order = if keys.paging().is_some() { Order::OneByOne } else { Order::Parallel };
        let mut values = self.schedule.run(circuit, order, &apply).map_err(|(_, e)| e)?.into_iter();
        let take = |n: usize, values: &mut dyn Iterator<Item = Arc<Ciphertext>>| {
            values.take(n).map(|v| Arc::try_unwrap(v).unwrap_or_else(|v| (*v).clone())).collect()
        };
        Ok(circuit.outputs.iter().map(|o| take(o.values.len(), &mut values)).collect())
    }

    /// The circuit.
    pub fn circuit(&self) -> &Verified {
        &self.frame.circuit
    }

    /// The ring.
    pub fn ring(&self) -> &Context {
        &self.frame.context
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
