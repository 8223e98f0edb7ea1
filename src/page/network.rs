//! The network: one line for each layer, its nodes below it, hidden until they are asked for.
//!
//! Relies on [`Facts`]. Promises: layers and nodes in the order of evaluation; no weight and no constant of the model; at
//! most [`LAYERS_MAX`] layers and [`NODES_MAX`] nodes are written down, the others are counted.

use super::colour::Colour;
use super::facts::{Facts, Layer};
use super::lanes;
use super::text::{Name, bytes, count, percent, shape, share, time};
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Degree, Gap, Hoisting, Layout, LinearPlan, Node, Op, Plain};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Most layers that are shown.
const LAYERS_MAX: usize = 1_024;
/// Most nodes that are shown, of the whole circuit and of one layer; equal neighbours count once.
const NODES_MAX: usize = 4_096;
const NODES_OF_LAYER_MAX: usize = 64;
/// Most characters of a layout.
const LAYOUT_CHARACTERS_MAX: usize = 400;

/// The list of layers.
pub(super) fn list(facts: &Facts<'_>) -> String {
    let shown = &facts.layers[..facts.layers.len().min(LAYERS_MAX)];
    let reads: Vec<&BTreeSet<usize>> = shown.iter().map(|l| &l.reads).collect();
    let rows = lanes::rows(&reads);
    let width = lanes::width(&rows);
    let hottest = facts.layers.iter().map(|l| l.ns).max().unwrap_or(0);
    let mut left = NODES_MAX;
    let mut out = format!("<ol id=layers style=\"--lanes:{width}px\">\n");
    for (index, (layer, row)) in shown.iter().zip(&rows).enumerate() {
        let colour = Colour::of(layer.levels[1], facts.top());
        let lanes = row.svg(width, colour);
        let inside = inside(facts, layer, &mut left);
        out += &format!(
            "<li id=layer-{index} data-ns={} data-share={:.3} data-ops=\"{}\">{lanes}<details><summary>{}</summary>{inside}</details></li>\n",
            layer.ns,
            percent(layer.ns, facts.ns()),
            operations(facts, layer),
            head(facts, layer, hottest),
        );
    }
    out += "</ol>\n";
    if facts.layers.len() > shown.len() {
        let rest = &facts.layers[shown.len()..];
        let (layers, ns) = (count(rest.len(), "more layer"), rest.iter().map(|l| l.ns).sum());
        out += &format!("<p class=note>{layers} with {} are not listed.</p>\n", time(ns));
    }
    out
}

/// A level as a coloured label.
pub(super) fn level(level: Level, top: Level) -> String {
    let colour = Colour::of(level, top);
    format!(
        "<span class=level style=\"background:{};color:{}\">{}</span>",
        colour.css(),
        colour.ink(),
        level.0
    )
}

/// How much of the hottest something takes; of nothing, nothing.
pub(super) fn bar(ns: u64, hottest: u64) -> String {
    match ns {
        0 => "<span></span>".into(),
        _ => format!("<span class=bar><i style=\"width:{:.2}%\"></i></span>", percent(ns, hottest)),
    }
}

/// Names of a layer's operations, each once.
fn operations(facts: &Facts<'_>, layer: &Layer<'_>) -> String {
    let names: BTreeSet<&str> =
        facts.circuit.nodes[layer.nodes.clone()].iter().map(|n| n.op.name()).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

/// What is always seen of a layer.
fn head(facts: &Facts<'_>, layer: &Layer<'_>, hottest: u64) -> String {
    let [before, after] = layer.levels;
    let from = if before == after { String::new() } else { format!("{}→", before.0) };
    let place = layer.layout.map_or(String::new(), |l| {
        let more = if l.ciphertexts > 1 { format!(" in {} ct", l.ciphertexts) } else { String::new() };
        format!("{}{more}", shape(&l.shape))
    });
    format!(
        "<span class=name><bdi>{}</bdi></span><span class=what>{}</span><span class=place>{place}</span>\
         <span class=levels><span class=sr>level </span>{from}{}</span>\
         {}<span class=time>{}</span><span class=share>{}</span>",
        Name(layer.name),
        Name(&layer.what),
        level(after, facts.top()),
        bar(layer.ns, hottest),
        time(layer.ns),
        share(layer.ns, facts.ns()),
    )
}

/// Where a layer's result stands, what it takes, and its nodes.
fn inside(facts: &Facts<'_>, layer: &Layer<'_>, left: &mut usize) -> String {
    let mut out = String::from("<div class=inside>");
    if let Some(layout) = layer.layout {
        out += &format!("<p class=layout>{}</p>", layout_text(layout));
    }
    let mut takes = vec![count(layer.nodes.len(), "node")];
    let figures = [(layer.rotations, "rotation"), (layer.diagonals, "diagonal product")];
    takes.extend(figures.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n, what)));
    if layer.plaintext_bytes > 0 {
        takes.push(format!("{} of prepared plaintexts", bytes(layer.plaintext_bytes)));
    }
    out += &format!(
        "<p>{}</p><table class=nodes><thead><tr><th>value<th>operation<th class=about>about<th>level<th class=number>time</thead><tbody>",
        takes.join(", ")
    );
    let groups = groups(facts, layer.nodes.clone());
    let shown = groups.len().min(NODES_OF_LAYER_MAX).min(*left);
    *left -= shown;
    groups[..shown].iter().for_each(|group| out += &row(facts, group.clone()));
    if let Some(rest) = groups.get(shown) {
        let nodes = rest.start..layer.nodes.end;
        let ns = facts.account.nodes[nodes.clone()].iter().map(|c| c.ns).sum();
        out += &format!(
            "<tr><td><td colspan=3>{}<td class=number>{}",
            count(nodes.len(), "more node"),
            time(ns)
        );
    }
    out + "</tbody></table></div>"
}

/// Neighbouring nodes that differ in nothing but their operands.
fn groups(facts: &Facts<'_>, nodes: Range<usize>) -> Vec<Range<usize>> {
    let key = |k: usize| {
        let node = &facts.circuit.nodes[k];
        (node.op.name(), about(facts, node), facts.result(node), facts.account.nodes[k].ns)
    };
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut last = None;
    for k in nodes {
        let found = key(k);
        match out.last_mut() {
            Some(group) if last.as_ref() == Some(&found) => group.end = k + 1,
            _ => out.push(k..k + 1),
        }
        last = Some(found);
    }
    out
}

fn row(facts: &Facts<'_>, group: Range<usize>) -> String {
    let nodes = &facts.circuit.nodes[group.clone()];
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return String::new() };
    let ns = facts.account.nodes[group].iter().map(|c| c.ns).sum();
    let (found, degree) = facts.result(first);
    let degree = if degree == Degree::Two { " <span class=degree>degree 2</span>" } else { "" };
    let times = if nodes.len() > 1 { format!(" ×{}", nodes.len()) } else { String::new() };
    format!(
        "<tr><td>{}<td><code>{}</code>{times}<td class=about>{}<td>{}{degree}<td class=number>{}",
        values(first, last),
        first.op.name(),
        Name(&about(facts, first)),
        level(found, facts.top()),
        time(ns),
    )
}

/// `v3`, or `v3–v6`.
pub(super) fn values(first: &Node, last: &Node) -> String {
    match (first.first.0, last.first.0 + last.results - 1) {
        (a, b) if a == b => format!("v{a}"),
        (a, b) => format!("v{a}–v{b}"),
    }
}

/// What an operation does besides its name, in words.
pub(super) fn about(facts: &Facts<'_>, node: &Node) -> String {
    match &node.op {
        Op::Linear(plan) => {
            let form = match plan.hoisting {
                Hoisting::Single => "single",
                Hoisting::Double => "double",
            };
            let pairs = if plan.pairing.is_some() { ", each for two diagonals" } else { "" };
            format!("{}, {form} hoisted{pairs}", steps(plan))
        }
        Op::Rotate(_, step) => format!("by {}", step.step.0),
        Op::SumOfProducts(pairs) => count(pairs.len(), "product"),
        Op::AddPlain(_, plain) | Op::MulPlain(_, plain) => match plain {
            Plain::Constant(_) => "a number".into(),
            Plain::Tensor { tensor, .. } => facts.circuit.tensor(*tensor).name.clone(),
            Plain::Diagonal { .. } => "a diagonal".into(),
        },
        _ => String::new(),
    }
}

/// Size of a plan.
pub(super) fn steps(plan: &LinearPlan) -> String {
    let (babies, giants) = (plan.babies.len(), plan.giants.len());
    format!("{}, {babies} baby × {giants} giant steps", count(plan.products.len(), "product"))
}

/// Where elements stand: digits of each axis as extent@stride, copies, gaps, and how full the slots are.
fn layout_text(layout: &Layout) -> String {
    let names: &[&str] = match layout.shape.len() {
        3 => &["c", "y", "x"],
        2 => &["y", "x"],
        _ => &["i"],
    };
    let digits = |digits: &[cipherloom_ir::Digit]| {
        digits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let axes = layout.axes.iter().enumerate().map(|(k, axis)| {
        let name = names.get(k).map_or_else(|| format!("axis {k}"), |n| (*n).to_owned());
        format!("{name} {}", digits(axis))
    });
    let copies: u64 = layout.replicas.iter().map(|d| u64::from(d.extent)).product();
    let used = layout.elements() as u64 * copies * u64::from(layout.batch);
    let slots = u64::from(layout.slots) * u64::from(layout.ciphertexts);
    let mut parts: Vec<String> = axes.collect();
    if copies > 1 {
        parts.push(format!("{copies} copies {}", digits(&layout.replicas)));
    }
    if layout.batch > 1 {
        parts.push(format!("{} images 1 apart", layout.batch));
    }
    let gaps = match layout.gap {
        Gap::Zero => "zero",
        Gap::Junk => "junk",
    };
    let text = parts.join(" · ");
    let short: String = text.chars().take(LAYOUT_CHARACTERS_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!(
        "<code>{short}{more}</code> in {} of {} slots, {} used, gaps {gaps}",
        count(layout.ciphertexts as usize, "ciphertext"),
        layout.slots,
        share(used, slots),
    )
}

/// Nodes and time by operation, the most expensive first.
pub(super) fn by_operation(facts: &Facts<'_>) -> Vec<(&'static str, usize, u64)> {
    let mut sums: BTreeMap<&'static str, (usize, u64)> = BTreeMap::new();
    for (node, cost) in facts.circuit.nodes.iter().zip(&facts.account.nodes) {
        let (nodes, ns) = sums.entry(node.op.name()).or_default();
        (*nodes, *ns) = (*nodes + 1, *ns + cost.ns);
    }
    let mut out: Vec<_> = sums.into_iter().map(|(op, (nodes, ns))| (op, nodes, ns)).collect();
    out.sort_by_key(|(op, _, ns)| (std::cmp::Reverse(*ns), *op));
    out
}
