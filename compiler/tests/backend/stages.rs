//! Golden texts of every stage on two small networks: what the stage leaves, and one line of what it costs.

use crate::nets;
use cipherloom_compiler::balance::balance;
use cipherloom_compiler::compose::{Merge, compose};
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::graph::{Function, Kind, TensorGraph};
use cipherloom_compiler::levels::Levels;
use cipherloom_compiler::packing::{Choice, LinearChoice, Packed, Target, pack};
use cipherloom_compiler::parameters::{Frame, Sizes, base_bits};
use cipherloom_compiler::{CompileOptions, Packing, activation, compile};
use cipherloom_ir::scheme::SecurityPolicy;
use cipherloom_ir::{Digit, Layout, Operator};
use std::fmt::Write;

/// The stages in order, on one network; the snapshots are named `STAGE_NETWORK`.
fn stages(net: &str) {
    let case = |stage: &str, text: String| {
        let run = "run: cargo test -p cipherloom-compiler --test backend stages\n";
        insta::assert_snapshot!(format!("{stage}_{net}"), format!("{run}{text}"));
    };
    let options = nets::options();
    let graph = nets::named(net);
    case("graph", graph_text(&graph));
    let (lowered, notes) = activation::lower(&graph, options.activation_degree).expect("lowers");
    let mut text = graph_text(&lowered);
    notes.certificate.iter().for_each(|c| text += &format!("certificate {} {:?}\n", c.tensor, c.range));
    case("activation", text);
    let composed = compose(&lowered, Merge::All).expect("composes");
    case("compose", graph_text(&composed));
    let balanced = balance(&composed);
    let scales = &balanced.output_scales;
    case("balance", format!("{}client multiplies by {scales:?}\n", graph_text(&balanced.graph)));
    let levels = Levels::of(&balanced.graph);
    case("levels", levels_text(&balanced.graph, &levels));
    let frame = frame(&balanced.graph, &levels);
    case("parameters", parameters_text(net, &frame));
    let cost = frame.cost();
    for (name, packing) in [("multiplexed", Packing::Multiplexed), ("dynamic", Packing::DynamicProgram)] {
        let slots = 1 << (frame.log_n - 1);
        let rotation = CompileOptions { packing, ..nets::options() }.splits();
        let target = Target { graph: &balanced.graph, levels: &levels, cost, slots, packing, rotation };
        let packed = pack(&target).expect("packs");
        case(&format!("packing_{name}"), packing_text(&balanced.graph, &packed));
        case(&format!("rotation_{name}"), rotation_text(&balanced.graph, &packed, cost));
    }
}

#[test]
fn stages_of_a_square_network() {
    stages("tiny-square");
}

#[test]
fn stages_of_a_relu_network() {
    stages("tiny-relu");
}

/// The smallest secure frame at a scale of 30 bits.
fn frame(graph: &TensorGraph, levels: &Levels) -> Frame {
    let policy = SecurityPolicy::standard_128();
    let range = graph.outputs.iter().find_map(|o| graph.node(o.node).range).expect("a range");
    let at = |log_n| {
        let sizes = Sizes { log_n, top: levels.top(), log_scale: 30, base_bits: base_bits(30, range) };
        Frame::cheapest(sizes, policy.bound(log_n).unwrap_or(0), &nets::profile())
    };
    (12..=16).find_map(at).expect("a ring degree is large enough")
}

fn graph_text(graph: &TensorGraph) -> String {
    let linear = graph.order().filter(|id| matches!(graph.node(*id).kind, Kind::Linear { .. })).count();
    let weights: usize = graph.tensors.iter().map(|t| t.values.len()).sum();
    let mut out =
        format!("cost: {} nodes, {linear} of them linear, {weights} weights\n", graph.order().count());
    for id in graph.order() {
        let node = graph.node(id);
        let operands: Vec<&str> = graph.operands(id).iter().map(|o| graph.node(*o).name.as_str()).collect();
        writeln!(
            out,
            "{} {:?} = {}({})",
            node.name,
            node.shape,
            kind_text(graph, &node.kind),
            operands.join(", ")
        )
        .expect("strings take text");
    }
    out
}

fn kind_text(graph: &TensorGraph, kind: &Kind) -> String {
    match kind {
        Kind::Linear { operators, scale, bias } => {
            let operators: Vec<String> = operators.iter().map(operator_text).collect();
            let values = bias.map(|b| &graph.tensors[b.0 as usize].values);
            let bias = values.map_or(String::new(), |v| format!(" + {v:?}"));
            format!("linear {scale} · [{}]{bias} ", operators.join(", then "))
        }
        Kind::Elementwise(Function::Polynomial { coefficients, range, max_error, of }) => {
            format!("{of:?} as Chebyshev {coefficients:.6?} on {range:?}, error {max_error:.2e} ")
        }
        other => format!("{other:?}"),
    }
}

fn operator_text(operator: &Operator) -> String {
    match operator {
        Operator::Convolution { window, weight, .. } => {
            let [kernel, stride, pad] =
                [window.kernel, window.stride, window.pad_before].map(|[_, y, x]| format!("{y}x{x}"));
            format!("convolution {kernel} stride {stride} pad {pad} by t{}", weight.0)
        }
        Operator::Dense { weight } => format!("dense by t{}", weight.0),
        Operator::View { axes, .. } => {
            format!("view {:?}", axes.iter().map(|a| a.extent).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

fn levels_text(graph: &TensorGraph, levels: &Levels) -> String {
    let mut out = format!("cost: {} levels\n", levels.top().0);
    for id in graph.order() {
        let (before, after) = (levels.before(graph, id).0, levels.at(id).0);
        writeln!(out, "{} from {before} to {after}", graph.node(id).name).expect("strings take text");
    }
    out
}

/// The frame that is assumed before packing, and what the whole compilation then chose.
fn parameters_text(net: &str, frame: &Frame) -> String {
    let options = CompileOptions { packing: Packing::DynamicProgram, ..nets::options() };
    let compiled = compile(&nets::named(net), &options).expect("compiles");
    let (report, p) = (&compiled.report, &compiled.circuit.parameters);
    format!(
        "cost: log QP {:.1} of {} at N = 2^{}\nguess {frame:?}\nchosen scale 2^{} chain {:?} special {:?}\n",
        report.log_qp, report.log_qp_bound, report.log_n, p.log_scale, p.chain, p.special
    )
}

fn digits_text(digits: &[Digit]) -> String {
    format!("({})", digits.iter().map(Digit::to_string).collect::<Vec<_>>().join(" "))
}

fn layout_text(layout: &Layout) -> String {
    let axes: Vec<String> = layout.axes.iter().map(|a| digits_text(a)).collect();
    let copies = digits_text(&layout.replicas);
    format!(
        "{:?} in {} x {} {} copies {copies} gaps {:?}",
        layout.shape,
        layout.ciphertexts,
        layout.slots,
        axes.join(" "),
        layout.gap
    )
}

fn choices<'a>(
    graph: &'a TensorGraph,
    packed: &'a Packed,
) -> impl Iterator<Item = (&'a str, &'a LinearChoice)> {
    graph.order().filter_map(|id| match &packed.choices[id.0 as usize] {
        Choice::Linear(choice) => Some((graph.node(id).name.as_str(), &**choice)),
        Choice::Keep => None,
    })
}

fn packing_text(graph: &TensorGraph, packed: &Packed) -> String {
    let diagonals: usize = choices(graph, packed).map(|(_, c)| c.split.products.len()).sum();
    let mut out =
        format!("cost: {} us, price of memory included, {diagonals} diagonals\n", packed.priced_ns / 1000);
    for id in graph.order() {
        let layout = layout_text(&packed.layouts[id.0 as usize].layout);
        writeln!(out, "{}: {layout}", graph.node(id).name).expect("strings take text");
    }
    for (name, choice) in choices(graph, packed) {
        let (fold, output) = (digits_text(&choice.kernel.fold), layout_text(&choice.kernel.output));
        writeln!(out, "{name} by diagonals to {output}, folds {fold}").expect("strings take text");
    }
    out
}

fn rotation_text(graph: &TensorGraph, packed: &Packed, cost: &CostModel) -> String {
    let total: u64 = choices(graph, packed).map(|(_, c)| c.split.time_ns + c.turns_ns).sum();
    let mut out = format!(
        "cost: {} us in linear maps, key of level 0 {} bytes\n",
        total / 1000,
        cost.key_bytes(cipherloom_ir::scheme::Level(0))
    );
    for (name, choice) in choices(graph, packed) {
        let split = &choice.split;
        let time = split.time_ns / 1000;
        writeln!(out, "{name}: {:?} hoisted, {time} us, folds {} us", split.hoisting, choice.turns_ns / 1000)
            .expect("strings take text");
        writeln!(out, "  babies {:?}\n  giants {:?}", split.babies, split.giants).expect("strings take text");
        for p in &split.products {
            let (baby, giant) = (split.babies[p.baby as usize], split.giants[p.giant as usize]);
            writeln!(out, "  out {} += rot {giant} of (diagonal · rot {baby} of in {})", p.output, p.input)
                .expect("strings take text");
        }
    }
    out
}
