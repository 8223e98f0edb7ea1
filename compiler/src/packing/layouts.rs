//! Layouts that kernels produce: images on a grid of pixels and channels, and vectors.
//!
//! Relies on `ir`'s layouts. Promises: every layout built here addresses each element once, and copies are exact.

use cipherloom_ir::{Digit, Gap, Layout};

/// The pixel grid that images of one network share: row pitch and slots of one image, both in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grid {
    /// Slots from one row of the input image to the next.
    pub pitch: u32,
    /// Slots of one image, a power of two.
    pub block: u32,
}

/// Most families of input layouts that are offered for an image larger than a ciphertext.
const FAMILIES_MAX: usize = 2;
/// Phases of a large image that a ciphertext holds at least: fewer leave the first layers in hundreds of ciphertexts.
const BLOCKS_MIN: u32 = 8;

/// A layout and the grid it stands on, if it holds images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// The same elements as a tensor of another shape; itself where no layout says so.
fn reshaped(placed: Placed, shape: &[u32]) -> Option<Placed> {
    let layout = placed.layout.reshaped(shape)?;
    Some(Placed { layout, ..placed })
}

/// Layout of the client's input where the network reads it as `image`: row-major images in blocks of their own, copied
/// as often as they fit.
pub fn input(shape: &[u32], image: &[u32], slots: u32) -> Placed {
    let placed = as_read(image, slots);
    if shape == image { placed } else { reshaped(placed, shape).unwrap_or_else(|| contiguous(shape, slots)) }
}

fn as_read(shape: &[u32], slots: u32) -> Placed {
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
            let layout = Layout {
                shape: shape.to_vec(),
                slots,
                ciphertexts,
                axes,
                replicas,
                gap: Gap::Zero,
                batch: 1,
            };
            Placed { layout, grid: Some(grid) }
        }
        _ => contiguous(shape, slots),
    }
}

/// Layouts in which the client may encrypt an input that the network reads as `image`, in families: kernels lead from each layout
/// to others of its family only. An image that fits the slots has one family. Of a larger one pixels go to ciphertexts or blocks
/// by their phases.
pub fn inputs(shape: &[u32], image: &[u32], slots: u32) -> Vec<Vec<Placed>> {
    let fits = |placed: &Placed| placed.grid.is_none_or(|g| g.block <= slots);
    let mut whole = vec![input(shape, image, slots), contiguous(shape, slots)];
    whole.retain(fits);
    whole.sort();
    whole.dedup();
    let image = match *image {
        [channels, height, width] if whole.is_empty() => [channels, height, width],
        _ => return vec![whole],
    };
    let mut phases = [1, 1];
    let mut families = Vec::new();
    while families.len() < FAMILIES_MAX && phases[0] < image[1] && phases[1] < image[2] {
        let family: Vec<Placed> = phased(image, slots, phases)
            .into_iter()
            .filter_map(|placed| if shape == image { Some(placed) } else { reshaped(placed, shape) })
            .collect();
        if !family.is_empty() && family.iter().all(|p| p.grid.is_some_and(|g| g.block <= slots / BLOCKS_MIN))
        {
            families.push(family);
        }
        let rows_next = image[1] * phases[1] >= image[2] * phases[0];
        phases[usize::from(!rows_next)] *= 2;
    }
    families
}

/// An image by phases: every phase of every channel in a ciphertext of its own, filled with copies, or as many of them
/// in the blocks of one ciphertext as fit.
fn phased([channels, height, width]: [u32; 3], slots: u32, phases: [u32; 2]) -> Vec<Placed> {
    let [rows, columns] = [height.div_ceil(phases[0]), width.div_ceil(phases[1])];
    let pitch = columns.next_power_of_two();
    let grid = Grid { pitch, block: (rows * pitch).next_power_of_two() };
    let placed = |unit: u32, ciphertexts: u32, replicas: Vec<Digit>| {
        let axes = vec![
            digits(&[(channels, unit * phases[0] * phases[1])]),
            digits(&[(rows, pitch), (phases[0], unit * phases[1])]),
            digits(&[(columns, 1), (phases[1], unit)]),
        ];
        let shape = vec![channels, height, width];
        Placed {
            layout: Layout { shape, slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 },
            grid: Some(grid),
        }
    };
    let images = channels * phases[0] * phases[1];
    let apart = placed(slots, images, copies(slots, grid.block));
    let inside = slots / grid.block.min(slots);
    let mut out = vec![apart];
    if inside > 1 {
        let together = images.div_ceil(inside);
        let replicas =
            if together == 1 { copies(slots, images.next_power_of_two() * grid.block) } else { vec![] };
        out.push(placed(grid.block, together, replicas));
    }
    out
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
    let grid = |height: u32, width: u32| {
        let pitch = width.next_power_of_two();
        Grid { pitch, block: pitch * height.next_power_of_two() }
    };
    let grid = match *shape {
        [] | [_] => None,
        [_, width] => Some(grid(1, width)),
        [.., height, width] => Some(grid(height, width)),
    };
    Placed {
        layout: Layout {
            shape: shape.to_vec(),
            slots,
            ciphertexts,
            axes,
            replicas,
            gap: Gap::Zero,
            batch: 1,
        },
        grid,
    }
}

/// Where the pixels of an image stand on its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pixels {
    /// Slots from one pixel to the next of the same phase, rows and columns.
    pub stride: [u32; 2],
    /// Phases of rows and columns: pixel (y, x) stands in ciphertext (y mod phases, x mod phases), on a grid of its own.
    pub phases: [u32; 2],
}

impl Pixels {
    /// Reads them from a layout that stands on `grid`; `None` for other layouts.
    pub fn of(layout: &Layout, grid: Grid) -> Option<Pixels> {
        let [_, rows, columns] = layout.axes.as_slice() else { return None };
        let read = |digits: &[Digit], unit: u32| match digits {
            [] => Some((unit, 1)),
            [phase] if phase.stride >= grid.block => Some((unit, phase.extent)),
            [pixel] => Some((pixel.stride, 1)),
            [pixel, phase] if phase.stride >= grid.block => Some((pixel.stride, phase.extent)),
            _ => None,
        };
        let ((y, py), (x, px)) = (read(rows, grid.pitch)?, read(columns, 1)?);
        Some(Pixels { stride: [y, x], phases: [py, px] })
    }

    /// The pixels that remain after a stride: phases are dropped first, then gaps open. `None` where neither divides
    /// the other.
    pub fn strided(self, by: [u32; 2]) -> Option<Pixels> {
        let axis = |k: usize| {
            let (stride, phases, by) = (self.stride[k], self.phases[k], by[k]);
            match (phases % by, by % phases) {
                (0, _) => Some((stride, phases / by)),
                (_, 0) => Some((stride * (by / phases), 1)),
                _ => None,
            }
        };
        let ((y, py), (x, px)) = (axis(0)?, axis(1)?);
        Some(Pixels { stride: [y, x], phases: [py, px] })
    }
}

/// A feature map: channels in the gaps between pixels, then in blocks, then in further ciphertexts; phases in
/// ciphertexts. `gaps` says how many row and column gaps are used.
pub fn multiplexed(shape: [u32; 3], slots: u32, grid: Grid, pixels: Pixels, gaps: [u32; 2]) -> Placed {
    let [channels, height, width] = shape;
    let Pixels { stride, phases: [rows, columns] } = pixels;
    let blocks = channels.div_ceil(gaps[0] * gaps[1]);
    let inside = blocks.next_power_of_two().min((slots / grid.block).max(1));
    let groups = blocks.div_ceil(inside);
    let axes = vec![
        digits(&[(groups, slots), (inside, grid.block), (gaps[0], grid.pitch), (gaps[1], 1)]),
        digits(&[(height.div_ceil(rows), stride[0]), (rows, slots * groups * columns)]),
        digits(&[(width.div_ceil(columns), stride[1]), (columns, slots * groups)]),
    ];
    let replicas = copies(slots, inside * grid.block);
    let ciphertexts = groups * rows * columns;
    let layout =
        Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 };
    Placed { layout, grid: Some(grid) }
}

/// Period of a layout: the slots of one copy if copies fill the ciphertext, else all slots.
pub fn period(layout: &Layout) -> u32 {
    match layout.replicas.as_slice() {
        [d] if d.extent * d.stride == layout.slots => d.stride,
        _ => layout.slots,
    }
}
