//! Maps between tensors that are read in other shapes: groups of channels, their means, what is sent back to them.

use crate::random::Random;
use cipherloom_ir::{
    Diagonals, Layout, LayoutId, LinearMap, Operator, Step, Support, Tensor, TensorId, ViewAxis, Window,
};
use proptest::prelude::*;

/// Reads a tensor as `shape`.
fn read_as(shape: &[u32]) -> Operator {
    let whole = |(axis, extent): (usize, &u32)| ViewAxis {
        extent: *extent,
        input_axis: Some(axis as u32),
        start: 0,
        step: 1,
    };
    Operator::View { input: shape.to_vec(), axes: shape.iter().enumerate().map(whole).collect() }
}

/// The mean of each of `[groups, 1, n]`.
fn means(groups: u32, n: u32) -> Operator {
    let window = Window { kernel: [1, 1, n], ..Window::POINT };
    Operator::AveragePool { input: [groups, 1, 1, n], window, count_padding: false }
}

/// `[groups, 1, 1]` to `[groups, 1, n]`.
fn spread(groups: u32, n: u32) -> Operator {
    let axis = |input_axis: Option<u32>, extent: u32| ViewAxis { extent, input_axis, start: 0, step: 1 };
    Operator::View {
        input: vec![groups, 1, 1],
        axes: vec![axis(Some(0), groups), axis(None, 1), axis(None, n)],
    }
}

/// Swaps the axes of a matrix.
fn transposed(rows: u32, columns: u32) -> Operator {
    let axis = |axis, extent| ViewAxis { extent, input_axis: Some(axis), start: 0, step: 1 };
    Operator::View { input: vec![rows, columns], axes: vec![axis(1, columns), axis(0, rows)] }
}

/// A chain over `[channels, height, width]` that reads groups of channels, with its weights.
fn chain(
    random: &mut Random,
    [channels, height, width]: [u32; 3],
    groups: u32,
) -> (Vec<Operator>, Vec<Tensor>) {
    let n = channels / groups * height * width;
    let (mut operators, mut tensors) = (vec![], vec![]);
    if random.chance(2) {
        let by_group = random.chance(2);
        tensors.push(random.tensor(&[channels, if by_group { channels / groups } else { channels }, 3, 3]));
        let window =
            Window { kernel: [1, 3, 3], pad_before: [0, 1, 1], pad_after: [0, 1, 1], ..Window::POINT };
        let (input, groups) = ([channels, 1, height, width], if by_group { groups } else { 1 });
        operators.push(Operator::Convolution { input, window, groups, weight: TensorId(0) });
    }
    match random.pick(0, 3) {
        0 => operators.push(read_as(&[groups, 1, n])),
        1 => operators.push(means(groups, n)),
        2 => operators.extend([means(groups, n), spread(groups, n)]),
        _ => operators.extend([transposed(channels, height * width), means(height * width, channels)]),
    }
    if random.chance(3) {
        let shape = operators.iter().fold(vec![channels, height, width], |shape, operator| {
            operator.output_shape(&shape, &tensors).unwrap()
        });
        if shape.iter().product::<u32>() == channels * height * width {
            let window = Window { kernel: [1, 2, 2], ..Window::POINT };
            let input = [channels, 1, height, width];
            operators.push(Operator::AveragePool { input, window, count_padding: false });
        }
    }
    (operators, tensors)
}

/// The support by structure is that of the diagonals, wherever there is one; whether there is one.
fn check(seed: u64, plain: bool) -> bool {
    let mut random = Random(seed);
    let groups = random.pick(1, 4);
    let shape = [groups * random.pick(1, 4), random.pick(2, 6), random.pick(2, 6)];
    let (operators, tensors) = chain(&mut random, shape, groups);
    let after = operators
        .iter()
        .fold(shape.to_vec(), |shape, operator| operator.output_shape(&shape, &tensors).unwrap());
    // Some tensors take several ciphertexts, and end within one.
    let slots = [16, 64, 256, 4096][random.pick(0, 3) as usize];
    let mut layout = |shape: &[u32]| match plain {
        true => crate::maps::plain_layout(shape, slots),
        false => random.layout(shape, slots, true),
    };
    let layouts: [Layout; 2] = [layout(&shape), layout(&after)];
    let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold: vec![] };
    let wanted = Diagonals::materialise(&map, &layouts, &tensors).unwrap().support();
    assert_eq!(Support::of_map(&map, &layouts, &tensors).unwrap(), wanted, "seed {seed}");
    let quick = Support::structural(&map.placed(&layouts).unwrap(), &tensors).unwrap();
    if let Some(quick) = &quick {
        assert_eq!(*quick, wanted, "seed {seed}: by structure");
    }
    quick.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn groups_have_the_diagonals_of_their_matrices(seed in any::<u64>()) {
        check(seed, false);
    }

    #[test]
    fn groups_in_row_major_order_have_structure(seed in any::<u64>()) {
        prop_assert!(check(seed, true));
    }
}

#[test]
fn groups_over_several_ciphertexts_need_no_matrix() {
    // 16 channels of 80 x 80 in four ciphertexts, as 2 groups of 51200: more entries than a matrix may have, were it listed.
    let (slots, groups, n) = (32768, 2, 51_200);
    let shape = [16, 80, 80];
    let layouts =
        [crate::maps::plain_layout(&shape, slots), crate::maps::plain_layout(&[groups, 1, 1], slots)];
    let operators = vec![means(groups, n)];
    let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold: vec![] };
    let support =
        Support::structural(&map.placed(&layouts).unwrap(), &[]).unwrap().expect("it has structure");
    // Each mean reads 51200 neighbours: group 0 all of ciphertext 0 and a part of 1, group 1 the rest of 1 to 3.
    let places: Vec<(u32, u32)> = support.0.keys().copied().collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    assert_eq!(support.0[&(0, 0)].len(), slots as usize);
    let last: Vec<Step> = (0..4096).map(|step| Step((step + slots - 1) % slots)).collect();
    let mut wanted = last;
    wanted.sort_unstable();
    assert_eq!(support.0[&(0, 3)], wanted);
    // What a materialised map may not have is refused at once.
    let back = LinearMap { operators: vec![means(groups, n), spread(groups, n)], ..map };
    let layouts = [layouts[0].clone(), crate::maps::plain_layout(&[groups, 1, n], slots)];
    let refused = Support::of_map(&back, &layouts, &[]).unwrap_err().to_string();
    assert!(refused.contains("5242880000 entries"), "{refused}");
}

#[test]
fn compositions_of_too_many_pairs_are_refused_before_they_are_listed() {
    // Window after window along a row: 2.4 thousand million ways from pixels to results.
    let pool = |size: u32, kernel: u32| {
        let window = Window { kernel: [1, 1, kernel], ..Window::POINT };
        Operator::AveragePool { input: [1, 1, 1, size], window, count_padding: false }
    };
    let layouts = [crate::maps::plain_layout(&[4096], 4096), crate::maps::plain_layout(&[1150], 4096)];
    let operators = vec![pool(4096, 1800), pool(2297, 1148)];
    let map = LinearMap { operators, scale: 1.0, input: LayoutId(0), output: LayoutId(1), fold: vec![] };
    assert!(Support::structural(&map.placed(&layouts).unwrap(), &[]).unwrap().is_none());
    let refused = Support::of_map(&map, &layouts, &[]).unwrap_err().to_string();
    assert!(refused.contains("entries, more than"), "{refused}");
}
