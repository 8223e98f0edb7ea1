//! Described plaintexts, materialised under a memory budget.
//!
//! Three tiers: *kept* in evaluation form, one machine word per coefficient (*compact*, transforms at every
//! use), or *described* (materialised at every use). Plaintexts are placed in node order; the first that no
//! longer fits a tier sends itself and its successors to the next.

use crate::error::RuntimeError;
use crate::evaluator::Frame;
use cipherloom_ckks::{CkksError, CompactPlaintext, Limbs, Plaintext};
use cipherloom_ir::{Diagonals, Hoisting, LinearPlan, MapError, MapId, Node, Op, Plain, Step, plain_values};
use rayon::prelude::*;
use std::sync::Arc;

/// Why a plaintext cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaintextError {
    /// Its description does not materialise.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Its values do not encode.
    #[error(transparent)]
    Encode(#[from] CkksError),
}

/// One plaintext in its tier.
enum Tier {
    Kept(Arc<Plaintext>),
    Compact(CompactPlaintext),
    Described,
}

/// The plaintexts of every node (one for a plaintext op, one per product for a plan).
pub(crate) struct Plaintexts {
    nodes: Vec<Vec<Tier>>,
}

/// Ring sizes a plaintext of a node is encoded for.
#[derive(Clone, Copy)]
struct Shape {
    limbs: Limbs,
    special: usize,
    scale: f64,
}

/// Which tier the next plaintext goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Budget {
    Keep,
    Compact,
    Describe,
}

impl Plaintexts {
    /// Materialises all plaintexts of a circuit within about `budget_bytes`.
    pub(crate) fn prepare(frame: &Frame, budget_bytes: usize) -> Result<Plaintexts, RuntimeError> {
        let mut left = budget_bytes;
        let mut nodes = Vec::with_capacity(frame.circuit.nodes.len());
        for (index, node) in frame.circuit.nodes.iter().enumerate() {
            let source = Source { frame, index, node };
            nodes.push(source.tiers(&mut left)?);
        }
        Ok(Plaintexts { nodes })
    }

    /// Plaintext `k` of a node in evaluation form.
    pub(crate) fn get(
        &self,
        frame: &Frame,
        index: usize,
        k: usize,
    ) -> Result<Arc<Plaintext>, PlaintextError> {
        let source = Source { frame, index, node: &frame.circuit.nodes[index] };
        let context = &frame.context;
        match &self.nodes[index][k] {
            Tier::Kept(plaintext) => Ok(plaintext.clone()),
            Tier::Compact(compact) => {
                let shape = source.shape();
                Ok(Arc::new(context.expand(compact, shape.limbs, shape.special)?))
            }
            Tier::Described => {
                let shape = source.shape();
                let values = source.values(k)?;
                let made = context.encoder().encode(&values, shape.scale, shape.limbs, shape.special)?;
                Ok(Arc::new(made))
            }
        }
    }

    /// Memory that the plaintexts take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let size = |t: &Tier| match t {
            Tier::Kept(p) => p.size_bytes(),
            Tier::Compact(c) => c.size_bytes(),
            Tier::Described => 0,
        };
        self.nodes.iter().flatten().map(size).sum()
    }
}

struct Source<'a> {
    frame: &'a Frame,
    index: usize,
    node: &'a Node,
}

impl Source<'_> {
    /// Scale and primes of this node's plaintexts; they follow from the op laws.
    fn shape(&self) -> Shape {
        let operand = self.node.op.operands()[0];
        let x = self.frame.circuit.value_type(operand);
        let scale = match self.node.op {
            Op::AddPlain(..) => self.frame.scales.value(&x.scale),
            _ => self.frame.scales.plain(x.level, &x.scale),
        };
        let special = match &self.node.op {
            Op::Linear(plan) if plan.hoisting == Hoisting::Double => self.special(plan),
            _ => 0,
        };
        Shape { limbs: Limbs(x.level.limbs()), special, scale }
    }

    fn special(&self, plan: &LinearPlan) -> usize {
        let key = plan.babies.iter().chain(&plan.giants).find_map(|k| k.key);
        key.map_or(0, |k| self.frame.circuit.keys[k.0 as usize].gadget.special_limbs as usize)
    }

    /// The tiers of this node, taking what they need from the budget.
    fn tiers(&self, left: &mut usize) -> Result<Vec<Tier>, RuntimeError> {
        let count = match &self.node.op {
            Op::MulPlain(_, Plain::Constant(_)) => return Ok(vec![]),
            Op::AddPlain(..) | Op::MulPlain(..) => 1,
            Op::Linear(plan) => plan.products.len(),
            _ => return Ok(vec![]),
        };
        let shape = self.shape();
        let word = 8 * self.frame.context.n();
        let kept = word * (shape.limbs.0 + shape.special);
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let place = match *left {
                b if b >= kept => Budget::Keep,
                b if b >= word => Budget::Compact,
                _ => Budget::Describe,
            };
            *left -= match place {
                Budget::Keep => kept,
                Budget::Compact => word,
                Budget::Describe => 0,
            };
            places.push(place);
        }
        let diagonals = match &self.node.op {
            Op::Linear(plan) if places.iter().any(|p| *p != Budget::Describe) => {
                let made = plan.sources.iter().map(|s| self.materialise(s.map));
                made.collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![],
        };
        let encoder = self.frame.context.encoder();
        places
            .into_par_iter()
            .enumerate()
            .map(|(k, place)| {
                if place == Budget::Describe {
                    return Ok(Tier::Described);
                }
                let values = match &self.node.op {
                    Op::Linear(plan) => product_values(plan, &diagonals, k, self.frame.circuit.slots()),
                    _ => self.values(k).map_err(|e| self.error(e.to_string()))?,
                };
                let tier = match place {
                    Budget::Keep => encoder
                        .encode(&values, shape.scale, shape.limbs, shape.special)
                        .map(|p| Tier::Kept(Arc::new(p))),
                    _ => encoder.compact(&values, shape.scale).map(Tier::Compact),
                };
                tier.map_err(|e| self.error(e.to_string()))
            })
            .collect()
    }

    fn materialise(&self, map: MapId) -> Result<Diagonals, RuntimeError> {
        let circuit = &self.frame.circuit;
        Diagonals::materialise(circuit.map(map), &circuit.layouts, &circuit.tensors)
            .map_err(|e| self.error(e.to_string()))
    }

    /// Slot values of plaintext `k`, from its description alone.
    fn values(&self, k: usize) -> Result<Vec<f64>, PlaintextError> {
        let plain = match &self.node.op {
            Op::Linear(plan) => diagonal_of(plan, k, self.frame.circuit.slots()),
            op => op.plain().cloned().expect("only ops with a plaintext are asked for one"),
        };
        Ok(plain_values(&self.frame.circuit, &plain)?)
    }

    fn error(&self, what: String) -> RuntimeError {
        let origin = self.frame.circuit.origins[self.node.origin as usize].clone();
        RuntimeError::Plaintext { node: self.index, origin, what }
    }
}

/// Baby plus giant, and the giant step, of a product.
fn steps(plan: &LinearPlan, k: usize, slots: usize) -> (Step, Step) {
    let product = &plan.products[k];
    let giant = plan.giants[product.giant as usize].step;
    let baby = plan.babies[product.baby as usize].step;
    (Step((giant.0 + baby.0) % slots as u32), giant)
}

fn diagonal_of(plan: &LinearPlan, k: usize, slots: usize) -> Plain {
    let product = &plan.products[k];
    let (step, giant) = steps(plan, k, slots);
    let map = plan.sources[product.source as usize].map;
    Plain::Diagonal { map, output: product.output, input: product.input, step, giant }
}

fn product_values(plan: &LinearPlan, diagonals: &[Diagonals], k: usize, slots: usize) -> Vec<f64> {
    let product = &plan.products[k];
    let (step, giant) = steps(plan, k, slots);
    diagonals[product.source as usize].vector(product.output, product.input, step, giant)
}
