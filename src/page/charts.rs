//! Drawings: where the time goes, memory by what holds it, keys against time.
//!
//! Relies on [`Facts`]. Promises: what a drawing shows, text or a table tells as well; sizes are bounded.

use super::colour::Colour;
use super::facts::Facts;
use super::text::{Name, bytes, percent, share, time};

/// Units of the skyline, across and up.
const ACROSS: u64 = 100_000;
const UP: u32 = 1_000;
/// Layers that take less than one part of so many are too thin to be seen or hit.
const SEEN: u64 = 2_000;
/// Most points of the curve that are drawn.
const POINTS_MAX: usize = 256;
/// Size of the curve, units.
const CURVE: [f64; 2] = [360.0, 180.0];

/// The network as a skyline: across is time, up is the level at which it is spent.
pub(super) fn skyline(facts: &Facts<'_>) -> String {
    let (ns, top) = (facts.ns().max(1), facts.top());
    let mut out = format!("<svg viewBox=\"0 0 {ACROSS} {UP}\" preserveAspectRatio=none aria-hidden=true>");
    let mut passed = 0u64;
    let x = |ns_before: u64| (u128::from(ns_before) * u128::from(ACROSS) / u128::from(ns)) as u64;
    for (index, layer) in facts.layers.iter().enumerate() {
        let [from, to] = [x(passed), x(passed + layer.ns)];
        passed += layer.ns;
        if to - from < ACROSS / SEEN {
            continue;
        }
        let level = layer.levels[0].max(layer.levels[1]);
        let height = (level.0 + 1) * UP / (top.0 + 1);
        out += &format!(
            "<a href=\"#layer-{index}\" tabindex=-1><rect x={from} y={} width={} height={height} fill=\"{}\"/><title>{}: {}, level {}</title></a>",
            UP - height,
            to - from,
            Colour::of(level, top).css(),
            Name(layer.name),
            time(layer.ns),
            level.0
        );
    }
    out + "</svg>"
}

/// The levels' colours, from the top to 0.
pub(super) fn ramp(facts: &Facts<'_>) -> String {
    let top = facts.top().0;
    let colours = (0..=8).map(|k| {
        let level = cipherloom_ir::scheme::Level(top * (8 - k) / 8);
        Colour::of(level, facts.top()).css()
    });
    format!(
        "<span class=ramp>level {top} <i style=\"background:linear-gradient(90deg,{})\"></i> 0</span>",
        colours.collect::<Vec<_>>().join(",")
    )
}

/// What the memory of an evaluation consists of.
pub(super) fn memory(facts: &Facts<'_>) -> String {
    let parts = facts.account.memory.parts();
    let total = facts.account.memory.bytes();
    let (mut bar, mut rows) = (String::new(), String::new());
    for (k, (what, part)) in parts.iter().enumerate() {
        bar += &format!("<i class=\"part{k}\" style=\"width:{:.3}%\"></i>", percent(*part, total));
        rows += &format!(
            "<tr><th scope=row><i class=\"swatch part{k}\"></i>{what}<td class=number>{}<td class=number>{}",
            bytes(*part),
            share(*part, total)
        );
    }
    format!(
        "<div class=stack aria-hidden=true>{bar}</div><table><tbody>{rows}</tbody>\
         <tfoot><tr><th scope=row>peak<td class=number>{}<td></tfoot></table>",
        bytes(total)
    )
}

/// Keys against time, for circuits that differ in their rotations alone.
pub(super) fn curve(facts: &Facts<'_>) -> String {
    let points = &facts.curve;
    if points.len() < 2 {
        return String::new();
    }
    let (Some(first), Some(last), Some(own)) =
        (points.first(), points.last(), points.iter().find(|p| p.is_circuit))
    else {
        return String::new();
    };
    let most_seconds = points.iter().map(|p| p.seconds).fold(0.0, f64::max);
    let least_seconds = points.iter().map(|p| p.seconds).fold(f64::INFINITY, f64::min);
    let scaled =
        |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let [width, height] = CURVE;
    let at = |p: &cipherloom_compiler::KeyPoint| {
        let x = scaled(p.key_bytes as f64, first.key_bytes as f64, last.key_bytes as f64);
        let y = scaled(p.seconds, least_seconds, most_seconds);
        format!("{:.1} {:.1}", 8.0 + x * (width - 16.0), height - 8.0 - y * (height - 16.0))
    };
    let step = points.len().div_ceil(POINTS_MAX);
    let line: Vec<String> = points
        .iter()
        .enumerate()
        .filter(|(k, _)| k % step == 0 || *k + 1 == points.len())
        .map(|(_, p)| at(p))
        .collect();
    let place = at(own);
    let (x, y) = place.split_once(' ').unwrap_or(("0", "0"));
    let seconds = |s: f64| time((s * 1e9) as u64);
    format!(
        "<figure><svg class=curve viewBox=\"0 0 {width} {height}\" role=img aria-label=\"Memory of keys against time\">\
         <path d=\"M8 8V{bottom}H{right}\"/><polyline points=\"{}\"/><circle cx={x} cy={y} r=6 /></svg>\
         <figcaption>Across, memory of keys from {} to {}; up, time from {} to {}. The dot is this circuit: {}, {}. \
         <code>compile --max-key-memory</code> takes another point.</figcaption></figure>",
        line.join(","),
        bytes(first.key_bytes),
        bytes(last.key_bytes),
        seconds(least_seconds),
        seconds(most_seconds),
        bytes(own.key_bytes),
        seconds(own.seconds),
        bottom = height - 8.0,
        right = width - 8.0,
    )
}
