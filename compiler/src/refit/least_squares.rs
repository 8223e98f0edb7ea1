//! Ridge regression by the normal equations.
//!
//! Sums run in one order whatever the threads, and nothing is fused, so that the same numbers give the same bits on every machine.

use rayon::prelude::*;

/// For each right side the change of weights that leaves the least squares of `right side − Σ weight · column`, plus the ridge:
/// that share of the mean of the normal matrix's diagonal is added to all of it, so that weights that the data say nothing of stay. `None` where the numbers are none, or all zero. Columns and right sides have one entry per row; the last column may be that of a
/// bias, ones of another size than the others have.
pub(super) fn solve(
    columns: &[Vec<f64>],
    has_bias: bool,
    right_sides: &[Vec<f64>],
    ridge: f64,
) -> Option<Vec<Vec<f64>>> {
    let size = columns.len();
    let mut normal: Vec<Vec<f64>> =
        (0..size).into_par_iter().map(|i| products(&columns[i], &columns[..=i])).collect();
    let weights = size - usize::from(has_bias);
    let mean = (0..weights).map(|i| normal[i][i]).sum::<f64>() / weights.max(1) as f64;
    (0..weights).for_each(|i| normal[i][i] += ridge * mean);
    (weights..size).for_each(|i| normal[i][i] *= 1.0 + ridge);
    let lower = cholesky(normal)?;
    let weights = |right: &Vec<f64>| {
        let mut x = products(right, columns);
        for i in 0..size {
            let known: f64 = lower[i][..i].iter().zip(&x).map(|(l, x)| l * x).sum();
            x[i] = (x[i] - known) / lower[i][i];
        }
        for i in (0..size).rev() {
            x[i] /= lower[i][i];
            let (before, solved) = x.split_at_mut(i);
            before.iter_mut().zip(&lower[i]).for_each(|(x, l)| *x -= l * solved[0]);
        }
        x.iter().all(|x| x.is_finite()).then_some(x)
    };
    right_sides.par_iter().map(weights).collect()
}

/// Scalar products of a column with others, four at a time so that it is read a quarter as often.
fn products(column: &[f64], others: &[Vec<f64>]) -> Vec<f64> {
    others
        .chunks(4)
        .flat_map(|four| match four {
            [a, b, c, d] => four_products(column, [a, b, c, d]).to_vec(),
            few => few.iter().map(|other| four_products(column, [other; 4])[0]).collect(),
        })
        .collect()
}

/// Two partial sums each, which a processor adds side by side.
fn four_products(column: &[f64], others: [&Vec<f64>; 4]) -> [f64; 4] {
    let mut sums = [[0.0f64; 2]; 4];
    let [a, b, c, d] = others.map(|other| other[..column.len()].chunks_exact(2));
    for (((([x0, x1], a), b), c), d) in pairs(column).zip(a).zip(b).zip(c).zip(d) {
        for (sum, y) in sums.iter_mut().zip([a, b, c, d]) {
            sum[0] += x0 * y[0];
            sum[1] += x1 * y[1];
        }
    }
    let odd = column.len() % 2 == 1;
    let last = |other: &Vec<f64>| if odd { column[column.len() - 1] * other[column.len() - 1] } else { 0.0 };
    [0, 1, 2, 3].map(|k| sums[k][0] + sums[k][1] + last(others[k]))
}

fn pairs(column: &[f64]) -> impl Iterator<Item = [f64; 2]> + '_ {
    column.chunks_exact(2).map(|pair| [pair[0], pair[1]])
}

/// The lower triangle whose product with its transpose is a symmetric matrix, given by its lower triangle; `None` where it is not
/// positive definite.
fn cholesky(mut rows: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..rows.len() {
        let (done, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        for j in 0..i {
            let known: f64 = row[..j].iter().zip(&done[j]).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - known) / done[j][j];
        }
        let known: f64 = row[..i].iter().map(|a| a * a).sum();
        row[i] = (row[i] - known).sqrt();
        if !(row[i] > 0.0 && row[i].is_finite()) {
            return None;
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIDGE: f64 = 1e-3;

    /// Numbers without a pattern, from −1 to 1.
    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn weights_that_made_the_right_sides_are_found() {
        for (rows, size) in [(301, 7), (1000, 12), (64, 1)] {
            let columns: Vec<Vec<f64>> = (0..size).map(|k| numbers(rows, k as u64)).collect();
            let wanted: Vec<Vec<f64>> = (0..3).map(|k| numbers(size, 1000 + k)).collect();
            let right = |weights: &Vec<f64>| -> Vec<f64> {
                (0..rows).map(|r| weights.iter().zip(&columns).map(|(w, c)| w * c[r]).sum()).collect()
            };
            let found = solve(&columns, false, &wanted.iter().map(right).collect::<Vec<_>>(), RIDGE)
                .expect("regular");
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((found - wanted).abs() < 4e-3, "{found} {wanted}");
            }
        }
    }

    #[test]
    fn no_other_change_leaves_less() {
        for has_bias in [false, true] {
            let mut columns: Vec<Vec<f64>> = (0..5).map(|k| numbers(41, k)).collect();
            columns[4] = vec![if has_bias { 1.0 } else { 0.5 }; 41];
            let right = numbers(41, 99);
            let found =
                solve(&columns, has_bias, std::slice::from_ref(&right), RIDGE).expect("regular").remove(0);
            let squares = |k: usize| columns[k].iter().map(|x| x * x).sum::<f64>();
            let weights = if has_bias { 4 } else { 5 };
            let mean = (0..weights).map(squares).sum::<f64>() / f64::from(weights as u32);
            // The gradient of the squares and of the ridge.
            for k in 0..5 {
                let left = |r: usize| right[r] - (0..5).map(|j| found[j] * columns[j][r]).sum::<f64>();
                let gradient: f64 = (0..41).map(|r| left(r) * columns[k][r]).sum();
                let ridge = RIDGE * if k < weights { mean } else { squares(k) };
                assert!((gradient - ridge * found[k]).abs() < 1e-9, "{k}");
            }
        }
    }

    #[test]
    fn what_the_data_do_not_say_stays() {
        let (x, y) = (numbers(50, 1), numbers(50, 2));
        let found = solve(&[x.clone(), x.clone(), vec![0.0; 50]], false, &[x, y], RIDGE)
            .expect("the ridge makes it regular");
        assert!((found[0][0] - found[0][1]).abs() < 1e-9 && (found[0][0] - 0.5).abs() < 1e-3);
        assert_eq!([found[0][2], found[1][2]], [0.0, 0.0]);
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(solve(&[vec![f64::NAN, 1.0]], false, &[vec![1.0, 1.0]], RIDGE), None);
        assert_eq!(solve(&[vec![0.0, 0.0]], false, &[vec![1.0, 1.0]], RIDGE), None);
        assert_eq!(solve(&[vec![1.0, 1.0]], false, &[vec![f64::INFINITY, 1.0]], RIDGE), None);
    }
}
