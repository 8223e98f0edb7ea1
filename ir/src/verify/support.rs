//! Law 10, the part on plans' diagonals: a plan has one product for every diagonal of its maps, and no other.
//!
//! Relies on: maps, layouts and plans whose other laws hold. Promises bounded work, however often a map is used: what a
//! map has by structure is known without its weights and found once; a map that would have to be materialised, or whose
//! support takes more than what is left of [`MAX_SUPPORT_WORK`], is not looked at; comparisons cost what the plans'
//! products do, whose number is bounded.

use super::error::LawError;
use crate::circuit::Circuit;
use crate::map::{MapId, Support};
use crate::op::{LinearPlan, Product, Step};
use std::collections::BTreeMap;

/// Steps of work (words and indices touched) for the supports of all maps of a circuit: seconds.
pub const MAX_SUPPORT_WORK: u64 = 1 << 31;

/// Supports of a circuit's maps, as far as they are known.
pub(super) struct Supports {
    known: BTreeMap<MapId, Option<Known>>,
    left: u64,
}

/// A support and its size.
struct Known {
    support: Support,
    diagonals: usize,
}

/// A diagonal: output ciphertext, input ciphertext, step.
type Named = (u32, u32, Step);

impl Known {
    /// The diagonals that a product applies. One of a pair may be zero by structure, and is not named; of two such zeros
    /// the first is, so that it is found out.
    fn named(&self, plan: &LinearPlan, product: &Product, slots: u32) -> impl Iterator<Item = Named> + use<> {
        let halves = plan.diagonals(product, slots).map(|d| d.map(|(i, step)| (product.output, i, step)));
        let has = |(output, input, step): &Named| {
            self.support.0.get(&(*output, *input)).is_some_and(|steps| steps.binary_search(step).is_ok())
        };
        let kept = if plan.pairing.is_some() { halves.map(|d| d.filter(has)) } else { halves };
        let named = if kept == [None, None] { [halves[0], None] } else { kept };
        named.into_iter().flatten()
    }
}

impl Supports {
    pub(super) fn new() -> Supports {
        Supports { known: BTreeMap::new(), left: MAX_SUPPORT_WORK }
    }

    /// Every source of a plan has exactly its map's diagonals. Costs what the plan's own products cost, whatever the
    /// maps' sizes: a comparison ends at the first difference.
    pub(super) fn check(&mut self, circuit: &Circuit, plan: &LinearPlan) -> Result<(), LawError> {
        let slots = circuit.slots() as u32;
        let mut products: Vec<&Product> = plan.products.iter().collect();
        products.sort_by_key(|p| p.source);
        let mut rest = &products[..];
        for (source_index, source) in plan.sources.iter().enumerate() {
            let own = rest.partition_point(|p| p.source as usize == source_index);
            let (own, after) = rest.split_at(own);
            rest = after;
            let Some(known) = self.of(circuit, source.map)? else { continue };
            let mut found: Vec<Named> = own.iter().flat_map(|p| known.named(plan, p, slots)).collect();
            found.sort_unstable();
            if let Some((list, missing)) = first_difference(found.into_iter(), known) {
                let (output, input, step) = list;
                return Err(LawError::Support { source_index, output, input, step, missing });
            }
        }
        Ok(())
    }

    fn of(&mut self, circuit: &Circuit, id: MapId) -> Result<Option<&Known>, LawError> {
        if !self.known.contains_key(&id) {
            let map = circuit.map(id).placed(&circuit.layouts)?;
            let support = Support::within(&map, &circuit.tensors, &mut self.left)?;
            let known = support.map(|support| Known { diagonals: support.diagonals(), support });
            self.known.insert(id, known);
        }
        Ok(self.known[&id].as_ref())
    }
}

/// The first diagonal that only one of the lists has, and whether it is missing from the plan.
fn first_difference(found: impl ExactSizeIterator<Item = Named>, known: &Known) -> Option<(Named, bool)> {
    let same = found.len() == known.diagonals;
    let pairs = known.support.0.iter();
    let mut wanted = pairs.flat_map(|((o, i), steps)| steps.iter().map(|s| (*o, *i, *s)));
    for found in found {
        match wanted.next() {
            Some(wanted) if wanted == found => {}
            Some(wanted) if wanted < found => return Some((wanted, true)),
            _ => return Some((found, false)),
        }
    }
    if same { None } else { wanted.next().map(|wanted| (wanted, true)) }
}
