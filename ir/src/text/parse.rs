//! Parsing circuits: table entries here, operations in `ops`.

mod ops;

use super::cursor::Cursor;
use super::{TextError, TextProblem, request_fields, tensor_digest};
use crate::circuit::{
    Circuit, ClientStep, Forecast, InputSpec, Node, OutputSpec, Preprocessing, RangeCertificate,
};
use crate::layout::{Gap, Layout, LayoutId};
use crate::map::{LinearMap, Operator, Tensor, TensorId, ViewAxis, Window};
use crate::op::ValueId;
use crate::scheme::{BootstrapRequest, Gadget, KeyKind, KeySpec, Level, Parameters};
use std::collections::BTreeMap;

/// Reads a whole text.
pub(super) fn circuit(text: &str, weights: &[Tensor]) -> Result<Circuit, TextError> {
    let mut reader = Reader::new(weights);
    let mut lines = 0;
    for (number, line) in text.lines().enumerate() {
        lines = number + 1;
        let mut cursor = Cursor::new(line);
        if !cursor.done() {
            let read = reader.line(&mut cursor).and_then(|()| cursor.end());
            let (line, column) = (lines, cursor.column());
            read.map_err(|problem| TextError { line, column, problem })?;
        }
    }
    reader.finish().map_err(|problem| TextError { line: lines + 1, column: 1, problem })
}

/// Tables so far.
struct Reader<'a> {
    weights: BTreeMap<(&'a str, &'a [u32], String), &'a Tensor>,
    name: Option<String>,
    parameters: Option<Parameters>,
    forecast: Option<Forecast>,
    circuit: Circuit,
    layer: u32,
    next: u32,
}

impl<'a> Reader<'a> {
    fn new(weights: &'a [Tensor]) -> Reader<'a> {
        let large = weights.iter().filter(|t| t.values.len() > super::INLINE_VALUES);
        Reader {
            weights: large.map(|t| ((t.name.as_str(), &t.shape[..], tensor_digest(t)), t)).collect(),
            name: None,
            parameters: None,
            forecast: None,
            circuit: Circuit::empty(
                "",
                Parameters { log_n: 0, chain: vec![], raised: vec![], special: vec![], log_scale: 0 },
            ),
            layer: 0,
            next: 0,
        }
    }

    fn finish(mut self) -> Result<Circuit, TextProblem> {
        self.circuit.name = self.name.ok_or(TextProblem::Missing("circuit"))?;
        self.circuit.parameters = self.parameters.ok_or(TextProblem::Missing("parameters"))?;
        self.circuit.forecast = self.forecast.ok_or(TextProblem::Missing("forecast"))?;
        Ok(self.circuit)
    }

    fn line(&mut self, c: &mut Cursor<'_>) -> Result<(), TextProblem> {
        if c.word().starts_with('v') && c.word()[1..].starts_with(|d: char| d.is_ascii_digit()) {
            return self.node(c);
        }
        let tables = &mut self.circuit;
        let start = c.clone();
        match c.take_word() {
            "circuit" => once("circuit", &mut self.name, c.string()?)?,
            "parameters" => once("parameters", &mut self.parameters, parameters(c)?)?,
            "forecast" => once("forecast", &mut self.forecast, forecast(c)?)?,
            "bootstrapping" => once("bootstrapping", &mut tables.bootstrap, bootstrap(c)?)?,
            "key" => entry(c, "k", &mut tables.keys, key)?,
            "tensor" => {
                let weights = &self.weights;
                entry(c, "t", &mut tables.tensors, |c| tensor(c, weights))?;
            }
            "layout" => entry(c, "l", &mut tables.layouts, layout)?,
            "map" => entry(c, "m", &mut tables.maps, map)?,
            "input" => entry(c, "i", &mut tables.inputs, input)?,
            "origin" => entry(c, "o", &mut tables.origins, Cursor::string)?,
            "layer" => self.layer = c.numbered("o")?,
            "output" => tables.outputs.push(output(c)?),
            "certificate" => {
                let tensor = c.string()?;
                tables.certificate.push(RangeCertificate { tensor, range: range(c)? });
            }
            _ => {
                *c = start;
                let operator = operator(c)?;
                let map = tables.maps.last_mut().ok_or(TextProblem::OperatorOutsideMap)?;
                map.operators.push(operator);
            }
        }
        Ok(())
    }

    fn node(&mut self, c: &mut Cursor<'_>) -> Result<(), TextProblem> {
        let first = c.numbered("v")?;
        let last = if c.eat("..") { c.numbered("v")? } else { first };
        if first != self.next {
            let (expected, found) = (self.next as usize, first as usize);
            return Err(TextProblem::Numbering { expected, found });
        }
        let next = last.checked_add(1).filter(|next| *next > first);
        let Some(next) = next else { return Err(c.expected("values in order")) };
        let results = next - first;
        c.expect("=")?;
        let op = ops::op(c, results)?;
        self.next = next;
        self.circuit.nodes.push(Node { op, first: ValueId(first), results, origin: self.layer });
        Ok(())
    }
}

fn once<T>(what: &'static str, place: &mut Option<T>, value: T) -> Result<(), TextProblem> {
    if place.replace(value).is_some() { Err(TextProblem::Repeated(what)) } else { Ok(()) }
}

fn entry<'a, T>(
    c: &mut Cursor<'a>,
    letter: &str,
    table: &mut Vec<T>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, TextProblem>,
) -> Result<(), TextProblem> {
    let found = c.numbered(letter)? as usize;
    if found != table.len() {
        return Err(TextProblem::Numbering { expected: table.len(), found });
    }
    table.push(read(c)?);
    Ok(())
}

fn parameters(c: &mut Cursor<'_>) -> Result<Parameters, TextProblem> {
    c.expect("log_n")?;
    let log_n = c.number()?;
    c.expect("log_scale")?;
    let log_scale = c.number()?;
    c.expect("chain")?;
    let chain = c.bracketed(Cursor::number)?;
    let raised = if c.eat("raised") { c.bracketed(Cursor::number)? } else { vec![] };
    c.expect("special")?;
    Ok(Parameters { log_n, chain, raised, special: c.bracketed(Cursor::number)?, log_scale })
}

fn bootstrap(c: &mut Cursor<'_>) -> Result<BootstrapRequest, TextProblem> {
    let mut request = BootstrapRequest::default();
    for (name, place) in request_fields(&mut request) {
        c.expect(name)?;
        *place = c.number()?;
    }
    Ok(request)
}

fn forecast(c: &mut Cursor<'_>) -> Result<Forecast, TextProblem> {
    c.expect("seconds")?;
    let seconds = c.float()?;
    let mut bytes = |what| {
        c.expect(what)?;
        c.number()
    };
    let (memory_bytes, key_bytes) = (bytes("memory")?, bytes("keys")?);
    let (upload_bytes, download_bytes) = (bytes("upload")?, bytes("download")?);
    c.expect("precision")?;
    let precision_bits = c.float()?;
    c.expect("public_key_precision")?;
    let public_key_precision_bits = c.float()?;
    c.expect("profile")?;
    let profile = if c.eat("none") { None } else { Some(c.digest()?) };
    Ok(Forecast {
        seconds,
        memory_bytes,
        key_bytes,
        upload_bytes,
        download_bytes,
        precision_bits,
        public_key_precision_bits,
        profile,
    })
}

fn key(c: &mut Cursor<'_>) -> Result<KeySpec, TextProblem> {
    let kind = if c.eat("rotation") {
        KeyKind::Rotation(c.number()?)
    } else {
        let kinds = [
            ("relinearization", KeyKind::Relinearization),
            ("conjugation", KeyKind::Conjugation),
            ("encapsulation", KeyKind::Encapsulation),
            ("decapsulation", KeyKind::Decapsulation),
        ];
        c.choice("relinearization, rotation, conjugation, encapsulation or decapsulation", &kinds)?
    };
    c.expect("level")?;
    let level = Level(c.number()?);
    c.expect("gadget")?;
    let digit_limbs = c.number()?;
    c.expect("+")?;
    Ok(KeySpec { kind, level, gadget: Gadget { digit_limbs, special_limbs: c.number()? } })
}

type Weights<'a> = BTreeMap<(&'a str, &'a [u32], String), &'a Tensor>;

fn tensor(c: &mut Cursor<'_>, weights: &Weights<'_>) -> Result<Tensor, TextProblem> {
    let name = c.string()?;
    let shape: Vec<u32> = c.bracketed(Cursor::number)?;
    if c.eat("values") {
        let mut values = vec![];
        while !c.done() {
            values.push(c.float::<f32>()?);
        }
        return Ok(Tensor { name, shape, values });
    }
    c.expect("blake3")?;
    let digest = c.word().to_owned();
    match weights.get(&(name.as_str(), &shape[..], digest.clone())) {
        Some(tensor) => {
            c.take_word();
            Ok((*tensor).clone())
        }
        None => Err(TextProblem::UnknownTensor { name, shape, digest }),
    }
}

fn layout(c: &mut Cursor<'_>) -> Result<Layout, TextProblem> {
    let shape = c.bracketed(Cursor::number)?;
    c.expect("in")?;
    let ciphertexts = c.number()?;
    c.expect("x")?;
    let slots = c.number()?;
    c.expect("digits")?;
    let axes = c.until("copies", Cursor::digits)?;
    let replicas = c.digits()?;
    c.expect("gaps")?;
    let gap = c.choice("zero or junk", &[("zero", Gap::Zero), ("junk", Gap::Junk)])?;
    let batch = if c.eat("batch") { c.number()? } else { 1 };
    Ok(Layout { shape, slots, ciphertexts, axes, replicas, gap, batch })
}

fn layout_id(c: &mut Cursor<'_>) -> Result<LayoutId, TextProblem> {
    c.numbered("l").map(LayoutId)
}

fn tensor_id(c: &mut Cursor<'_>, before: &str) -> Result<TensorId, TextProblem> {
    c.expect(before)?;
    c.numbered("t").map(TensorId)
}

fn map(c: &mut Cursor<'_>) -> Result<LinearMap, TextProblem> {
    let input = layout_id(c)?;
    c.expect("->")?;
    let output = layout_id(c)?;
    c.expect("times")?;
    let scale = c.float()?;
    c.expect("fold")?;
    Ok(LinearMap { operators: vec![], scale, input, output, fold: c.digits()? })
}

fn operator(c: &mut Cursor<'_>) -> Result<Operator, TextProblem> {
    let start = c.clone();
    match c.take_word() {
        "convolution" => {
            let (input, window) = windowed(c)?;
            c.expect("groups")?;
            let groups = c.number()?;
            Ok(Operator::Convolution { input, window, groups, weight: tensor_id(c, "weight")? })
        }
        "average_pool" => {
            let (input, window) = windowed(c)?;
            c.expect("padding")?;
            let count_padding =
                c.choice("counted or uncounted", &[("counted", true), ("uncounted", false)])?;
            Ok(Operator::AveragePool { input, window, count_padding })
        }
        "dense" => Ok(Operator::Dense { weight: tensor_id(c, "weight")? }),
        "view" => {
            let input = c.bracketed(Cursor::number)?;
            c.expect("axes")?;
            let mut axes = vec![];
            while !c.done() {
                axes.push(view_axis(c)?);
            }
            Ok(Operator::View { input, axes })
        }
        "axis_scale" => {
            let shape = c.bracketed(Cursor::number)?;
            c.expect("axis")?;
            let axis = c.number()?;
            Ok(Operator::AxisScale { shape, axis, factor: tensor_id(c, "factor")? })
        }
        "element_scale" => Ok(Operator::ElementScale { factor: tensor_id(c, "factor")? }),
        _ => {
            *c = start;
            Err(c.expected("a table entry, an operator or a value"))
        }
    }
}

fn view_axis(c: &mut Cursor<'_>) -> Result<ViewAxis, TextProblem> {
    let extent = c.number()?;
    c.expect("@")?;
    let input_axis = if c.eat("-") { None } else { Some(c.number()?) };
    c.expect(":")?;
    let start = c.signed()?;
    c.expect(":")?;
    Ok(ViewAxis { extent, input_axis, start, step: c.signed()? })
}

/// What a window slides over, and the window: sizes of an image have no depth.
fn windowed(c: &mut Cursor<'_>) -> Result<([u32; 4], Window), TextProblem> {
    let start = c.clone();
    let (input, volume) = match c.bracketed(Cursor::number)?[..] {
        [channels, height, width] => ([channels, 1, height, width], false),
        [channels, depth, height, width] => ([channels, depth, height, width], true),
        _ => return Err(start.expected("three or four sizes")),
    };
    let sizes = |c: &mut Cursor<'_>, flat| {
        let depth = if volume { c.number_before_x()? } else { flat };
        let [height, width] = c.pair()?;
        Ok([depth, height, width])
    };
    c.expect("kernel")?;
    let kernel = sizes(c, 1)?;
    c.expect("stride")?;
    let stride = sizes(c, 1)?;
    c.expect("dilation")?;
    let dilation = sizes(c, 1)?;
    c.expect("pad")?;
    let window = Window { kernel, stride, dilation, pad_before: sizes(c, 0)?, pad_after: sizes(c, 0)? };
    Ok((input, window))
}

fn range(c: &mut Cursor<'_>) -> Result<[f64; 2], TextProblem> {
    c.array("a range of two numbers", Cursor::float)
}

fn input(c: &mut Cursor<'_>) -> Result<InputSpec, TextProblem> {
    let name = c.string()?;
    c.expect("in")?;
    let layout = layout_id(c)?;
    c.expect("range")?;
    let range = range(c)?;
    c.expect("scale")?;
    let scale = c.float()?;
    c.expect("mean")?;
    let mean = c.bracketed(Cursor::float)?;
    c.expect("std")?;
    let preprocessing = Preprocessing { scale, mean, std: c.bracketed(Cursor::float)? };
    Ok(InputSpec { name, layout, preprocessing, range })
}

fn output(c: &mut Cursor<'_>) -> Result<OutputSpec, TextProblem> {
    let name = c.string()?;
    c.expect("in")?;
    let layout = layout_id(c)?;
    c.expect("values")?;
    let values = c.bracketed(value)?;
    c.expect("times")?;
    let scale = c.float()?;
    c.expect("range")?;
    let range = range(c)?;
    c.expect("labels")?;
    let labels = c.bracketed(Cursor::string)?;
    c.expect("steps")?;
    let steps = [("softmax", ClientStep::Softmax), ("argmax", ClientStep::ArgMax)];
    let client_steps = c.bracketed(|c| c.choice("softmax or argmax", &steps))?;
    Ok(OutputSpec { name, layout, values, scale, range, labels, client_steps })
}

fn value(c: &mut Cursor<'_>) -> Result<ValueId, TextProblem> {
    c.numbered("v").map(ValueId)
}
