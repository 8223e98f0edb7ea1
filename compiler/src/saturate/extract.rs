//! Extraction: one alternative for every demanded class, of least total cost, shared classes counted once.
//!
//! Relies on classes that form no cycle. Does: walks the classes from the root towards the leaves, consumers always
//! before what they consume. A state is the *frontier*: the classes that are demanded and not yet decided, each with the
//! highest level that any consumer wants; states with equal frontiers keep the cheapest. A class is therefore decided
//! exactly once, when all its consumers are known, at its final level. Promises: the optimum while no more than
//! [`Problem::beam`] frontiers are alive at once; beyond that the cheapest are kept and the possible loss is reported.
//! Ties go to the alternative that comes first, so the answer does not depend on anything but the problem.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Index of a class.
pub type Class = usize;

/// A way to obtain a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Classes that it reads; a class may be read more than once.
    pub children: Vec<Class>,
    /// Levels that it takes.
    pub depth: u32,
}

/// What is to be decided.
pub struct Problem<'a> {
    /// The alternatives of each class.
    pub classes: &'a [Vec<Alternative>],
    /// The class that is wanted, at level 0.
    pub root: Class,
    /// Levels between the leaves and the root.
    pub levels: u32,
    /// Cost of an alternative whose result has a level; `None` where it cannot be computed.
    pub cost: &'a dyn Fn(Class, usize, u32) -> Option<u64>,
    /// Cost, for one reader, of bringing a class down from a level, the highest that is known when the reader turns out
    /// to want a lower one.
    pub adjust: &'a dyn Fn(Class, u32) -> u64,
    /// Most frontiers that are kept; 0 counts as 1.
    pub beam: usize,
}

/// A decision for one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The class.
    pub class: Class,
    /// Index of its alternative.
    pub alternative: usize,
    /// Level of the result.
    pub level: u32,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Decisions, what is read before its readers.
    pub decisions: Vec<Decision>,
    /// Total cost.
    pub cost: u64,
    /// Most frontiers that were alive at once (those aside that were seen at once to lie beyond the beam).
    pub widest: usize,
    /// The best answer is no cheaper than this; equal to the cost where the answer is proved optimal.
    pub lower_bound: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// A class is reached from itself.
    #[error("class {0} needs itself")]
    Cycle(Class),
    /// No alternative of the root can be computed within the levels.
    #[error("no way to compute the result within {0} levels")]
    Impossible(u32),
}

/// A demanded class: its highest level, and how many readers want that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Demand {
    rank: u32,
    level: u32,
    readers: u32,
}

/// Demands by rank, ascending.
type Frontier = Vec<Demand>;

/// States by frontier, ascending: the empty one comes first, then those that demand the next class.
type States = Vec<(Frontier, State)>;

/// States that are being made, by frontier. Those that cannot be among the cheapest [`Problem::beam`] are not kept in the first place.
struct Made {
    states: IndexMap<Frontier, State, FxBuildHasher>,
    beam: usize,
    /// No state that costs more is among the cheapest.
    limit: u64,
    /// So many states make it worth while to lower the limit.
    full: usize,
    /// No state that was not kept costs less.
    dropped: u64,
}

/// A state: its cost, the end of its trail, and the decision that is not in the trail yet.
#[derive(Clone, Copy)]
struct State {
    cost: u64,
    /// Place of the state that it was made of: of equally cheap states the first stays.
    from: usize,
    trail: Option<usize>,
    decided: Option<Decision>,
}

/// Least number of levels below each class; `None` where it cannot be computed. Classes in reading order.
pub fn heights(classes: &[Vec<Alternative>], order: &[Class]) -> Vec<Option<u32>> {
    let mut out: Vec<Option<u32>> = vec![None; classes.len()];
    for &class in order.iter().rev() {
        let height = |a: &Alternative| {
            a.children.iter().try_fold(0, |h, c| out[*c].map(|below| h.max(below))).map(|h| h + a.depth)
        };
        out[class] = classes[class].iter().filter_map(height).min();
    }
    out
}

/// Classes that the root reaches, readers before what they read.
pub fn reading_order(classes: &[Vec<Alternative>], root: Class) -> Result<Vec<Class>, ExtractError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; classes.len()];
    let mut finished = Vec::new();
    let mut stack = vec![(root, false)];
    while let Some((class, left)) = stack.pop() {
        if left {
            marks[class] = Mark::Done;
            finished.push(class);
            continue;
        }
        match marks[class] {
            Mark::Done => continue,
            Mark::Open => return Err(ExtractError::Cycle(class)),
            Mark::New => marks[class] = Mark::Open,
        }
        stack.push((class, true));
        for &child in classes[class].iter().flat_map(|a| &a.children) {
            match marks[child] {
                Mark::Open => return Err(ExtractError::Cycle(child)),
                Mark::New if child != class => stack.push((child, false)),
                _ => {}
            }
        }
    }
    finished.reverse();
    Ok(finished)
}

impl Problem<'_> {
    /// The cheapest answer.
    pub fn solve(&self) -> Result<Answer, ExtractError> {
        let order = reading_order(self.classes, self.root)?;
        let heights = heights(self.classes, &order);
        let mut rank_of = vec![u32::MAX; self.classes.len()];
        (0..).zip(&order).for_each(|(rank, class)| rank_of[*class] = rank);
        let mut trail: Vec<(Decision, Option<usize>)> = Vec::new();
        let start = vec![Demand { rank: 0, level: 0, readers: 1 }];
        let mut states: States = vec![(start, State { cost: 0, from: 0, trail: None, decided: None })];
        let (mut widest, mut dropped) = (1, u64::MAX);
        let mut left = Frontier::new();
        for (rank, &class) in (0..).zip(&order) {
            // The empty frontier, where nothing is left to decide, stands before all others.
            let done = usize::from(states.first().is_some_and(|(frontier, _)| frontier.is_empty()));
            let due = states[done..].partition_point(|(frontier, _)| frontier[0].rank == rank);
            if due == 0 {
                continue;
            }
            let kept = states.split_off(done + due);
            let mut made = Made::new(self.beam, states.drain(..done));
            let mut priced: BTreeMap<u32, Vec<(usize, u64)>> = BTreeMap::new();
            // The cheapest first, so that the limit is low soon.
            let mut by_cost: Vec<usize> = (0..states.len()).collect();
            by_cost.sort_by_key(|at| states[*at].1.cost);
            for at in by_cost {
                let (frontier, state) = &states[at];
                let level = frontier[0].level;
                let ways = priced.entry(level).or_insert_with(|| self.priced(class, level, &heights));
                for &mut (alternative, own) in ways {
                    let way = &self.classes[class][alternative];
                    let mut cost = state.cost + own;
                    if !made.wants(cost) {
                        continue;
                    }
                    left.clear();
                    left.extend_from_slice(&frontier[1..]);
                    for &child in &way.children {
                        cost += self.demand(&mut left, rank_of[child], child, level + way.depth);
                    }
                    let decided = Some(Decision { class, alternative, level });
                    made.keep(&left, State { cost, from: at + 1, trail: state.trail, decided });
                }
            }
            dropped = dropped.min(made.dropped);
            states = merged(made, kept);
            widest = widest.max(states.len());
            dropped = dropped.min(shorten(&mut states, self.beam.max(1)));
            for (_, state) in &mut states {
                state.from = 0;
                if let Some(decision) = state.decided.take() {
                    trail.push((decision, state.trail));
                    state.trail = Some(trail.len() - 1);
                }
            }
        }
        // At the end nothing is left to decide.
        let (_, best) = states.first().ok_or(ExtractError::Impossible(self.levels))?;
        let mut decisions = Vec::new();
        let mut at = best.trail;
        while let Some(k) = at {
            decisions.push(trail[k].0);
            at = trail[k].1;
        }
        Ok(Answer { decisions, cost: best.cost, widest, lower_bound: best.cost.min(dropped) })
    }

    /// The alternatives of a class that fit below a level, with their costs.
    fn priced(&self, class: Class, level: u32, heights: &[Option<u32>]) -> Vec<(usize, u64)> {
        let ways = self.classes[class].iter().enumerate();
        let priced = |(alternative, way): (usize, &Alternative)| {
            let below = level + way.depth;
            let fits = |c: &Class| heights[*c].is_some_and(|h| below + h <= self.levels);
            (below <= self.levels && way.children.iter().all(fits))
                .then(|| (self.cost)(class, alternative, level))
                .flatten()
                .map(|own| (alternative, own))
        };
        ways.filter_map(priced).collect()
    }

    /// Adds a reader of a class; returns what the difference between its level and other readers' costs.
    fn demand(&self, frontier: &mut Frontier, rank: u32, class: Class, level: u32) -> u64 {
        match frontier.binary_search_by_key(&rank, |d| d.rank) {
            Err(at) => {
                frontier.insert(at, Demand { rank, level, readers: 1 });
                0
            }
            Ok(at) => {
                let known = &mut frontier[at];
                let Demand { level: highest, readers, .. } = *known;
                match level.cmp(&highest) {
                    Ordering::Equal => {
                        known.readers += 1;
                        0
                    }
                    Ordering::Less => (self.adjust)(class, highest),
                    Ordering::Greater => {
                        (known.level, known.readers) = (level, 1);
                        u64::from(readers) * (self.adjust)(class, level)
                    }
                }
            }
        }
    }
}

impl Made {
    fn new(beam: usize, states: impl Iterator<Item = (Frontier, State)>) -> Made {
        let beam = beam.max(1);
        let full = beam.saturating_mul(2);
        Made { states: states.collect(), beam, limit: u64::MAX, full, dropped: u64::MAX }
    }

    /// Whether a state of this cost, or more, may be kept.
    fn wants(&mut self, cost: u64) -> bool {
        let wanted = cost <= self.limit;
        if !wanted {
            self.dropped = self.dropped.min(cost);
        }
        wanted
    }

    /// Keeps the cheaper of two states with one frontier; the earlier one where they cost the same.
    fn keep(&mut self, frontier: &[Demand], state: State) {
        if !self.wants(state.cost) {
            return;
        }
        match self.states.get_mut(frontier) {
            Some(known) if (known.cost, known.from) <= (state.cost, state.from) => {}
            Some(known) => *known = state,
            None => {
                self.states.insert(frontier.to_vec(), state);
                if self.states.len() >= self.full {
                    self.lower_limit();
                }
            }
        }
    }

    fn lower_limit(&mut self) {
        let mut costs: Vec<u64> = self.states.values().map(|state| state.cost).collect();
        let (_, &mut limit, beyond) = costs.select_nth_unstable(self.beam - 1);
        let cheapest = beyond.iter().copied().filter(|cost| *cost > limit).min();
        self.dropped = self.dropped.min(cheapest.unwrap_or(u64::MAX));
        self.limit = limit;
        self.states.retain(|_, state| state.cost <= limit);
        // Equally cheap ones may be many.
        self.full = self.full.max(self.states.len().saturating_mul(2));
    }

    /// By frontier, ascending.
    fn sorted(mut self) -> impl Iterator<Item = (Frontier, State)> {
        self.states.sort_unstable_keys();
        self.states.into_iter()
    }
}

/// Joins two ascending lists; of equal frontiers the cheaper state stays, that of `made` where they cost the same.
fn merged(made: Made, kept: States) -> States {
    let mut out = States::with_capacity(made.states.len() + kept.len());
    let mut kept = kept.into_iter().peekable();
    for (frontier, mut state) in made.sorted() {
        while let Some(known) = kept.next_if(|(other, _)| *other < frontier) {
            out.push(known);
        }
        if let Some((_, known)) = kept.next_if(|(other, _)| *other == frontier)
            && known.cost < state.cost
        {
            state = known;
        }
        out.push((frontier, state));
    }
    out.extend(kept);
    out
}

/// Leaves the cheapest `beam` states, of equally cheap ones the first; returns the cost of the cheapest that was dropped.
fn shorten(states: &mut States, beam: usize) -> u64 {
    if states.len() <= beam {
        return u64::MAX;
    }
    let mut costs: Vec<(u64, usize)> = states.iter().enumerate().map(|(k, (_, s))| (s.cost, k)).collect();
    let (_, first_dropped, _) = costs.select_nth_unstable(beam);
    let (dropped, last) = *first_dropped;
    let mut at = 0..;
    states.retain(|(_, s)| at.next().is_some_and(|k| (s.cost, k) < (dropped, last)));
    dropped
}
