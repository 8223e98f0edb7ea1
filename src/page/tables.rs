//! Tables beside the network: the hottest nodes, time by operation, keys, inputs and outputs.
//!
//! Relies on [`Facts`]. Promises: bounded rows; ties stand in the order of evaluation.

use super::facts::Facts;
use super::network::{about, bar, by_operation, level, steps, values};
use super::text::{Name, Paragraph, bytes, count, shape, share, time};
use cipherloom_compiler::stages::Stage;
use cipherloom_compiler::{EGraph, Report};
use cipherloom_ir::{ClientStep, KeyId, Op};
use std::cmp::Reverse;

/// Most nodes in the table of the hottest.
const HOTTEST_MAX: usize = 20;
/// Most keys that are listed.
const KEYS_MAX: usize = 1_024;
/// Most inputs and outputs that are listed, each.
const PORTS_MAX: usize = 16;

/// The nodes that take longest.
pub(super) fn hottest(facts: &Facts<'_>) -> String {
    let cost = |k: &usize| facts.account.nodes[*k].ns;
    let mut order: Vec<usize> = (0..facts.circuit.nodes.len()).filter(|k| cost(k) > 0).collect();
    order.sort_by_key(|k| (Reverse(cost(k)), *k));
    let hottest = order.first().map_or(0, cost);
    let mut together = 0;
    let mut out = String::from(
        "<table class=hottest><thead><tr><th class=number>#<th>node<th>level<th class=number>time<th class=number>share<th class=\"number together\">together</thead><tbody>",
    );
    for (rank, k) in order.iter().take(HOTTEST_MAX).enumerate() {
        let node = &facts.circuit.nodes[*k];
        let index = facts.layers.partition_point(|l| l.nodes.end <= *k);
        together += cost(k);
        let brief = match &node.op {
            Op::Linear(plan) => steps(plan),
            _ => about(facts, node),
        };
        out += &format!(
            "<tr><td class=number>{}<td><a href=\"#layer-{index}\"><bdi>{}</bdi></a> <code>{}</code>\
             <small>{} {}</small><td>{}<td class=number>{}{}<td class=number>{}<td class=\"number together\">{}",
            rank + 1,
            Name(facts.layers[index].name),
            node.op.name(),
            values(node, node),
            Name(&brief),
            level(facts.operand_level(node), facts.top()),
            time(cost(k)),
            bar(cost(k), hottest),
            share(cost(k), facts.ns()),
            share(together, facts.ns()),
        );
    }
    out + "</tbody></table>"
}

/// What each stage chose and saved, and the e-graph that it chose from.
pub(super) fn choices(report: &Report) -> String {
    let choice = |(stage, text): &(Stage, String)| format!("<dt>{stage}</dt><dd>{}</dd>", Paragraph(text));
    let list: String = report.choices.iter().map(choice).collect();
    let mut out = format!("<dl class=choices>{list}</dl>");
    if !report.egraphs.is_empty() {
        out += "<table><thead><tr><th>e-graph<th class=number>terms<th class=number>classes<th class=number>rounds</thead><tbody>";
        for EGraph { stage, terms, classes, rounds } in &report.egraphs {
            out += &format!(
                "<tr><th scope=row>{stage}<td class=number>{terms}<td class=number>{classes}<td class=number>{rounds}"
            );
        }
        out += "</tbody></table>";
    }
    let warnings = report.warnings.iter().map(|w| format!("<p class=note>{}</p>", Paragraph(w)));
    out + &warnings.collect::<String>()
}

/// Time by operation.
pub(super) fn operations(facts: &Facts<'_>) -> String {
    let mut out = String::from(
        "<table><thead><tr><th>operation<th class=number>nodes<th class=number>time<th class=number>share</thead><tbody>",
    );
    for (op, nodes, ns) in by_operation(facts) {
        out += &format!(
            "<tr><th scope=row><code>{op}</code><td class=number>{nodes}<td class=number>{}<td class=number>{}",
            time(ns),
            share(ns, facts.ns())
        );
    }
    out + "</tbody></table>"
}

/// The keys, with how many nodes name each.
pub(super) fn keys(facts: &Facts<'_>) -> String {
    let keys = &facts.circuit.keys;
    let mut users = vec![0usize; keys.len()];
    for node in &facts.circuit.nodes {
        let mut named: Vec<KeyId> = node.op.keys();
        named.sort_unstable();
        named.dedup();
        named.iter().for_each(|k| users[k.0 as usize] += 1);
    }
    let total: u64 = facts.key_bytes.iter().sum();
    let mut out = format!(
        "<details><summary>{}, {} in memory</summary><table><thead><tr><th>switches<th>level<th class=number>nodes<th class=number>memory</thead><tbody>",
        count(keys.len(), "key"),
        bytes(total)
    );
    for ((key, users), size) in keys.iter().zip(users).zip(&facts.key_bytes).take(KEYS_MAX) {
        out += &format!(
            "<tr><th scope=row>{}<td>{}<td class=number>{users}<td class=number>{}",
            key.kind,
            level(key.level, facts.top()),
            bytes(*size)
        );
    }
    if keys.len() > KEYS_MAX {
        out += &format!("<tr><td colspan=4>{}", count(keys.len() - KEYS_MAX, "more key"));
    }
    out + "</tbody></table></details>"
}

/// Inputs and outputs with their shapes and ranges.
pub(super) fn ports(facts: &Facts<'_>) -> String {
    let circuit = facts.circuit;
    let mut out = String::from("<table><tbody>");
    let mut row = |kind: &str, name: &str, layout, [low, high]: [f64; 2], more: &str| {
        let layout = circuit.layout(layout);
        out += &format!(
            "<tr><th scope=row>{kind}<td><bdi>{}</bdi>{more}<td>{} in {}<td>[{low}, {high}]",
            Name(name),
            shape(&layout.shape),
            count(layout.ciphertexts as usize, "ciphertext"),
        );
    };
    circuit.inputs.iter().take(PORTS_MAX).for_each(|i| row("input", &i.name, i.layout, i.range, ""));
    for output in circuit.outputs.iter().take(PORTS_MAX) {
        let steps = output.client_steps.iter().map(|s| match s {
            ClientStep::Softmax => ", then the client's softmax",
            ClientStep::ArgMax => ", then the client's argmax",
        });
        row("output", &output.name, output.layout, output.range, &steps.collect::<String>());
    }
    out + "</tbody></table>"
}
