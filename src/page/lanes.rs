//! The lines beside the layers: who reads whose values, drawn as history browsers draw branches.
//!
//! Relies on layers that only read earlier ones. A lane is a column that a layer's values keep until their last
//! reader. Promises: every read is a line; at most [`COLUMNS_MAX`] columns are drawn, what is beyond shares the last.

use super::colour::Colour;
use std::collections::BTreeSet;

/// Most columns that are drawn.
const COLUMNS_MAX: usize = 8;
/// Distance of columns and height of a layer's line, pixels.
const COLUMN: usize = 14;
const HEIGHT: usize = 44;

/// One layer's part of the drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where the layer's dot stands.
    column: usize,
    /// Columns from above that run into the dot.
    joins: Vec<usize>,
    /// Columns from above that go on.
    through: Vec<usize>,
    /// Columns that go on below.
    below: Vec<usize>,
}

/// The rows, for the layers that each one reads.
pub(super) fn rows(reads: &[&BTreeSet<usize>]) -> Vec<Row> {
    let mut last_reader: Vec<usize> = vec![0; reads.len()];
    for (reader, read) in reads.iter().enumerate() {
        read.iter().for_each(|layer| last_reader[*layer] = reader);
    }
    let mut lanes: Vec<Option<usize>> = Vec::new();
    let mut rows = Vec::with_capacity(reads.len());
    for (index, read) in reads.iter().enumerate() {
        let open = |lanes: &[Option<usize>]| -> Vec<(usize, usize)> {
            lanes.iter().enumerate().filter_map(|(column, layer)| layer.map(|l| (column, l))).collect()
        };
        let above = open(&lanes);
        let joins = above.iter().filter(|(_, l)| read.contains(l)).map(|(c, _)| *c).collect();
        for (column, layer) in &above {
            if last_reader[*layer] == index {
                lanes[*column] = None;
            }
        }
        let through = open(&lanes).into_iter().map(|(c, _)| c).collect();
        let column = lanes.iter().position(Option::is_none).unwrap_or(lanes.len());
        if column == lanes.len() {
            lanes.push(None);
        }
        if last_reader[index] > index {
            lanes[column] = Some(index);
        }
        let below = open(&lanes).into_iter().map(|(c, _)| c).collect();
        rows.push(Row { column, joins, through, below });
    }
    rows
}

/// Width of the drawing, pixels.
pub(super) fn width(rows: &[Row]) -> usize {
    let columns = rows.iter().map(|r| r.column + 1).max().unwrap_or(1);
    columns.min(COLUMNS_MAX) * COLUMN
}

impl Row {
    /// The line of the layer, and what goes on beside its nodes where they are shown.
    pub(super) fn svg(&self, width: usize, colour: Colour) -> String {
        let middle = HEIGHT / 2;
        let dot = x(self.column);
        let places = |columns: &[usize]| columns.iter().map(|c| x(*c)).collect::<BTreeSet<_>>();
        let mut lines: String = places(&self.through).iter().map(|x| format!("M{x} 0V{HEIGHT}")).collect();
        for x in places(&self.joins) {
            lines += &match x {
                _ if x == dot => format!("M{x} 0V{middle}"),
                _ => format!("M{x} 0C{x} {bend} {dot} {bend} {dot} {middle}", bend = middle / 2),
            };
        }
        if self.below.contains(&self.column) {
            lines += &format!("M{dot} {middle}V{HEIGHT}");
        }
        let below: String = places(&self.below).iter().map(|x| format!("M{x} 0V1")).collect();
        format!(
            "<svg class=lanes width={width} height={HEIGHT} aria-hidden=true><path d=\"{lines}\"/>\
             <circle cx={dot} cy={middle} r=5 fill=\"{}\"/></svg>\
             <svg class=\"lanes below\" width={width} viewBox=\"0 0 {width} 1\" preserveAspectRatio=none aria-hidden=true>\
             <path d=\"{below}\"/></svg>",
            colour.css()
        )
    }
}

/// Middle of a column.
fn x(column: usize) -> usize {
    column.min(COLUMNS_MAX - 1) * COLUMN + COLUMN / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(reads: &[&[usize]]) -> Vec<Row> {
        let sets: Vec<BTreeSet<usize>> = reads.iter().map(|r| r.iter().copied().collect()).collect();
        rows(&sets.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_shortcut_keeps_its_column_until_the_sum() {
        // x, conv(x), relu, conv + x
        let rows = rows_of(&[&[], &[0], &[1], &[0, 2]]);
        assert_eq!(rows.iter().map(|r| r.column).collect::<Vec<_>>(), [0, 1, 1, 0]);
        assert_eq!((&rows[1].joins, &rows[1].through), (&vec![0], &vec![0]));
        assert_eq!((&rows[3].joins, &rows[3].below), (&vec![0, 1], &vec![]));
        assert_eq!(width(&rows), 2 * COLUMN);
    }

    #[test]
    fn wide_networks_share_the_last_column() {
        let all: Vec<usize> = (0..30).collect();
        let mut reads: Vec<&[usize]> = vec![&[]; 30];
        reads.push(&all);
        let rows = rows_of(&reads);
        assert_eq!(width(&rows), COLUMNS_MAX * COLUMN);
        assert_eq!(rows[30].joins.len(), 30);
        assert!(rows.iter().all(|r| x(r.column) < width(&rows)));
    }
}
