//! Materialised diagonals against the textbook loops of each operator.

use crate::random::Random;
use cipherloom_ir::{
    Diagonal, Diagonals, Digit, Gap, Layout, LayoutId, LinearMap, Operator, PlacedMap, Step, Support, Tensor,
    TensorId, ViewAxis, Window, digit_span,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The definition of one operator, index by index.
fn naive(operator: &Operator, x: &[f64], shape: &[u32], out: &[u32], tensors: &[Tensor]) -> Vec<f64> {
    let value = |id: &TensorId, at: usize| f64::from(tensors[id.0 as usize].values[at]);
    match operator {
        Operator::Convolution { input, window, groups, weight } => {
            window_sum(*input, out, window, |oc, ic, k| {
                let per_in = input[0] / groups;
                let same = oc / (out[0] / groups) == ic / per_in;
                let at = (oc * per_in + ic % per_in) * window.kernel[0] * window.kernel[1] + k;
                if same { value(weight, at as usize) } else { 0.0 }
            })(x)
        }
        Operator::AveragePool { input, window, count_padding } => {
            let same = |oc: u32, ic: u32, _: u32| f64::from(u8::from(oc == ic));
            let sums = window_sum(*input, out, window, same)(x);
            let ones = vec![1.0; x.len()];
            let counts = window_sum(*input, out, window, same)(&ones);
            let whole = f64::from(window.kernel[0] * window.kernel[1]);
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

/// `y[oc,oy,ox] = Σ weight(oc, ic, k) · x[ic, …]` over windows.
fn window_sum<'a>(
    [c, h, w]: [u32; 3],
    out: &'a [u32],
    window: &'a Window,
    weight: impl Fn(u32, u32, u32) -> f64 + 'a,
) -> impl Fn(&[f64]) -> Vec<f64> + 'a {
    move |x| {
        let mut y = vec![];
        for (oc, oy, ox) in
            (0..out[0]).flat_map(|a| (0..out[1]).flat_map(move |b| (0..out[2]).map(move |d| (a, b, d))))
        {
            let mut sum = 0.0;
            for ic in 0..c {
                for (ky, kx) in (0..window.kernel[0]).flat_map(|a| (0..window.kernel[1]).map(move |b| (a, b)))
                {
                    let at = |o: u32, k: u32, a: usize| {
                        i64::from(o * window.stride[a] + k * window.dilation[a])
                            - i64::from(window.pad_before[a])
                    };
                    let (iy, ix) = (at(oy, ky, 0), at(ox, kx, 1));
                    if iy >= 0 && ix >= 0 && iy < i64::from(h) && ix < i64::from(w) {
                        let from = (ic * h + iy as u32) * w + ix as u32;
                        sum += weight(oc, ic, ky * window.kernel[1] + kx) * x[from as usize];
                    }
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
    let shape = [random.pick(1, 4), random.pick(1, 6), random.pick(1, 6)];
    let (operators, tensors) = random.operators(shape);
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

fn plain_layout(shape: &[u32], slots: u32) -> Layout {
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
fn copies_between_elements_are_read_at_few_distances() {
    // 8 channels of 4 x 4 pixels in 512 slots, pixels 2 apart on a grid of 8 x 8, each channel in its block: the gaps hold copies, or zeros.
    let digits = |list: &[(u32, u32)]| -> Vec<Digit> {
        list.iter().map(|&(extent, stride)| Digit { extent, stride }).collect()
    };
    let layout = |channels: &[(u32, u32)], replicas: &[(u32, u32)]| Layout {
        shape: vec![8, 4, 4],
        slots: 512,
        ciphertexts: 1,
        axes: vec![digits(channels), digits(&[(4, 16)]), digits(&[(4, 2)])],
        replicas: digits(replicas),
        gap: Gap::Zero,
        batch: 1,
    };
    let window =
        Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad_before: [1; 2], pad_after: [1; 2] };
    let convolution = Operator::Convolution { input: [8, 4, 4], window, groups: 1, weight: TensorId(0) };
    let tensors = [Random(3).tensor(&[8, 8, 3, 3])];
    let diagonals = |input: Layout, output: Layout, fold: Vec<Digit>| {
        let operators = vec![convolution.clone()];
        let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold };
        let layouts = [input, output];
        let support = Support::of_map(&map, &layouts, &tensors).unwrap();
        assert_eq!(support, Diagonals::materialise(&map, &layouts, &tensors).unwrap().support());
        support.diagonals()
    };
    let apart = [(8, 64)];
    let packed = [(2, 64), (2, 8), (2, 1)];
    let whole = diagonals(layout(&apart, &[]), layout(&apart, &[]), vec![]);
    assert_eq!(whole, 9 * 8, "offsets by channels");
    let folded =
        diagonals(layout(&apart, &[(2, 8), (2, 1)]), layout(&packed, &[]), digits(&[(2, 256), (2, 128)]));
    assert_eq!(folded, 9 * 2, "each of four parts sums two channels");
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
    let window =
        Window { kernel: [5, 5], stride: [1, 1], dilation: [1, 1], pad_before: [0, 0], pad_after: [0, 0] };
    let pool = |window, input| Operator::AveragePool { input, window, count_padding: true };
    let view = |axis| Operator::View { input: vec![16], axes: vec![axis] };
    let walk = ViewAxis { extent: 16, input_axis: Some(3), start: 0, step: 1 };
    let bad = [
        pool(window, [1, 4, 4]),
        pool(Window { kernel: [1, 1], stride: [0, 1], ..window }, [1, 4, 4]),
        pool(Window { kernel: [1, 1], ..window }, [2, 4, 4]),
        pool(Window { kernel: [1, 1], pad_before: [u32::MAX; 2], ..window }, [1, 4, 4]),
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

/// The rule in the header of `cipherloom_ir::map`, product by product: all (output, input, step, place).
fn chosen_by_hand(map: &PlacedMap<'_>, tensors: &[Tensor]) -> BTreeSet<(u32, u32, u32, u32)> {
    let slots = u64::from(map.input.slots);
    let (replicas, folds) = (map.input.replica_offsets(), digit_span(map.fold));
    let added: BTreeSet<u64> =
        replicas.iter().flat_map(|r| folds.iter().map(move |f| (r + slots - f) % slots)).collect();
    let between = |d: &&Digit| u64::from(d.extent) * u64::from(d.stride) % slots != 0;
    let between: Vec<&Digit> = map.input.replicas.iter().filter(between).collect();
    let misfits = |step: u64| {
        let misfits = |d: &&&Digit| {
            let stride = u64::from(d.stride);
            !((step + stride / 2) / stride).is_multiple_of(u64::from(d.extent))
        };
        if added.len() > 1024 { 0 } else { between.iter().filter(misfits).count() }
    };
    let (rows, inputs) = (map.rows(tensors).unwrap(), map.input.addresses());
    let mut all = BTreeSet::new();
    for (row, output) in map.output.addresses().into_iter().enumerate() {
        for (copy, i) in
            map.output.replica_offsets().iter().flat_map(|c| rows.row(row).0.iter().map(move |i| (c, *i)))
        {
            let (slot, input) = ((output + copy) % slots, inputs[i as usize]);
            let led = replicas
                .iter()
                .flat_map(|r| folds.iter().map(move |f| ((input + r + 2 * slots - slot - f) % slots, *f)));
            let (_, step, fold) = led.map(|(step, f)| (misfits(step), step, f)).min().unwrap();
            let names = [output / slots, input / slots, step, (slot + fold) % slots].map(|x| x as u32);
            all.insert(names.into());
        }
    }
    all
}

#[test]
fn products_take_the_step_that_the_rule_names() {
    let mut compared = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let shape = [random.pick(1, 3), random.pick(1, 4), random.pick(1, 4)];
        let input = random.layout(&shape, 512, true);
        let output = random.layout(&shape, 512, false);
        let span = (output.addresses().iter().max().unwrap() + 1).next_power_of_two() as u32;
        let fold = if span < 512 { vec![Digit { extent: 2, stride: 256 }] } else { vec![] };
        let window = Window {
            kernel: [3; 2],
            stride: [1; 2],
            dilation: [1; 2],
            pad_before: [1; 2],
            pad_after: [1; 2],
        };
        let weight = random.tensor(&[shape[0], shape[0], 3, 3]);
        let operators = [Operator::Convolution { input: shape, window, groups: 1, weight: TensorId(0) }];
        compared += compare(&operators, [&input, &output], &fold, &[weight]);
    }
    // 64 copies between, 32 folds: more than 1024 candidates.
    let many =
        |copies| Layout { replicas: vec![Digit { extent: copies, stride: 2 }], ..plain_layout(&[2], 4096) };
    let fold = [Digit { extent: 32, stride: 128 }];
    for copies in [32, 64] {
        let input = Layout { axes: vec![vec![Digit { extent: 2, stride: 1 }]], ..many(copies) };
        compared += compare(&[], [&input, &plain_layout(&[2], 4096)], &fold, &[]);
    }
    assert!(compared > 1000, "{compared} products");
}

/// Compares a map's diagonals with those chosen by hand; returns how many products there are.
fn compare(operators: &[Operator], layouts: [&Layout; 2], fold: &[Digit], tensors: &[Tensor]) -> usize {
    let map = PlacedMap { operators, scale: 1.0, input: layouts[0], output: layouts[1], fold };
    let diagonals = Diagonals::of(&map, tensors).unwrap();
    let named = |d: &Diagonal| {
        let (output, input, step) = (d.output, d.input, d.step.0);
        diagonals.entries(d).0.iter().map(move |place| (output, input, step, *place)).collect::<Vec<_>>()
    };
    let found: BTreeSet<_> = diagonals.iter().flat_map(named).collect();
    assert_eq!(found, chosen_by_hand(&map, tensors), "{layouts:?}");
    found.len()
}

#[test]
fn more_copies_by_folds_than_anyone_lists_are_refused() {
    let all = |slots| vec![Digit { extent: slots, stride: 1 }];
    let layout = Layout { replicas: all(1 << 15), ..plain_layout(&[1], 1 << 15) };
    let map = LinearMap {
        operators: vec![],
        scale: 1.0,
        input: LayoutId(0),
        output: LayoutId(1),
        fold: all(1 << 15),
    };
    let layouts = [layout, plain_layout(&[1], 1 << 15)];
    let refused = Support::of_map(&map, &layouts, &[]).unwrap_err().to_string();
    assert_eq!(refused, "copies by folds would have 1073741824 entries, more than 4194304");
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
