//! Resize in every mode: the product of one linear map along each axis.
//!
//! Coordinates, neighbours and coefficients follow ONNX's definition of Resize: the position of an output in the input,
//! the nearest positions around it (the left one first), their coefficients, the edge repeated beyond the image.

use super::along::{Row, along_axes};
use super::{EXPORT_AGAIN, Lowered};
use crate::frontend::call::Call;
use crate::frontend::draft::TensorRef;
use crate::frontend::error::{Refusal, refuse};

/// Largest extent of a result along one axis.
const MAX_EXTENT: f64 = 65_536.0;

/// How an axis is read.
struct Rule {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
}

/// One axis: its extents, scale and region.
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
    region: [f64; 2],
}

/// Resize before operator set 11: coordinates are asymmetric.
fn old(call: &mut Call<'_>, scales: Option<Vec<f64>>) -> Lowered {
    let x = call.tensor(0)?;
    let rule = Rule {
        mode: call.string("mode", "nearest")?,
        coordinates: "asymmetric".to_owned(),
        nearest: "floor".to_owned(),
        cubic: -0.75,
        exclude_outside: false,
        antialias: false,
    };
    let axes: Vec<usize> = (0..x.shape.len()).collect();
    let Some(scales) = scales.filter(|s| s.len() == axes.len()) else {
        return refuse("its scales do not fit its operand", EXPORT_AGAIN);
    };
    let regions = vec![[0.0, 1.0]; axes.len()];
    scaled(call, &x, &rule, &Wanted { axes, scales: Some(scales), sizes: None, regions, outside: 0.0 })
}

/// Resize.
pub(in crate::frontend) fn resize(call: &mut Call<'_>) -> Lowered {
    let x = call.tensor(0)?;
    if call.opset < 11 {
        let scales = call.optional_constant(1)?.map(|c| c.values.clone());
        return old(call, scales);
    }
    let rule = Rule {
        mode: call.string("mode", "nearest")?,
        coordinates: call.string("coordinate_transformation_mode", "half_pixel")?,
        nearest: call.string("nearest_mode", "round_prefer_floor")?,
        cubic: call.float("cubic_coeff_a", -0.75)?,
        exclude_outside: call.int("exclude_outside", 0)? != 0,
        antialias: call.int("antialias", 0)? != 0,
    };
    let rank = x.shape.len();
    let axes = match call.ints("axes")? {
        Some(list) => list.iter().map(|a| call.axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let list = |k: usize| -> Result<Option<Vec<f64>>, Refusal> {
        Ok(call.optional_constant(k)?.map(|c| c.values.clone()).filter(|v| !v.is_empty()))
    };
    let (roi, scales, sizes) = (list(1)?, list(2)?, list(3)?);
    let fits = |l: &Option<Vec<f64>>, n: usize| l.as_ref().is_none_or(|l| l.len() == n);
    if !fits(&roi, 2 * axes.len()) || !fits(&scales, axes.len()) || !fits(&sizes, axes.len()) {
        return refuse("its region, scales or sizes do not fit its axes", EXPORT_AGAIN);
    }
    let region = |k: usize| roi.as_ref().map_or([0.0, 1.0], |r| [r[k], r[k + axes.len()]]);
    let regions = (0..axes.len()).map(region).collect();
    let sizes = match sizes {
        Some(sizes) => Some(kept_ratio(call, &x, &axes, sizes)?),
        None => None,
    };
    let outside = call.float("extrapolation_value", 0.0)?;
    scaled(call, &x, &rule, &Wanted { axes, scales, sizes, regions, outside })
}

/// Sizes and scales by `keep_aspect_ratio_policy`.
fn kept_ratio(
    call: &Call<'_>,
    x: &TensorRef,
    axes: &[usize],
    sizes: Vec<f64>,
) -> Result<Vec<(f64, f64)>, Refusal> {
    let ratios: Vec<f64> = sizes.iter().zip(axes).map(|(s, k)| s / x.shape[*k] as f64).collect();
    let one = match call.string("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => return Ok(sizes.into_iter().zip(ratios).collect()),
        "not_larger" => ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => ratios.iter().copied().fold(0.0, f64::max),
        other => return refuse(format!("keep_aspect_ratio_policy `{other}` is not known"), EXPORT_AGAIN),
    };
    Ok(axes.iter().map(|k| ((one * x.shape[*k] as f64 + 0.5).floor(), one)).collect())
}

/// What a node asks for, by axis.
struct Wanted {
    axes: Vec<usize>,
    scales: Option<Vec<f64>>,
    /// Size and scale.
    sizes: Option<Vec<(f64, f64)>>,
    regions: Vec<[f64; 2]>,
    outside: f64,
}

fn scaled(call: &mut Call<'_>, x: &TensorRef, rule: &Rule, wanted: &Wanted) -> Lowered {
    let crop = rule.coordinates == "tf_crop_and_resize";
    let mut maps: Vec<(usize, Vec<Row>)> = Vec::new();
    for (k, axis) in wanted.axes.iter().enumerate() {
        let input = x.shape[*axis];
        let region = wanted.regions[k];
        let width = if crop { region[1] - region[0] } else { 1.0 };
        let (output, scale) = match (&wanted.sizes, &wanted.scales) {
            (Some(sizes), _) => sizes[k],
            (None, Some(scales)) => ((input as f64 * width * scales[k]).floor(), scales[k]),
            (None, None) => return refuse("it has neither scales nor sizes", EXPORT_AGAIN),
        };
        let sound = (1.0 / MAX_EXTENT..=MAX_EXTENT).contains(&scale) && (1.0..=MAX_EXTENT).contains(&output);
        if !sound {
            return refuse(format!("it scales axis {axis} by {scale} to {output} positions"), EXPORT_AGAIN);
        }
        let one = Axis { input, output: output as usize, scale, region };
        if one.output == input && scale == 1.0 && !crop {
            continue;
        }
        let rows = (0..one.output).map(|o| row(rule, &one, o)).collect::<Result<Vec<_>, _>>()?;
        maps.push((*axis, rows));
    }
    along_axes(call.draft, x, &maps, wanted.outside)
}

/// Where output `o` stands in the input; none outside the image.
fn position(rule: &Rule, axis: &Axis, o: f64) -> Result<Option<f64>, Refusal> {
    let (input, scale) = (axis.input as f64, axis.scale);
    let output = scale * input;
    let last = input - 1.0;
    let half = (o + 0.5) / scale - 0.5;
    Ok(Some(match rule.coordinates.as_str() {
        "half_pixel" => half,
        "asymmetric" => o / scale,
        "align_corners" if output == 1.0 => 0.0,
        "align_corners" => o * last / (output - 1.0),
        "pytorch_half_pixel" if output == 1.0 => -0.5,
        "pytorch_half_pixel" => half,
        "half_pixel_symmetric" => {
            let adjustment = axis.output as f64 / output;
            input / 2.0 * (1.0 - adjustment) + half
        }
        "tf_crop_and_resize" => {
            let [start, end] = axis.region;
            let at = match output == 1.0 {
                true => (end - start) * last / 2.0,
                false => o * (end - start) * last / (output - 1.0),
            } + start * last;
            return Ok((0.0..=last).contains(&at).then_some(at));
        }
        other => {
            return refuse(format!("coordinate_transformation_mode `{other}` is not known"), EXPORT_AGAIN);
        }
    }))
}

/// What output `o` reads.
fn row(rule: &Rule, axis: &Axis, o: usize) -> Result<Row, Refusal> {
    let Some(at) = position(rule, axis, o as f64)? else { return Ok(Vec::new()) };
    // The pixel on the left of the position; its distance is in (0, 1].
    let base = at.ceil() - 1.0;
    let mut factors = coefficients(rule, at - base, axis.scale)?;
    let first = base as i64 + 1 - (factors.len() / 2) as i64;
    let last = axis.input as i64 - 1;
    if rule.exclude_outside {
        for (k, factor) in (first..).zip(&mut factors) {
            if !(0..=last).contains(&k) {
                *factor = 0.0;
            }
        }
        let sum: f64 = factors.iter().sum();
        factors.iter_mut().for_each(|f| *f /= sum);
    }
    let mut row = Row::new();
    for (k, factor) in (first..).zip(factors).filter(|(_, f)| *f != 0.0) {
        let k = k.clamp(0, last) as usize;
        match row.iter_mut().find(|(known, _)| *known == k) {
            Some((_, sum)) => *sum += factor,
            None => row.push((k, factor)),
        }
    }
    Ok(row)
}

/// Coefficients of the neighbours, an even number of them, the left half up to the pixel at distance `ratio`.
fn coefficients(rule: &Rule, ratio: f64, scale: f64) -> Result<Vec<f64>, Refusal> {
    let wide = if rule.antialias { scale.min(1.0) } else { 1.0 };
    let a = rule.cubic;
    let cubic = |t: f64| {
        let (x, t) = (t.abs(), t.abs() * t.abs());
        match x {
            x if x <= 1.0 => (a + 2.0) * x * t - (a + 3.0) * t + 1.0,
            x if x < 2.0 => a * x * t - 5.0 * a * t + 8.0 * a * x - 4.0 * a,
            _ => 0.0,
        }
    };
    let linear = |t: f64| (1.0 - t.abs()).max(0.0);
    let spread = |reach: f64, kernel: &dyn Fn(f64) -> f64| {
        let start = (-reach / wide).floor() as i64 + 1;
        let all: Vec<f64> = (start..2 - start).map(|k| kernel((k as f64 - ratio) * wide)).collect();
        let sum: f64 = if rule.antialias { all.iter().sum() } else { 1.0 };
        all.into_iter().map(|c| c / sum).collect()
    };
    let right = match rule.nearest.as_str() {
        _ if ratio == 1.0 => true,
        "round_prefer_floor" => ratio > 0.5,
        "round_prefer_ceil" => ratio >= 0.5,
        "floor" => false,
        "ceil" => true,
        other => return refuse(format!("nearest_mode `{other}` is not known"), EXPORT_AGAIN),
    };
    match rule.mode.as_str() {
        "nearest" => Ok(if right { vec![0.0, 1.0] } else { vec![1.0, 0.0] }),
        "linear" | "bilinear" => Ok(spread(1.0, &linear)),
        "cubic" => Ok(spread(2.0, &cubic)),
        other => refuse(format!("mode `{other}` is not known"), EXPORT_AGAIN),
    }
}
