//! Circuits in the exact and the trace meaning.

use crate::random::Random;
use cipherloom_ir::scheme::noise::{NoiseModel, SlotEstimate, TAIL_DEVIATIONS};
use cipherloom_ir::scheme::{ChainRequest, Gadget, Level, Parameters, Scale};
use cipherloom_ir::{
    Activation, Circuit, CircuitBuilder, Digit, Exact, Gap, Hoisting, InputSpec, KeyedStep, Layout, LayoutId,
    LinearMap, LinearPlan, Magnitudes, MapId, MapNorms, OutputSpec, Plain, Preprocessing, Product, Source,
    Step, Support, Trace, ValueId, WorstError, expand_plans, output_bounds, value_types,
};
use proptest::prelude::*;

pub const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

pub fn parameters(log_n: u32) -> Parameters {
    ChainRequest { log_n, log_scale: 40, base_bits: 50, levels: 4 }.parameters(2).unwrap()
}

pub fn input(layout: LayoutId) -> InputSpec {
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    InputSpec { name: "x".into(), layout, preprocessing, range: [-1.0, 1.0] }
}

pub fn output(layout: LayoutId, values: Vec<ValueId>) -> OutputSpec {
    OutputSpec {
        name: "y".into(),
        layout,
        values,
        scale: 1.0,
        range: [0.0, 0.0],
        labels: vec![],
        client_steps: vec![],
    }
}

/// A baby-step giant-step plan over all structural diagonals, `babies` baby steps.
fn plan(
    builder: &mut CircuitBuilder,
    map: MapId,
    values: Vec<ValueId>,
    babies: u32,
    rescale: bool,
) -> LinearPlan {
    let circuit = builder.circuit();
    let support = Support::of_map(circuit.map(map), &circuit.layouts, &circuit.tensors).unwrap();
    let outputs = circuit.layout(circuit.map(map).output).ciphertexts;
    let mut named: Vec<[u32; 4]> = vec![];
    for ((output, input), steps) in &support.0 {
        named.extend(steps.iter().map(|s| [*output, s.0 / babies * babies, *input, s.0 % babies]));
    }
    let distinct = |part: usize| {
        let mut all: Vec<u32> = named.iter().map(|n| n[part]).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (giant_steps, baby_steps) = (distinct(1), distinct(3));
    let at = |steps: &[u32], step: u32| steps.binary_search(&step).unwrap() as u32;
    let mut products: Vec<Product> = named
        .iter()
        .map(|[output, giant, input, baby]| Product {
            output: *output,
            giant: at(&giant_steps, *giant),
            source: 0,
            input: *input,
            baby: at(&baby_steps, *baby),
        })
        .collect();
    products.sort_unstable();
    let level = builder.level(values[0]);
    let mut keyed =
        |steps: Vec<u32>| steps.into_iter().map(|s| builder.keyed_step(Step(s), level, GADGET)).collect();
    let (babies, giants) = (keyed(baby_steps), keyed(giant_steps));
    let sources = vec![Source { map, values }];
    LinearPlan {
        sources,
        babies,
        giants,
        products,
        pairing: None,
        outputs,
        hoisting: Hoisting::Double,
        rescale,
    }
}

/// One random map as a plan, in a circuit of its own; with the map.
pub fn one_plan(seed: u64) -> Option<(Circuit, LinearMap, Random, Vec<u32>)> {
    let mut random = Random(seed);
    let shape = match random.chance(3) {
        true => vec![random.pick(1, 3), random.pick(1, 3), random.pick(1, 4), random.pick(1, 4)],
        false => vec![random.pick(1, 4), random.pick(1, 6), random.pick(1, 6)],
    };
    let (operators, tensors) = random.operators(&shape);
    let now = operators.iter().fold(shape.to_vec(), |now, o| o.output_shape(&now, &tensors).unwrap());
    let log_n = random.pick(8, 10);
    let mut builder = CircuitBuilder::new("one", parameters(log_n)).unwrap();
    let slots = 1 << (log_n - 1);
    let (from, to) = (random.layout(&shape, slots, true), random.layout(&now, slots, true));
    let (from, to) = (builder.layout(from), builder.layout(to));
    // Interning keeps distinct random tensors in order, so ids stay.
    tensors.into_iter().enumerate().for_each(|(k, t)| assert_eq!(builder.tensor(t).0 as usize, k));
    let map = LinearMap { operators, scale: 0.25, input: from, output: to, fold: vec![] };
    let id = builder.map(map.clone());
    let values = builder.input(input(from)).unwrap();
    let (babies, rescale) = (random.pick(1, 16), random.chance(2));
    let plan = plan(&mut builder, id, values, babies, rescale);
    let covered = (0..plan.outputs).all(|o| plan.products.iter().any(|p| p.output == o));
    if !covered {
        return None; // A padded view can leave an output ciphertext without any product.
    }
    let mut values = builder.linear(plan).unwrap();
    if !rescale {
        values.iter_mut().for_each(|v| *v = builder.rescale(*v).unwrap());
    }
    builder.output(output(to, values)).unwrap();
    Some((builder.finish(), map, random, shape))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_plan_is_its_map_and_its_expansion(seed in any::<u64>()) {
        let Some((circuit, map, mut random, shape)) = one_plan(seed) else { return Ok(()) };
        let x: Vec<f64> = (0..shape.iter().product()).map(|_| random.real()).collect();
        let wanted = map.placed(&circuit.layouts).unwrap().rows(&circuit.tensors).unwrap().apply(&x);
        let found = Exact::new(&circuit).unwrap().run(&circuit, &[&x]).unwrap();
        let simple = expand_plans(&circuit);
        prop_assert!(value_types(&simple).is_ok());
        let expanded = Exact::new(&simple).unwrap().run(&simple, &[&x]).unwrap();
        for (w, (f, e)) in wanted.iter().zip(found[0].iter().zip(&expanded[0])) {
            prop_assert!((w - f).abs() < 1e-9 && (w - e).abs() < 1e-9, "seed {}: {} {} {}", seed, w, f, e);
        }
        let norms = MapNorms::of(&circuit).unwrap();
        let traced = Trace::new(&circuit, &norms).values(&circuit).unwrap();
        let last = traced.last().unwrap();
        prop_assert_eq!(&last.kind.scale, &Scale::canonical(Level(3)));
        prop_assert!(wanted.iter().all(|w| w.abs() <= last.slots.magnitude + 1e-9));
        prop_assert!(last.slots.noise > 0.0 && last.slots.noise < 1e-3);
    }
}

pub fn vector_layout(slots: u32) -> Layout {
    let axes = vec![vec![Digit { extent: slots, stride: 1 }]];
    Layout { shape: vec![slots], slots, ciphertexts: 1, axes, replicas: vec![], gap: Gap::Zero, batch: 1 }
}

/// x² · 0.5 − x (adjusted) + 3, then |·| capped by an activation.
fn polynomial() -> Circuit {
    let mut b = CircuitBuilder::new("p", parameters(8)).unwrap();
    let layout = b.layout(vector_layout(128));
    let x = b.input(input(layout)).unwrap()[0];
    let square = b.mul(x, x).unwrap();
    let square = b.relinearize_rescale(square, GADGET).unwrap();
    let half = b.mul_scalar(square, 0.5).unwrap();
    let half = b.rescale(half).unwrap();
    let low = b.adjust(x, Level(2)).unwrap();
    let turned = b.rotate(low, Step(3), GADGET).unwrap();
    let sum = b.sub(half, turned).unwrap();
    let sum = b.add_plain(sum, Plain::Constant(3.0)).unwrap();
    let sum = b.activation(sum, Activation::Clip(0.0, 3.25)).unwrap();
    b.output(OutputSpec { scale: 2.0, ..output(layout, vec![sum]) }).unwrap();
    b.finish()
}

#[test]
fn simple_ops_mean_what_the_table_says() {
    let circuit = polynomial();
    let x: Vec<f64> = (0..128).map(|i| f64::from(i) / 64.0 - 1.0).collect();
    let exact = Exact::new(&circuit).unwrap();
    let y = &exact.run(&circuit, &[&x]).unwrap()[0];
    for s in 0..128 {
        let wanted = 2.0 * (x[s] * x[s] * 0.5 - x[(s + 3) % 128] + 3.0).clamp(0.0, 3.25);
        assert!((y[s] - wanted).abs() < 1e-12, "slot {s}");
    }
    assert!(exact.run(&circuit, &[&x[1..]]).is_err());
    assert!(exact.run::<Vec<f64>>(&circuit, &[]).is_err());
    let batch = exact.run_batch(&circuit, &[vec![x.clone()], vec![x.clone()]]).unwrap();
    assert_eq!(batch[1][0], *y);
}

#[test]
fn the_trace_follows_the_formulas() {
    let circuit = polynomial();
    let norms = MapNorms::of(&circuit).unwrap();
    let values = Trace::new(&circuit, &norms).values(&circuit).unwrap();
    let noise = NoiseModel::new(&circuit.parameters);
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}");
    let at = |level| Scale::canonical(Level(level)).value(&circuit.parameters);
    let fresh = SlotEstimate::bounded(1.0, noise.fresh_secret_key() / at(4));
    assert_eq!(values[0].slots, fresh);
    let square = fresh.squared();
    assert_eq!(values[1].slots, square);
    let switched = noise.key_switch(GADGET, Level(4)).inner / (at(4) * at(4));
    let rounded = noise.division(GADGET.special_limbs + 1) / at(3);
    close(values[2].slots.noise, (square.noise.powi(2) + switched.powi(2) + rounded.powi(2)).sqrt());
    assert_eq!(values[2].kind.level, Level(3));
    assert_eq!(values.last().unwrap().kind.scale, Scale::canonical(Level(2)));
    assert_eq!(values.last().unwrap().slots.magnitude, 3.25);

    let exact = Exact::new(&circuit).unwrap();
    let half = vec![vec![vec![0.5; 128]]];
    let measured = Magnitudes::measure(&circuit, &exact, &half, 1.0).unwrap();
    assert_eq!((measured.largest(ValueId(0)), measured.largest(ValueId(1))), (0.5, 0.25));
    let trace = Trace::new(&circuit, &norms).measured(&measured);
    let with = trace.values(&circuit).unwrap();
    assert!(with[1].slots.noise < values[1].slots.noise && with[1].slots.magnitude == 0.25);
    let bits = trace.precision_bits(&circuit).unwrap();
    assert!((25.0..35.0).contains(&bits), "{bits} bits");
}

/// Input, square with relinearisation and rescale: by hand from the formulas.
#[test]
fn the_worst_case_follows_the_formulas() {
    let mut b = CircuitBuilder::new("w", parameters(8)).unwrap();
    let layout = b.layout(vector_layout(128));
    let x = b.input(input(layout)).unwrap()[0];
    let square = b.mul(x, x).unwrap();
    let square = b.relinearize_rescale(square, GADGET).unwrap();
    b.output(OutputSpec { scale: -3.0, ..output(layout, vec![square]) }).unwrap();
    let circuit = b.finish();
    let found = output_bounds(&circuit).unwrap()[0].error;
    let noise = NoiseModel::worst_case(&circuit.parameters);
    let at = |level| Scale::canonical(Level(level)).value(&circuit.parameters);
    let radius = TAIL_DEVIATIONS * 2f64.sqrt();
    let switched = noise.key_switch(GADGET, Level(4)).inner / (at(4) * at(4));
    let rounded = noise.division(GADGET.special_limbs + 1) / at(3);
    for (found, fresh) in
        [(found.secret_key, noise.fresh_secret_key()), (found.public_key, noise.fresh_public_key())]
    {
        let e = radius * fresh / at(4);
        let wanted = 3.0 * (2.0 * e + e * e + radius * switched.hypot(rounded));
        assert!((found / wanted - 1.0).abs() < 1e-9, "{found} {wanted}");
    }
    assert!(output_bounds(&polynomial()).is_err(), "a draft has no encrypted meaning");
}

/// A value rotated and added to itself: what each slot sums comes from different slots of one error.
#[test]
fn the_worst_case_keeps_rotated_errors_apart() {
    let sum_of = |step| {
        let mut b = CircuitBuilder::new("r", parameters(8)).unwrap();
        let layout = b.layout(vector_layout(128));
        let x = b.input(input(layout)).unwrap()[0];
        let turned = if step == 0 { x } else { b.rotate(x, Step(step), GADGET).unwrap() };
        let sum = b.add(x, turned).unwrap();
        b.output(output(layout, vec![sum])).unwrap();
        let circuit = b.finish();
        let switch = NoiseModel::worst_case(&circuit.parameters).key_switch(GADGET, Level(4)).total();
        let scale = Scale::canonical(Level(4)).value(&circuit.parameters);
        (output_bounds(&circuit).unwrap()[0].error.public_key, switch / scale * TAIL_DEVIATIONS * 2f64.sqrt())
    };
    let ((twice, _), (apart, switch)) = (sum_of(0), sum_of(5));
    let one = twice / 2.0;
    assert!((apart - (2.0 * one * one + switch * switch).sqrt()).abs() < 1e-9 * one, "{apart} {one}");
}

/// The modulus at level 0 has 50 bits, the scale about 40: values up to some 500 fit, on average over the slots.
#[test]
fn an_output_that_may_leave_the_modulus_has_no_bound() {
    let doubled = |times: u32, back: bool| {
        let mut b = CircuitBuilder::new("d", parameters(8)).unwrap();
        let layout = b.layout(vector_layout(128));
        let x = b.input(input(layout)).unwrap()[0];
        let x = b.adjust(x, Level(0)).unwrap();
        let large = (0..times).fold(x, |y, _| b.add(y, y).unwrap());
        let y = if back { b.sub(large, large).unwrap() } else { large };
        b.output(output(layout, vec![y])).unwrap();
        output_bounds(&b.finish()).unwrap()[0]
    };
    let (small, large) = (doubled(8, false), doubled(12, false));
    assert!((1.0..1.01).contains(&(small.reach / 256.0)) && small.fits(), "{small:?}");
    assert_eq!(small.proved(), small.error);
    assert!(!large.fits() && large.error.secret_key.is_finite(), "{large:?}");
    assert_eq!(large.proved().secret_key, f64::INFINITY);
    let json = serde_json::to_string(&large.proved()).unwrap();
    assert_eq!(json, r#"{"secret_key":null,"public_key":null}"#);
    assert_eq!(serde_json::from_str::<WorstError>(&json).unwrap(), large.proved());
    // Sparse slots: the mean counts.
    let mut b = CircuitBuilder::new("s", parameters(8)).unwrap();
    let layout = b.layout(Layout { shape: vec![8], ..vector_layout(128) });
    let x = b.input(input(layout)).unwrap()[0];
    let x = b.adjust(x, Level(0)).unwrap();
    let y = (0..12).fold(x, |y, _| b.add(y, y).unwrap());
    b.output(output(layout, vec![y])).unwrap();
    assert!(output_bounds(&b.finish()).unwrap()[0].fits());
}

/// Two adjusts of one value make one error twice, not two.
#[test]
fn equal_computations_have_equal_errors() {
    let sum_of = |different: bool| {
        let mut b = CircuitBuilder::new("e", parameters(8)).unwrap();
        let layout = b.layout(vector_layout(128));
        let (x, y) = (b.input(input(layout)).unwrap()[0], b.input(input(layout)).unwrap()[0]);
        let [low, other] = [x, if different { y } else { x }].map(|v| b.adjust(v, Level(1)).unwrap());
        let other = b.neg(other).unwrap();
        let sum = b.sub(low, other).unwrap();
        b.output(output(layout, vec![sum])).unwrap();
        output_bounds(&b.finish()).unwrap()[0].error.secret_key
    };
    let (equal, independent) = (sum_of(false), sum_of(true));
    // Beside the random parts stand the factors' roundings, which add up either way.
    assert!((1.41..1.5).contains(&(equal / independent)), "{equal} {independent}");
}

#[test]
fn a_plaintext_tensor_is_broadcast_and_replicated() {
    let mut b = CircuitBuilder::new("t", parameters(8)).unwrap();
    let axes = vec![vec![Digit { extent: 2, stride: 4 }], vec![Digit { extent: 3, stride: 1 }]];
    let replicas = vec![Digit { extent: 2, stride: 64 }];
    let layout =
        Layout { shape: vec![2, 3], slots: 128, ciphertexts: 1, axes, replicas, gap: Gap::Zero, batch: 1 };
    let layout = b.layout(layout);
    let bias = cipherloom_ir::Tensor { name: "bias".into(), shape: vec![2], values: vec![1.0, 2.0] };
    let tensor = b.tensor(bias);
    let x = b.input(input(layout)).unwrap()[0];
    let y = b.add_plain(x, Plain::Tensor { tensor, layout, ciphertext: 0, scale: -1.0 }).unwrap();
    b.output(output(layout, vec![y])).unwrap();
    let circuit = b.finish();
    let exact = Exact::new(&circuit).unwrap();
    let run = exact.with_inputs(&circuit, &[vec![0.5; 6]]).unwrap();
    let slots = &cipherloom_ir::interpret(&circuit, &run).unwrap()[0];
    let held: Vec<f64> = (0..12).map(|s| slots[s]).collect();
    assert_eq!(held, [-0.5, -0.5, -0.5, 0.0, -1.5, -1.5, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(slots[64..76], slots[..12]);
}

#[test]
fn exact_functions_of_drafts() {
    let at = |f: Activation, x: f64| f.value(x);
    assert_eq!((at(Activation::Relu, -1.0), at(Activation::Relu, 2.0)), (0.0, 2.0));
    assert_eq!((at(Activation::LeakyRelu(0.1), -1.0), at(Activation::Clip(-1.0, 6.0), 7.0)), (-0.1, 6.0));
    for (function, wanted) in [
        (Activation::Sigmoid, 0.731_058_578_630_004_9),
        (Activation::Tanh, 0.761_594_155_955_764_9),
        (Activation::Silu, 0.731_058_578_630_004_9),
        (Activation::Gelu, 0.841_344_746_068_542_9),
        (Activation::Softplus, 1.313_261_687_518_222_8),
    ] {
        assert!((at(function.clone(), 1.0) - wanted).abs() < 1e-12, "{function:?}");
    }
    assert!(at(Activation::Softplus, 1000.0) == 1000.0 && at(Activation::Softplus, -1000.0) == 0.0);
}

#[test]
fn a_plan_sums_its_sources() {
    let mut b = CircuitBuilder::new("s", parameters(8)).unwrap();
    let layout = b.layout(vector_layout(128));
    let (x, y) = (b.input(input(layout)).unwrap()[0], b.input(input(layout)).unwrap()[0]);
    let mut source = |scale, value| {
        let map = LinearMap { operators: vec![], scale, input: layout, output: layout, fold: vec![] };
        Source { map: b.map(map), values: vec![value] }
    };
    let sources = vec![source(1.0, x), source(-2.0, y)];
    let still = vec![KeyedStep { step: Step(0), key: None }];
    let product = |source| Product { output: 0, giant: 0, source, input: 0, baby: 0 };
    let plan = LinearPlan {
        sources,
        babies: still.clone(),
        giants: still,
        products: vec![product(0), product(1)],
        pairing: None,
        outputs: 1,
        hoisting: Hoisting::Single,
        rescale: true,
    };
    let sum = b.linear(plan).unwrap();
    b.output(output(layout, sum)).unwrap();
    let circuit = b.finish();
    let (x, y): (Vec<f64>, Vec<f64>) = (0..128).map(|i| (f64::from(i), f64::from(i * i))).unzip();
    for circuit in [expand_plans(&circuit), circuit] {
        let found = Exact::new(&circuit).unwrap().run(&circuit, &[&x, &y]).unwrap();
        assert!((0..128).all(|s| found[0][s] == x[s] - 2.0 * y[s]));
        let norms = MapNorms::of(&circuit).unwrap();
        let values = Trace::new(&circuit, &norms).values(&circuit).unwrap();
        assert_eq!(values.last().unwrap().slots.magnitude, 3.0);
    }
}
