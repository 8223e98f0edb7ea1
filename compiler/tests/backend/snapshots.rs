//! Golden circuits of small networks: the whole text and one line of costs, so that a change shows as a difference.

use crate::{check, nets};
use cipherloom_compiler::{CompileOptions, Packing};

fn text(name: &str, packing: Packing) -> String {
    let c = check(&nets::named(name), &CompileOptions { packing, ..nets::options() });
    let (r, f) = (&c.report, &c.circuit.forecast);
    let diagonals: u64 = r.layers.iter().map(|l| l.diagonals).sum();
    let nanoseconds: u64 = r.layers.iter().map(|l| l.predicted_ns).sum();
    format!(
        "run: cargo test -p cipherloom-compiler --test backend small_circuits\n\
         cost: {} us, {} rotations, {} rotation keys, {diagonals} diagonals, {} levels, {} key bytes\n{}",
        nanoseconds / 1000,
        r.rotations,
        r.rotation_keys,
        r.levels,
        f.key_bytes,
        c.circuit.to_text()
    )
}

#[test]
fn small_circuits_stay_as_they_are() {
    insta::assert_snapshot!("square_by_dynamic_program", text("tiny-square", Packing::DynamicProgram));
    insta::assert_snapshot!("square_multiplexed", text("tiny-square", Packing::Multiplexed));
    insta::assert_snapshot!("relu_by_dynamic_program", text("tiny-relu", Packing::DynamicProgram));
}

#[test]
fn the_same_input_gives_the_same_circuit() {
    let options = nets::options();
    let compiled = || cipherloom_compiler::compile(&nets::named("lola"), &options).expect("lola").circuit;
    assert_eq!(compiled(), compiled());
}
