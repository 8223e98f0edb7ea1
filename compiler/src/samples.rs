//! Inputs on which the sizes of a circuit's values are measured when scales are chosen.
//!
//! Promises: what calibration kept, else deterministic drawings, made from the input's shape and range alone: bright strokes on a dark
//! ground. The sums that networks form over them are close to those of real images, while noise images or row norms would
//! overestimate them by orders of magnitude. Deep polynomials tell the difference all the same, hence the samples.

use crate::activation::input_range;
use crate::graph::TensorGraph;

/// Number of drawings.
const DRAWINGS: u64 = 4;
/// Strokes of a drawing.
const STROKES: u64 = 4;

/// Tensors for the input of a graph; none where it has no input.
pub fn of(graph: &TensorGraph) -> Vec<Vec<f64>> {
    match &graph.input {
        None => Vec::new(),
        Some(input) if !input.samples.is_empty() => input.samples.clone(),
        Some(input) => drawings(&graph.node(input.node).shape, input_range(graph)),
    }
}

/// Input tensors of `shape` with values in `range`.
fn drawings(shape: &[u32], range: [f64; 2]) -> Vec<Vec<f64>> {
    (0..DRAWINGS)
        .map(|seed| match *shape {
            [channels, height, width] => {
                let plane = drawing(seed, height, width);
                (0..channels)
                    .flat_map(|_| plane.iter().map(|v| range[0] + v * (range[1] - range[0])))
                    .collect()
            }
            _ => {
                let count = shape.iter().product::<u32>();
                let side = libm::ceil(libm::sqrt(f64::from(count))) as u32;
                let plane = drawing(seed, side, side);
                plane.iter().take(count as usize).map(|v| range[0] + v * (range[1] - range[0])).collect()
            }
        })
        .collect()
}

/// Straight strokes in the middle of the image, 1 on 0, with soft edges.
fn drawing(seed: u64, height: u32, width: u32) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let (h, w) = (f64::from(height), f64::from(width));
    let thickness = (h / 18.0).max(0.7);
    let strokes: Vec<[f64; 4]> = (0..STROKES)
        .map(|_| {
            [
                h * (0.2 + 0.6 * next()),
                w * (0.25 + 0.5 * next()),
                h * (0.2 + 0.6 * next()),
                w * (0.25 + 0.5 * next()),
            ]
        })
        .collect();
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (f64::from(y), f64::from(x))))
        .map(|(y, x)| {
            let nearest = strokes.iter().map(|s| distance(*s, y, x)).fold(f64::INFINITY, f64::min);
            (thickness + 0.5 - nearest).clamp(0.0, 1.0)
        })
        .collect()
}

/// Distance of a point from the segment `[y0, x0, y1, x1]`.
fn distance([y0, x0, y1, x1]: [f64; 4], y: f64, x: f64) -> f64 {
    let (dy, dx) = (y1 - y0, x1 - x0);
    let length = (dy * dy + dx * dx).max(1e-9);
    let t = (((y - y0) * dy + (x - x0) * dx) / length).clamp(0.0, 1.0);
    let (ey, ex) = (y - y0 - t * dy, x - x0 - t * dx);
    libm::sqrt(ey * ey + ex * ex)
}
