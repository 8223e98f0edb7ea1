//! Which of several equal copies, and of several places of a partial sum, a product takes: the rule in the header of
//! `cipherloom_ir::map`.

use crate::maps::plain_layout;
use crate::random::Random;
use cipherloom_ir::{
    Diagonal, Diagonals, Digit, Gap, Layout, LayoutId, LinearMap, Operator, PlacedMap, Support, Tensor,
    TensorId, Window, digit_span,
};
use std::collections::BTreeSet;

/// Diagonals of a 3 x 3 convolution on 8 channels of 4 x 4 pixels, on a grid of `pitch` with pixels `stride` apart: from channels in
/// blocks of their own, whose gaps hold copies or zeros, to the same, or folded to four channels in the gaps of two blocks.
fn diagonals(stride: u32, pitch: u32, copied: bool, folded: bool) -> usize {
    let digits = |list: &[(u32, u32)]| -> Vec<Digit> {
        list.iter().map(|&(extent, stride)| Digit { extent, stride }).collect()
    };
    let block = (4 * stride * pitch).next_power_of_two();
    let layout = |channels: &[(u32, u32)], replicas: &[(u32, u32)]| Layout {
        shape: vec![8, 4, 4],
        slots: 8 * block,
        ciphertexts: 1,
        axes: vec![digits(channels), digits(&[(4, stride * pitch)]), digits(&[(4, stride)])],
        replicas: digits(replicas),
        gap: Gap::Zero,
        batch: 1,
    };
    let copies: &[(u32, u32)] = if copied { &[(2, pitch), (2, 1)] } else { &[] };
    let input = layout(&[(8, block)], copies);
    let (output, fold) = match folded {
        true => (layout(&[(2, block), (2, pitch), (2, 1)], &[]), digits(&[(2, 4 * block), (2, 2 * block)])),
        false => (layout(&[(8, block)], &[]), vec![]),
    };
    let window = Window { kernel: [1, 3, 3], pad_before: [0, 1, 1], pad_after: [0, 1, 1], ..Window::POINT };
    let operators = [Operator::Convolution { input: [8, 1, 4, 4], window, groups: 1, weight: TensorId(0) }];
    let tensors = [Random(3).tensor(&[8, 8, 3, 3])];
    let map = PlacedMap { operators: &operators, scale: 1.0, input: &input, output: &output, fold: &fold };
    let support = Support::of(&map, &tensors).unwrap();
    assert_eq!(support, Diagonals::of(&map, &tensors).unwrap().support());
    support.diagonals()
}

#[test]
fn copies_between_elements_are_read_at_few_distances() {
    assert_eq!(diagonals(2, 8, false, false), 9 * 8, "offsets by channels");
    assert_eq!(diagonals(2, 8, true, true), 9 * 2, "each of four parts sums two channels");
    assert_eq!(diagonals(3, 16, true, true), 25 * 2, "copies two apart misfit pixels three apart");
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
        let window =
            Window { kernel: [1, 3, 3], pad_before: [0, 1, 1], pad_after: [0, 1, 1], ..Window::POINT };
        let weight = random.tensor(&[shape[0], shape[0], 3, 3]);
        let operators = [Operator::Convolution {
            input: [shape[0], 1, shape[1], shape[2]],
            window,
            groups: 1,
            weight: TensorId(0),
        }];
        compared += compare(&operators, [&input, &output], &fold, &[weight]);
    }
    // 32 copies between by 32 folds are as many candidates as misfits decide among; 64 are more.
    let plain = plain_layout(&[2], 4096);
    let fold = [Digit { extent: 32, stride: 128 }];
    for copies in [32, 64] {
        let input = Layout { replicas: vec![Digit { extent: copies, stride: 2 }], ..plain.clone() };
        compared += compare(&[], [&input, &plain], &fold, &[]);
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
fn a_reshaped_layout_has_the_same_places() {
    let shapes: [&[u32]; 7] = [&[24], &[4, 6], &[2, 3, 4], &[1, 4, 1, 6], &[6, 4], &[12, 2, 1], &[1, 24]];
    let mut reshaped = 0;
    for seed in 0..200 {
        let mut random = Random(seed);
        let layout = random.layout(shapes[seed as usize % shapes.len()], 128, true);
        for shape in shapes {
            let Some(found) = layout.reshaped(shape) else { continue };
            assert_eq!(found.shape, shape);
            found.check().expect("the layout holds its tensor");
            assert_eq!(found.addresses(), layout.addresses(), "{layout:?} as {shape:?}");
            reshaped += usize::from(layout.shape != shape);
        }
        assert_eq!(layout.reshaped(&[25]), None);
        assert_eq!(layout.reshaped(&[]), None);
    }
    assert!(reshaped > 400, "{reshaped} layouts");
    let strided = plain_layout(&[4, 6], 128).reshaped(&[2, 2, 6]).unwrap();
    let digit = |extent, stride| vec![Digit { extent, stride }];
    assert_eq!(strided.axes, [digit(2, 12), digit(2, 6), digit(6, 1)]);
    // Five rows in digits of eight values end inside a new axis.
    let padded =
        Layout { axes: vec![digit(2, 8), digit(8, 1)], shape: vec![2, 5], ..plain_layout(&[10], 16) };
    assert_eq!(padded.reshaped(&[10]), None);
}
