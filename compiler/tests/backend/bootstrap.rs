//! The bootstrap stage: small circuits whole, random deep ones against their meaning, and networks that are compiled to a chain too
//! short for them. Rings are too small to be secure.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

use crate::{bootstrapped, check, nets};
use cipherloom_compiler::bootstrap::{MARGIN, insert};
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::{Bootstrapping, CompileError, CompileOptions, Compiled, compile, cost_line};
use cipherloom_ir::scheme::{BootstrapRequest, ChainRequest, Gadget, Level, SecurityPolicy};
use cipherloom_ir::{
    Circuit, CircuitBuilder, Digit, Exact, Gap, InputSpec, Layout, LayoutId, Magnitudes, Op, OutputSpec,
    Plain, Preprocessing, Step, ValueId, Verified,
};
use proptest::prelude::*;

/// Three usable levels above an input level of 2.
const SMALL: BootstrapRequest = BootstrapRequest { levels: 3, ..bootstrapped::SMALL };
const SLOTS: u32 = 512;
const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

fn cost() -> CostModel {
    CostModel::new(&nets::profile(), SMALL.log_n, GADGET)
}

/// A circuit of many levels on one vector.
struct Deep {
    b: CircuitBuilder,
    layout: LayoutId,
}

impl Deep {
    fn new(name: &str, levels: u32) -> (Deep, ValueId) {
        let request = ChainRequest { log_n: SMALL.log_n, log_scale: 40, base_bits: 50, levels };
        let mut b = CircuitBuilder::new(name, request.parameters(GADGET.digit_limbs).unwrap()).unwrap();
        let layout = b.layout(Layout {
            shape: vec![SLOTS],
            slots: SLOTS,
            ciphertexts: 1,
            axes: vec![vec![Digit { extent: SLOTS, stride: 1 }]],
            replicas: vec![],
            gap: Gap::Zero,
            batch: 1,
        });
        let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
        let spec = InputSpec { name: "x".into(), layout, preprocessing, range: [-1.0, 1.0] };
        b.origin("first");
        let x = b.input(spec).unwrap()[0];
        (Deep { b, layout }, x)
    }

    /// 1 less the square.
    fn square(&mut self, x: ValueId) -> ValueId {
        let square = self.b.mul(x, x).unwrap();
        let square = self.b.relinearize_rescale(square, GADGET).unwrap();
        let square = self.b.neg(square).unwrap();
        self.b.add_plain(square, Plain::Constant(1.0)).unwrap()
    }

    fn scaled(&mut self, x: ValueId, factor: f64) -> ValueId {
        let product = self.b.mul_scalar(x, factor).unwrap();
        self.b.rescale(product).unwrap()
    }

    fn down(&mut self, x: ValueId, to: Level) -> ValueId {
        if self.b.level(x) > to { self.b.adjust(x, to).unwrap() } else { x }
    }

    fn sum(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let level = self.b.level(x).min(self.b.level(y));
        let (x, y) = (self.down(x, level), self.down(y, level));
        self.b.add(x, y).unwrap()
    }

    fn product(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let level = self.b.level(x).min(self.b.level(y));
        let (x, y) = (self.down(x, level), self.down(y, level));
        let product = self.b.mul(x, y).unwrap();
        self.b.relinearize_rescale(product, GADGET).unwrap()
    }

    fn done(mut self, value: ValueId) -> Circuit {
        let (name, labels, client_steps) = ("y".into(), vec![], vec![]);
        let (layout, values, range) = (self.layout, vec![value], [-64.0, 64.0]);
        let output = OutputSpec { name, layout, values, scale: 1.0, range, labels, client_steps };
        self.b.output(output).unwrap();
        self.b.finish()
    }
}

fn image() -> Vec<f64> {
    (0..SLOTS).map(|k| f64::from(k * 37 % 101) / 50.5 - 1.0).collect()
}

/// The circuit in the small chain; it verifies and means the same.
fn inserted(circuit: &Circuit, request: BootstrapRequest) -> Option<Circuit> {
    let exact = Exact::new(circuit).unwrap();
    let magnitudes = Magnitudes::measure(circuit, &exact, &[vec![image()]], MARGIN).unwrap();
    let found = insert(circuit, request, &magnitudes, Level(0), &cost()).unwrap()?;
    Verified::new(found.clone(), &SecurityPolicy::insecure_for_tests()).unwrap();
    let (wanted, got) = (exact.run(circuit, &[image()]).unwrap(), Exact::new(&found).unwrap());
    let got = got.run(&found, &[image()]).unwrap();
    // Powers of two come and go exactly.
    assert_eq!(wanted, got, "{}", circuit.name);
    // What is bootstrapped is within the bound, with the margin.
    let exact = Exact::new(&found).unwrap();
    let magnitudes = Magnitudes::measure(&found, &exact, &[vec![image()]], MARGIN).unwrap();
    for node in &found.nodes {
        if let Op::Bootstrap(x) = node.op {
            assert!(magnitudes.largest(x) <= 1.0, "v{} reaches {}", x.0, magnitudes.largest(x));
        }
    }
    Some(found)
}

fn bootstraps(circuit: &Circuit) -> usize {
    circuit.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count()
}

/// Operations and costs, without the keys of the plan.
fn text(circuit: &Circuit) -> String {
    let run = "run: cargo test -p cipherloom-compiler --test backend small_deep\n";
    let line = cost_line(circuit, &CostModel::of_circuit(&nets::profile(), circuit)).unwrap();
    let text = circuit.to_text();
    let lines = text.lines().filter(|line| !line.starts_with("key "));
    format!("{run}{line}\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn small(name: &str) -> Circuit {
    let levels = 8;
    let (mut d, x) = Deep::new(name, levels);
    let mut y = x;
    match name {
        // One value crosses each cut.
        "squares" => (0..levels).for_each(|_| y = d.square(y)),
        // Slots beyond 1 are scaled, which takes a level, and doubled.
        "large" => {
            (0..levels).for_each(|k| y = if k % 2 == 0 { d.scaled(y, 3.0) } else { d.square(y) });
        }
        // A shortcut over four levels: cuts stand where one value crosses, or the shortcut is bootstrapped for its reader.
        "shortcut" => {
            for _ in 0..2 {
                let shortcut = y;
                (0..3).for_each(|_| y = d.square(y));
                y = d.product(y, shortcut);
            }
        }
        // The sum of two comes before the cut.
        "sums" => {
            for _ in 0..4 {
                let (left, right) = (d.square(y), d.scaled(y, 0.5));
                y = d.sum(left, right);
                y = d.scaled(y, 0.5);
            }
        }
        // A factor for what was dropped: no scale is to be kept.
        "dropped" => {
            (0..6).for_each(|_| y = d.square(y));
            let low = d.b.drop_level(x, d.b.level(y)).unwrap();
            let (low, y2) = (d.scaled(low, 0.25), d.square(y));
            y = d.product(low, y2);
        }
        _ => unreachable!("no circuit {name}"),
    }
    d.done(y)
}

#[test]
fn small_deep_circuits_are_bootstrapped_like_this() {
    for name in ["squares", "large", "shortcut", "sums", "dropped"] {
        let found = inserted(&small(name), SMALL).unwrap_or_else(|| panic!("{name}: no cut"));
        insta::assert_snapshot!(format!("bootstrap_{name}"), text(&found));
    }
}

#[test]
fn what_fits_is_left_alone_and_what_cannot_cross_is_not_cut() {
    let (mut d, x) = Deep::new("shallow", 4);
    let y = d.square(x);
    assert_eq!(inserted(&d.done(y), SMALL), None, "no bootstrap is needed");
    let (mut d, mut y) = Deep::new("huge", 8);
    for _ in 0..8 {
        y = d.scaled(y, 1e6);
    }
    assert_eq!(inserted(&d.done(y), SMALL), None, "slots of 2^20 are no messages");
}

/// What comes next, and to which earlier value, counted back.
#[derive(Clone, Copy, Debug)]
enum Next {
    Square,
    Scaled(f64),
    Sum(usize),
    Product(usize),
    Turned(u32),
}

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        2 => Just(Next::Square),
        2 => (-8..8i32).prop_map(|k| Next::Scaled(f64::from(2 * k + 1) / 8.0)),
        2 => (0..6usize).prop_map(Next::Sum),
        2 => (0..6usize).prop_map(Next::Product),
        1 => (1..SLOTS).prop_map(Next::Turned),
    ]
}

fn random(list: &[Next]) -> Circuit {
    let (mut d, x) = Deep::new("random", list.len() as u32 + 1);
    let mut known = vec![x];
    for next in list {
        let last = known[known.len() - 1];
        let back = |k: usize| known[known.len().saturating_sub(k + 1)];
        let y = match *next {
            Next::Square => d.square(last),
            Next::Scaled(factor) => d.scaled(last, factor),
            Next::Sum(k) => {
                let sum = d.sum(last, back(k));
                d.scaled(sum, 0.5)
            }
            Next::Product(k) => d.product(last, back(k)),
            Next::Turned(step) => d.b.rotate(last, Step(step), GADGET).unwrap(),
        };
        known.push(y);
    }
    let last = known[known.len() - 1];
    d.done(last)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_deep_circuits_mean_the_same(list in prop::collection::vec(next(), 6..24), levels in 2..7u32) {
        let circuit = random(&list);
        if let Some(found) = inserted(&circuit, BootstrapRequest { levels, ..SMALL }) {
            prop_assert!(bootstraps(&found) > 0);
        }
    }
}

fn forced(request: BootstrapRequest) -> CompileOptions {
    CompileOptions {
        bootstrapping: Bootstrapping::Always,
        bootstrap_sets: vec![("small", request)],
        policy: SecurityPolicy::insecure_for_tests(),
        precision_bits: 4.0,
        ..nets::options()
    }
}

#[test]
fn networks_mean_the_same_in_a_chain_too_short_for_them() {
    for (name, levels, least) in [("lenet5-relu", 5, 2), ("residual", 4, 3)] {
        let options = forced(BootstrapRequest { log_n: 12, levels, ..SMALL });
        let compiled = check(&nets::named(name), &options);
        assert!(
            bootstraps(&compiled.circuit) >= least,
            "{name}: {} bootstraps",
            bootstraps(&compiled.circuit)
        );
        let told = compiled.report.choices.iter().map(|(_, text)| text.as_str());
        assert!(
            told.clone().any(|text| text.contains("set small")),
            "{name}: {:?}",
            told.collect::<Vec<_>>()
        );
    }
}

/// The network is arranged and emitted by one set; the circuit of another has scales, primes and keys of its own.
#[test]
fn a_set_of_another_scale_is_as_good_as_alone() {
    let (rough, fine) = (
        BootstrapRequest { log_n: 12, levels: 8, log_scale: 28, base_bits: 38, ..SMALL },
        BootstrapRequest { log_n: 12, levels: 4, digit_limbs: 2, ..SMALL },
    );
    let alone = check(&nets::named("residual"), &forced(fine));
    let precision_bits = alone.circuit.forecast.precision_bits - 1.0;
    let sets = vec![("rough", rough), ("fine", fine)];
    let options = CompileOptions { precision_bits, bootstrap_sets: sets, ..forced(fine) };
    let both = check(&nets::named("residual"), &options);
    let told = |c: &Compiled| c.report.choices.iter().any(|(_, text)| text.contains("set fine"));
    assert!(told(&both), "{:?}", both.report.choices);
    assert_eq!(both.circuit.parameters, alone.circuit.parameters);
    assert_eq!(bootstraps(&both.circuit), bootstraps(&alone.circuit));
}

#[test]
fn too_little_precision_is_told_with_what_there_is() {
    let wanted =
        CompileOptions { precision_bits: 29.0, ..forced(BootstrapRequest { log_n: 12, levels: 5, ..SMALL }) };
    let refused = compile(&nets::named("residual"), &wanted);
    assert!(
        matches!(refused, Err(CompileError::Precision { best_bits, .. }) if best_bits > 4.0),
        "{refused:?}"
    );
}
