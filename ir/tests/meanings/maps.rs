//! Materialised diagonals against the textbook loops of each operator.

use crate::random::Random;
use cipherloom_ir::{
    Diagonals, Digit, Gap, Layout, LayoutId, LinearMap, Operator, Step, Support, Tensor, TensorId, ViewAxis,
    Window, digit_span,
};
use proptest::prelude::*;

/// The definition of one operator, index by index.
fn naive(operator: &Operator, x: &[f64], shape: &[u32], out: &[u32], tensors: &[Tensor]) -> Vec<f64> {
    let value = |id: &TensorId, at: usize| f64::from(tensors[id.0 as usize].values[at]);
    match operator {
        Operator::Convolution { input, window, groups, weight } => {
            window_sum(*input, out, window, |oc, ic, k| {
                let per_in = input[0] / groups;
                let same = oc / (out[0] / groups) == ic / per_in;
                let at = (oc * per_in + ic % per_in) * window.kernel.iter().product::<u32>() + k;
                if same { value(weight, at as usize) } else { 0.0 }
            })(x)
        }
        Operator::AveragePool { input, window, count_padding } => {
            let same = |oc: u32, ic: u32, _: u32| f64::from(u8::from(oc == ic));
            let sums = window_sum(*input, out, window, same)(x);
            let ones = vec![1.0; x.len()];
            let counts = window_sum(*input, out, window, same)(&ones);
            let whole = f64::from(window.kernel.iter().product::<u32>());
            let mean =
                |(s, n): (&f64, f64)| if n == 0.0 { 0.0 } else { s / if *count_padding { whole } else { n } };
            sums.iter().zip(counts).map(mean).collect()
        }
        Operator::Dense { weight } => {
            let n = x.len();
            let row = |r: usize| (0..n).map(|c| value(weight, r * n + c) * x[c]).sum();
            (0..out[0] as usize).map(row).collect()
        }
        Operator::View { input, axes } => {
            let total: u32 = out.iter().product();
            let read = |mut flat: u32| {
                let mut at = vec![0i64; input.len()];
                for axis in axes.iter().rev() {
                    let i = i64::from(flat % axis.extent);
                    flat /= axis.extent;
                    if let Some(a) = axis.input_axis {
                        at[a as usize] += axis.start + axis.step * i;
                    }
                }
                let inside = at.iter().zip(input).all(|(i, d)| *i >= 0 && *i < i64::from(*d));
                let index = at.iter().zip(input).fold(0, |f, (i, d)| f * i64::from(*d) + i);
                if inside { x[index as usize] } else { 0.0 }
            };
            (0..total).map(read).collect()
        }
        Operator::AxisScale { shape: s, axis, factor } => {
            let inner: u32 = s[*axis as usize + 1..].iter().product();
            let at = |i: usize| i / inner as usize % s[*axis as usize] as usize;
            x.iter().enumerate().map(|(i, v)| v * value(factor, at(i))).collect()
        }
        Operator::ElementScale { factor } => {
            assert_eq!(shape.iter().product::<u32>() as usize, x.len());
            x.iter().enumerate().map(|(i, v)| v * value(factor, i)).collect()
        }
    }
}

/// `y[oc,oz,oy,ox] = Σ weight(oc, ic, k) · x[ic, …]` over windows.
fn window_sum<'a>(
    [c, d, h, w]: [u32; 4],
    out: &'a [u32],
    window: &'a Window,
    weight: impl Fn(u32, u32, u32) -> f64 + 'a,
) -> impl Fn(&[f64]) -> Vec<f64> + 'a {
    move |x| {
        let mut y = vec![];
        let [out_depth, out_height, out_width] = match *out {
            [_, height, width] => [1, height, width],
            _ => [out[1], out[2], out[3]],
        };
        let [kd, kh, kw] = window.kernel;
        for o in 0..out[0] * out_depth * out_height * out_width {
            let (ox, oy, oz) = (o % out_width, o / out_width % out_height, o / out_width / out_height);
            let (oz, oc) = (oz % out_depth, oz / out_depth);
            let mut sum = 0.0;
            for k in 0..c * kd * kh * kw {
                let (kx, ky, kz, ic) = (k % kw, k / kw % kh, k / kw / kh % kd, k / kw / kh / kd);
                let at = |o: u32, k: u32, a: usize| {
                    i64::from(o * window.stride[a] + k * window.dilation[a]) - i64::from(window.pad_before[a])
                };
                let (iz, iy, ix) = (at(oz, kz, 0), at(oy, ky, 1), at(ox, kx, 2));
                let inside = |i: i64, size: u32| (0..i64::from(size)).contains(&i);
                if inside(iz, d) && inside(iy, h) && inside(ix, w) {
                    let from = ((ic * d + iz as u32) * h + iy as u32) * w + ix as u32;
                    sum += weight(oc, ic, (kz * kh + ky) * kw + kx) * x[from as usize];
                }
            }
            y.push(sum);
        }
        y
    }
}

/// Applies diagonals by their definition, then gathers the folds by rotate-and-add.
fn apply(diagonals: &Diagonals, input: &[Vec<f64>], map: &LinearMap, output: &Layout) -> Vec<Vec<f64>> {
    let slots = diagonals.slots as usize;
    let mut out = vec![vec![0.0; slots]; output.ciphertexts as usize];
    for d in diagonals.iter() {
        let dense = diagonals.vector(d.output, d.input, d.step, Step(0));
        for s in 0..slots {
            out[d.output as usize][s] += dense[s] * input[d.input as usize][(s + d.step.0 as usize) % slots];
        }
    }
    let gather = |x: &Vec<f64>| {
        let sum = |s: usize| digit_span(&map.fold).iter().map(|f| x[(s + *f as usize) % slots]).sum();
        (0..slots).map(sum).collect()
    };
    out.iter().map(gather).collect()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + a.abs()))
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let shape = match random.chance(3) {
        true => vec![random.pick(1, 3), random.pick(1, 4), random.pick(1, 4), random.pick(1, 4)],
        false => vec![random.pick(1, 4), random.pick(1, 6), random.pick(1, 6)],
    };
    let (operators, tensors) = random.operators(&shape);
    let x: Vec<f64> = (0..shape.iter().product()).map(|_| random.real()).collect();
    let (mut y, mut now) = (x.clone(), shape.to_vec());
    for operator in &operators {
        let next = operator.output_shape(&now, &tensors).unwrap();
        y = naive(operator, &y, &now, &next, &tensors);
        now = next;
    }
    let scale = 0.5;
    y.iter_mut().for_each(|v| *v *= scale);
    let slots = [32, 128, 1024, 4096][random.pick(0, 3) as usize];
    let input = random.layout(&shape, slots, true);
    let folded = random.chance(3);
    let output = random.layout(&now, slots, !folded);
    let span = output.addresses().iter().max().unwrap() + 1;
    let mut fold = vec![];
    if folded && span.next_power_of_two() * 2 <= u64::from(slots) {
        let stride = span.next_power_of_two() as u32;
        fold.push(Digit { extent: random.pick(2, slots / stride), stride });
    }
    check_batch(&operators, &tensors, [&input, &output], &fold, seed);
    let map = LinearMap { operators, scale, input: LayoutId(0), output: LayoutId(1), fold };
    let layouts = [input.clone(), output.clone()];
    let diagonals = Diagonals::materialise(&map, &layouts, &tensors).unwrap();
    let result = apply(&diagonals, &input.pack(&x), &map, &output);
    assert!(close(&output.unpack(&result), &y), "seed {seed}: values");
    for copy in output.replica_offsets() {
        let rotated: Vec<Vec<f64>> =
            result.iter().map(|v| (0..v.len()).map(|s| v[(s + copy as usize) % v.len()]).collect()).collect();
        assert!(close(&output.unpack(&rotated), &y), "seed {seed}: copy {copy}");
    }
    let support = Support::of_map(&map, &layouts, &tensors).unwrap();
    assert_eq!(support, diagonals.support(), "seed {seed}: support");
    let filled = (0..output.ciphertexts).all(|c| support.0.keys().any(|(o, _)| *o == c));
    assert!(filled, "seed {seed}: every output has a diagonal");
    let (norm, reach) = (diagonals.norms, x.iter().fold(0f64, |m, v| m.max(v.abs())));
    assert!(y.iter().all(|v| v.abs() <= norm.l1 * reach + 1e-9), "seed {seed}: L1 bounds the output");
}

/// The diagonals of a batch apply those of one image to each: as many, at steps that are multiples, in its places.
fn check_batch(operators: &[Operator], tensors: &[Tensor], layouts: [&Layout; 2], fold: &[Digit], seed: u64) {
    let batch = [2, 4, 8][seed as usize % 3];
    let of = |layouts: [Layout; 2], fold: Vec<Digit>| {
        let operators = operators.to_vec();
        let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold };
        (
            Diagonals::materialise(&map, &layouts, tensors).unwrap(),
            Support::of_map(&map, &layouts, tensors).unwrap(),
        )
    };
    let (one, _) = of(layouts.map(Layout::clone), fold.to_vec());
    let spread = fold.iter().map(|d| Digit { stride: d.stride * batch, ..*d }).collect();
    let (many, support) = of(layouts.map(|l| l.clone().interleaved(batch)), spread);
    assert_eq!(support, many.support(), "seed {seed}: support of a batch");
    assert_eq!(one.iter().len(), many.iter().len(), "seed {seed}: diagonals of a batch");
    for (d, e) in one.iter().zip(many.iter()) {
        assert_eq!((d.output, d.input, d.step.0 * batch), (e.output, e.input, e.step.0), "seed {seed}");
        let spread = one.entries(d).0.iter().zip(one.entries(d).1);
        let spread: Vec<(u32, f64)> =
            spread.flat_map(|(s, w)| (0..batch).map(move |b| (s * batch + b, *w))).collect();
        let found: Vec<(u32, f64)> =
            many.entries(e).0.iter().copied().zip(many.entries(e).1.iter().copied()).collect();
        assert_eq!(spread, found, "seed {seed}: places of a batch");
    }
}

#[test]
fn a_batch_is_packed_image_by_image() {
    let one = Random(5).layout(&[2, 3, 3], 64, true);
    let values: Vec<f64> = (0..4 * 18).map(f64::from).collect();
    let many = one.clone().interleaved(4);
    many.check().unwrap();
    let packed = many.pack(&values);
    assert_eq!(many.unpack(&packed), values);
    for image in 0..4 {
        let own: Vec<Vec<f64>> =
            packed.iter().map(|slots| slots.iter().skip(image).step_by(4).copied().collect()).collect();
        assert_eq!(own, one.pack(&values[image * 18..][..18]), "image {image} stands as it does alone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn diagonals_are_the_map(seed in any::<u64>()) {
        check(seed);
    }
}

pub(crate) fn plain_layout(shape: &[u32], slots: u32) -> Layout {
    let mut stride = 1;
    let mut axes: Vec<Vec<Digit>> = vec![];
    for extent in shape.iter().rev() {
        axes.insert(0, vec![Digit { extent: *extent, stride }]);
        stride *= extent;
    }
    Layout {
        shape: shape.to_vec(),
        slots,
        ciphertexts: stride.div_ceil(slots),
        axes,
        replicas: vec![],
        gap: Gap::Zero,
        batch: 1,
    }
}

#[test]
fn a_folded_dense_layer_needs_few_diagonals() {
    let mut random = Random(7);
    let (slots, columns) = (1024, 1000);
    let tensors = [random.tensor(&[16, columns])];
    let operators = vec![Operator::Dense { weight: TensorId(0) }];
    let layouts = [plain_layout(&[columns], slots), plain_layout(&[16], slots)];
    let fold = vec![Digit { extent: 64, stride: 16 }];
    let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold };
    let support = Support::of_map(&map, &layouts, &tensors).unwrap();
    assert_eq!(support.0[&(0, 0)], (0..16).map(Step).collect::<Vec<_>>());
}

#[test]
fn an_output_that_a_map_does_not_reach_has_a_diagonal_of_zeros() {
    let layouts = [plain_layout(&[16], 16), plain_layout(&[48], 16)];
    // The values stand in the second of three ciphertexts, as in a concatenation.
    let axis = ViewAxis { extent: 48, input_axis: Some(0), start: -16, step: 1 };
    let operators = vec![Operator::View { input: vec![16], axes: vec![axis] }];
    let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold: vec![] };
    let diagonals = Diagonals::materialise(&map, &layouts, &[]).unwrap();
    let sizes = diagonals.iter().map(|d| (d.output, d.input, d.step.0, diagonals.entries(d).0.len()));
    assert_eq!(sizes.collect::<Vec<_>>(), [(0, 0, 0, 0), (1, 0, 0, 16), (2, 0, 0, 0)]);
    assert_eq!(Support::of_map(&map, &layouts, &[]).unwrap(), diagonals.support());
}

#[test]
fn impossible_maps_are_errors() {
    let layout = plain_layout(&[1, 4, 4], 16);
    let window = Window { kernel: [1, 5, 5], ..Window::POINT };
    let pool = |window, input| Operator::AveragePool { input, window, count_padding: true };
    let view = |axis| Operator::View { input: vec![16], axes: vec![axis] };
    let walk = ViewAxis { extent: 16, input_axis: Some(3), start: 0, step: 1 };
    let bad = [
        pool(window, [1, 1, 4, 4]),
        pool(Window { kernel: [1; 3], stride: [1, 0, 1], ..window }, [1, 1, 4, 4]),
        pool(Window { kernel: [1; 3], ..window }, [2, 1, 4, 4]),
        pool(Window { kernel: [1; 3], pad_before: [u32::MAX; 3], ..window }, [1, 1, 4, 4]),
        Operator::Dense { weight: TensorId(9) },
        view(walk),
        view(ViewAxis { extent: u32::MAX, input_axis: Some(0), start: i64::MIN, step: i64::MAX }),
    ];
    for operator in bad {
        let map = LinearMap {
            operators: vec![operator.clone()],
            scale: 1.0,
            input: LayoutId(0),
            output: LayoutId(0),
            fold: vec![],
        };
        let layouts = std::slice::from_ref(&layout);
        assert!(Diagonals::materialise(&map, layouts, &[]).is_err(), "{operator:?}");
        assert!(Support::of_map(&map, layouts, &[]).is_err(), "{operator:?}");
    }
}

#[test]
fn layouts_that_overlap_or_overflow_are_refused() {
    let good = plain_layout(&[4, 4], 16);
    assert_eq!(good.check(), Ok(()));
    let digit = |extent, stride| Digit { extent, stride };
    let bad = [
        Layout { slots: 12, ..good.clone() },
        Layout { ciphertexts: 0, ..good.clone() },
        Layout { batch: 0, ..good.clone() },
        Layout { batch: 3, ..good.clone() },
        Layout { batch: 2, ..good.clone() },
        Layout { batch: u32::MAX, ..good.clone() },
        Layout { axes: vec![vec![digit(4, 4)]], ..good.clone() },
        Layout { axes: vec![vec![digit(4, 4)], vec![digit(3, 1)]], ..good.clone() },
        Layout { axes: vec![vec![digit(4, 4)], vec![digit(4, 2)]], ..good.clone() },
        Layout { axes: vec![vec![digit(4, 2)], vec![digit(4, 1)]], ..good.clone() },
        Layout { replicas: vec![digit(2, 8)], ..good.clone() },
        Layout { replicas: vec![digit(u32::MAX, u32::MAX); 3], ..good.clone() },
        Layout { shape: vec![u32::MAX, u32::MAX], ..good.clone() },
    ];
    for layout in bad {
        assert!(layout.check().is_err(), "{layout:?}");
    }
}
