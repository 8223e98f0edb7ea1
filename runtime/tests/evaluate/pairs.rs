//! Random linear plans of one source or two, most with two diagonals to a product: the encrypted run against the exact
//! meaning and the worst case.

use super::random::Random;
use super::{GADGET, policy, vector};
use cipherloom_client::{Client, EncryptedOutput};
use cipherloom_ir::scheme::{ChainRequest, Gadget, Level};
use cipherloom_ir::*;
use cipherloom_ring::Path;
use cipherloom_runtime::{Evaluator, Options, Silent};
use std::collections::BTreeSet;

const LOG_N: u32 = 7;

fn builder() -> CircuitBuilder {
    let request = ChainRequest { log_n: LOG_N, levels: 2, log_scale: 34, base_bits: 46 };
    CircuitBuilder::new("pairs", request.parameters(GADGET.digit_limbs).unwrap()).unwrap()
}

fn gadget(b: &CircuitBuilder) -> Gadget {
    Gadget { special_limbs: b.circuit().parameters.special.len() as u32, ..GADGET }
}

fn input(b: &CircuitBuilder, layout: LayoutId) -> InputSpec {
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    let name = format!("x{}", b.circuit().inputs.len());
    InputSpec { name, layout, preprocessing, range: [-1.0, 1.0] }
}

fn output(layout: LayoutId, values: Vec<ValueId>) -> OutputSpec {
    let (name, range, labels, client_steps) = ("y".into(), [-64.0, 64.0], vec![], vec![]);
    OutputSpec { name, layout, values, scale: 1.0, range, labels, client_steps }
}

/// Total steps of products that apply every diagonal once, by (output, input); `None` where diagonals `half` apart cannot
/// be told off in pairs. The first or the second of a pair may be none.
fn totals(support: &Support, half: Option<u32>, random: &mut Random) -> Option<BTreeSet<[u32; 3]>> {
    let mask = (1 << (LOG_N - 1)) - 1;
    let mut out = BTreeSet::new();
    for ((o, i), steps) in &support.0 {
        let all: BTreeSet<u32> = steps.iter().map(|s| s.0).collect();
        let mut left = all.clone();
        while let Some(step) = left.pop_first() {
            let total = match half {
                None => [*o, *i, step],
                Some(0) => [*o, i / 2, step],
                Some(half) => {
                    let [before, after] = [step.wrapping_sub(half) & mask, (step + half) & mask];
                    let [second, first] =
                        [before, after].map(|other| left.contains(&other) || !all.contains(&other));
                    let total = match (first, second && random.chance(2)) {
                        (true, false) => step,
                        (false, _) if !second => return None,
                        _ => before,
                    };
                    left.remove(if total == step { &after } else { &before });
                    [*o, *i, total]
                }
            };
            out.insert(total);
        }
    }
    Some(out)
}

/// A plan of these sources with babies below a random width.
fn plan(
    b: &mut CircuitBuilder,
    sources: Vec<Source>,
    half: Option<u32>,
    random: &mut Random,
) -> Option<LinearPlan> {
    let width = random.pick(1, 16);
    let mut named: Vec<[u32; 5]> = vec![];
    for (k, source) in sources.iter().enumerate() {
        let circuit = b.circuit();
        let support = Support::of_map(circuit.map(source.map), &circuit.layouts, &circuit.tensors).unwrap();
        let totals = totals(&support, half, random)?;
        named.extend(totals.iter().map(|[o, i, t]| [*o, t / width * width, k as u32, *i, t % width]));
    }
    let outputs = b.circuit().layout(b.circuit().map(sources[0].map).output).ciphertexts;
    if (0..outputs).any(|o| named.iter().all(|n| n[0] != o)) {
        return None; // A padded view can leave an output ciphertext without any product.
    }
    let steps = |at: usize| named.iter().map(|n| n[at]).collect::<BTreeSet<u32>>().into_iter().collect();
    let [giants, babies]: [Vec<u32>; 2] = [steps(1), steps(4)];
    let at = |steps: &[u32], step: u32| steps.binary_search(&step).unwrap() as u32;
    let product = |[output, giant, source, input, baby]: &[u32; 5]| {
        let (giant, baby) = (at(&giants, *giant), at(&babies, *baby));
        Product { output: *output, giant, source: *source, input: *input, baby }
    };
    let mut products: Vec<Product> = named.iter().map(product).collect();
    products.sort_unstable();
    let (level, own) = (b.level(sources[0].values[0]), gadget(b));
    let mut keyed = |steps: &[u32]| steps.iter().map(|s| b.keyed_step(Step(*s), level, own)).collect();
    let (babies, giants) = (keyed(&babies), keyed(&giants));
    // Keys of the pairing need not have the gadget of the steps.
    let apart = if random.chance(2) { own } else { Gadget { digit_limbs: 1, ..own } };
    let pairing = half.map(|half| b.pairing(Step(half), level, apart));
    let hoisting = if random.chance(2) { Hoisting::Single } else { Hoisting::Double };
    Some(LinearPlan {
        sources,
        babies,
        giants,
        products,
        pairing,
        outputs,
        hoisting,
        rescale: random.chance(2),
    })
}

/// A circuit of one random plan.
fn circuit(random: &mut Random) -> Option<Circuit> {
    let mut b = builder();
    let slots = b.circuit().slots() as u32;
    let shape = [random.pick(1, 4), random.pick(1, 6), random.pick(1, 6)];
    let (operators, tensors) = random.operators(&shape);
    let now = operators.iter().fold(shape.to_vec(), |now, o| o.output_shape(&now, &tensors).unwrap());
    for (k, tensor) in tensors.into_iter().enumerate() {
        assert_eq!(b.tensor(tensor).0 as usize, k, "random tensors differ");
    }
    let target = b.layout(random.layout(&now, slots, true));
    let level = Level(random.pick(1, 2));
    let mut sources: Vec<Source> = vec![];
    for k in 0..random.pick(1, 2) {
        let mut operators = operators.clone();
        if k == 1 {
            let factor = b.tensor(random.tensor(&now));
            operators.push(Operator::ElementScale { factor });
        }
        let (from, values) = match sources.first().filter(|_| random.chance(2)) {
            Some(known) => (b.circuit().map(known.map).input, known.values.clone()),
            None => {
                let from = b.layout(random.layout(&shape, slots, true));
                let values = b.input(input(&b, from)).unwrap();
                let down = |v: ValueId| if b.level(v) > level { b.drop_level(v, level).unwrap() } else { v };
                (from, values.into_iter().map(down).collect())
            }
        };
        let map = b.map(LinearMap { operators, scale: 0.25, input: from, output: target, fold: vec![] });
        sources.push(Source { map, values });
    }
    let half = match random.pick(0, 5) {
        0 => None,
        1 | 2 => Some(0),
        3 => Some(random.pick(1, slots - 1)),
        _ => Some(1 << random.pick(0, LOG_N - 2)),
    };
    let plan = plan(&mut b, sources, half, random)?;
    let rescaled = plan.rescale;
    let values = b.linear(plan).unwrap();
    let values = values.into_iter().map(|v| if rescaled { v } else { b.rescale(v).unwrap() }).collect();
    b.output(output(target, values)).unwrap();
    Some(b.finish())
}

/// What an encrypted run yields, what it should, and the bound of the difference.
fn run(circuit: Circuit, random: &mut Random) -> (Vec<f64>, Vec<f64>, f64) {
    let verified = Verified::new(circuit, &policy()).unwrap();
    let client = Client::new(Manifest::of(&verified).unwrap(), &policy(), Path::best()).unwrap();
    let bound = client.manifest().outputs[0].worst_error.secret_key;
    let secret = client.generate_secret().unwrap();
    let keys = client.evaluation_keys(&secret).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let layouts: Vec<Layout> = verified.inputs.iter().map(|i| verified.layout(i.layout).clone()).collect();
    let tensors: Vec<Vec<f64>> =
        layouts.iter().map(|l| (0..l.elements()).map(|_| random.real()).collect()).collect();
    let exact = Exact::new(&verified).unwrap().run(&verified, &tensors).unwrap().remove(0);
    let encrypted = client.encrypt(&secret, &tensors).unwrap();
    let options = Options::default();
    let context = Evaluator::context(&verified, &options).unwrap();
    let mut sent = encrypted.ciphertexts.into_iter().map(|c| c.expand(&context).unwrap());
    let inputs: Vec<Vec<_>> =
        layouts.iter().map(|l| sent.by_ref().take(l.ciphertexts as usize).collect()).collect();
    let mut evaluator = Evaluator::new(verified, context, keys, options).unwrap();
    let answer = evaluator.run(&inputs, &Silent).unwrap();
    let circuit = client.manifest().circuit;
    let answer = EncryptedOutput { circuit, ciphertexts: answer.into_iter().flatten().collect() };
    (client.decrypt(&secret, &answer).unwrap().remove(0).values, exact, bound)
}

#[test]
fn random_plans_mean_their_diagonals() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..64 {
        let mut random = Random(seed);
        let Some(circuit) = circuit(&mut random) else { continue };
        for node in &circuit.nodes {
            let Op::Linear(plan) = &node.op else { continue };
            let odd = plan.sources.iter().any(|s| s.values.len() % 2 == 1 && s.values.len() > 1);
            seen.extend(Some("a ciphertext left alone").filter(|_| odd && plan.pairs_ciphertexts()));
            seen.insert(match (&plan.pairing, plan.sources.len()) {
                (None, 1) => "apart",
                (None, _) => "two sources apart",
                (Some(_), 1) if plan.pairs_ciphertexts() => "ciphertexts",
                (Some(_), 1) => "steps",
                (Some(_), _) if plan.pairs_ciphertexts() => "two sources by ciphertexts",
                (Some(_), _) if plan.sources[0].values == plan.sources[1].values => "one value read twice",
                (Some(_), _) => "two sources by steps",
            });
        }
        let (found, exact, bound) = run(circuit, &mut random);
        let largest = exact.iter().fold(1f64, |m, x| m.max(x.abs()));
        for (k, (a, b)) in found.iter().zip(&exact).enumerate() {
            let error = (a - b).abs();
            assert!(error <= 1e-4 * largest, "seed {seed}, element {k}: {a} instead of {b}");
            assert!(error <= bound, "seed {seed}, element {k}: {error:e} is above {bound:e}");
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// Of a pair the second ciphertext has no diagonal, but errors 2^12 times as large: their imaginary parts get in.
#[test]
fn errors_of_the_other_half_are_bounded() {
    let mut b = builder();
    let slots = b.circuit().slots() as u32;
    let axes = vec![vec![Digit { extent: 2, stride: slots }], vector(slots).axes[0].clone()];
    let two = b.layout(Layout { shape: vec![2, slots], ciphertexts: 2, axes, ..vector(slots) });
    let one = b.layout(vector(slots));
    let row = ViewAxis { extent: slots, input_axis: Some(1), start: 0, step: 1 };
    let first = Operator::View { input: vec![2, slots], axes: vec![row] };
    let map = b.map(LinearMap { operators: vec![first], scale: 1.0, input: two, output: one, fold: vec![] });
    let x = b.input(input(&b, two)).unwrap();
    let large = (0..12).fold(x[1], |y, _| b.add(y, y).unwrap());
    let sources = vec![Source { map, values: vec![x[0], large] }];
    let plan = plan(&mut b, sources, Some(0), &mut Random(1)).unwrap();
    let rescaled = plan.rescale;
    let mut value = b.linear(plan).unwrap()[0];
    if !rescaled {
        value = b.rescale(value).unwrap();
    }
    b.output(output(one, vec![value])).unwrap();
    let (found, exact, bound) = run(b.finish(), &mut Random(2));
    let largest = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest <= bound, "{largest:e} is above {bound:e}");
    assert!(bound < 1e3 * largest, "{bound:e} says nothing about {largest:e}");
}
