//! Rotations as text: what `--print-after rotation` shows and snapshots compare.

use super::{Rotated, form};
use crate::packing::Choice;
use crate::rotation::Split;
use cipherloom_ir::scheme::Level;
use std::collections::BTreeMap;
use std::fmt;

impl fmt::Display for Rotated {
    /// One line per linear map, fold and merged sum; then the keys with their levels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (graph, levels) = (&self.arranged.graph, &self.arranged.levels);
        let merged: Vec<_> = self.rotation.merged.keys().copied().collect();
        let mut keys: BTreeMap<u32, Level> = BTreeMap::new();
        let mut used = |step: u32, level: Level| {
            let known = keys.entry(step).or_insert(level);
            *known = level.max(*known);
        };
        for id in graph.order() {
            let (index, name) = (id.0 as usize, &graph.node(id).name);
            if let Some(sum) = self.rotation.merged.get(&index) {
                let before = levels.before(graph, graph.operands(id)[0]);
                write!(f, "#{index} {name:?} level {} = ", before.0)?;
                let operands: Vec<String> = graph.operands(id).iter().map(|o| format!("#{}", o.0)).collect();
                writeln!(f, "{} in one plan: {}", operands.join(" + "), plan(&sum.split))?;
                steps(&sum.split).for_each(|s| used(s, before));
                continue;
            }
            let Choice::Linear(choice) = &self.arranged.packed.choices[index] else { continue };
            if graph.consumers(id).iter().any(|c| merged.contains(&(c.0 as usize))) {
                continue;
            }
            let before = levels.before(graph, id);
            writeln!(f, "#{index} {name:?} level {} = {}", before.0, plan(&choice.split))?;
            steps(&choice.split).for_each(|s| used(s, before));
            for (position, turn) in choice.kernel.turns().enumerate() {
                let list = self.rotation.steps(index, turn);
                list.iter().for_each(|s| used(*s, levels.at(id)));
                let list: Vec<String> = list.iter().map(u32::to_string).collect();
                let what = if position < choice.kernel.fold.len() { "fold" } else { "copy" };
                writeln!(f, "  {what} {turn} by {}", list.join(" then "))?;
            }
        }
        let list: Vec<String> = keys.iter().map(|(step, level)| format!("{step}@{}", level.0)).collect();
        writeln!(f, "keys {}", list.join(" "))?;
        let rotations = self.rotations();
        writeln!(f, "cost: {rotations} rotations by {} different steps", keys.len())
    }
}

fn steps(split: &Split) -> impl Iterator<Item = u32> {
    split.babies.iter().chain(&split.giants).copied().filter(|s| *s != 0)
}

fn plan(split: &Split) -> String {
    let list = |steps: &[u32]| steps.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "{} diagonals {}, babies [{}] giants [{}]",
        split.products.len(),
        form(split.hoisting),
        list(&split.babies),
        list(&split.giants)
    )
}
