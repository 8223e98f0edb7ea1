//! Physical rules: how a demanded tensor in a layout is implemented, and what that demands in turn.
//!
//! [`RULES`] is the table. A repack reads a `Made`, so two repacks never follow each other and no class needs itself.

use super::super::law::Law;
use super::candidates::{is_scaling, steps_to};
use super::laws::{Graph, linears};
use super::tables::Tables;
use super::term::{LayoutIndex, NodeIndex, Term};
use crate::graph::Kind;
use crate::packing::kernel::Kernel;
use crate::packing::slotwise;
use cipherloom_ir::Gap;
use egg::{Id, Rewrite};

/// The physical rules: name, demand, implementation, condition.
#[rustfmt::skip]
pub const RULES: [Law<Term, Tables>; 7] = [
    Law::new(["any", "Any(x)", "Use(Have(x, l))", "l a candidate of x"],
        is_any, any),
    Law::new(["have", "Have(x, l)", "Use(Made(x, l))", "always"],
        is_have, straight),
    Law::new(["repack", "Have(x, l)", "Kernel(identity, Made(x, k))", "k another candidate of x, l with zero gaps"],
        is_have, repack),
    Law::new(["fresh", "Made(input, l)", "Fresh(l)", "l one that clients can make"],
        is_made, fresh),
    Law::new(["kernel", "Made(linear(f, x), l)", "Kernel(f, Have(x, k))", "k a candidate of x, the kernel yields l"],
        is_made, kernel),
    Law::new(["slotwise", "Made(f(x), l)", "Slotwise(f, Have(x, k))", "f on k leaves l: junk gaps only where f allows them"],
        is_made, slotwise),
    Law::new(["both", "Made(x ± y, l)", "Both(Have(x, l), Have(y, l))", "l has junk gaps where one of both has; products need clean ones"],
        is_made, both),
];

/// All physical rules, as rewrites.
pub fn rules() -> Vec<Rewrite<Term, Tables>> {
    RULES.iter().map(Law::rewrite).collect()
}

fn is_any(term: &Term) -> bool {
    matches!(term, Term::Any(_))
}

fn is_have(term: &Term) -> bool {
    matches!(term, Term::Have(..))
}

fn is_made(term: &Term) -> bool {
    matches!(term, Term::Made(..))
}

/// Demands of a class: (layout, logical class).
fn demands(graph: &Graph, class: Id, of: fn(&Term) -> Option<(LayoutIndex, Id)>) -> Vec<(LayoutIndex, Id)> {
    let mut out: Vec<_> = graph[class].nodes.iter().filter_map(of).map(|(l, x)| (l, graph.find(x))).collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn haves(graph: &Graph, class: Id) -> Vec<(LayoutIndex, Id)> {
    demands(graph, class, |t| if let Term::Have(l, [x]) = t { Some((*l, *x)) } else { None })
}

fn mades(graph: &Graph, class: Id) -> Vec<(LayoutIndex, Id)> {
    demands(graph, class, |t| if let Term::Made(l, [x]) = t { Some((*l, *x)) } else { None })
}

fn candidates(graph: &Graph, x: Id) -> Vec<LayoutIndex> {
    graph.analysis.candidates.get(&x).cloned().unwrap_or_default()
}

fn any(graph: &mut Graph, class: Id) -> Vec<Term> {
    let list =
        demands(graph, class, |t| if let Term::Any([x]) = t { Some((LayoutIndex(0), *x)) } else { None });
    let mut out = Vec::new();
    for (_, x) in list {
        for layout in candidates(graph, x) {
            out.push(Term::Use([graph.add(Term::Have(layout, [x]))]));
        }
    }
    out
}

fn straight(graph: &mut Graph, class: Id) -> Vec<Term> {
    let list = haves(graph, class);
    list.into_iter().map(|(layout, x)| Term::Use([graph.add(Term::Made(layout, [x]))])).collect()
}

fn repack(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (layout, x) in haves(graph, class) {
        let result = graph.analysis.layout(layout).clone();
        // Linear maps write any layout by themselves.
        let writes = !linears(graph, x).is_empty();
        if writes || result.layout.gap != Gap::Zero {
            continue;
        }
        let kernel = Kernel::plain(result);
        for from in candidates(graph, x).into_iter().filter(|k| *k != layout) {
            let step = graph.analysis.add_step(None, from, kernel.clone());
            graph.analysis.plan(&[step]);
            if graph.analysis.plan_of(step).is_some() {
                let made = graph.add(Term::Made(from, [x]));
                out.push(Term::Kernel(step, [made]));
            }
        }
    }
    out
}

fn fresh(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (layout, x) in mades(graph, class) {
        let nodes: Vec<NodeIndex> = graph[x]
            .nodes
            .iter()
            .filter_map(|t| if let Term::Input(n) = t { Some(*n) } else { None })
            .collect();
        for node in nodes {
            if graph.analysis.sent.contains(graph.analysis.layout(layout)) {
                out.push(Term::Fresh(node, layout));
            }
        }
    }
    out
}

fn kernel(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (layout, result) in mades(graph, class) {
        for (node, x) in linears(graph, result) {
            for from in candidates(graph, x) {
                let steps = steps_to(&mut graph.analysis, node, from, layout);
                graph.analysis.plan(&steps);
                for step in steps {
                    if graph.analysis.plan_of(step).is_some() {
                        let have = graph.add(Term::Have(from, [x]));
                        out.push(Term::Kernel(step, [have]));
                    }
                }
            }
        }
    }
    out
}

fn slotwise(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (layout, result) in mades(graph, class) {
        let wanted = graph.analysis.layout(layout).clone();
        let mut sources: Vec<(NodeIndex, Id)> = graph[result]
            .nodes
            .iter()
            .filter_map(|t| match t {
                Term::Function(n, [x]) => Some((*n, *x)),
                Term::Linear(n, [x]) if is_scaling(&graph.analysis.node(*n).kind) => Some((*n, *x)),
                _ => None,
            })
            .collect();
        sources.sort_unstable();
        for (node, x) in sources {
            let kind = graph.analysis.node(node).kind.clone();
            for gap in [Gap::Zero, Gap::Junk] {
                let from = graph.analysis.with_gap(layout, gap);
                if slotwise::result(&kind, graph.analysis.layout(from)).as_ref() == Some(&wanted) {
                    let have = graph.add(Term::Have(from, [x]));
                    out.push(Term::Slotwise(node, layout, [have]));
                }
            }
        }
    }
    out
}

fn both(graph: &mut Graph, class: Id) -> Vec<Term> {
    let mut out = Vec::new();
    for (layout, result) in mades(graph, class) {
        let mut pairs: Vec<(NodeIndex, [Id; 2])> = graph[result]
            .nodes
            .iter()
            .filter_map(|t| if let Term::Pair(n, xs) = t { Some((*n, *xs)) } else { None })
            .collect();
        pairs.sort_unstable();
        let clean = graph.analysis.with_gap(layout, Gap::Zero);
        let junk = graph.analysis.with_gap(layout, Gap::Junk);
        for (node, [x, y]) in pairs {
            let sides: &[[LayoutIndex; 2]] = match graph.analysis.node(node).kind {
                _ if layout == clean => &[[clean, clean]],
                Kind::Add | Kind::Sub => &[[clean, junk], [junk, clean], [junk, junk]],
                _ => &[],
            };
            for [left, right] in sides {
                let haves = [graph.add(Term::Have(*left, [x])), graph.add(Term::Have(*right, [y]))];
                out.push(Term::Both(node, layout, haves));
            }
        }
    }
    out
}
