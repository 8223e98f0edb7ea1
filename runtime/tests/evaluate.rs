//! Encrypted evaluation against the exact meaning of the same circuit, at a small ring.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

#[path = "evaluate/bootstrap.rs"]
mod bootstrap;
#[path = "evaluate/bootstrap_sparse.rs"]
mod bootstrap_sparse;
#[path = "../../ir/tests/forms/bootstrapped.rs"]
mod bootstrapped;
#[path = "evaluate/bootstraps.rs"]
mod bootstraps;
#[path = "evaluate/paging.rs"]
mod paging;
#[path = "evaluate/pairs.rs"]
mod pairs;
#[path = "../../ir/tests/meanings/random.rs"]
mod random;

use bootstrapped::vector;
use cipherloom_client::{Client, EncryptedOutput};
use cipherloom_ir::scheme::{ChainRequest, Gadget, Level, Parameters, SecurityPolicy};
use cipherloom_ir::*;
use cipherloom_ring::Path;
use cipherloom_runtime::{Evaluator, Options, RuntimeError, Silent};

const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 2 };

fn parameters() -> Parameters {
    let spec = ChainRequest { log_n: 10, levels: 6, log_scale: 34, base_bits: 46 };
    spec.parameters(GADGET.digit_limbs).unwrap()
}

/// Every op once: a dense map as a plan (both forms), products, scalars, rotations, conjugation, level changes.
fn circuit(form: Form) -> Circuit {
    let parameters = parameters();
    let special = parameters.special.len() as u32;
    let gadget = Gadget { special_limbs: special, ..GADGET };
    let slots = parameters.slots() as u32;
    let mut b = CircuitBuilder::new("ops", parameters).unwrap();
    let layout = b.layout(vector(slots));
    let range = [-1.0, 1.0];
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    let x = b.input(InputSpec { name: "x".into(), layout, preprocessing, range }).unwrap()[0];
    let plan = filter(&mut b, x, gadget, form);
    let y = b.linear(plan).unwrap()[0];
    let last = every_other_op(&mut b, y, layout, gadget);
    let output = OutputSpec {
        name: "y".into(),
        layout,
        values: vec![last],
        scale: 1.0,
        range: [-4.0, 4.0],
        labels: vec![],
        client_steps: vec![],
    };
    b.output(output).unwrap();
    b.finish()
}

/// A circulant 5-tap filter over the slots: diagonals 0..5.
fn filter(b: &mut CircuitBuilder, x: ValueId, gadget: Gadget, form: Form) -> LinearPlan {
    let (slots, top) = (b.circuit().slots() as u32, b.level(x));
    let taps: Vec<f32> = (0..5).map(|k| 0.3 - 0.1 * k as f32).collect();
    let weight = b.tensor(Tensor { name: "taps".into(), shape: vec![1, 1, 1, 5], values: taps });
    let window = Window { kernel: [1, 1, 5], pad_after: [0, 0, 4], ..Window::POINT };
    let convolution = Operator::Convolution { input: [1, 1, 1, slots], window, groups: 1, weight };
    let image = Layout {
        shape: vec![1, 1, slots],
        axes: vec![vec![], vec![], vector(slots).axes[0].clone()],
        ..vector(slots)
    };
    let image = b.layout(image);
    let map = b.map(LinearMap {
        operators: vec![convolution],
        scale: 0.5,
        input: image,
        output: image,
        fold: vec![],
    });
    let product = |giant: u32, baby: u32| Product { output: 0, giant, source: 0, input: 0, baby };
    let (babies, giants, products) = match form.paired {
        false => ([0, 1], vec![0, 2, 4], [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]].to_vec()),
        // Each product also applies the diagonal one step further; there is no diagonal 5.
        true => ([0, 2], vec![0, 4], [[0, 0], [0, 1], [1, 0]].to_vec()),
    };
    let mut keyed = |s: &[u32]| s.iter().map(|k| b.keyed_step(Step(*k), top, gadget)).collect::<Vec<_>>();
    let (babies, giants) = (keyed(&babies), keyed(&giants));
    LinearPlan {
        sources: vec![Source { map, values: vec![x] }],
        babies,
        giants,
        products: products.into_iter().map(|[giant, baby]| product(giant, baby)).collect(),
        pairing: form.paired.then(|| b.pairing(Step(1), top, gadget)),
        outputs: 1,
        hoisting: form.hoisting,
        rescale: true,
    }
}

/// Products, scalars, rotations, conjugation and level changes, after one level is spent.
fn every_other_op(b: &mut CircuitBuilder, y: ValueId, layout: LayoutId, gadget: Gadget) -> ValueId {
    let (slots, top) = (b.circuit().slots() as u32, b.circuit().parameters.top());
    let bias = b.tensor(Tensor {
        name: "bias".into(),
        shape: vec![slots],
        values: (0..slots).map(|i| (i % 3) as f32 * 0.1).collect(),
    });
    let bias = Plain::Tensor { tensor: bias, layout, ciphertext: 0, scale: 2.0 };
    let y = b.add_plain(y, bias.clone()).unwrap();
    let square = b.mul(y, y).unwrap();
    let square = b.relinearize_rescale(square, gadget).unwrap();
    let scaled = b.mul_scalar(y, -0.75).unwrap();
    let scaled = b.rescale(scaled).unwrap();
    let sum = b.add(square, scaled).unwrap();
    let turned = b.rotate(sum, Step(3), gadget).unwrap();
    let difference = b.sub(turned, sum).unwrap();
    let z = b.mul_plain(difference, bias).unwrap();
    let z = b.rescale(z).unwrap();
    let low = b.adjust(sum, Level(top.0 - 3)).unwrap();
    let pairs = b.sum_of_products(vec![(z, low), (low, low)]).unwrap();
    let pairs = b.relinearize(pairs, gadget).unwrap();
    let pairs = b.rescale(pairs).unwrap();
    let conjugated = b.conjugate(pairs, gadget).unwrap();
    let negated = b.neg(conjugated).unwrap();
    let shifted = b.add_plain(negated, Plain::Constant(0.25)).unwrap();
    let dropped = b.drop_level(shifted, Level(1)).unwrap();
    let last = b.mul_scalar(dropped, 0.5).unwrap();
    b.rescale(last).unwrap()
}

fn policy() -> SecurityPolicy {
    SecurityPolicy::insecure_for_tests()
}

/// An input that fills its range.
fn values(circuit: &Circuit) -> Vec<f64> {
    (0..circuit.slots()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 50.0).collect()
}

/// How the filter is computed.
#[derive(Clone, Copy, Debug)]
struct Form {
    hoisting: Hoisting,
    paired: bool,
}

const FORMS: [Form; 4] = [
    Form { hoisting: Hoisting::Single, paired: false },
    Form { hoisting: Hoisting::Double, paired: false },
    Form { hoisting: Hoisting::Single, paired: true },
    Form { hoisting: Hoisting::Double, paired: true },
];

struct Ready {
    client: Client,
    secret: cipherloom_client::SecretKey,
    evaluator: Evaluator,
    exact: Vec<f64>,
    inputs: Vec<Vec<cipherloom_ckks::Ciphertext>>,
}

fn ready(form: Form, options: Options) -> Ready {
    ready_for(circuit(form), options)
}

fn ready_for(circuit: Circuit, options: Options) -> Ready {
    let verified = Verified::new(circuit, &policy()).unwrap();
    let client = Client::new(Manifest::of(&verified).unwrap(), &policy(), Path::best()).unwrap();
    let secret = client.generate_secret().unwrap();
    let keys = client.evaluation_keys(&secret).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let values = values(&verified);
    let exact = Exact::new(&verified).unwrap().run(&verified, &[&values]).unwrap().remove(0);
    let encrypted = client.encrypt(&secret, &[&values]).unwrap();
    let context = Evaluator::context(&verified, &options).unwrap();
    let inputs = vec![encrypted.ciphertexts.into_iter().map(|c| c.expand(&context).unwrap()).collect()];
    let evaluator = Evaluator::new(verified, context, keys, options).unwrap();
    Ready { client, secret, evaluator, exact, inputs }
}

fn decrypted(r: &Ready, answer: Vec<Vec<cipherloom_ckks::Ciphertext>>) -> Vec<f64> {
    let circuit = r.client.manifest().circuit;
    let encrypted = EncryptedOutput { circuit, ciphertexts: answer.into_iter().flatten().collect() };
    r.client.decrypt(&r.secret, &encrypted).unwrap().remove(0).values
}

#[test]
fn every_op_means_what_the_specification_says() {
    for form in FORMS {
        let mut r = ready(form, Options::default());
        let trace = cipherloom_runtime::Trace::default();
        let answer = r.evaluator.run(&r.inputs.clone(), &trace).unwrap();
        assert_eq!(trace.rows().len(), r.evaluator.circuit().nodes.len());
        for (slot, (a, b)) in decrypted(&r, answer).iter().zip(&r.exact).enumerate() {
            assert!((a - b).abs() < 1e-4, "{form:?}, slot {slot}: {a} instead of {b}");
        }
    }
}

#[test]
fn errors_stay_within_the_worst_case() {
    for form in FORMS {
        let mut r = ready(form, Options::default());
        let circuit = r.evaluator.circuit().clone();
        let bound = r.client.manifest().outputs[0].worst_error;
        let norms = MapNorms::of(&circuit).unwrap();
        let trace = |encryption| Trace::new(&circuit, &norms).encrypted(encryption).values(&circuit).unwrap();
        let average = |encryption| trace(encryption).last().unwrap().slots.noise;
        assert!(bound.secret_key > 4.0 * average(Encryption::SecretKey), "{bound:?}");
        assert!(bound.public_key > 4.0 * average(Encryption::PublicKey), "{bound:?}");
        let public = r.client.public_key(&r.secret).unwrap();
        let raw = r.client.encrypt_public(&public, &[&values(&circuit)]).unwrap();
        let context = Evaluator::context(&circuit, &Options::default()).unwrap();
        let sent = vec![raw.ciphertexts.into_iter().map(|c| c.expand(&context).unwrap()).collect()];
        for (inputs, bound) in [(r.inputs.clone(), bound.secret_key), (sent, bound.public_key)] {
            let answer = r.evaluator.run(&inputs, &Silent).unwrap();
            let found = decrypted(&r, answer);
            let largest = found.iter().zip(&r.exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(largest <= bound, "{form:?}: {largest:e} is above {bound:e}");
            assert!(bound < 1e5 * largest, "{form:?}: {bound:e} says nothing about {largest:e}");
        }
    }
}

/// `rescale(2^60 x + x) − rescale(2^60 x)` at level 1, whose modulus has 80 bits for values at the scale 2^34: both
/// terms leave it, the result does not.
#[test]
fn values_in_between_may_leave_the_modulus() {
    let parameters = parameters();
    let slots = parameters.slots() as u32;
    let mut b = CircuitBuilder::new("between", parameters).unwrap();
    let layout = b.layout(vector(slots));
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    let x = b.input(InputSpec { name: "x".into(), layout, preprocessing, range: [-1.0, 1.0] }).unwrap()[0];
    let x = b.adjust(x, Level(1)).unwrap();
    let large = (0..60).fold(x, |y, _| b.add(y, y).unwrap());
    let sum = b.add(large, x).unwrap();
    let [sum, large] = [sum, large].map(|v| b.adjust(v, Level(0)).unwrap());
    let values = vec![b.sub(sum, large).unwrap()];
    let (name, range, labels) = ("y".into(), [-1.0, 1.0], vec![]);
    b.output(OutputSpec { name, layout, values, scale: 1.0, range, labels, client_steps: vec![] }).unwrap();
    let mut r = ready_for(b.finish(), Options::default());
    let answer = r.evaluator.run(&r.inputs.clone(), &Silent).unwrap();
    let inputs = self::values(r.evaluator.circuit());
    for (slot, (found, wanted)) in decrypted(&r, answer).iter().zip(inputs).enumerate() {
        assert!((found - wanted).abs() < 1e-4, "slot {slot}: {found} instead of {wanted}");
    }
}

#[test]
fn tiers_threads_and_paths_give_the_same_bytes() {
    let mut r = ready(FORMS[3], Options::default());
    let wanted = r.evaluator.run(&r.inputs.clone(), &Silent).unwrap();
    let same = |answer: &Vec<Vec<cipherloom_ckks::Ciphertext>>| {
        let parts = |c: &cipherloom_ckks::Ciphertext| {
            c.parts().iter().map(|p| p.as_slice().to_vec()).collect::<Vec<_>>()
        };
        answer.iter().flatten().map(parts).collect::<Vec<_>>()
    };
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let inputs = r.inputs.clone();
        let answer = pool.install(|| r.evaluator.run(&inputs, &Silent)).unwrap();
        assert!(same(&answer) == same(&wanted), "{threads} threads");
    }
    for budget in [0, 8 << 10, 40 << 10, 1 << 20] {
        r.evaluator.set_plaintext_budget(budget);
        let inputs = r.inputs.clone();
        let answer = r.evaluator.run(&inputs, &Silent).unwrap();
        assert!(same(&answer) == same(&wanted), "budget of {budget} bytes");
    }
}

#[test]
fn what_does_not_belong_together_is_an_error() {
    let mut r = ready(FORMS[0], Options::default());
    assert!(matches!(
        r.evaluator.run(&[], &Silent),
        Err(RuntimeError::InputCount { wanted: 1, found: 0, .. })
    ));
    let context = Evaluator::context(r.evaluator.circuit(), &Options::default()).unwrap();
    let low = context.drop_to(&r.inputs[0][0], cipherloom_ckks::Limbs(2)).unwrap();
    assert!(matches!(r.evaluator.run(&[vec![low]], &Silent), Err(RuntimeError::WrongInput { .. })));
    let verified = r.evaluator.circuit().clone();
    let mut keys = r.client.evaluation_keys(&r.secret).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    keys.swap(0, 1);
    let swapped = Evaluator::new(verified.clone(), context.clone(), keys, Options::default());
    assert!(matches!(swapped.err(), Some(RuntimeError::WrongKey { index: 0, .. })));
    let none = Evaluator::new(verified, context, vec![], Options::default());
    assert!(matches!(none.err(), Some(RuntimeError::KeyCount { found: 0, .. })));
}
