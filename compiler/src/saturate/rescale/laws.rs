//! Equalities between operations: where ciphertexts are relinearised, rescaled, scaled and brought down.
//!
//! [`LAWS`] is the table. Scales are exact in this IR, so a law holds only where both sides have the same level, degree
//! and scale; `fitting` drops the others. All laws go one way, towards fewer or later divisions.

mod scalars;
mod sums;

use super::super::law::Law;
use super::term::{Division, Graph, Sign, Tables, Term, Unary, kind_of};
use cipherloom_ir::ValueType;
use egg::{Id, Rewrite};

/// The laws: name, left, right, condition beyond equal types.
#[rustfmt::skip]
pub const LAWS: [Law<Term, Tables>; 13] = [
    Law::new(["relinearize-sum", "relin(x) ± y", "relin(x ± y)", "y of degree 1, or relin(y) taken off too"],
        is_sum, sums::relinearize),
    Law::new(["rescale-sum", "rescale(x) ± rescale(y)", "rescale(x ± y)", "always; also with one or both relinearised"],
        is_sum, sums::rescale),
    Law::new(["fuse", "rescale(relin(x))", "relin_rescale(x)", "always"],
        is_division, fuse),
    Law::new(["gather", "(x ± y) ± z", "(x ± z) ± y", "x and z end in the same operation, y does not"],
        is_sum, sums::gather),
    Law::new(["products", "Σ x·y + Σ z·w", "Σ (x·y, z·w)", "at most 64 pairs"],
        is_sum, sums::products),
    Law::new(["factor", "u·u ± c·u", "u·(u ± c)", "always"],
        is_sum, sums::factor),
    Law::new(["join", "s + c·relin_rescale(x·y)", "s + c·x'·y'", "s of degree 2; x', y' adjusted to its level"],
        is_sum, sums::join),
    Law::new(["plans", "plan(x) + plan(y)", "plan(x, y)", "same outputs, folds, hoisting and pairs of diagonals"],
        is_sum, sums::plans),
    Law::new(["move-sum", "f(x) ± f(y)", "f(x ± y)", "f an adjust, a drop, a rotation or a conjugation"],
        is_sum, sums::moved),
    Law::new(["scalar", "f(rescale(c·x))", "(c·f)(drop(x))", "f a product with a number or plaintext, or a plan"],
        is_product, scalars::scalar),
    Law::new(["sign", "f(−x)", "−f(x), or (−f)(x)", "f linear, or a plaintext added"],
        is_any, scalars::sign),
    Law::new(["lower", "adjust(f(x))", "f at the lower level", "f a product with a number or plaintext, rescaled, or an added plaintext, or another adjust"],
        is_adjust, scalars::lower),
    Law::new(["loosen", "f(… adjust(x) …)", "f(… drop(x) …)", "f a product with a number or plaintext, or a plan: it corrects any scale"],
        is_product, scalars::loosen),
];

/// A law that can be applied.
pub type Equality = Rewrite<Term, Tables>;

/// All laws, as rewrites.
pub fn all() -> Vec<Equality> {
    LAWS.iter().map(Law::rewrite).collect()
}

fn is_sum(term: &Term) -> bool {
    matches!(term, Term::Sum(..))
}

fn is_division(term: &Term) -> bool {
    matches!(term, Term::Unary(Unary::Divide(_), _))
}

fn is_product(term: &Term) -> bool {
    matches!(term, Term::Unary(Unary::MulScalar(_) | Unary::MulPlain(_), _) | Term::Plan(..) | Term::Part(..))
}

fn is_adjust(term: &Term) -> bool {
    matches!(term, Term::Unary(Unary::Adjust(_) | Unary::Drop(_), _))
}

fn is_any(term: &Term) -> bool {
    !matches!(term, Term::Input(..) | Term::Part(..) | Term::Deliver(_))
}

/// Terms of a class, in order.
fn terms(graph: &Graph, class: Id) -> Vec<Term> {
    let mut out: Vec<Term> = graph[class].nodes.clone();
    out.sort_unstable();
    out
}

/// Unary terms of a class, with their operands.
fn unaries(graph: &Graph, class: Id) -> Vec<(Unary, Id)> {
    let of = |t: Term| if let Term::Unary(op, [x]) = t { Some((op, graph.find(x))) } else { None };
    let mut out: Vec<(Unary, Id)> = terms(graph, class).into_iter().filter_map(of).collect();
    out.dedup();
    out
}

/// Sums of a class.
fn sums_of(graph: &Graph, class: Id) -> Vec<(Sign, Id, Id)> {
    let of = |t: Term| {
        if let Term::Sum(sign, [x, y]) = t { Some((sign, graph.find(x), graph.find(y))) } else { None }
    };
    let mut out: Vec<_> = terms(graph, class).into_iter().filter_map(of).collect();
    out.dedup();
    out
}

/// What a class divides, and how.
fn divisions(graph: &Graph, class: Id) -> Vec<(Division, Id)> {
    let of = |(op, x)| if let Unary::Divide(d) = op { Some((d, x)) } else { None };
    unaries(graph, class).into_iter().filter_map(of).collect()
}

fn kind(graph: &Graph, class: Id) -> Option<ValueType> {
    graph[class].data.kind.clone()
}

fn kind_of_term(graph: &Graph, term: &Term) -> Option<ValueType> {
    kind_of(&graph.analysis, term, &|x| kind(graph, x))
}

/// Adds a term, if it obeys the laws of its operation.
fn make(graph: &mut Graph, term: Term) -> Option<Id> {
    kind_of_term(graph, &term)?;
    Some(graph.add(term))
}

fn apply(graph: &mut Graph, op: Unary, x: Id) -> Option<Id> {
    make(graph, Term::Unary(op, [x]))
}

/// A value at a lower or the same level, whatever its scale.
fn dropped(graph: &mut Graph, x: Id, to: u32) -> Option<Id> {
    match kind(graph, x)?.level.0 {
        level if level == to => Some(x),
        _ => apply(graph, Unary::Drop(to), x),
    }
}

/// A value at the canonical scale of a lower or the same level.
fn adjusted(graph: &mut Graph, x: Id, to: u32) -> Option<Id> {
    match kind(graph, x)?.level.0 {
        level if level == to => Some(x),
        _ => apply(graph, Unary::Adjust(to), x),
    }
}

/// Starts a law: what it adds belongs to the layer of the class.
fn starts(graph: &mut Graph, class: Id) {
    graph.analysis.origin = graph[class].data.origin;
}

/// The terms whose types are that of the class.
fn fitting(graph: &Graph, class: Id, terms: Vec<Term>) -> Vec<Term> {
    let wanted = kind(graph, class);
    let fits = |t: &Term| wanted.is_some() && kind_of_term(graph, t) == wanted;
    terms.into_iter().filter(fits).collect()
}

fn fuse(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (outer, x) in divisions(graph, class) {
        for (inner, y) in divisions(graph, x) {
            if [outer, inner].contains(&Division::Relinearize) && [outer, inner].contains(&Division::Rescale)
            {
                out.push(Term::Unary(Unary::Divide(Division::Both), [y]));
            }
        }
    }
    fitting(graph, class, out)
}
