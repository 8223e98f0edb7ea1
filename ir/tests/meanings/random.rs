//! Random layouts and operators from a seed.

use cipherloom_ir::{Digit, Gap, Layout, Operator, Tensor, TensorId, ViewAxis, Window};

/// A small deterministic generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Uniform in `low..=high`.
    pub fn pick(&mut self, low: u32, high: u32) -> u32 {
        low + (self.next() % u64::from(high - low + 1)) as u32
    }
    pub fn chance(&mut self, one_in: u32) -> bool {
        self.pick(1, one_in) == 1
    }
    pub fn real(&mut self) -> f64 {
        (self.next() >> 40) as f64 / f64::from(1 << 23) - 1.0
    }
    pub fn tensor(&mut self, shape: &[u32]) -> Tensor {
        let n: u32 = shape.iter().product();
        Tensor {
            name: "t".into(),
            shape: shape.to_vec(),
            values: (0..n).map(|_| self.real() as f32).collect(),
        }
    }

    /// An injective layout: digits of all axes in a random order of strides, with or without room between.
    pub fn layout(&mut self, shape: &[u32], slots: u32, copies: bool) -> Layout {
        let mut digits: Vec<(usize, u32)> = vec![];
        for (axis, size) in shape.iter().enumerate() {
            if *size > 2 && self.chance(2) {
                let low = self.pick(2, 3.min(*size));
                digits.push((axis, size.div_ceil(low)));
                digits.push((axis, low));
            } else {
                digits.push((axis, *size));
            }
        }
        // Copies that lie between elements: one more digit.
        let between = copies && self.chance(3);
        if between {
            digits.push((shape.len(), self.pick(2, 4)));
        }
        let mut order: Vec<usize> = (0..digits.len()).collect();
        order.iter().for_each(|_| ());
        for k in (1..order.len()).rev() {
            let other = self.pick(0, k as u32) as usize;
            order.swap(k, other);
        }
        let aligned = self.chance(2);
        let mut stride = 1u32;
        let mut strides = vec![0; digits.len()];
        for k in order {
            strides[k] = stride;
            stride *= digits[k].1 + u32::from(self.chance(4));
            if aligned {
                stride = stride.next_power_of_two();
            }
        }
        let mut axes = vec![vec![]; shape.len() + 1];
        for (k, (axis, extent)) in digits.iter().enumerate() {
            axes[*axis].push(Digit { extent: *extent, stride: strides[k] });
        }
        let mut replicas = axes.pop().unwrap_or_default();
        if stride > slots {
            replicas.clear();
        }
        if copies && !between && stride <= slots / 2 {
            let room = (slots / stride.next_power_of_two()).min(8);
            replicas.push(Digit { extent: room, stride: slots / room });
        }
        let ciphertexts = stride.div_ceil(slots);
        Layout { shape: shape.to_vec(), slots, ciphertexts, axes, replicas, gap: Gap::Zero, batch: 1 }
    }

    /// Flat where there is no depth, as often as not.
    fn window(&mut self, [d, h, w]: [u32; 3]) -> Window {
        let mut axis = |size: u32| {
            let (k, d) = (self.pick(1, 3.min(size)), self.pick(1, 2));
            let d = if d * (k - 1) < size { d } else { 1 };
            (k, self.pick(1, 2), d, self.pick(0, 2), self.pick(0, 2))
        };
        let (mut z, y, x) = (axis(d), axis(h), axis(w));
        if d == 1 && self.chance(2) {
            z = (1, 1, 1, 0, 0);
        }
        Window {
            kernel: [z.0, y.0, x.0],
            stride: [z.1, y.1, x.1],
            dilation: [z.2, y.2, x.2],
            pad_before: [z.3, y.3, x.3],
            pad_after: [z.4, y.4, x.4],
        }
    }

    /// One to three operators over `[c, h, w]` or `[c, d, h, w]`, with their weights.
    pub fn operators(&mut self, shape: &[u32]) -> (Vec<Operator>, Vec<Tensor>) {
        let (mut operators, mut tensors) = (vec![], vec![]);
        let mut now = shape.to_vec();
        for _ in 0..self.pick(1, 3) {
            let operator = self.operator(&now, &mut tensors);
            now = operator.output_shape(&now, &tensors).unwrap();
            operators.push(operator);
        }
        (operators, tensors)
    }

    fn operator(&mut self, now: &[u32], tensors: &mut Vec<Tensor>) -> Operator {
        let mut add = |t: Tensor| {
            tensors.push(t);
            TensorId(tensors.len() as u32 - 1)
        };
        let elements: u32 = now.iter().product();
        let volume = match *now {
            [c, h, w] => Some([c, 1, h, w]),
            [c, d, h, w] => Some([c, d, h, w]),
            _ => None,
        };
        match (self.pick(0, 6), now) {
            (0..=2, _) if let Some(input @ [c, d, h, w]) = volume => {
                let window = self.window([d, h, w]);
                if self.chance(3) {
                    return Operator::AveragePool { input, window, count_padding: self.chance(2) };
                }
                let groups = if self.chance(3) { c } else { 1 };
                let mut shape = vec![groups * self.pick(1, 3), c / groups];
                shape.extend(&window.kernel[usize::from(window.is_flat())..]);
                let weight = add(self.tensor(&shape));
                Operator::Convolution { input, window, groups, weight }
            }
            (3, &[c, h, w]) => {
                // Transpose, crop and pad at once.
                let axis = |r: &mut Self, a: u32, size: u32| ViewAxis {
                    extent: r.pick(1, size + 1),
                    input_axis: Some(a),
                    start: i64::from(r.pick(0, 2)) - 1,
                    step: i64::from(r.pick(1, 2)),
                };
                let axes = vec![axis(self, 2, w), axis(self, 0, c), axis(self, 1, h)];
                Operator::View { input: vec![c, h, w], axes }
            }
            (4, &[c, ..]) => {
                let factor = add(self.tensor(&[c]));
                Operator::AxisScale { shape: now.to_vec(), axis: 0, factor }
            }
            (5, _) => Operator::ElementScale { factor: add(self.tensor(now)) },
            _ => {
                let rows = self.pick(1, 12);
                Operator::Dense { weight: add(self.tensor(&[rows, elements])) }
            }
        }
    }
}
