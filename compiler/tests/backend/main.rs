//! The stages behind the frontend, on networks built by hand: every circuit means what its graph means.

mod bootstrap;
#[allow(dead_code, reason = "its circuit is for the tests of meanings")]
#[path = "../../../ir/tests/forms/bootstrapped.rs"]
mod bootstrapped;
mod models;
#[allow(dead_code, reason = "each test binary uses its part of the networks")]
mod nets;
mod outputs;
mod passes;
mod refit;
mod snapshots;
mod stages;

use cipherloom_compiler::activation;
use cipherloom_compiler::graph::TensorGraph;
use cipherloom_compiler::graph::evaluate;
use cipherloom_compiler::{CompileOptions, Compiled, Purpose, compile};
use cipherloom_ir::{Exact, Node, Op};

/// Compiles `graph` and compares the circuit's exact meaning with plain arithmetic on the lowered graph.
fn check(graph: &TensorGraph, options: &CompileOptions) -> Compiled {
    let name = &graph.name;
    let compiled = compile(graph, options).unwrap_or_else(|e| panic!("{name}: {e}"));
    let circuit = &compiled.circuit;
    let image = nets::image(graph);
    let lowered = match options.purpose {
        Purpose::Encrypted => activation::lower(graph, options.activation_degree).expect(name).0,
        Purpose::Draft => graph.clone(),
    };
    let expected = evaluate::scores(&lowered, &image);
    let found = Exact::new(circuit).expect(name).run(circuit, &[image]).expect(name).remove(0);
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5 * largest, "{name}: {expected:?} {found:?}");
    }
    let report = &compiled.report;
    let rotations: u64 = report.layers.iter().map(|l| l.rotations).sum();
    assert_eq!(rotations, report.rotations, "{name}: layers add up to the whole");
    compiled
}

/// What a circuit costs, without what depends on the precision of a particular model file.
fn figures(name: &str, c: &Compiled) -> String {
    let r = &c.report;
    let mut out = format!(
        "{name}: log N {}, {} levels, {} rotations, {} rotation keys\n",
        r.log_n, r.levels, r.rotations, r.rotation_keys
    );
    for l in r.layers.iter().filter(|l| l.diagonals > 0) {
        out += &format!("  {:8} diagonals {:4} rotations {:3}\n", l.name, l.diagonals, l.rotations);
    }
    out
}

#[test]
fn activation_degrees_mean_their_polynomials() {
    for activation_degree in [2, 3, 7, 15, 31, 63] {
        check(&nets::named("tiny-relu"), &CompileOptions { activation_degree, ..nets::options() });
    }
}

/// Every image of a batch gets the scores that it gets alone.
#[test]
fn batches_mean_their_graphs_image_by_image() {
    let mut text = String::from("run: cargo test -p cipherloom-compiler --test backend batches_mean\n");
    let cases =
        [("tiny-square", 4), ("tiny-relu", 8), ("residual", 2), ("tiny-square", 64), ("alternating", 2)];
    for (name, batch) in cases {
        let graph = nets::named(name);
        let draft =
            if ["residual", "alternating"].contains(&name) { Purpose::Draft } else { Purpose::Encrypted };
        // As many slots for each image as its gaps need copies for.
        let log_n = (name == "alternating").then_some(13);
        let options = CompileOptions { batch, purpose: draft, log_n, ..nets::options() };
        let compiled = compile(&graph, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let lowered = match draft {
            Purpose::Encrypted => activation::lower(&graph, options.activation_degree).expect(name).0,
            Purpose::Draft => graph.clone(),
        };
        let image = nets::image(&graph);
        let images: Vec<Vec<f64>> =
            (0..batch).map(|b| image.iter().map(|x| x * (1.0 - f64::from(b) / 100.0)).collect()).collect();
        let expected: Vec<f64> = images.iter().flat_map(|i| evaluate::scores(&lowered, i)).collect();
        let circuit = &compiled.circuit;
        let found = Exact::new(circuit).expect(name).run(circuit, &[images.concat()]).expect(name).remove(0);
        assert_eq!(expected.len(), found.len(), "{name}");
        let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
        for (e, f) in expected.iter().zip(&found) {
            assert!((e - f).abs() <= 1e-5 * largest, "{name}: {expected:?} {found:?}");
        }
        if name == "alternating" {
            let slots = circuit.parameters.slots() as u32;
            let back = |node: &Node| matches!(node.op, Op::Rotate(_, keyed) if keyed.step.0 > slots / 2);
            assert!(circuit.nodes.iter().any(back), "{name}: copies are laid by turns to the right");
        }
        text += &figures(&format!("{name} x {batch}"), &compiled);
    }
    insta::assert_snapshot!("batches", text);
    let none = compile(&nets::named("tiny-square"), &CompileOptions { batch: 3, ..nets::options() });
    assert!(matches!(none, Err(cipherloom_compiler::CompileError::Batch { found: 3, .. })), "{none:?}");
}

#[test]
fn residual_drafts_mean_their_graphs() {
    check(
        &nets::named("residual"),
        &CompileOptions { purpose: Purpose::Draft, log_n: Some(12), ..nets::options() },
    );
}

#[test]
fn scales_without_primes_do_not_hide_larger_ones() {
    // The scale of one bit of precision at 2^16 is smaller than any prime there.
    let options = CompileOptions { precision_bits: 1.0, log_n: Some(16), ..nets::options() };
    let compiled = compile(&nets::named("tiny-square"), &options).expect("a larger scale has primes");
    assert!(compiled.circuit.forecast.precision_bits >= 1.0);
}
