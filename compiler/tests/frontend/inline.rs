//! Functions of the model's own and branches, written out; weights in other types.

use crate::onnx::{Attribute, File, Function, Node};
use crate::{agrees, input};
use cipherloom_compiler::frontend::{LoadOptions, Model, load_bytes};

#[track_caller]
pub fn loaded(file: &File, outputs: &str) -> Model {
    load_bytes(&file.bytes(outputs), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
pub fn refused(file: &File, outputs: &str) -> String {
    match load_bytes(&file.bytes(outputs), &LoadOptions::default()) {
        Ok(_) => panic!("the model was accepted"),
        Err(e) => e.to_string(),
    }
}

/// Both files mean the same, by tract and by us.
#[track_caller]
pub fn same(file: &File, plain: &File, outputs: &str) {
    let (ours, theirs) = (loaded(file, outputs), loaded(plain, outputs));
    for seed in 0..2 {
        let x = input(&theirs, seed);
        agrees(&ours, &x, 1e-5);
        let [a, b] = [&ours, &theirs].map(|model| model.reference.run(&x).expect("tract evaluates it"));
        assert_eq!(a, b);
    }
    assert_eq!(ours.graph.order().count(), theirs.graph.order().count());
}

pub fn function(
    name: &'static str,
    inputs: &'static str,
    outputs: &'static str,
    nodes: Vec<Node>,
) -> Function {
    Function { name, inputs, outputs, opset: 17, nodes, attributes: "", defaults: vec![] }
}

pub fn call(name: &str, inputs: &str, outputs: &str) -> Node {
    Node::new(name, inputs, outputs).in_domain("own")
}

fn block() -> Function {
    let conv = Node::new("Conv", "a w b", "t").named("conv").with("strides", Attribute::Of("steps", 7));
    let leaky = Node::new("LeakyRelu", "t", "r").with("alpha", Attribute::Of("slope", 1));
    Function {
        attributes: "steps",
        defaults: vec![("slope", Attribute::Float(0.25))],
        ..function("Block", "a w b", "r", vec![conv, leaky])
    }
}

/// A function that is called twice, once with an attribute and an operand left out, and once by another.
#[test]
fn calls_mean_what_their_functions_do() {
    let twice = function(
        "Twice",
        "a v w",
        "s u",
        vec![
            call("Block", "a v", "t").ints("steps", &[1, 1]),
            call("Block", "t w", "u").ints("steps", &[2, 2]).float("slope", 0.5),
            Node::new("Neg", "u", "s"),
        ],
    );
    let weights = |file: File| file.random("v", &[3, 2, 1, 1]).random("w", &[2, 3, 2, 2]);
    let file = weights(File::new(17, &[1, 2, 4, 4])).function(twice).function(block());
    let file = file.node(call("Twice", "x v w", "t r").named("first"));
    let file = file.node(Node::new("Add", "t r", "z")).node(Node::new("Sub", "r z", "y"));
    let plain =
        weights(File::new(17, &[1, 2, 4, 4])).node(Node::new("Conv", "x v", "a").ints("strides", &[1, 1]));
    let plain = plain.node(Node::new("LeakyRelu", "a", "b").float("alpha", 0.25));
    let plain = plain.node(Node::new("Conv", "b w", "c").ints("strides", &[2, 2]));
    let plain =
        plain.node(Node::new("LeakyRelu", "c", "r").float("alpha", 0.5)).node(Node::new("Neg", "r", "t"));
    let plain = plain.node(Node::new("Add", "t r", "z")).node(Node::new("Sub", "r z", "y"));
    same(&file, &plain, "y");
    let model = loaded(&file, "y");
    let names: Vec<&str> = model.graph.order().map(|id| model.graph.node(id).name.as_str()).collect();
    insta::assert_snapshot!(names.join("\n"));
}

/// Names of a function may stand in the graph too, and what is handed through is no node.
#[test]
fn names_of_bodies_are_their_own() {
    let hand = function("Hand", "a", "t a", vec![Node::new("Relu", "a", "u"), Node::new("Relu", "u", "t")]);
    let file = File::new(17, &[1, 4]).function(hand);
    let file = file.node(Node::new("Sigmoid", "x", "p/u")).node(call("Hand", "p/u", "p q"));
    let file = file.node(Node::new("Add", "p q", "s")).node(Node::new("Sub", "s p/u", "y"));
    let plain = File::new(17, &[1, 4]).node(Node::new("Sigmoid", "x", "q"));
    let plain = plain.node(Node::new("Relu", "q", "u")).node(Node::new("Relu", "u", "p"));
    same(&file, &plain.node(Node::new("Add", "p q", "s")).node(Node::new("Sub", "s q", "y")), "y");
}

#[test]
fn functions_that_cannot_be_written_out_are_refused() {
    let file = |functions: Vec<Function>| {
        let call = File::new(17, &[1, 4]).node(call("F", "x", "y"));
        refused(&functions.into_iter().fold(call, File::function), "y")
    };
    let calls = |name: &'static str, other: &str| function(name, "a", "b", vec![call(other, "a", "b")]);
    let names: Vec<&'static str> = (0..40).map(|k| &*format!("F{k}").leak()).collect();
    let mut doubling: Vec<Function> = (0..39)
        .map(|k| {
            let nodes = vec![call(names[k + 1], "a", "c"), call(names[k + 1], "c", "b")];
            function(if k == 0 { "F" } else { names[k] }, "a", "b", nodes)
        })
        .collect();
    doubling.push(function(names[39], "a", "a", vec![]));
    let older = Function { opset: 12, ..function("F", "a", "b", vec![Node::new("Softmax", "a", "b")]) };
    let messages = [
        file(vec![calls("F", "G"), calls("G", "F")]),
        file(doubling),
        file(vec![function("F", "", "b", vec![Node::new("Relu", "a", "b")])]),
        file(vec![function("F", "a", "b", vec![Node::new("Relu", "c", "b")])]),
        file(vec![calls("F", "Relu"), calls("F", "Relu")]),
        file(vec![older]),
        file(vec![function("F", "a", "b", vec![Node::new("LpPool", "a", "b").named("pool")])]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn damaged_functions_give_errors_and_no_panic() {
    let first = vec![Node::new("Relu", "a", "h"), call("Block", "a w", "t").ints("steps", &[1, 1])];
    let nodes = first.into_iter().chain([branches("c")]).collect();
    let inner = function("F", "a w c", "r", nodes);
    let file = File::new(17, &[1, 2, 4, 4]).random("w", &[3, 2, 1, 1]).typed("c", &[], 9, &[1]);
    let whole = file.function(inner).function(block()).node(call("F", "x w c", "y")).bytes("y");
    load_bytes(&whole, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for k in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[k] ^= 1 << (k % 8);
        let _ = load_bytes(&flipped, &LoadOptions::default());
        let _ = load_bytes(&whole[..k], &LoadOptions::default());
    }
}

fn branches(condition: &str) -> Node {
    let then = vec![Node::new("Relu", "h", "t"), Node::new("Add", "t h", "u")];
    let other = vec![Node::new("Neg", "h", "t")];
    Node::new("If", condition, "r")
        .named("choice")
        .with("then_branch", Attribute::Graph(then, "u"))
        .with("else_branch", Attribute::Graph(other, "t"))
}

/// The condition is a tensor of the file, or follows from the input's shape.
#[test]
fn branches_that_are_known_are_written_out() {
    let start = || File::new(17, &[1, 4]).node(Node::new("Sigmoid", "x", "h"));
    let end = |file: File| file.node(Node::new("Neg", "r", "y"));
    let relu = || start().node(Node::new("Relu", "h", "t")).node(Node::new("Add", "t h", "r"));
    same(&end(start().typed("c", &[], 9, &[1]).node(branches("c"))), &end(relu()), "y");
    let neg = start().node(Node::new("Neg", "h", "r"));
    same(&end(start().typed("c", &[1], 9, &[0]).node(branches("c"))), &end(neg), "y");
    let shape = start().node(Node::new("Shape", "h", "s")).integers("four", &[1, 4]).scalar("one", 1);
    let shape = shape.node(Node::new("Gather", "s one", "d")).node(Node::new("Gather", "four one", "e"));
    let shape = shape.node(Node::new("Equal", "d e", "c")).node(branches("c"));
    same(&end(shape), &end(relu()), "y");
}

#[test]
fn branches_that_the_input_chooses_are_refused() {
    let file = File::new(17, &[1, 4]).node(Node::new("Relu", "x", "h")).floats("z", &[], &[0.0]);
    let file =
        file.node(Node::new("ReduceSum", "x", "s").int("keepdims", 0)).node(Node::new("Greater", "s z", "c"));
    insta::assert_snapshot!(refused(&file.node(branches("c")).node(Node::new("Neg", "r", "y")), "y"));
}

/// As exporters write what was quantised: the weights transposed or reshaped behind DequantizeLinear.
#[test]
fn what_is_made_of_dequantised_weights_is_folded() {
    let raw: Vec<u8> = (0..12u8).map(|k| k.wrapping_mul(87)).collect();
    let file = File::new(17, &[1, 4]).typed("q", &[1, 3, 4], 3, &raw).floats("s", &[3], &[0.5, 0.25, 0.125]);
    let file = file.typed("z", &[3], 3, &[1, 0, 255]).integers("shape", &[4, 3]);
    let file = file.node(Node::new("DequantizeLinear", "q s z", "d").int("axis", 1));
    let file = file.node(Node::new("Transpose", "d", "t").ints("perm", &[0, 2, 1]));
    let file = file.node(Node::new("Reshape", "t shape", "r")).node(Node::new("Mul", "r r", "w"));
    let file = file.node(Node::new("MatMul", "x w", "m"));
    let model = loaded(&file, "m");
    for seed in 0..2 {
        agrees(&model, &input(&model, seed), 1e-6);
    }
}

/// Inputs and weights become float32, sizes that are computed keep their precision.
#[test]
fn double_precision_is_read_as_single() {
    let weights: Vec<f64> = (0..8).map(|k| f64::from(k) / 7.0 - 0.5).collect();
    let ends = |mut file: File, kind| {
        file.element_type = kind;
        file.node(Node::new("Gemm", "x w b", "g")).node(Node::new("Mul", "g g", "y"))
    };
    let double = File::new(17, &[1, 4]).doubles("w", &[4, 2], &weights).doubles("b", &[2], &[0.1, -0.2]);
    let singles: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
    let single = File::new(17, &[1, 4]).floats("w", &[4, 2], &singles).floats("b", &[2], &[0.1, -0.2]);
    let (double, single) = (ends(double, 11), ends(single, 1));
    same(&double, &single, "y");
    assert!(loaded(&double, "y").notes.iter().any(|n| n.contains("float64")));
    assert!(loaded(&single, "y").notes.is_empty());
    let cast = |name: &str, to: i64| Node::new("Cast", name, &format!("{name}{to}")).int("to", to);
    let within = File::new(17, &[1, 4]).floats("w", &[4, 2], &singles).doubles("b", &[2], &[0.1, -0.2]);
    let within = within.node(cast("x", 11)).node(cast("w", 11)).node(Node::new("Gemm", "x11 w11 b", "g"));
    same(
        &within.node(Node::new("Mul", "g g", "h")).node(Node::new("Cast", "h", "y").int("to", 1)),
        &single,
        "y",
    );
    let large =
        ends(File::new(17, &[1, 4]).doubles("w", &[4, 2], &[1e300; 8]).doubles("b", &[2], &[0.0; 2]), 11);
    insta::assert_snapshot!(refused(&large, "y"));
}

/// Of a batch of one, the one image.
#[test]
fn the_first_of_the_batch_is_the_whole() {
    let file = File::new(17, &[1, 2, 3, 3]).scalar("zero", 0).integers("axes", &[0]);
    let file = file.node(Node::new("Gather", "x zero", "g")).node(Node::new("Unsqueeze", "g axes", "u"));
    let file = file.node(Node::new("Conv", "u w", "c")).random("w", &[3, 2, 2, 2]);
    let file =
        file.node(Node::new("Gather", "c axes", "k")).integers("one", &[-1]).integers("end", &[1 << 40]);
    let model = loaded(&file.node(Node::new("Slice", "k one end axes", "y")), "y");
    assert_eq!(model.graph.order().count(), 2);
    agrees(&model, &input(&model, 1), 1e-5);
}
