//! Outputs that nobody calibrated: what the modulus holds, what is warned of, what is refused.

use cipherloom_compiler::graph::{Function, GraphInput, GraphOutput, Kind, TensorGraph, TensorNode};
use cipherloom_compiler::{CompileError, CompileOptions, Compiled, compile};
use cipherloom_ir::{Operator, Preprocessing, Tensor, output_bounds};

/// `(factor · W x)` to the power of 2^squares on 64 elements in [0, 1]; W is one, or has rows of alternating signs.
fn power(factor: f64, alternating: bool, squares: u32) -> TensorGraph {
    let mut graph = TensorGraph::new("power");
    let node = |kind, name: &str| {
        let (name, shape) = (name.to_owned(), vec![64]);
        TensorNode { kind, name, shape, range: None, density: None, fitting: None }
    };
    let x = graph.add(node(Kind::Input, "x"), &[]);
    let preprocessing = Preprocessing { scale: 1.0 / 255.0, mean: vec![0.0], std: vec![1.0] };
    graph.input = Some(GraphInput { node: x, preprocessing, samples: vec![] });
    let values = (0..64 * 64).map(|k| if k % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let weight = graph.add_tensor(Tensor { name: "w".into(), shape: vec![64, 64], values });
    let operators = if alternating { vec![Operator::Dense { weight }] } else { vec![] };
    let mut last = graph.add(node(Kind::Linear { operators, scale: factor, bias: None }, "scaled"), &[x]);
    for k in 0..squares {
        last = graph.add(node(Kind::Elementwise(Function::Square), &format!("square{k}")), &[last]);
    }
    let (name, labels, client_steps) = ("y".to_owned(), vec![], vec![]);
    graph.outputs.push(GraphOutput { node: last, name, labels, client_steps });
    graph
}

fn compiled(graph: &TensorGraph) -> Compiled {
    compile(graph, &crate::nets::options()).expect("compiles")
}

#[test]
fn the_modulus_holds_what_intervals_prove() {
    let Compiled { circuit, report } = compiled(&power(8.0, false, 2));
    assert_eq!(report.warnings, Vec::<String>::new());
    let bound = output_bounds(&circuit).expect("has bounds")[0];
    assert!(bound.fits() && bound.reach >= 4096.0 && bound.proved().secret_key < 4096.0, "{bound:?}");
    assert_eq!(circuit.outputs[0].range, [0.0, 4096.0]);
}

#[test]
fn what_is_not_proved_is_told() {
    let Compiled { circuit, report } = compiled(&power(6.0, true, 2));
    let bound = output_bounds(&circuit).expect("has bounds")[0];
    assert!(!bound.fits(), "{bound:?}");
    insta::assert_snapshot!(report.warnings.join("\n"));
    let mut calibrated = power(6.0, true, 2);
    let output = calibrated.outputs[0].node;
    calibrated.node_mut(output).range = Some([0.0, 1000.0]);
    assert_eq!(compiled(&calibrated).report.warnings, Vec::<String>::new());
}

#[test]
fn outputs_that_no_base_prime_holds_are_named() {
    let refused =
        |graph: &TensorGraph, options: &CompileOptions| compile(graph, options).expect_err("is refused");
    let error = refused(&power(1e9, false, 0), &crate::nets::options());
    assert!(matches!(error, CompileError::OutputRange { .. }), "{error}");
    insta::assert_snapshot!(error.to_string());
    let fine = CompileOptions { precision_bits: 28.0, ..crate::nets::options() };
    let mut small = power(1.0, false, 1);
    let output = small.outputs[0].node;
    small.node_mut(output).range = Some([0.0, 30.0]);
    let error = refused(&small, &fine);
    assert!(!error.to_string().contains("holds 0"), "{error}");
}
