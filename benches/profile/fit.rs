//! From samples to nanoseconds per term: least squares of relative errors, with no cost below zero.
//!
//! Samples do not tell all terms apart, so each is drawn weakly towards a guess: what the kernels of the ring layer would
//! take for it, times one factor per ring. The guess decides only what samples leave open; terms that it lacks are zero.

use cipherloom::measure::{Counts, Sample};
use cipherloom_compiler::cost::{Costs, Term, Work};

/// How strongly a term is drawn to its guess, beside a sample's relative error.
const PULL: f64 = 3e-4;
/// Rounds of coordinate descent.
const ROUNDS: usize = 20_000;

/// Kernels on one limb, relative to each other: a transform at N = 2^15, a product, a pass, a conversion.
const TRANSFORM: f64 = 45.0;
const PRODUCT: f64 = 8.0;
const PASS: f64 = 5.0;
const CONVERSION: f64 = 3.0;
/// Fixed part of a call.
const CALL: f64 = 2.0;

/// The kernels in each term of some work, in the order of [`Term::ALL`].
fn guess(work: Work, log_n: u32) -> [f64; Term::ALL.len()] {
    let t = TRANSFORM * f64::from(log_n) / 15.0;
    let (p, a, c) = (PRODUCT, PASS, CONVERSION);
    match work {
        Work::Add | Work::AddPlain | Work::MulScalar => [CALL, 2.0 * a, 0.0, 0.0, 0.0, 0.0],
        Work::MulPlain => [CALL, 2.0 * p, 0.0, 0.0, 0.0, 0.0],
        Work::Mul => [CALL, 4.0 * p, 0.0, 0.0, 0.0, 0.0],
        Work::Relinearize => [CALL, 2.0 * a, 2.0 * t, t + 2.0 * p, c, 2.0 * c],
        Work::Rescale => [CALL, 2.0 * (t + a), 0.0, 0.0, 0.0, 0.0],
        Work::Rotate => [CALL, 5.0 * a, 2.0 * t, t + 2.0 * p, c, 2.0 * c],
        Work::Plan => [CALL, 2.0 * a, 0.0, 0.0, 0.0, 0.0],
        Work::Decompose => [CALL, a, 0.0, t, c, 0.0],
        Work::ExtendedBaby => [0.0, 0.0, 2.0 * a, 2.0 * p, 0.0, 0.0],
        Work::ReducedBaby => [CALL, 2.0 * a, 2.0 * (t + a), 2.0 * p, 0.0, 2.0 * c],
        Work::KeptProduct => [0.0, 0.0, 2.0 * p, 0.0, 0.0, 0.0],
        Work::CompactProduct => [0.0, 0.0, 2.0 * p + t, 0.0, 0.0, 0.0],
        Work::ExtendedGiant => [CALL, a, t + 4.0 * a, t + 2.0 * p, c, c],
        Work::ReducedGiant => [CALL, 2.0 * a, 4.0 * a, t + 2.0 * p, c, 0.0],
        Work::Divide => [CALL, 2.0 * a, 2.0 * t, 0.0, 0.0, 2.0 * c],
        Work::Encode => [4.0 * t, 0.0, 0.0, 0.0, 0.0, 0.0],
    }
}

/// Nanoseconds that `costs` give for a sample.
pub fn predicted(costs: &Costs, counts: &Counts) -> f64 {
    let one = |(work, shape, times): &(Work, cipherloom_compiler::cost::Shape, u64)| {
        let terms = costs[*work as usize].iter().zip(shape.terms());
        times * terms.map(|(ns, count)| ns * count).sum::<u64>()
    };
    counts.iter().map(one).sum::<u64>() as f64
}

/// Costs of a ring that fit the samples.
pub fn fit(log_n: u32, samples: &[Sample]) -> Costs {
    let mut unknowns = Vec::new();
    for work in Work::ALL {
        for (term, guess) in guess(work, log_n).into_iter().enumerate().filter(|(_, guess)| *guess > 0.0) {
            unknowns.push((work as usize, term, guess));
        }
    }
    // Column by column the share of a sample that an unknown has at its guess.
    let column = |&(work, term, guess): &(usize, usize, f64)| -> Vec<f64> {
        let share = |sample: &Sample| {
            let of_work = sample.counts.iter().filter(|(w, _, _)| *w as usize == work);
            let count: u64 = of_work.map(|(_, shape, times)| times * shape.terms()[term]).sum();
            count as f64 * guess / sample.ns
        };
        samples.iter().map(share).collect()
    };
    let columns: Vec<Vec<f64>> = unknowns.iter().map(column).collect();
    let factors = descend(&columns, samples.len());
    let mut costs = Costs::default();
    for ((work, term, guess), factor) in unknowns.into_iter().zip(factors) {
        costs[work][term] = (guess * factor).round() as u64;
    }
    costs
}

/// Factors at least zero that make the columns sum to one in every row, as nearly as they can.
fn descend(columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
    // One factor for all: the start, and what the others are drawn to.
    let total: Vec<f64> = (0..rows).map(|row| columns.iter().map(|column| column[row]).sum()).collect();
    let start = total.iter().sum::<f64>() / total.iter().map(|t| t * t).sum::<f64>();
    let mut factors = vec![start; columns.len()];
    let mut missing: Vec<f64> = total.iter().map(|t| 1.0 - start * t).collect();
    let pull = PULL / (start * start);
    for _ in 0..ROUNDS {
        for (column, factor) in columns.iter().zip(&mut factors) {
            let squares: f64 = column.iter().map(|x| x * x).sum::<f64>() + pull;
            let slope: f64 =
                column.iter().zip(&missing).map(|(x, m)| x * m).sum::<f64>() + pull * (start - *factor);
            let next = (*factor + slope / squares).max(0.0);
            let change = next - *factor;
            missing.iter_mut().zip(column).for_each(|(m, x)| *m -= change * x);
            *factor = next;
        }
    }
    factors
}
