//! Networks refitted to their polynomials: nearer to the model than before, and nothing else changed.

use crate::nets::Net;
use cipherloom_compiler::activation;
use cipherloom_compiler::graph::{Fitting, Function, GraphOutput, Kind, NodeId, TensorGraph, evaluate};
use cipherloom_compiler::refit::{Degrees, refit};
use cipherloom_ir::{Activation, Operator};

const DEGREES: Degrees = Degrees { repaired: 2, carried: 4 };

/// Inputs from −1 to 1 without a pattern.
fn inputs(graph: &TensorGraph, count: u64) -> Vec<Vec<f64>> {
    let input = graph.input.as_ref().expect("an input").node;
    let elements = graph.node(input).shape.iter().product::<u32>() as usize;
    let mut state = 77u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| (0..elements).map(|_| number()).collect()).collect()
}

/// Root mean square distance of the scores with polynomials from those of the model.
fn error(model: &TensorGraph, refitted: &TensorGraph, inputs: &[Vec<f64>]) -> f64 {
    let (lowered, _) = activation::lower(refitted, DEGREES.carried).expect("ranges are known");
    let square = |x: &Vec<f64>| {
        let (wanted, found) = (evaluate::scores(model, x), evaluate::scores(&lowered, x));
        wanted.iter().zip(found).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    };
    (inputs.iter().map(square).sum::<f64>() / inputs.len() as f64).sqrt()
}

/// The model at polynomials of the same degrees with its own weights.
fn capped(model: &TensorGraph, refitted: &TensorGraph) -> TensorGraph {
    let mut out = model.clone();
    for id in model.order() {
        let fitting = refitted.node(id).fitting.as_ref();
        out.node_mut(id).fitting = fitting.map(|f| Fitting { degree: f.degree, wanted: Vec::new() });
    }
    out
}

fn networks() -> Vec<TensorGraph> {
    vec![
        Net::new("chain", &[2, 8, 8])
            .conv(4, 3, 1, 1)
            .relu()
            .conv(4, 3, 2, 1)
            .relu()
            .flatten()
            .dense(5)
            .done(),
        Net::new("residual", &[3, 8, 8])
            .conv(4, 3, 1, 1)
            .relu()
            .block(4, 1)
            .block(4, 2)
            .flatten()
            .dense(5)
            .done(),
        Net::new("branches", &[3, 6, 6]).conv(3, 3, 1, 1).relu().branches(3).relu().flatten().dense(4).done(),
        Net::new("gate", &[2, 6, 6]).conv(3, 3, 1, 1).relu().gate().conv(2, 3, 1, 1).done(),
    ]
}

#[test]
fn refitted_networks_are_nearer_to_the_model_on_other_data_too() {
    for model in networks() {
        let all = inputs(&model, 90);
        let refitted = refit(&model, DEGREES, &all[..60]).expect("layers behind activations");
        let before = error(&model, &capped(&model, &refitted), &all[60..]);
        let after = error(&model, &refitted, &all[60..]);
        assert!(after < 0.8 * before, "{}: {before} before, {after} after", model.name);
    }
}

#[test]
fn layers_before_the_first_polynomial_and_networks_without_one_stay() {
    let weights = |graph: &TensorGraph| -> Vec<Vec<f32>> {
        let of = |id| match &graph.node(id).kind {
            Kind::Linear { operators, .. } => match &operators[..] {
                [Operator::Convolution { weight, .. } | Operator::Dense { weight }] => Some(*weight),
                _ => None,
            },
            _ => None,
        };
        graph.order().filter_map(of).map(|w| graph.tensors[w.0 as usize].values.clone()).collect()
    };
    let model = Net::new("squares", &[2, 6, 6]).conv(3, 3, 1, 1).square().flatten().dense(4).done();
    assert!(refit(&model, DEGREES, &inputs(&model, 40)).is_none());
    let model = networks().remove(0);
    let refitted = refit(&model, DEGREES, &inputs(&model, 40)).expect("a layer behind an activation");
    let (before, after) = (weights(&model), weights(&refitted));
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    // No inputs, nothing to fit to; too few for the weights of a dense layer.
    assert!(refit(&model, DEGREES, &[]).is_none());
    let dense = Net::new("dense", &[2, 6, 6]).flatten().dense(8).relu().dense(3).done();
    assert!(refit(&dense, DEGREES, &inputs(&dense, 2)).is_none());
    assert!(refit(&dense, DEGREES, &inputs(&dense, 3)).is_some());
}

#[test]
fn degrees_are_lower_where_all_readers_are_refitted() {
    let model = networks().remove(1);
    let refitted = refit(&model, DEGREES, &inputs(&model, 20)).expect("layers behind activations");
    let of = |id| matches!(model.node(id).kind, Kind::Elementwise(Function::Exact(_)));
    let degrees: Vec<Option<u32>> = model
        .order()
        .filter(|id| of(*id))
        .map(|id| Some(refitted.node(id).fitting.as_ref()?.degree))
        .collect();
    // The first activation is read by a block's shortcut, and so is the first block's; the last is read by a dense layer alone.
    assert_eq!(degrees, [4, 2, 4, 2, 2].map(Some));
    let (lowered, _) = activation::lower(&refitted, 7).expect("ranges are known");
    let length = |id| match &lowered.node(id).kind {
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => Some(coefficients.len()),
        _ => None,
    };
    assert_eq!(lowered.order().filter_map(length).collect::<Vec<_>>(), [5, 3, 5, 3, 3]);
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = networks().remove(1);
    let inputs = inputs(&model, 30);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let refitted = pool.install(|| refit(&model, DEGREES, &inputs)).expect("layers behind activations");
        let densities: Vec<_> = refitted.order().map(|id| refitted.node(id).clone()).collect();
        (refitted.tensors, densities)
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn wild_inputs_leave_finite_weights() {
    let model = networks().remove(1);
    let mut inputs = inputs(&model, 20);
    inputs[3].iter_mut().for_each(|x| *x *= 1e18);
    // Values of all layers overflow: what is solved for is no number, and the layers stay.
    if let Some(refitted) = refit(&model, DEGREES, &inputs) {
        assert!(refitted.tensors.iter().all(|t| t.values.iter().all(|v| v.is_finite())));
    }
}

#[test]
fn each_reader_of_a_tensor_keeps_what_its_own_activation_should_yield() {
    let mut model = Net::new("two", &[2, 6, 6]).conv(3, 3, 1, 1).relu().conv(3, 3, 1, 1).done();
    let source = model.operands(NodeId(2))[0];
    let mut second = model.node(NodeId(2)).clone();
    second.kind = Kind::Elementwise(Function::Exact(Activation::Sigmoid));
    let second = model.add(second, &[source]);
    model.outputs.push(GraphOutput { node: second, ..model.outputs[0].clone() });
    let refitted = refit(&model, DEGREES, &inputs(&model, 30)).expect("a layer behind an activation");
    let wanted = |id| refitted.node(id).fitting.clone().expect("an activation").wanted;
    assert!(wanted(second).iter().all(|y| (0.0..=1.0).contains(y)) && wanted(NodeId(2)) != wanted(second));
}

#[test]
fn a_layer_that_is_an_output_makes_up_for_nobody() {
    // z = dense(x) is an output and part of u = relu(x) + z: refitted to make up for the relu it would be wrong.
    let mut model = Net::new("outputs", &[3, 6, 6]).conv(3, 3, 1, 1).relu().branches(3).done();
    let sum = model.outputs[0].node;
    let layer = model.operands(sum)[1];
    let before = inputs(&model, 60);
    let error_of = |model: &TensorGraph, refitted: &TensorGraph| {
        let mut first = refitted.clone();
        first.outputs = vec![GraphOutput { node: layer, ..model.outputs[0].clone() }];
        let mut own = model.clone();
        own.outputs = first.outputs.clone();
        error(&own, &first, &before)
    };
    let as_part = error_of(&model, &refit(&model, DEGREES, &before).expect("layers"));
    model.outputs.push(GraphOutput { node: layer, ..model.outputs[0].clone() });
    let as_output = error_of(&model, &refit(&model, DEGREES, &before).expect("layers"));
    assert!(as_output < as_part, "{as_output} as an output, {as_part} as a part of a sum");
}
