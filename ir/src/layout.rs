//! Where the elements of a tensor stand in the slots of its ciphertexts, and what fills the rest.
//!
//! A [`Layout`] is a mixed-radix strided map, one list of [`Digit`]s per tensor axis, most significant digit
//! first. Element `(i_0, i_1, …)` stands at the address `Σ_axis Σ_digit part(i_axis, digit) · digit.stride`;
//! an address `a` is slot `a mod slots` of ciphertext `a / slots`. Replicas are further digits: every copy
//! `r` adds `Σ part(r, digit) · digit.stride` (modulo the slots of the same ciphertext). Example, 5 channels
//! of a stride-2 feature map, multiplexed: `c: 2@1024 2@32 2@1`, `h: 14@64`, `w: 14@2`.
//!
//! A layout may hold a batch of images, interleaved: all strides are multiples of the batch, and image `b` of it stands `b`
//! slots behind image 0. Rotations by multiples of the batch then move every image alike, and none into another.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

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
    /// Images that are interleaved, a power of two; 1 for a single image.
    pub batch: u32,
}

/// Index of a layout in its circuit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayoutId(pub u32);

/// Most slots over all ciphertexts of one layout (a bound against hostile files).
pub const MAX_LAYOUT_SLOTS: u64 = 1 << 26;

/// Why a layout is inconsistent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// The slot count is no power of two, or there are too many slots or no ciphertext.
    #[error("{ciphertexts} ciphertexts of {slots} slots")]
    Size {
        /// Slots of one ciphertext.
        slots: u32,
        /// Ciphertexts.
        ciphertexts: u32,
    },
    /// The digits of an axis do not cover it, or a digit is empty, or the axes are not those of the shape.
    #[error("axis {axis} of shape {shape:?} has digits that do not cover it")]
    Axis {
        /// Axis.
        axis: usize,
        /// Shape of the tensor.
        shape: Vec<u32>,
    },
    /// Replicas or folds do not fit into a ciphertext.
    #[error("copies {digits} do not fit into {slots} slots")]
    Copies {
        /// The digits.
        digits: String,
        /// Slots of one ciphertext.
        slots: u32,
    },
    /// An element stands beyond the last ciphertext.
    #[error("address {address} lies beyond {ciphertexts} ciphertexts of {slots} slots")]
    Beyond {
        /// Largest address.
        address: u64,
        /// Slots of one ciphertext.
        slots: u32,
        /// Ciphertexts.
        ciphertexts: u32,
    },
    /// The batch is no power of two, or a stride is no multiple of it.
    #[error("a batch of {batch} images with digits {stride} slots apart")]
    Batch {
        /// Images that are interleaved.
        batch: u32,
        /// The stride.
        stride: u32,
    },
    /// Two elements or copies share a slot.
    #[error("two elements or copies share slot {slot} of ciphertext {ciphertext}")]
    Overlap {
        /// Ciphertext.
        ciphertext: u32,
        /// Slot.
        slot: u32,
    },
}

impl Digit {
    /// Checks that the span of `digits` is no larger than a ciphertext of `slots`.
    pub fn check_all(digits: &[Digit], slots: u32) -> Result<(), LayoutError> {
        let copies = digits.iter().try_fold(1u64, |n, d| n.checked_mul(u64::from(d.extent)));
        let reach = digits.iter().try_fold(0u64, |n, d| {
            n.checked_add(u64::from(d.extent.saturating_sub(1)) * u64::from(d.stride))
        });
        let fits = |v: Option<u64>, below: u64| v.is_some_and(|v| v < below);
        if fits(copies, u64::from(slots) + 1) && fits(reach, u64::from(slots)) && copies != Some(0) {
            return Ok(());
        }
        let digits = digits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Err(LayoutError::Copies { digits, slots })
    }
}

impl Layout {
    /// The same for `batch` interleaved images, in as many times the slots.
    pub fn interleaved(mut self, batch: u32) -> Layout {
        self.slots *= batch;
        self.batch *= batch;
        let digits = self.axes.iter_mut().flatten().chain(&mut self.replicas);
        digits.for_each(|digit| digit.stride *= batch);
        self
    }

    /// The same places for the same elements, in row-major order, of a tensor of another shape; `None` where no digits say so: an
    /// axis that its digits do not fill ends inside a new one, or a digit falls across two axes.
    pub fn reshaped(&self, shape: &[u32]) -> Option<Layout> {
        let extent = |digits: &[Digit]| digits.iter().try_fold(1u32, |n, d| n.checked_mul(d.extent));
        let first = |shape: &[u32]| shape.iter().position(|size| *size > 1).unwrap_or(0);
        let elements = |shape: &[u32]| shape.iter().map(|size| u64::from(*size)).product::<u64>();
        let filled = |axis: usize| extent(&self.axes[axis]) == Some(self.shape[axis]);
        if elements(shape) != elements(&self.shape) || !(first(&self.shape) + 1..self.axes.len()).all(filled)
        {
            return None;
        }
        // The last digit is the least significant one.
        let mut rest: Vec<Digit> = self.axes.concat();
        rest.retain(|digit| digit.extent > 1);
        let mut axes = vec![Vec::new(); shape.len()];
        for axis in (first(shape) + 1..shape.len()).rev() {
            let mut size = shape[axis];
            while size > 1 {
                let Digit { extent, stride } = rest.pop()?;
                let part = extent.min(size);
                if !extent.is_multiple_of(part) || !size.is_multiple_of(part) {
                    return None;
                }
                if extent > part {
                    rest.push(Digit { extent: extent / part, stride: stride.checked_mul(part)? });
                }
                if part > 1 {
                    axes[axis].insert(0, Digit { extent: part, stride });
                }
                size /= part;
            }
        }
        *axes.get_mut(first(shape))? = rest;
        Some(Layout { shape: shape.to_vec(), axes, ..self.clone() })
    }

    /// Number of elements of the tensor of one image.
    pub fn elements(&self) -> usize {
        self.shape.iter().map(|&d| d as usize).product()
    }

    /// Address of each element (flat row-major index → `ciphertext · slots + slot`), first replica.
    pub fn addresses(&self) -> Vec<u64> {
        let mut out = vec![0u64];
        for axis in self.axis_offsets() {
            out = out.iter().flat_map(|base| axis.iter().map(move |o| base + o)).collect();
        }
        out
    }

    /// Ciphertext and slot of each element (flat row-major index), first replica.
    pub(crate) fn positions(&self) -> Vec<(u32, u32)> {
        let slots = u64::from(self.slots);
        self.addresses().into_iter().map(|a| ((a / slots) as u32, (a % slots) as u32)).collect()
    }

    /// Address part of every index of every axis.
    pub fn axis_offsets(&self) -> Vec<Vec<u64>> {
        self.shape.iter().zip(&self.axes).map(|(size, digits)| axis_offsets(*size, digits)).collect()
    }

    /// Slot offsets of the copies, the first being 0.
    pub fn replica_offsets(&self) -> Vec<u64> {
        digit_span(&self.replicas)
    }

    /// Checks sizes, coverage, bounds, and that no two elements or copies share a slot. Whoever reads a layout
    /// from a file calls this first; the other functions then neither overflow nor panic.
    pub fn check(&self) -> Result<(), LayoutError> {
        let (slots, ciphertexts) = (self.slots, self.ciphertexts);
        let total = u64::from(slots) * u64::from(ciphertexts);
        if !slots.is_power_of_two() || total == 0 || total > MAX_LAYOUT_SLOTS {
            return Err(LayoutError::Size { slots, ciphertexts });
        }
        let bad_axis = |axis| LayoutError::Axis { axis, shape: self.shape.clone() };
        if self.axes.len() != self.shape.len() {
            return Err(bad_axis(self.axes.len().min(self.shape.len())));
        }
        let mut address = 0u64;
        let mut elements = 1u64;
        for (axis, (size, digits)) in self.shape.iter().zip(&self.axes).enumerate() {
            let cover = digits.iter().fold(1u64, |n, d| n.saturating_mul(u64::from(d.extent)));
            elements = elements.saturating_mul(u64::from(*size));
            if cover < u64::from(*size) || *size == 0 || cover == 0 || elements > total || digits.len() > 64 {
                return Err(bad_axis(axis));
            }
            address = address.saturating_add(axis_offsets(*size, digits).into_iter().max().unwrap_or(0));
        }
        if address >= total {
            return Err(LayoutError::Beyond { address, slots, ciphertexts });
        }
        Digit::check_all(&self.replicas, slots)?;
        self.check_batch(self.axes.iter().flatten().chain(&self.replicas))?;
        self.check_overlap(total)
    }

    /// Checks that digits keep the images of a batch apart.
    pub(crate) fn check_batch<'a>(
        &self,
        mut digits: impl Iterator<Item = &'a Digit>,
    ) -> Result<(), LayoutError> {
        let batch = self.batch;
        if !batch.is_power_of_two() || batch > self.slots {
            return Err(LayoutError::Batch { batch, stride: self.slots });
        }
        match digits.find(|d| d.extent > 1 && !d.stride.is_multiple_of(batch)) {
            Some(&Digit { stride, .. }) => Err(LayoutError::Batch { batch, stride }),
            None => Ok(()),
        }
    }

    /// Whether every digit steps over all smaller ones, and none leaves its ciphertext: then no two places are equal.
    fn is_nested(&self) -> bool {
        let slots = u64::from(self.slots);
        let mut digits: Vec<(u64, u64)> = self
            .axes
            .iter()
            .flatten()
            .chain(&self.replicas)
            .filter(|d| d.extent > 1)
            .map(|d| (u64::from(d.stride), u64::from(d.extent)))
            .collect();
        digits.sort_unstable();
        let mut reach = 0u64;
        for (stride, extent) in digits {
            let far = reach.saturating_add((extent - 1).saturating_mul(stride));
            let apart = if stride < slots { far < slots } else { stride % slots == 0 };
            if stride <= reach || !apart {
                return false;
            }
            reach = far;
        }
        true
    }

    fn check_overlap(&self, total: u64) -> Result<(), LayoutError> {
        if self.is_nested() {
            return Ok(());
        }
        let mut taken = vec![false; total as usize];
        let copies = self.replica_offsets();
        for address in self.addresses() {
            for copy in &copies {
                let (ciphertext, slot) = self.place(address, *copy);
                let at = &mut taken[ciphertext as usize * self.slots as usize + slot as usize];
                if *at {
                    return Err(LayoutError::Overlap { ciphertext, slot });
                }
                *at = true;
            }
        }
        Ok(())
    }

    /// Ciphertext and slot of the copy at offset `copy` of the element at `address`.
    fn place(&self, address: u64, copy: u64) -> (u32, u32) {
        let slots = u64::from(self.slots);
        ((address / slots) as u32, ((address + copy) % slots) as u32)
    }

    /// Slots of one ciphertext: every copy of element `i` of image `b` holds `value(b, i)`, the gaps zero. The layout is
    /// checked.
    pub fn fill(&self, ciphertext: u32, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let mut slots = vec![0.0; self.slots as usize];
        let copies = self.replica_offsets();
        for (element, address) in self.addresses().into_iter().enumerate() {
            if address / u64::from(self.slots) == u64::from(ciphertext) {
                for copy in &copies {
                    let first = self.place(address, *copy).1 as usize;
                    let images = slots[first..first + self.batch as usize].iter_mut().enumerate();
                    images.for_each(|(image, slot)| *slot = value(image, element));
                }
            }
        }
        slots
    }

    /// Slot vectors of all ciphertexts for a batch of row-major tensors of [`Layout::elements`] values, one after the
    /// other. Checked layout.
    pub fn pack(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let elements = self.elements();
        let value = |image: usize, element: usize| values[image * elements + element];
        (0..self.ciphertexts).map(|c| self.fill(c, value)).collect()
    }

    /// The row-major tensors of a batch, one after the other, from the slot vectors of all ciphertexts (first copy). Checked
    /// layout.
    pub fn unpack<V: AsRef<[f64]>>(&self, ciphertexts: &[V]) -> Vec<f64> {
        let addresses = self.addresses();
        let read = |image: usize, address: u64| {
            let (ciphertext, slot) = self.place(address, 0);
            ciphertexts[ciphertext as usize].as_ref()[slot as usize + image]
        };
        let images = 0..self.batch as usize;
        images
            .flat_map(|image| addresses.iter().map(move |address| (image, *address)))
            .map(|(b, a)| read(b, a))
            .collect()
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
