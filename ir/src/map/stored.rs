//! Operators as files hold them: windows over images have two axes, those over volumes three.
//!
//! Promises: one form for each operator, and files of circuits without volumes as before volumes were there.

use super::{Operator, TensorId, ViewAxis, Window};
use serde::{Deserialize, Serialize};

/// An operator in a file. The order of the variants is part of the format.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Operator")]
pub(super) enum Stored {
    Convolution { input: [u32; 3], window: Plane, groups: u32, weight: TensorId },
    AveragePool { input: [u32; 3], window: Plane, count_padding: bool },
    Dense { weight: TensorId },
    View { input: Vec<u32>, axes: Vec<ViewAxis> },
    AxisScale { shape: Vec<u32>, axis: u32, factor: TensorId },
    ElementScale { factor: TensorId },
    VolumeConvolution { input: [u32; 4], window: Window, groups: u32, weight: TensorId },
    VolumeAveragePool { input: [u32; 4], window: Window, count_padding: bool },
}

/// A window over height and width.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Window")]
pub(super) struct Plane {
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad_before: [u32; 2],
    pad_after: [u32; 2],
}

impl Plane {
    /// An image and a window over it; `None` for a volume.
    fn of([channels, depth, height, width]: [u32; 4], window: &Window) -> Option<([u32; 3], Plane)> {
        let in_plane = |[_, y, x]: [u32; 3]| [y, x];
        let plane = Plane {
            kernel: in_plane(window.kernel),
            stride: in_plane(window.stride),
            dilation: in_plane(window.dilation),
            pad_before: in_plane(window.pad_before),
            pad_after: in_plane(window.pad_after),
        };
        (depth == 1 && window.is_flat()).then_some(([channels, height, width], plane))
    }

    fn window(self) -> Window {
        let size = |[y, x]: [u32; 2]| [1, y, x];
        let pad = |[y, x]: [u32; 2]| [0, y, x];
        Window {
            kernel: size(self.kernel),
            stride: size(self.stride),
            dilation: size(self.dilation),
            pad_before: pad(self.pad_before),
            pad_after: pad(self.pad_after),
        }
    }
}

impl From<Operator> for Stored {
    fn from(operator: Operator) -> Stored {
        match operator {
            Operator::Convolution { input, window, groups, weight } => match Plane::of(input, &window) {
                Some((input, window)) => Stored::Convolution { input, window, groups, weight },
                None => Stored::VolumeConvolution { input, window, groups, weight },
            },
            Operator::AveragePool { input, window, count_padding } => match Plane::of(input, &window) {
                Some((input, window)) => Stored::AveragePool { input, window, count_padding },
                None => Stored::VolumeAveragePool { input, window, count_padding },
            },
            Operator::Dense { weight } => Stored::Dense { weight },
            Operator::View { input, axes } => Stored::View { input, axes },
            Operator::AxisScale { shape, axis, factor } => Stored::AxisScale { shape, axis, factor },
            Operator::ElementScale { factor } => Stored::ElementScale { factor },
        }
    }
}

impl From<Stored> for Operator {
    fn from(stored: Stored) -> Operator {
        let image = |[channels, height, width]: [u32; 3]| [channels, 1, height, width];
        match stored {
            Stored::Convolution { input, window, groups, weight } => {
                Operator::Convolution { input: image(input), window: window.window(), groups, weight }
            }
            Stored::AveragePool { input, window, count_padding } => {
                Operator::AveragePool { input: image(input), window: window.window(), count_padding }
            }
            Stored::Dense { weight } => Operator::Dense { weight },
            Stored::View { input, axes } => Operator::View { input, axes },
            Stored::AxisScale { shape, axis, factor } => Operator::AxisScale { shape, axis, factor },
            Stored::ElementScale { factor } => Operator::ElementScale { factor },
            Stored::VolumeConvolution { input, window, groups, weight } => {
                Operator::Convolution { input, window, groups, weight }
            }
            Stored::VolumeAveragePool { input, window, count_padding } => {
                Operator::AveragePool { input, window, count_padding }
            }
        }
    }
}
