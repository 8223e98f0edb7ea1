//! The verifier: what obeys the laws passes, and each broken law is named with place and numbers.

use crate::samples::{GADGET, draft, from_choices, key_kinds, parameters, sample, verify};
use cipherloom_ir::scheme::{ChainRequest, KeyKind, Level, SecurityPolicy};
use cipherloom_ir::*;
use proptest::prelude::*;

#[test]
fn the_sample_is_verified() {
    let verified = verify(sample()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(*verified, sample());
    assert_eq!(verified.value_type(ValueId(0)), &ValueType::canonical(Level(4)));
    assert_eq!(verify_draft(&sample()), Ok(()));
    // v0 (5 limbs), v2 (4 limbs) and v4, v5 (3 and 3 · 4 / 2 limbs' worth) live at once, two polynomials each.
    assert_eq!(verified.peak_value_bytes(), (5 + 4 + 3 + 6) * 2 * 8192 * 8);
}

#[test]
fn drafts_are_no_circuits_that_run() {
    assert_eq!(verify_draft(&draft()), Ok(()));
    let error = verify(draft()).unwrap_err();
    assert_eq!(error.violations[0].law, LawError::Draft);
}

#[test]
fn the_builder_merges_and_sorts_keys() {
    use KeyKind::*;
    let kinds = [Relinearization, Rotation(1), Rotation(2), Rotation(8), Rotation(4095), Conjugation];
    assert_eq!(key_kinds(&sample()), kinds);
    // Relinearized at levels 3 and lower: one key, at the highest level that is used.
    assert_eq!(sample().keys[0].level, Level(3));
}

#[test]
fn the_builder_reports_the_verifiers_laws() {
    let mut b = CircuitBuilder::new("b", parameters()).unwrap();
    let layout = b.layout(crate::samples::image_layout());
    let x = b.input(crate::samples::input_spec("x", layout)).unwrap()[0];
    assert_eq!(b.relinearize(x, GADGET).unwrap_err().to_string(), "expected degree 2, found 1");
    let y = b.mul_scalar(x, 2.0).unwrap();
    assert_eq!(b.add(x, y).unwrap_err().to_string(), "expected scale Δ4, found Δ4^2");
    assert_eq!(b.neg(ValueId(9)), Err(LawError::Undefined(ValueId(9))));
    assert!(matches!(b.mul_scalar(x, f64::NAN), Err(LawError::Number { .. })));
    assert_eq!(b.drop_level(x, Level(4)), Err(LawError::NotBelow { from: Level(4), to: Level(4) }));
}

type Mutation = (&'static str, fn(&mut Circuit));

fn plan(circuit: &mut Circuit) -> &mut LinearPlan {
    match &mut circuit.nodes[1].op {
        Op::Linear(plan) => plan,
        other => panic!("node 1 is {}", other.name()),
    }
}

const MUTATIONS: &[Mutation] = &[
    ("bounds: name", |c| c.name = "x".repeat(5000)),
    ("bounds: no outputs", |c| c.outputs.clear()),
    ("bounds: values", |c| c.nodes[22].results = u32::MAX),
    ("bounds: slots", |c| c.layouts[0].ciphertexts = u32::MAX),
    ("bounds: rank", |c| c.layouts[0].shape = vec![1; 9]),
    ("bounds: chain", |c| c.parameters.chain.clear()),
    ("bounds: one name twice", |c| c.outputs[1].name = c.outputs[0].name.clone()),
    ("parameters: ring", |c| c.parameters.log_n = 40),
    ("parameters: composite", |c| c.parameters.chain[1] = 16384 * 6 + 1),
    ("parameters: not 1 mod 2N", |c| c.parameters.chain[1] = 1_000_003),
    ("parameters: refused range", |c| c.parameters.chain[1] = (1 << 50) + 1),
    ("parameters: large", |c| c.parameters.chain[1] = u64::MAX),
    ("parameters: twice", |c| c.parameters.special[0] = c.parameters.chain[1]),
    ("parameters: scale", |c| c.parameters.log_scale = u32::MAX),
    ("keys: unsorted", |c| c.keys.swap(0, 1)),
    ("keys: level", |c| c.keys[0].level = Level(9)),
    ("keys: gadget", |c| c.keys[0].gadget.special_limbs = 2),
    ("keys: step", |c| c.keys[4].kind = KeyKind::Rotation(4096)),
    ("security", |c| c.parameters.log_n = 12),
    ("tensor: size", |c| c.tensors[0].values.push(0.0)),
    ("tensor: NaN", |c| c.tensors[1].values[3] = f32::NAN),
    ("layout: overlap", |c| c.layouts[0].axes[1][0].stride = 1),
    ("layout: cover", |c| c.layouts[1].axes[0][0].extent = 3),
    ("layout: beyond", |c| c.layouts[1].axes[0][0].stride = 4000),
    ("layout: slots", |c| c.layouts[1].slots = 2048),
    ("map: layout", |c| c.maps[0].output = LayoutId(7)),
    ("map: tensor", |c| c.maps[2].operators[0] = Operator::Dense { weight: TensorId(77) }),
    ("map: shape", |c| c.maps[2].operators[0] = Operator::Dense { weight: TensorId(0) }),
    ("map: output", |c| c.maps[4].operators.push(Operator::View { input: vec![4], axes: vec![] })),
    ("map: factor", |c| c.maps[0].scale = f64::INFINITY),
    ("input: range", |c| c.inputs[0].range = [1.0, 0.0]),
    ("input: deviation", |c| c.inputs[0].preprocessing.std = vec![0.0]),
    ("input: means", |c| c.inputs[0].preprocessing.mean = vec![0.0; 3]),
    ("order: use", |c| c.nodes[3].op = Op::Mul(ValueId(2), ValueId(3))),
    ("order: number", |c| c.nodes[3].first = ValueId(4)),
    ("order: results", |c| c.nodes[1].results = 2),
    ("order: origin", |c| c.nodes[3].origin = 44),
    ("op: input", |c| c.nodes[0].op = Op::Input { input: 0, ciphertext: 1 }),
    ("op: levels", |c| c.nodes[8].op = Op::Add(ValueId(4), ValueId(2))),
    ("op: degree", |c| c.nodes[7].op = Op::Rescale(ValueId(5))),
    ("op: scale", |c| c.nodes[7].op = Op::Neg(ValueId(6))),
    ("op: level 0", |c| c.nodes[15].op = Op::Rescale(ValueId(14))),
    ("op: key kind", |c| c.nodes[16].op = Op::Conjugate(ValueId(15), KeyId(0))),
    ("op: key level", |c| c.keys[0].level = Level(2)),
    ("op: constant", |c| c.nodes[18].op = Op::AddPlain(ValueId(17), Plain::Constant(f64::NAN))),
    ("op: empty sum", |c| c.nodes[5].op = Op::SumOfProducts(vec![])),
    ("plan: lacks a diagonal", |c| {
        plan(c).products.remove(3);
    }),
    ("plan: no such diagonal", |c| plan(c).products[3].baby = 2),
    ("plan: diagonals exchanged", |c| {
        plan(c).babies[1].step = Step(2);
        plan(c).babies[1].key = Some(KeyId(2));
        plan(c).babies.truncate(2);
        plan(c).products.remove(2);
    }),
    ("plan: unsorted", |c| plan(c).products.swap(0, 1)),
    ("plan: twice", |c| plan(c).products[1].baby = 0),
    ("plan: baby", |c| plan(c).products[3].baby = 9),
    ("plan: source", |c| plan(c).products[3].source = 9),
    ("plan: unused", |c| plan(c).products.truncate(3)),
    ("plan: no sources", |c| plan(c).sources.clear()),
    ("plan: outputs", |c| plan(c).outputs = 3),
    ("plan: key of step 0", |c| plan(c).babies[0].key = Some(KeyId(1))),
    ("plan: step without key", |c| plan(c).babies[1].key = None),
    ("plan: other step", |c| plan(c).babies[1].step = Step(3)),
    ("plan: steps unsorted", |c| plan(c).babies.swap(1, 2)),
    ("plan: gadgets", |c| c.keys[1].gadget.digit_limbs = 2),
    ("sizes", |c| c.parameters.log_scale = 33),
    ("output: ciphertexts", |c| c.outputs[1].values.truncate(1)),
    ("output: scale", |c| c.outputs[0].values[0] = ValueId(19)),
    ("output: value", |c| c.outputs[0].values[0] = ValueId(1 << 20)),
    ("output: labels", |c| c.outputs[0].labels.truncate(3)),
    ("output: factor", |c| c.outputs[0].scale = 0.0),
    ("certificate", |c| c.certificate[0].range[1] = f64::NAN),
    ("forecast", |c| c.forecast.seconds = f64::INFINITY),
    ("forecast: less than no time", |c| c.forecast.seconds = -1.0),
    ("uses", |c| c.nodes[17].op = Op::Neg(ValueId(16))),
];

#[test]
fn every_broken_law_is_named() {
    let report: Vec<String> = MUTATIONS
        .iter()
        .map(|(name, mutate)| {
            let mut circuit = sample();
            mutate(&mut circuit);
            let error = verify(circuit).expect_err(name);
            let lines: Vec<String> = error.to_string().lines().map(|l| format!("    {l}\n")).collect();
            format!("{name}\n{}", lines.concat())
        })
        .collect();
    insta::assert_snapshot!("laws", report.concat());
}

#[test]
fn several_violations_are_reported_together() {
    let mut circuit = sample();
    circuit.nodes[8].op = Op::Add(ValueId(4), ValueId(2));
    circuit.nodes[13].op = Op::Adjust(ValueId(0), Level(4));
    circuit.outputs[0].labels.pop();
    assert_eq!(verify(circuit).unwrap_err().violations.len(), 3);
}

#[test]
fn manifests_obey_the_same_laws() {
    let policy = SecurityPolicy::standard_128();
    let good = Manifest::of(&sample()).unwrap();
    assert_eq!(good.verify(&policy), Ok(()));
    assert_eq!(good.outputs.iter().map(|o| o.level).collect::<Vec<_>>(), vec![Level(0); 3]);
    let mutations: [fn(&mut Manifest); 8] = [
        |m| m.parameters.log_n = 12,
        |m| m.keys.swap(0, 1),
        |m| m.inputs[0].layout.axes[1][0].stride = 1,
        |m| m.outputs[0].level = Level(5),
        |m| m.outputs[0].range = [f64::NAN, 0.0],
        |m| m.parameters.chain.clear(),
        |m| m.outputs[0].worst_error.secret_key = 0.0,
        |m| m.outputs[1].name = m.outputs[0].name.clone(),
    ];
    for mutate in mutations {
        let mut manifest = good.clone();
        mutate(&mut manifest);
        assert!(manifest.verify(&policy).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// What the builder accepts, the verifier accepts, save for what needs a real modulus.
    #[test]
    fn built_circuits_are_verified(choices in prop::collection::vec(any::<(u8, u16)>(), 0..60)) {
        let circuit = from_choices(&choices);
        prop_assert_eq!(verify_draft(&circuit), Ok(()));
        if let Err(error) = verify(circuit) {
            let sizes = error.violations.iter().all(|v| matches!(v.law, LawError::ScaleSize { .. }));
            prop_assert!(sizes, "{}", error);
        }
    }
}

/// The sample, its first plan with two diagonals to a product: 0 and 1, 2 and none; 0 and none, 8 and none.
fn paired() -> Circuit {
    let mut circuit = sample();
    circuit.keys[5].level = circuit.keys[1].level;
    let plan = plan(&mut circuit);
    let half = plan.babies.remove(1);
    plan.pairing = Some(Pairing { half, conjugate: KeyId(5) });
    let product = |giant, source, baby| Product { output: 0, giant, source, input: 0, baby };
    plan.products = vec![product(0, 0, 0), product(0, 0, 1), product(0, 1, 0), product(1, 1, 0)];
    circuit
}

fn pairing(circuit: &mut Circuit) -> &mut Pairing {
    plan(circuit).pairing.as_mut().expect("paired")
}

const PAIRED_MUTATIONS: &[Mutation] = &[
    ("half: beyond the slots", |c| pairing(c).half.step = Step(4096)),
    ("half: without a key", |c| pairing(c).half.key = None),
    ("half: key of another step", |c| pairing(c).half.step = Step(2)),
    ("half: no such key", |c| pairing(c).half.key = Some(KeyId(99))),
    ("by ciphertexts, with a key", |c| pairing(c).half.step = Step(0)),
    ("conjugation: key of another kind", |c| pairing(c).conjugate = KeyId(0)),
    ("conjugation: no such key", |c| pairing(c).conjugate = KeyId(u32::MAX)),
    ("conjugation: level of the key", |c| c.keys[5].level = Level(3)),
    ("a diagonal applied twice", |c| plan(c).babies[1] = KeyedStep { step: Step(1), key: Some(KeyId(1)) }),
    ("a diagonal left out", |c| {
        plan(c).products.remove(1);
        plan(c).babies.remove(1);
    }),
    ("two halves that do not exist", |c| {
        plan(c).products.insert(3, Product { output: 0, giant: 0, source: 1, input: 0, baby: 1 });
    }),
    ("by ciphertexts, of which there is one", |c| pairing(c).half = KeyedStep { step: Step(0), key: None }),
    ("by ciphertexts, a pair too many", |c| {
        pairing(c).half = KeyedStep { step: Step(0), key: None };
        plan(c).products[1].input = 1;
    }),
    ("a step too far", |c| pairing(c).half = KeyedStep { step: Step(8), key: Some(KeyId(3)) }),
];

#[test]
fn pairs_of_diagonals_obey_the_laws() {
    let (apart, pairs) = (sample(), paired());
    verify(pairs.clone()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(Circuit::from_text(&pairs.to_text(), &pairs.tensors), Ok(pairs.clone()));
    assert_eq!(Circuit::from_bytes(&pairs.to_bytes()).expect("reads"), pairs);
    let image: Vec<f64> = (0..16).map(|k| f64::from(k) / 16.0).collect();
    let scores = |c: &Circuit| Exact::new(c).and_then(|exact| exact.run(c, &[&image])).expect("runs");
    assert_eq!(scores(&pairs), scores(&apart));
    // One product less, a baby less; the input turned once for both sources, and one conjugation.
    let of = |c: &Circuit| (c.nodes[1].op.diagonals(), c.nodes[1].op.rotations());
    assert_eq!((of(&apart), of(&pairs)), ((5, 3), (4, 4)));
    let report = PAIRED_MUTATIONS.iter().map(|(name, mutate)| {
        let mut circuit = paired();
        mutate(&mut circuit);
        format!("{name}\n    {}\n", verify(circuit).expect_err(name).to_string().replace('\n', "\n    "))
    });
    insta::assert_snapshot!("laws_of_pairs", report.collect::<String>());
}

/// A plan without babies lists nothing, however many rows its text claims.
#[test]
fn all_products_of_nothing_take_no_time() {
    let mut circuit = sample();
    circuit.nodes.truncate(2);
    circuit.outputs.clear();
    circuit.nodes[1].results = u32::MAX;
    let plan = plan(&mut circuit);
    (plan.outputs, plan.products, plan.babies) = (u32::MAX, vec![], vec![]);
    assert!(circuit.to_text().contains("products []"));
}

/// One map of 2048 diagonals, used by 2^17 plans of one product each.
#[test]
fn large_maps_cost_their_size_once() {
    let request = ChainRequest { log_n: 15, log_scale: 30, base_bits: 40, levels: 2 };
    let parameters = request.parameters(1).expect("there are such primes");
    let mut b = CircuitBuilder::new("hostile", parameters).unwrap();
    let line = |size: u32| Layout {
        shape: vec![1, 1, size],
        slots: 1 << 14,
        ciphertexts: 1,
        axes: vec![vec![], vec![], vec![Digit { extent: size, stride: 1 }]],
        replicas: vec![],
        gap: Gap::Zero,
        batch: 1,
    };
    let (input, output) = (b.layout(line(1 << 14)), b.layout(line((1 << 14) - (1 << 11) + 1)));
    let window = Window { kernel: [1, 1, 1 << 11], ..Window::POINT };
    let pool = Operator::AveragePool { input: [1, 1, 1, 1 << 14], window, count_padding: false };
    let map = b.map(LinearMap { operators: vec![pool], scale: 1.0, input, output, fold: vec![] });
    let x = b.input(crate::samples::input_spec("x", input)).unwrap()[0];
    let still = vec![KeyedStep { step: Step(0), key: None }];
    let product = Product { output: 0, giant: 0, source: 0, input: 0, baby: 0 };
    let plan = LinearPlan {
        sources: vec![Source { map, values: vec![x] }],
        babies: still.clone(),
        giants: still,
        products: vec![product],
        pairing: None,
        outputs: 1,
        hoisting: Hoisting::Single,
        rescale: true,
    };
    let (name, values, range) = ("y".into(), vec![x], [0.0, 1.0]);
    let (labels, client_steps) = (vec![], vec![]);
    b.output(OutputSpec { name, layout: input, values, scale: 1.0, range, labels, client_steps }).unwrap();
    let mut circuit = b.finish();
    let node = |k| Node { op: Op::Linear(plan.clone()), first: ValueId(k), results: 1, origin: 0 };
    circuit.nodes.extend((1..=1 << 17).map(node));
    let mut few = circuit.clone();
    few.nodes.truncate(2);
    let timed = |circuit| {
        let start = std::time::Instant::now();
        (verify(circuit).unwrap_err(), start.elapsed())
    };
    let (_, once) = timed(few);
    let (error, often) = timed(circuit);
    assert!(often < 2 * once + std::time::Duration::from_secs(1), "{often:?}, and {once:?} for one use");
    assert!(
        error.violations.iter().any(|v| matches!(v.law, LawError::Support { missing: true, .. })),
        "{error}"
    );
}
