//! The matrix of a linear map as sparse rows: for each output element the input elements it reads.
//!
//! Relies on [`super::shape`] for checked sizes. Promises: entries that exist by structure are kept even where
//! a weight is zero (so the support does not depend on weights); columns of a row are sorted; the result does
//! not depend on the number of threads.

use super::shape::{MapError, bounded, elements, tensor};
use super::{Operator, Tensor, ViewAxis, Window};
use rayon::prelude::*;

/// Compressed sparse rows over `columns` input elements.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// Number of input elements.
    pub columns: usize,
    starts: Vec<usize>,
    indices: Vec<u32>,
    weights: Vec<f64>,
}

/// Largest row norms of a map: they bound how values and noise grow.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct RowNorms {
    /// Largest Σ|w| of a row.
    pub l1: f64,
    /// Largest sqrt(Σ w²) of a row.
    pub l2: f64,
}

impl SparseRows {
    /// Number of output elements.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.indices.len()
    }

    /// Input elements and weights of output element `row`.
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let range = self.starts[row]..self.starts[row + 1];
        (&self.indices[range.clone()], &self.weights[range])
    }

    /// Matrix times vector.
    pub fn apply(&self, input: &[f64]) -> Vec<f64> {
        let dot = |(indices, weights): (&[u32], &[f64])| {
            indices.iter().zip(weights).map(|(i, w)| w * input[*i as usize]).sum()
        };
        (0..self.rows()).map(|r| dot(self.row(r))).collect()
    }

    /// Largest row norms.
    pub fn norms(&self) -> RowNorms {
        let mut norms = RowNorms::default();
        for r in 0..self.rows() {
            let (_, weights) = self.row(r);
            norms.l1 = norms.l1.max(weights.iter().map(|w| w.abs()).sum());
            norms.l2 = norms.l2.max(weights.iter().map(|w| w * w).sum::<f64>().sqrt());
        }
        norms
    }

    fn identity(columns: usize) -> SparseRows {
        let indices = (0..columns as u32).collect();
        SparseRows { columns, starts: (0..=columns).collect(), indices, weights: vec![1.0; columns] }
    }

    fn from_rows(columns: usize, rows: impl Iterator<Item = Vec<(u32, f64)>>) -> SparseRows {
        let mut out = SparseRows { columns, starts: vec![0], indices: vec![], weights: vec![] };
        for row in rows {
            out.indices.extend(row.iter().map(|e| e.0));
            out.weights.extend(row.iter().map(|e| e.1));
            out.starts.push(out.indices.len());
        }
        out
    }

    fn scaled(mut self, factor: f64) -> SparseRows {
        self.weights.iter_mut().for_each(|w| *w *= factor);
        self
    }

    /// `next · self`: first `self`, then `next`.
    fn then(&self, next: &SparseRows) -> Result<SparseRows, MapError> {
        let lengths = |r: usize| {
            next.row(r).0.iter().map(|&m| (self.starts[m as usize + 1] - self.starts[m as usize]) as u64)
        };
        let work = (0..next.rows()).map(|r| lengths(r).sum::<u64>()).sum::<u64>();
        bounded("composed map", &[work])?;
        let rows: Vec<Vec<(u32, f64)>> = (0..next.rows())
            .into_par_iter()
            .map_init(|| Accumulator::new(self.columns), |sums, r| sums.combine(next.row(r), self))
            .collect();
        Ok(SparseRows::from_rows(self.columns, rows.into_iter()))
    }
}

/// Dense sums of one composed row, reset after use.
struct Accumulator {
    sums: Vec<f64>,
    seen: Vec<bool>,
    touched: Vec<u32>,
}

impl Accumulator {
    fn new(columns: usize) -> Accumulator {
        Accumulator { sums: vec![0.0; columns], seen: vec![false; columns], touched: vec![] }
    }

    fn combine(&mut self, (mids, factors): (&[u32], &[f64]), first: &SparseRows) -> Vec<(u32, f64)> {
        for (mid, factor) in mids.iter().zip(factors) {
            let (indices, weights) = first.row(*mid as usize);
            for (i, w) in indices.iter().zip(weights) {
                let at = *i as usize;
                if !self.seen[at] {
                    self.seen[at] = true;
                    self.touched.push(*i);
                }
                self.sums[at] += factor * w;
            }
        }
        self.touched.sort_unstable();
        let row = self.touched.iter().map(|i| (*i, self.sums[*i as usize])).collect();
        for i in self.touched.drain(..) {
            self.sums[i as usize] = 0.0;
            self.seen[i as usize] = false;
        }
        row
    }
}

/// The composed matrix of `operators` over an input of shape `input`, times `scale`; with the output shape.
pub fn matrix_rows(
    operators: &[Operator],
    scale: f64,
    input: &[u32],
    tensors: &[Tensor],
) -> Result<(SparseRows, Vec<u32>), MapError> {
    let mut shape = input.to_vec();
    let mut rows: Option<SparseRows> = None;
    for operator in operators {
        let output = operator.output_shape(&shape, tensors)?;
        let own = operator_rows(operator, &shape, &output, tensors)?;
        rows = Some(match rows {
            None => own,
            Some(first) => first.then(&own)?,
        });
        shape = output;
    }
    let rows = match rows {
        None => SparseRows::identity(elements("map", input)?),
        Some(rows) => rows,
    };
    Ok((if scale == 1.0 { rows } else { rows.scaled(scale) }, shape))
}

/// Matrix of one operator whose shapes have been checked.
fn operator_rows(
    operator: &Operator,
    input: &[u32],
    output: &[u32],
    tensors: &[Tensor],
) -> Result<SparseRows, MapError> {
    let columns = elements(operator.kind(), input)?;
    let diagonal = |factor: &dyn Fn(usize) -> f64| {
        let mut rows = SparseRows::identity(columns);
        rows.weights.iter_mut().enumerate().for_each(|(i, w)| *w = factor(i));
        rows
    };
    match operator {
        Operator::Convolution { input, window, groups, weight } => {
            let entries = output.iter().chain(&window.kernel).copied().chain([input[0] / groups]);
            bounded(operator.kind(), &entries.map(u64::from).collect::<Vec<_>>())?;
            Ok(convolution(*input, output[0], (window, *groups), tensor(tensors, *weight)?))
        }
        Operator::AveragePool { input, window, count_padding } => {
            let entries = output.iter().chain(&window.kernel).copied();
            bounded(operator.kind(), &entries.map(u64::from).collect::<Vec<_>>())?;
            Ok(average_pool(*input, window, *count_padding))
        }
        Operator::Dense { weight } => {
            let weight = tensor(tensors, *weight)?;
            bounded(operator.kind(), &[weight.values.len() as u64])?;
            let rows = output[0] as usize;
            Ok(SparseRows {
                columns,
                starts: (0..=rows).map(|r| r * columns).collect(),
                indices: (0..rows).flat_map(|_| 0..columns as u32).collect(),
                weights: weight.values.iter().map(|w| f64::from(*w)).collect(),
            })
        }
        Operator::View { input, axes } => Ok(SparseRows::from_rows(
            columns,
            view_sources(input, axes).into_iter().map(|at| at.map(|i| (i, 1.0)).into_iter().collect()),
        )),
        Operator::AxisScale { shape, axis, factor } => {
            let inner: usize = shape[*axis as usize + 1..].iter().map(|d| *d as usize).product();
            let (values, size) = (&tensor(tensors, *factor)?.values, shape[*axis as usize] as usize);
            Ok(diagonal(&|i| f64::from(values[i / inner % size])))
        }
        Operator::ElementScale { factor } => {
            let values = &tensor(tensors, *factor)?.values;
            Ok(diagonal(&|i| f64::from(values[i])))
        }
    }
}

/// (kernel position, input position) pairs.
type Taps = Vec<(u32, u32)>;

/// For each output position, row-major over depth, height and width, the taps inside the input. Positions are row-major too.
fn taps(window: &Window, input: [u32; 4]) -> Vec<Taps> {
    let outputs = window.output_size([input[1], input[2], input[3]]).unwrap_or([0; 3]);
    let axis = |a: usize| -> Vec<Taps> {
        let inside = |o: u32| move |k: u32| window.source(a, o, k, input[a + 1]).map(|i| (k, i));
        (0..outputs[a]).map(|o| (0..window.kernel[a]).filter_map(inside(o)).collect()).collect()
    };
    // Behind every position of an axis, those of the next.
    let then = |before: Vec<Taps>, a: usize| -> Vec<Taps> {
        let (kernel, size, own) = (window.kernel[a], input[a + 1], axis(a));
        let joined = |(k, i): &(u32, u32), next: &Taps| -> Taps {
            next.iter().map(|(kn, inext)| (k * kernel + kn, i * size + inext)).collect()
        };
        let pair = |first: &Taps, next: &Taps| first.iter().flat_map(|tap| joined(tap, next)).collect();
        before.iter().flat_map(|first| own.iter().map(move |next| pair(first, next))).collect()
    };
    then(then(axis(0), 1), 2)
}

fn convolution(
    input: [u32; 4],
    out_channels: u32,
    (window, groups): (&Window, u32),
    weight: &Tensor,
) -> SparseRows {
    let [channels, depth, height, width] = input;
    let (positions, area) = (depth * height * width, window.kernel.iter().product::<u32>());
    let taps = taps(window, input);
    let (own, per_group) = (channels / groups, out_channels / groups);
    let map_entries: usize = taps.iter().map(|taps| taps.len() * own as usize).sum();
    let mut starts = Vec::with_capacity(taps.len() * out_channels as usize + 1);
    starts.push(0);
    let mut end = 0;
    for _ in 0..out_channels {
        starts.extend(taps.iter().map(|taps| {
            end += taps.len() * own as usize;
            end
        }));
    }
    let mut indices = vec![0u32; end];
    let mut weights = vec![0f64; end];
    let fill = |(oc, (indices, weights)): (usize, (&mut [u32], &mut [f64]))| {
        let oc = oc as u32;
        let mut at = 0;
        for taps in &taps {
            for c in 0..own {
                let first = (oc / per_group * own + c) * positions;
                let kernel = ((oc * own + c) * area) as usize;
                for (k, i) in taps {
                    indices[at] = first + i;
                    weights[at] = f64::from(weight.values[kernel + *k as usize]);
                    at += 1;
                }
            }
        }
    };
    if map_entries > 0 {
        indices
            .par_chunks_mut(map_entries)
            .zip(weights.par_chunks_mut(map_entries))
            .enumerate()
            .for_each(fill);
    }
    SparseRows { columns: (channels * positions) as usize, starts, indices, weights }
}

fn average_pool(input: [u32; 4], window: &Window, count_padding: bool) -> SparseRows {
    let [channels, depth, height, width] = input;
    let positions = depth * height * width;
    let whole: f64 = window.kernel.iter().map(|k| f64::from(*k)).product();
    let taps = taps(window, input);
    let rows = (0..channels).flat_map(|c| {
        taps.iter().map(move |taps| {
            let divisor = if count_padding { whole } else { taps.len() as f64 };
            taps.iter().map(|(_, i)| (c * positions + i, 1.0 / divisor)).collect()
        })
    });
    SparseRows::from_rows((channels * positions) as usize, rows)
}

/// Input element of each output element of a view; `None` where it reads zero.
///
/// An input axis that several output axes walk is read at the sum of their positions; one that none walks, at 0.
fn view_sources(input: &[u32], axes: &[ViewAxis]) -> Vec<Option<u32>> {
    let outputs: usize = axes.iter().map(|a| a.extent as usize).product();
    (0..outputs)
        .map(|flat| {
            let mut at = vec![0i64; input.len()];
            let mut rest = flat;
            for axis in axes.iter().rev() {
                let index = (rest % axis.extent as usize) as i64;
                rest /= axis.extent as usize;
                if let Some(a) = axis.input_axis {
                    at[a as usize] += axis.start + axis.step * index;
                }
            }
            at.iter().zip(input).try_fold(0u32, |flat, (i, size)| {
                (0..i64::from(*size)).contains(i).then(|| flat * size + *i as u32)
            })
        })
        .collect()
}
