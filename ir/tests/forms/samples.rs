//! Circuits to test with: one that holds every operation, and random ones.

use cipherloom_ir::scheme::{ChainRequest, Gadget, KeyKind, Level, Parameters, SecurityPolicy};
use cipherloom_ir::*;

pub const GADGET: Gadget = Gadget { digit_limbs: 1, special_limbs: 1 };
pub const SLOTS: u32 = 4096;

pub fn parameters() -> Parameters {
    let request = ChainRequest { log_n: 13, log_scale: 30, base_bits: 40, levels: 4 };
    request.parameters(1).expect("there are such primes")
}

pub fn verify(circuit: Circuit) -> Result<Verified, VerifyError> {
    Verified::new(circuit, &SecurityPolicy::standard_128())
}

fn digit(extent: u32, stride: u32) -> Digit {
    Digit { extent, stride }
}

pub fn image_layout() -> Layout {
    Layout {
        shape: vec![1, 4, 4],
        slots: SLOTS,
        ciphertexts: 1,
        axes: vec![vec![digit(1, 16)], vec![digit(4, 4)], vec![digit(4, 1)]],
        replicas: vec![digit(2, 1024)],
        gap: Gap::Zero,
        batch: 1,
    }
}

pub fn vector_layout(size: u32, gap: Gap) -> Layout {
    let axes = vec![vec![digit(size, 1)]];
    Layout { shape: vec![size], slots: SLOTS, ciphertexts: 1, axes, replicas: vec![], gap, batch: 1 }
}

/// A layout of two ciphertexts.
pub fn wide_layout() -> Layout {
    let axes = vec![vec![digit(2, SLOTS), digit(2, 1)]];
    Layout { shape: vec![4], slots: SLOTS, ciphertexts: 2, axes, replicas: vec![], gap: Gap::Junk, batch: 1 }
}

pub fn input_spec(name: &str, layout: LayoutId) -> InputSpec {
    let preprocessing = Preprocessing { scale: 1.0 / 255.0, mean: vec![0.1307], std: vec![0.3081] };
    InputSpec { name: name.into(), layout, preprocessing, range: [-0.5, 2.9] }
}

fn tensor(name: &str, shape: &[u32]) -> Tensor {
    let count = shape.iter().product::<u32>();
    let values = (0..count).map(|k| (k * 37 % 64) as f32 / 64.0 - 0.4).collect();
    Tensor { name: name.into(), shape: shape.to_vec(), values }
}

fn unit_window() -> Window {
    Window { kernel: [1, 2, 2], stride: [1, 2, 2], ..Window::POINT }
}

/// Maps with every kind of operator, all from the image (16 elements) to a vector of 4.
pub fn all_operators(builder: &mut CircuitBuilder, input: LayoutId, output: LayoutId) -> Vec<MapId> {
    let conv = builder.tensor(tensor("conv.weight", &[1, 1, 2, 2]));
    let dense = builder.tensor(tensor("dense.weight", &[4, 16]));
    let scale = builder.tensor(tensor("norm.scale", &[4]));
    let element = builder.tensor(tensor("mask", &[4]));
    let lists = [
        vec![Operator::Convolution { input: [1, 1, 4, 4], window: unit_window(), groups: 1, weight: conv }],
        vec![Operator::AveragePool { input: [1, 1, 4, 4], window: unit_window(), count_padding: true }],
        vec![
            Operator::Dense { weight: dense },
            Operator::AxisScale { shape: vec![4], axis: 0, factor: scale },
            Operator::ElementScale { factor: element },
        ],
        vec![Operator::View {
            input: vec![4, 4],
            axes: vec![
                ViewAxis { extent: 1, input_axis: None, start: 0, step: 0 },
                ViewAxis { extent: 4, input_axis: Some(1), start: -1, step: 1 },
            ],
        }],
    ];
    let map = |operators| LinearMap { operators, scale: 0.5, input, output, fold: vec![digit(2, 256)] };
    lists.into_iter().map(|operators| builder.map(map(operators))).collect()
}

/// A circuit with every operation that a circuit that runs may hold.
pub fn sample() -> Circuit {
    build_sample().expect("the sample obeys the laws")
}

fn build_sample() -> Result<Circuit, LawError> {
    let mut b = CircuitBuilder::new("sample \"net\"", parameters())?;
    let image = b.layout(image_layout());
    let vector = b.layout(vector_layout(4, Gap::Junk));
    let wide = b.layout(wide_layout());
    let maps = all_operators(&mut b, image, vector);
    let spread =
        b.map(LinearMap { operators: vec![], scale: 1.0, input: vector, output: wide, fold: vec![] });
    b.origin("conv/1");
    // Row o of the image with its right neighbours, and with the row two below: diagonals 0, 1, 2 and 0, 8.
    let window = Window { stride: [1, 4, 1], ..unit_window() };
    let taps = b.tensor(tensor("taps", &[1, 1, 1, 3]));
    let row = Window { kernel: [1, 1, 3], pad_after: [0, 0, 2], ..window };
    let row = Operator::Convolution { input: [1, 1, 4, 4], window: row, groups: 1, weight: taps };
    let below = Window { kernel: [1, 2, 1], dilation: [1, 2, 1], ..window };
    let below = Operator::AveragePool { input: [1, 1, 4, 4], window: below, count_padding: true };
    let [row, below] = [row, below].map(|operator| {
        let fold = vec![digit(2, 256)];
        b.map(LinearMap { operators: vec![operator], scale: 0.5, input: image, output: vector, fold })
    });
    let x = b.input(input_spec("image", image))?[0];
    let top = b.level(x);
    let step = |b: &mut CircuitBuilder, s: u32| b.keyed_step(Step(s), top, GADGET);
    let (b0, b1, b2, g8) = (step(&mut b, 0), step(&mut b, 1), step(&mut b, 2), step(&mut b, 8));
    let product = |output, giant, source, baby| Product { output, giant, source, input: 0, baby };
    let first = [product(0, 0, 0, 0), product(0, 0, 0, 1), product(0, 0, 0, 2), product(0, 0, 1, 0)];
    let plan = LinearPlan {
        sources: vec![Source { map: row, values: vec![x] }, Source { map: below, values: vec![x] }],
        babies: vec![b0, b1, b2],
        giants: vec![b0, g8],
        products: [&first[..], &[product(0, 1, 1, 0)]].concat(),
        pairing: None,
        outputs: 1,
        hoisting: Hoisting::Double,
        rescale: true,
    };
    let y = b.linear(plan)?[0];
    let bias = b.tensor(tensor("bias", &[4]));
    b.origin("square");
    let (scaled, turned, dropped) = middle(&mut b, x, y, (bias, vector), maps[3])?;
    b.origin("out");
    let plan = LinearPlan {
        sources: vec![Source { map: spread, values: vec![scaled] }],
        babies: vec![b0, b2],
        giants: vec![b0],
        products: vec![product(0, 0, 0, 0), product(1, 0, 0, 1)],
        pairing: None,
        outputs: 2,
        hoisting: Hoisting::Single,
        rescale: false,
    };
    let pair = b.linear(plan)?;
    let pair: Vec<ValueId> = pair.into_iter().map(|v| b.rescale(v)).collect::<Result<_, _>>()?;
    let labels = ["a", "b;", "\"c\"", "Ω\n"].map(str::to_owned).to_vec();
    b.output(OutputSpec { labels, ..sample_output("logits", vector, vec![turned], &[ClientStep::Softmax]) })?;
    b.output(sample_output("wide", wide, pair, &[]))?;
    b.output(sample_output("low", vector, vec![dropped], &[ClientStep::ArgMax]))?;
    b.certificate(RangeCertificate { tensor: "relu".into(), range: [0.0, 4.25] });
    b.forecast(Forecast {
        seconds: 0.015,
        memory_bytes: 1 << 33,
        precision_bits: 11.5,
        profile: Some(Digest::of(b"a profile")),
        ..Forecast::default()
    });
    Ok(b.finish())
}

fn sample_output(name: &str, layout: LayoutId, values: Vec<ValueId>, steps: &[ClientStep]) -> OutputSpec {
    OutputSpec {
        name: name.into(),
        layout,
        values,
        scale: 2.0,
        range: [-8.0, 1e30],
        labels: vec![],
        client_steps: steps.to_vec(),
    }
}

/// The operations between the sample's two plans.
fn middle(
    b: &mut CircuitBuilder,
    x: ValueId,
    y: ValueId,
    (bias, layout): (TensorId, LayoutId),
    map: MapId,
) -> Result<(ValueId, ValueId, ValueId), LawError> {
    let y = b.add_plain(y, Plain::Tensor { tensor: bias, layout, ciphertext: 0, scale: -1.5 })?;
    let square = b.mul(y, y)?;
    let square = b.relinearize_rescale(square, GADGET)?;
    let sum = b.sum_of_products(vec![(y, y), (y, y)])?;
    let sum = b.relinearize(sum, GADGET)?;
    let sum = b.rescale(sum)?;
    let both = b.add(square, sum)?;
    let scaled = b.mul_scalar(both, 0.25)?;
    let scaled = b.rescale(scaled)?;
    let diagonal = Plain::Diagonal { map, output: 0, input: 0, step: Step(1), giant: Step(0) };
    let masked = b.mul_plain(scaled, diagonal)?;
    let masked = b.rescale(masked)?;
    let adjusted = b.adjust(x, b.level(masked))?;
    let rest = b.sub(masked, adjusted)?;
    let rest = b.neg(rest)?;
    let turned = b.rotate(rest, Step(4095), GADGET)?;
    let turned = b.conjugate(turned, GADGET)?;
    let turned = b.add_plain(turned, Plain::Constant(-0.0))?;
    let dropped = b.drop_level(both, Level(1))?;
    let dropped = b.mul_scalar(dropped, 1e-3)?;
    let dropped = b.rescale(dropped)?;
    Ok((scaled, turned, dropped))
}

/// A draft with every exact function.
pub fn draft() -> Circuit {
    let build = || -> Result<Circuit, LawError> {
        let mut b = CircuitBuilder::new("draft", parameters())?;
        let layout = b.layout(image_layout());
        let mut x = b.input(input_spec("image", layout))?[0];
        use Activation::*;
        for function in [Relu, Sigmoid, Tanh, Silu, Gelu, Softplus, LeakyRelu(0.01), Clip(-1.0, 6.0)] {
            x = b.activation(x, function)?;
        }
        let (scale, range) = (1.0, [0.0, 1.0]);
        let (labels, client_steps, name) = (vec![], vec![], "out".to_owned());
        b.output(OutputSpec { name, layout, values: vec![x], scale, range, labels, client_steps })?;
        Ok(b.finish())
    };
    build().expect("the draft obeys the laws")
}

/// A draft whose table of maps has windows over volumes: 16 elements to a vector of 4.
pub fn volumes() -> Circuit {
    let build = || -> Result<Circuit, LawError> {
        let mut b = CircuitBuilder::new("volumes", parameters())?;
        let input = b.layout(image_layout().reshaped(&[1, 4, 2, 2]).expect("16 elements"));
        let output = b.layout(vector_layout(4, Gap::Junk));
        let weight = b.tensor(tensor("conv3.weight", &[1, 1, 2, 1, 2]));
        let deep = Window { kernel: [2, 1, 2], stride: [2, 1, 1], ..Window::POINT };
        // Flat, over two planes.
        let flat = Window { kernel: [1, 2, 2], stride: [1, 2, 2], ..Window::POINT };
        for operator in [
            Operator::Convolution { input: [1, 4, 2, 2], window: deep, groups: 1, weight },
            Operator::AveragePool { input: [2, 2, 2, 2], window: flat, count_padding: true },
        ] {
            b.map(LinearMap { operators: vec![operator], scale: 1.0, input, output, fold: vec![] });
        }
        let x = b.input(input_spec("volume", input))?;
        b.output(sample_output("out", input, x, &[]))?;
        Ok(b.finish())
    };
    build().expect("the draft obeys the laws")
}

/// A circuit from a list of choices: each pair of numbers picks an operation and its operands; what breaks a law
/// is left out.
pub fn from_choices(choices: &[(u8, u16)]) -> Circuit {
    let build = || -> Result<Circuit, LawError> {
        let mut b = CircuitBuilder::new("random", parameters())?;
        let layout = b.layout(vector_layout(4, Gap::Zero));
        let identity =
            b.map(LinearMap { operators: vec![], scale: 1.0, input: layout, output: layout, fold: vec![] });
        let mut values = b.input(input_spec("x", layout))?;
        for &(kind, pick) in choices {
            b.origin(["first", "second", "third"][usize::from(kind / 8) % 3]);
            values.extend(choose(&mut b, kind, pick, &values, identity).unwrap_or_default());
        }
        let canonical = |v: &&ValueId| {
            b.degree(**v) == Degree::One && *b.scale(**v) == scheme::Scale::canonical(b.level(**v))
        };
        let last = *values.iter().rev().find(canonical).expect("the input is canonical");
        let (scale, range) = (1.0, [-1.0, 1.0]);
        let (labels, client_steps, name) = (vec![], vec![], "y".to_owned());
        b.output(OutputSpec { name, layout, values: vec![last], scale, range, labels, client_steps })?;
        Ok(b.finish())
    };
    build().expect("only legal operations are taken")
}

fn choose(
    b: &mut CircuitBuilder,
    kind: u8,
    pick: u16,
    values: &[ValueId],
    identity: MapId,
) -> Result<Vec<ValueId>, LawError> {
    let recent = &values[values.len().saturating_sub(4)..];
    let x = recent[usize::from(pick) % recent.len()];
    let y = recent[usize::from(pick / 7) % recent.len()];
    let number = f64::from(pick) / 333.0 - 60.0;
    let one = match kind % 16 {
        0 => b.add(x, y)?,
        1 => b.sub(x, y)?,
        2 => b.neg(x)?,
        3 => b.add_plain(x, Plain::Constant(number))?,
        4 => b.mul_plain(x, Plain::Constant(number))?,
        5 => b.mul_scalar(x, number)?,
        6 => b.mul(x, y)?,
        7 => b.sum_of_products(vec![(x, y), (y, x)])?,
        8 => b.relinearize(x, GADGET)?,
        9 | 10 => b.rescale(x)?,
        11 => b.relinearize_rescale(x, GADGET)?,
        12 => b.adjust(x, Level(u32::from(pick % 4)))?,
        13 => b.rotate(x, Step(u32::from(pick) % SLOTS), GADGET)?,
        14 => b.drop_level(x, Level(u32::from(pick % 4)))?,
        _ => return random_plan(b, pick, x, identity),
    };
    Ok(vec![one])
}

fn random_plan(b: &mut CircuitBuilder, pick: u16, x: ValueId, map: MapId) -> Result<Vec<ValueId>, LawError> {
    let level = b.level(x);
    // The one diagonal of the identity, as a rotation there and back.
    let there = u32::from(pick) % SLOTS;
    let [babies, giants] =
        [there, (SLOTS - there) % SLOTS].map(|s| vec![b.keyed_step(Step(s), level, GADGET)]);
    b.linear(LinearPlan {
        sources: vec![Source { map, values: vec![x] }],
        babies,
        giants,
        products: vec![Product { output: 0, giant: 0, source: 0, input: 0, baby: 0 }],
        pairing: None,
        outputs: 1,
        hoisting: if pick.is_multiple_of(2) { Hoisting::Single } else { Hoisting::Double },
        rescale: !pick.is_multiple_of(3),
    })
}

/// Kinds of the keys of a circuit.
pub fn key_kinds(circuit: &Circuit) -> Vec<KeyKind> {
    circuit.keys.iter().map(|k| k.kind).collect()
}
