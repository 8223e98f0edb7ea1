//! What the frontend yields, the stages behind it take: exact meaning of draft circuits against the graph's.

use crate::input;
use crate::onnx::{File, Node};
use cipherloom_compiler::frontend::{LoadOptions, load_bytes};
use cipherloom_compiler::graph::evaluate;
use cipherloom_compiler::{CompileOptions, Purpose, compile};
use cipherloom_ir::Exact;

#[track_caller]
fn check(file: &File, output: &str) {
    let model = load_bytes(&file.bytes(output), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let options = CompileOptions { purpose: Purpose::Draft, ..CompileOptions::default() };
    let circuit = compile(&model.graph, &options).unwrap_or_else(|e| panic!("{e}")).circuit;
    let x: Vec<f64> = input(&model, 5).iter().map(|v| f64::from(*v)).collect();
    let expected = evaluate::scores(&model.graph, &x);
    let exact = Exact::new(&circuit).unwrap_or_else(|e| panic!("{e}"));
    let found = exact.run(&circuit, &[x]).unwrap_or_else(|e| panic!("{e}")).remove(0);
    assert_eq!(expected.len(), found.len());
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() <= 1e-5, "{e} {f}");
    }
}

fn image(node: Node) -> File {
    File::new(17, &[1, 4, 6, 7]).node(node)
}

#[test]
fn images_that_padding_makes_larger() {
    check(&image(Node::new("Pad", "x p", "y")).integers("p", &[0, 1, 2, 0, 0, 2, 0, 3]), "y");
    let conv = Node::new("Conv", "x w", "y").ints("pads", &[4, 4, 4, 4]);
    check(&image(conv).random("w", &[2, 4, 3, 3]), "y");
}

#[test]
fn concatenation_of_columns() {
    let wide = image(Node::new("Relu", "x", "r")).node(Node::new("Concat", "r x", "y").int("axis", -1));
    check(&wide, "y");
}

#[test]
fn moved_axes_before_a_dense_map() {
    let moved = image(Node::new("Conv", "x w b", "s")).random("w", &[2, 4, 3, 3]).random("b", &[2]);
    let moved = moved.node(Node::new("Transpose", "s", "t").ints("perm", &[0, 2, 3, 1]));
    let moved = moved.node(Node::new("Flatten", "t", "f")).node(Node::new("Gemm", "f g", "y"));
    check(&moved.random("g", &[40, 3]), "y");
}

#[test]
fn a_channel_gate() {
    let gate = image(Node::new("GlobalAveragePool", "x", "g")).node(Node::new("Sigmoid", "g", "s"));
    check(&gate.node(Node::new("Mul", "x s", "y")), "y");
}

#[test]
fn one_dimensional_networks() {
    let net = File::new(17, &[1, 3, 16]).node(Node::new("Conv", "x w b", "c").ints("pads", &[1, 1]));
    let net = net.random("w", &[4, 3, 3]).random("b", &[4]).node(Node::new("Relu", "c", "r"));
    let pool = Node::new("AveragePool", "r", "p").ints("kernel_shape", &[2]).ints("strides", &[2]);
    let net = net.node(pool).node(Node::new("Flatten", "p", "f")).node(Node::new("Gemm", "f g", "y"));
    check(&net.random("g", &[32, 3]), "y");
}

#[test]
fn pixels_that_become_more() {
    let up = Node::new("ConvTranspose", "x w b", "y").ints("strides", &[2, 2]).ints("pads", &[1, 0, 0, 1]);
    check(&image(up).random("w", &[4, 2, 3, 2]).random("b", &[2]), "y");
    let resize = image(Node::new("Resize", "x - s", "y").text("mode", "linear"));
    check(&resize.floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]), "y");
}

#[test]
fn maxima_of_windows() {
    let pool = Node::new("MaxPool", "x", "y").ints("kernel_shape", &[3, 2]).ints("strides", &[2, 2]);
    check(&image(pool.ints("pads", &[1, 0, 1, 0])), "y");
}

#[test]
fn groups_that_are_normalised() {
    let mut net = File::new(21, &[1, 4, 8, 8]);
    let mut last = "x".to_owned();
    for (k, (groups, stride)) in [(2, 1), (4, 2), (1, 1), (2, 2)].into_iter().enumerate() {
        let named = |word: &str| format!("{word}{k}");
        let conv = Node::new("Conv", &format!("{last} w{k} c{k}"), &named("y"));
        net = net.node(conv.ints("pads", &[1, 1, 1, 1]).ints("strides", &[stride, stride]));
        let norm = Node::new("GroupNormalization", &format!("y{k} g{k} b{k}"), &named("n"));
        net = net.node(norm.int("num_groups", groups).float("epsilon", 1e-2));
        net = net.node(Node::new("Relu", &named("n"), &named("r")));
        net = net.random(&named("w"), &[8, if k == 0 { 4 } else { 8 }, 3, 3]).random(&named("c"), &[8]);
        net = net.random(&named("g"), &[8]).random(&named("b"), &[8]);
        last = named("r");
    }
    net = net.node(Node::new("Flatten", &last, "f")).node(Node::new("Gemm", "f d", "z"));
    check(&net.random("d", &[32, 3]), "z");
}
