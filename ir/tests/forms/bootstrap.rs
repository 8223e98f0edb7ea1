//! Circuits that bootstrap: their forms, and what the verifier refuses.

use crate::bootstrapped::{SMALL, bootstrapped, meaning};
use crate::samples::sample;
use cipherloom_ir::scheme::{BOOTSTRAP_SETS, Gadget, KeyKind, Level, SecurityPolicy};
use cipherloom_ir::*;

#[test]
fn every_form_says_the_same() {
    let circuit = bootstrapped(SMALL);
    let text = circuit.to_text();
    insta::assert_snapshot!("bootstrapped", text);
    assert_eq!(Circuit::from_text(&text, &[]), Ok(circuit.clone()));
    let read = Circuit::from_bytes(&circuit.to_bytes()).unwrap();
    assert_eq!(read, circuit);
    let x = vec![-0.75; read.slots()];
    let found = Exact::new(&read).unwrap().run(&read, &[&x]).unwrap();
    assert!((found[0][0] - meaning(-0.75)).abs() < 1e-12);
    let manifest = Manifest::of(&circuit).unwrap();
    assert_eq!(manifest.parameters, SMALL.plan().unwrap().circuit());
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
    insta::assert_snapshot!("bootstrapped_summary", Summary::of(&circuit).to_string());
}

#[test]
fn nothing_is_proved_behind_a_bootstrap() {
    let manifest = Manifest::of(&bootstrapped(SMALL)).unwrap();
    assert_eq!(manifest.outputs[0].worst_error.secret_key, f64::INFINITY);
}

/// A set of the documentation in a circuit, under the policy of 128 bits.
#[test]
fn a_secure_set_is_verified() {
    let (_, request) = BOOTSTRAP_SETS.iter().find(|(name, _)| *name == "2p15").unwrap();
    let policy = SecurityPolicy::standard_128();
    let verified = Verified::new(bootstrapped(*request), &policy).unwrap_or_else(|e| panic!("{e}"));
    let plan = verified.bootstrap_plan().unwrap();
    assert_eq!(plan, &request.plan().unwrap());
    assert_eq!(verified.parameters.top(), plan.output);
    assert!(verified.peak_value_bytes() > plan.working_bytes());
    // What is raised counts, and there is a second line.
    let report = policy.check(&verified.parameters, &verified.keys).unwrap();
    assert!((report.log_qp - 860.5).abs() < 1.0 && report.ephemeral.is_some(), "{report:?}");
    Manifest::of(&verified).unwrap().verify(&policy).unwrap();
}

type Mutation = (&'static str, fn(&mut Circuit));

fn node_of(circuit: &mut Circuit, name: &str) -> usize {
    circuit.nodes.iter().position(|n| n.op.name() == name).expect("the circuit has such a node")
}

const MUTATIONS: &[Mutation] = &[
    ("no request", |c| c.bootstrap = None),
    ("no primes above the chain", |c| c.parameters.raised.clear()),
    ("another plan", |c| c.bootstrap.as_mut().unwrap().ratio_bits = 30),
    ("a plan of more levels", |c| c.bootstrap.as_mut().unwrap().levels = 3),
    ("a plan of absurdly many levels", |c| c.bootstrap.as_mut().unwrap().levels = u32::MAX),
    ("a plan in another ring", |c| c.bootstrap.as_mut().unwrap().log_n = 11),
    ("other special primes", |c| {
        c.parameters.special.pop();
    }),
    ("without a key", |c| {
        let at = c.keys.iter().position(|k| k.kind == KeyKind::Encapsulation).unwrap();
        c.keys.remove(at);
    }),
    ("a key with another gadget", |c| {
        let gadget = Gadget { digit_limbs: 2, special_limbs: 3 };
        c.keys.iter_mut().find(|k| k.kind == KeyKind::Decapsulation).unwrap().gadget = gadget;
    }),
    ("a key that ends below", |c| {
        c.keys.iter_mut().find(|k| k.kind == KeyKind::Conjugation).unwrap().level = Level(4);
    }),
    ("below the input level", |c| {
        let (at, op) = (node_of(c, "bootstrap"), Op::Adjust(ValueId(0), Level(1)));
        c.nodes[at - 1].op = op;
    }),
    ("not at the canonical scale", |c| {
        let at = node_of(c, "bootstrap");
        let Op::Bootstrap(x) = &mut c.nodes[at].op else { panic!("a bootstrap") };
        *x = ValueId(1);
    }),
    ("never used", |c| {
        for node in &mut c.nodes {
            if let Op::Bootstrap(x) = node.op {
                node.op = Op::Neg(x);
            }
        }
    }),
];

#[test]
fn what_breaks_the_laws_is_refused() {
    let report = MUTATIONS.iter().map(|(name, mutate)| {
        let mut circuit = bootstrapped(SMALL);
        mutate(&mut circuit);
        let error = verify_draft(&circuit).expect_err(name);
        // The first ones tell.
        let first: Vec<String> =
            error.violations.iter().take(3).map(|v| format!("    {}: {}\n", v.place, v.law)).collect();
        format!("{name}\n{}", first.concat())
    });
    insta::assert_snapshot!("laws_of_bootstraps", report.collect::<String>());
}

/// Each factor as one matrix is too much to encode.
#[test]
fn factors_of_too_many_diagonals_are_refused() {
    let request = cipherloom_ir::scheme::BootstrapRequest { to_coefficients: 1, ..SMALL };
    let error = verify_draft(&bootstrapped_flat(request)).unwrap_err();
    assert!(error.violations.iter().any(|v| matches!(v.law, LawError::Bound { found: 512, .. })), "{error}");
}

/// Neither files nor the text form say how many slots: in circuits it is all of them.
#[test]
fn sparse_slots_are_refused() {
    let request = cipherloom_ir::scheme::BootstrapRequest { sparse_log_slots: Some(4), ..SMALL };
    let error = verify_draft(&bootstrapped_flat(request)).unwrap_err();
    let sparse = LawError::SparseBootstrapping { log_slots: 4 };
    assert!(error.violations.iter().any(|v| v.law == sparse), "{error}");
}

/// A circuit of a single bootstrap.
fn bootstrapped_flat(request: cipherloom_ir::scheme::BootstrapRequest) -> Circuit {
    let mut circuit = bootstrapped(SMALL);
    let plan = request.plan().unwrap();
    (circuit.parameters, circuit.bootstrap, circuit.keys) = (plan.circuit(), Some(request), plan.keys);
    circuit
}

/// Files of circuits that do not bootstrap are what they were.
#[test]
fn other_circuits_have_no_third_section() {
    use cipherloom_ir::container::{Container, Kind};
    let sections = |circuit: &Circuit| {
        Container::read(&circuit.to_bytes(), Kind::Circuit).unwrap().header().sections.len()
    };
    assert_eq!((sections(&sample()), sections(&bootstrapped(SMALL))), (2, 3));
    let manifest = |circuit: &Circuit| {
        let bytes = Manifest::of(circuit).unwrap().to_bytes();
        Container::read(&bytes, Kind::Manifest).unwrap().header().sections.len()
    };
    assert_eq!((manifest(&sample()), manifest(&bootstrapped(SMALL))), (1, 2));
}
