//! Operators beyond the plain CNN's, on small random models, ours against tract's: windows of one to three axes, resizing,
//! regrouping, sums, activations, maxima, normalizations.

use crate::onnx::{File, Node};
use crate::operators::check;
use crate::{agrees, input};
use cipherloom_compiler::frontend::{FirstAxis, LoadOptions, load_bytes};
use cipherloom_compiler::graph::Kind;

fn image(node: Node) -> File {
    File::new(18, &[1, 4, 6, 7]).node(node)
}

#[test]
fn windows_of_one_and_three_axes() {
    let line = |node: Node| File::new(17, &[1, 4, 11]).node(node);
    let volume = |node: Node| File::new(17, &[1, 4, 5, 4, 6]).node(node);
    let conv = || Node::new("Conv", "x w b", "y");
    let weighted = |f: File, w: &[i64]| f.random("w", w).random("b", &[w[0]]);
    check(&weighted(line(conv().ints("pads", &[2, 1]).ints("dilations", &[2])), &[6, 4, 3]), "y");
    check(
        &weighted(
            volume(conv().ints("strides", &[2, 1, 2]).ints("pads", &[1, 0, 1, 0, 1, 1])),
            &[3, 4, 3, 2, 3],
        ),
        "y",
    );
    check(&weighted(volume(conv().int("group", 2).ints("dilations", &[2, 1, 1])), &[4, 2, 2, 3, 2]), "y");
    let pool = |f: fn(Node) -> File, kernel: &[i64]| {
        f(Node::new("AveragePool", "x", "y").ints("kernel_shape", kernel))
    };
    check(
        &pool(|n| File::new(17, &[1, 4, 11]).node(n.ints("strides", &[2]).ints("pads", &[1, 1])), &[3]),
        "y",
    );
    check(&pool(|n| File::new(17, &[1, 2, 5, 4, 6]).node(n.ints("strides", &[2, 2, 2])), &[3, 2, 2]), "y");
    check(&volume(Node::new("GlobalAveragePool", "x", "y")), "y");
}

#[test]
fn transposed_convolutions() {
    let plain = || Node::new("ConvTranspose", "x w b", "y");
    for (node, weight, channels) in [
        (plain(), [4, 3, 3, 2], 3),
        (plain().ints("strides", &[2, 3]), [4, 3, 3, 2], 3),
        (
            plain().ints("strides", &[2, 2]).ints("pads", &[1, 1, 1, 1]).ints("output_padding", &[1, 1]),
            [4, 3, 3, 3],
            3,
        ),
        (plain().ints("strides", &[3, 2]).ints("pads", &[0, 1, 2, 1]), [4, 3, 2, 4], 3),
        (plain().ints("dilations", &[2, 3]).ints("strides", &[2, 1]), [4, 3, 2, 2], 3),
        (plain().int("group", 2).ints("strides", &[2, 2]), [4, 3, 2, 2], 6),
    ] {
        check(&image(node).random("w", &weight).random("b", &[channels]), "y");
    }
    let line = File::new(17, &[1, 4, 7]).node(Node::new("ConvTranspose", "x w", "y").ints("strides", &[2]));
    check(&line.random("w", &[4, 2, 3]), "y");
}

#[test]
fn resizing() {
    let resize = |scales: &[f32], mode: &'static str, how: &'static str| {
        let node = Node::new("Resize", "x - s", "y").text("mode", mode);
        image(node.text("coordinate_transformation_mode", how)).floats("s", &[4], scales)
    };
    check(&resize(&[1.0, 1.0, 2.0, 2.0], "nearest", "asymmetric"), "y");
    check(&resize(&[1.0, 1.0, 2.0, 2.0], "linear", "half_pixel"), "y");
    check(&resize(&[1.0, 1.0, 2.0, 3.0], "linear", "align_corners"), "y");
    check(&resize(&[1.0, 1.0, 0.5, 1.0], "linear", "asymmetric"), "y");
}

#[test]
fn regrouping() {
    check(&image(Node::new("DepthToSpace", "x", "y").int("blocksize", 2)), "y");
    check(&image(Node::new("DepthToSpace", "x", "y").int("blocksize", 2).text("mode", "CRD")), "y");
    let even = File::new(17, &[1, 3, 4, 6]).node(Node::new("SpaceToDepth", "x", "y").int("blocksize", 2));
    check(&even, "y");
    check(&image(Node::new("Tile", "x r", "y")).integers("r", &[1, 2, 1, 3]), "y");
    let framed = image(Node::new("Concat", "c x d", "y").int("axis", 2));
    check(&framed.random("c", &[1, 4, 2, 7]).random("d", &[1, 4, 1, 7]), "y");
    let parts = File::new(17, &[1, 4, 6, 7]).node(Node::new("Split", "x s", "a b c").int("axis", 1));
    let parts = parts.integers("s", &[1, 2, 1]).node(Node::new("Sub", "c a", "d"));
    check(&parts.node(Node::new("Concat", "d b", "y").int("axis", 1)), "y");
    for (mode, pads) in [("reflect", [0, 0, 2, 1, 0, 0, 1, 3]), ("edge", [0, 0, 0, 2, 0, 0, 3, 1])] {
        check(&image(Node::new("Pad", "x p", "y").text("mode", mode)).integers("p", &pads), "y");
    }
}

#[test]
fn sums_over_axes() {
    for (op, opset) in [("ReduceMean", 17), ("ReduceSum", 12)] {
        for axes in [&[1][..], &[2], &[-1], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]] {
            let node = Node::new(op, "x", "y").ints("axes", axes);
            check(&File::new(opset, &[1, 4, 6, 7]).node(node), "y");
        }
        let node = Node::new(op, "x", "y").ints("axes", &[1, 2]).int("keepdims", 0);
        check(&File::new(opset, &[1, 4, 6, 7]).node(node), "y");
    }
    let mean = image(Node::new("Relu", "x", "r")).node(Node::new("Mean", "x r c", "y"));
    check(&mean.random("c", &[4, 1, 1]), "y");
}

#[test]
fn more_activations() {
    for op in ["Abs", "Mish", "Softsign", "Sign", "Exp", "Elu", "Selu", "Celu", "ThresholdedRelu"] {
        check(&image(Node::new(op, "x", "y")), "y");
    }
    check(&image(Node::new("Elu", "x", "y").float("alpha", 0.5)), "y");
    check(&image(Node::new("PRelu", "x a", "y")).random("a", &[4, 1, 1]), "y");
    let positive = |op: &str| image(Node::new("Exp", "x", "e")).node(Node::new(op, "e", "y"));
    check(&positive("Sqrt"), "y");
    check(&positive("Reciprocal"), "y");
    let quotient = image(Node::new("Exp", "x", "e")).node(Node::new("Div", "x e", "y"));
    check(&quotient, "y");
    let gate = image(Node::new("Softplus", "x", "p")).node(Node::new("Tanh", "p", "t"));
    let mish = check(&gate.node(Node::new("Mul", "x t", "y")), "y");
    assert_eq!(mish.graph.order().count(), 2, "x · tanh(softplus(x)) is one activation");
}

#[test]
fn maxima() {
    let pool = || Node::new("MaxPool", "x", "y").ints("kernel_shape", &[2, 3]);
    for node in [
        pool().ints("strides", &[2, 3]),
        pool().ints("pads", &[1, 1, 0, 1]).ints("strides", &[2, 2]),
        pool().int("ceil_mode", 1).ints("strides", &[2, 2]),
        Node::new("GlobalMaxPool", "x", "y"),
    ] {
        let model = check(&image(node), "y");
        assert!(model.notes[0].contains("rounds"), "{:?}", model.notes);
    }
    let halves = || image(Node::new("Neg", "x", "n"));
    for op in ["Max", "Min"] {
        check(&halves().node(Node::new(op, "x n c", "y")).random("c", &[4, 1, 1]), "y");
    }
}

#[test]
fn normalizations_of_encrypted_values() {
    let norm = Node::new("LayerNormalization", "x g b", "y").int("axis", 1);
    check(&image(norm).random("g", &[4, 6, 7]).random("b", &[4, 6, 7]), "y");
    let norm = Node::new("InstanceNormalization", "x g b", "y");
    check(&image(norm).random("g", &[4]).random("b", &[4]), "y");
    check(&image(Node::new("LRN", "x", "y").int("size", 3).float("alpha", 0.5)), "y");
}

#[test]
fn a_fixed_batch_is_one_input() {
    let file = File::new(17, &[3, 4, 6, 7]).node(Node::new("Conv", "x w b", "c").int("group", 2));
    let file = file.random("w", &[6, 2, 3, 3]).random("b", &[6]).node(Node::new("MatMul", "c m", "y"));
    let options = LoadOptions { first_axis: FirstAxis::Data, ..LoadOptions::default() };
    let bytes = file.random("m", &[5, 2]).bytes("y");
    let model = load_bytes(&bytes, &options).unwrap_or_else(|e| panic!("{e}"));
    agrees(&model, &input(&model, 1), 1e-5);
    assert!(model.graph.order().all(|id| !matches!(model.graph.node(id).kind, Kind::Add)));
}
