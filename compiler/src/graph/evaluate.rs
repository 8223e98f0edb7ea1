//! What a tensor graph means, in f64, by the definitions.
//!
//! The slow twin of every compiled form, and the partner of tract in tests. Tensors are flat, row-major, without
//! the batch. Relies on a graph whose shapes agree (the frontend's promise).

mod convolution;

use super::{Function, Kind, NodeId, TensorGraph};
use cipherloom_ir::{Operator, Tensor, ViewAxis, Window};

/// Values of all nodes, in order, for one input tensor.
pub fn graph(graph: &TensorGraph, input: &[f64]) -> Vec<Vec<f64>> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    for id in graph.order() {
        let operands: Vec<&[f64]> =
            graph.operands(id).iter().map(|o| values[o.0 as usize].as_slice()).collect();
        let value = match operands[..] {
            [] => input.to_vec(),
            _ => node(graph, id, &operands),
        };
        values.push(value);
    }
    values
}

/// Value of the first output for one input tensor.
pub fn scores(model: &TensorGraph, input: &[f64]) -> Vec<f64> {
    let values = graph(model, input);
    model.outputs.first().map(|o| values[o.node.0 as usize].clone()).unwrap_or_default()
}

/// Value of one node from its operands.
pub fn node(graph: &TensorGraph, id: NodeId, operands: &[&[f64]]) -> Vec<f64> {
    let this = graph.node(id);
    let pairwise =
        |f: fn(f64, f64) -> f64| operands[0].iter().zip(operands[1]).map(|(a, b)| f(*a, *b)).collect();
    match &this.kind {
        Kind::Input => operands[0].to_vec(),
        Kind::Linear { operators, scale, bias: shift } => {
            let mut x = operands[0].to_vec();
            for one in operators {
                x = operator(one, &graph.tensors, &x);
            }
            x.iter_mut().for_each(|v| *v *= scale);
            if let Some(id) = shift {
                let shift = bias(&graph.tensors[id.0 as usize], &this.shape);
                x.iter_mut().zip(shift).for_each(|(v, b)| *v += b);
            }
            x
        }
        Kind::Elementwise(f) => operands[0].iter().map(|x| function(f, *x)).collect(),
        Kind::Add => pairwise(|a, b| a + b),
        Kind::Sub => pairwise(|a, b| a - b),
        Kind::Mul => pairwise(|a, b| a * b),
        Kind::Concat { axis } => {
            let shapes: Vec<&[u32]> =
                graph.operands(id).iter().map(|o| graph.node(*o).shape.as_slice()).collect();
            concat(&shapes, *axis as usize, operands)
        }
    }
}

fn concat(shapes: &[&[u32]], axis: usize, operands: &[&[f64]]) -> Vec<f64> {
    let block = |shape: &[u32]| shape[axis..].iter().product::<u32>() as usize;
    let outer = shapes[0][..axis].iter().product::<u32>() as usize;
    let mut out = Vec::new();
    for k in 0..outer {
        for (shape, x) in shapes.iter().zip(operands) {
            let n = block(shape);
            out.extend_from_slice(&x[k * n..(k + 1) * n]);
        }
    }
    out
}

/// A bias tensor as one value per element of `shape`.
pub fn bias(tensor: &Tensor, shape: &[u32]) -> Vec<f64> {
    let elements = shape.iter().product::<u32>() as usize;
    let inner = elements / tensor.values.len().max(1);
    tensor.values.iter().flat_map(|v| std::iter::repeat_n(f64::from(*v), inner)).collect()
}

/// An elementwise function at one point.
pub fn function(function: &Function, x: f64) -> f64 {
    match function {
        Function::Square => x * x,
        Function::Exact(exact) => exact.value(x),
        Function::Polynomial { coefficients, range: [low, high], .. } => {
            let t = (2.0 * x - low - high) / (high - low);
            let (mut b1, mut b2) = (0.0, 0.0);
            for c in coefficients.iter().skip(1).rev() {
                (b1, b2) = (2.0 * t * b1 - b2 + c, b1);
            }
            coefficients.first().map_or(0.0, |c| c + t * b1 - b2)
        }
    }
}

/// A linear operator on one tensor.
pub fn operator(operator: &Operator, tensors: &[Tensor], x: &[f64]) -> Vec<f64> {
    let values = |id: &cipherloom_ir::TensorId| &tensors[id.0 as usize];
    match operator {
        Operator::Convolution { input, window, groups, weight } => {
            convolution::of(*input, window, *groups as usize, values(weight), x)
        }
        Operator::AveragePool { input, window, count_padding } => pool(*input, window, *count_padding, x),
        Operator::Dense { weight } => {
            let row = |w: &[f32]| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
            values(weight).values.chunks_exact(x.len()).map(row).collect()
        }
        Operator::View { input, axes } => view(input, axes, x),
        Operator::AxisScale { shape, axis, factor } => {
            let inner = shape[*axis as usize + 1..].iter().product::<u32>() as usize;
            let factors = &values(factor).values;
            x.iter().enumerate().map(|(k, v)| v * f64::from(factors[k / inner % factors.len()])).collect()
        }
        Operator::ElementScale { factor } => {
            x.iter().zip(&values(factor).values).map(|(v, f)| v * f64::from(*f)).collect()
        }
    }
}

/// Input index under tap `tap` of output index `out`, where it is inside.
pub(crate) fn tap(window: &Window, k: usize, out: usize, tap: usize, extent: u32) -> Option<usize> {
    let position = out * window.stride[k] as usize + tap * window.dilation[k] as usize;
    position.checked_sub(window.pad_before[k] as usize).filter(|p| *p < extent as usize)
}

fn pool(input: [u32; 4], window: &Window, count_padding: bool, x: &[f64]) -> Vec<f64> {
    let [channels, planes, rows, columns] = input.map(|d| d as usize);
    let out = convolution::output(input, window);
    let volume: f64 = window.kernel.iter().map(|k| f64::from(*k)).product();
    // Positions that are read, along each axis.
    let read = |k: usize, o: usize| {
        (0..window.kernel[k] as usize).filter_map(move |t| tap(window, k, o, t, input[k + 1]))
    };
    let mut y = Vec::with_capacity(channels * out.iter().product::<usize>());
    for k in 0..channels * out.iter().product::<usize>() {
        let (c, r) = (k % out[2], k / out[2] % out[1]);
        let (p, channel) = (k / out[2] / out[1] % out[0], k / out[2] / out[1] / out[0]);
        let (mut sum, mut count) = (0.0, 0.0);
        for plane in read(0, p) {
            for row in read(1, r) {
                for column in read(2, c) {
                    sum += x[((channel * planes + plane) * rows + row) * columns + column];
                    count += 1.0;
                }
            }
        }
        y.push(sum / if count_padding { volume } else { count });
    }
    y
}

fn view(input: &[u32], axes: &[ViewAxis], x: &[f64]) -> Vec<f64> {
    let stride = |axis: u32| input[axis as usize + 1..].iter().product::<u32>() as usize;
    let extents: Vec<usize> = axes.iter().map(|a| a.extent as usize).collect();
    let total: usize = extents.iter().product();
    let mut y = Vec::with_capacity(total);
    for k in 0..total {
        let (mut rest, mut source) = (k, Some(0));
        for axis in axes.iter().rev() {
            let index = (rest % axis.extent as usize) as i64;
            rest /= axis.extent as usize;
            let Some(walked) = axis.input_axis else { continue };
            let position = axis.start + index * axis.step;
            let inside = (0..i64::from(input[walked as usize])).contains(&position);
            source = source.filter(|_| inside).map(|s: usize| s + position as usize * stride(walked));
        }
        y.push(source.map_or(0.0, |s| x[s]));
    }
    y
}
