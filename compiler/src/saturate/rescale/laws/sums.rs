//! Laws of sums: divisions, moves, products and plans on both sides become one.

use super::super::term::{Division, Graph, Index, Sign, Term, Unary};
use super::{adjusted, apply, divisions, fitting, kind, make, starts, sums_of, terms, unaries};
use cipherloom_ir::{Degree, KeyedStep, LinearPlan, Product};
use egg::Id;

/// Most pairs in one sum of products.
const PAIRS_MAX: usize = 64;

pub(super) fn relinearize(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        let inner = |graph: &Graph, of: Id| -> Vec<Id> {
            let list = divisions(graph, of).into_iter();
            list.filter(|(d, _)| *d == Division::Relinearize).map(|(_, x)| x).collect()
        };
        let (left, right) = (inner(graph, x), inner(graph, y));
        let mut pairs: Vec<(Id, Id)> = left.iter().flat_map(|a| right.iter().map(|b| (*a, *b))).collect();
        if pairs.is_empty() {
            pairs.extend(left.iter().map(|a| (*a, y)));
            pairs.extend(right.iter().map(|b| (x, *b)));
        }
        for (a, b) in pairs {
            if let Some(sum) = make(graph, Term::Sum(sign, [a, b])) {
                out.push(Term::Unary(Unary::Divide(Division::Relinearize), [sum]));
            }
        }
    }
    fitting(graph, class, out)
}

pub(super) fn rescale(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        for (left, a) in divisions(graph, x) {
            for (right, b) in divisions(graph, y) {
                let both = match (left, right) {
                    (Division::Relinearize, _) | (_, Division::Relinearize) => continue,
                    (Division::Rescale, Division::Rescale) => Division::Rescale,
                    _ => Division::Both,
                };
                if let Some(sum) = make(graph, Term::Sum(sign, [a, b])) {
                    out.push(Term::Unary(Unary::Divide(both), [sum]));
                }
            }
        }
    }
    fitting(graph, class, out)
}

/// What a value ends in, as far as laws of sums care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Division,
    Moved(Unary),
    Plan,
}

fn endings(graph: &Graph, class: Id) -> Vec<Ending> {
    let of = |t: Term| match t {
        Term::Unary(Unary::Divide(_), _) => Some(Ending::Division),
        Term::Unary(op, _) if is_move(op) => Some(Ending::Moved(op)),
        Term::Part(..) => Some(Ending::Plan),
        _ => None,
    };
    terms(graph, class).into_iter().filter_map(of).collect()
}

pub(super) fn gather(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (outer, w, z) in sums_of(graph, class) {
        let last = endings(graph, z);
        for (inner, x, y) in sums_of(graph, w) {
            let alike = |other: &[Ending]| last.iter().any(|e| other.contains(e));
            match (alike(&endings(graph, x)), alike(&endings(graph, y))) {
                (true, false) => {
                    if let Some(sum) = make(graph, Term::Sum(outer, [x, z])) {
                        out.push(Term::Sum(inner, [sum, y]));
                    }
                }
                (false, true) => {
                    let sign = if inner == outer { Sign::Plus } else { Sign::Minus };
                    if let Some(sum) = make(graph, Term::Sum(sign, [y, z])) {
                        out.push(Term::Sum(inner, [x, sum]));
                    }
                }
                _ => {}
            }
        }
    }
    fitting(graph, class, out)
}

fn pairs_of(graph: &Graph, class: Id) -> Vec<Vec<Id>> {
    let of = |t: Term| if let Term::Products(p) = t { Some(p.to_vec()) } else { None };
    terms(graph, class).into_iter().filter_map(of).collect()
}

pub(super) fn products(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        if sign == Sign::Minus {
            continue;
        }
        for left in pairs_of(graph, x) {
            for right in pairs_of(graph, y) {
                if left.len() + right.len() <= 2 * PAIRS_MAX {
                    out.push(Term::Products([left.clone(), right].concat().into()));
                }
            }
        }
    }
    fitting(graph, class, out)
}

pub(super) fn factor(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        for pair in pairs_of(graph, x) {
            let [u, v] = pair[..] else { continue };
            let (u, v) = (graph.find(u), graph.find(v));
            for (op, w) in unaries(graph, y) {
                let Unary::MulScalar(bits) = op else { continue };
                if u != v || w != u {
                    continue;
                }
                let c = f64::from_bits(bits) * if sign == Sign::Minus { -1.0 } else { 1.0 };
                let plain = graph.analysis.plain(cipherloom_ir::Plain::Constant(c));
                if let Some(shifted) = apply(graph, Unary::AddPlain(plain), u) {
                    out.push(Term::Products([u, shifted].into()));
                }
            }
        }
    }
    fitting(graph, class, out)
}

/// A product that is scaled into a sum of degree 2 may be taken at the level of the sum, and share its
/// relinearisation.
pub(super) fn join(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, s, t) in sums_of(graph, class) {
        let Some(wanted) = kind(graph, s).filter(|k| k.degree == Degree::Two) else { continue };
        for (op, p) in unaries(graph, t) {
            let Unary::MulScalar(bits) = op else { continue };
            let divided = divisions(graph, p).into_iter().filter(|(d, _)| *d == Division::Both);
            for (_, product) in divided.collect::<Vec<_>>() {
                for pair in pairs_of(graph, product) {
                    let [x, y] = pair[..] else { continue };
                    if let Some(lowered) = scaled_product(graph, [x, y], bits, wanted.level.0) {
                        out.push(Term::Sum(sign, [s, lowered]));
                    }
                }
            }
        }
    }
    fitting(graph, class, out)
}

/// c·x·y at a level below that of x and y.
fn scaled_product(graph: &mut Graph, [x, y]: [Id; 2], bits: u64, level: u32) -> Option<Id> {
    let left = if bits == 1f64.to_bits() {
        adjusted(graph, x, level)?
    } else {
        let scaled = apply(graph, Unary::MulScalar(bits), x)?;
        apply(graph, Unary::Divide(Division::Rescale), scaled)?
    };
    let right = adjusted(graph, y, level)?;
    make(graph, Term::Products([left, right].into()))
}

pub(super) fn plans(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        if sign == Sign::Minus {
            continue;
        }
        for (k, first) in parts(graph, x) {
            for (l, second) in parts(graph, y) {
                if k != l || first == second {
                    continue;
                }
                for (p, left) in plan_terms(graph, first) {
                    for (q, right) in plan_terms(graph, second) {
                        let Some(merged) = merged(graph, p, q) else { continue };
                        let children = [left.clone(), right].concat().into();
                        if let Some(plan) = make(graph, Term::Plan(merged, children)) {
                            out.push(Term::Part(k, [plan]));
                        }
                    }
                }
            }
        }
    }
    fitting(graph, class, out)
}

fn parts(graph: &Graph, class: Id) -> Vec<(u32, Id)> {
    let of = |t: Term| if let Term::Part(k, [p]) = t { Some((k, graph.find(p))) } else { None };
    terms(graph, class).into_iter().filter_map(of).collect()
}

fn plan_terms(graph: &Graph, class: Id) -> Vec<(Index, Vec<Id>)> {
    let of = |t: Term| if let Term::Plan(p, xs) = t { Some((p, xs.to_vec())) } else { None };
    terms(graph, class).into_iter().filter_map(of).collect()
}

/// The plan that yields the sums of two plans' results.
fn merged(graph: &mut Graph, p: Index, q: Index) -> Option<Index> {
    let tables = &graph.analysis;
    let (p, q) = (tables.plans[p.0 as usize].clone(), tables.plans[q.0 as usize].clone());
    let written = |plan: &LinearPlan| -> Vec<_> {
        let maps = plan.sources.iter().map(|s| &tables.maps[s.map.0 as usize]);
        maps.map(|m| (m.output, m.fold.clone())).collect()
    };
    let targets = [written(&p), written(&q)].concat();
    let form = |plan: &LinearPlan| (plan.outputs, plan.rescale, plan.hoisting, plan.pairing);
    let alike = form(&p) == form(&q);
    if !alike || targets.iter().any(|t| *t != targets[0]) {
        return None;
    }
    let (babies, giants) = (union(&p.babies, &q.babies), union(&p.giants, &q.giants));
    let place = |list: &[KeyedStep], step: KeyedStep| list.iter().position(|s| *s == step).map(|k| k as u32);
    let mut products: Vec<Product> = Vec::new();
    for (plan, offset) in [(&p, 0), (&q, p.sources.len() as u32)] {
        for product in &plan.products {
            products.push(Product {
                source: product.source + offset,
                baby: place(&babies, plan.babies[product.baby as usize])?,
                giant: place(&giants, plan.giants[product.giant as usize])?,
                ..*product
            });
        }
    }
    products.sort_unstable();
    let sources = [p.sources, q.sources].concat();
    Some(graph.analysis.plan(LinearPlan { sources, babies, giants, products, ..q }))
}

fn union(a: &[KeyedStep], b: &[KeyedStep]) -> Vec<KeyedStep> {
    let mut out: Vec<KeyedStep> = a.to_vec();
    out.extend(b.iter().filter(|s| !a.contains(s)));
    out.sort_by_key(|s| s.step);
    out
}

fn is_move(op: Unary) -> bool {
    matches!(op, Unary::Adjust(_) | Unary::Drop(_) | Unary::Rotate(_) | Unary::Conjugate)
}

pub(super) fn moved(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (sign, x, y) in sums_of(graph, class) {
        for (op, a) in unaries(graph, x).into_iter().filter(|(op, _)| is_move(*op)) {
            for (_, b) in unaries(graph, y).into_iter().filter(|(other, _)| *other == op) {
                if let Some(sum) = make(graph, Term::Sum(sign, [a, b])) {
                    out.push(Term::Unary(op, [sum]));
                }
            }
        }
    }
    fitting(graph, class, out)
}
