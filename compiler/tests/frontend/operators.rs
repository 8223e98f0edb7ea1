//! Every operator on small random models, ours against tract's.

use crate::agrees;
use crate::input;
use crate::onnx::{File, Node};
use cipherloom_compiler::frontend::{LoadOptions, Model, load_bytes};
use cipherloom_compiler::graph::{Function, Kind};
use cipherloom_ir::{Activation, ClientStep};

#[track_caller]
pub fn check(file: &File, output: &str) -> Model {
    let model = load_bytes(&file.bytes(output), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    for seed in 0..2 {
        agrees(&model, &input(&model, seed), 1e-5);
    }
    model
}

/// One node on an image `[1, 4, 6, 7]`, with operator set 17.
fn image(node: Node) -> File {
    File::new(17, &[1, 4, 6, 7]).node(node)
}

/// Number of nodes of the graph besides the input.
fn nodes(model: &Model) -> usize {
    model.graph.order().count() - 1
}

fn kinds(model: &Model) -> Vec<Kind> {
    model.graph.order().map(|id| model.graph.node(id).kind.clone()).collect()
}

#[test]
fn convolutions() {
    let plain = || Node::new("Conv", "x w b", "y");
    let cases = [
        (plain(), [5, 4, 3, 2]),
        (plain().ints("strides", &[2, 3]).ints("pads", &[1, 0, 2, 1]), [5, 4, 3, 2]),
        (plain().ints("dilations", &[2, 1]), [5, 4, 3, 2]),
        (plain().int("group", 2).ints("pads", &[1, 1, 1, 1]), [6, 2, 3, 3]),
        (plain().int("group", 4).ints("kernel_shape", &[3, 3]), [4, 1, 3, 3]),
        (plain().text("auto_pad", "SAME_UPPER").ints("strides", &[2, 2]), [5, 4, 3, 2]),
        (plain().text("auto_pad", "SAME_LOWER").ints("strides", &[2, 2]), [5, 4, 2, 4]),
        (plain().text("auto_pad", "VALID"), [5, 4, 3, 2]),
    ];
    for (node, weight) in cases {
        let model = check(&image(node).random("w", &weight).random("b", &[weight[0]]), "y");
        assert_eq!(nodes(&model), 1);
    }
    let line = File::new(17, &[1, 3, 9]).node(Node::new("Conv", "x w", "y").ints("strides", &[2]));
    check(&line.random("w", &[4, 3, 3]), "y");
}

#[test]
fn dense_maps() {
    let row = || File::new(17, &[1, 6]).random("w", &[6, 5]).random("t", &[5, 6]).random("c", &[5]);
    let gemm = || Node::new("Gemm", "x w c", "y");
    check(&row().node(gemm()), "y");
    check(&row().node(gemm().float("alpha", 0.5).float("beta", -2.0)), "y");
    check(&row().node(Node::new("Gemm", "x t", "y").int("transB", 1)), "y");
    check(
        &File::new(17, &[1, 6]).node(Node::new("Gemm", "x w", "y").int("transA", 1)).random("w", &[1, 5]),
        "y",
    );
    check(&row().node(Node::new("MatMul", "x w", "m")).node(Node::new("Add", "m c", "y")), "y");
    let rows = || File::new(17, &[1, 4, 6]).random("w", &[6, 5]).random("l", &[3, 4]);
    check(&rows().node(Node::new("MatMul", "x w", "y")), "y");
    check(&rows().node(Node::new("MatMul", "l x", "y")), "y");
    let merged = row().node(gemm()).node(Node::new("Mul", "y c", "z")).node(Node::new("Add", "c z", "u"));
    assert_eq!(nodes(&check(&merged, "u")), 1);
}

#[test]
fn batch_normalization_merges_or_stands_alone() {
    let norm = |x: &str| Node::new("BatchNormalization", &format!("{x} g b m v"), "y").float("epsilon", 1e-3);
    let with = |f: File, c: i64| f.random("g", &[c]).random("b", &[c]).random("m", &[c]).positive("v", &[c]);
    let conv = image(Node::new("Conv", "x w", "z")).random("w", &[5, 4, 3, 3]).node(norm("z"));
    assert_eq!(nodes(&check(&with(conv, 5), "y")), 1);
    let dense =
        File::new(17, &[1, 6]).node(Node::new("Gemm", "x w", "z")).random("w", &[6, 5]).node(norm("z"));
    assert_eq!(nodes(&check(&with(dense, 5), "y")), 1);
    assert_eq!(nodes(&check(&with(image(norm("x")), 4), "y")), 1);
    let shared = image(Node::new("Conv", "x w", "z")).random("w", &[4, 4, 1, 1]).node(norm("z"));
    let shared = shared.node(Node::new("Add", "y z", "u"));
    check(&with(shared, 4), "u");
    let flat = File::new(17, &[1, 2, 2, 2]).node(Node::new("Flatten", "x", "f")).node(norm("f"));
    check(&with(flat, 8), "y");
}

#[test]
fn pools() {
    let pool = || Node::new("AveragePool", "x", "y").ints("kernel_shape", &[3, 2]);
    for node in [
        pool(),
        pool().ints("strides", &[2, 2]).ints("pads", &[1, 0, 1, 1]),
        pool().ints("strides", &[2, 2]).ints("pads", &[1, 0, 1, 1]).int("count_include_pad", 1),
        pool().text("auto_pad", "SAME_UPPER").ints("strides", &[2, 2]),
        pool().ints("strides", &[2, 2]).int("ceil_mode", 1),
        Node::new("GlobalAveragePool", "x", "y"),
        Node::new("ReduceMean", "x", "y").ints("axes", &[2, 3]),
        Node::new("ReduceMean", "x", "y").ints("axes", &[-1, -2]).int("keepdims", 0),
    ] {
        assert_eq!(nodes(&check(&image(node), "y")), 1);
    }
}

#[test]
fn arithmetic_with_constants() {
    for op in ["Add", "Sub", "Mul", "Div"] {
        for dims in [&[][..], &[1], &[4, 1, 1], &[7], &[1, 1, 6, 1], &[4, 6, 7], &[6, 7], &[1, 4, 1, 7]] {
            check(&image(Node::new(op, "x c", "y")).positive("c", dims), "y");
            if op != "Div" {
                check(&image(Node::new(op, "c x", "y")).positive("c", dims), "y");
            }
        }
        let row = File::new(17, &[1, 5]).node(Node::new(op, "x c", "y")).positive("c", &[4, 5]);
        check(&row, "y");
    }
    let chain = image(Node::new("Mul", "x c", "a"))
        .node(Node::new("Sub", "d a", "b"))
        .node(Node::new("Neg", "b", "y"));
    let model = check(&chain.random("c", &[4, 1, 1]).random("d", &[7]), "y");
    assert_eq!(nodes(&model), 1);
}

#[test]
fn arithmetic_between_tensors() {
    let halves = || image(Node::new("Conv", "x w", "a")).node(Node::new("Conv", "x v", "b"));
    let weights = |f: File| f.random("w", &[3, 4, 1, 1]).random("v", &[3, 4, 1, 1]);
    for op in ["Add", "Sub", "Mul"] {
        check(&weights(halves().node(Node::new(op, "a b", "y"))), "y");
    }
    check(&weights(halves().node(Node::new("Sum", "a b a", "y"))), "y");
    let gate = image(Node::new("GlobalAveragePool", "x", "g")).node(Node::new("Mul", "x g", "y"));
    check(&gate, "y");
    let square = check(&image(Node::new("Mul", "x x", "y")), "y");
    assert!(matches!(kinds(&square)[1], Kind::Elementwise(Function::Square)));
    let double = check(&image(Node::new("Add", "x x", "y")), "y");
    assert_eq!(nodes(&double), 1);
    for n in 1..=5 {
        check(&image(Node::new("Pow", "x n", "y")).floats("n", &[], &[n as f32]), "y");
    }
    let reshaped = image(Node::new("Reshape", "x s", "r")).integers("s", &[1, 6, 4, 7]);
    let reshaped = reshaped.node(Node::new("Flatten", "r", "f")).node(Node::new("Flatten", "x", "e"));
    check(&reshaped.node(Node::new("Add", "f e", "y")), "y");
}

#[test]
fn activations() {
    for op in ["Relu", "Sigmoid", "Tanh", "Softplus", "HardSwish"] {
        check(&image(Node::new(op, "x", "y")), "y");
    }
    check(&image(Node::new("LeakyRelu", "x", "y").float("alpha", 0.2)), "y");
    check(&image(Node::new("PRelu", "x a", "y")).floats("a", &[1], &[0.3]), "y");
    check(&image(Node::new("HardSigmoid", "x", "y").float("alpha", 0.5)), "y");
    check(&image(Node::new("Clip", "x a b", "y")).floats("a", &[], &[-0.25]).floats("b", &[], &[0.25]), "y");
    check(&image(Node::new("Clip", "x - b", "y")).floats("b", &[], &[0.25]), "y");
    let relu = check(&image(Node::new("Clip", "x a", "y")).floats("a", &[], &[0.0]), "y");
    assert!(matches!(&kinds(&relu)[1], Kind::Elementwise(Function::Exact(Activation::Relu))));
    let old = File::new(6, &[1, 5]).node(Node::new("Clip", "x", "y").float("min", -0.1).float("max", 0.2));
    check(&old, "y");
}

fn is(model: &Model, activation: &Activation) {
    let [Kind::Input, Kind::Elementwise(Function::Exact(found))] = &kinds(model)[..] else {
        panic!("{:?}", kinds(model))
    };
    assert_eq!(found, activation);
}

#[test]
fn exporters_patterns_are_one_activation() {
    let silu = image(Node::new("Sigmoid", "x", "s")).node(Node::new("Mul", "s x", "y"));
    is(&check(&silu, "y"), &Activation::Silu);
    let constants = |f: File| {
        let f = f.floats("r2", &[], &[std::f32::consts::SQRT_2]).floats("one", &[], &[1.0]);
        f.floats("half", &[], &[0.5]).floats("three", &[], &[3.0]).floats("k", &[], &[0.044_715])
    };
    let inner = || {
        let f = image(Node::new("Div", "x r2", "d")).node(Node::new("Erf", "d", "e"));
        constants(f).node(Node::new("Add", "e one", "a"))
    };
    let late = inner().node(Node::new("Mul", "x a", "m")).node(Node::new("Mul", "m half", "y"));
    is(&check(&late, "y"), &Activation::Gelu);
    let early = inner().node(Node::new("Mul", "x half", "h")).node(Node::new("Mul", "h a", "y"));
    is(&check(&early, "y"), &Activation::Gelu);
    let middle = inner().node(Node::new("Mul", "a half", "h")).node(Node::new("Mul", "x h", "y"));
    is(&check(&middle, "y"), &Activation::Gelu);
    let tanh = constants(image(Node::new("Pow", "x three", "c")).node(Node::new("Mul", "c k", "kc")))
        .node(Node::new("Add", "x kc", "s"))
        .floats("q", &[], &[0.797_884_6])
        .node(Node::new("Mul", "s q", "t"))
        .node(Node::new("Tanh", "t", "u"))
        .node(Node::new("Add", "u one", "a"))
        .node(Node::new("Mul", "x half", "h"))
        .node(Node::new("Mul", "h a", "y"));
    is(&check(&tanh, "y"), &Activation::GeluTanh);
}

#[test]
fn shapes_that_keep_the_order_cost_nothing() {
    for (node, wanted) in [
        (Node::new("Flatten", "x", "y").int("axis", 2), None),
        (Node::new("Reshape", "x s", "y"), Some(vec![0, -1, 7])),
        (Node::new("Unsqueeze", "x s", "y"), Some(vec![2, -1])),
        (Node::new("Squeeze", "x s", "y"), Some(vec![0])),
        (Node::new("Identity", "x", "y"), None),
        (Node::new("Dropout", "x", "y"), None),
    ] {
        let file = image(node);
        let file = match wanted {
            Some(values) => file.integers("s", &values),
            None => file,
        };
        assert_eq!(nodes(&check(&file, "y")), 0);
    }
    let shape = image(Node::new("Shape", "x", "s")).node(Node::new("Slice", "s a b", "h"));
    let shape = shape.integers("a", &[0]).integers("b", &[1]).integers("m", &[-1]);
    let shape =
        shape.node(Node::new("Concat", "h m", "t").int("axis", 0)).node(Node::new("Reshape", "x t", "y"));
    assert_eq!(nodes(&check(&shape, "y")), 0);
}

#[test]
fn views() {
    let slice = || image(Node::new("Slice", "x a b c d", "y"));
    let bounds = |f: File, a: &[i64], b: &[i64], c: &[i64], d: &[i64]| {
        f.integers("a", a).integers("b", b).integers("c", c).integers("d", d)
    };
    check(&bounds(slice(), &[1, -3], &[3, 1000], &[1, -1], &[1, 2]), "y");
    check(&bounds(slice(), &[-1, 5], &[-1000, 0], &[2, 3], &[-1, -2]), "y");
    check(&image(Node::new("Transpose", "x", "y").ints("perm", &[0, 2, 3, 1])), "y");
    check(&image(Node::new("Pad", "x p", "y")).integers("p", &[0, 1, 2, 0, 0, 2, 0, 3]), "y");
    let filled = image(Node::new("Pad", "x p v", "y")).integers("p", &[0, 0, 2, 1, 0, 0, 1, 0]);
    check(&filled.floats("v", &[1], &[2.5]), "y");
    check(&File::new(10, &[1, 2, 3]).node(Node::new("Pad", "x", "y").ints("pads", &[0, 0, 1, 0, 0, 1])), "y");
    check(
        &File::new(9, &[1, 2, 5])
            .node(Node::new("Slice", "x", "y").ints("starts", &[0, 1, 1]).ints("ends", &[1, 2, -1])),
        "y",
    );
    let joined = image(Node::new("Relu", "x", "r")).node(Node::new("Concat", "x r x", "y").int("axis", 1));
    check(&joined, "y");
    let wide = image(Node::new("Relu", "x", "r")).node(Node::new("Concat", "r x", "y").int("axis", -1));
    check(&wide, "y");
    let grown = image(Node::new("GlobalAveragePool", "x", "g")).node(Node::new("Expand", "g s", "y"));
    check(&grown.integers("s", &[4, 2, 3]), "y");
}

#[test]
fn views_merge_into_their_neighbours() {
    let shortcut = image(Node::new("Slice", "x a b c d", "s")).node(Node::new("Pad", "s p", "y"));
    let shortcut =
        shortcut.integers("a", &[0, 0]).integers("b", &[6, 7]).integers("c", &[2, 3]).integers("d", &[2, 2]);
    let model = check(&shortcut.integers("p", &[0, 2, 0, 0, 0, 2, 0, 0]), "y");
    let Kind::Linear { operators, .. } = &kinds(&model)[1] else { panic!() };
    assert_eq!(operators.len(), 1);
    let padded = image(Node::new("Pad", "x p", "s")).integers("p", &[0, 0, 1, 2, 0, 0, 0, 1]);
    let padded = padded.node(Node::new("Conv", "s w", "y")).random("w", &[2, 4, 3, 3]);
    let model = check(&padded, "y");
    let Kind::Linear { operators, .. } = &kinds(&model)[1] else { panic!() };
    assert_eq!((nodes(&model), operators.len()), (1, 1));
    let moved = image(Node::new("Conv", "x w b", "s")).random("w", &[2, 4, 3, 3]).random("b", &[2]);
    let moved = moved.node(Node::new("Transpose", "s", "t").ints("perm", &[0, 2, 3, 1]));
    let moved =
        moved.node(Node::new("Flatten", "t", "f")).node(Node::new("Gemm", "f g", "y")).random("g", &[40, 3]);
    check(&moved, "y");
}

#[test]
fn the_end_of_the_model_moves_to_the_client() {
    let dense = || File::new(17, &[1, 6]).node(Node::new("Gemm", "x w", "z")).random("w", &[6, 5]);
    let soft = check(&dense().node(Node::new("Softmax", "z", "y").int("axis", 1)), "y");
    assert_eq!(soft.graph.outputs[0].client_steps, [ClientStep::Softmax]);
    assert_eq!(soft.notes, ["Softmax of output `y` is left to the client"]);
    let total: f32 = soft.reference.outputs(&input(&soft, 0)).unwrap()[0].iter().sum();
    assert!((total - 1.0).abs() < 1e-5);
    let class =
        dense().node(Node::new("Softmax", "z", "s")).node(Node::new("ArgMax", "s", "y").int("axis", -1));
    let model = check(&class, "y");
    assert_eq!(model.graph.outputs[0].client_steps, [ClientStep::Softmax, ClientStep::ArgMax]);
    check(&dense().node(Node::new("LogSoftmax", "z", "y")), "y");
}

#[test]
fn large_constants_are_folded() {
    let file = File::new(17, &[1, 1100]).random("w", &[1100, 1100]).node(Node::new("Transpose", "w", "t"));
    let model = check(&file.node(Node::new("MatMul", "x t", "y")), "y");
    assert_eq!(nodes(&model), 1);
}

#[test]
fn metadata_fill_the_graph() {
    let file = image(Node::new("Relu", "x", "r"))
        .node(Node::new("Identity", "r", "y"))
        .metadata(
            "cipherloom.input",
            r#"{"layout":"NCHW","shape":[1,4,6,7],"scale":0.5,"mean":[1,2,3,4],"std":[1]}"#,
        )
        .metadata("cipherloom.ranges", r#"{"x":[-1,1],"y":[0,0.5]}"#)
        .metadata("cipherloom.std", r#"{"r":[0.25,0.125]}"#);
    let model = check(&file, "y");
    let preprocessing = &model.graph.input.as_ref().unwrap().preprocessing;
    assert_eq!((preprocessing.scale, &preprocessing.mean[..]), (0.5, &[1.0, 2.0, 3.0, 4.0][..]));
    let output = model.graph.node(model.graph.outputs[0].node);
    assert_eq!((output.range, output.density.as_ref().map(|d| d.std)), (Some([0.0, 0.5]), Some(0.125)));
}

#[test]
fn calibration_covers_what_it_saw() {
    let file =
        image(Node::new("Conv", "x w", "c")).random("w", &[2, 4, 3, 3]).node(Node::new("Relu", "c", "y"));
    let mut model = check(&file, "y");
    let images: Vec<_> = (0..4).map(|seed| input(&model, seed)).collect();
    let none = model.calibrate(&[]).unwrap_err().to_string();
    assert!(none.contains("holds no samples"), "{none}");
    model.calibrate(&images).unwrap();
    let [low, high] = model.graph.node(model.graph.outputs[0].node).range.unwrap();
    let largest =
        images.iter().flat_map(|x| model.reference.run(x).unwrap().into_iter()).fold(0.0f32, f32::max);
    assert_eq!(low, 0.0);
    assert!(high >= f64::from(largest) * 1.1 && high <= f64::from(largest) * 1.12, "{high} for {largest}");
    for id in model.graph.order() {
        let node = model.graph.node(id);
        let density = node.density.as_ref().unwrap();
        assert!((density.histogram.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{}: {density:?}", node.name);
        let [low, high] = node.range.unwrap();
        let width = (high - low) / density.histogram.len() as f64;
        let centre = |k: usize| low + (k as f64 + 0.5) * width;
        let mean: f64 = density.histogram.iter().enumerate().map(|(k, share)| share * centre(k)).sum();
        assert!(
            (mean - density.mean).abs() <= width / 2.0 + 1e-6,
            "{}: {mean} for {}",
            node.name,
            density.mean
        );
    }
}

#[test]
fn margins_leave_roots_positive() {
    for (op, stays) in [("Sqrt", true), ("Relu", false)] {
        let file = image(Node::new(op, "x", "y")).bytes("y");
        let mut model = load_bytes(&file, &LoadOptions::default()).unwrap();
        let spread = |x: f32| 0.01 + x.abs();
        let images: Vec<_> = (0..4).map(|seed| input(&model, seed).mapv(spread)).collect();
        model.calibrate(&images).unwrap();
        let [low, high] = model.graph.node(model.graph.input.as_ref().unwrap().node).range.unwrap();
        let least = images.iter().flatten().fold(f32::INFINITY, |m, x| m.min(*x));
        assert!(high > 0.0 && low < f64::from(least), "{op}: [{low}, {high}]");
        assert_eq!(low > 0.0, stays, "{op}: [{low}, {high}]");
    }
}

#[test]
fn operator_sets_of_all_ages_are_read() {
    for opset in [6, 7, 9, 11, 13, 15, 18, 21, 25] {
        let file =
            File::new(opset, &[1, 2, 4, 4]).random("w", &[3, 2, 2, 2]).node(Node::new("Conv", "x w", "c"));
        let file = file.node(Node::new("Relu", "c", "r")).node(Node::new("GlobalAveragePool", "r", "p"));
        check(&file.node(Node::new("Flatten", "p", "y")), "y");
    }
}

#[test]
fn old_operator_sets_align_constants_at_an_axis() {
    let file = |op: &str| {
        File::new(6, &[1, 3, 4, 5])
            .node(Node::new("Conv", "x w", "c"))
            .node(Node::new(op, "c b", "y").int("broadcast", 1).int("axis", 1))
            .random("w", &[2, 3, 1, 1])
            .positive("b", &[2])
    };
    for op in ["Add", "Sub", "Mul", "Div"] {
        let old = check(&file(op), "y");
        let new = File::new(7, &[1, 3, 4, 5])
            .node(Node::new("Conv", "x w", "c"))
            .node(Node::new(op, "c b", "y"))
            .random("w", &[2, 3, 1, 1])
            .positive("b", &[2, 1, 1]);
        let new = check(&new, "y");
        let x = input(&old, 1);
        assert_eq!(old.reference.run(&x).unwrap(), new.reference.run(&x).unwrap(), "{op}");
    }
}

#[test]
fn upsampling_is_resizing() {
    // By 3 tract takes the nearest pixel in this operator set, where the standard takes the one before.
    let scales = [1.0, 1.0, 2.0, 2.0];
    for mode in ["nearest", "linear"] {
        let node = |inputs: &str| Node::new("Upsample", inputs, "y").text("mode", mode);
        let given = File::new(9, &[1, 2, 3, 4]).node(node("x s")).floats("s", &[4], &scales);
        let kept = File::new(7, &[1, 2, 3, 4]).node(node("x").floats("scales", &scales));
        let new = File::new(10, &[1, 2, 3, 4])
            .node(Node::new("Resize", "x s", "y").text("mode", mode))
            .floats("s", &[4], &scales);
        let new = check(&new, "y");
        for old in [given, kept] {
            let old = check(&old, "y");
            let x = input(&old, 1);
            assert_eq!(old.reference.run(&x).unwrap(), new.reference.run(&x).unwrap(), "{mode}");
        }
    }
}
