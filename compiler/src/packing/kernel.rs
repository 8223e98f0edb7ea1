//! Kernels: the ways to compute one linear map, each with the layout it yields.
//!
//! A kernel is a slot matrix by diagonals, followed by rotate-and-add over *fold* digits. Folding a map whose output
//! is smaller than its input trades diagonals for rotations at the lower level.
//!
//! | kernel | output | diagonals | folds | gap |
//! |---|---|---|---|---|
//! | multiplexed | feature map, channels in gaps and blocks | offsets × channel distances | 0 | zero |
//! | multiplexed, blocks folded by f | the same, f copies | 1/f of the distances, if the input has copies between | log f | zero |
//! | multiplexed, spaced | blocks apart, their copies between | as multiplexed | 0 | zero |
//! | multiplexed, copied | copies in all gaps that no channel takes | as multiplexed | log of the copies, afterwards | zero |
//! | folded vector, period p | vector, copies at every p | p | log(t/p) | zero |
//! | hybrid, a rows to a copy of the input | rows spread over the copies | a | log(t/a) | junk |
//!
//! t is the period of the input. Law of folds: the sum over `s + f` is a result wherever all its partial sums are;
//! if the fold digits fill a whole period of the partial sums it is a result in every slot, else slots beside the
//! first copy hold junk.
//!
//! Copies that lie *between* elements (spaced, copied) are what a fold needs: every part of the ciphertext then has all channels
//! in reach of a few distances, and sums over an f-th of them. What a fold leaves is the same in all parts, so it cannot be folded again at
//! once: networks alternate between both kinds of layouts (decision 0017).

use super::layouts::{Grid, Pixels, Placed, contiguous, copies, digits, multiplexed, period};
use crate::cost::CostModel;
use cipherloom_ir::scheme::Level;
use cipherloom_ir::{Digit, Gap, Layout, Operator, feature_map, volume_of};

/// One way to compute a linear map, still without diagonals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// Output layout of the map (for folds: where the gathered result's first copy stands).
    pub output: Layout,
    /// Partial-sum digits, gathered by rotate-and-add.
    pub fold: Vec<Digit>,
    /// Digits of copies that the output lacks, laid into its clean gaps by rotate-and-add; there is no fold then.
    pub copied: Vec<Digit>,
    /// What stands in the slots afterwards.
    pub result: Placed,
}

impl Kernel {
    /// Diagonals alone, for this result.
    pub fn plain(result: Placed) -> Kernel {
        Kernel { output: result.layout.clone(), fold: vec![], copied: vec![], result }
    }

    /// The turns that follow the diagonals, in slots: each rotates what there is and adds it. Digits have two values.
    pub fn turns(&self) -> impl Iterator<Item = u32> {
        let slots = self.output.slots;
        let copied = self.copied.iter().map(move |digit| slots - digit.stride);
        self.fold.iter().map(|digit| digit.stride).chain(copied)
    }

    /// Predicted time of the turns at a level, with the price of their keys.
    pub fn turns_ns(&self, cost: &CostModel, level: Level) -> u64 {
        let turns = self.turns().count() as u64;
        let rotations = turns * u64::from(self.output.ciphertexts);
        rotations * cost.rotate(level) + cost.memory_price(turns * cost.key_bytes(level))
    }
}

/// Largest total stride whose output stays on the grid of its input: strides in slots stay below 2^31.
pub const STRIDE_MAX: u32 = 1 << 14;

/// The feature map that operators read: `[channels, depth, height, width]`.
pub fn volume_read(operators: &[Operator]) -> Option<[u32; 4]> {
    operators.iter().find_map(|operator| match operator {
        Operator::Convolution { input, .. } | Operator::AveragePool { input, .. } => Some(Some(*input)),
        Operator::AxisScale { shape, .. } | Operator::View { input: shape, .. } => Some(volume_of(shape)),
        Operator::ElementScale { .. } => None,
        Operator::Dense { .. } => Some(None),
    })?
}

/// Total stride of operators that keep the axes of a feature map apart; `None` for others, and beyond [`STRIDE_MAX`].
pub fn feature_stride(operators: &[Operator]) -> Option<[u32; 3]> {
    let mut total = [1u32; 3];
    for operator in operators {
        let stride = match operator {
            Operator::Convolution { window, .. } | Operator::AveragePool { window, .. } => window.stride,
            Operator::AxisScale { shape, .. } if volume_of(shape).is_some() => [1; 3],
            Operator::ElementScale { .. } => [1; 3],
            Operator::View { input, axes } if volume_of(input).is_some() && axes.len() == input.len() => {
                let walked = |k: usize| axes[k].input_axis == Some(k as u32) && axes[k].step >= 1;
                if !(1..axes.len()).all(walked) {
                    return None;
                }
                let step = |k: usize| u32::try_from(axes[k].step).unwrap_or(u32::MAX);
                match axes.len() {
                    3 => [1, step(1), step(2)],
                    _ => [step(1), step(2), step(3)],
                }
            }
            _ => return None,
        };
        for (total, stride) in total.iter_mut().zip(stride) {
            *total = total.checked_mul(stride).filter(|total| *total <= STRIDE_MAX)?;
        }
    }
    Some(total)
}

/// The one layout that the multiplexed packing gives to a map's output: all gaps filled first. What the
/// operators read under another shape is a vector to it.
pub fn fixed(input: &Placed, operators: &[Operator], shape: &[u32]) -> Kernel {
    let slots = input.layout.slots;
    let found = reads_as_it_is(input, operators).then(|| feature_output(input, operators, shape));
    if let Some((volume, grid, pixels)) = found.flatten() {
        let gaps = gap_choices(pixels.stride, grid, volume[0]).into_iter().max().unwrap_or([1; 3]);
        return Kernel::plain(multiplexed(volume, slots, grid, pixels, gaps));
    }
    vector(shape, slots, slots).unwrap_or_else(|| Kernel::plain(contiguous(shape, slots)))
}

/// All kernels that the chooser weighs.
pub fn candidates(input: &Placed, operators: &[Operator], shape: &[u32]) -> Vec<Kernel> {
    let slots = input.layout.slots;
    let found = feature_output(input, operators, shape);
    let mut out = match found {
        Some((volume, grid, pixels)) => feature_maps(volume, slots, grid, pixels),
        None => vec![],
    };
    if found.is_none() || !reads_as_it_is(input, operators) {
        out.extend(vectors(shape, &input.layout));
    }
    if out.is_empty() {
        out.push(Kernel::plain(contiguous(shape, slots)));
    }
    out.sort();
    out.dedup();
    out
}

/// Whether operators read the tensor in its own shape.
fn reads_as_it_is(input: &Placed, operators: &[Operator]) -> bool {
    volume_read(operators).is_none_or(|read| feature_map(read) == input.layout.shape)
}

/// Shape, grid and pixels of a map's output that stands on the grid of its input; `None` where it is no feature map.
fn feature_output(input: &Placed, operators: &[Operator], shape: &[u32]) -> Option<([u32; 4], Grid, Pixels)> {
    let volume = volume_of(shape)?;
    let grid = input.grid.filter(|grid| grid.block <= input.layout.slots)?;
    let pixels = match volume_read(operators).map(feature_map) {
        Some(read) if read != input.layout.shape => Pixels::of(&input.layout.reshaped(&read)?, grid),
        _ => Pixels::of(&input.layout, grid),
    };
    let mut pixels = pixels?.strided(feature_stride(operators)?)?;
    // No more phases than pixels: of a tensor that is read in another shape, blocks of channels look like phases.
    pixels.phases.iter_mut().zip(&volume[1..]).for_each(|(phases, size)| *phases = (*phases).min(*size));
    // An output that padding made larger than the grid stands elsewhere.
    let units = grid.units();
    let within = [grid.block, grid.plane, grid.pitch];
    let fits = |k: usize| {
        let (stride, last) = (pixels.stride[k], volume[k + 1].div_ceil(pixels.phases[k]) - 1);
        let gap = u64::from(room(stride, units[k])) * u64::from(units[k]);
        u64::from(last) * u64::from(stride) + gap <= u64::from(within[k])
    };
    (0..3).all(fits).then_some((volume, grid, pixels))
}

/// Places from one pixel to the next of an axis that channels and copies may take, the pixel's own among them: a power of two.
fn room(stride: u32, unit: u32) -> u32 {
    1 << (stride / unit).max(1).ilog2()
}

/// Useful numbers of gaps: powers of two, no more than the channels fill, nearly equal along the axes that have gaps.
fn gap_choices(stride: [u32; 3], grid: Grid, channels: u32) -> Vec<[u32; 3]> {
    let units = grid.units();
    let rooms = [0, 1, 2].map(|k| stride[k] / units[k]);
    let powers = |k: usize| (0..).map(|e| 1u32 << e).take_while(move |g| *g <= rooms[k].max(1));
    let even = |gaps: &[u32; 3]| {
        let open = gaps.iter().zip(rooms).filter(|(_, room)| *room > 1).map(|(g, _)| *g);
        open.clone().max().unwrap_or(1) <= 2 * open.min().unwrap_or(1)
    };
    powers(0)
        .flat_map(|d| powers(1).flat_map(move |r| powers(2).map(move |c| [d, r, c])))
        .filter(|gaps| gaps.iter().product::<u32>() <= channels.next_power_of_two() && even(gaps))
        .collect()
}

fn feature_maps(volume: [u32; 4], slots: u32, grid: Grid, pixels: Pixels) -> Vec<Kernel> {
    let mut out = Vec::new();
    for gaps in gap_choices(pixels.stride, grid, volume[0]) {
        let full = multiplexed(volume, slots, grid, pixels, gaps);
        let period = period(&full.layout);
        let mut bare = full.clone();
        bare.layout.replicas.clear();
        let mut fold = 2;
        while full.layout.ciphertexts == 1 && fold * period <= slots {
            let mut output = bare.layout.clone();
            output.replicas = digits(&[(slots / fold / period, period)]);
            let gathered = halves(slots, slots / fold);
            out.push(Kernel { output, fold: gathered, copied: vec![], result: full.clone() });
            fold *= 2;
        }
        let whole: Vec<Placed> = spaced(&full, grid).into_iter().chain([full]).collect();
        out.extend(whole.iter().filter_map(|placed| copied(placed, grid, pixels, gaps)));
        out.extend(whole.into_iter().chain([bare]).map(Kernel::plain));
    }
    out
}

/// The same image with the copies of each block beside it, in place of copies of all blocks beside each other.
fn spaced(full: &Placed, grid: Grid) -> Option<Placed> {
    let slots = full.layout.slots;
    let mut placed = full.clone();
    let copies = slots / period(&full.layout);
    let block = placed.layout.axes[0].iter_mut().find(|d| d.stride == grid.block && d.extent > 1)?;
    block.stride *= copies;
    placed.layout.replicas = digits(&[(copies, grid.block)]);
    (copies > 1).then_some(placed)
}

/// The kernel that fills all gaps that no channel takes with copies.
fn copied(full: &Placed, grid: Grid, pixels: Pixels, gaps: [u32; 3]) -> Option<Kernel> {
    let units = grid.units();
    let axis = |k: usize| {
        let free = room(pixels.stride[k], units[k]) / gaps[k];
        digits(&[(free, units[k] * gaps[k])])
    };
    let free = [axis(0), axis(1), axis(2)].concat();
    let mut result = full.clone();
    result.layout.replicas.extend(&free);
    let copied: Vec<Digit> = free.iter().flat_map(|d| halves(d.extent * d.stride, d.stride)).collect();
    (!copied.is_empty()).then(|| Kernel { output: full.layout.clone(), fold: vec![], copied, result })
}

/// Digits `2@from/2 … 2@down_to`: a fold over the multiples of `down_to` below `from`.
fn halves(from: u32, down_to: u32) -> Vec<Digit> {
    let mut out = Vec::new();
    let mut stride = from / 2;
    while stride >= down_to && stride > 0 {
        out.push(Digit { extent: 2, stride });
        stride /= 2;
    }
    out
}

/// Vector with period p (the next power of two), folded over one period of the input.
fn vector(shape: &[u32], slots: u32, input_period: u32) -> Option<Kernel> {
    let result = contiguous(shape, slots);
    let p = period(&result.layout);
    if result.layout.ciphertexts > 1 || p > input_period {
        return None;
    }
    let mut output = result.layout.clone();
    output.replicas = copies(slots, input_period);
    Some(Kernel { output, fold: halves(input_period, p), copied: vec![], result })
}

fn vectors(shape: &[u32], input: &Layout) -> Vec<Kernel> {
    let (slots, t) = (input.slots, period(input));
    let mut out: Vec<Kernel> = vector(shape, slots, t).into_iter().collect();
    out.extend(vector(shape, slots, slots));
    let &[rows] = shape else { return out };
    let mut a = 1;
    while a < rows && a <= t {
        let chunks = rows.div_ceil(a);
        let used = chunks.next_power_of_two() * t;
        if used <= slots {
            let layout = Layout {
                shape: shape.to_vec(),
                slots,
                ciphertexts: 1,
                axes: vec![digits(&[(chunks, t), (a, 1)])],
                replicas: copies(slots, used),
                gap: Gap::Zero,
                batch: 1,
            };
            let fold = halves(t, a);
            let gap = if fold.is_empty() { Gap::Zero } else { Gap::Junk };
            let result = Placed { layout: Layout { gap, ..layout.clone() }, grid: None };
            out.push(Kernel { output: layout, fold, copied: vec![], result });
        }
        a *= 2;
    }
    out
}
