//! A circuit of three bootstraps with activations between them, for whichever bootstrapping.

use cipherloom_ir::scheme::{BootstrapRequest, Gadget, Level};
use cipherloom_ir::*;

/// A ring too small to be secure, with two usable levels above an input level of 2.
pub const SMALL: BootstrapRequest = BootstrapRequest {
    log_n: 10,
    sparse_log_slots: None,
    log_scale: 40,
    base_bits: 50,
    prime_bits: 50,
    levels: 2,
    to_coefficients: 2,
    to_slots: 2,
    log_degree: 4,
    squarings: 5,
    ratio_bits: 7,
    digit_limbs: 4,
};

/// Keys of the circuit's own products; the plan has others.
const GADGET: Gadget = Gadget { digit_limbs: 2, special_limbs: 3 };

/// Every slot by itself: `x³`, bootstrapped; `1 - x²`, bootstrapped from a level above the input's; `(0.4 - 0.8 x)²`,
/// bootstrapped; squared.
pub fn bootstrapped(request: BootstrapRequest) -> Circuit {
    build(request).expect("the circuit obeys the laws")
}

/// One value in each slot.
pub fn vector(slots: u32) -> Layout {
    Layout {
        shape: vec![slots],
        slots,
        ciphertexts: 1,
        axes: vec![vec![Digit { extent: slots, stride: 1 }]],
        replicas: vec![],
        gap: Gap::Zero,
        batch: 1,
    }
}

fn build(request: BootstrapRequest) -> Result<Circuit, LawError> {
    let mut b = CircuitBuilder::bootstrapped("three bootstraps", request)?;
    let (top, input) = (b.circuit().parameters.top(), request.input());
    let slots = b.circuit().slots() as u32;
    let layout = b.layout(vector(slots));
    let preprocessing = Preprocessing { scale: 1.0, mean: vec![0.0], std: vec![1.0] };
    let range = [-1.0, 1.0];
    b.origin("cube");
    let x = b.input(InputSpec { name: "x".into(), layout, preprocessing, range })?[0];
    let square = b.mul(x, x)?;
    let square = b.relinearize_rescale(square, GADGET)?;
    let x = b.adjust(x, Level(top.0 - 1))?;
    let cube = b.mul(square, x)?;
    let mut x = b.relinearize_rescale(cube, GADGET)?;
    // Larger sets leave more levels than this circuit uses.
    if b.level(x) > input {
        x = b.adjust(x, input)?;
    }
    let x = b.bootstrap(x)?;
    b.origin("one less the square");
    let square = b.mul(x, x)?;
    let square = b.relinearize_rescale(square, GADGET)?;
    let square = b.neg(square)?;
    let y = b.add_plain(square, Plain::Constant(1.0))?;
    let y = b.bootstrap(y)?;
    b.origin("square");
    let scaled = b.mul_scalar(y, -0.8)?;
    let scaled = b.rescale(scaled)?;
    let moved = b.add_plain(scaled, Plain::Constant(0.4))?;
    let square = b.mul(moved, moved)?;
    let square = b.relinearize_rescale(square, GADGET)?;
    let z = b.bootstrap(square)?;
    let z = b.mul(z, z)?;
    let z = b.relinearize_rescale(z, GADGET)?;
    let (name, labels, client_steps) = ("y".into(), vec![], vec![]);
    let range = [0.0, 1.0];
    b.output(OutputSpec { name, layout, values: vec![z], scale: 1.0, range, labels, client_steps })?;
    Ok(b.finish())
}

/// What the circuit computes of one slot.
pub fn meaning(x: f64) -> f64 {
    let x = x * x * x;
    let y = 1.0 - x * x;
    let z = 0.4 - 0.8 * y;
    z * z * z * z
}
