//! Writes a circuit anew, every operation at the level of its segment, with bootstraps where levels have run out.
//!
//! Relies on cuts that only canonical values cross. A value has versions: the one that was computed, the one that was
//! bootstrapped, and those that were brought down from them; a reader takes the lowest that is high enough. Operations whose law
//! corrects any scale (plans, products with numbers and plaintexts) read dropped versions, others adjusted ones. Promises: the
//! same exact meaning; each value is bootstrapped at most once.

use super::{Segment, Values};
use crate::error::CompileError;
use crate::transcribe::Transcript;
use cipherloom_ir::scheme::{BootstrapPlan, Level};
use cipherloom_ir::{Circuit, CircuitBuilder, Node, Op, ValueId};
use std::collections::BTreeMap;

/// The circuit in these segments; `None` where it needs no bootstrap.
pub(super) fn relevel(
    circuit: &Circuit,
    values: &Values,
    plan: &BootstrapPlan,
    segments: &[Segment],
) -> Result<Option<Circuit>, CompileError> {
    let builder = CircuitBuilder::bootstrapped(&circuit.name, plan.request)?;
    let new = Transcript::new(circuit, &circuit.maps, builder, Some(plan.gadget))?;
    let mut writer = Writer { values, plan, segments, new, versions: BTreeMap::new(), bootstraps: 0 };
    for (node, rank) in circuit.nodes.iter().zip(&values.nodes) {
        writer.node(node, *rank)?;
    }
    if writer.bootstraps == 0 {
        return Ok(None);
    }
    let mut outputs = vec![];
    for output in &circuit.outputs {
        outputs.extend(writer.output(&output.values)?);
    }
    writer.new.finish(&outputs).map(Some)
}

/// A value in the new circuit.
#[derive(Default)]
struct Versions {
    /// At canonical scales, by level; of a value that is not canonical the one that there is.
    values: BTreeMap<Level, ValueId>,
    /// Dropped ones, by the level that they come from and their own.
    dropped: BTreeMap<(Level, Level), ValueId>,
    /// Layer of the operation.
    origin: u32,
}

struct Writer<'a> {
    values: &'a Values,
    plan: &'a BootstrapPlan,
    segments: &'a [Segment],
    new: Transcript<'a>,
    /// By root.
    versions: BTreeMap<ValueId, Versions>,
    bootstraps: usize,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node, rank: Option<u32>) -> Result<(), CompileError> {
        if let Op::Input { input, ciphertext } = node.op {
            let value = self.new.inputs[input as usize][ciphertext as usize];
            self.define(node.first, value, node.origin);
            return Ok(());
        }
        let Some(rank) = rank else { return Ok(()) };
        let operands = node.op.operands();
        let segment = self.segments.iter().find(|s| s.above < rank || s.above == 0);
        let (Some(segment), Some(first)) = (segment, operands.first()) else {
            return Err(internal("an operation is in no segment"));
        };
        let level = segment.level(self.values.level(*first));
        self.prepare(&operands, level)?;
        self.new.origin(node.origin);
        let drops = self.drops(&node.op, &operands, level);
        let mut op = node.op.clone();
        for value in op.operands_mut() {
            let root = self.values.root(*value);
            *value = if drops { self.dropped(root, level)? } else { self.at(root, level)? };
        }
        match &mut op {
            Op::Adjust(_, to) | Op::DropLevel(_, to) => *to = segment.level(*to),
            _ => {}
        }
        for (k, value) in (0..).zip(self.new.op(op)?) {
            self.define(ValueId(node.first.0 + k), value, node.origin);
        }
        Ok(())
    }

    fn define(&mut self, old: ValueId, value: ValueId, origin: u32) {
        let values = BTreeMap::from([(self.new.builder.level(value), value)]);
        self.versions.insert(old, Versions { values, dropped: BTreeMap::new(), origin });
    }

    /// Bootstraps what is too low for a reader at this level.
    fn prepare(&mut self, operands: &[ValueId], level: Level) -> Result<(), CompileError> {
        for operand in operands {
            let root = self.values.root(*operand);
            if self.lowest(root, level).is_none() {
                self.bootstrap(root)?;
            }
        }
        Ok(())
    }

    /// The lowest version that is high enough.
    fn lowest(&self, root: ValueId, level: Level) -> Option<(Level, ValueId)> {
        let versions = self.versions.get(&root)?;
        versions.values.range(level..).next().map(|(level, value)| (*level, *value))
    }

    /// Whether the operation corrects any scale, and its operands come from one level above.
    fn drops(&self, op: &Op, operands: &[ValueId], level: Level) -> bool {
        let corrects = matches!(op, Op::Linear(_) | Op::MulScalar(..) | Op::MulPlain(..));
        let roots = || operands.iter().map(|x| self.values.root(*x));
        let mut from = roots().map(|root| self.lowest(root, level).map(|(found, _)| found));
        let first = from.next().flatten();
        corrects
            && first.is_some_and(|l| l > level)
            && from.all(|l| l == first)
            && roots().all(|r| self.values.is_canonical(r))
    }

    /// A version at this level and its canonical scale.
    fn at(&mut self, root: ValueId, level: Level) -> Result<ValueId, CompileError> {
        match self.lowest(root, level) {
            Some((found, value)) if found == level => Ok(value),
            Some((_, value)) => {
                let value = self.new.builder.adjust(value, level)?;
                self.versions.entry(root).or_default().values.insert(level, value);
                Ok(value)
            }
            None => Err(internal("a value has no version that is high enough")),
        }
    }

    /// A version at this level and whatever scale.
    fn dropped(&mut self, root: ValueId, level: Level) -> Result<ValueId, CompileError> {
        let Some((from, value)) = self.lowest(root, level) else {
            return Err(internal("a value has no version that is high enough"));
        };
        let versions = self.versions.entry(root).or_default();
        if let Some(known) = versions.dropped.get(&(from, level)) {
            return Ok(*known);
        }
        let dropped = self.new.builder.drop_level(value, level)?;
        versions.dropped.insert((from, level), dropped);
        Ok(dropped)
    }

    /// Bootstraps a value from its highest version: scaled down, where slots may exceed 1, and doubled again behind it.
    fn bootstrap(&mut self, root: ValueId) -> Result<(), CompileError> {
        let doublings = self.values.doublings[root.0 as usize];
        let versions = self.versions.get(&root);
        let highest = versions.and_then(|v| Some((v.origin, v.values.last_key_value()?)));
        let (Some(doublings), Some((origin, (level, value)))) = (doublings, highest) else {
            return Err(internal("a value crosses a cut and cannot be bootstrapped"));
        };
        let (level, mut value) = (*level, *value);
        self.new.origin(origin);
        let builder = &mut self.new.builder;
        if doublings > 0 {
            let above = Level(self.plan.input.0 + 1);
            if level > above {
                value = builder.drop_level(value, above)?;
            }
            let scaled = builder.mul_scalar(value, libm::exp2(-f64::from(doublings)))?;
            value = builder.rescale(scaled)?;
        }
        value = builder.bootstrap(value)?;
        for _ in 0..doublings {
            value = builder.add(value, value)?;
        }
        self.bootstraps += 1;
        let level = self.new.builder.level(value);
        self.versions.entry(root).or_default().values.insert(level, value);
        Ok(())
    }

    /// The ciphertexts of an output, at the lowest level of any.
    fn output(&mut self, values: &[ValueId]) -> Result<Vec<ValueId>, CompileError> {
        let roots: Vec<ValueId> = values.iter().map(|v| self.values.root(*v)).collect();
        let lowest = |root: &ValueId| self.versions.get(root).and_then(|v| v.values.keys().next().copied());
        let level = roots.iter().filter_map(lowest).min().unwrap_or(Level(0));
        roots.into_iter().map(|root| self.at(root, level)).collect()
    }
}

fn internal(what: &str) -> CompileError {
    CompileError::Internal(format!("bootstrap: {what}"))
}
