//! Where the elements of a tensor stand in the slots of its ciphertexts, and what fills the rest.
//!
//! A [`Layout`] is a mixed-radix strided map, one list of [`Digit`]s per tensor axis, most significant digit
//! first. Element `(i_0, i_1, …)` stands at the address `Σ_axis Σ_digit part(i_axis, digit) · digit.stride`;
//! an address `a` is slot `a mod slots` of ciphertext `a / slots`. Replicas are further digits: every copy
//! `r` adds `Σ part(r, digit) · digit.stride` (modulo the slots of the same ciphertext). Example, 5 channels
//! of a stride-2 feature map, multiplexed: `c: 2@1024 2@32 2@1`, `h: 14@64`, `w: 14@2`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One digit of a mixed-radix index: `extent` values, `stride` slots apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digit {
    /// Number of values of this digit.
    pub extent: u32,
    /// Distance in slots between two neighbouring values.
    pub stride: u32,
}

/// What the slots hold that belong to no element and no replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Gap {
    /// Exactly zero (up to noise).
    Zero,
    /// Unknown but bounded values; every consumer must multiply them by zero.
    Junk,
}

/// Index map of a tensor into slots, with the content of the gaps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Tensor shape without the batch axis, e.g. `[channels, height, width]` or `[features]`.
    pub shape: Vec<u32>,
    /// Slots of one ciphertext, a power of two.
    pub slots: u32,
    /// Ciphertexts that hold the tensor.
    pub ciphertexts: u32,
    /// Digits of each axis, most significant first; their extents multiply to at least the axis' size.
    pub axes: Vec<Vec<Digit>>,
    /// Equal copies of the whole tensor inside each ciphertext: digits added to every address.
    pub replicas: Vec<Digit>,
    /// What the remaining slots hold.
    pub gap: Gap,
}

/// Index of a layout in its circuit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutId(pub u32);

impl Layout {
    /// Number of elements of the tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&d| d as usize).product()
    }

    /// Address of each element (flat row-major index → `ciphertext · slots + slot`), first replica.
    pub fn addresses(&self) -> Vec<u64> {
        let mut out = vec![0u64];
        for (size, digits) in self.shape.iter().zip(&self.axes) {
            let axis = axis_offsets(*size, digits);
            out = out.iter().flat_map(|base| axis.iter().map(move |o| base + o)).collect();
        }
        out
    }

    /// Slot offsets of the copies, the first being 0.
    pub fn replica_offsets(&self) -> Vec<u64> {
        digit_span(&self.replicas)
    }
}

/// Offsets of the indices `0..size` of one axis.
fn axis_offsets(size: u32, digits: &[Digit]) -> Vec<u64> {
    (0..size)
        .map(|index| {
            let mut rest = u64::from(index);
            let mut offset = 0;
            for digit in digits.iter().rev() {
                offset += rest % u64::from(digit.extent) * u64::from(digit.stride);
                rest /= u64::from(digit.extent);
            }
            offset
        })
        .collect()
}

/// All sums of digit values, in mixed-radix order (first digit most significant).
pub fn digit_span(digits: &[Digit]) -> Vec<u64> {
    let mut out = vec![0u64];
    for digit in digits {
        let values = (0..u64::from(digit.extent)).map(|v| v * u64::from(digit.stride));
        out = out.iter().flat_map(|base| values.clone().map(move |v| base + v)).collect();
    }
    out
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.extent, self.stride)
    }
}
