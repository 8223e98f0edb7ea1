//! The saturated e-graph of rotations, as a problem of choice, and a choice written back into the network.
//!
//! Relies on rules that end: demands are those of the network, a rule plans each once. Promises: every demand has a
//! way, or an error; every way of a class is an implementation that reads keys or demands alone, so no choice needs itself.

use super::choose::{Choice, Cost, Demand, Group, Price, Problem, Way};
use super::frontier::{Point, Sweep, frontier};
use super::network::{Network, Whole};
use super::rules::{Graph, TWICE};
use super::tables::Tables;
use super::{Merged, Rotation, Term, usual_price};
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::packing::{Arranged, Choice as Layer};
use crate::rotation::Split;
use cipherloom_ir::scheme::Level;
use egg::{EGraph, Id, Language, Rewrite, Runner, SimpleScheduler, StopReason};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most terms of the e-graph.
const TERMS_MAX: usize = 200_000;
/// Most rounds of rules.
const ROUNDS_MAX: usize = 100;

/// A saturated e-graph with what can be chosen from it.
pub struct Saturated {
    graph: Graph,
    rounds: usize,
    /// The alternatives.
    pub problem: Problem,
    /// What the demands of the problem are.
    demands: Vec<Term>,
    /// What the ways of the demands are.
    ways: Vec<Vec<Term>>,
}

impl Saturated {
    /// All ways of a network by some rules.
    pub fn new(
        network: Network,
        cost: &CostModel,
        rules: &[Rewrite<Term, Tables>],
    ) -> Result<Saturated, CompileError> {
        let mut graph: Graph = EGraph::new(Tables::new(network, cost));
        let sums = graph.analysis.network.sums.iter();
        let summed: Vec<usize> =
            sums.flat_map(|s| s.parts.into_iter().chain(s.wholes.iter().map(|w| w.map))).collect();
        let mut wanted = Vec::new();
        for map in (0..graph.analysis.network.maps.len()).filter(|m| !summed.contains(m)) {
            wanted.push(graph.add(Term::Map(map as u32)));
        }
        for turn in 0..graph.analysis.network.turns.len() {
            wanted.push(graph.add(Term::Turn(turn as u32)));
        }
        for (sum, parts) in
            graph.analysis.network.sums.iter().map(|s| s.parts).enumerate().collect::<Vec<_>>()
        {
            let parts = parts.map(|map| graph.add(Term::Map(map as u32)));
            wanted.push(graph.add(Term::Sum(sum as u32, parts)));
        }
        let root = graph.add(Term::Circuit(wanted.into()));
        let run = |graph: Graph, rules: &[Rewrite<Term, Tables>]| {
            Runner::<Term, Tables>::new(Tables::new(Network::default(), cost))
                .with_egraph(graph)
                .with_scheduler(SimpleScheduler)
                .with_time_limit(Duration::MAX)
                .with_iter_limit(ROUNDS_MAX)
                .with_node_limit(TERMS_MAX)
                .run(rules)
        };
        let mut runner = run(graph.clone(), rules);
        if matches!(runner.stop_reason, Some(StopReason::NodeLimit(_))) {
            // Turns by two keys are as many as turns times keys: where these are too many, each turn has its own key.
            let fewer: Vec<Rewrite<Term, Tables>> =
                rules.iter().filter(|rule| rule.name.as_str() != TWICE).cloned().collect();
            runner = run(graph, &fewer);
        }
        if !matches!(runner.stop_reason, Some(StopReason::Saturated)) {
            let reason = runner.stop_reason;
            return Err(CompileError::Internal(format!("rotation did not saturate: {reason:?}")));
        }
        let rounds = runner.iterations.len();
        let empty = Problem::default();
        let mut out =
            Saturated { graph: runner.egraph, rounds, problem: empty, demands: vec![], ways: vec![] };
        out.collect(root)?;
        Ok(out)
    }

    fn tables(&self) -> &Tables {
        &self.graph.analysis
    }

    /// Terms of a class in their order.
    fn terms(&self, class: Id) -> Vec<Term> {
        let mut terms = self.graph[self.graph.find(class)].nodes.clone();
        terms.sort();
        terms.dedup();
        terms
    }

    /// Turns the classes below the root into a problem.
    fn collect(&mut self, root: Id) -> Result<(), CompileError> {
        let top = |n: &Network| n.maps.iter().map(|m| m.level).chain(n.turns.iter().map(|t| t.level)).max();
        let network = &self.tables().network;
        let top = top(network).max(network.held.iter().copied().max()).unwrap_or(Level(0));
        let cost = self.tables().cost();
        let key_bytes: Vec<u64> = (0..=top.0).map(|l| cost.key_bytes(Level(l))).collect();
        let held_bytes = network.held.iter().map(|l| key_bytes[l.0 as usize]).sum();
        self.problem = Problem { key_bytes, held_bytes, ..Problem::default() };
        let wanted: Vec<Id> = self.terms(root).iter().flat_map(|t| t.children().to_vec()).collect();
        for class in wanted {
            let mut group: Group = Vec::new();
            for term in self.terms(class) {
                match &term {
                    Term::Apart(parts) => {
                        let parts = parts.iter().map(|p| self.demand(*p)).collect::<Result<Vec<_>, _>>()?;
                        group.push(parts);
                    }
                    Term::Merged([whole]) => group.push(vec![self.demand(*whole)?]),
                    _ => {}
                }
            }
            if group.is_empty() {
                group.push(vec![self.demand(class)?]);
            }
            self.problem.groups.push(group);
        }
        Ok(())
    }

    /// Adds the ways of one map or turn to the problem.
    fn demand(&mut self, class: Id) -> Result<usize, CompileError> {
        let terms = self.terms(class);
        let what = terms.iter().find(|t| !t.is_implementation()).cloned();
        let what = what.ok_or_else(|| CompileError::Internal("rotation lost a demand".into()))?;
        let (tables, network) = (self.tables(), &self.tables().network);
        let key = |id: &Id| {
            self.terms(*id).iter().find_map(|t| if let Term::Key(step) = t { Some(*step) } else { None })
        };
        let level = match &what {
            Term::Map(map) => network.maps[*map as usize].level,
            Term::Turn(turn) => network.turns[*turn as usize].level,
            other => return Err(CompileError::Internal(format!("rotation demands {other:?}"))),
        };
        let time = |term: &Term| match term {
            Term::Plan(plan, _) => tables.plan(*plan).time_ns,
            Term::Turned(turn, keys) => {
                let turn = &network.turns[*turn as usize];
                keys.len() as u64 * u64::from(turn.ciphertexts) * tables.cost().rotate(turn.level)
            }
            _ => 0,
        };
        let implementations: Vec<Term> = terms.iter().filter(|t| t.is_implementation()).cloned().collect();
        let way = |term: &Term| {
            let mut keys: Vec<u32> = term.children().iter().filter_map(key).collect();
            keys.sort_unstable();
            keys.dedup();
            Way { time_ns: time(term), keys }
        };
        let ways: Vec<Way> = implementations.iter().map(way).collect();
        if ways.is_empty() {
            return Err(CompileError::Internal(format!("rotation has no way to compute {what:?}")));
        }
        self.problem.demands.push(Demand { level, ways });
        self.demands.push(what);
        self.ways.push(implementations);
        Ok(self.problem.demands.len() - 1)
    }

    /// The choice of each map's own cheapest plan, sums apart, folds straight.
    pub fn own(&self, price: Price) -> Choice {
        let mut choice = self.problem.each_alone(price);
        let apart =
            |group: &Group| (0..group.len()).max_by_key(|v| (group[*v].len(), usize::MAX - v)).unwrap_or(0);
        choice.variants = self.problem.groups.iter().map(apart).collect();
        choice
    }

    /// Choices in which every map that can takes the same window.
    fn common_starts(&self) -> Vec<Choice> {
        let base = self.own(usual_price(self.tables().cost()));
        let window = |term: &Term| match term {
            Term::Plan(plan, _) => Some(self.tables().plan(*plan).window),
            _ => None,
        };
        let mut windows: Vec<_> = self.ways.iter().flatten().filter_map(window).collect();
        windows.sort();
        windows.dedup();
        let with = |wanted| {
            let mut choice = base.clone();
            for (demand, terms) in self.ways.iter().enumerate() {
                let same = (0..terms.len()).filter(|w| window(&terms[*w]) == Some(wanted));
                let fastest = same.min_by_key(|w| self.problem.demands[demand].ways[*w].time_ns);
                choice.ways[demand] = fastest.unwrap_or(choice.ways[demand]);
            }
            choice
        };
        let mut starts: Vec<Choice> = windows.into_iter().map(with).collect();
        starts.push(base);
        starts
    }

    /// Key memory against time.
    pub fn frontier(&self, sweep: Sweep) -> Vec<Point> {
        let (pruned, kept) = self.problem.pruned();
        let inside = |choice: Choice| {
            let way =
                |(demand, way): (usize, &usize)| kept[demand].iter().position(|w| w == way).unwrap_or(0);
            Choice { ways: choice.ways.iter().enumerate().map(way).collect(), ..choice }
        };
        let starts: Vec<Choice> = self.common_starts().into_iter().map(inside).collect();
        let mut points = frontier(&pruned, &starts, sweep);
        for point in &mut points {
            point.choice.ways.iter_mut().enumerate().for_each(|(demand, way)| *way = kept[demand][*way]);
        }
        points
    }

    /// Steps of each map's plan and each fold, as a choice has them.
    pub(super) fn apply(&self, choice: &Choice, arranged: &mut Arranged) -> Result<Rotation, CompileError> {
        let mut rotation = Rotation::default();
        let (tables, network) = (self.tables(), &self.tables().network);
        for (demand, way) in self.problem.taken(choice) {
            match &self.ways[demand][way] {
                Term::Plan(plan, _) => {
                    let plan = tables.plan(*plan);
                    let map = &network.maps[plan.map as usize];
                    let split = plan.window.split(&map.support, tables.cost(), map.level, plan.hoisting);
                    match (network.whole(plan.map as usize), &mut arranged.packed.choices[map.node]) {
                        (Some(&Whole { pairs, first_inputs, .. }), _) => {
                            let time_ns = split.time_ns + map.extra_ns;
                            let split = Split { pairs, time_ns, ..split };
                            rotation.merged.insert(map.node, Merged { split, first_inputs });
                        }
                        (None, Layer::Linear(choice)) => {
                            let (pairs, time_ns) = (choice.split.pairs, split.time_ns + map.extra_ns);
                            choice.split = Split { pairs, time_ns, ..split };
                        }
                        (None, Layer::Keep) => {
                            return Err(CompileError::Internal(format!("`{}` has no plan", map.name)));
                        }
                    }
                }
                Term::Turned(turn, keys) if keys.len() > 1 => {
                    let turn = &network.turns[*turn as usize];
                    let step = |id: &Id| {
                        self.terms(*id)
                            .iter()
                            .find_map(|t| if let Term::Key(s) = t { Some(*s) } else { None })
                    };
                    let steps = keys.iter().filter_map(step).collect();
                    rotation.detours.insert((turn.node, turn.step), steps);
                }
                _ => {}
            }
        }
        Ok(rotation)
    }

    /// Cost of the plans that packing chose for each map.
    pub(super) fn before(&self, arranged: &Arranged) -> Cost {
        let network = &self.tables().network;
        let cost = self.tables().cost();
        let mut keys: BTreeMap<u32, Level> = BTreeMap::new();
        let mut time_ns = 0;
        let mut key = |step: u32, level: Level| {
            let known = keys.entry(step).or_insert(level);
            *known = level.max(*known);
        };
        let single = |map: &usize| network.whole(*map).is_none();
        for map in (0..network.maps.len()).filter(single).map(|m| &network.maps[m]) {
            if let Layer::Linear(choice) = &arranged.packed.choices[map.node] {
                time_ns += choice.split.time_ns;
                let steps = choice.split.babies.iter().chain(&choice.split.giants);
                steps.filter(|s| **s != 0).for_each(|s| key(*s, map.level));
            }
        }
        for turn in &network.turns {
            time_ns += u64::from(turn.ciphertexts) * cost.rotate(turn.level);
            key(turn.step, turn.level);
        }
        let bytes: u64 = keys.values().map(|level| cost.key_bytes(*level)).sum();
        Cost { key_bytes: bytes + self.problem.held_bytes, time_ns }
    }

    /// Terms and classes of the e-graph, and rounds of rules.
    pub fn size(&self) -> [usize; 3] {
        [self.graph.total_number_of_nodes(), self.graph.number_of_classes(), self.rounds]
    }
}
