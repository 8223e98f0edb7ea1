//! The encrypted meaning of circuits: each node calls the engine with what the circuit says.

use crate::bootstrap::Bootstrapper;
use crate::error::RuntimeError;
use crate::keys::KeySet;
use crate::plaintexts::{PlaintextError, Plaintexts};
use crate::program::Frame;
use cipherloom_ckks::{
    self as ckks, Ciphertext, CkksError, EvaluationKey, KeyHandle, Limbs, Plaintext, RotationStep,
};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Hoisting, KeyedStep, LinearPlan, Node, Op, Plain, Read, ValueId, ValueType};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Everything that node evaluation reads.
pub(crate) struct Encrypted<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) keys: &'a KeySet,
    pub(crate) plaintexts: &'a Plaintexts,
    /// Of a circuit with bootstraps.
    pub(crate) bootstrapper: Option<&'a Bootstrapper>,
    pub(crate) inputs: &'a [Vec<Ciphertext>],
}

/// The operands of a plan, by name.
type Operands<'x> = BTreeMap<ValueId, &'x Arc<Ciphertext>>;

/// Where a node's plaintexts come from.
struct Sources<'a> {
    /// For the products of a plan.
    products: &'a ckks::SweepPlaintexts<'a>,
    /// For an op with one plaintext.
    encoded: &'a dyn Fn() -> Result<Arc<Plaintext>, CkksError>,
}

impl Encrypted<'_> {
    /// Results of one node.
    pub(crate) fn apply(
        &self,
        index: usize,
        operands: &[Arc<Ciphertext>],
    ) -> Result<Vec<Ciphertext>, RuntimeError> {
        let node = &self.frame.circuit.nodes[index];
        let origin = || self.frame.circuit.origins[node.origin as usize].clone();
        if let Op::Activation(..) = node.op {
            return Err(RuntimeError::Draft { node: index, origin: origin(), op: "activation" });
        }
        let failed = OnceLock::new();
        let kept_aside = |e: PlaintextError| {
            // The engine's error type cannot carry this one: it is kept aside and reported instead.
            let _ = failed.set(e);
            CkksError::Empty
        };
        let sources = Sources {
            products: &|k| self.plaintexts.get(self.frame, index, k).map_err(kept_aside),
            encoded: &|| self.plaintexts.get_encoded(self.frame, index).map_err(kept_aside),
        };
        self.evaluate(node, operands, &sources).map_err(|source| match (failed.get(), source) {
            (Some(e), _) => RuntimeError::Plaintext { node: index, origin: origin(), what: e.to_string() },
            (None, CkksError::KeyStore { index: key, what }) => {
                RuntimeError::KeyPage { node: index, origin: origin(), index: key, what }
            }
            (None, source) => RuntimeError::Engine { node: index, origin: origin(), source },
        })
    }

    fn evaluate(
        &self,
        node: &Node,
        x: &[Arc<Ciphertext>],
        plaintexts: &Sources<'_>,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let c = &self.frame.context;
        let one = |r: Result<Ciphertext, CkksError>| r.map(|v| vec![v]);
        match &node.op {
            Op::Input { input, ciphertext } => {
                Ok(vec![self.inputs[*input as usize][*ciphertext as usize].clone()])
            }
            Op::Add(..) => one(c.add(&x[0], &x[1])),
            Op::Sub(..) => one(c.sub(&x[0], &x[1])),
            Op::Neg(..) => one(c.neg(&x[0])),
            Op::AddPlain(..) => one(c.add_plain(&x[0], (plaintexts.encoded)()?.as_ref())),
            Op::MulPlain(_, Plain::Constant(value)) | Op::MulScalar(_, value) => {
                let operand = self.operand(node);
                let scale = self.frame.scales.plain(operand.level, &operand.scale);
                one(c.mul_scalar(&x[0], (value * scale).round()))
            }
            Op::MulPlain(..) => one(c.mul_plain(&x[0], (plaintexts.encoded)()?.as_ref())),
            Op::Mul(..) => one(c.mul(&x[0], &x[1])),
            Op::SumOfProducts(_) => {
                let pairs: Vec<(&Ciphertext, &Ciphertext)> =
                    x.chunks_exact(2).map(|p| (&*p[0], &*p[1])).collect();
                one(c.sum_of_products(&pairs))
            }
            Op::Relinearize(_, key) => one(c.relinearize(&x[0], &*self.keys.get(*key).take()?)),
            Op::Rescale(_) => one(c.rescale(&x[0])),
            Op::RelinearizeRescale(_, key) => {
                one(c.relinearize_rescale(&x[0], &*self.keys.get(*key).take()?))
            }
            Op::DropLevel(_, to) => one(c.drop_to(&x[0], Limbs(to.limbs()))),
            Op::Adjust(_, to) => one(c.adjust(&x[0], self.adjust_factor(node, *to), Limbs(to.limbs()))),
            Op::Rotate(_, step) => one(match self.key(step) {
                Some(key) => c.rotate(&x[0], &*key.take()?),
                None => Ok((*x[0]).clone()),
            }),
            Op::Conjugate(_, key) => one(c.conjugate(&x[0], &*self.keys.get(*key).take()?)),
            Op::Linear(plan) => {
                let values = plan.sources.iter().flat_map(|s| s.values.iter().copied());
                self.linear(plan, &values.zip(x).collect(), plaintexts.products)
            }
            Op::Bootstrap(_) => one(self.bootstrap(node, &x[0])),
            Op::Activation(..) => unreachable!("drafts are refused before"),
        }
    }

    /// A value above the plan's input level is adjusted to it first.
    fn bootstrap(&self, node: &Node, x: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let bootstrapper = self.bootstrapper.ok_or(CkksError::Empty)?;
        let input = bootstrapper.plan().input;
        if self.operand(node).level == input {
            return bootstrapper.run_real(x, self.keys);
        }
        let adjusted = self.frame.context.adjust(x, self.adjust_factor(node, input), Limbs(input.limbs()))?;
        bootstrapper.run_real(&adjusted, self.keys)
    }

    fn linear(
        &self,
        plan: &LinearPlan,
        values: &Operands<'_>,
        plaintext: &ckks::SweepPlaintexts<'_>,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        // What several sources read is rotated once.
        let reads = plan.reads();
        let half =
            plan.pairing.and_then(|pairing| self.key(&pairing.half)).map(KeyHandle::take).transpose()?;
        let input = |read: &Read| self.input(plan, values, *read, half.as_deref());
        let inputs: Vec<Cow<'_, Ciphertext>> = reads.par_iter().map(input).collect::<Result<_, _>>()?;
        drop(half);
        let keyed = |s: &KeyedStep| (RotationStep(s.step.0), self.key(s));
        let products = plan.products.iter().map(|p| ckks::SweepProduct {
            output: p.output as usize,
            giant: p.giant as usize,
            input: reads.binary_search(&plan.read(p)).expect("reads are those of the products"),
            baby: p.baby as usize,
        });
        let sums = self.frame.context.linear(&ckks::LinearSweep {
            inputs: inputs.iter().map(AsRef::as_ref).collect(),
            babies: plan.babies.iter().map(keyed).collect(),
            giants: plan.giants.iter().map(keyed).collect(),
            onto: vec![],
            products: products.collect(),
            outputs: plan.outputs as usize,
            hoisting: match plan.hoisting {
                Hoisting::Single => ckks::Hoisting::Single,
                Hoisting::Double => ckks::Hoisting::Double,
            },
            rescale: plan.rescale && plan.pairing.is_none(),
            plaintext,
        })?;
        let Some(pairing) = &plan.pairing else { return Ok(sums) };
        let (context, key) = (&self.frame.context, self.keys.get(pairing.conjugate).take()?);
        // The plaintexts are halved: the real part is the sum of both.
        let real = |sum: &Ciphertext| {
            let real = context.add(sum, &context.conjugate(sum, &key)?)?;
            if plan.rescale { context.rescale(&real) } else { Ok(real) }
        };
        sums.par_iter().map(real).collect()
    }

    /// What products read: an operand, or `x + i·y`, y being x rotated by the pairing's step, or its neighbour.
    fn input<'x>(
        &self,
        plan: &LinearPlan,
        values: &Operands<'x>,
        (re, im): Read,
        half: Option<&EvaluationKey>,
    ) -> Result<Cow<'x, Ciphertext>, CkksError> {
        let (context, x): (_, &Ciphertext) = (&self.frame.context, values[&re]);
        let (Some(_), Some(im)) = (&plan.pairing, im) else { return Ok(Cow::Borrowed(x)) };
        Ok(Cow::Owned(match half {
            Some(key) => context.add_imaginary(x, &context.rotate(values[&im], key)?)?,
            None => context.add_imaginary(x, values[&im])?,
        }))
    }

    fn operand(&self, node: &Node) -> &ValueType {
        self.frame.circuit.value_type(node.op.operands()[0])
    }

    fn adjust_factor(&self, node: &Node, to: Level) -> u64 {
        self.frame.scales.adjust_factor(&self.operand(node).scale, to)
    }

    fn key(&self, step: &KeyedStep) -> Option<KeyHandle<'_>> {
        step.key.map(|k| self.keys.get(k))
    }
}
