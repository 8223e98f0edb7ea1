//! Names of the file that the frontend would have given itself, and how often it may be told the same.

use crate::inline::{call, function, loaded, refused, same};
use crate::onnx::{Attribute, File, Node};

/// Weights that become float32 get a name that no other tensor has.
#[test]
fn names_of_single_precision_are_free() {
    let doubles = || File::new(17, &[1, 4]).doubles("w", &[4], &[1.0, 2.0, 3.0, 4.0]);
    let nodes = |file: File, other: &str| {
        let cast = Node::new("Cast", "a", "b").int("to", 1);
        let file = file.node(Node::new("Mul", "x w", "a")).node(cast);
        let mut file = file.node(Node::new("Mul", &format!("b {other}"), "y"));
        file.element_type = 11;
        file.floats(other, &[4], &[10.0; 4])
    };
    same(&nodes(doubles(), "w/float32"), &nodes(doubles(), "v"), "y");
    let made = |other: &str| {
        let doubles = Node::new("Cast", "s", "w").int("to", 11);
        nodes(File::new(17, &[1, 4]).random("s", &[4]).node(doubles), other)
    };
    same(&made("w/float32"), &made("v"), "y");
}

/// So do constants that are written in another shape or taken out of attributes.
#[test]
fn names_of_constants_in_other_words_are_free() {
    let padded = |other: &str| {
        let file = File::new(17, &[1, 4]).node(Node::new("Pad", "x p v", "a")).integers("p", &[0, 1, 0, 1]);
        let file = file.floats("v", &[1], &[0.5]).floats(other, &[], &[3.0]);
        file.node(Node::new("Mul", &format!("a {other}"), "y"))
    };
    same(&padded("v/scalar"), &padded("w"), "y");
    let aligned = |other: &str| {
        let file = File::new(6, &[1, 2, 3, 3]).random("b", &[2]).floats(other, &[1, 2, 1, 1], &[5.0; 2]);
        file.node(Node::new("Add", "x b", "y").int("axis", 1).int("broadcast", 1))
    };
    same(&aligned("b/axis 1 of 4"), &aligned("v"), "y");
    let enlarged = |other: &str| {
        let file = File::new(8, &[1, 2, 3, 3]).floats(other, &[4], &[1.0, 1.0, 3.0, 3.0]);
        file.node(Node::new("Upsample", "x", "y").floats("scales", &[1.0, 1.0, 2.0, 2.0]))
    };
    same(&enlarged("y/scales"), &enlarged("v"), "y");
    let bent = |other: &str| {
        let file = File::new(17, &[1, 4]).floats(other, &[], &[3.0]);
        file.node(Node::new("Celu", "x", "y").float("alpha", 0.5))
    };
    same(&bent("y restated 0"), &bent("v"), "y");
}

#[test]
fn weights_are_defined_once() {
    let file = File::new(17, &[1, 4]).node(Node::new("Mul", "x w", "y")).random("w", &[4]).random("w", &[4]);
    assert!(refused(&file, "y").contains("tensor `w` is defined twice"));
}

/// A node whose condition follows from a shape, so that it is decided after the rest has been read.
fn decided(file: File, then: Vec<Node>) -> File {
    let file = file.node(Node::new("Shape", "h", "s")).integers("four", &[1, 4]).scalar("one", 1);
    let file = file.node(Node::new("Gather", "s one", "d")).node(Node::new("Gather", "four one", "e"));
    let other = vec![Node::new("Neg", "h", "n")];
    let node = Node::new("If", "c", "r").with("then_branch", Attribute::Graph(then, "t"));
    file.node(Node::new("Equal", "d e", "c")).node(node.with("else_branch", Attribute::Graph(other, "n")))
}

/// What branches add is read as float32 too, with the weights that are so already, and said once.
#[test]
fn branches_in_double_precision() {
    let ends = |file: File, between: fn(File) -> File| {
        let mut file = between(file.node(Node::new("Mul", "x w", "h"))).node(Node::new("Mul", "r w", "y"));
        file.element_type = 11;
        file
    };
    let held = || File::new(17, &[1, 4]).doubles("w", &[4], &[1.0, 2.0, 3.0, 4.0]);
    let made = || {
        let single = File::new(17, &[1, 4]).random("v", &[4]);
        single.node(Node::new("Cast", "v", "w").int("to", 11))
    };
    for start in [held, made] {
        let file = ends(start(), |file| decided(file, vec![Node::new("Add", "h w", "t")]));
        same(&file, &ends(start(), |file| file.node(Node::new("Add", "h w", "r"))), "y");
        let notes = loaded(&file, "y").notes;
        assert_eq!(notes.iter().filter(|note| note.contains("float64")).count(), 1, "{notes:?}");
    }
}

/// Branches are of the file's operator set, also where the rest is already read as of a later one.
#[test]
fn branches_of_an_old_operator_set() {
    let upsample = |x: &str, y: &str| Node::new("Upsample", x, y).text("mode", "nearest");
    let slice = |x: &str, y: &str| {
        Node::new("Slice", x, y).ints("starts", &[0]).ints("ends", &[2]).ints("axes", &[2])
    };
    let start = || {
        let file = File::new(9, &[1, 4, 3, 3]).floats("k", &[4], &[1.0, 1.0, 2.0, 2.0]);
        file.node(upsample("x k", "h"))
    };
    let end = |file: File| file.node(Node::new("Mul", "r r", "y"));
    same(&end(decided(start(), vec![upsample("h k", "t")])), &end(start().node(upsample("h k", "r"))), "y");
    same(&end(decided(start(), vec![slice("h", "t")])), &end(start().node(slice("h", "r"))), "y");
}

/// Long names and many calls: what is looked up counts, although nothing of it is written.
#[test]
fn long_interfaces_are_charged() {
    let inputs: &'static str = format!("a {}", "b".repeat(8 << 20)).leak();
    let long = function("F", inputs, "r", vec![Node::new("Relu", "a", "r")]);
    let file = (0..200)
        .fold(File::new(17, &[1, 4]).function(long), |file, k| file.node(call("F", "x", &format!("y{k}"))));
    assert!(refused(&file, "y0").contains("written out, have more than"));
}
