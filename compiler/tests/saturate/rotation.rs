//! The rotation stage on small networks: whole choices with one cost line, rules one by one, and the choice against
//! brute force.

use crate::nets::{self, Net};
use cipherloom_compiler::balance::balance;
use cipherloom_compiler::compose::{Merge, compose};
use cipherloom_compiler::cost::CostModel;
use cipherloom_compiler::graph::{TensorGraph, evaluate};
use cipherloom_compiler::packing::Arranged;
use cipherloom_compiler::rotation::Policy;
use cipherloom_compiler::saturate::extract;
use cipherloom_compiler::saturate::packing::Logical;
use cipherloom_compiler::saturate::rotation::choose::{Choice, Cost, Demand, Price, Problem, Way};
use cipherloom_compiler::saturate::rotation::frontier::{Sweep, frontier};
use cipherloom_compiler::saturate::rotation::network::{Map, Network};
use cipherloom_compiler::saturate::rotation::{Rotated, Saturated, rotate, rotate_by, rules, usual_price};
use cipherloom_compiler::{CompileError, CompileOptions, Purpose, activation, compile, key_curve};
use cipherloom_ir::scheme::{Gadget, Level};
use cipherloom_ir::{Circuit, Exact, Op, Step, Support};
use proptest::prelude::*;

/// Slots and costs of the small cases.
const LOG_N: u32 = 12;

fn cost() -> CostModel {
    CostModel::new(&nets::profile(), LOG_N, Gadget { digit_limbs: 2, special_limbs: 2 })
}

fn arranged(net: &TensorGraph) -> Arranged {
    let lowered = activation::lower(net, 4).expect("activations have ranges").0;
    let graph = balance(&compose(&lowered, Merge::Free).expect("small maps compose")).graph;
    // Pairs of diagonals are packing's choice: without them the small cases keep more to choose among.
    let logical = Logical::new(&graph).expect("laws saturate").splitting(Policy::Apart);
    let top = logical.top().0;
    let at = |top| logical.pack(1 << (LOG_N - 1), &cost(), Level(top)).ok().flatten();
    (top..top + 4).find_map(at).expect("small networks are packed").0
}

fn small(name: &str) -> TensorGraph {
    let net = |shape: &[u32]| Net::new(name, shape);
    match name {
        "dense" => net(&[16]).dense(4).done(),
        "wide-dense" => net(&[128]).dense(128).done(),
        "two-dense" => net(&[64]).dense(32).square().dense(64).done(),
        "conv" => net(&[1, 8, 8]).conv(4, 3, 1, 1).done(),
        "five" => net(&[1, 12, 12]).conv(3, 5, 1, 2).done(),
        "two-conv" => net(&[2, 8, 8]).conv(2, 3, 1, 1).square().conv(2, 3, 1, 1).done(),
        "strided" => net(&[2, 8, 8]).conv(4, 3, 2, 1).square().conv(4, 3, 2, 1).done(),
        "fold" => net(&[64]).dense(2).done(),
        "conv-dense" => net(&[1, 8, 8]).conv(4, 3, 2, 1).square().flatten().dense(10).done(),
        "residual" => net(&[2, 8, 8]).block(2, 1).done(),
        // Images that fill the slots: no copies, so that the sum's maps fold nothing.
        "residual-wide" => net(&[4, 16, 16]).conv(4, 3, 1, 1).relu().block(8, 2).done(),
        "residual-strided" => net(&[2, 8, 8]).conv(4, 3, 1, 1).relu().block(8, 2).done(),
        "dense-convs" => {
            net(&[1, 12, 12]).conv(3, 5, 1, 2).square().flatten().dense(20).square().dense(48).done()
        }
        "two-branches" => net(&[2, 8, 8]).branches(3).done(),
        "three-dense" => net(&[32]).dense(32).square().dense(32).square().dense(32).done(),
        _ => nets::named(name),
    }
}

const CASES: [&str; 14] = [
    "dense",
    "wide-dense",
    "two-dense",
    "conv",
    "five",
    "two-conv",
    "strided",
    "fold",
    "conv-dense",
    "residual",
    "residual-strided",
    "three-dense",
    "dense-convs",
    "two-branches",
];

fn priced_us(cost: Cost, at: &CostModel) -> u128 {
    (cost.priced(usual_price(at)) >> 20) / 1000
}

fn text(net: &TensorGraph, limit: Option<u64>) -> String {
    let model = cost();
    let rotated = rotate(arranged(net), &model, limit).expect(&net.name);
    let s = rotated.statistics;
    format!(
        "run: cargo test -p cipherloom-compiler --test saturate rotations_of (case {})\n\
         cost: {} us and {} kB of keys, before {} us and {} kB; priced {} us, at least {} us; {} terms, {} classes\n{rotated}",
        net.name,
        s.after.time_ns / 1000,
        s.after.key_bytes / 1000,
        s.before.time_ns / 1000,
        s.before.key_bytes / 1000,
        s.priced_ns / 1000,
        s.lower_bound_ns / 1000,
        s.terms,
        s.classes,
    )
}

#[test]
fn rotations_of_small_networks_stay_as_they_are() {
    for name in CASES {
        insta::assert_snapshot!(format!("rotation_{name}"), text(&small(name), None));
    }
}

#[test]
fn rotations_of_small_networks_with_few_keys() {
    for name in ["wide-dense", "two-conv", "fold", "conv-dense"] {
        let net = small(name);
        let least = match rotate(arranged(&net), &cost(), Some(0)) {
            Err(CompileError::KeyMemory { least_bytes, limit_bytes: 0 }) => least_bytes,
            other => panic!("{name}: no keys suffice: {other:?}"),
        };
        insta::assert_snapshot!(format!("rotation_few_keys_{name}"), text(&net, Some(least)));
    }
}

#[test]
fn no_choice_is_slower_than_what_packing_chose() {
    for name in CASES {
        let s = rotate(arranged(&small(name)), &cost(), None).expect(name).statistics;
        assert!(s.after.time_ns <= s.before.time_ns, "{name}: {s:?}");
        assert!(priced_us(s.after, &cost()) <= priced_us(s.before, &cost()), "{name}: {s:?}");
        assert!(s.lower_bound_ns <= s.priced_ns, "{name}: {s:?}");
    }
}

fn draft(net: &TensorGraph, max_key_bytes: Option<u64>) -> Circuit {
    let options = CompileOptions {
        purpose: Purpose::Draft,
        log_n: Some(LOG_N),
        max_key_bytes,
        ..CompileOptions::default()
    };
    compile(net, &options).unwrap_or_else(|e| panic!("{}: {e}", net.name)).circuit
}

/// Bytes of the keys of a draft, and whether it means its network.
fn check(net: &TensorGraph, limit: Option<u64>) -> u64 {
    let circuit = draft(net, limit);
    let image = nets::image(net);
    let expected = evaluate::scores(net, &image);
    let found = Exact::new(&circuit).expect("means").run(&circuit, &[image]).expect("runs").remove(0);
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5 * largest, "{}: {expected:?} {found:?}", net.name);
    }
    for node in &circuit.nodes {
        let Op::Linear(plan) = &node.op else { continue };
        for (index, source) in plan.sources.iter().enumerate() {
            let map = circuit.map(source.map);
            let support =
                Support::of_map(map, &circuit.layouts, &circuit.tensors).expect("maps have supports");
            let own = plan.products.iter().filter(|p| p.source as usize == index);
            let real = |p: &cipherloom_ir::Product| {
                let output = p.output;
                let both = plan.diagonals(p, circuit.slots() as u32).into_iter().flatten();
                both.map(move |(input, step)| (output, input, step.0))
            };
            // One of a pair may be zero.
            let some = |(o, i, s): &(u32, u32, u32)| {
                plan.pairing.is_none()
                    || support.0.get(&(*o, *i)).is_some_and(|steps| steps.contains(&Step(*s)))
            };
            let mut found: Vec<_> = own.flat_map(real).filter(some).collect();
            found.sort_unstable();
            let wanted: Vec<_> =
                support.0.iter().flat_map(|((o, i), steps)| steps.iter().map(|s| (*o, *i, s.0))).collect();
            assert_eq!(found, wanted, "{}: products are the support", net.name);
        }
    }
    let gadget = circuit.keys.first().map_or(Gadget { digit_limbs: 1, special_limbs: 2 }, |k| k.gadget);
    let model = CostModel::new(&nets::profile(), LOG_N, gadget);
    circuit.keys.iter().map(|k| model.key_bytes(k.level)).sum()
}

#[test]
fn limits_of_key_memory_are_obeyed_and_mean_the_same() {
    for name in CASES {
        let net = small(name);
        let whole = check(&net, None);
        let least = match compile(
            &net,
            &CompileOptions {
                purpose: Purpose::Draft,
                log_n: Some(LOG_N),
                max_key_bytes: Some(0),
                ..CompileOptions::default()
            },
        ) {
            Err(CompileError::KeyMemory { least_bytes, .. }) => least_bytes,
            other => panic!("{name}: no keys suffice: {other:?}"),
        };
        for limit in [least, (least + whole) / 2, whole.max(least)] {
            let found = check(&net, Some(limit));
            assert!(found <= limit, "{name}: {found} bytes of keys for {limit}");
        }
    }
}

#[test]
fn more_memory_is_never_slower() {
    for name in CASES {
        let all = rotate(arranged(&small(name)), &cost(), None).expect(name);
        let mut before = u64::MAX;
        for point in &all.curve {
            assert!(point.time_ns < before, "{name}: {:?}", all.curve);
            before = point.time_ns;
            let limited = rotate(arranged(&small(name)), &cost(), Some(point.key_bytes)).expect(name);
            assert_eq!(limited.statistics.after, *point, "{name}");
        }
    }
}

fn without(net: &TensorGraph, missing: &str, limit: Option<u64>) -> Result<Rotated, CompileError> {
    let rules: Vec<_> = rules::rules().into_iter().filter(|r| r.name.as_str() != missing).collect();
    rotate_by(arranged(net), &cost(), limit, &rules)
}

/// Fewest bytes, least time, and the price of the answer.
fn ends(r: &Rotated) -> [u64; 3] {
    [r.curve[0].key_bytes, r.curve[r.curve.len() - 1].time_ns, r.statistics.priced_ns]
}

#[test]
fn a_missing_rule_costs_time_or_keys_or_everything() {
    for (rule, name) in [
        ("windows", "conv"),
        ("turn", "fold"),
        ("twice", "fold"),
        ("apart", "residual-wide"),
        ("merge", "two-branches"),
    ] {
        let net = small(name);
        let with = ends(&without(&net, "", None).expect(name));
        let Ok(other) = without(&net, rule, None) else { continue };
        let other = ends(&other);
        let worse = (0..2).any(|k| with[k] < other[k]);
        assert!(worse, "{rule} does nothing for {name}: {with:?} {other:?}");
    }
}

#[test]
fn windows_between_powers_of_two_save_time() {
    let least = |missing: &str, diagonals: u32| {
        let support = Support([((0, 0), (0..diagonals).map(Step).collect())].into());
        let map = Map { name: "dense".into(), node: 0, support, level: Level(3), extra_ns: 0 };
        let network = Network { slots: 1 << (LOG_N - 1), maps: vec![map], ..Network::default() };
        let rules: Vec<_> = rules::rules().into_iter().filter(|r| r.name.as_str() != missing).collect();
        let points = Saturated::new(network, &cost(), &rules).expect("saturates").frontier(Sweep::Whole);
        points.last().map(|p| p.cost.time_ns)
    };
    assert!([12, 24, 36, 48, 96].into_iter().any(|n| least("", n) < least("thirds", n)));
    assert!([12, 24, 36, 48, 96].into_iter().all(|n| least("", n) <= least("thirds", n)));
}

#[test]
fn the_curve_of_a_circuit_holds_its_own_point() {
    for name in CASES {
        let circuit = draft(&small(name), None);
        let curve = key_curve(&circuit, &nets::profile()).expect(name);
        assert_eq!(curve.iter().filter(|p| p.is_circuit).count(), 1, "{name}");
        assert!(curve.windows(2).all(|p| p[0].key_bytes <= p[1].key_bytes), "{name}: {curve:?}");
    }
}

#[test]
fn threads_do_not_change_the_choice() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| text(&small("residual-strided"), None))
    };
    assert_eq!(with(1), with(4));
    assert_eq!(with(4), with(4));
}

/// Small problems: ways of up to three keys of six, levels up to two, pairs of variants.
fn problems() -> impl Strategy<Value = Problem> {
    let way = (0u64..40, prop::collection::btree_set(1u32..7, 0..=3));
    let demand = (0u32..3, prop::collection::vec(way, 1..=4));
    (prop::collection::vec(demand, 1..=5), any::<bool>()).prop_map(|(list, pair)| {
        let demands: Vec<Demand> = list
            .into_iter()
            .map(|(level, ways)| {
                let way = |(time_ns, keys): (u64, std::collections::BTreeSet<u32>)| Way {
                    time_ns,
                    keys: keys.into_iter().collect(),
                };
                Demand { level: Level(level), ways: ways.into_iter().map(way).collect() }
            })
            .collect();
        let mut groups: Vec<Vec<Vec<usize>>> = (0..demands.len()).map(|d| vec![vec![d]]).collect();
        if pair && demands.len() >= 3 {
            groups.truncate(demands.len() - 3);
            groups.push(vec![vec![demands.len() - 3, demands.len() - 2], vec![demands.len() - 1]]);
        }
        Problem { demands, groups, key_bytes: vec![10, 15, 22], held_bytes: 5 }
    })
}

/// Costs of all choices.
fn all(problem: &Problem) -> Vec<Cost> {
    let mut out = vec![];
    let limits: Vec<usize> =
        problem.groups.iter().map(Vec::len).chain(problem.demands.iter().map(|d| d.ways.len())).collect();
    let mut picks = vec![0; limits.len()];
    loop {
        let (variants, ways) = picks.split_at(problem.groups.len());
        out.push(problem.cost(&Choice { variants: variants.to_vec(), ways: ways.to_vec() }));
        let Some(at) = (0..picks.len()).find(|k| picks[*k] + 1 < limits[*k]) else { return out };
        picks[at] += 1;
        picks[..at].fill(0);
    }
}

/// The same problem for the frontier-walking extraction: keys are classes at the level of their readers.
fn by_walk(problem: &Problem, price: Price) -> extract::Answer {
    use extract::Alternative;
    let top = problem.demands.iter().map(|d| d.level.0).max().unwrap_or(0);
    let mut classes: Vec<Vec<Alternative>> = vec![vec![]];
    let mut costs: Vec<Vec<u64>> = vec![vec![0]];
    let keys = 1 + problem.groups.len() + 2 * problem.demands.len();
    let way = |children: Vec<usize>, depth| Alternative { children, depth };
    classes[0].push(way((1..=problem.groups.len()).collect(), 0));
    let first = 1 + problem.groups.len();
    for group in &problem.groups {
        classes.push(group.iter().map(|v| way(v.iter().map(|d| first + d).collect(), 0)).collect());
        costs.push(vec![0; group.len()]);
    }
    let inner = first + problem.demands.len();
    for (d, demand) in problem.demands.iter().enumerate() {
        classes.push(vec![way(vec![inner + d], demand.level.0)]);
        costs.push(vec![0]);
    }
    for demand in &problem.demands {
        let of = |w: &Way| way(w.keys.iter().map(|k| keys + *k as usize).collect(), 0);
        classes.push(demand.ways.iter().map(of).collect());
        costs.push(demand.ways.iter().map(|w| w.time_ns << 20).collect());
    }
    classes.resize(keys + 7, vec![way(vec![], 0)]);
    let cost = |class: usize, alternative: usize, level: u32| {
        Some(if class < keys {
            costs[class][alternative]
        } else {
            problem.key_bytes[level as usize] * price.0
        })
    };
    let problem = extract::Problem {
        classes: &classes,
        root: 0,
        levels: top,
        cost: &cost,
        adjust: &|_, _| 0,
        beam: usize::MAX,
    };
    problem.solve().expect("every demand has a way")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_frontier_is_sound_and_its_ends_are_those_of_brute_force(problem in problems()) {
        let costs = all(&problem);
        let own = problem.each_alone(Price(1 << 20));
        let points = frontier(&problem, &[own], Sweep::Whole);
        for point in &points {
            prop_assert_eq!(problem.cost(&point.choice), point.cost);
            prop_assert!(costs.contains(&point.cost));
        }
        let fastest = costs.iter().map(|c| c.time_ns).min();
        prop_assert_eq!(points.last().map(|p| p.cost.time_ns), fastest);
        for price in [0, 1 << 18, 1 << 20, 1 << 22].map(Price) {
            let best = costs.iter().map(|c| c.priced(price)).min().expect("there are choices");
            let found = points.iter().map(|p| p.cost.priced(price)).min().expect("there are points");
            prop_assert!(problem.lower_bound(price) <= best && best <= found);
            let held = u128::from(problem.held_bytes) * u128::from(price.0);
            prop_assert_eq!(u128::from(by_walk(&problem, price).cost) + held, best);
        }
    }

    #[test]
    fn pruning_keeps_the_answers(problem in problems()) {
        let (pruned, _) = problem.pruned();
        for price in [0, 1 << 20, 1 << 24].map(Price) {
            let best = |p: &Problem| all(p).iter().map(|c| c.priced(price)).min();
            prop_assert_eq!(best(&problem), best(&pruned));
        }
    }
}
