//! Layouts that kernels produce: feature maps on a grid of pixels and channels, and vectors.
//!
//! Relies on `ir`'s layouts. Promises: every layout built here addresses each element once, and copies are exact.

use cipherloom_ir::{Digit, Gap, Layout, feature_map, volume_of};

/// The pixel grid that feature maps of one network share, in slots. An image is a volume of one plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grid {
    /// Slots from one row of the input to the next.
    pub pitch: u32,
    /// Slots from one plane of the input to the next.
    pub plane: u32,
    /// Slots of one channel, a power of two.
    pub block: u32,
}

impl Grid {
    /// Rows and planes padded to powers of two where a block grows no larger by that.
    fn of([depth, height, width]: [u32; 3]) -> Grid {
        let block = |plane: u32| (depth * plane).next_power_of_two();
        let smallest = |exact: u32, times: u32| {
            let padded = exact.next_power_of_two();
            if block(times * padded) == block(times * exact) { padded } else { exact }
        };
        let pitch = smallest(width, height);
        let plane = smallest(height * pitch, 1);
        Grid { pitch, plane, block: block(plane) }
    }

    /// Rows and planes padded to powers of two.
    fn padded([depth, height, width]: [u32; 3]) -> Grid {
        let pitch = width.next_power_of_two();
        let plane = pitch * height.next_power_of_two();
        Grid { pitch, plane, block: plane * depth.next_power_of_two() }
    }

    /// Slots from one plane, row and column to the next.
    pub fn units(&self) -> [u32; 3] {
        [self.plane, self.pitch, 1]
    }
}

/// Most families of input layouts that are offered for an image larger than a ciphertext.
const FAMILIES_MAX: usize = 2;
/// Phases of a large image that a ciphertext holds at least: fewer leave the first layers in hundreds of ciphertexts.
const BLOCKS_MIN: u32 = 8;

/// A layout and the grid it stands on, if it holds a feature map.
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

/// The same elements in the same places, as a tensor of another shape; `None` where no layout says so.
fn reshaped(placed: Placed, shape: &[u32]) -> Option<Placed> {
    let layout = placed.layout.reshaped(shape)?;
    Some(Placed { layout, ..placed })
}

/// Layout of the client's input where the network reads it as the shape `read`: row-major feature maps in blocks of their own, copied
/// as often as they fit.
pub fn input(shape: &[u32], read: &[u32], slots: u32) -> Placed {
    let placed = in_blocks(read, slots);
    if shape == read { placed } else { reshaped(placed, shape).unwrap_or_else(|| contiguous(shape, slots)) }
}

fn in_blocks(shape: &[u32], slots: u32) -> Placed {
    let Some(volume @ [channels, depth, height, width]) = volume_of(shape) else {
        return contiguous(shape, slots);
    };
    let grid = Grid::of([depth, height, width]);
    let inside = channels.next_power_of_two().min((slots / grid.block).max(1));
    let ciphertexts = channels.div_ceil(inside);
    let [plane, pitch, column] = grid.units();
    let axes = feature_axes(
        volume,
        [
            digits(&[(ciphertexts, slots), (inside, grid.block)]),
            digits(&[(depth, plane)]),
            digits(&[(height, pitch)]),
            digits(&[(width, column)]),
        ],
    );
    let replicas = copies(slots, inside * grid.block);
    let layout =
        Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 };
    Placed { layout, grid: Some(grid) }
}

/// The axes of a feature map's layout: a depth of 1 is left out.
fn feature_axes(volume: [u32; 4], axes: [Vec<Digit>; 4]) -> Vec<Vec<Digit>> {
    let mut axes = Vec::from(axes);
    if volume[1] == 1 {
        axes.remove(1);
    }
    axes
}

/// Layouts in which the client may encrypt an input that the network reads as the shape `read`, in families: kernels lead from each
/// layout to others of its family only. A feature map that fits the slots has one family. Of a larger one pixels go to
/// ciphertexts or blocks by their phases.
pub fn inputs(shape: &[u32], read: &[u32], slots: u32) -> Vec<Vec<Placed>> {
    let fits = |placed: &Placed| placed.grid.is_none_or(|g| g.block <= slots);
    let volume = match volume_of(read) {
        Some(volume) if !fits(&in_blocks(read, slots)) => volume,
        _ => {
            let mut whole = vec![input(shape, read, slots), contiguous(shape, slots)];
            whole.retain(fits);
            whole.sort();
            whole.dedup();
            return vec![whole];
        }
    };
    let sizes = [volume[1], volume[2], volume[3]];
    let mut phases = [1u32; 3];
    let mut families = Vec::new();
    while families.len() < FAMILIES_MAX && (0..3).all(|k| sizes[k] == 1 || phases[k] < sizes[k]) {
        let family: Vec<Placed> = phased(volume, slots, phases)
            .into_iter()
            .filter_map(|placed| if shape == read { Some(placed) } else { reshaped(placed, shape) })
            .collect();
        if !family.is_empty() && family.iter().all(|p| p.grid.is_some_and(|g| g.block <= slots / BLOCKS_MIN))
        {
            families.push(family);
        }
        // The longest axis is dealt out next, the first of equal ones.
        let longer = |a: usize, b: usize| {
            let [left, right] =
                [(a, b), (b, a)].map(|(k, other)| u64::from(sizes[k]) * u64::from(phases[other]));
            left >= right
        };
        let next = (1..3).fold(0, |best, k| if longer(best, k) { best } else { k });
        phases[next] *= 2;
    }
    if families.is_empty() && shape != read {
        // No digits of the client's shape say where phases are that do not divide an axis.
        families.push(vec![Placed { grid: None, ..contiguous(shape, slots) }]);
    }
    families
}

/// A feature map by phases: every phase of every channel in a ciphertext of its own, filled with copies, or as many of them
/// in the blocks of one ciphertext as fit.
fn phased(volume: [u32; 4], slots: u32, phases: [u32; 3]) -> Vec<Placed> {
    let [channels, depth, height, width] = volume;
    let [planes, rows, columns] =
        [depth.div_ceil(phases[0]), height.div_ceil(phases[1]), width.div_ceil(phases[2])];
    let pitch = columns.next_power_of_two();
    let plane = if planes == 1 { (rows * pitch).next_power_of_two() } else { rows * pitch };
    let grid = Grid { pitch, plane, block: (planes * plane).next_power_of_two() };
    let placed = |unit: u32, ciphertexts: u32, replicas: Vec<Digit>| {
        let axes = feature_axes(
            volume,
            [
                digits(&[(channels, unit * phases[0] * phases[1] * phases[2])]),
                digits(&[(planes, plane), (phases[0], unit * phases[1] * phases[2])]),
                digits(&[(rows, pitch), (phases[1], unit * phases[2])]),
                digits(&[(columns, 1), (phases[2], unit)]),
            ],
        );
        let shape = feature_map(volume);
        Placed {
            layout: Layout { shape, slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 },
            grid: Some(grid),
        }
    };
    let images = channels * phases[0] * phases[1] * phases[2];
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
    let grid = match (volume_of(shape), shape) {
        (Some([_, depth, height, width]), _) => Some(Grid::padded([depth, height, width])),
        (None, [_, width]) => Some(Grid::padded([1, 1, *width])),
        _ => None,
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

/// Where the pixels of a feature map stand on its grid: depth, height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pixels {
    /// Slots from one pixel to the next of the same phase.
    pub stride: [u32; 3],
    /// Phases of each axis: pixel (z, y, x) stands in ciphertext (z mod phases, y mod phases, x mod phases), on a grid of its own.
    pub phases: [u32; 3],
}

impl Pixels {
    /// Reads them from a layout that stands on `grid`; `None` for other layouts.
    pub fn of(layout: &Layout, grid: Grid) -> Option<Pixels> {
        let axes: [&[Digit]; 3] = match layout.axes.as_slice() {
            [_, rows, columns] => [&[], rows, columns],
            [_, planes, rows, columns] => [planes, rows, columns],
            _ => return None,
        };
        let read = |digits: &[Digit], unit: u32| match digits {
            [] => Some((unit, 1)),
            [phase] if phase.stride >= grid.block => Some((unit, phase.extent)),
            [pixel] => Some((pixel.stride, 1)),
            [pixel, phase] if phase.stride >= grid.block => Some((pixel.stride, phase.extent)),
            _ => None,
        };
        let (mut stride, mut phases) = ([0; 3], [0; 3]);
        for (k, unit) in grid.units().into_iter().enumerate() {
            (stride[k], phases[k]) = read(axes[k], unit)?;
        }
        Some(Pixels { stride, phases })
    }

    /// The pixels that remain after a stride: phases are dropped first, then gaps open. `None` where neither divides
    /// the other.
    pub fn strided(mut self, by: [u32; 3]) -> Option<Pixels> {
        for ((stride, phases), by) in self.stride.iter_mut().zip(&mut self.phases).zip(by) {
            (*stride, *phases) = match (*phases % by, by % *phases) {
                (0, _) => (*stride, *phases / by),
                (_, 0) => (*stride * (by / *phases), 1),
                _ => return None,
            };
        }
        Some(self)
    }
}

/// A feature map: channels in the gaps between pixels, then in blocks, then in further ciphertexts; phases in
/// ciphertexts. `gaps` says how many gaps of depth, rows and columns are used.
pub fn multiplexed(volume: [u32; 4], slots: u32, grid: Grid, pixels: Pixels, gaps: [u32; 3]) -> Placed {
    let [channels, depth, height, width] = volume;
    let Pixels { stride, phases } = pixels;
    let blocks = channels.div_ceil(gaps.iter().product());
    let inside = blocks.next_power_of_two().min((slots / grid.block).max(1));
    let groups = blocks.div_ceil(inside);
    let [plane, pitch, column] = grid.units();
    let axes = feature_axes(
        volume,
        [
            digits(&[
                (groups, slots),
                (inside, grid.block),
                (gaps[0], plane),
                (gaps[1], pitch),
                (gaps[2], column),
            ]),
            digits(&[
                (depth.div_ceil(phases[0]), stride[0]),
                (phases[0], slots * groups * phases[1] * phases[2]),
            ]),
            digits(&[(height.div_ceil(phases[1]), stride[1]), (phases[1], slots * groups * phases[2])]),
            digits(&[(width.div_ceil(phases[2]), stride[2]), (phases[2], slots * groups)]),
        ],
    );
    let replicas = copies(slots, inside * grid.block);
    let ciphertexts = groups * phases.iter().product::<u32>();
    let layout =
        Layout { shape: feature_map(volume), slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 };
    Placed { layout, grid: Some(grid) }
}

/// Period of a layout: the slots of one copy if copies fill the ciphertext, else all slots.
pub fn period(layout: &Layout) -> u32 {
    match layout.replicas.as_slice() {
        [d] if d.extent * d.stride == layout.slots => d.stride,
        _ => layout.slots,
    }
}
