//! Key memory against time: the choices of which no other has both fewer bytes and less time.
//!
//! Relies on [`choose`](super::choose). The bytes of keys are global, not a sum over maps; so a price per byte is swept:
//! at each price the choice is improved from several starts, and these choices and all that differ from them in one
//! demand make up the frontier. Promises: the frontier of a whole sweep depends on the problem alone, so that a larger budget never
//! gives a slower choice; points by ascending bytes and descending time.

use super::choose::{Choice, Cost, Price, Problem};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Prices that are swept: powers of two, ns for each MiB.
const PRICES_LOG2: std::ops::Range<u32> = 6..30;
/// Prices at which common starts are tried, one in so many: they cost most of the time.
const STARTS_EVERY: usize = 4;

/// A point of the frontier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What the choice costs.
    pub cost: Cost,
    /// The choice.
    pub choice: Choice,
}

/// Points of which none beats another, by ascending bytes.
#[derive(Clone, Debug, Default)]
struct Points(BTreeMap<u64, (u64, Choice)>);

impl Points {
    fn add(&mut self, cost: Cost, choice: impl FnOnce() -> Choice) {
        let beaten = |known: &u64| *known <= cost.time_ns;
        if self.0.range(..=cost.key_bytes).next_back().is_some_and(|(_, (time, _))| beaten(time)) {
            return;
        }
        let worse: Vec<u64> = self
            .0
            .range(cost.key_bytes..)
            .take_while(|(_, (time, _))| *time >= cost.time_ns)
            .map(|(bytes, _)| *bytes)
            .collect();
        worse.iter().for_each(|bytes| {
            self.0.remove(bytes);
        });
        self.0.insert(cost.key_bytes, (cost.time_ns, choice()));
    }
}

/// At which prices choices are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// At none, and at all powers of two: the frontier.
    Whole,
    /// At this one: a few choices that are good at it, where the frontier is not asked for.
    Price(Price),
}

impl Sweep {
    fn prices(self) -> Vec<Price> {
        match self {
            Sweep::Whole => std::iter::once(Price(0)).chain(PRICES_LOG2.map(|k| Price(1 << k))).collect(),
            Sweep::Price(price) => vec![price],
        }
    }
}

/// The frontier of a problem; `starts` are choices to begin from besides each demand's own cheapest way.
pub fn frontier(problem: &Problem, starts: &[Choice], sweep: Sweep) -> Vec<Point> {
    let prices = sweep.prices();
    let found: Vec<Vec<Choice>> = prices
        .par_iter()
        .enumerate()
        .map(|(k, price)| {
            let common: &[Choice] = if k % STARTS_EVERY == 0 { starts } else { &[] };
            let alone = problem.each_alone(*price);
            std::iter::once(alone).chain(common.iter().cloned()).map(|c| problem.descend(c, *price)).collect()
        })
        .collect();
    let mut points = Points::default();
    let mut best: Option<Choice> = None;
    for (price, choices) in prices.iter().zip(found) {
        // The answer at one price is a start for the next.
        let warm = best.take().map(|choice| problem.descend(choice, *price));
        let all = choices.into_iter().chain(warm).map(|c| (problem.cost(&c).priced(*price), c));
        let mut least: Option<(u128, Choice)> = None;
        for (cost, choice) in all {
            points.add(problem.cost(&choice), || choice.clone());
            if least.as_ref().is_none_or(|(known, _)| cost < *known) {
                least = Some((cost, choice));
            }
        }
        best = least.map(|(_, choice)| choice);
    }
    let centres: Vec<Choice> = points.0.values().map(|(_, choice)| choice.clone()).collect();
    for choice in starts {
        points.add(problem.cost(choice), || choice.clone());
    }
    for centre in &centres {
        for (cost, choice) in problem.neighbours(centre) {
            points.add(cost, || choice);
        }
    }
    let point = |(key_bytes, (time_ns, choice))| Point { cost: Cost { key_bytes, time_ns }, choice };
    points.0.into_iter().map(point).collect()
}
