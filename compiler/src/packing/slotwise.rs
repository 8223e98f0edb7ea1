//! Slotwise layers: which layouts they accept and leave.
//!
//! A layer that works slot by slot keeps all places; what it does to the gaps is a condition of its law. A function
//! with f(0) ≠ 0 turns zero gaps into constants; junk must not be multiplied so often that it overflows. A layout that
//! fills its ciphertexts has no gaps, and nothing there turns into junk.

use super::layouts::Placed;
use crate::graph::{Function, Kind};
use cipherloom_ir::{Gap, Layout};

/// Same places of all elements and copies; the gaps may differ.
pub fn same_places(a: &Placed, b: &Placed) -> bool {
    let (a, b) = (&a.layout, &b.layout);
    a.axes == b.axes && a.replicas == b.replicas && a.ciphertexts == b.ciphertexts && a.shape == b.shape
}

/// Whether every slot holds an element or a copy of one.
fn is_full(layout: &Layout) -> bool {
    let copies: u64 = layout.replicas.iter().map(|d| u64::from(d.extent)).product();
    layout.elements() as u64 * copies == u64::from(layout.slots) * u64::from(layout.ciphertexts)
}

/// Whether zero gaps, if there are any, become constants: f(0) ≠ 0.
pub fn fills_gaps(kind: &Kind, layout: &Layout) -> bool {
    !is_full(layout)
        && match kind {
            Kind::Elementwise(Function::Polynomial { .. }) => true,
            Kind::Elementwise(Function::Exact(f)) => f.value(0.0) != 0.0,
            _ => false,
        }
}

/// Whether junk in the gaps is multiplied so often that it could overflow, or meets another operand's.
pub fn needs_clean_gaps(kind: &Kind) -> bool {
    match kind {
        Kind::Elementwise(Function::Polynomial { coefficients, .. }) => coefficients.len() > 3,
        Kind::Elementwise(Function::Exact(_)) => true,
        Kind::Add | Kind::Sub | Kind::Mul => true,
        Kind::Elementwise(Function::Square) | Kind::Input | Kind::Linear { .. } | Kind::Concat { .. } => {
            false
        }
    }
}

/// The layout after a layer of one operand; `None` where it does not accept the layout.
pub fn result(kind: &Kind, operand: &Placed) -> Option<Placed> {
    if needs_clean_gaps(kind) && operand.layout.gap == Gap::Junk {
        return None;
    }
    let mut out = operand.clone();
    if fills_gaps(kind, &operand.layout) {
        out.layout.gap = Gap::Junk;
    }
    Some(out)
}
