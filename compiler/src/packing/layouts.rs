//! Layouts that kernels produce: images on a grid of pixels and channels, and vectors.
//!
//! Relies on `ir`'s layouts. Promises: every layout built here addresses each element once, and copies are exact.

use cipherloom_ir::{Digit, Gap, Layout};

/// The pixel grid that images of one network share: row pitch and slots of one image, both in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grid {
    /// Slots from one row of the input image to the next.
    pub pitch: u32,
    /// Slots of one image, a power of two.
    pub block: u32,
}

/// A layout and the grid it stands on, if it holds images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Where the elements stand.
    pub layout: Layout,
    /// The grid; `None` for vectors.
    pub grid: Option<Grid>,
}

/// A digit list without digits of extent 1.
pub fn digits(list: &[(u32, u32)]) -> Vec<Digit> {
    list.iter().filter(|(e, _)| *e > 1).map(|&(extent, stride)| Digit { extent, stride }).collect()
}

/// Copies that fill the ciphertext with period `period`.
pub fn copies(slots: u32, period: u32) -> Vec<Digit> {
    digits(&[(slots / period.min(slots), period)])
}

/// Layout of the client's input: row-major images in blocks of their own, copied as often as they fit.
pub fn input(shape: &[u32], slots: u32) -> Placed {
    match *shape {
        [channels, height, width] => {
            let padded = width.next_power_of_two();
            let block = |pitch: u32| (height * pitch).next_power_of_two();
            let pitch = if block(padded) == block(width) { padded } else { width };
            let grid = Grid { pitch, block: block(pitch) };
            let inside = channels.next_power_of_two().min((slots / grid.block).max(1));
            let ciphertexts = channels.div_ceil(inside);
            let axes = vec![
                digits(&[(ciphertexts, slots), (inside, grid.block)]),
                digits(&[(height, pitch)]),
                digits(&[(width, 1)]),
            ];
            let replicas = copies(slots, inside * grid.block);
            let layout = Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero };
            Placed { layout, grid: Some(grid) }
        }
        _ => contiguous(shape, slots),
    }
}

/// Elements in row-major order, axes padded to powers of two, copied as often as they fit.
pub fn contiguous(shape: &[u32], slots: u32) -> Placed {
    let mut stride = 1u32;
    let mut axes: Vec<Vec<Digit>> = Vec::new();
    for &extent in shape.iter().rev() {
        axes.insert(0, digits(&[(extent, stride)]));
        stride *= extent.next_power_of_two();
    }
    let first = shape.first().copied().unwrap_or(1);
    let span = stride / first.next_power_of_two() * first;
    let ciphertexts = span.div_ceil(slots).max(1);
    let replicas = if ciphertexts == 1 { copies(slots, stride) } else { vec![] };
    let grid = match *shape {
        [_, height, width] => {
            let pitch = width.next_power_of_two();
            Some(Grid { pitch, block: pitch * height.next_power_of_two() })
        }
        _ => None,
    };
    Placed {
        layout: Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero },
        grid,
    }
}

/// A feature map: pixels at `stride` (rows, columns) slots, channels in the gaps between them, then in blocks, then in
/// further ciphertexts. `gaps` says how many row and column gaps are used.
pub fn multiplexed(shape: [u32; 3], slots: u32, grid: Grid, stride: [u32; 2], gaps: [u32; 2]) -> Placed {
    let [channels, height, width] = shape;
    let blocks = channels.div_ceil(gaps[0] * gaps[1]);
    let inside = blocks.next_power_of_two().min((slots / grid.block).max(1));
    let ciphertexts = blocks.div_ceil(inside);
    let axes = vec![
        digits(&[(ciphertexts, slots), (inside, grid.block), (gaps[0], grid.pitch), (gaps[1], 1)]),
        digits(&[(height, stride[0])]),
        digits(&[(width, stride[1])]),
    ];
    let replicas = copies(slots, inside * grid.block);
    let layout = Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero };
    Placed { layout, grid: Some(grid) }
}

/// Period of a layout: the slots of one copy if copies fill the ciphertext, else all slots.
pub fn period(layout: &Layout) -> u32 {
    match layout.replicas.as_slice() {
        [d] if d.extent * d.stride == layout.slots => d.stride,
        _ => layout.slots,
    }
}
