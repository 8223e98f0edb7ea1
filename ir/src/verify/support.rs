//! Law 10, the part on plans' diagonals: a plan has one product for every diagonal of its maps, and no other.
//!
//! Relies on: maps, layouts and plans whose other laws hold. Promises bounded work: what a map has by structure is
//! known without its weights; a map that would have to be materialised, or whose ciphertexts and slots exceed what is
//! left of [`MAX_SUPPORT_WORK`], is not looked at.

use super::error::LawError;
use crate::circuit::Circuit;
use crate::map::{MapId, Support};
use crate::op::{LinearPlan, Step};
use std::collections::BTreeMap;

/// Pairs of ciphertexts times slots, over all maps of a circuit. A plan of ResNet-20 has some 2^20.
pub const MAX_SUPPORT_WORK: u64 = 1 << 26;

/// Supports of a circuit's maps, as far as they are known.
pub(super) struct Supports {
    known: BTreeMap<MapId, Option<Support>>,
    left: u64,
}

impl Supports {
    pub(super) fn new() -> Supports {
        Supports { known: BTreeMap::new(), left: MAX_SUPPORT_WORK }
    }

    /// Every source of a plan has exactly its map's diagonals.
    pub(super) fn check(&mut self, circuit: &Circuit, plan: &LinearPlan) -> Result<(), LawError> {
        let mask = circuit.slots() as u32 - 1;
        for (source_index, source) in plan.sources.iter().enumerate() {
            let Some(support) = self.of(circuit, source.map)? else { continue };
            let own = plan.products.iter().filter(|p| p.source as usize == source_index);
            let total = |p: &crate::op::Product| {
                let (baby, giant) = (plan.babies[p.baby as usize].step, plan.giants[p.giant as usize].step);
                (p.output, p.input, Step(baby.0.wrapping_add(giant.0) & mask))
            };
            let mut found: Vec<(u32, u32, Step)> = own.map(total).collect();
            found.sort_unstable();
            let pairs = support.0.iter();
            let wanted: Vec<(u32, u32, Step)> =
                pairs.flat_map(|((o, i), steps)| steps.iter().map(|s| (*o, *i, *s))).collect();
            if found == wanted {
                continue;
            }
            let place = found.iter().zip(&wanted).take_while(|(f, w)| f == w).count();
            let missing = match (found.get(place), wanted.get(place)) {
                (Some(f), Some(w)) => w < f,
                (found, _) => found.is_none(),
            };
            let list = if missing { &wanted } else { &found };
            let (output, input, step) = list[place];
            return Err(LawError::Support { source_index, output, input, step, missing });
        }
        Ok(())
    }

    fn of(&mut self, circuit: &Circuit, id: MapId) -> Result<Option<&Support>, LawError> {
        if !self.known.contains_key(&id) {
            let map = circuit.map(id).placed(&circuit.layouts)?;
            let pairs = u64::from(map.input.ciphertexts) * u64::from(map.output.ciphertexts);
            let work = pairs.saturating_mul(circuit.slots() as u64);
            let support = match work <= self.left {
                true => Support::structural(&map, &circuit.tensors)?,
                false => None,
            };
            self.left = self.left.saturating_sub(work);
            self.known.insert(id, support);
        }
        Ok(self.known[&id].as_ref())
    }
}
