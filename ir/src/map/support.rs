//! The diagonals that are non-zero by structure, without the weights.
//!
//! Relies on [`super::structure`]: where the relation is a product over axes and addresses add without carry into
//! the next ciphertext, the set of slot distances is a sum of small sets. Elsewhere the map is materialised.
//! Promises: exactly the diagonals of [`Diagonals::of`], in microseconds for the common maps.

use super::diagonals::{Diagonals, PlacedMap, Places};
use super::shape::MapError;
use super::structure::{Relation, squeezed};
use super::{LinearMap, Tensor};
use crate::layout::Layout;
use crate::op::Step;
use std::collections::BTreeMap;

/// Non-zero diagonals: steps (ascending) by (output ciphertext, input ciphertext).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Support(pub BTreeMap<(u32, u32), Vec<Step>>);

impl Support {
    /// Support of a map of a circuit. Of the tensors only shapes and lengths are read on the quick path.
    pub fn of_map(map: &LinearMap, layouts: &[Layout], tensors: &[Tensor]) -> Result<Support, MapError> {
        Support::of(&map.placed(layouts)?, tensors)
    }

    /// Support of a placed map.
    pub fn of(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Support, MapError> {
        match Support::structural(map, tensors)? {
            Some(support) => Ok(support),
            None => Ok(Diagonals::of(map, tensors)?.support()),
        }
    }

    /// Support of a placed map on the quick path; `None` where the map would have to be materialised.
    pub fn structural(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Option<Support>, MapError> {
        let mut shape = map.input.shape.clone();
        for operator in map.operators {
            shape = operator.output_shape(&shape, tensors)?;
        }
        let (expected, found) = (map.output.elements() as u64, shape.iter().map(|d| u64::from(*d)).product());
        if expected != found {
            return Err(MapError::Elements { operator: "output layout", expected, found });
        }
        let places = map.places()?;
        let relation = Relation::of(map.operators, &map.input.shape, &map.output.shape, tensors);
        let distances = relation.as_ref().and_then(|r| distances(r, map));
        Ok(distances.map(|d| Support(steps(d, &places, &map.output.replica_offsets()))))
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

/// A set of residues modulo the slot count.
#[derive(Clone)]
struct Residues {
    words: Vec<u64>,
    slots: usize,
}

impl Residues {
    fn new(slots: usize) -> Residues {
        Residues { words: vec![0; slots.div_ceil(64)], slots }
    }

    fn insert(&mut self, value: usize) {
        self.words[value / 64] |= 1 << (value % 64);
    }

    fn list(&self) -> Vec<usize> {
        let bits = |(k, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| k * 64 + b)
        };
        self.words.iter().enumerate().filter(|(_, w)| **w != 0).flat_map(bits).collect()
    }

    /// Adds every `a + b` of two sets.
    fn add_sums(&mut self, a: &[usize], b: &[usize]) {
        let (many, few) = if a.len() > b.len() { (a, b) } else { (b, a) };
        if self.slots < 64 || many.len() * 8 < self.slots / 64 {
            for x in few {
                many.iter().for_each(|y| self.insert((x + y) % self.slots));
            }
            return;
        }
        let mut set = Residues::new(self.slots);
        many.iter().for_each(|y| set.insert(*y));
        few.iter().for_each(|x| self.add_rotated(&set, *x));
    }

    /// Adds `set + shift`; slots is a multiple of 64.
    fn add_rotated(&mut self, set: &Residues, shift: usize) {
        let (words, bits) = (shift / 64, shift % 64);
        let n = self.words.len();
        for k in 0..n {
            let low = set.words[(k + n - words) % n];
            let carry = if bits == 0 { 0 } else { set.words[(k + 2 * n - words - 1) % n] >> (64 - bits) };
            self.words[k] |= low << bits | carry;
        }
    }
}

/// Slot distances by (output ciphertext, input ciphertext), before replicas and folds.
type Distances = BTreeMap<(u32, u32), Vec<usize>>;

/// Distances `input slot − output slot` of all related elements; `None` if addresses carry between ciphertexts.
fn distances(relation: &Relation, map: &PlacedMap<'_>) -> Option<Distances> {
    let slots = map.input.slots as usize;
    let (inputs, outputs) = (axis_parts(map.input)?, axis_parts(map.output)?);
    let mut sum: Distances = BTreeMap::from([((0, 0), vec![0])]);
    for factor in &relation.factors {
        let at = |axes: &[Vec<(u32, u32)>], axis: Option<usize>, i: u32| {
            axis.map_or((0, 0), |a| axes[a][i as usize])
        };
        let mut own: BTreeMap<(u32, u32), Residues> = BTreeMap::new();
        for (i, o) in &factor.pairs {
            let ((ci, si), (co, so)) = (at(&inputs, factor.input, *i), at(&outputs, factor.output, *o));
            let set = own.entry((co, ci)).or_insert_with(|| Residues::new(slots));
            set.insert((si as usize + slots - so as usize) % slots);
        }
        let mut next: BTreeMap<(u32, u32), Residues> = BTreeMap::new();
        for ((co, ci), set) in &own {
            let list = set.list();
            for ((bo, bi), before) in &sum {
                let target = next.entry((co + bo, ci + bi)).or_insert_with(|| Residues::new(slots));
                target.add_sums(before, &list);
            }
        }
        sum = next.into_iter().map(|(pair, set)| (pair, set.list())).collect();
    }
    Some(sum)
}

/// For each axis of extent above 1 the (ciphertext, slot) part of every index; `None` if slot parts can carry.
fn axis_parts(layout: &Layout) -> Option<Vec<Vec<(u32, u32)>>> {
    let slots = u64::from(layout.slots);
    let split = |a: u64| ((a / slots) as u32, (a % slots) as u32);
    let axes: Vec<Vec<(u32, u32)>> = layout
        .axis_offsets()
        .into_iter()
        .filter(|offsets| offsets.len() > 1)
        .map(|offsets| offsets.into_iter().map(split).collect())
        .collect();
    debug_assert_eq!(axes.len(), squeezed(&layout.shape).len(), "one part per axis above extent 1");
    let reach: u64 = axes.iter().map(|axis| axis.iter().map(|p| u64::from(p.1)).max().unwrap_or(0)).sum();
    (reach < slots).then_some(axes)
}

/// The chosen steps for all copies of the output.
fn steps(distances: Distances, places: &Places, replicas: &[u64]) -> BTreeMap<(u32, u32), Vec<Step>> {
    let slots = places.slots();
    let choose = |(pair, list): ((u32, u32), Vec<usize>)| {
        let mut chosen = Residues::new(slots);
        for replica in replicas {
            let back = slots - *replica as usize % slots;
            list.iter().for_each(|d| chosen.insert(places.of(((d + back) % slots) as u32).0 as usize));
        }
        (pair, chosen.list().into_iter().map(|s| Step(s as u32)).collect())
    };
    distances.into_iter().filter(|(_, list)| !list.is_empty()).map(choose).collect()
}
