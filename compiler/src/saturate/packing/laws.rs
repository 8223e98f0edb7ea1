//! Logical laws: different layers that compute the same tensors.
//!
//! [`LOGICAL`] is the table; where compositions multiply beyond the limit of terms, its last laws are left out first. Each law is
//! a rewrite whose left side is found class by class; the right side joins the class of the left.

use super::super::law::Law;
use super::tables::Tables;
use super::term::{NodeIndex, Term};
use crate::graph::{Kind, TensorNode};
use crate::passes::LawText;
use egg::{EGraph, Id, Rewrite};

/// The e-graph of the stage.
pub type Graph = EGraph<Term, Tables>;

/// The logical laws.
#[rustfmt::skip]
pub const LOGICAL: [Law<Term, Tables>; 2] = [
    Law {
        text: LawText {
            name: "compose", left: "linear(g, linear(f, x))", right: "linear(g∘f, x)",
            holds: "always; biases: b = g(b_f) + b_g",
        },
        holds: is_linear, joins: compose,
    },
    Law {
        text: LawText {
            name: "distribute", left: "linear(g, x ± y)", right: "linear(g, x) ± linear(g₀, y)",
            holds: "g₀ is g without its bias; x or y is linear",
        },
        holds: is_linear, joins: distribute,
    },
];

/// All logical laws, as rewrites.
pub fn logical() -> Vec<Rewrite<Term, Tables>> {
    LOGICAL.iter().map(Law::rewrite).collect()
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
