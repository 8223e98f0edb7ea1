//! Golden text of the frontend on a small ONNX file that uses most of what it does: the graph node by node.

use crate::onnx::{File, Node};
use cipherloom_compiler::frontend::{LoadOptions, load_bytes};

/// Convolution with a folded batch norm, ReLU, pooling, an exporter's reshape, a dense layer whose weight is computed
/// from constants, Softmax.
fn file() -> File {
    File::new(17, &[1, 1, 4, 4])
        .node(Node::new("Conv", "x w", "c").named("conv").ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("BatchNormalization", "c scale shift mean variance", "n").named("norm"))
        .node(Node::new("Relu", "n", "r"))
        .node(Node::new("AveragePool", "r", "p").ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]))
        .node(Node::new("Reshape", "p flat", "f"))
        .node(Node::new("Sqrt", "squared", "root"))
        .node(Node::new("Div", "raw root", "d"))
        .node(Node::new("Transpose", "d", "t").ints("perm", &[1, 0]))
        .node(Node::new("MatMul", "f t", "m"))
        .node(Node::new("Add", "m b", "logits"))
        .node(Node::new("Softmax", "logits", "y").named("softmax"))
        .floats("w", &[2, 1, 3, 3], &[0.5, 0.0, -0.5, 1.0, 0.0, -1.0, 0.5, 0.0, -0.5].repeat(2))
        .floats("scale", &[2], &[1.0, 2.0])
        .floats("shift", &[2], &[0.0, 0.5])
        .floats("mean", &[2], &[0.25, -0.25])
        .floats("variance", &[2], &[1.0, 4.0])
        .integers("flat", &[1, -1])
        .floats("squared", &[1], &[2.0])
        .floats("raw", &[2, 8], &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0].repeat(2))
        .floats("b", &[2], &[0.5, -0.5])
        .metadata("cipherloom.ranges", r#"{"x":[0,1],"n":[-4,4],"logits":[-8,8]}"#)
}

#[test]
fn the_graph_of_a_small_file() {
    let model = load_bytes(&file().bytes("y"), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let graph = &model.graph;
    let weights: usize = graph.tensors.iter().map(|t| t.values.len()).sum();
    let mut out = format!(
        "run: cargo test -p cipherloom-compiler --test frontend stages\ncost: {} nodes, {weights} weights\n",
        graph.order().count()
    );
    for id in graph.order() {
        let node = graph.node(id);
        let operands: Vec<u32> = graph.operands(id).iter().map(|o| o.0).collect();
        out += &format!(
            "{} {} {:?} of {operands:?} range {:?}\n  {:?}\n",
            id.0, node.name, node.shape, node.range, node.kind
        );
    }
    for (k, tensor) in graph.tensors.iter().enumerate() {
        out += &format!("t{k} {} {:?} {:?}\n", tensor.name, tensor.shape, tensor.values);
    }
    for output in &graph.outputs {
        out += &format!("output {} from {} then {:?}\n", output.name, output.node.0, output.client_steps);
    }
    model.notes.iter().for_each(|note| out += &format!("note {note}\n"));
    insta::assert_snapshot!(out);
    let tensor = graph.tensors.iter().find(|t| t.values.len() == 16).expect("the dense weight");
    assert_eq!(tensor.values[0], 1.0 / 2f32.sqrt(), "folded in float32, each operation rounded once");
}
