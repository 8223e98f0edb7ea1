//! Materialises a linear map: its slot matrix as diagonals, from descriptors and weights.
//!
//! Relies on [`super::rows`] for the matrix over tensor elements and on the layouts for the places. Promises:
//! the rules in the header of [`crate::map`] exactly (a pure function, the same on every machine and for any
//! number of threads); a diagonal exists wherever the structure has an entry, also where all weights are zero.

use super::rows::{RowNorms, SparseRows, matrix_rows};
use super::shape::{MapError, bounded};
use super::{LinearMap, Operator, Tensor};
use crate::layout::{Digit, Layout, LayoutId};
use crate::op::Step;
use rayon::prelude::*;
use std::ops::Range;

/// A linear map with its layouts at hand.
#[derive(Clone, Copy, Debug)]
pub struct PlacedMap<'a> {
    /// Operators, first applied first.
    pub operators: &'a [Operator],
    /// Uniform factor.
    pub scale: f64,
    /// Layout of the input tensor.
    pub input: &'a Layout,
    /// Layout of the output tensor.
    pub output: &'a Layout,
    /// Partial-sum digits.
    pub fold: &'a [Digit],
}

impl LinearMap {
    /// The map with its layouts looked up in the circuit's table.
    pub fn placed<'a>(&'a self, layouts: &'a [Layout]) -> Result<PlacedMap<'a>, MapError> {
        let find = |id: LayoutId| layouts.get(id.0 as usize).ok_or(MapError::UnknownLayout(id.0));
        let (input, output) = (find(self.input)?, find(self.output)?);
        Ok(PlacedMap { operators: &self.operators, scale: self.scale, input, output, fold: &self.fold })
    }
}

impl PlacedMap<'_> {
    /// The matrix over tensor elements.
    pub fn rows(&self, tensors: &[Tensor]) -> Result<SparseRows, MapError> {
        let (rows, _) = matrix_rows(self.operators, self.scale, &self.input.shape, tensors)?;
        if rows.rows() != self.output.elements() {
            let (expected, found) = (self.output.elements() as u64, rows.rows() as u64);
            return Err(MapError::Elements { operator: "output layout", expected, found });
        }
        Ok(rows)
    }

    /// Which (step, fold offset) a product with a given slot distance takes.
    pub(crate) fn places(&self) -> Result<Places, MapError> {
        if self.input.slots != self.output.slots {
            return Err(MapError::Slots { input: self.input.slots, output: self.output.slots });
        }
        if self.input.batch != self.output.batch {
            return Err(MapError::Batches { input: self.input.batch, output: self.output.batch });
        }
        self.input.check()?;
        self.output.check()?;
        Digit::check_all(self.fold, self.output.slots)?;
        self.output.check_batch(self.fold.iter())?;
        Places::new(&self.input.replicas, self.fold, self.input.slots)
    }

    /// Bound of the steps that [`PlacedMap::places`] and [`Places::table`] take, of a map that is not refused.
    pub(crate) fn places_work(&self) -> u64 {
        let digits = self.input.replicas.iter().chain(self.fold);
        let candidates = digits.clone().fold(1u64, |n, d| n.saturating_mul(d.extent.into()));
        let listed = candidates.min(self.input.slots.into());
        let each = digits.map(|d| u64::from(d.extent)).sum::<u64>().saturating_mul(listed);
        let fitted = listed.min(FITTED_CANDIDATES_MAX as u64);
        each.saturating_add(u64::from(self.input.slots).saturating_mul(fitted + 1))
    }
}

/// The choice among (input replica, fold offset), by the rule in the header of [`crate::map`].
pub(crate) struct Places {
    mask: u32,
    /// What replicas and folds add to a distance, ascending, each with its fold offset.
    candidates: Vec<(u32, u32)>,
    /// By step, how many digits it misfits; empty where steps are chosen by their size alone.
    misfits: Vec<u32>,
}

/// Most candidates among which misfits decide.
const FITTED_CANDIDATES_MAX: usize = 1 << 10;
/// Most candidates that one digit may lead to before equal ones are struck out (a bound against hostile files).
const LISTED_MAX: u64 = 1 << 22;

impl Places {
    fn new(replicas: &[Digit], folds: &[Digit], slots: u32) -> Result<Places, MapError> {
        let candidates = candidates(replicas, folds, slots)?;
        let chosen_by_misfits = (2..=FITTED_CANDIDATES_MAX).contains(&candidates.len());
        let between = if chosen_by_misfits { between(replicas, slots) } else { vec![] };
        let misfits = if between.is_empty() { vec![] } else { misfits(&between, slots) };
        Ok(Places { mask: slots - 1, candidates, misfits })
    }

    /// Slots of a ciphertext.
    pub(crate) fn slots(&self) -> u32 {
        self.mask + 1
    }

    /// [`Places::of`] for every distance.
    pub(crate) fn table(&self) -> Vec<(u32, u32)> {
        (0..self.slots()).map(|distance| self.of(distance)).collect()
    }

    /// Step and fold offset for a distance (input slot − output slot) in `[0, slots)`; takes a step for each candidate.
    pub(crate) fn of(&self, distance: u32) -> (u32, u32) {
        let led = |(c, f): (u32, u32)| (distance.wrapping_add(c) & self.mask, f);
        if self.misfits.is_empty() {
            // Candidate c gives step (distance + c) mod slots: smallest for the first c ≥ slots − distance, else c_0.
            let reaches = |(c, _): &(u32, u32)| u64::from(*c) + u64::from(distance) > u64::from(self.mask);
            let first = self.candidates.partition_point(|candidate| !reaches(candidate));
            return led(self.candidates[first % self.candidates.len()]);
        }
        let key = |(step, _): &(u32, u32)| (self.misfits[*step as usize], *step);
        self.candidates.iter().map(|c| led(*c)).min_by_key(key).expect("the distance itself is one")
    }
}

/// What replicas and folds add to a distance, ascending, each with the smallest fold offset that does.
fn candidates(replicas: &[Digit], folds: &[Digit], slots: u32) -> Result<Vec<(u32, u32)>, MapError> {
    let mask = slots - 1;
    let mut found = vec![(0, 0)];
    let digits = replicas.iter().map(|d| (d, false)).chain(folds.iter().map(|d| (d, true)));
    for (digit, is_fold) in digits {
        let listed = found.len() as u64 * u64::from(digit.extent);
        if listed > LISTED_MAX {
            return Err(MapError::TooLarge { operator: "copies by folds", found: listed, limit: LISTED_MAX });
        }
        let moved = |(c, f): (u32, u32), by: u32| match is_fold {
            true => (c.wrapping_sub(by) & mask, f + by),
            false => (c.wrapping_add(by) & mask, f),
        };
        let values = (0..digit.extent).map(|v| v * digit.stride);
        found = values.flat_map(|by| found.iter().map(move |known| moved(*known, by))).collect();
        found.sort_unstable();
        found.dedup_by_key(|candidate| candidate.0);
    }
    Ok(found)
}

/// The replica digits that do not reach around the ciphertext: their copies lie between elements.
fn between(replicas: &[Digit], slots: u32) -> Vec<Digit> {
    let reaches_around = |d: &Digit| (u64::from(d.extent) * u64::from(d.stride)).is_multiple_of(slots.into());
    replicas.iter().filter(|d| d.extent > 1 && !reaches_around(d)).copied().collect()
}

/// By step, how many of these digits it misfits.
fn misfits(between: &[Digit], slots: u32) -> Vec<u32> {
    let misfits = |step: u32| {
        let rounded = |d: &Digit| (u64::from(step) + u64::from(d.stride / 2)) / u64::from(d.stride);
        between.iter().filter(|d| !rounded(d).is_multiple_of(d.extent.into())).count() as u32
    };
    (0..slots).map(misfits).collect()
}

/// Name and place of one diagonal.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    /// Output ciphertext.
    pub output: u32,
    /// Input ciphertext.
    pub input: u32,
    /// Step.
    pub step: Step,
    range: Range<usize>,
}

/// All diagonals of a map, sparse.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonals {
    /// Slots of a ciphertext.
    pub slots: u32,
    /// Largest row norms of the map (over one copy of each output element, whole rows before any fold).
    pub norms: RowNorms,
    diagonals: Vec<Diagonal>,
    places: Vec<u32>,
    weights: Vec<f64>,
}

impl Diagonals {
    /// Materialises `map`.
    pub fn materialise(
        map: &LinearMap,
        layouts: &[Layout],
        tensors: &[Tensor],
    ) -> Result<Diagonals, MapError> {
        Diagonals::of(&map.placed(layouts)?, tensors)
    }

    /// Materialises a placed map.
    pub fn of(map: &PlacedMap<'_>, tensors: &[Tensor]) -> Result<Diagonals, MapError> {
        let places = map.places()?;
        let rows = map.rows(tensors)?;
        let slots = map.input.slots;
        let copies = map.output.replica_offsets();
        let batch = map.output.batch;
        bounded("materialised map", &[rows.entries() as u64, copies.len() as u64, batch.into()])?;
        let columns = map.input.positions();
        let mut by_output: Vec<Vec<(usize, u32)>> = vec![vec![]; map.output.ciphertexts as usize];
        for (row, (ciphertext, slot)) in map.output.positions().into_iter().enumerate() {
            for replica in &copies {
                by_output[ciphertext as usize].push((row, (slot + *replica as u32) & places.mask));
            }
        }
        // Ascending slots leave the entries of most diagonals sorted.
        by_output.iter_mut().for_each(|own| own.sort_unstable_by_key(|(_, slot)| *slot));
        let chosen = places.table();
        let bucket =
            Bucket { rows: &rows, columns: &columns, chosen: &chosen, inputs: map.input.ciphertexts };
        let parts: Vec<Part> = by_output.par_iter().map(|own| bucket.sort(own)).collect();
        let mut out =
            Diagonals { slots, norms: rows.norms(), diagonals: vec![], places: vec![], weights: vec![] };
        for (output, part) in parts.into_iter().enumerate() {
            let shift = out.places.len();
            out.diagonals.extend(part.diagonals.into_iter().map(|(input, step, range)| Diagonal {
                output: output as u32,
                input,
                step: Step(step),
                range: range.start + shift..range.end + shift,
            }));
            out.places.extend(part.places);
            out.weights.extend(part.weights);
        }
        if batch > 1 {
            out.repeat(batch);
        }
        Ok(out)
    }

    /// The diagonals of a batch from those of its first image: every image has the same weights.
    fn repeat(&mut self, batch: u32) {
        let times = batch as usize;
        self.places =
            self.places.iter().flat_map(|place| (0..batch).map(move |image| place + image)).collect();
        self.weights = self.weights.iter().flat_map(|w| std::iter::repeat_n(*w, times)).collect();
        for Diagonal { range, .. } in &mut self.diagonals {
            *range = range.start * times..range.end * times;
        }
    }

    /// The diagonals, sorted by (output, input, step).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagonal> + '_ {
        self.diagonals.iter()
    }

    /// Output slots (sorted) and weights of one diagonal: `out[s] += w · in[(s + step) mod slots]`.
    pub fn entries(&self, diagonal: &Diagonal) -> (&[u32], &[f64]) {
        (&self.places[diagonal.range.clone()], &self.weights[diagonal.range.clone()])
    }

    /// Looks a diagonal up; `None` if there is none by structure.
    pub fn find(&self, output: u32, input: u32, step: Step) -> Option<&Diagonal> {
        let key = |d: &Diagonal| (d.output, d.input, d.step);
        let at = self.diagonals.binary_search_by_key(&(output, input, step), key).ok()?;
        Some(&self.diagonals[at])
    }

    /// One diagonal as a dense slot vector, rotated right by `giant`: `p[s] = diagonal[(s − giant) mod slots]`.
    pub fn vector(&self, output: u32, input: u32, step: Step, giant: Step) -> Vec<f64> {
        let mut dense = vec![0.0; self.slots as usize];
        if let Some(diagonal) = self.find(output, input, step) {
            let (places, weights) = self.entries(diagonal);
            for (s, w) in places.iter().zip(weights) {
                dense[(s.wrapping_add(giant.0) & (self.slots - 1)) as usize] += w;
            }
        }
        dense
    }
}

/// The diagonals that lead to one output ciphertext.
struct Part {
    diagonals: Vec<(u32, u32, Range<usize>)>,
    places: Vec<u32>,
    weights: Vec<f64>,
}

/// Counting sort of entries by (input ciphertext, step).
struct Bucket<'a> {
    rows: &'a SparseRows,
    columns: &'a [(u32, u32)],
    /// Step and fold offset by distance.
    chosen: &'a [(u32, u32)],
    inputs: u32,
}

impl Bucket<'_> {
    /// `own`: (row, slot) of every copy of every element of this output ciphertext.
    fn sort(&self, own: &[(usize, u32)]) -> Part {
        let slots = self.chosen.len();
        let mask = slots as u32 - 1;
        // Bucket and fold offset of the product of input element `i` into `slot`.
        let choose = |i: u32, slot: u32| {
            let (input, at) = self.columns[i as usize];
            let (step, fold) = self.chosen[(at.wrapping_sub(slot) & mask) as usize];
            (input as usize * slots + step as usize, fold)
        };
        let mut ends = vec![0usize; self.inputs as usize * slots];
        for (row, slot) in own {
            self.rows.row(*row).0.iter().for_each(|i| ends[choose(*i, *slot).0] += 1);
        }
        let mut diagonals = vec![];
        let mut total = 0;
        for (key, end) in ends.iter_mut().enumerate() {
            let start = total;
            total += *end;
            if total > start {
                diagonals.push(((key / slots) as u32, (key % slots) as u32, start..total));
            }
            *end = start;
        }
        let mut places = vec![0u32; total];
        let mut sums = vec![0f64; total];
        for (row, slot) in own {
            let (indices, weights) = self.rows.row(*row);
            for (i, w) in indices.iter().zip(weights) {
                let (key, fold) = choose(*i, *slot);
                let end = &mut ends[key];
                places[*end] = slot.wrapping_add(fold) & mask;
                sums[*end] = *w;
                *end += 1;
            }
        }
        for (_, _, range) in &diagonals {
            sort_by_place(&mut places[range.clone()], &mut sums[range.clone()]);
        }
        if diagonals.is_empty() {
            diagonals.push((0, 0, 0..0));
        }
        Part { diagonals, places, weights: sums }
    }
}

/// Sorts two parallel slices by the first; most arrive sorted.
fn sort_by_place(places: &mut [u32], weights: &mut [f64]) {
    if places.is_sorted() {
        return;
    }
    let mut pairs: Vec<(u32, f64)> = places.iter().copied().zip(weights.iter().copied()).collect();
    pairs.sort_by_key(|p| p.0);
    for (k, (s, w)) in pairs.into_iter().enumerate() {
        (places[k], weights[k]) = (s, w);
    }
}
