//! The rescale stage on small circuits built by hand: whole results with their costs, laws one by one, and what a
//! missing law costs. A little above the soft cap: the cases stand beside the laws that they show.

use crate::nets;
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::saturate::rescale::laws::{self, Equality, LAWS};
use cipherloom_compiler::saturate::rescale::{improve, improve_by, rewritten, total_ns};
use cipherloom_compiler::{compile, cost_line};
use cipherloom_ir::scheme::{ChainRequest, Gadget, Level};
use cipherloom_ir::{
    Circuit, CircuitBuilder, Degree, Digit, Exact, Gap, Hoisting, InputSpec, Layout, LayoutId, LinearMap,
    LinearPlan, Op, Operator, OutputSpec, Plain, Preprocessing, Product, Source, Step, Support, Tensor,
    ValueId, ValueType,
};
use proptest::prelude::*;

const LOG_N: u32 = 12;
const LEVELS: u32 = 5;
const ELEMENTS: u32 = 8;
const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

fn cost() -> CostModel {
    CostModel::new(&nets::profile(), LOG_N, GADGET)
}

/// A circuit on three inputs of eight elements.
struct Small {
    b: CircuitBuilder,
    layout: LayoutId,
    inputs: Vec<ValueId>,
}

impl Small {
    fn new(name: &str) -> Small {
        let request = ChainRequest { log_n: LOG_N, log_scale: 30, base_bits: 40, levels: LEVELS };
        let parameters = request.parameters(GADGET.digit_limbs).expect("there are primes");
        let mut b = CircuitBuilder::new(name, parameters).expect("the chain has primes");
        let digit = |extent, stride| Digit { extent, stride };
        let slots = 1 << (LOG_N - 1);
        let layout = b.layout(Layout {
            shape: vec![ELEMENTS],
            slots,
            ciphertexts: 1,
            axes: vec![vec![digit(ELEMENTS, 1)]],
            replicas: vec![digit(slots / ELEMENTS, ELEMENTS)],
            gap: Gap::Zero,
            batch: 1,
        });
        let mut inputs = Vec::new();
        for name in ["x", "y", "z"] {
            let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
            let spec = InputSpec { name: name.into(), layout, preprocessing, range: [-1.0, 1.0] };
            inputs.extend(b.input(spec).expect("inputs are free"));
        }
        Small { b, layout, inputs }
    }

    fn done(mut self, outputs: &[ValueId]) -> Circuit {
        for (k, value) in outputs.iter().enumerate() {
            let spec = OutputSpec {
                name: format!("out{k}"),
                layout: self.layout,
                values: vec![*value],
                scale: 1.0,
                range: [-1.0, 1.0],
                labels: vec![],
                client_steps: vec![],
            };
            self.b.output(spec).expect("outputs are canonical");
        }
        self.b.finish()
    }

    /// A dense map of 8 by 8 as one plan.
    fn plan(&mut self, x: ValueId, seed: u32) -> ValueId {
        let values =
            (0..ELEMENTS * ELEMENTS).map(|k| ((k * 37 + seed * 11) % 19) as f32 / 19.0 - 0.5).collect();
        let weight = Tensor { name: format!("w{seed}"), shape: vec![ELEMENTS, ELEMENTS], values };
        let weight = self.b.tensor(weight);
        let operators = vec![Operator::Dense { weight }];
        let map = LinearMap { operators, scale: 1.0, input: self.layout, output: self.layout, fold: vec![] };
        let circuit = self.b.circuit();
        let support =
            Support::of_map(&map, &circuit.layouts, &circuit.tensors).expect("dense maps have diagonals");
        let steps: Vec<Step> = support.0[&(0, 0)].clone();
        let map = self.b.map(map);
        let level = self.b.level(x);
        let babies = steps.iter().map(|s| self.b.keyed_step(*s, level, GADGET)).collect();
        let giants = vec![self.b.keyed_step(Step(0), level, GADGET)];
        let product = |baby| Product { output: 0, giant: 0, source: 0, input: 0, baby };
        let plan = LinearPlan {
            sources: vec![Source { map, values: vec![x] }],
            babies,
            giants,
            products: (0..steps.len() as u32).map(product).collect(),
            pairing: None,
            outputs: 1,
            hoisting: Hoisting::Double,
            rescale: true,
        };
        self.b.linear(plan).expect("plans are sound")[0]
    }

    /// x·y, relinearised and rescaled at once.
    fn product(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let product = self.b.mul(x, y).expect("operands stand at one level");
        self.b.relinearize_rescale(product, GADGET).expect("there is a level")
    }

    /// c·x, rescaled.
    fn scaled(&mut self, x: ValueId, c: f64) -> ValueId {
        let product = self.b.mul_scalar(x, c).expect("there is a level");
        self.b.rescale(product).expect("there is a level")
    }
}

const CASES: [&str; 15] = [
    "two-products",
    "two-relinearisations",
    "two-scalings",
    "three-parts",
    "square-and-line",
    "octic",
    "gate",
    "signs",
    "scalings-in-turn",
    "shortcuts",
    "two-plans",
    "rotations",
    "scaled-shortcut",
    "said-twice",
    "nothing-to-do",
];

fn small(name: &str) -> Circuit {
    let mut s = Small::new(name);
    let [x, y, z] = s.inputs[..] else { unreachable!("there are three inputs") };
    let out = match name {
        "two-products" => {
            let (p, q) = (s.product(x, y), s.product(y, z));
            s.b.add(p, q)
        }
        "two-relinearisations" => {
            let (p, q) = (s.b.mul(x, y).expect(name), s.b.mul(y, z).expect(name));
            let (p, q) = (s.b.relinearize(p, GADGET).expect(name), s.b.relinearize(q, GADGET).expect(name));
            let sum = s.b.sub(p, q).expect(name);
            s.b.rescale(sum)
        }
        "two-scalings" => {
            let (p, q) = (s.scaled(x, 2.0), s.scaled(y, 3.0));
            s.b.add(p, q)
        }
        "three-parts" => {
            let (p, q) = (s.product(x, y), s.product(y, z));
            let low = s.b.adjust(x, Level(LEVELS - 1)).expect(name);
            let sum = s.b.add(p, low).expect(name);
            s.b.add(sum, q)
        }
        "square-and-line" => {
            let (square, line) = (s.b.mul(x, x).expect(name), s.b.mul_scalar(x, 0.75).expect(name));
            let sum = s.b.add(square, line).expect(name);
            s.b.relinearize_rescale(sum, GADGET)
        }
        "octic" => {
            // v = x², q = v² one level lower, and a cubic term scaled into q².
            let v = s.product(x, x);
            let q = s.product(v, v);
            let u = s.scaled(x, 0.5);
            let cubic = s.product(u, v);
            let square = s.b.mul(q, q).expect(name);
            let term = s.b.mul_scalar(cubic, 1.0).expect(name);
            let sum = s.b.add(square, term).expect(name);
            s.b.relinearize_rescale(sum, GADGET)
        }
        "gate" => {
            let gate = s.product(y, y);
            let low = s.b.adjust(x, Level(LEVELS - 1)).expect(name);
            let gated = s.product(low, gate);
            Ok(s.plan(gated, 1))
        }
        "signs" => {
            let p = s.product(x, y);
            let turned = s.b.neg(p).expect(name);
            let shifted = s.b.add_plain(turned, Plain::Constant(0.25)).expect(name);
            Ok(s.plan(shifted, 1))
        }
        "scalings-in-turn" => {
            let p = s.scaled(x, 2.0);
            Ok(s.scaled(p, 3.0))
        }
        "shortcuts" => {
            let (p, q) = (s.b.adjust(x, Level(2)).expect(name), s.b.adjust(y, Level(2)).expect(name));
            s.b.add(p, q)
        }
        "two-plans" => {
            let (p, q) = (s.plan(x, 1), s.plan(y, 2));
            s.b.add(p, q)
        }
        "rotations" => {
            let (p, q) = (s.b.rotate(x, Step(1), GADGET), s.b.rotate(y, Step(1), GADGET));
            s.b.add(p.expect(name), q.expect(name))
        }
        "scaled-shortcut" => {
            let p = s.scaled(x, 0.5);
            let far = s.product(p, p);
            let far = s.product(far, far);
            let low = s.b.adjust(p, s.b.level(far)).expect(name);
            s.b.add(far, low)
        }
        "said-twice" => {
            let (p, q) = (s.product(x, y), s.product(x, y));
            let p = s.b.add_plain(p, Plain::Constant(1.0)).expect(name);
            Ok(s.product(p, q))
        }
        _ => {
            let p = s.plan(x, 1);
            Ok(s.product(p, p))
        }
    };
    let out = out.unwrap_or_else(|e| panic!("{name}: {e}"));
    s.done(&[out])
}

fn text(circuit: &Circuit) -> String {
    let (found, _) = improve(circuit, &cost()).expect("small circuits are rewritten");
    let line = |c: &Circuit| cost_line(c, &cost()).expect("circuits obey the laws");
    let how = "cargo test -p cipherloom-compiler --test saturate small_circuits";
    format!(
        "{how} (case {})\nbefore: {}\n{}\n{}",
        circuit.name,
        line(circuit).trim_start_matches("cost: "),
        line(&found),
        found.to_text()
    )
}

#[test]
fn small_circuits_are_rewritten_as_before() {
    for name in CASES {
        insta::assert_snapshot!(name, text(&small(name)));
    }
}

/// Output tensors on fixed inputs.
fn meaning(circuit: &Circuit) -> Vec<Vec<f64>> {
    let input =
        |k: u32| (0..ELEMENTS).map(|e| f64::from((e * 7 + k * 5) % 13) / 13.0 - 0.4).collect::<Vec<f64>>();
    let exact = Exact::new(circuit).expect("maps have meanings");
    exact.run(circuit, &[input(0), input(1), input(2)]).expect("three inputs")
}

fn assert_same(expected: &[Vec<f64>], found: &[Vec<f64>], what: &str) {
    for (e, f) in expected.iter().flatten().zip(found.iter().flatten()) {
        assert!((e - f).abs() <= 1e-9 * (1.0 + e.abs()), "{what}: {expected:?} {found:?}");
    }
}

/// A price without sense, so that any of the equal circuits may be taken.
fn whim(seed: u64) -> impl Fn(&Op, &[ValueType]) -> u64 {
    move |op, operands| {
        let text = format!("{op:?}{operands:?}");
        let hash = text.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        1 + (hash >> 40) % 1000
    }
}

/// Every circuit that a law makes of this one, by a few whims, means the same.
fn check_meanings(circuit: &Circuit, law: &str, laws: &[Equality]) {
    let expected = meaning(circuit);
    for seed in 0..4 {
        let found = rewritten(circuit, laws, &whim(seed)).expect("laws keep types");
        if let Some((found, _)) = found {
            assert_same(&expected, &meaning(&found), &format!("{law} on {}", circuit.name));
        }
    }
}

#[test]
fn each_law_alone_keeps_the_meaning() {
    for law in &LAWS {
        for name in CASES {
            check_meanings(&small(name), law.text.name, &[law.rewrite()]);
        }
    }
    for name in CASES {
        check_meanings(&small(name), "all", &laws::all());
    }
}

#[test]
fn small_cases_saturate_and_are_proved() {
    for name in CASES {
        let cost = cost();
        let price = |op: &Op, operands: &[ValueType]| cost_of(&cost, op, operands);
        let (_, s) = rewritten(&small(name), &laws::all(), &price).expect(name).expect("one gadget");
        assert!(s.saturated && s.proved, "{name}: {s:?}");
    }
}

/// Something near the price of an operation; only statistics are looked at.
fn cost_of(cost: &CostModel, op: &Op, operands: &[ValueType]) -> u64 {
    let level = operands.first().map_or(Level(0), |k| k.level);
    if op.keys().is_empty() { 1 } else { cost.key_switch(level) }
}

/// Predicted time with all laws but one.
fn nanoseconds_without(circuit: &Circuit, missing: &str) -> u64 {
    let laws: Vec<_> = LAWS.iter().filter(|l| l.text.name != missing).map(|l| l.rewrite()).collect();
    let cost = cost();
    let (found, _) = improve_by(circuit, &cost, &laws).expect("rewritten");
    total_ns(&found, &cost).expect("circuits obey the laws")
}

#[test]
fn a_missing_law_costs_time() {
    for (law, name) in [
        ("relinearize-sum", "two-relinearisations"),
        ("rescale-sum", "two-products"),
        ("fuse", "two-relinearisations"),
        ("gather", "three-parts"),
        ("products", "two-products"),
        ("factor", "square-and-line"),
        ("join", "octic"),
        ("plans", "two-plans"),
        ("move-sum", "shortcuts"),
        ("scalar", "scalings-in-turn"),
        ("sign", "signs"),
        ("lower", "scaled-shortcut"),
        ("loosen", "gate"),
    ] {
        let circuit = small(name);
        let (with, without) = (nanoseconds_without(&circuit, ""), nanoseconds_without(&circuit, law));
        assert!(without > with, "{law} does nothing for {name}: {with}");
    }
}

#[test]
fn thread_counts_do_not_matter() {
    let net = nets::named("tiny-relu");
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| compile(&net, &nets::options()).expect("tiny networks compile").circuit.to_bytes())
    };
    assert_eq!(on(1), on(3));
    let texts = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| CASES.map(|name| text(&small(name))))
    };
    assert_eq!(texts(1), texts(3));
}

/// A circuit of random operations; those that break a law are left out.
fn random(choices: &[(u8, u8, u8)]) -> Circuit {
    let mut s = Small::new("random");
    let mut values = s.inputs.clone();
    for (op, i, j) in choices {
        let (x, y) = (values[*i as usize % values.len()], values[*j as usize % values.len()]);
        let c = f64::from(*j % 7) * 0.5 - 1.25;
        let low = Level(s.b.level(x).0.saturating_sub(1 + u32::from(*j % 2)));
        let made = match op % 14 {
            0 | 1 => s.b.add(x, y),
            2 => s.b.sub(x, y),
            3 => s.b.neg(x),
            4 => s.b.add_plain(x, Plain::Constant(c)),
            5 => s.b.mul_scalar(x, c),
            6 => s.b.mul(x, y).and_then(|p| s.b.relinearize_rescale(p, GADGET)),
            7 => s.b.mul(x, y),
            8 => s.b.relinearize(x, GADGET),
            9 => s.b.rescale(x),
            10 => s.b.mul_scalar(x, c).and_then(|p| s.b.rescale(p)),
            11 => s.b.adjust(x, low),
            12 => s.b.rotate(x, Step(1 + u32::from(*j % 2)), GADGET),
            _ if s.b.level(x).0 > 0 && s.b.degree(x) == Degree::One => Ok(s.plan(x, u32::from(*j % 2))),
            _ => continue,
        };
        values.extend(made);
    }
    let canonical = |v: &&ValueId| {
        let kind = ValueType::canonical(s.b.level(**v));
        s.b.degree(**v) == kind.degree && *s.b.scale(**v) == kind.scale
    };
    let outputs: Vec<ValueId> = values.iter().rev().filter(canonical).take(3).copied().collect();
    s.done(&outputs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn laws_keep_the_meaning_of_random_circuits(
        choices in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 4..24),
        law in 0..=LAWS.len(),
    ) {
        let circuit = random(&choices);
        match LAWS.get(law) {
            Some(law) => check_meanings(&circuit, law.text.name, &[law.rewrite()]),
            None => check_meanings(&circuit, "all", &laws::all()),
        }
        let (better, _) = improve(&circuit, &cost()).expect("rewritten");
        assert_same(&meaning(&circuit), &meaning(&better), "the cheapest");
    }
}
