//! Logical laws: different layers that compute the same tensors.
//!
//! | law | left | right | holds |
//! |---|---|---|---|
//! | compose | linear(g, linear(f, x)) | linear(g∘f, x) | always; biases: b = g(b_f) + b_g |
//! | distribute | linear(g, x ± y) | linear(g, x) ± linear(g₀, y) | g₀ is g without its bias; x or y is linear |
//!
//! Each law is a rewrite whose left side is found class by class; the right side joins the class of the left.

use super::tables::Tables;
use super::term::{NodeIndex, Term};
use crate::graph::{Kind, TensorNode};
use egg::{Applier, EGraph, Id, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var};

/// The e-graph of the stage.
pub type Graph = EGraph<Term, Tables>;

/// Finds the classes that hold a term of one kind.
pub struct Holds(pub fn(&Term) -> bool);

impl Searcher<Term, Tables> for Holds {
    fn search_eclass_with_limit(
        &self,
        graph: &Graph,
        class: Id,
        limit: usize,
    ) -> Option<SearchMatches<'_, Term>> {
        let found = limit > 0 && graph[class].nodes.iter().any(self.0);
        found.then(|| SearchMatches { eclass: class, substs: vec![Subst::default()], ast: None })
    }

    fn vars(&self) -> Vec<Var> {
        vec![]
    }
}

/// Adds what a function finds for a class.
pub struct Joins(pub fn(&mut Graph, Id) -> Vec<Term>);

impl Applier<Term, Tables> for Joins {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<Term>>,
        _: Symbol,
    ) -> Vec<Id> {
        let mut changed = Vec::new();
        for term in (self.0)(graph, class) {
            let known = graph.lookup(term.clone());
            let new = graph.add(term);
            if known.is_none() | graph.union(class, new) {
                changed.push(new);
            }
        }
        changed
    }
}

/// A law by its name.
pub fn law(
    name: &'static str,
    holds: fn(&Term) -> bool,
    joins: fn(&mut Graph, Id) -> Vec<Term>,
) -> Rewrite<Term, Tables> {
    Rewrite::new(name, Holds(holds), Joins(joins)).expect("laws bind no pattern variables")
}

/// All logical laws.
pub fn logical() -> Vec<Rewrite<Term, Tables>> {
    vec![law("compose", is_linear, compose), law("distribute", is_linear, distribute)]
}

fn is_linear(term: &Term) -> bool {
    matches!(term, Term::Linear(..))
}

/// Linear terms of a class, with their operands.
pub fn linears(graph: &Graph, class: Id) -> Vec<(NodeIndex, Id)> {
    let mut out: Vec<(NodeIndex, Id)> = graph[class]
        .nodes
        .iter()
        .filter_map(|t| if let Term::Linear(n, [x]) = t { Some((*n, graph.find(*x))) } else { None })
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn compose(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (outer, operand) in linears(graph, class) {
        for (inner, x) in linears(graph, operand) {
            if let Some(node) = graph.analysis.compose(inner, outer) {
                out.push(Term::Linear(node, [x]));
            }
        }
    }
    out
}

fn distribute(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (outer, operand) in linears(graph, class) {
        let mut pairs: Vec<(NodeIndex, [Id; 2])> = graph[operand]
            .nodes
            .iter()
            .filter_map(|t| if let Term::Pair(n, xs) = t { Some((*n, *xs)) } else { None })
            .collect();
        pairs.sort_unstable();
        for (pair, [x, y]) in pairs {
            let kind = graph.analysis.node(pair).kind.clone();
            if kind == Kind::Mul || !one_is_linear(graph, [x, y]) {
                continue;
            }
            let whole = graph.analysis.node(outer).clone();
            let Kind::Linear { operators, scale, .. } = whole.kind.clone() else { continue };
            let bare = Kind::Linear { operators, scale, bias: None };
            let bare = graph.analysis.add_node(TensorNode { kind: bare, ..whole.clone() });
            let sum = graph.analysis.add_node(TensorNode { kind, ..whole });
            let (left, right) = (graph.add(Term::Linear(outer, [x])), graph.add(Term::Linear(bare, [y])));
            out.push(Term::Pair(sum, [left, right]));
        }
    }
    out
}

/// Distributing pays where a part composes with what is there; the other part may have levels to spare.
fn one_is_linear(graph: &Graph, classes: [Id; 2]) -> bool {
    classes.iter().any(|c| graph[*c].nodes.iter().any(is_linear))
}
