//! Printing circuits.

use super::plan::Plan;
use super::{INLINE_VALUES, Spaced, request_fields, tensor_digest};
use crate::circuit::{Circuit, ClientStep, Forecast, InputSpec, Node, OutputSpec};
use crate::layout::{Digit, Gap, Layout};
use crate::map::{LinearMap, Operator, Tensor, ViewAxis, Window};
use crate::op::{Activation, KeyedStep, Op, Plain};
use crate::scheme::{BootstrapRequest, KeyKind, KeySpec};
use crate::verify::{Degree, ValueType, shown, value_types};
use std::fmt;

/// A circuit, displayed.
pub(super) struct Text<'a>(pub(super) &'a Circuit);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let circuit = self.0;
        writeln!(f, "circuit {:?}", circuit.name)?;
        let p = &circuit.parameters;
        writeln!(
            f,
            "parameters log_n {} log_scale {} chain [{}]{} special [{}]",
            p.log_n,
            p.log_scale,
            Spaced(p.chain.iter()),
            raised(&p.raised),
            Spaced(p.special.iter())
        )?;
        circuit.bootstrap.iter().try_for_each(|request| bootstrap(f, request))?;
        each(f, &circuit.keys, key)?;
        each(f, &circuit.tensors, tensor)?;
        each(f, &circuit.layouts, layout)?;
        each(f, &circuit.maps, map)?;
        each(f, &circuit.inputs, input)?;
        each(f, &circuit.origins, |f, k, origin| writeln!(f, "origin o{k} {origin:?}"))?;
        nodes(f, circuit)?;
        each(f, &circuit.outputs, output)?;
        each(f, &circuit.certificate, |f, _, c| writeln!(f, "certificate {:?} {:?}", c.tensor, c.range))?;
        let Forecast {
            seconds,
            memory_bytes,
            key_bytes,
            upload_bytes,
            download_bytes,
            precision_bits,
            public_key_precision_bits,
            profile,
        } = circuit.forecast;
        let profile = profile.map_or("none".to_owned(), |digest| digest.to_string());
        writeln!(
            f,
            "forecast seconds {seconds:?} memory {memory_bytes} keys {key_bytes} upload {upload_bytes} \
             download {download_bytes} precision {precision_bits:?} \
             public_key_precision {public_key_precision_bits:?} profile {profile}"
        )
    }
}

fn each<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, usize, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(k, item)| line(f, k, item))
}

fn raised(primes: &[u64]) -> String {
    if primes.is_empty() { String::new() } else { format!(" raised [{}]", Spaced(primes.iter())) }
}

fn bootstrap(f: &mut fmt::Formatter<'_>, request: &BootstrapRequest) -> fmt::Result {
    let mut request = *request;
    f.write_str("bootstrapping")?;
    request_fields(&mut request).iter().try_for_each(|(name, value)| write!(f, " {name} {value}"))?;
    writeln!(f)
}

fn key(f: &mut fmt::Formatter<'_>, k: usize, key: &KeySpec) -> fmt::Result {
    write!(f, "key k{k} ")?;
    match key.kind {
        KeyKind::Relinearization => f.write_str("relinearization")?,
        KeyKind::Rotation(step) => write!(f, "rotation {step}")?,
        KeyKind::Conjugation => f.write_str("conjugation")?,
        KeyKind::Encapsulation => f.write_str("encapsulation")?,
        KeyKind::Decapsulation => f.write_str("decapsulation")?,
    }
    writeln!(f, " level {} gadget {}+{}", key.level.0, key.gadget.digit_limbs, key.gadget.special_limbs)
}

fn tensor(f: &mut fmt::Formatter<'_>, k: usize, tensor: &Tensor) -> fmt::Result {
    write!(f, "tensor t{k} {:?} {:?} ", tensor.name, tensor.shape)?;
    if tensor.values.len() <= INLINE_VALUES {
        let values: Vec<String> = tensor.values.iter().map(|v| format!(" {v:?}")).collect();
        writeln!(f, "values{}", values.concat())
    } else {
        writeln!(f, "blake3 {}", tensor_digest(tensor))
    }
}

fn digits(digits: &[Digit]) -> String {
    format!("({})", Spaced(digits.iter()))
}

fn layout(f: &mut fmt::Formatter<'_>, k: usize, layout: &Layout) -> fmt::Result {
    write!(f, "layout l{k} {:?} in {} x {} digits", layout.shape, layout.ciphertexts, layout.slots)?;
    layout.axes.iter().try_for_each(|axis| write!(f, " {}", digits(axis)))?;
    let gap = match layout.gap {
        Gap::Zero => "zero",
        Gap::Junk => "junk",
    };
    write!(f, " copies {} gaps {gap}", digits(&layout.replicas))?;
    match layout.batch {
        1 => writeln!(f),
        batch => writeln!(f, " batch {batch}"),
    }
}

fn map(f: &mut fmt::Formatter<'_>, k: usize, map: &LinearMap) -> fmt::Result {
    let (input, output) = (map.input.0, map.output.0);
    writeln!(f, "map m{k} l{input} -> l{output} times {:?} fold {}", map.scale, digits(&map.fold))?;
    each(f, &map.operators, |f, _, op| operator(f, op))
}

fn operator(f: &mut fmt::Formatter<'_>, operator: &Operator) -> fmt::Result {
    match operator {
        Operator::Convolution { input, window: w, groups, weight } => {
            writeln!(f, "  convolution {} groups {groups} weight t{}", windowed(*input, w), weight.0)
        }
        Operator::AveragePool { input, window: w, count_padding } => {
            let counted = if *count_padding { "counted" } else { "uncounted" };
            writeln!(f, "  average_pool {} padding {counted}", windowed(*input, w))
        }
        Operator::Dense { weight } => writeln!(f, "  dense weight t{}", weight.0),
        Operator::View { input, axes } => {
            write!(f, "  view {input:?} axes")?;
            for ViewAxis { extent, input_axis, start, step } in axes {
                let axis = input_axis.map_or("-".into(), |a| a.to_string());
                write!(f, " {extent}@{axis}:{start}:{step}")?;
            }
            writeln!(f)
        }
        Operator::AxisScale { shape, axis, factor } => {
            writeln!(f, "  axis_scale {shape:?} axis {axis} factor t{}", factor.0)
        }
        Operator::ElementScale { factor } => writeln!(f, "  element_scale factor t{}", factor.0),
    }
}

/// What a window slides over, and the window: sizes of an image have no depth.
fn windowed(input @ [channels, depth, height, width]: [u32; 4], w: &Window) -> String {
    let flat = depth == 1 && w.is_flat();
    let sizes = |[z, y, x]: [u32; 3]| if flat { format!("{y}x{x}") } else { format!("{z}x{y}x{x}") };
    let shape = if flat { format!("{:?}", [channels, height, width]) } else { format!("{input:?}") };
    format!(
        "{shape} kernel {} stride {} dilation {} pad {} {}",
        sizes(w.kernel),
        sizes(w.stride),
        sizes(w.dilation),
        sizes(w.pad_before),
        sizes(w.pad_after)
    )
}

fn input(f: &mut fmt::Formatter<'_>, k: usize, input: &InputSpec) -> fmt::Result {
    let p = &input.preprocessing;
    write!(f, "input i{k} {:?} in l{} range {:?}", input.name, input.layout.0, input.range)?;
    writeln!(f, " scale {:?} mean {:?} std {:?}", p.scale, p.mean, p.std)
}

fn output(f: &mut fmt::Formatter<'_>, _: usize, output: &OutputSpec) -> fmt::Result {
    let values = output.values.iter().map(|v| format!("v{}", v.0));
    let labels = output.labels.iter().map(|l| format!("{l:?}"));
    let steps = output.client_steps.iter().map(|s| match s {
        ClientStep::Softmax => "softmax",
        ClientStep::ArgMax => "argmax",
    });
    writeln!(
        f,
        "output {:?} in l{} values [{}] times {:?} range {:?} labels [{}] steps [{}]",
        output.name,
        output.layout.0,
        Spaced(values),
        output.scale,
        output.range,
        Spaced(labels),
        Spaced(steps)
    )
}

/// Nodes under a heading per layer, with level and scale of their results where the laws give them.
fn nodes(f: &mut fmt::Formatter<'_>, circuit: &Circuit) -> fmt::Result {
    let types = value_types(circuit).unwrap_or_default();
    let mut layer = None;
    for node in &circuit.nodes {
        if layer != Some(node.origin) {
            let name = circuit.origins.get(node.origin as usize).map_or("", String::as_str);
            writeln!(f, "layer o{} ; {}", node.origin, name.escape_debug())?;
            layer = Some(node.origin);
        }
        let line = node_line(node);
        match types.get(node.first.0 as usize) {
            Some(known) => writeln!(f, "{line:<60} ; {}", type_comment(known))?,
            None => writeln!(f, "{line}")?,
        }
    }
    Ok(())
}

fn type_comment(known: &ValueType) -> String {
    let degree = if known.degree == Degree::Two { ", degree 2" } else { "" };
    format!("level {}{degree}, {}", known.level.0, shown(&known.scale))
}

fn node_line(node: &Node) -> String {
    let first = node.first.0;
    let last = first.saturating_add(node.results.saturating_sub(1));
    let results = if node.results == 1 { format!("v{first}") } else { format!("v{first}..v{last}") };
    format!("{results} = {} {}", node.op.name(), arguments(&node.op))
}

fn arguments(op: &Op) -> String {
    match op {
        Op::Input { input, ciphertext } => format!("i{input}.{ciphertext}"),
        Op::Add(x, y) | Op::Sub(x, y) | Op::Mul(x, y) => format!("v{} v{}", x.0, y.0),
        Op::Neg(x) | Op::Rescale(x) | Op::Bootstrap(x) => format!("v{}", x.0),
        Op::AddPlain(x, p) | Op::MulPlain(x, p) => format!("v{} {}", x.0, plain(p)),
        Op::MulScalar(x, c) => format!("v{} {c:?}", x.0),
        Op::SumOfProducts(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(x, y)| format!("v{}*v{}", x.0, y.0)).collect();
            pairs.join(" + ")
        }
        Op::Relinearize(x, key) | Op::RelinearizeRescale(x, key) | Op::Conjugate(x, key) => {
            format!("v{} k{}", x.0, key.0)
        }
        Op::DropLevel(x, to) | Op::Adjust(x, to) => format!("v{} to {}", x.0, to.0),
        Op::Rotate(x, keyed) => format!("v{} {}", x.0, step(keyed)),
        Op::Activation(x, function) => format!("v{} {}", x.0, activation(function)),
        Op::Linear(plan) => Plan(plan).to_string(),
    }
}

/// `5:k1`, or `0`.
pub(super) fn step(keyed: &KeyedStep) -> String {
    keyed.key.map_or(keyed.step.0.to_string(), |key| format!("{}:k{}", keyed.step.0, key.0))
}

fn plain(plain: &Plain) -> String {
    match plain {
        Plain::Constant(value) => format!("constant {value:?}"),
        Plain::Tensor { tensor, layout, ciphertext, scale } => {
            format!("t{} in l{}.{ciphertext} times {scale:?}", tensor.0, layout.0)
        }
        Plain::Diagonal { map, output, input, step, giant } => {
            format!("diagonal m{} output {output} input {input} step {} giant {}", map.0, step.0, giant.0)
        }
    }
}

fn activation(function: &Activation) -> String {
    let parameters = function.parameters().into_iter().map(|p| format!(" {p:?}")).collect::<String>();
    format!("{}{parameters}", function.name())
}
