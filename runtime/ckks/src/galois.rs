//! Rotations of slots and the Galois elements that perform them.
//!
//! Slot `j` holds a polynomial's value at `zeta^(5^j)`, `zeta` a primitive root of unity of order `2N`. So
//! `X -> X^(5^k)` moves slot `j + k` to slot `j`, a left rotation by `k`, and `X -> X^(2N-1)` conjugates every slot.

use cipherloom_ring::Degree;

/// How many slots a rotation moves to the left, counted over all `N/2` slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RotationStep(pub u32);

/// The exponent `g` of an automorphism `X -> X^g`: an odd number below `2N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GaloisElement(pub u64);

impl RotationStep {
    /// The element `5^step mod 2N`.
    pub fn element(self, degree: Degree) -> GaloisElement {
        let mask = 2 * degree.n() as u64 - 1;
        let (mut power, mut base, mut left) = (1u64, 5u64, self.0);
        while left > 0 {
            if left & 1 == 1 {
                power = power.wrapping_mul(base) & mask;
            }
            base = base.wrapping_mul(base) & mask;
            left >>= 1;
        }
        GaloisElement(power)
    }
}

impl GaloisElement {
    /// The element `2N - 1`, which conjugates every slot.
    pub fn conjugation(degree: Degree) -> GaloisElement {
        GaloisElement(2 * degree.n() as u64 - 1)
    }

    /// The element that undoes this one: `1/g mod 2N`.
    pub fn inverse(self, degree: Degree) -> GaloisElement {
        let mask = 2 * degree.n() as u64 - 1;
        // Newton's iteration doubles the correct low bits; an odd number is its own inverse modulo 8.
        let newton = |x: u64, _| x.wrapping_mul(2u64.wrapping_sub(self.0.wrapping_mul(x)));
        GaloisElement((0..5).fold(self.0, newton) & mask)
    }

    /// Whether this is the identity.
    pub fn is_identity(self) -> bool {
        self.0 == 1
    }
}
