//! Shapes of linear operators, and what can be wrong with a map.
//!
//! Relies on nothing but the descriptors. Promises: every size that later stages allocate by is checked here,
//! with exact arithmetic, so that no descriptor read from a file overflows or panics.

use super::{Operator, Tensor, TensorId, Window, feature_map};
use crate::layout::LayoutError;
use thiserror::Error;

/// Largest number of entries of one operator's matrix (a bound against hostile files).
pub const MAX_ENTRIES: u64 = 1 << 28;

/// Largest number of elements of one tensor that a map reads or writes.
pub const MAX_ELEMENTS: u64 = 1 << 24;

/// Why a linear map has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MapError {
    /// The circuit has no such tensor.
    #[error("tensor {} is not in the table", .0.0)]
    UnknownTensor(TensorId),
    /// The circuit has no such layout.
    #[error("layout {0} is not in the table")]
    UnknownLayout(u32),
    /// The circuit has no such map.
    #[error("map {0} is not in the table")]
    UnknownMap(u32),
    /// A weight has another shape than its operator needs.
    #[error("weight '{name}' has shape {found:?} where {operator} needs {expected}")]
    WeightShape {
        /// Name of the weight.
        name: String,
        /// Kind of operator.
        operator: &'static str,
        /// Shape needed, in words.
        expected: String,
        /// Shape found.
        found: Vec<u32>,
    },
    /// An operator's input does not have as many elements as what comes before it.
    #[error("{operator} reads {expected} elements but {found} arrive")]
    Elements {
        /// Kind of operator, or "output layout".
        operator: &'static str,
        /// Elements that it reads.
        expected: u64,
        /// Elements that arrive.
        found: u64,
    },
    /// A window does not fit, or a stride, kernel or group count is impossible.
    #[error("{operator}: {reason}")]
    Geometry {
        /// Kind of operator.
        operator: &'static str,
        /// What is impossible, with the numbers.
        reason: String,
    },
    /// More entries or elements than the bound.
    #[error("{operator} would have {found} entries, more than {limit}")]
    TooLarge {
        /// Kind of operator.
        operator: &'static str,
        /// Size.
        found: u64,
        /// Bound.
        limit: u64,
    },
    /// A layout is inconsistent.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Input and output layout have different slot counts.
    #[error("input layout has {input} slots, output layout {output}")]
    Slots {
        /// Slots of the input layout.
        input: u32,
        /// Slots of the output layout.
        output: u32,
    },
    /// Input and output layout hold different numbers of images.
    #[error("input layout has a batch of {input}, output layout of {output}")]
    Batches {
        /// Batch of the input layout.
        input: u32,
        /// Batch of the output layout.
        output: u32,
    },
    /// A tensor does not fit the layout that a plaintext puts it into.
    #[error("tensor '{name}' of shape {tensor:?} does not fill a layout of shape {layout:?}")]
    PlainShape {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        tensor: Vec<u32>,
        /// Shape of the layout.
        layout: Vec<u32>,
    },
}

/// Elements of a shape, bounded.
pub(crate) fn elements(operator: &'static str, shape: &[u32]) -> Result<usize, MapError> {
    let found = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d))).unwrap_or(u64::MAX);
    match found {
        1..=MAX_ELEMENTS => Ok(found as usize),
        _ => Err(MapError::TooLarge { operator, found, limit: MAX_ELEMENTS }),
    }
}

/// Refuses a matrix of more than [`MAX_ENTRIES`] entries.
pub(crate) fn bounded(operator: &'static str, factors: &[u64]) -> Result<(), MapError> {
    let found = factors.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).unwrap_or(u64::MAX);
    if found > MAX_ENTRIES {
        return Err(MapError::TooLarge { operator, found, limit: MAX_ENTRIES });
    }
    Ok(())
}

/// The tensor of an id.
pub(crate) fn tensor(tensors: &[Tensor], id: TensorId) -> Result<&Tensor, MapError> {
    tensors.get(id.0 as usize).ok_or(MapError::UnknownTensor(id))
}

impl Window {
    /// Whether it stays within planes: along the depth it is a point.
    pub fn is_flat(&self) -> bool {
        let along = |a: usize| {
            [self.kernel[a], self.stride[a], self.dilation[a], self.pad_before[a], self.pad_after[a]]
        };
        along(0) == [1, 1, 1, 0, 0]
    }

    /// Output depth, height and width over an input of `size`, or why there are none.
    pub fn output_size(&self, size: [u32; 3]) -> Result<[u32; 3], MapError> {
        let axis = |a: usize| {
            let (k, s, d) = (self.kernel[a], self.stride[a], self.dilation[a]);
            let padded = u64::from(size[a]) + u64::from(self.pad_before[a]) + u64::from(self.pad_after[a]);
            let reach = u64::from(d) * (u64::from(k).saturating_sub(1)) + 1;
            if k == 0 || s == 0 || d == 0 || reach > padded || padded > MAX_ELEMENTS {
                let reason =
                    format!("kernel {k}, stride {s}, dilation {d} do not fit a padded size of {padded}");
                return Err(MapError::Geometry { operator: "window", reason });
            }
            Ok(((padded - reach) / u64::from(s)) as u32 + 1)
        };
        Ok([axis(0)?, axis(1)?, axis(2)?])
    }

    /// Input index that output `o` reads through kernel position `k` on `axis`, if inside `size`.
    pub(crate) fn source(&self, axis: usize, o: u32, k: u32, size: u32) -> Option<u32> {
        let at = u64::from(o) * u64::from(self.stride[axis]) + u64::from(k) * u64::from(self.dilation[axis]);
        let inside = at.checked_sub(u64::from(self.pad_before[axis]))?;
        (inside < u64::from(size)).then_some(inside as u32)
    }
}

impl Operator {
    /// Name of the kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Operator::Convolution { .. } => "convolution",
            Operator::AveragePool { .. } => "average pool",
            Operator::Dense { .. } => "dense",
            Operator::View { .. } => "view",
            Operator::AxisScale { .. } => "axis scale",
            Operator::ElementScale { .. } => "element scale",
        }
    }

    /// Shape of the result for an input of shape `input` (read row-major as whatever shape the operator names).
    pub fn output_shape(&self, input: &[u32], tensors: &[Tensor]) -> Result<Vec<u32>, MapError> {
        let kind = self.kind();
        let found = elements(kind, input)? as u64;
        let reads = |shape: &[u32]| match elements(kind, shape)? as u64 {
            expected if expected == found => Ok(()),
            expected => Err(MapError::Elements { operator: kind, expected, found }),
        };
        let output = match self {
            Operator::Convolution { input: shape, window, groups, weight } => {
                reads(shape)?;
                let out = convolution_channels(*shape, window, *groups, tensor(tensors, *weight)?)?;
                let [d, h, w] = window.output_size([shape[1], shape[2], shape[3]])?;
                feature_map([out, d, h, w])
            }
            Operator::AveragePool { input: shape, window, .. } => {
                reads(shape)?;
                let [d, h, w] = window.output_size([shape[1], shape[2], shape[3]])?;
                feature_map([shape[0], d, h, w])
            }
            Operator::Dense { weight } => {
                let weight = filled(tensor(tensors, *weight)?, kind)?;
                match weight.shape[..] {
                    [rows, columns] if u64::from(columns) == found => vec![rows],
                    _ => return Err(weight_shape(weight, kind, format!("[rows, {found}]"))),
                }
            }
            Operator::View { input: shape, axes } => {
                reads(shape)?;
                for axis in axes {
                    let known = axis.input_axis.is_none_or(|a| (a as usize) < shape.len());
                    let small =
                        axis.start.unsigned_abs() <= MAX_ELEMENTS && axis.step.unsigned_abs() <= MAX_ELEMENTS;
                    if !known || !small {
                        let reason = format!("axis {axis:?} of a view of {shape:?}");
                        return Err(MapError::Geometry { operator: kind, reason });
                    }
                }
                axes.iter().map(|a| a.extent).collect()
            }
            Operator::AxisScale { shape, axis, factor } => {
                reads(shape)?;
                let factor = filled(tensor(tensors, *factor)?, kind)?;
                let size = shape.get(*axis as usize).copied().unwrap_or(0);
                if size == 0 || factor.values.len() != size as usize {
                    return Err(weight_shape(factor, kind, format!("[{size}]")));
                }
                shape.clone()
            }
            Operator::ElementScale { factor } => {
                let factor = filled(tensor(tensors, *factor)?, kind)?;
                if factor.values.len() as u64 != found {
                    return Err(weight_shape(factor, kind, format!("{found} elements")));
                }
                input.to_vec()
            }
        };
        elements(kind, &output)?;
        Ok(output)
    }
}

/// Output channels of a convolution whose weight fits its input.
fn convolution_channels(
    shape: [u32; 4],
    window: &Window,
    groups: u32,
    weight: &Tensor,
) -> Result<u32, MapError> {
    let kind = "convolution";
    filled(weight, kind)?;
    if groups == 0 || !shape[0].is_multiple_of(groups) {
        let reason = format!("{groups} groups over {} channels", shape[0]);
        return Err(MapError::Geometry { operator: kind, reason });
    }
    let inputs = shape[0] / groups;
    let kernel = if window.is_flat() { &window.kernel[1..] } else { &window.kernel };
    match weight.shape[..] {
        [out, i, ref k @ ..] if i == inputs && k == kernel && out.is_multiple_of(groups) => Ok(out),
        _ => {
            let kernel = kernel.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            Err(weight_shape(weight, kind, format!("[a multiple of {groups}, {inputs}, {kernel}]")))
        }
    }
}

fn filled<'a>(weight: &'a Tensor, kind: &'static str) -> Result<&'a Tensor, MapError> {
    let size = weight.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
    if size != Some(weight.values.len() as u64) {
        return Err(weight_shape(weight, kind, format!("{} values", weight.values.len())));
    }
    Ok(weight)
}

fn weight_shape(weight: &Tensor, operator: &'static str, expected: String) -> MapError {
    MapError::WeightShape { name: weight.name.clone(), operator, expected, found: weight.shape.clone() }
}
