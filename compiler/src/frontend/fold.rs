//! Operators on constants, with the same bits on every machine.
//!
//! tract's kernels are chosen by the CPU and may round differently, so that what they compute never reaches a circuit.
//! Operators that only move or convert elements ([`MOVES`]), and all that lead from integers to integers, are exact whoever
//! does them; arithmetic on floats is done here, in the ONNX type, each operation rounded once. Every other operator on constants
//! stays a node, which the walk then refuses with its name.

use super::draft::MAX_ELEMENTS;
use super::ops::arithmetic::{common_shape, spread};
use super::reference::Constant;

/// Operators that yield their operands' elements: moved, repeated, filled up or converted.
const MOVES: &[&str] = &[
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Whether an operator only moves or converts elements.
pub(super) fn moves(op: &str) -> bool {
    MOVES.contains(&op)
}

/// Type of a constant's elements, as far as arithmetic cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Single,
    Double,
}

impl Precision {
    fn binary(self, op: Binary, a: f64, b: f64) -> f64 {
        match self {
            Precision::Single => f64::from((op.single)(a as f32, b as f32)),
            Precision::Double => (op.double)(a, b),
        }
    }
}

/// One operation in both types.
#[derive(Clone, Copy)]
struct Binary {
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
}

/// The two-operand operators.
fn binary(op: &str) -> Option<Binary> {
    Some(match op {
        "Add" => Binary { single: |a, b| a + b, double: |a, b| a + b },
        "Sub" => Binary { single: |a, b| a - b, double: |a, b| a - b },
        "Mul" => Binary { single: |a, b| a * b, double: |a, b| a * b },
        "Div" => Binary { single: |a, b| a / b, double: |a, b| a / b },
        "Pow" => Binary { single: libm::powf, double: libm::pow },
        _ => return None,
    })
}

/// The one-operand operators, as a function of the operand twice.
fn unary(op: &str) -> Option<Binary> {
    Some(match op {
        "Neg" => Binary { single: |a, _| -a, double: |a, _| -a },
        "Reciprocal" => Binary { single: |a, _| 1.0 / a, double: |a, _| 1.0 / a },
        "Floor" => Binary { single: |a, _| a.floor(), double: |a, _| a.floor() },
        "Ceil" => Binary { single: |a, _| a.ceil(), double: |a, _| a.ceil() },
        "Sqrt" => Binary { single: |a, _| a.sqrt(), double: |a, _| a.sqrt() },
        _ => return None,
    })
}

/// Result of an arithmetic operator on constants of this type; `None` for other operators and shapes that do not fit.
pub(super) fn arithmetic(op: &str, precision: Precision, operands: &[Constant]) -> Option<Constant> {
    match operands {
        [x] => {
            let op = unary(op)?;
            let values = x.values.iter().map(|a| precision.binary(op, *a, *a)).collect();
            Some(Constant { shape: x.shape.clone(), values })
        }
        [x, y] => {
            let op = binary(op)?;
            let shape = common_shape(&x.shape, &y.shape).ok()?;
            let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            if elements.is_none_or(|n| n > MAX_ELEMENTS) {
                return None;
            }
            let pairs = spread(x, &shape).into_iter().zip(spread(y, &shape));
            let values = pairs.map(|(a, b)| precision.binary(op, a, b)).collect();
            Some(Constant { shape, values })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_beyond_every_tensor_are_refused() {
        let (x, y) = (constant(&[60_000, 1], &[0.0; 60_000]), constant(&[1, 60_000], &[0.0; 60_000]));
        assert!(arithmetic("Add", Precision::Single, &[x, y]).is_none());
    }

    fn constant(shape: &[usize], values: &[f64]) -> Constant {
        Constant { shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn each_operation_rounds_once_in_its_type() {
        let (x, y) = (constant(&[2, 1], &[1.0, 2.0]), constant(&[2], &[3.0, 1e-9]));
        let run = |op, precision| arithmetic(op, precision, &[x.clone(), y.clone()]).unwrap();
        let third = run("Div", Precision::Single);
        assert_eq!((third.shape, third.values[0]), (vec![2, 2], f64::from(1f32 / 3.0)));
        assert_eq!(run("Div", Precision::Double).values[0], 1.0 / 3.0);
        assert_eq!(run("Add", Precision::Single).values, [4.0, 1.0, 5.0, 2.0]);
        assert_eq!(run("Sub", Precision::Double).values[1], 1.0 - 1e-9);
        assert_eq!(run("Pow", Precision::Single).values[2], 8.0);
        let root = arithmetic("Sqrt", Precision::Single, &[constant(&[1], &[2.0])]).unwrap();
        assert_eq!(root.values, [f64::from(2f32.sqrt())]);
        assert_eq!(arithmetic("Erf", Precision::Single, &[x]), None);
        assert_eq!(arithmetic("Add", Precision::Single, &[y, constant(&[3], &[0.0; 3])]), None);
    }
}
