//! What is refused, and in which words.

use crate::onnx::{Dim, File, Node};
use cipherloom_compiler::frontend::{FrontendError, LoadOptions, load, load_bytes};
use std::path::Path;

#[track_caller]
fn refused(file: &File, output: &str) -> String {
    match load_bytes(&file.bytes(output), &LoadOptions::default()) {
        Ok(_) => panic!("the model was accepted"),
        Err(e) => e.to_string(),
    }
}

fn image(node: Node) -> File {
    File::new(17, &[1, 2, 4, 4]).node(node)
}

#[test]
fn everything_unsupported_is_named_at_once() {
    let file = image(Node::new("LpPool", "x", "a").named("pool1").ints("kernel_shape", &[2, 2]))
        .node(Node::new("Conv", "x w", "b").named("conv1"))
        .random("w", &[2, 2, 1, 1])
        .node(Node::new("FancyOp", "b", "c").in_domain("com.example"))
        .node(Node::new("Log", "c", "d").named("act"))
        .node(Node::new("Relu", "d", "e").float("slope", 0.5))
        .node(Node::new("Softmax", "b", "g").named("attention").int("axis", 1));
    insta::assert_snapshot!(refused(&file, "a e g"));
}

/// tract would look for an axis of such indices for ever; and no name ends a line.
#[test]
fn hostile_indices_and_names_are_refused() {
    let held = image(Node::new("GatherND", "x i", "y")).scalar("i", 0);
    assert!(refused(&held, "y").contains("`y` (GatherND) are a scalar"));
    let named = refused(&image(Node::new("Log", "x", "y").named("a\u{1b}[2J\nb")), "y");
    assert!(named.contains("a\\u001b[2J\\u000ab (Log)"), "{named}");
}

/// Of a negative alpha the formula of Celu is another function.
#[test]
fn a_negative_alpha_of_celu_is_refused() {
    let error = refused(&image(Node::new("Celu", "x", "y").float("alpha", -1.0)), "y");
    assert!(error.contains("its alpha is not positive"), "{error}");
}

#[test]
fn softmax_inside_the_model_is_refused() {
    let file = File::new(17, &[1, 4]).node(Node::new("Softmax", "x", "s")).node(Node::new("Relu", "s", "y"));
    insta::assert_snapshot!(refused(&file, "y"));
}

#[test]
fn broken_weights_are_named() {
    let file = image(Node::new("Conv", "x w b", "y")).floats("w", &[1, 2, 1, 1], &[1.0, f32::NAN]).floats(
        "b",
        &[3],
        &[0.0, f32::INFINITY],
    );
    insta::assert_snapshot!(refused(&file, "y"));
}

#[test]
fn weights_that_overflow_while_folding_are_named() {
    let conv = || image(Node::new("Conv", "x w", "c")).floats("w", &[1, 2, 1, 1], &[3e38, 1.0]);
    let axis = File::floats(conv(), "f", &[1, 1, 1, 4], &[10.0, 1.0, 2.0, 3.0]);
    insta::assert_snapshot!(refused(&axis.node(Node::new("Mul", "c f", "y")), "y"));
    let bias = conv().floats("b", &[1, 1, 1, 1], &[3e38]).floats("d", &[1, 1, 1, 1], &[2e38]);
    let bias = bias.node(Node::new("Add", "c b", "s")).node(Node::new("Add", "s d", "y"));
    insta::assert_snapshot!(refused(&bias, "y"));
    let rows = File::new(17, &[1, 2]).floats("w", &[2, 2], &[3e38, 1.0, 2.0, 3.0]);
    let rows = rows.floats("f", &[1, 2], &[10.0, 1.0]).node(Node::new("MatMul", "x w", "c"));
    insta::assert_snapshot!(refused(&rows.node(Node::new("Mul", "c f", "y")), "y"));
}

/// Sums over constants depend on how a kernel orders them, so they are not folded.
#[test]
fn sums_over_constants_are_refused() {
    let file = File::new(17, &[1, 2]).node(Node::new("MatMul", "a b", "w").named("product"));
    let file = file.random("a", &[2, 3]).random("b", &[3, 2]).node(Node::new("MatMul", "x w", "y"));
    let softmax = File::new(17, &[1, 2]).node(Node::new("Softmax", "a", "s")).random("a", &[1, 2]);
    let softmax = softmax.node(Node::new("Exp", "a", "e")).node(Node::new("Mul", "x e", "m"));
    let messages = [refused(&file, "y"), refused(&softmax.node(Node::new("Add", "m s", "y")), "y")];
    insta::assert_snapshot!(messages.join("\n"));
}

/// The first such node says it for all; weights are folded, and what reads the others is not blamed.
#[test]
fn quantized_models_are_refused_in_one_line() {
    let file = image(Node::new("QuantizeLinear", "x s", "q")).floats("s", &[], &[0.05]);
    let file = file.integers("l", &[1, 2]).node(Node::new("Cast", "l", "b").int("to", 3));
    let file = file.integers("shape", &[1, 2, 1, 1]).node(Node::new("Reshape", "b shape", "r"));
    let file = file.node(Node::new("DequantizeLinear", "r s", "w"));
    let file = file.node(Node::new("DequantizeLinear", "q s", "d")).node(Node::new("Conv", "d w", "c"));
    insta::assert_snapshot!(refused(&file.node(Node::new("QuantizeLinear", "c s", "y")), "y"));
}

#[test]
fn operators_say_which_of_their_forms_are_supported() {
    let number = |value: f32, node: Node| image(node).floats("n", &[], &[value]);
    let index = |node: Node| image(node).integers("i", &[0, 0]);
    let compared = |node: Node| number(0.0, Node::new("Greater", "x n", "m")).node(node);
    let messages = [
        refused(&number(16.0, Node::new("Pow", "x n", "y")), "y"),
        refused(&index(Node::new("Gather", "x i", "y")), "y"),
        refused(&index(Node::new("Gather", "x i", "y").int("axis", 4)), "y"),
        refused(&image(Node::new("Gather", "x i", "y").int("axis", 1)).integers("i", &[1, 2]), "y"),
        refused(&compared(Node::new("Cast", "m", "y").int("to", 1)), "y"),
        refused(&compared(Node::new("Neg", "x", "k")), "m"),
        refused(&compared(Node::new("Exp", "x", "e")).node(Node::new("Where", "m x e", "y")), "y"),
        refused(&image(Node::new("LpNormalization", "x", "y").int("p", 1)), "y"),
        refused(&image(Node::new("Einsum", "x x", "y").text("equation", "bchw,bchw->bc")), "y"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

/// What tract computes in floats does not become a constant by being rounded.
#[test]
fn integers_from_foreign_arithmetic_are_refused() {
    let file = image(Node::new("Exp", "a", "e").named("power")).floats("a", &[1], &[1.25]);
    let file =
        file.node(Node::new("Cast", "e", "i").int("to", 7)).node(Node::new("Cast", "i", "f").int("to", 1));
    insta::assert_snapshot!(refused(&file.node(Node::new("Mul", "x f", "y")), "y"));
}

/// The size is known from the shapes; nothing is computed.
#[test]
fn constants_that_grow_are_refused_before_they_are_computed() {
    let start = std::time::Instant::now();
    let side = |n: &str, shape: &[i64], file: File| file.random(n, shape);
    let pair = |op: &str| {
        let file = side("a", &[60_000, 1], side("b", &[1, 60_000], image(Node::new(op, "a b", "c"))));
        refused(&file.node(Node::new("Add", "x c", "y")), "y")
    };
    let copies = |op: &str, sizes: &[i64]| {
        let file = image(Node::new("Mul", "s s", "t")).node(Node::new(op, "a t", "c")).random("a", &[16, 1]);
        refused(&file.integers("s", sizes).node(Node::new("Add", "x c", "y")), "y")
    };
    let messages =
        [pair("Add"), pair("MatMul"), copies("Tile", &[1 << 10, 1 << 8]), copies("Expand", &[16, 1 << 14])];
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn sizes_beyond_memory_are_refused_before_they_are_allocated() {
    let file = image(Node::new("ConstantOfShape", "s", "c")).integers("s", &[1 << 20, 1 << 20]);
    insta::assert_snapshot!(refused(&file.node(Node::new("Add", "x c", "y")), "y"));
}

#[test]
fn interfaces_that_no_circuit_has() {
    let relu = || Node::new("Relu", "x", "y");
    let mut open = File::new(17, &[1, 1, 8, 8]).node(relu());
    open.dims = vec![Dim::Symbol("N"), Dim::Fixed(1), Dim::Symbol("height"), Dim::Fixed(8)];
    let mut bytes = File::new(17, &[1, 4]).node(relu());
    bytes.element_type = 2;
    let messages = [
        refused(&open, "y"),
        refused(&bytes, "y"),
        refused(&File::new(17, &[8, 4]).node(relu()), "y"),
        refused(&File::new(17, &[4]).node(relu()), "y"),
        refused(&File::new(17, &[1, 4]).node(relu()).second_input("mask"), "y"),
        refused(&File::new(17, &[1, 4]).node(relu()).random("w", &[3]).node(Node::new("Neg", "w", "z")), "z"),
        refused(&File::new(5, &[1, 4]).node(relu()), "y"),
        refused(&File::new(26, &[1, 4]).node(relu()), "y"),
        refused(&File::new(17, &[1, 4]).node(Node::new("Relu", "nowhere", "y")), "y"),
        refused(&File::new(17, &[1, 4]).node(relu()), "z"),
        refused(&File::new(17, &[1, 4]).node(relu()).node(relu()), "y"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_symbolic_batch_is_one_and_other_sizes_can_be_given() {
    let mut open = File::new(17, &[1, 1, 8, 8]).node(Node::new("Relu", "x", "y"));
    open.dims = vec![Dim::Symbol("N"), Dim::Fixed(1), Dim::Symbol("height"), Dim::Symbol("width")];
    let options = LoadOptions { input_shape: Some(vec![1, 1, 5, 6]), ..LoadOptions::default() };
    let model = load_bytes(&open.bytes("y"), &options).unwrap();
    assert_eq!(model.reference.input_shape(), [1, 1, 5, 6]);
    let described = open.metadata("cipherloom.input", r#"{"shape":[1,1,3,4]}"#);
    let model = load_bytes(&described.bytes("y"), &LoadOptions::default()).unwrap();
    assert_eq!(model.reference.input_shape(), [1, 1, 3, 4]);
}

#[test]
fn malformed_metadata_are_refused() {
    let with = |key: &str, value: &str| {
        let dense = File::new(17, &[1, 3, 2, 2]).node(Node::new("Relu", "x", "y"));
        refused(&dense.metadata(key, value), "y")
    };
    let messages = [
        with("cipherloom.input", "{"),
        with("cipherloom.input", "[]"),
        with("cipherloom.input", r#"{"layout":"HWC"}"#),
        with("cipherloom.input", r#"{"shape":[1,3,2,3]}"#),
        with("cipherloom.input", r#"{"shape":[1,-3,2,2]}"#),
        with("cipherloom.input", r#"{"scale":0}"#),
        with("cipherloom.input", r#"{"std":[1,0,1]}"#),
        with("cipherloom.input", r#"{"mean":[1,2]}"#),
        with("cipherloom.input", r#"{"labels":["a"]}"#),
        with("cipherloom.input", r#"{"colour":1}"#),
        with("cipherloom.ranges", r#"{"x":[1,0]}"#),
        with("cipherloom.ranges", r#"{"x":[1]}"#),
        with("cipherloom.std", r#"{"x":[0,-1]}"#),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn damaged_files_give_errors_and_no_panic() {
    let file = image(Node::new("Conv", "x w b", "c"))
        .random("w", &[3, 2, 3, 3])
        .random("b", &[3])
        .node(Node::new("Flatten", "c", "f"))
        .node(Node::new("Gemm", "f g", "y"))
        .random("g", &[12, 4])
        .metadata("cipherloom.ranges", r#"{"x":[0,1]}"#);
    let whole = file.bytes("y");
    for end in (0..whole.len()).step_by(3) {
        // A cut between top-level fields may leave a smaller, sound model.
        let _ = load_bytes(&whole[..end], &LoadOptions::default());
    }
    for k in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[k] ^= 1 << (k % 8);
        let _ = load_bytes(&flipped, &LoadOptions::default());
    }
    for foreign in [&b"\x89PNG\r\n\x1a\n"[..], b"", b"PK\x03\x04", &[0xff; 64], b"cipherloom"] {
        let error = load_bytes(foreign, &LoadOptions::default()).expect_err("not a model");
        assert!(matches!(error, FrontendError::NotOnnx { .. }), "{error}");
    }
}

#[test]
fn absent_and_oversized_files() {
    let absent = load(Path::new("does-not-exist.onnx"), &LoadOptions::default());
    assert!(matches!(absent, Err(FrontendError::Read { .. })));
    let options = LoadOptions { max_bytes: 10, ..LoadOptions::default() };
    let error = load_bytes(&[0; 11], &options).expect_err("too large");
    insta::assert_snapshot!(error.to_string());
}

#[cfg(unix)]
#[test]
fn files_that_state_no_size_are_read_up_to_the_limit() {
    let options = LoadOptions { max_bytes: 1000, ..LoadOptions::default() };
    let error = load(Path::new("/dev/zero"), &options).expect_err("endless");
    assert!(matches!(error, FrontendError::TooLarge { bytes: 1001, limit_bytes: 1000 }), "{error}");
}
