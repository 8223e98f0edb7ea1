//! Stage 10, bootstrap: a circuit of as many levels as it likes becomes one of a chain that is bootstrapped.
//!
//! Does: cuts the levels of the circuit in segments, each short enough for the chain (`cuts`, a dynamic program over levels by
//! predicted time), and writes every operation anew at the levels of its segment (`relevel`). What crosses a cut and is
//! used behind it is bootstrapped, once, and brought down to where it is used. Needs: a circuit whose levels are consistent, the
//! largest slot of each of its values, and a bootstrapping. Leaves: a circuit of the bootstrapping's parameters with the same exact
//! meaning, or nothing where the bootstrapping is too short for any cut or is not needed. Why here: what a bootstrap
//! interrupts are finished operations; laws of rescale see none. Cuts are levels, not places in the list of nodes: products
//! and their rescales stand at one level, so that what crosses is canonical.
//!
//! The message bound: what is bootstrapped must have slots of at most 1. A value whose largest slot, times [`MARGIN`], is more is
//! multiplied by `2^-k` on its last level before the bootstrap, and added to itself k times behind it, which costs no level and no
//! rounding. Values beyond are the affair of docs/bootstrapping.md.

mod cuts;
mod relevel;

use crate::cost::CostModel;
use crate::error::CompileError;
use cipherloom_ir::scheme::{BootstrapRequest, Level};
use cipherloom_ir::{Circuit, Magnitudes, Op, ValueId, ValueType, value_types};

/// Slots are provided for that are this much larger than the measured ones; beyond them precision falls gradually.
pub const MARGIN: f64 = 2.0;

/// Most doublings behind a bootstrap: what they leave of its precision must be worth having.
const DOUBLINGS_MAX: f64 = 16.0;

/// The circuit with the bootstraps that it needs; `None` where no cut fits this bootstrapping, or none is needed. `magnitudes` are
/// the circuit's own, measured with [`MARGIN`]; `last` is the level of the outputs, which the base prime may want above 0.
pub fn insert(
    circuit: &Circuit,
    request: BootstrapRequest,
    magnitudes: &Magnitudes,
    last: Level,
    cost: &CostModel,
) -> Result<Option<Circuit>, CompileError> {
    let plan = request.plan()?;
    let values = Values::of(circuit, magnitudes)?;
    let cost = cost.with_gadget(plan.gadget);
    let Some(segments) = cuts::cut(circuit, &values, &plan, last, &cost) else { return Ok(None) };
    if segments.len() < 2 {
        return Ok(None);
    }
    relevel::relevel(circuit, &values, &plan, &segments)
}

/// Levels of the old circuit that are computed together: operations of rank `above < rank <= to`; what stands at level l there
/// stands at `l - above + end` in the new circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// Level of the cut below it, 0 for the last.
    above: u32,
    /// Level of the cut above it.
    to: u32,
    /// New level of what stands at `above`.
    end: u32,
}

impl Segment {
    /// New level of an old one.
    fn level(&self, old: Level) -> Level {
        Level(old.0 - self.above + self.end)
    }
}

/// What is known of the values of the old circuit.
struct Values {
    types: Vec<ValueType>,
    /// The value that it is, brought down by nothing but adjusts and drops; itself where it is not.
    roots: Vec<ValueId>,
    /// By root: the rank of its operation; `u32::MAX` for inputs, which are fresh wherever they are wanted.
    ranks: Vec<u32>,
    /// Ranks of the operations, by node; `None` for inputs and for what only brings a value down.
    nodes: Vec<Option<u32>>,
    /// Doublings behind a bootstrap of each value; `None` where slots are too large for one.
    doublings: Vec<Option<u32>>,
}

impl Values {
    fn of(circuit: &Circuit, magnitudes: &Magnitudes) -> Result<Values, CompileError> {
        let types = value_types(circuit)?;
        let mut out = Values {
            roots: (0..types.len() as u32).map(ValueId).collect(),
            ranks: vec![u32::MAX; types.len()],
            nodes: vec![],
            doublings: vec![],
            types,
        };
        for node in &circuit.nodes {
            let operands = node.op.operands();
            if let (Op::Adjust(x, _) | Op::DropLevel(x, _), true) = (&node.op, out.comes_down(&operands)) {
                out.roots[node.first.0 as usize] = out.root(*x);
                out.nodes.push(None);
                continue;
            }
            let rank = out.rank(node.first, &operands);
            out.nodes.push(rank);
            for k in 0..node.results {
                out.ranks[(node.first.0 + k) as usize] = rank.unwrap_or(u32::MAX);
            }
        }
        let doublings = |v: u32| {
            let bits = libm::ceil(libm::log2(magnitudes.largest(ValueId(v)).max(1.0)));
            (bits <= DOUBLINGS_MAX).then_some(bits as u32)
        };
        out.doublings = (0..out.types.len() as u32).map(doublings).collect();
        Ok(out)
    }

    fn root(&self, value: ValueId) -> ValueId {
        self.roots[value.0 as usize]
    }

    fn level(&self, value: ValueId) -> Level {
        self.types[value.0 as usize].level
    }

    /// Whether a root can be brought down, and read in other segments than its own.
    fn is_canonical(&self, root: ValueId) -> bool {
        let found = &self.types[root.0 as usize];
        *found == ValueType::canonical(found.level)
    }

    /// Whether a root can be bootstrapped.
    fn crosses(&self, root: ValueId) -> bool {
        self.is_canonical(root) && self.doublings[root.0 as usize].is_some()
    }

    fn comes_down(&self, operands: &[ValueId]) -> bool {
        operands.iter().all(|x| self.is_canonical(self.root(*x)))
    }

    /// The rank of an operation: it belongs to the segment `above < rank <= to`. Operations that take no level of canonical values
    /// belong to what they follow, so that sums come before a cut at their level.
    fn rank(&self, first: ValueId, operands: &[ValueId]) -> Option<u32> {
        let level = self.level(*operands.first()?).0;
        let keeps =
            self.level(first).0 == level && self.is_canonical(self.root(first)) && self.comes_down(operands);
        let earliest = operands.iter().map(|x| self.ranks[self.root(*x).0 as usize]).min();
        Some(earliest.unwrap_or(u32::MAX).min(level + u32::from(keeps)))
    }
}
