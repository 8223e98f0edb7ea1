//! Linear maps along one axis of a tensor: what resizing, padding by copies, pooling windows and sums become.
//!
//! A map is a list of rows, one per output position, each a list of (input position, factor). Promises: the cheapest form
//! that the rows allow: nothing, a walk, a repetition, else a matrix shared by all other axes.

use super::view::{permuted, walked};
use super::{Lowered, holds};
use crate::frontend::call::Value;
use crate::frontend::draft::linear::narrow;
use crate::frontend::draft::{Draft, TensorRef, size};
use crate::frontend::error::{Refusal, refuse};
use cipherloom_ir::{Operator, ViewAxis, Window};

/// Largest matrix along one axis, in entries.
const MAX_ENTRIES: usize = 1 << 22;

/// Most positions that rows are made for.
pub(super) const MAX_POSITIONS: usize = 1 << 20;

/// What one output position reads.
pub(super) type Row = Vec<(usize, f64)>;

/// Rows that copy the listed input positions; `None` leaves zero.
pub(super) fn copies(positions: &[Option<usize>]) -> Vec<Row> {
    positions.iter().map(|p| p.iter().map(|p| (*p, 1.0)).collect()).collect()
}

/// Applies `rows` along `axis` of a tensor's ONNX shape.
///
/// # Errors
/// A matrix of more than [`MAX_ENTRIES`] entries.
pub(super) fn along(
    draft: &mut Draft,
    x: &TensorRef,
    axis: usize,
    rows: &[Row],
) -> Result<TensorRef, Refusal> {
    let extent = x.shape[axis];
    let mut shape = x.shape.clone();
    shape[axis] = rows.len();
    holds(&shape)?;
    if let Some((start, step)) = walk(rows, extent) {
        let whole =
            |k: usize| ViewAxis { extent: size(shape[k]), input_axis: Some(size(k)), start: 0, step: 1 };
        let mut axes: Vec<ViewAxis> = (0..shape.len()).map(whole).collect();
        axes[axis] = ViewAxis { start, step, ..axes[axis] };
        return walked(draft, x, axes);
    }
    if let Some(times) = repetition(rows, extent) {
        let mut axes: Vec<ViewAxis> = Vec::new();
        for (k, d) in x.shape.iter().enumerate() {
            axes.push(ViewAxis { extent: size(*d), input_axis: Some(size(k)), start: 0, step: 1 });
            if k == axis {
                axes.push(ViewAxis { extent: size(times), input_axis: None, start: 0, step: 0 });
            }
        }
        return Ok(walked(draft, x, axes)?.reshaped(shape));
    }
    if rows.len().saturating_mul(extent) > MAX_ENTRIES {
        return refuse(
            format!("its matrix along axis {axis} would have {} x {extent} entries", rows.len()),
            format!("at most {MAX_ENTRIES} are taken; use smaller images"),
        );
    }
    let [outer, inner] = [x.shape[..axis].iter().product(), x.shape[axis + 1..].iter().product::<usize>()];
    let columns = outer * inner;
    let turned = permuted(draft, &x.reshaped(vec![outer, extent, inner]), &[1, 0, 2])?;
    let mut matrix = vec![0.0; rows.len() * extent];
    for (row, values) in rows.iter().zip(matrix.chunks_exact_mut(extent)) {
        row.iter().for_each(|(k, factor)| values[*k] += factor);
    }
    let turned = turned.reshaped(vec![1, extent, columns]);
    let y = over_columns(draft, &turned, rows.len(), matrix);
    Ok(permuted(draft, &y.reshaped(vec![rows.len(), outer, inner]), &[1, 0, 2])?.reshaped(shape))
}

/// `matrix [rows, inner] · x [1, inner, columns]`, row-major.
fn over_columns(draft: &mut Draft, x: &TensorRef, rows: usize, matrix: Vec<f64>) -> TensorRef {
    let (inner, columns) = (x.shape[1], x.shape[2]);
    if columns == 1 {
        let weight = draft.weights(vec![size(rows), size(inner)], narrow(matrix));
        return draft.apply(x, Operator::Dense { weight }, vec![1, rows, 1]);
    }
    let weight = draft.weights(vec![size(rows), size(inner), 1, 1], narrow(matrix));
    let input = [size(inner), 1, 1, size(columns)];
    draft.apply(
        x,
        Operator::Convolution { input, window: Window::POINT, groups: 1, weight },
        vec![1, rows, columns],
    )
}

/// Whether rows need no matrix.
pub(super) fn is_view(rows: &[Row], extent: usize) -> bool {
    walk(rows, extent).is_some() || repetition(rows, extent).is_some()
}

/// Start and step of rows that copy positions at equal distances; rows without any are padding outside.
fn walk(rows: &[Row], extent: usize) -> Option<(i64, i64)> {
    let mut taken: Vec<(i64, i64)> = Vec::new();
    for (o, row) in rows.iter().enumerate() {
        match row[..] {
            [] => {}
            [(k, 1.0)] => taken.push((o as i64, k as i64)),
            _ => return None,
        }
    }
    let (&(first, from), last) = (taken.first()?, taken.last()?);
    let step = if taken.len() > 1 { (last.1 - from).checked_div(last.0 - first)? } else { extent as i64 };
    let start = from - step * first;
    let reads = |o: i64| Some(start + step * o).filter(|k| (0..extent as i64).contains(k));
    let agrees = |(o, row): (usize, &Row)| row.first().map(|(k, _)| *k as i64) == reads(o as i64);
    rows.iter().enumerate().all(agrees).then_some((start, step))
}

/// How often every position is copied, where the rows copy each in turn equally often.
fn repetition(rows: &[Row], extent: usize) -> Option<usize> {
    let times = rows.len().checked_div(extent).filter(|t| *t > 1 && t * extent == rows.len())?;
    rows.iter().enumerate().all(|(o, row)| row[..] == [(o / times, 1.0)]).then_some(times)
}

/// Applies rows along several axes, and adds what stands where a position has none.
pub(super) fn along_axes(
    draft: &mut Draft,
    x: &TensorRef,
    maps: &[(usize, Vec<Row>)],
    outside: f64,
) -> Lowered {
    let mut y = x.clone();
    for (axis, rows) in maps {
        y = along(draft, &y, *axis, rows)?;
    }
    if outside != 0.0 && maps.iter().any(|(_, rows)| rows.iter().any(Vec::is_empty)) {
        let shape = y.shape.clone();
        let empty = |k: usize| {
            let mut rest = k;
            let position: Vec<usize> = shape.iter().rev().map(|d| (rest % d, rest /= d).0).collect();
            maps.iter().any(|(axis, rows)| rows[position[shape.len() - 1 - axis]].is_empty())
        };
        let fill = (0..y.elements()).map(|k| if empty(k) { outside } else { 0.0 }).collect();
        y = draft.shifted(&y, fill);
    }
    Ok(Value::Tensor(y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_their_cheapest_form() {
        let some = |list: &[usize]| copies(&list.iter().map(|k| Some(*k)).collect::<Vec<_>>());
        assert_eq!(walk(&some(&[1, 3, 5]), 6), Some((1, 2)));
        assert_eq!(walk(&some(&[2, 1, 0]), 3), Some((2, -1)));
        assert_eq!(walk(&copies(&[None, Some(0), Some(1), None]), 2), Some((-1, 1)));
        assert_eq!(walk(&copies(&[None, Some(0), Some(1), None]), 3), None);
        assert_eq!(walk(&some(&[0, 0, 1]), 2), None);
        assert_eq!(repetition(&some(&[0, 0, 1, 1]), 2), Some(2));
        assert_eq!(repetition(&some(&[0, 1, 1, 0]), 2), None);
    }
}
