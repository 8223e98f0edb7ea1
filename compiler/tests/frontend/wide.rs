//! Operators beyond the plain CNN's, on small random models, ours against tract's: windows of one to three axes, resizing,
//! regrouping, selections, masks, quantized weights, sums, contractions, activations, maxima, normalizations.

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

/// tract leaves these alphas out; its optimiser changes a constant minus a tensor, and fails on the last two.
#[test]
fn operators_that_tract_takes_for_others_are_judged_by_what_they_mean() {
    check(&image(Node::new("Celu", "x", "y").float("alpha", 0.3)), "y");
    let swish = Node::new("Swish", "x", "y").float("alpha", 1.5);
    check(&File::new(24, &[1, 4, 6, 7]).node(swish), "y");
    let inverted = image(Node::new("Conv", "x w", "c"))
        .node(Node::new("Sub", "k c", "s"))
        .node(Node::new("Div", "s d", "y"))
        .floats("k", &[1], &[1.5])
        .floats("d", &[5, 1, 1], &[2.0, -3.0, 0.5, 1.0, 4.0]);
    check(&inverted.random("w", &[5, 4, 3, 3]), "y");
    let tiled = image(Node::new("Tile", "x n", "t"))
        .node(Node::new("Flatten", "t", "f"))
        .node(Node::new("Gemm", "f w", "y"))
        .integers("n", &[1, 1, 2, 1]);
    check(&tiled.random("w", &[4 * 12 * 7, 3]), "y");
    let strided = File::new(18, &[1, 4, 6, 8])
        .node(Node::new("SpaceToDepth", "x", "d").int("blocksize", 2))
        .node(Node::new("Conv", "d w", "y").ints("strides", &[2, 3]));
    check(&strided.random("w", &[3, 16, 1, 1]), "y");
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

/// A file with `name` an int64 constant of this shape.
fn indices(file: File, name: &str, shape: &[i64], values: &[i64]) -> File {
    let file = file.integers("flat", values).integers("shape", shape);
    file.node(Node::new("Reshape", "flat shape", name))
}

#[test]
fn selections() {
    let axes: [(i64, &[i64], &[i64]); 9] = [
        (1, &[], &[2]),
        (-1, &[], &[-1]),
        (1, &[4], &[3, 2, 1, 0]),
        (3, &[3], &[-7, 2, 4]),
        (2, &[3], &[0, 0, 5]),
        (1, &[8], &[0, 0, 1, 1, 2, 2, 3, 3]),
        (3, &[2, 3], &[5, 3, 1, 0, 0, 6]),
        (3, &[1], &[4]),
        (3, &[20], &[0, 0, 3, 6, 1, 1, 2, 5, 5, 6, 0, 0, 3, 6, 1, 1, 2, 5, 5, 6]),
    ];
    for (axis, shape, values) in axes {
        let file = indices(File::new(18, &[1, 4, 6, 7]), "i", shape, values);
        let conv = file.node(Node::new("Conv", "x w b", "c")).random("w", &[4, 4, 1, 1]).random("b", &[4]);
        check(&conv.node(Node::new("Gather", "c i", "y").int("axis", axis)), "y");
    }
    let turned = || image(Node::new("Transpose", "x", "t").ints("perm", &[2, 3, 0, 1]));
    let nd = |shape: &[i64], values: &[i64]| {
        check(&indices(turned(), "i", shape, values).node(Node::new("GatherND", "t i", "y")), "y")
    };
    nd(&[3, 1], &[5, 1, 0]);
    nd(&[2, 2], &[5, 0, 1, 3]);
    nd(&[2, 3, 2], &[5, 0, 5, 1, 5, 3, 2, 0, 2, 1, 2, 3]);
}

#[test]
fn masks_are_linear() {
    let masked = |inputs: &str| {
        let file = image(Node::new("Neg", "x", "n")).integers("bits", &[1, 0, 0, 1, 1, 0, 1]);
        let file = file.node(Node::new("Cast", "bits", "m").int("to", 9)).random("c", &[4, 1, 1]);
        check(&file.node(Node::new("Where", inputs, "y")), "y")
    };
    for inputs in ["m x c", "m c x", "m x n"] {
        let model = masked(inputs);
        let linear = |kind: &Kind| matches!(kind, Kind::Input | Kind::Linear { .. } | Kind::Add);
        assert!(model.graph.order().all(|id| linear(&model.graph.node(id).kind)), "{inputs}");
    }
}

#[test]
fn branches_of_one_tensor_are_one_activation() {
    let file = |comparison: &str, threshold: f32| {
        let file = image(Node::new(comparison, "x t", "m")).floats("t", &[], &[threshold]);
        file.floats("a", &[], &[0.25]).node(Node::new("Mul", "x a", "s")).floats("z", &[], &[0.0])
    };
    let activations = |file: File, inputs: &str| {
        let model = check(&file.node(Node::new("Where", inputs, "y")), "y");
        let kinds = model.graph.order().map(|id| model.graph.node(id).kind.clone());
        kinds.filter(|kind| matches!(kind, Kind::Elementwise(_))).count()
    };
    for (comparison, threshold, inputs) in [
        ("Greater", 0.0, "m x s"),
        ("LessOrEqual", 0.0, "m s x"),
        ("GreaterOrEqual", 0.0, "m s x"),
        ("Greater", 0.0, "m x z"),
        ("Less", 0.25, "m x t"),
        ("Greater", 0.25, "m x z"),
        ("Greater", -0.125, "m x t"),
    ] {
        assert_eq!(activations(file(comparison, threshold), inputs), 1, "{comparison} {threshold} {inputs}");
    }
    let swapped = image(Node::new("Less", "z x", "m")).floats("z", &[], &[0.0]);
    assert_eq!(activations(swapped, "m x z"), 1);
    let guard = || {
        let file = image(Node::new("Greater", "x t", "m")).floats("t", &[], &[20.0]);
        file.node(Node::new("Softplus", "x", "p"))
    };
    assert_eq!(activations(guard(), "m x p"), 1);
    let gate = guard().node(Node::new("Where", "m x p", "g")).node(Node::new("Tanh", "g", "h"));
    let mish = check(&gate.node(Node::new("Mul", "x h", "y")), "y");
    assert_eq!(mish.graph.order().count(), 2, "x · tanh(softplus(x)) is one activation");
    let sharp = image(Node::new("Mul", "x two", "d")).floats("two", &[], &[2.0]).floats("t", &[], &[20.0]);
    let sharp = sharp.node(Node::new("Greater", "d t", "m")).node(Node::new("Softplus", "d", "p"));
    assert_eq!(activations(sharp.node(Node::new("Div", "p two", "h")), "m x h"), 1);
}

#[test]
fn quantized_weights_are_floats_again() {
    let bytes = |file: File, to: i64| {
        let values: Vec<i64> = (0..24).map(|k| (k * 37) % 101 - if to == 2 { 0 } else { 50 }).collect();
        let file = indices(file, "q", &[3, 4, 2, 1], &values);
        file.node(Node::new("Cast", "q", "b").int("to", to))
    };
    let zero = |file: File, to: i64, values: &[i64]| {
        let file = file.integers("zl", values).node(Node::new("Cast", "zl", "zc").int("to", to));
        let shape: &[i64] = if values.len() == 1 { &[] } else { &[3] };
        file.integers("zs", shape).node(Node::new("Reshape", "zc zs", "z"))
    };
    let conv = |file: File| check(&file.node(Node::new("Conv", "x w", "y")), "y");
    let start = || File::new(18, &[1, 4, 6, 7]);
    for to in [2, 3] {
        let whole = zero(bytes(start(), to), to, &[7]).floats("s", &[], &[0.031]);
        conv(whole.node(Node::new("DequantizeLinear", "b s z", "w")));
    }
    let rows = zero(bytes(start(), 3), 3, &[1, -2, 3]).floats("s", &[3], &[0.01, 0.02, 0.03]);
    conv(rows.node(Node::new("DequantizeLinear", "b s z", "w").int("axis", 0)));
    let plain = bytes(start(), 6).floats("s", &[], &[0.5]);
    conv(plain.node(Node::new("DequantizeLinear", "b s", "w")));
}

#[test]
fn squares_and_extremes_over_axes() {
    for op in ["ReduceSumSquare", "ReduceL2", "ReduceMax", "ReduceMin"] {
        for (axes, keep) in [(&[2, 3][..], 0), (&[1], 1), (&[-1], 1), (&[1, 3], 0), (&[1, 2, 3], 1)] {
            let node = Node::new(op, "x", "y").ints("axes", axes).int("keepdims", keep);
            check(&File::new(13, &[1, 4, 6, 7]).node(node), "y");
        }
        check(&image(Node::new(op, "x a", "y")).integers("a", &[3]), "y");
    }
}

#[test]
fn more_normalizations() {
    for (opset, parameters) in [(18, 2), (21, 4)] {
        let node = Node::new("GroupNormalization", "x g b", "y").int("num_groups", 2).float("epsilon", 1e-3);
        let file = File::new(opset, &[1, 4, 6, 7]).node(node);
        check(&file.random("g", &[parameters]).random("b", &[parameters]), "y");
    }
    let rms = |node: Node, g: &[i64]| check(&File::new(23, &[1, 4, 6, 7]).node(node).random("g", g), "y");
    rms(Node::new("RMSNormalization", "x g", "y"), &[7]);
    rms(Node::new("RMSNormalization", "x g", "y").int("axis", 1), &[4, 6, 7]);
    check(&image(Node::new("MeanVarianceNormalization", "x", "y")), "y");
    check(&image(Node::new("MeanVarianceNormalization", "x", "y").ints("axes", &[1])), "y");
    check(&image(Node::new("LpNormalization", "x", "y").int("axis", 1)), "y");
    check(&image(Node::new("LpNormalization", "x", "y")), "y");
}

#[test]
fn contractions() {
    let einsum = |x: &[i64], inputs: &str, c: &[i64], equation: &'static str| {
        let node = Node::new("Einsum", inputs, "y").text("equation", equation);
        check(&File::new(18, x).node(node).random("c", c), "y");
    };
    einsum(&[1, 6], "x c", &[5, 6], "bc,kc->bk");
    einsum(&[1, 6], "c x", &[5, 6], "kc, bc -> kb");
    einsum(&[1, 4, 6], "x c", &[6, 3], "bij,jk->bki");
    einsum(&[1, 4, 6, 7], "x c", &[7, 4, 2, 3], "bchw,wcmn->bmhn");
}
