//! The invariants of arranged networks, checked after packing and rotation.
//!
//! 1. Every tensor has a level, a layout and a choice; the layout holds its shape and is sound.
//! 2. Operands stand at the level where their reader starts, or above.
//! 3. A linear map with operators, or a repack, has a kernel whose result is the tensor's layout; its products name
//!    babies, giants and ciphertexts that exist. Turns are digits of two values; copies are laid into clean gaps, of a kernel that folds
//!    nothing, and make the result's copies of the output's.
//! 4. Slotwise layers keep the places of their operands.

use super::kernel::Kernel;
use super::slotwise::same_places;
use super::{Arranged, Choice, LinearChoice};
use crate::graph::{Kind, NodeId};
use cipherloom_ir::{Gap, Layout};

impl Arranged {
    /// What the network breaks first, with the place.
    pub fn check(&self) -> Result<(), String> {
        crate::graph::verify::check(&self.graph)?;
        let tensors = self.graph.order().count();
        if self.packed.layouts.len() != tensors || self.packed.choices.len() != tensors {
            return Err(format!("{tensors} tensors, {} layouts", self.packed.layouts.len()));
        }
        self.graph.order().try_for_each(|id| {
            self.check_tensor(id).map_err(|what| format!("#{} `{}`: {what}", id.0, self.graph.node(id).name))
        })
    }

    fn check_tensor(&self, id: NodeId) -> Result<(), String> {
        let (node, operands) = (self.graph.node(id), self.graph.operands(id));
        let placed = &self.packed.layouts[id.0 as usize];
        if placed.layout.shape.iter().product::<u32>() != node.shape.iter().product::<u32>() {
            return Err(format!("shape {:?} in a layout of {:?}", node.shape, placed.layout.shape));
        }
        placed.layout.check().map_err(|e| e.to_string())?;
        let before = self.levels.before(&self.graph, id);
        for operand in &operands {
            let level = self.levels.at(*operand);
            if level < before {
                return Err(format!("starts at level {}, #{} stands at {}", before.0, operand.0, level.0));
            }
        }
        match (&self.packed.choices[id.0 as usize], &node.kind) {
            (Choice::Linear(choice), _) if choice.kernel.result == *placed => {
                check_turns(&choice.kernel)?;
                check_split(choice)
            }
            (Choice::Linear(_), _) => Err("its kernel yields another layout".into()),
            (Choice::Keep, Kind::Linear { operators, .. }) if !operators.is_empty() => {
                Err("its linear map has no kernel".into())
            }
            (Choice::Keep, _) => {
                let kept = |o: &NodeId| same_places(&self.packed.layouts[o.0 as usize], placed);
                if operands.iter().all(kept) { Ok(()) } else { Err("an operand stands elsewhere".into()) }
            }
        }
    }
}

fn check_turns(kernel: &Kernel) -> Result<(), String> {
    let Kernel { output, fold, copied, result } = kernel;
    if let Some(digit) = fold.iter().chain(copied).find(|digit| digit.extent != 2) {
        return Err(format!("a turn of {digit}"));
    }
    if copied.is_empty() {
        return Ok(());
    }
    let copies = |layout: &Layout| {
        let mut offsets = layout.replica_offsets();
        offsets.sort_unstable();
        offsets
    };
    let mut made = output.clone();
    made.replicas.extend(copied);
    if fold.is_empty() && output.gap == Gap::Zero && copies(&made) == copies(&result.layout) {
        return Ok(());
    }
    Err("its copies are not those of its result".into())
}

fn check_split(choice: &LinearChoice) -> Result<(), String> {
    let split = &choice.split;
    let outputs = choice.kernel.output.ciphertexts;
    let known = |p: &crate::rotation::SplitProduct| {
        (p.baby as usize) < split.babies.len()
            && (p.giant as usize) < split.giants.len()
            && p.output < outputs
    };
    match split.products.iter().find(|p| !known(p)) {
        Some(product) => Err(format!("{product:?} names what does not exist")),
        None => Ok(()),
    }
}
