//! Linear nodes of a draft: what merges into what.
//!
//! A tensor that has one user and comes from a [`Kind::Linear`] takes that user in: factors go into the weights,
//! constants into the bias, views are composed, zero padding becomes a convolution's own. What remains is one
//! linear node between any two activations, except where two kernels follow each other: those stay apart, for the
//! stages behind to decide.

use super::{Draft, DraftKind, TensorRef, node_shape, reading, size};
use crate::graph::Kind;
use crate::graph::evaluate;
use cipherloom_ir::{Operator, TensorId, ViewAxis, feature_map, volume_of};

/// Parts of a linear node.
#[derive(Clone)]
pub(in crate::frontend) struct Linear {
    pub operand: usize,
    pub operators: Vec<Operator>,
    pub scale: f64,
    pub bias: Option<TensorId>,
}

/// A constant over a tensor's elements, in its simplest form.
pub(in crate::frontend) enum Factor {
    Uniform(f64),
    Axis { axis: usize, values: Vec<f64> },
    Full(Vec<f64>),
}

impl Factor {
    /// The simplest form of `full`, row-major over `shape`.
    pub fn of(full: Vec<f64>, shape: &[u32]) -> Factor {
        if full.iter().all(|v| *v == full[0]) {
            return Factor::Uniform(full[0]);
        }
        for axis in 0..shape.len() {
            let (extent, inner) = (shape[axis] as usize, shape[axis + 1..].iter().product::<u32>() as usize);
            let values: Vec<f64> = (0..extent).map(|i| full[i * inner]).collect();
            if full.iter().enumerate().all(|(k, v)| *v == values[k / inner % extent]) {
                return Factor::Axis { axis, values };
            }
        }
        Factor::Full(full)
    }
}

impl Draft {
    /// The linear node behind a tensor that may be merged into its user.
    pub fn mergeable(&self, x: &TensorRef) -> Option<Linear> {
        if x.shared { None } else { self.linear_at(x.node) }
    }

    pub(super) fn linear_at(&self, node: usize) -> Option<Linear> {
        let DraftKind::Graph(Kind::Linear { operators, scale, bias }) = &self.nodes[node].kind else {
            return None;
        };
        Some(Linear {
            operand: self.nodes[node].operands[0],
            operators: operators.clone(),
            scale: *scale,
            bias: *bias,
        })
    }

    /// Adds a linear node of this shape; `x` gives the ONNX shape of the result.
    fn place(&mut self, linear: Linear, shape: Vec<u32>, x: TensorRef) -> TensorRef {
        if linear.operators.is_empty() && linear.scale == 1.0 && linear.bias.is_none() {
            // What a merge undid completely: the operand itself, which may have other users by now.
            return TensorRef { node: linear.operand, shared: true, ..x };
        }
        let Linear { operand, mut operators, scale, bias } = linear;
        if self.yields(operand, &operators).is_some_and(|found| found != shape) {
            operators.push(reading(&shape));
        }
        let node = self.push(DraftKind::Graph(Kind::Linear { operators, scale, bias }), vec![operand], shape);
        TensorRef { node, shared: false, ..x }
    }

    /// Shape that operators leave of a node's tensor; none where they do not fit it.
    fn yields(&self, operand: usize, operators: &[Operator]) -> Option<Vec<u32>> {
        let start = self.nodes[operand].shape.clone();
        operators.iter().try_fold(start, |shape, o| o.output_shape(&shape, &self.tensors).ok())
    }

    /// Applies an operator with a kernel of its own, or a view. `shape` is the ONNX shape of the result.
    pub fn apply(&mut self, x: &TensorRef, operator: Operator, shape: Vec<usize>) -> TensorRef {
        let out = node_shape(&shape);
        let result = TensorRef { shape, ..x.clone() };
        let fresh = Linear { operand: x.node, operators: vec![operator.clone()], scale: 1.0, bias: None };
        let Some(mut before) = self.mergeable(x) else { return self.place(fresh, out, result) };
        before.operators.retain(|o| !is_identity(o));
        let light = is_light(&operator);
        let unbiased = before.bias.is_none();
        if !(light || unbiased && before.operators.iter().all(is_light)) {
            return self.place(fresh, out, result);
        }
        if let Some(bias) = before.bias {
            let full = self.expanded(bias, &self.nodes[x.node].shape);
            let mapped = evaluate::operator(&operator, &self.tensors, &full);
            before.bias = self.bias(mapped, &out);
        }
        match (before.operators.pop(), operator) {
            (Some(last), operator) => match composed(&last, &operator) {
                Some(one) => before.operators.push(one),
                None => before.operators.extend([last, operator]),
            },
            (None, operator) => before.operators.push(operator),
        }
        before.operators.retain(|o| !is_identity(o));
        self.place(before, out, result)
    }

    /// Multiplies by a constant, `full` row-major over the tensor's elements.
    pub fn multiplied(&mut self, x: &TensorRef, full: Vec<f64>) -> TensorRef {
        let shape = self.nodes[x.node].shape.clone();
        let fresh = Linear { operand: x.node, operators: Vec::new(), scale: 1.0, bias: None };
        let mut linear = self.mergeable(x).unwrap_or(fresh);
        if let Some(bias) = linear.bias {
            let old = self.expanded(bias, &shape);
            let new = old.iter().zip(&full).map(|(b, f)| b * f).collect();
            linear.bias = self.bias(new, &shape);
        }
        match Factor::of(full, &shape) {
            Factor::Uniform(factor) => linear.scale *= factor,
            Factor::Axis { axis, values } => self.scale_axis(&mut linear.operators, &shape, axis, values),
            Factor::Full(values) => self.scale_elements(&mut linear.operators, &shape, values),
        }
        self.place(linear, shape, x.clone())
    }

    /// Adds a constant, `full` row-major over the tensor's elements.
    pub fn shifted(&mut self, x: &TensorRef, full: Vec<f64>) -> TensorRef {
        let shape = self.nodes[x.node].shape.clone();
        let fresh = Linear { operand: x.node, operators: Vec::new(), scale: 1.0, bias: None };
        let mut linear = self.mergeable(x).unwrap_or(fresh);
        let sum = match linear.bias {
            Some(bias) => self.expanded(bias, &shape).iter().zip(&full).map(|(b, f)| b + f).collect(),
            None => full,
        };
        linear.bias = self.bias(sum, &shape);
        self.place(linear, shape, x.clone())
    }

    /// A bias tensor, per channel where that says it all; none where it is zero.
    fn bias(&mut self, full: Vec<f64>, shape: &[u32]) -> Option<TensorId> {
        let channels = shape.first().copied().unwrap_or(1);
        let (shape, values) = match Factor::of(full, shape) {
            Factor::Uniform(0.0) => return None,
            Factor::Uniform(value) => (vec![channels], vec![value; channels as usize]),
            Factor::Axis { axis: 0, values } => (vec![channels], values),
            Factor::Axis { axis, values } => {
                let inner = shape[axis + 1..].iter().product::<u32>() as usize;
                let elements = shape.iter().product::<u32>() as usize;
                let full = (0..elements).map(|k| values[k / inner % values.len()]).collect();
                (shape.to_vec(), full)
            }
            Factor::Full(values) => (shape.to_vec(), values),
        };
        Some(self.weights(shape, narrow(values)))
    }

    /// A bias as one value per element.
    fn expanded(&self, bias: TensorId, shape: &[u32]) -> Vec<f64> {
        evaluate::bias(self.values(bias), shape)
    }

    fn scale_axis(&mut self, operators: &mut Vec<Operator>, shape: &[u32], axis: usize, values: Vec<f64>) {
        let last = operators.pop();
        let merged = match &last {
            Some(Operator::Convolution { input, window, groups, weight }) if axis == 0 => {
                let weight = self.scaled_rows(*weight, &values);
                Some(Operator::Convolution { input: *input, window: *window, groups: *groups, weight })
            }
            Some(Operator::Dense { weight }) => {
                let inner = shape[axis + 1..].iter().product::<u32>() as usize;
                let rows = shape.iter().product::<u32>() as usize;
                let per_row: Vec<f64> = (0..rows).map(|r| values[r / inner % values.len()]).collect();
                Some(Operator::Dense { weight: self.scaled_rows(*weight, &per_row) })
            }
            Some(Operator::AxisScale { shape, axis: before, factor }) if *before as usize == axis => {
                let factor = self.scaled_rows(*factor, &values);
                Some(Operator::AxisScale { shape: shape.clone(), axis: *before, factor })
            }
            _ => None,
        };
        match merged {
            Some(operator) => operators.push(operator),
            None => {
                operators.extend(last);
                let factor = self.weights(vec![size(values.len())], narrow(values));
                operators.push(Operator::AxisScale { shape: shape.to_vec(), axis: size(axis), factor });
            }
        }
    }

    fn scale_elements(&mut self, operators: &mut Vec<Operator>, shape: &[u32], values: Vec<f64>) {
        let last = operators.pop();
        match &last {
            Some(Operator::Dense { weight }) => {
                let weight = self.scaled_rows(*weight, &values);
                operators.push(Operator::Dense { weight });
            }
            Some(Operator::ElementScale { factor }) => {
                let factor = self.scaled_rows(*factor, &values);
                operators.push(Operator::ElementScale { factor });
            }
            _ => {
                operators.extend(last);
                let factor = self.weights(shape.to_vec(), narrow(values));
                operators.push(Operator::ElementScale { factor });
            }
        }
    }

    /// A copy of a weight tensor with row `r` (equal parts, as many as `factors`) times `factors[r]`.
    fn scaled_rows(&mut self, weight: TensorId, factors: &[f64]) -> TensorId {
        let old = self.values(weight);
        let row = old.values.len() / factors.len();
        let new = old.values.iter().enumerate().map(|(k, v)| f64::from(*v) * factors[k / row]).collect();
        let (name, shape) = (old.name.clone(), old.shape.clone());
        self.named_weights(name, shape, narrow(new))
    }
}

/// Rounds to the precision that circuits store.
pub(in crate::frontend) fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|v| v as f32).collect()
}

/// Whether an operator moves or scales elements one by one.
fn is_light(operator: &Operator) -> bool {
    matches!(operator, Operator::View { .. } | Operator::AxisScale { .. } | Operator::ElementScale { .. })
}

/// Whether an operator returns its elements unchanged and in order.
pub(in crate::frontend) fn is_identity(operator: &Operator) -> bool {
    let Operator::View { input, axes } = operator else { return false };
    let walked = axes.iter().filter(|a| a.extent != 1 || a.start != 0);
    let present = input.iter().enumerate().filter(|(_, d)| **d != 1);
    let (walked, present): (Vec<_>, Vec<_>) = (walked.collect(), present.collect());
    walked.len() == present.len()
        && walked.iter().zip(&present).all(|(a, (axis, extent))| {
            a.input_axis == Some(*axis as u32) && a.start == 0 && a.step == 1 && a.extent == **extent
        })
}

/// One operator for `first`, then `second`, where there is one.
fn composed(first: &Operator, second: &Operator) -> Option<Operator> {
    let Operator::View { input, axes } = first else { return None };
    match second {
        Operator::View { input: middle, axes: outer } => {
            let extents: Vec<u32> = axes.iter().map(|a| a.extent).collect();
            if *middle != extents {
                return None;
            }
            let walk = |o: &ViewAxis| match o.input_axis {
                None => Some(*o),
                Some(axis) => chained(&axes[axis as usize], o, input),
            };
            let axes = outer.iter().map(walk).collect::<Option<Vec<ViewAxis>>>()?;
            // An input axis that the first view reads at a fixed place must stay read there.
            let lost = |a: &&ViewAxis| a.input_axis.is_some() && a.start != 0;
            let kept = |k: usize| outer.iter().any(|o| o.input_axis == Some(k as u32));
            let complete = first_axes(first).iter().enumerate().all(|(k, a)| kept(k) || !lost(&a));
            complete.then(|| Operator::View { input: input.clone(), axes })
        }
        Operator::Convolution { input: padded, window, groups, weight } => {
            let extents: Vec<u32> = axes.iter().map(|a| a.extent).collect();
            let plain = |(k, a): (usize, &ViewAxis)| a.input_axis == Some(k as u32) && a.step == 1;
            let aligned = input.len() == axes.len() && axes.iter().enumerate().all(plain);
            if !aligned || extents != feature_map(*padded) {
                return None;
            }
            let flat = window.is_flat();
            let mut window = *window;
            let (channels, spatial) = axes.split_first()?;
            if channels.start != 0 || channels.extent != input[0] {
                return None;
            }
            // Width, height, depth; an image has no axis for its depth.
            for (k, (a, size)) in (0..3).rev().zip(spatial.iter().zip(&input[1..]).rev()) {
                let before = u32::try_from(-a.start).ok()?;
                let after = a.extent.checked_sub(before.checked_add(*size)?)?;
                window.pad_before[k] = window.pad_before[k].checked_add(before)?;
                window.pad_after[k] = window.pad_after[k].checked_add(after)?;
            }
            let input = volume_of(input)?;
            // The weight of a flat window has no axis for the depth.
            if window.is_flat() != flat {
                return None;
            }
            Some(Operator::Convolution { input, window, groups: *groups, weight: *weight })
        }
        _ => None,
    }
}

fn first_axes(operator: &Operator) -> &[ViewAxis] {
    match operator {
        Operator::View { axes, .. } => axes,
        _ => &[],
    }
}

/// `outer` walks an axis that `inner` made; one walk over the input axis, if positions outside agree.
fn chained(inner: &ViewAxis, outer: &ViewAxis, input: &[u32]) -> Option<ViewAxis> {
    let inside = |p: i64, extent: u32| (0..i64::from(extent)).contains(&p);
    let Some(axis) = inner.input_axis else {
        let all = (0..outer.extent).all(|i| inside(outer.start + i64::from(i) * outer.step, inner.extent));
        return all.then_some(ViewAxis { extent: outer.extent, ..*inner });
    };
    let one = ViewAxis {
        extent: outer.extent,
        input_axis: Some(axis),
        start: inner.start + inner.step * outer.start,
        step: inner.step * outer.step,
    };
    let agrees = (0..outer.extent).all(|i| {
        let middle = outer.start + i64::from(i) * outer.step;
        let reads = inside(one.start + i64::from(i) * one.step, *input.get(axis as usize).unwrap_or(&0));
        reads
            == (inside(middle, inner.extent)
                && inside(inner.start + middle * inner.step, input[axis as usize]))
    });
    agrees.then_some(one)
}
