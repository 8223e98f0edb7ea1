//! Convolutions in the clear: calibration and `check` evaluate billions of products.
//!
//! Sums run in the order of the weights: input channel, plane, row, column of the kernel. Promises: the bits of [`by_definition`], whatever the
//! window and the processor (products and sums are rounded apart); memory of the order of the operands, where the definition is taken instead.

use super::tap;
use cipherloom_ir::{Tensor, Window};
use pulp::{Arch, Simd, WithSimd};

/// Maps, and vectors of neighbours, that are summed together, in registers: eight sums, as many as additions are on their way. A compilation
/// of which convolutions took 48 %, one map at a time with SSE2, spent 17 % in these sums (Xeon, AVX-512, 2026-11-29).
const MAPS: usize = 4;
const VECTORS: usize = 2;
/// Most neighbours that are summed together: processors have vectors of eight values at most.
const LANES_MAX: usize = 8 * VECTORS;
/// How many times larger than its operands a dealt out image, and than a row of results a row of lanes, may be.
const OVERHEAD_MAX: usize = 8;

/// Planes, rows and columns that a window leaves of a volume.
pub(super) fn output(input: [u32; 4], window: &Window) -> [usize; 3] {
    [0, 1, 2].map(|k| {
        let padded = input[k + 1] + window.pad_before[k] + window.pad_after[k];
        let span = (window.kernel[k] - 1) * window.dilation[k] + 1;
        ((padded - span) / window.stride[k] + 1) as usize
    })
}

/// A convolution: `input` is channels, planes, rows and columns. Of a volume every plane of the result is a convolution of
/// an image, whose channels are the planes under the window.
pub(super) fn of(input: [u32; 4], window: &Window, groups: usize, weight: &Tensor, x: &[f64]) -> Vec<f64> {
    let [channels, planes, rows, columns] = input;
    if planes == 1 && window.is_flat() {
        return of_image([channels, rows, columns], window, groups, weight, x);
    }
    let [depth, out_rows, out_columns] = output(input, window);
    let (area, out_area) = ((rows * columns) as usize, out_rows * out_columns);
    let (maps, taps) = (weight.shape[0] as usize, window.kernel[0] as usize);
    let slice = window.kernel[1..].iter().product::<u32>() as usize;
    let mut y = vec![0.0; maps * depth * out_area];
    for o in 0..depth {
        // The taps of the depth that read a plane, and the planes.
        let inside: Vec<(usize, usize)> =
            (0..taps).filter_map(|t| Some((t, tap(window, 0, o, t, planes)?))).collect();
        if inside.is_empty() {
            continue;
        }
        let under: Vec<f64> = (0..channels as usize)
            .flat_map(|c| inside.iter().map(move |(_, p)| (c * planes as usize + p) * area))
            .flat_map(|first| &x[first..first + area])
            .copied()
            .collect();
        let read = weight.values.chunks_exact(taps * slice);
        let values =
            read.flat_map(|own| inside.iter().flat_map(move |(t, _)| &own[t * slice..(t + 1) * slice]));
        let weight =
            Tensor { name: String::new(), shape: weight.shape.clone(), values: values.copied().collect() };
        let image = [channels * inside.len() as u32, rows, columns];
        let image = of_image(image, window, groups, &weight, &under);
        for (map, values) in image.chunks_exact(out_area).enumerate() {
            y[(map * depth + o) * out_area..][..out_area].copy_from_slice(values);
        }
    }
    y
}

/// A convolution of one image, over rows and columns alone.
fn of_image(input: [u32; 3], window: &Window, groups: usize, weight: &Tensor, x: &[f64]) -> Vec<f64> {
    match Planes::new(input, window) {
        Some(planes) => planes.convolution(groups, weight, x),
        None => by_definition(input, window, groups, weight, x),
    }
}

/// Rows and columns that a window leaves of an image.
fn image_output([_, rows, columns]: [u32; 3], window: &Window) -> [usize; 2] {
    let of_one_plane = Window { kernel: [1, window.kernel[1], window.kernel[2]], ..*window };
    let [_, rows, columns] = output([1, 1, rows, columns], &of_one_plane);
    [rows, columns]
}

/// What a window's field says of rows and columns.
fn in_plane<T: Copy>([_, rows, columns]: [T; 3]) -> [T; 2] {
    [rows, columns]
}

/// Every sum by itself.
fn by_definition(input: [u32; 3], window: &Window, groups: usize, weight: &Tensor, x: &[f64]) -> Vec<f64> {
    let [channels, rows, columns] = input.map(|d| d as usize);
    let [out_rows, out_columns] = image_output(input, window);
    let [kernel_rows, kernel_columns] = in_plane(window.kernel).map(|d| d as usize);
    let (group_in, out_channels) = (channels / groups, weight.shape[0] as usize);
    let mut y = Vec::with_capacity(out_channels * out_rows * out_columns);
    for k in 0..out_channels * out_rows * out_columns {
        let (c, r, o) = (k % out_columns, k / out_columns % out_rows, k / out_columns / out_rows);
        let first = o / (out_channels / groups) * group_in;
        let mut sum = 0.0;
        for (i, dy) in (0..group_in).flat_map(|i| (0..kernel_rows).map(move |dy| (i, dy))) {
            let Some(row) = tap(window, 1, r, dy, input[1]) else { continue };
            let weights = &weight.values[((o * group_in + i) * kernel_rows + dy) * kernel_columns..];
            for (dx, w) in weights[..kernel_columns].iter().enumerate() {
                if let Some(column) = tap(window, 2, c, dx, input[2]) {
                    sum += f64::from(*w) * x[((first + i) * rows + row) * columns + column];
                }
            }
        }
        y.push(sum);
    }
    y
}

/// An image dealt out by its phases under the stride, with the zeros around it, so that a tap reads every plane from one offset on.
/// What is summed between the rows' ends and the next rows is dropped.
struct Planes<'a> {
    input: [usize; 3],
    window: &'a Window,
    out: [usize; 2],
    /// Rows and columns of a plane.
    extent: [usize; 2],
    /// Words of all planes, those that the last lanes read beyond included.
    words: usize,
}

impl Planes<'_> {
    /// `None` where they would be much larger than image and result.
    fn new<'a>(input: [u32; 3], window: &'a Window) -> Option<Planes<'a>> {
        let out = image_output(input, window);
        let reach = [1, 2].map(|k| ((window.kernel[k] - 1) * window.dilation[k] / window.stride[k]) as usize);
        let extent = [out[0].checked_add(reach[0])?, out[1].checked_add(reach[1])?];
        let input = input.map(|d| d as usize);
        let phases =
            in_plane(window.stride).map(|s| s as usize).into_iter().try_fold(input[0], usize::checked_mul)?;
        let words = extent[0].checked_mul(extent[1])?.checked_mul(phases)?;
        let operands = input[0] * (input[1] * input[2] + out[0] * out[1]);
        let fits = words / OVERHEAD_MAX <= operands && extent[1] / OVERHEAD_MAX <= out[1];
        fits.then_some(Planes { input, window, out, extent, words: words + LANES_MAX + reach[1] })
    }

    fn convolution(&self, groups: usize, weight: &Tensor, x: &[f64]) -> Vec<f64> {
        let Planes { input: [channels, ..], window, out, extent: [_, width], .. } = *self;
        let (group_in, out_channels) = (channels / groups, weight.shape[0] as usize);
        let [kernel_rows, kernel_columns] = in_plane(window.kernel).map(|d| d as usize);
        let image = self.dealt_out(x);
        let taps: Vec<usize> = (0..group_in * kernel_rows * kernel_columns)
            .map(|k| {
                let at = [k / kernel_columns % kernel_rows, k % kernel_columns];
                let [dy, dx] = [0, 1].map(|axis| at[axis] * in_plane(window.dilation)[axis] as usize);
                self.place(k / kernel_columns / kernel_rows, [dy, dx])
            })
            .collect();
        let words = (out[0] * width).next_multiple_of(LANES_MAX);
        let mut sums = vec![0.0; out_channels * words];
        let group_out = out_channels / groups;
        for (group, sums) in sums.chunks_mut((group_out * words).max(1)).enumerate() {
            let image = &image[self.place(group * group_in, [0, 0])..];
            let weights = &weight.values[group * group_out * taps.len()..][..group_out * taps.len()];
            Arch::new().dispatch(Sums { image, taps: &taps, weights, words, sums });
        }
        let mut y = Vec::with_capacity(out_channels * out[0] * out[1]);
        for map in sums.chunks_exact(words) {
            map.chunks_exact(width).take(out[0]).for_each(|row| y.extend_from_slice(&row[..out[1]]));
        }
        y
    }

    /// Where a padded row and column of a channel stands.
    fn place(&self, channel: usize, at: [usize; 2]) -> usize {
        let stride = in_plane(self.window.stride).map(|s| s as usize);
        let phase = at[0] % stride[0] * stride[1] + at[1] % stride[1];
        let plane = channel * stride[0] * stride[1] + phase;
        (plane * self.extent[0] + at[0] / stride[0]) * self.extent[1] + at[1] / stride[1]
    }

    fn dealt_out(&self, x: &[f64]) -> Vec<f64> {
        let [_, rows, columns] = self.input;
        let [pad, stride] =
            [self.window.pad_before, self.window.stride].map(|d| in_plane(d).map(|d| d as usize));
        let mut planes = vec![0.0; self.words];
        for (k, values) in x.chunks_exact(columns).enumerate() {
            let (channel, row) = (k / rows, k % rows + pad[0]);
            if row / stride[0] >= self.extent[0] {
                continue;
            }
            // Columns of one phase stand side by side.
            for first in 0..stride[1].min(columns) {
                let column = first + pad[1];
                let room = self.extent[1].saturating_sub(column / stride[1]);
                let phase = values[first..].iter().step_by(stride[1]).take(room);
                let at = self.place(channel, [row, column]);
                phase.enumerate().for_each(|(k, value)| planes[at + k] = *value);
            }
        }
        planes
    }
}

/// What a group's maps are: for each of them `Σ w image[tap + k..]`, for all `k` below `words`.
struct Sums<'a> {
    image: &'a [f64],
    taps: &'a [usize],
    /// By map, then by tap.
    weights: &'a [f32],
    /// A multiple of [`LANES_MAX`].
    words: usize,
    sums: &'a mut [f64],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sums { image, taps, words, .. } = self;
        let (lanes, weights) = (S::F64_LANES * VECTORS, self.weights.chunks(MAPS * taps.len()));
        for (weights, sums) in weights.zip(self.sums.chunks_mut(MAPS * words)) {
            // By tap, then by map; maps that are missing weigh nothing.
            let mut by_tap = vec![[0.0; MAPS]; taps.len()];
            for (map, weights) in weights.chunks_exact(taps.len()).enumerate() {
                by_tap.iter_mut().zip(weights).for_each(|(by_tap, w)| by_tap[map] = f64::from(*w));
            }
            for k in (0..words).step_by(lanes) {
                let found = weighted(simd, &image[k..], taps, &by_tap);
                for (sums, found) in sums.chunks_exact_mut(words).zip(found) {
                    S::as_mut_simd_f64s(&mut sums[k..k + lanes]).0.copy_from_slice(&found);
                }
            }
        }
    }
}

/// `Σ w x[tap..]`, by maps and vectors of neighbours.
#[inline(always)]
fn weighted<S: Simd>(
    simd: S,
    x: &[f64],
    taps: &[usize],
    weights: &[[f64; MAPS]],
) -> [[S::f64s; VECTORS]; MAPS] {
    let mut sums = [[simd.splat_f64s(0.0); VECTORS]; MAPS];
    for (tap, weights) in taps.iter().zip(weights) {
        let x = S::as_simd_f64s(&x[*tap..*tap + S::F64_LANES * VECTORS]).0;
        let x: [S::f64s; VECTORS] = std::array::from_fn(|v| x[v]);
        sums = std::array::from_fn(|map| {
            let w = simd.splat_f64s(weights[map]);
            std::array::from_fn(|v| simd.add_f64s(sums[map][v], simd.mul_f64s(w, x[v])))
        });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(of: std::ops::Range<u32>) -> impl Strategy<Value = [u32; 2]> {
        prop::array::uniform2(of)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn lanes_sum_as_the_definition_does(
            ((groups, per_group, maps), image, kernel) in ((1..3u32, 1..4u32, 1..3u32), pairs(1..15), pairs(1..6)),
            (stride, dilation) in (pairs(1..5), pairs(1..4)),
            pads in prop::array::uniform2(pairs(0..7)),
            seed in 0..1000u32,
        ) {
            let size = |[rows, columns]: [u32; 2]| [1, rows, columns];
            let pad = |[rows, columns]: [u32; 2]| [0, rows, columns];
            let window = Window {
                kernel: size(kernel),
                stride: size(stride),
                dilation: size(dilation),
                pad_before: pad(pads[0]),
                pad_after: pad(pads[1]),
            };
            let input = [groups * per_group, image[0], image[1]];
            let span = [0, 1].map(|k| (kernel[k] - 1) * dilation[k] + 1);
            prop_assume!((0..2).all(|k| span[k] <= image[k] + pads[0][k] + pads[1][k]));
            let number = |k: u32| (k.wrapping_mul(2_654_435_761).wrapping_add(seed) % 1009) as f32 / 504.0 - 1.0;
            let shape = vec![groups * maps, per_group, kernel[0], kernel[1]];
            let count = shape.iter().product();
            let weight = Tensor { name: "w".into(), shape, values: (0..count).map(number).collect() };
            let x: Vec<f64> = (0..input.iter().product()).map(|k| f64::from(number(k ^ 77)) / 3.0).collect();
            let wanted = by_definition(input, &window, groups as usize, &weight, &x);
            // Of any size, however wasteful.
            let planes = Planes::new(input, &window).unwrap_or_else(|| {
                let out = image_output(input, &window);
                let reach = [0, 1].map(|k| ((kernel[k] - 1) * dilation[k] / stride[k]) as usize);
                let extent = [out[0] + reach[0], out[1] + reach[1]];
                let planes = input[0] * stride[0] * stride[1];
                let words = planes as usize * extent[0] * extent[1] + LANES_MAX + reach[1];
                Planes { input: input.map(|d| d as usize), window: &window, out, extent, words }
            });
            let bits = |y: &[f64]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&planes.convolution(groups as usize, &weight, &x)), bits(&wanted));
            prop_assert_eq!(bits(&of_image(input, &window, groups as usize, &weight, &x)), bits(&wanted));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn volumes_are_summed_by_their_definition(
            (groups, per_group, maps) in (1..3u32, 1..3u32, 1..3u32),
            (size, kernel) in (prop::array::uniform3(1..6u32), prop::array::uniform3(1..4u32)),
            (stride, dilation) in (prop::array::uniform3(1..4u32), prop::array::uniform3(1..3u32)),
            pads in prop::array::uniform2(prop::array::uniform3(0..4u32)),
        ) {
            let window = Window { kernel, stride, dilation, pad_before: pads[0], pad_after: pads[1] };
            let span = [0, 1, 2].map(|k| (kernel[k] - 1) * dilation[k] + 1);
            prop_assume!((0..3).all(|k| span[k] <= size[k] + pads[0][k] + pads[1][k]));
            let input = [groups * per_group, size[0], size[1], size[2]];
            let shape = [&[groups * maps, per_group][..], &kernel].concat();
            let values = |count: u32| (0..count).map(|k| (k * 37 % 101) as f32 / 50.0 - 1.0);
            let weight = Tensor { name: "w".into(), values: values(shape.iter().product()).collect(), shape };
            let x: Vec<f64> = values(input.iter().product()).map(f64::from).collect();
            let out = output(input, &window).map(|d| d as u32);
            let mut wanted = Vec::new();
            for k in 0..groups * maps * out.iter().product::<u32>() {
                let o = [k / out[2] / out[1] % out[0], k / out[2] % out[1], k % out[2]];
                let map = k / out[2] / out[1] / out[0];
                let mut sum = 0.0;
                for t in 0..per_group * kernel.iter().product::<u32>() {
                    let tap = [t / kernel[2] / kernel[1] % kernel[0], t / kernel[2] % kernel[1], t % kernel[2]];
                    let own = t / kernel[2] / kernel[1] / kernel[0];
                    let at = [0, 1, 2].map(|k| i64::from(o[k] * stride[k] + tap[k] * dilation[k]) - i64::from(pads[0][k]));
                    if (0..3).all(|k| (0..i64::from(size[k])).contains(&at[k])) {
                        let channel = i64::from(map / maps * per_group + own);
                        let from = (0..3).fold(channel, |flat, k| flat * i64::from(size[k]) + at[k]);
                        let w = weight.values[(map * per_group * kernel.iter().product::<u32>() + t) as usize];
                        sum += f64::from(w) * x[from as usize];
                    }
                }
                wanted.push(sum);
            }
            let found = of(input, &window, groups as usize, &weight, &x);
            prop_assert_eq!(found.len(), wanted.len());
            for (f, w) in found.iter().zip(&wanted) {
                prop_assert!((f - w).abs() <= 1e-12, "{:?} {:?}", found, wanted);
            }
        }
    }

    #[test]
    fn absurd_windows_take_no_memory() {
        let far = 1 << 24;
        let window = Window {
            kernel: [1, 2, 2],
            stride: [1, far, far],
            dilation: [1, far, far],
            pad_before: [0, far, far],
            pad_after: [0; 3],
        };
        let weight = Tensor { name: "w".into(), shape: vec![1, 1, 2, 2], values: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(of([1; 4], &window, 1, &weight, &[0.5]), [2.0]);
        // A million taps of the depth, one of which reads something.
        let deep = Window { kernel: [1 << 20, 1, 1], pad_before: [(1 << 20) - 1, 0, 0], ..Window::POINT };
        let weight =
            Tensor { name: "w".into(), shape: vec![1, 1, 1 << 20, 1, 1], values: vec![3.0; 1 << 20] };
        assert_eq!(of([1; 4], &deep, 1, &weight, &[0.5]), [1.5]);
    }
}
