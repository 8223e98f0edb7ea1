//! Laws of numbers, signs and levels: they go into products that are there anyway.

use super::super::term::{Division, Graph, Index, Sign, Term, Unary};
use super::{apply, divisions, dropped, fitting, kind, make, starts, terms, unaries};
use cipherloom_ir::ValueType;
use egg::Id;

/// Operations between an adjust and the product that corrects its scale.
const LOOSE_DEPTH_MAX: u32 = 6;

/// What a class is a rescaled multiple of: (number by its bits, value before).
fn multiples(graph: &Graph, class: Id) -> Vec<(u64, Id)> {
    let rescaled = divisions(graph, class).into_iter().filter(|(d, _)| *d == Division::Rescale);
    let mut out = Vec::new();
    for (_, product) in rescaled {
        for (op, x) in unaries(graph, product) {
            if let Unary::MulScalar(bits) = op {
                out.push((bits, x));
            }
        }
    }
    out
}

pub(super) fn scalar(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for term in terms(graph, class) {
        match &term {
            Term::Unary(op @ (Unary::MulScalar(_) | Unary::MulPlain(_)), [x]) => {
                let Some(level) = kind(graph, *x).map(|k| k.level.0) else { continue };
                for (bits, y) in multiples(graph, *x) {
                    let scaled = match op {
                        Unary::MulPlain(p) => {
                            graph.analysis.scaled_plain(*p, f64::from_bits(bits)).map(Unary::MulPlain)
                        }
                        _ => times(*op, bits),
                    };
                    let below = dropped(graph, y, level);
                    out.extend(scaled.zip(below).map(|(op, y)| Term::Unary(op, [y])));
                }
                if let Unary::MulScalar(bits) = op {
                    out.extend(scaled_plaintext(graph, *x, *bits, level));
                }
            }
            Term::Plan(plan, xs) => out.extend(scaled_plan(graph, *plan, xs)),
            _ => {}
        }
    }
    fitting(graph, class, out)
}

fn times(op: Unary, bits: u64) -> Option<Unary> {
    let Unary::MulScalar(own) = op else { return None };
    let product = f64::from_bits(own) * f64::from_bits(bits);
    (product.is_finite() && product != 0.0).then(|| Unary::MulScalar(product.to_bits()))
}

/// c·rescale(p·x) as (c·p)·x one level lower.
fn scaled_plaintext(graph: &mut Graph, x: Id, bits: u64, level: u32) -> Vec<Term> {
    let mut out = Vec::new();
    for (division, product) in divisions(graph, x) {
        if division != Division::Rescale {
            continue;
        }
        for (op, y) in unaries(graph, product) {
            let Unary::MulPlain(p) = op else { continue };
            let scaled = graph.analysis.scaled_plain(p, f64::from_bits(bits));
            let below = dropped(graph, y, level);
            out.extend(scaled.zip(below).map(|(p, y)| Term::Unary(Unary::MulPlain(p), [y])));
        }
    }
    out
}

/// A plan of rescaled multiples, all of one number, as a scaled plan one level lower.
fn scaled_plan(graph: &mut Graph, plan: Index, xs: &[Id]) -> Option<Term> {
    let level = kind(graph, *xs.first()?)?.level.0;
    let (bits, _) = *multiples(graph, xs[0]).first()?;
    let mut below = Vec::new();
    for x in xs {
        let (_, y) = multiples(graph, *x).into_iter().find(|(b, _)| *b == bits)?;
        below.push(dropped(graph, y, level)?);
    }
    let scaled = graph.analysis.scaled_plan(plan, f64::from_bits(bits))?;
    Some(Term::Plan(scaled, below.into()))
}

fn negated(graph: &Graph, class: Id) -> Option<Id> {
    unaries(graph, class).into_iter().find(|(op, _)| *op == Unary::Neg).map(|(_, x)| x)
}

pub(super) fn sign(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for term in terms(graph, class) {
        match &term {
            Term::Unary(op, [x]) => {
                let Some(x) = negated(graph, *x) else { continue };
                out.extend(signed(graph, *op, x));
            }
            Term::Sum(sign, [x, y]) => {
                if let Some(y) = negated(graph, *y) {
                    let other = if *sign == Sign::Plus { Sign::Minus } else { Sign::Plus };
                    out.push(Term::Sum(other, [*x, y]));
                }
                if let (Some(x), Sign::Plus) = (negated(graph, *x), sign) {
                    out.push(Term::Sum(Sign::Minus, [*y, x]));
                }
            }
            Term::Products(pairs) => {
                let inner: Option<Vec<Id>> = pairs.iter().map(|x| negated(graph, *x)).collect();
                out.extend(inner.map(|xs| Term::Products(xs.into())));
            }
            Term::Plan(plan, xs) => {
                let inner: Option<Vec<Id>> = xs.iter().map(|x| negated(graph, *x)).collect();
                if let Some(inner) = inner {
                    let turned = graph.analysis.scaled_plan(*plan, -1.0);
                    out.extend(turned.map(|plan| Term::Plan(plan, inner.into())));
                }
            }
            _ => {}
        }
    }
    fitting(graph, class, out)
}

/// op(−x).
fn signed(graph: &mut Graph, op: Unary, x: Id) -> Option<Term> {
    match op {
        Unary::MulScalar(bits) => Some(Term::Unary(Unary::MulScalar((-f64::from_bits(bits)).to_bits()), [x])),
        Unary::MulPlain(p) => {
            let p = graph.analysis.scaled_plain(p, -1.0)?;
            Some(Term::Unary(Unary::MulPlain(p), [x]))
        }
        Unary::AddPlain(p) => {
            let p = graph.analysis.scaled_plain(p, -1.0)?;
            Some(Term::Unary(Unary::Neg, [apply(graph, Unary::AddPlain(p), x)?]))
        }
        Unary::Neg | Unary::Activation(_) => None,
        _ => Some(Term::Unary(Unary::Neg, [apply(graph, op, x)?])),
    }
}

pub(super) fn lower(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for (op, x) in unaries(graph, class) {
        let (Unary::Adjust(to) | Unary::Drop(to)) = op else { continue };
        for (inner, y) in unaries(graph, x) {
            match (op, inner) {
                (Unary::Adjust(_), Unary::Adjust(_)) | (Unary::Drop(_), Unary::Drop(_)) => {
                    out.push(Term::Unary(op, [y]));
                }
                (_, Unary::AddPlain(_)) => {
                    if let Some(lowered) = apply(graph, op, y) {
                        out.push(Term::Unary(inner, [lowered]));
                    }
                }
                (Unary::Adjust(_), Unary::Divide(Division::Rescale)) => out.extend(product_at(graph, y, to)),
                _ => {}
            }
        }
    }
    fitting(graph, class, out)
}

/// A product with a number or plaintext, taken one level above `to` and rescaled.
fn product_at(graph: &mut Graph, product: Id, to: u32) -> Vec<Term> {
    let mut out = Vec::new();
    for (op, x) in unaries(graph, product) {
        if !matches!(op, Unary::MulScalar(_) | Unary::MulPlain(_)) {
            continue;
        }
        let below = dropped(graph, x, to + 1);
        if let Some(product) = below.and_then(|x| apply(graph, op, x)) {
            out.push(Term::Unary(Unary::Divide(Division::Rescale), [product]));
        }
    }
    out
}

pub(super) fn loosen(graph: &mut Graph, class: Id) -> Vec<Term> {
    starts(graph, class);
    let mut out = Vec::new();
    for term in terms(graph, class) {
        match &term {
            Term::Unary(op @ (Unary::MulScalar(_) | Unary::MulPlain(_)), [x]) => {
                let loose = loosened(graph, *x, LOOSE_DEPTH_MAX);
                out.extend(loose.into_iter().map(|x| Term::Unary(*op, [x])));
            }
            Term::Plan(plan, xs) => {
                // All operands of a plan share one scale.
                let kinds = loosened(graph, xs[0], LOOSE_DEPTH_MAX);
                let kinds: Vec<Option<ValueType>> = kinds.into_iter().map(|x| kind(graph, x)).collect();
                for wanted in kinds {
                    let mut loose = Vec::new();
                    for x in xs.iter() {
                        let list = loosened(graph, *x, LOOSE_DEPTH_MAX);
                        loose.extend(list.into_iter().find(|x| kind(graph, *x) == wanted));
                    }
                    if loose.len() == xs.len() {
                        out.push(Term::Plan(*plan, loose.into()));
                    }
                }
            }
            _ => {}
        }
    }
    fitting(graph, class, out)
}

/// The same value at the same level with another scale, one adjust replaced by a drop.
fn loosened(graph: &mut Graph, class: Id, depth: u32) -> Vec<Id> {
    let mut out = Vec::new();
    if depth == 0 {
        return out;
    }
    for term in terms(graph, class) {
        match term {
            Term::Unary(Unary::Adjust(to), [x]) => out.extend(apply(graph, Unary::Drop(to), x)),
            Term::Unary(
                op @ (Unary::Neg
                | Unary::AddPlain(_)
                | Unary::Divide(_)
                | Unary::Rotate(_)
                | Unary::Conjugate
                | Unary::Drop(_)),
                [x],
            ) => {
                for loose in loosened(graph, x, depth - 1) {
                    out.extend(apply(graph, op, loose));
                }
            }
            Term::Products(pairs) if pairs.len() == 2 => {
                let (x, y) = (graph.find(pairs[0]), graph.find(pairs[1]));
                for loose in loosened(graph, x, depth - 1) {
                    let other = if x == y { loose } else { y };
                    out.extend(make(graph, Term::Products([loose, other].into())));
                }
                if x != y {
                    for loose in loosened(graph, y, depth - 1) {
                        out.extend(make(graph, Term::Products([x, loose].into())));
                    }
                }
            }
            _ => {}
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}
