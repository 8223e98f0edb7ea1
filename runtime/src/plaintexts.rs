//! Described plaintexts, materialised under a memory budget.
//!
//! Three tiers: *kept* in evaluation form, one machine word per coefficient (*compact*, transforms at every use), or
//! *described* (encoded at every use, from the sparse diagonals of its map, which stay in memory outside the budget). Which
//! plaintext has which is the rule of [`PlaintextBudget`], which forecasts follow too.

use crate::error::RuntimeError;
use crate::program::Frame;
use cipherloom_ckks::{CkksError, CompactPlaintext, Complex, Limbs, Plaintext, SweepPlaintext};
use cipherloom_ir::{
    Diagonals, MapError, MapId, Node, Op, PlaintextBudget, PlaintextPlace as Place, plain_values,
};
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
    Compact(Arc<CompactPlaintext>),
    Described,
}

/// The plaintexts of every node.
pub(crate) struct Plaintexts {
    nodes: Vec<NodePlaintexts>,
}

/// One for a plaintext op, one per product for a plan.
#[derive(Default)]
struct NodePlaintexts {
    tiers: Vec<Tier>,
    /// Diagonals of a plan's sources, while some of its plaintexts are described only.
    diagonals: Vec<Diagonals>,
}

/// Ring sizes a plaintext of a node is encoded for.
#[derive(Clone, Copy)]
struct Shape {
    limbs: Limbs,
    special: usize,
    scale: f64,
}

impl Plaintexts {
    /// Materialises all plaintexts of a circuit within about `budget_bytes`.
    pub(crate) fn prepare(frame: &Frame, budget_bytes: usize) -> Result<Plaintexts, RuntimeError> {
        let sources =
            || frame.circuit.nodes.iter().enumerate().map(|(index, node)| Source { frame, index, node });
        let mut budget = PlaintextBudget::new(&frame.circuit, budget_bytes as u64);
        let mut nodes = Vec::with_capacity(frame.circuit.nodes.len());
        for source in sources() {
            nodes.push(source.tiers(&mut budget)?);
        }
        Ok(Plaintexts { nodes })
    }

    /// Plaintext `k` of a node, kept or with one word per coefficient.
    pub(crate) fn get(
        &self,
        frame: &Frame,
        index: usize,
        k: usize,
    ) -> Result<SweepPlaintext, PlaintextError> {
        let node = &self.nodes[index];
        match &node.tiers[k] {
            Tier::Kept(plaintext) => Ok(SweepPlaintext::Encoded(plaintext.clone())),
            Tier::Compact(compact) => Ok(SweepPlaintext::Compact(compact.clone())),
            Tier::Described => {
                let source = Source { frame, index, node: &frame.circuit.nodes[index] };
                let made = source.compact(k, &node.diagonals)?;
                Ok(SweepPlaintext::Compact(Arc::new(made)))
            }
        }
    }

    /// The one plaintext of a node in evaluation form.
    pub(crate) fn get_encoded(&self, frame: &Frame, index: usize) -> Result<Arc<Plaintext>, PlaintextError> {
        match self.get(frame, index, 0)? {
            SweepPlaintext::Encoded(plaintext) => Ok(plaintext),
            SweepPlaintext::Compact(compact) => {
                let source = Source { frame, index, node: &frame.circuit.nodes[index] };
                let shape = source.shape();
                Ok(Arc::new(frame.context.expand(&compact, shape.limbs, shape.special)?))
            }
        }
    }
}

/// Slots of a plaintext.
enum Values {
    Real(Vec<f64>),
    Complex(Vec<Complex>),
}

/// `(p − i·q) / 2`.
fn pair_of(p: Option<Vec<f64>>, q: Option<Vec<f64>>, slots: usize) -> Vec<Complex> {
    let mut out = vec![Complex::default(); slots];
    out.iter_mut().zip(p.iter().flatten()).for_each(|(z, p)| z.re = p / 2.0);
    out.iter_mut().zip(q.iter().flatten()).for_each(|(z, q)| z.im = -q / 2.0);
    out
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
            Op::Linear(plan) => plan.special_limbs(&self.frame.circuit) as usize,
            _ => 0,
        };
        Shape { limbs: Limbs(x.level.limbs()), special, scale }
    }

    /// The plaintexts of this node, taking what they need from the budget.
    fn tiers(&self, budget: &mut PlaintextBudget) -> Result<NodePlaintexts, RuntimeError> {
        let count = self.node.plaintexts();
        if count == 0 {
            return Ok(NodePlaintexts::default());
        }
        let shape = self.shape();
        let places: Vec<Place> = (0..count).map(|_| budget.place(shape.limbs.0 + shape.special)).collect();
        let diagonals = match &self.node.op {
            Op::Linear(plan) => {
                let made = plan.sources.iter().map(|s| self.materialise(s.map));
                made.collect::<Result<Vec<_>, _>>()?
            }
            _ => vec![],
        };
        let tiers = places.par_iter().enumerate().map(|(k, place)| self.tier(k, *place, shape, &diagonals));
        let tiers = tiers.collect::<Result<Vec<_>, _>>()?;
        let described = places.contains(&Place::Described);
        Ok(NodePlaintexts { tiers, diagonals: if described { diagonals } else { vec![] } })
    }

    fn tier(
        &self,
        k: usize,
        place: Place,
        shape: Shape,
        diagonals: &[Diagonals],
    ) -> Result<Tier, RuntimeError> {
        if place == Place::Described {
            return Ok(Tier::Described);
        }
        let compact = self.compact(k, diagonals).map_err(|e| self.error(e.to_string()))?;
        if place == Place::Compact {
            return Ok(Tier::Compact(Arc::new(compact)));
        }
        let kept = self.frame.context.encoder().expand(&compact, shape.limbs, shape.special);
        kept.map(|p| Tier::Kept(Arc::new(p))).map_err(|e| self.error(e.to_string()))
    }

    /// Plaintext `k`, one word per coefficient.
    fn compact(&self, k: usize, diagonals: &[Diagonals]) -> Result<CompactPlaintext, PlaintextError> {
        let (encoder, scale) = (self.frame.context.encoder(), self.shape().scale);
        Ok(match self.values(k, diagonals)? {
            Values::Real(values) => encoder.compact(&values, scale)?,
            Values::Complex(values) => encoder.compact_complex(&values, scale)?,
        })
    }

    fn materialise(&self, map: MapId) -> Result<Diagonals, RuntimeError> {
        let circuit = &self.frame.circuit;
        Diagonals::materialise(circuit.map(map), &circuit.layouts, &circuit.tensors)
            .map_err(|e| self.error(e.to_string()))
    }

    /// Slot values of plaintext `k`, from its description and the diagonals of the plan's sources. Those of a pair of
    /// diagonals `p` and `q` are `(p − i·q) / 2`.
    fn values(&self, k: usize, diagonals: &[Diagonals]) -> Result<Values, MapError> {
        let slots = self.frame.circuit.slots() as u32;
        match &self.node.op {
            Op::Linear(plan) => {
                let product = &plan.products[k];
                let giant = plan.giants[product.giant as usize].step;
                let halves = plan.diagonals(product, slots).map(|half| {
                    let (input, step) = half?;
                    Some(diagonals[product.source as usize].vector(product.output, input, step, giant))
                });
                Ok(match (plan.pairing, halves) {
                    (None, [Some(values), _]) => Values::Real(values),
                    (_, [re, im]) => Values::Complex(pair_of(re, im, slots as usize)),
                })
            }
            op => {
                let plain = op.plain().expect("only ops with a plaintext are asked for one");
                plain_values(&self.frame.circuit, plain).map(Values::Real)
            }
        }
    }

    fn error(&self, what: String) -> RuntimeError {
        let origin = self.frame.circuit.origins[self.node.origin as usize].clone();
        RuntimeError::Plaintext { node: self.index, origin, what }
    }
}
