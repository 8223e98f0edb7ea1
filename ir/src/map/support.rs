//! The diagonals that are there by structure, without the weights.
//!
//! Relies on [`super::structure`] and [`super::distances`]: where the relation is a product over axes, the set of slot distances is
//! a sum of small sets. Elsewhere the entries of the map's matrix are listed, once for all copies.
//! Promises: exactly the diagonals of [`Diagonals::of`], in microseconds for the common maps.

use super::diagonals::{Diagonals, PlacedMap, Places};
use super::distances::{Distances, add_sums, distances};
use super::residues::Residues;
use super::shape::{MapError, bounded};
use super::structure::{PAIR_STEPS, Relation, charge};
use super::{LinearMap, Operator, Tensor, volume_of};
use crate::layout::Layout;
use crate::op::Step;
use std::collections::BTreeMap;

/// Diagonals that are there by structure: steps (ascending) by (output ciphertext, input ciphertext).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Support(pub BTreeMap<(u32, u32), Vec<Step>>);

impl Support {
    /// Support of a map of a circuit. Of the tensors only shapes and lengths are read on the quick path.
    pub fn of_map(map: &LinearMap, layouts: &[Layout], tensors: &[Tensor]) -> Result<Support, MapError> {
        Support::of(&map.placed(layouts)?, tensors)
    }

    /// Support of a placed map.
    pub fn of(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Support, MapError> {
        let mut unlimited = u64::MAX;
        if let Some((relation, places)) = Support::related(map, tensors, &mut unlimited)? {
            // As many as a materialised map may have, so that what has a plan can be materialised (entries that meet padding aside).
            bounded("composed map", &[relation.work])?;
            let copies = map.output.replica_offsets().len() as u64;
            bounded("materialised map", &[relation.entries(), copies, map.output.batch.into()])?;
            if let Some(support) = Support::of_relation(&relation, map, &places, &mut unlimited) {
                return Ok(support);
            }
        }
        Support::listed(map, tensors)
    }

    /// By the entries of the matrix.
    fn listed(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Support, MapError> {
        let (places, rows, copies) = (map.places()?, map.rows(tensors)?, map.output.replica_offsets());
        let (slots, outputs) = (map.input.slots, map.output.ciphertexts);
        // As many as a materialised map may have, so that both refuse the same maps.
        bounded("materialised map", &[rows.entries() as u64, copies.len() as u64, map.output.batch.into()])?;
        let columns = map.input.positions();
        let mut sets: BTreeMap<(u32, u32), Residues> = BTreeMap::new();
        for (row, (co, so)) in map.output.positions().into_iter().enumerate() {
            for column in rows.row(row).0 {
                let (ci, si) = columns[*column as usize];
                let set = sets.entry((co, ci)).or_insert_with(|| Residues::new(slots));
                set.insert(si.wrapping_sub(so) & (slots - 1));
            }
        }
        let distances = sets.into_iter().map(|(pair, set)| (pair, set.iter().collect())).collect();
        let mut unlimited = u64::MAX;
        let steps = steps(distances, &places, &copies, &mut unlimited).unwrap_or_default();
        Ok(Support(with_zeros(steps, outputs)))
    }

    /// Support of a placed map on the quick path; `None` where the map would have to be materialised.
    pub fn structural(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Option<Support>, MapError> {
        let mut unlimited = u64::MAX;
        Support::within(map, tensors, &mut unlimited)
    }

    /// [`Support::structural`] within a number of steps, which it takes away; `None` also where they do not suffice.
    pub(crate) fn within(
        map: &PlacedMap<'_>,
        tensors: &[Tensor],
        steps_left: &mut u64,
    ) -> Result<Option<Support>, MapError> {
        match Support::related(map, tensors, steps_left)? {
            Some((relation, places)) => Ok(Support::of_relation(&relation, map, &places, steps_left)),
            None => Ok(None),
        }
    }

    /// The relation of the elements, if it is a product. The map's operators fit each other and its layouts.
    fn related(
        map: &PlacedMap<'_>,
        tensors: &[Tensor],
        steps_left: &mut u64,
    ) -> Result<Option<(Relation, Places)>, MapError> {
        let mut shape = map.input.shape.clone();
        let mut work = 0u64;
        for (k, operator) in map.operators.iter().enumerate() {
            let next = operator.output_shape(&shape, tensors)?;
            work = work.saturating_add(PAIR_STEPS.saturating_mul(pairs_of(operator, &next, k > 0)));
            shape = next;
        }
        let (expected, found) = (map.output.elements() as u64, shape.iter().map(|d| u64::from(*d)).product());
        if expected != found {
            return Err(MapError::Elements { operator: "output layout", expected, found });
        }
        if charge(steps_left, work.saturating_add(map.places_work())).is_none() {
            return Ok(None);
        }
        let places = map.places()?;
        let relation = Relation::of(map.operators, &map.input.shape, tensors, steps_left);
        Ok(relation.map(|relation| (relation, places)))
    }

    /// By the relation; `None` where its axes are not the layouts', or the steps do not suffice.
    fn of_relation(
        relation: &Relation,
        map: &PlacedMap<'_>,
        places: &Places,
        steps_left: &mut u64,
    ) -> Option<Support> {
        let distances = distances(relation, map, steps_left)?;
        let steps = steps(distances, places, &map.output.replica_offsets(), steps_left)?;
        charge(steps_left, map.output.ciphertexts.into())?;
        Some(Support(with_zeros(steps, map.output.ciphertexts)))
    }

    /// Number of diagonals.
    pub fn diagonals(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl Diagonals {
    /// The names of the diagonals alone.
    pub fn support(&self) -> Support {
        let mut out = Support::default();
        for diagonal in self.iter() {
            out.0.entry((diagonal.output, diagonal.input)).or_default().push(diagonal.step);
        }
        out
    }
}

/// Adds the diagonal of zeros of every output ciphertext in which the map has no entry.
fn with_zeros(mut steps: BTreeMap<(u32, u32), Vec<Step>>, outputs: u32) -> BTreeMap<(u32, u32), Vec<Step>> {
    for output in 0..outputs {
        if steps.range((output, 0)..=(output, u32::MAX)).next().is_none() {
            steps.insert((output, 0), vec![Step(0)]);
        }
    }
    steps
}

/// Bound of the pairs of indices that the relation of an operator lists; `composed`: behind other operators.
fn pairs_of(operator: &Operator, output: &[u32], composed: bool) -> u64 {
    let (input, window, own) = match operator {
        Operator::Convolution { input, window, groups, .. } => (input, window, input[0] / (*groups).max(1)),
        Operator::AveragePool { input, window, .. } => (input, window, 1),
        _ => return output.iter().map(|d| u64::from(*d)).sum(),
    };
    let [channels, spatial @ ..] = volume_of(output).unwrap_or([1; 4]);
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let axis = |a: usize| {
        let out = spatial[a];
        product(out, window.kernel[a]) + if composed { product(out, input[a + 1]) } else { 0 }
    };
    product(channels, own) + axis(0) + axis(1) + axis(2)
}

/// The chosen steps for all copies of the output; `None` where that takes more steps than are left.
fn steps(
    distances: Distances,
    places: &Places,
    replicas: &[u64],
    steps_left: &mut u64,
) -> Option<BTreeMap<(u32, u32), Vec<Step>>> {
    let slots = places.slots();
    let back: Vec<u32> = replicas.iter().map(|r| (*r as u32).wrapping_neg() & (slots - 1)).collect();
    // A table where each distance would be looked up more than once: both take no more than the map was charged for.
    let looked_up: usize = distances.values().map(|list| list.len() * back.len()).sum();
    let table = if looked_up > slots as usize { places.table() } else { vec![] };
    let chosen_for =
        |distance: u32| table.get(distance as usize).copied().unwrap_or_else(|| places.of(distance));
    let choose = |(pair, list): ((u32, u32), Vec<u32>)| {
        let (mut all, mut chosen) = (Residues::new(slots), Residues::new(slots));
        add_sums(&mut all, &list, &back, steps_left)?;
        charge(steps_left, all.count() + u64::from(slots.div_ceil(64)))?;
        all.iter().for_each(|d| chosen.insert(chosen_for(d).0));
        Some((pair, chosen.iter().map(Step).collect()))
    };
    distances.into_iter().filter(|(_, list)| !list.is_empty()).map(choose).collect()
}
