//! The packing stage on small networks: whole packings with one cost line, laws one by one, and what a missing law costs.

use crate::nets::{self, Net};
use cipherloom_compiler::balance::balance;
use cipherloom_compiler::compose::{Merge, compose};
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::graph::{TensorGraph, evaluate};
use cipherloom_compiler::levels::Levels;
use cipherloom_compiler::packing::kernel::feature_stride;
use cipherloom_compiler::packing::{Arranged, Target, pack};
use cipherloom_compiler::rotation::Policy;
use cipherloom_compiler::saturate::packing::{Logical, Statistics, demand, laws};
use cipherloom_compiler::{CompileOptions, Packing, Purpose, activation, compile};
use cipherloom_ir::scheme::{Gadget, Level};
use cipherloom_ir::{Exact, Operator, ViewAxis};

/// Slots and costs of the small cases.
const LOG_N: u32 = 12;

fn cost() -> CostModel {
    CostModel::new(&nets::profile(), LOG_N, Gadget { digit_limbs: 2, special_limbs: 2 })
}

fn balanced(net: &TensorGraph, merge: Merge) -> TensorGraph {
    let lowered = activation::lower(net, 4).expect("activations have ranges").0;
    balance(&compose(&lowered, merge).expect("small maps compose")).graph
}

/// Packs with all laws and rules but the one named.
fn without(net: &TensorGraph, missing: &str) -> Option<(Arranged, Statistics)> {
    let laws: Vec<_> = laws::logical().into_iter().filter(|l| l.name.as_str() != missing).collect();
    let rules: Vec<_> = demand::rules().into_iter().filter(|r| r.name.as_str() != missing).collect();
    let logical = Logical::with_laws(&balanced(net, Merge::Free), &laws).expect("laws saturate");
    let top = logical.top().0;
    let at = |top| logical.pack_with_rules(1 << (LOG_N - 1), &cost(), Level(top), &rules).ok().flatten();
    (top..top + 4).find_map(at)
}

fn all(net: &TensorGraph) -> (Arranged, Statistics) {
    without(net, "").expect("small networks are packed")
}

/// The case's name, one cost line, and the packing.
fn text(net: &TensorGraph) -> String {
    let (arranged, s) = all(net);
    let rotations: usize = arranged.rotations();
    format!(
        "cargo test -p cipherloom-compiler --test saturate small_networks (case {})\n\
         cost: {} us, {rotations} rotations, {} levels, {} terms, {} classes, {} rounds, widest {}\n{arranged}",
        net.name,
        s.priced_ns / 1000,
        arranged.levels.top().0,
        s.terms,
        s.classes,
        s.rounds,
        s.widest,
    )
}

fn small(name: &str) -> TensorGraph {
    let net = |shape: &[u32]| Net::new(name, shape);
    match name {
        "dense" => net(&[16]).dense(4).done(),
        "two-dense" => net(&[64]).dense(4).dense(64).done(),
        "bottleneck" => net(&[256]).dense(4).dense(256).square().dense(4).done(),
        "conv" => net(&[1, 8, 8]).conv(4, 3, 1, 1).done(),
        "strided" => net(&[2, 8, 8]).conv(4, 3, 2, 1).square().conv(4, 3, 2, 1).done(),
        "pooled" => net(&[2, 8, 8]).conv(2, 3, 1, 1).pool().square().flatten().dense(4).done(),
        "squares" => net(&[1, 4, 4]).conv(2, 2, 2, 0).square().flatten().dense(3).square().dense(3).done(),
        "relu" => net(&[2, 6, 6]).conv(3, 3, 1, 1).relu().flatten().dense(4).done(),
        "wide" => net(&[8, 16, 16]).conv(16, 3, 1, 1).square().conv(4, 1, 1, 0).done(),
        "residual-block" => net(&[2, 8, 8]).conv(4, 3, 1, 1).relu().block(4, 1).done(),
        "residual-strided" => net(&[2, 8, 8]).conv(4, 3, 1, 1).relu().block(8, 2).done(),
        "gated" => net(&[2, 8, 8]).relu().gate().flatten().dense(4).done(),
        "gated-gaps" => net(&[3, 8, 8]).relu().gate().flatten().dense(4).done(),
        "signal" => net(&[3, 50]).conv(8, 5, 2, 2).square().conv(16, 5, 2, 2).square().dense(4).done(),
        "volume" => net(&[2, 6, 8, 8]).conv(4, 3, 1, 1).square().conv(8, 3, 2, 1).square().dense(4).done(),
        "input-twice" => net(&[2, 8, 8]).block(2, 1).done(),
        _ => nets::named(name),
    }
}

const CASES: [&str; 17] = [
    "dense",
    "two-dense",
    "bottleneck",
    "conv",
    "strided",
    "pooled",
    "squares",
    "relu",
    "wide",
    "residual-block",
    "residual-strided",
    "alternating",
    "input-twice",
    "gated",
    "gated-gaps",
    "signal",
    "volume",
];

#[test]
fn small_networks_are_packed_as_before() {
    for name in CASES {
        insta::assert_snapshot!(name, text(&small(name)));
    }
}

#[test]
fn packings_mean_their_networks() {
    for name in CASES {
        let net = small(name);
        let options = CompileOptions {
            packing: Packing::Saturated,
            purpose: Purpose::Draft,
            log_n: Some(LOG_N),
            ..nets::options()
        };
        let circuit = compile(&net, &options).unwrap_or_else(|e| panic!("{name}: {e}")).circuit;
        let image = nets::image(&net);
        let expected = evaluate::scores(&net, &image);
        let found = Exact::new(&circuit).expect(name).run(&circuit, &[image]).expect(name).remove(0);
        let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
        for (e, f) in expected.iter().zip(&found) {
            assert!((e - f).abs() <= 1e-5 * largest, "{name}: {expected:?} {found:?}");
        }
    }
}

#[test]
fn saturation_is_never_behind_the_dynamic_program() {
    // Polynomials leave constants in gaps. The dynamic program multiplies those of `gated-gaps` with each other; the laws know
    // of junk alone, which may be large, and clean both operands by repacks. Compilation takes the better of the two circuits.
    for name in CASES.into_iter().filter(|name| *name != "gated-gaps") {
        let net = balanced(&small(name), Merge::All);
        let levels = Levels::of(&net);
        let (cost, slots) = (cost(), 1 << (LOG_N - 1));
        let packing = Packing::DynamicProgram;
        let rotation = Policy::Cheapest;
        let target = Target { graph: &net, levels: &levels, cost: &cost, slots, packing, rotation };
        let walked = pack(&target).expect(name).priced_ns;
        let (_, saturated) = all(&small(name));
        assert!(saturated.priced_ns <= walked, "{name}: {} > {walked}", saturated.priced_ns);
        assert_eq!(saturated.lower_bound_ns, saturated.priced_ns, "{name}: not proved");
    }
}

/// Slices of a model may have any step: none leads to a stride of 0 or to one that overflows.
#[test]
fn strides_beyond_a_grid_are_no_strides_of_images() {
    let slice = |step: i64| {
        let axis = |k: u32| ViewAxis {
            extent: 1,
            input_axis: Some(k),
            start: 0,
            step: if k == 1 { step } else { 1 },
        };
        Operator::View { input: vec![1, 8, 8], axes: [0, 1, 2].map(axis).to_vec() }
    };
    assert_eq!(feature_stride(&[slice(2), slice(4)]), Some([1, 8, 1]));
    for step in [1 << 15, 1 << 31, 1 << 32, i64::MAX] {
        assert_eq!(feature_stride(&[slice(step)]), None, "{step}");
    }
    assert_eq!(feature_stride(&[slice(1 << 10), slice(1 << 10)]), None);
}

#[test]
fn a_missing_law_costs_time_or_everything() {
    for (law, name) in [
        ("compose", "pooled"),
        ("distribute", "input-twice"),
        ("any", "dense"),
        ("have", "dense"),
        ("fresh", "dense"),
        ("kernel", "dense"),
        ("slotwise", "relu"),
        ("both", "residual-block"),
        ("repack", "gated-gaps"),
    ] {
        let net = small(name);
        let with = all(&net).1.priced_ns;
        match without(&net, law) {
            None => {}
            Some((_, s)) => assert!(s.priced_ns > with, "{law} does nothing for {name}: {with}"),
        }
    }
}

#[test]
fn networks_whose_compositions_multiply_are_saturated_with_fewer_laws() {
    let net = Net::new("branching", &[2, 8, 8]);
    let net = (0..5).fold(net, |net, _| net.branches(2)).square().flatten().dense(4).done();
    let arranged = balanced(&net, Merge::Free);
    let refused = Logical::new(&arranged).err().expect("compositions of every branch with every branch");
    assert!(refused.to_string().contains("did not saturate"), "{refused}");
    let fewer = Logical::with_first_laws(&arranged, &laws::logical()).expect("no laws always end");
    assert!(!fewer.left_out().is_empty());
    let report = compile(&net, &nets::options()).expect("small networks compile").report;
    assert!(report.warnings.iter().all(|w| !w.contains("saturation gave up")), "{:?}", report.warnings);
    let told = report.choices.iter().any(|(_, text)| text.contains(&fewer.left_out().join(" and ")));
    assert!(told, "{:?}", report.choices);
}
