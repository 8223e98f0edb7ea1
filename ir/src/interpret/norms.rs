//! What the errors of a linear map follow from: its row norms, and which of its diagonals are equal.
//!
//! Relies on materialised diagonals. Promises: nothing here depends on parameters, so that it is computed once while scales are
//! tried. Diagonals that are the negatives of others count as different.

use crate::circuit::Circuit;
use crate::map::{Diagonal, Diagonals, MapError, MapId, RowNorms};
use crate::op::{LinearPlan, Product, Step};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Row norms of the maps that a circuit uses, and which of their diagonals are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapNorms(BTreeMap<MapId, Facts>);

/// What is known of one map.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    rows: RowNorms,
    /// A number for each kind of equal diagonals, by output, input and step; zero diagonals have none.
    kinds: BTreeMap<(u32, u32, Step), u32>,
}

/// What a product multiplies by, both halves of a pair: equal for equal plaintexts of one source. The default is zero.
pub(super) type Kind = [Option<u32>; 2];

impl MapNorms {
    /// Those of all maps of `circuit`.
    pub fn of(circuit: &Circuit) -> Result<MapNorms, MapError> {
        let maps = circuit.maps.par_iter().enumerate().map(|(id, map)| {
            let map = Diagonals::materialise(map, &circuit.layouts, &circuit.tensors)?;
            Ok((MapId(id as u32), Facts::of(&map)))
        });
        maps.collect::<Result<_, MapError>>().map(MapNorms)
    }

    /// Those of maps that are materialised.
    pub(super) fn of_maps(maps: &BTreeMap<MapId, Diagonals>) -> MapNorms {
        MapNorms(maps.par_iter().map(|(id, map)| (*id, Facts::of(map))).collect())
    }

    /// Row norms of a map.
    pub(super) fn rows(&self, map: MapId) -> Result<RowNorms, MapError> {
        self.0.get(&map).map(|facts| facts.rows).ok_or(MapError::UnknownMap(map.0))
    }

    /// The kind of a product's plaintext. The giant step does not matter: a rotation permutes coefficients and turns
    /// signs, before rounding as after it, and that of the sum undoes it.
    pub(super) fn kind(&self, plan: &LinearPlan, product: &Product, slots: usize) -> Kind {
        let Some(facts) = self.0.get(&plan.sources[product.source as usize].map) else {
            return Kind::default();
        };
        let kind = |(input, step)| facts.kinds.get(&(product.output, input, step)).copied();
        plan.diagonals(product, slots as u32).map(|half| half.and_then(kind))
    }
}

impl Facts {
    fn of(map: &Diagonals) -> Facts {
        // Weights tell most diagonals apart at the first entry.
        let bits = |d: &Diagonal| map.entries(d).1.iter().map(|w| w.to_bits());
        let order = |a: &&Diagonal, b: &&Diagonal| {
            bits(a).cmp(bits(b)).then_with(|| map.entries(a).0.cmp(map.entries(b).0))
        };
        let mut sorted: Vec<&Diagonal> =
            map.iter().filter(|d| map.entries(d).1.iter().any(|w| *w != 0.0)).collect();
        sorted.sort_by(order);
        let equal = sorted.chunk_by(|a, b| order(a, b).is_eq());
        let named = (0..).zip(equal).flat_map(|(kind, list)| list.iter().map(move |d| (d, kind)));
        let kinds = named.map(|(d, kind)| ((d.output, d.input, d.step), kind)).collect();
        Facts { rows: map.norms, kinds }
    }
}
