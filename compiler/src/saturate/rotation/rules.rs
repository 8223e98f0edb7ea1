//! The rules of rotations: how a demanded map, fold or sum is computed.
//! [`RULES`] is the table.
//! Laws behind them: a window writes every step of a support once as baby + giant; rotations compose; a plan with two
//! sources is the sum of their plans.

use super::tables::{Tables, WINDOWED_DIAGONALS_MAX};
use super::term::Term;
use crate::rotation::{self, Window};
use crate::saturate::law::Law;
use egg::{EGraph, Id, Rewrite};
use std::collections::BTreeSet;

/// The e-graph of the stage.
pub type Graph = EGraph<Term, Tables>;

/// The rule whose terms are as many as turns times keys.
pub(super) const TWICE: &str = "twice";

/// The rules: name, demand, implementation, condition.
#[rustfmt::skip]
pub const RULES: [Law<Term, Tables>; 6] = [
    Law::new(["windows", "Map(f)", "Plan(f by a window, its keys), single and double hoisted", "the width a power of two"],
        is_map, windows),
    Law::new(["thirds", "Map(f)", "Plan(f by a window, its keys), single and double hoisted", "the width three times a power of two"],
        is_map, thirds),
    Law::new(["turn", "Turn(s)", "Turned(Key(s))", "always"],
        is_turn, straight),
    Law::new([TWICE, "Turn(s)", "Turned(Key(a), Key(b))", "a + b = s, both keys of plans or other turns"],
        is_turn, twice),
    Law::new(["apart", "Sum(f, g)", "Apart(Map(f), Map(g))", "always"],
        is_sum, apart),
    Law::new(["merge", "Sum(f, g)", "Merged(Map(f + g))", "f and g have one output layout, one level, no folds or copies, no other readers; one pairing of diagonals for both"],
        is_sum, merge),
];

/// All rules, as rewrites.
pub fn rules() -> Vec<Rewrite<Term, Tables>> {
    RULES.iter().map(Law::rewrite).collect()
}

fn is_map(term: &Term) -> bool {
    matches!(term, Term::Map(_))
}

fn is_turn(term: &Term) -> bool {
    matches!(term, Term::Turn(_))
}

fn is_sum(term: &Term) -> bool {
    matches!(term, Term::Sum(..))
}

fn maps(graph: &Graph, class: Id) -> Vec<u32> {
    graph[class].nodes.iter().filter_map(|t| if let Term::Map(m) = t { Some(*m) } else { None }).collect()
}

fn turns(graph: &Graph, class: Id) -> Vec<u32> {
    graph[class].nodes.iter().filter_map(|t| if let Term::Turn(t) = t { Some(*t) } else { None }).collect()
}

fn sums(graph: &Graph, class: Id) -> Vec<(u32, [Id; 2])> {
    let of = |t: &Term| if let Term::Sum(s, parts) = t { Some((*s, *parts)) } else { None };
    graph[class].nodes.iter().filter_map(of).collect()
}

fn keys(graph: &mut Graph, steps: &[u32]) -> Box<[Id]> {
    steps.iter().map(|step| graph.add(Term::Key(*step))).collect()
}

fn windows(graph: &mut Graph, class: Id) -> Vec<Term> {
    let slots = graph.analysis.network.slots;
    cut(graph, class, "windows", &rotation::windows(slots).collect::<Vec<_>>())
}

fn thirds(graph: &mut Graph, class: Id) -> Vec<Term> {
    let slots = graph.analysis.network.slots;
    let list: Vec<Window> = rotation::thirds(slots).collect();
    let small =
        |m: &u32| graph.analysis.network.maps[*m as usize].support.diagonals() <= WINDOWED_DIAGONALS_MAX;
    if maps(graph, class).iter().all(small) { cut(graph, class, "thirds", &list) } else { vec![] }
}

/// Plans of the maps of a class by these windows.
fn cut(graph: &mut Graph, class: Id, rule: &'static str, windows: &[Window]) -> Vec<Term> {
    let mut out = Vec::new();
    for map in maps(graph, class) {
        for plan in graph.analysis.plans_by(rule, map, windows) {
            let steps = graph.analysis.plan(plan).keys.clone();
            out.push(Term::Plan(plan, keys(graph, &steps)));
        }
    }
    out
}

fn straight(graph: &mut Graph, class: Id) -> Vec<Term> {
    let list = turns(graph, class);
    let step = |graph: &Graph, turn: u32| graph.analysis.network.turns[turn as usize].step;
    list.into_iter()
        .map(|turn| {
            let step = step(graph, turn);
            Term::Turned(turn, keys(graph, &[step]))
        })
        .collect()
}

fn twice(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mask = graph.analysis.network.slots - 1;
    let known: BTreeSet<u32> = graph
        .classes()
        .flat_map(|c| c.nodes.iter().filter_map(|t| if let Term::Key(s) = t { Some(*s) } else { None }))
        .collect();
    let mut out = Vec::new();
    for turn in turns(graph, class) {
        let step = graph.analysis.network.turns[turn as usize].step;
        for &first in known.iter().filter(|k| **k != step) {
            let second = step.wrapping_sub(first) & mask;
            if first <= second && known.contains(&second) {
                out.push(Term::Turned(turn, keys(graph, &[first, second])));
            }
        }
    }
    out
}

fn apart(graph: &mut Graph, class: Id) -> Vec<Term> {
    sums(graph, class).into_iter().map(|(_, parts)| Term::Apart(parts)).collect()
}

fn merge(graph: &mut Graph, class: Id) -> Vec<Term> {
    let wholes = |graph: &Graph, sum: u32| graph.analysis.network.sums[sum as usize].wholes.clone();
    let maps: Vec<usize> =
        sums(graph, class).into_iter().flat_map(|(sum, _)| wholes(graph, sum)).map(|w| w.map).collect();
    maps.into_iter().map(|map| Term::Merged([graph.add(Term::Map(map as u32))])).collect()
}
