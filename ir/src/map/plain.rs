//! Slot values of described plaintexts.
//!
//! Relies on [`super::diagonals`]. Promises: a pure function of the circuit; whoever needs many diagonals of one
//! map keeps its [`Diagonals`] and calls [`Diagonals::vector`] instead.

use super::diagonals::Diagonals;
use super::shape::{MapError, tensor};
use super::{MapId, Tensor};
use crate::circuit::Circuit;
use crate::layout::Layout;
use crate::op::Plain;

/// The slots of a plaintext of `circuit`.
pub fn plain_values(circuit: &Circuit, plain: &Plain) -> Result<Vec<f64>, MapError> {
    plain_values_with(circuit, plain, |_| None)
}

/// The slots of a plaintext, with the diagonals of maps that the caller has at hand.
pub fn plain_values_with<'a>(
    circuit: &Circuit,
    plain: &Plain,
    known: impl Fn(MapId) -> Option<&'a Diagonals>,
) -> Result<Vec<f64>, MapError> {
    match plain {
        Plain::Constant(value) => Ok(vec![*value; circuit.slots()]),
        Plain::Tensor { tensor: id, layout, ciphertext, scale } => {
            let layout = circuit.layouts.get(layout.0 as usize).ok_or(MapError::UnknownLayout(layout.0))?;
            tensor_slots(tensor(&circuit.tensors, *id)?, layout, *ciphertext, *scale)
        }
        Plain::Diagonal { map, output, input, step, giant } => {
            if let Some(diagonals) = known(*map) {
                return Ok(diagonals.vector(*output, *input, *step, *giant));
            }
            let map = circuit.maps.get(map.0 as usize).ok_or(MapError::UnknownMap(map.0))?;
            let diagonals = Diagonals::materialise(map, &circuit.layouts, &circuit.tensors)?;
            Ok(diagonals.vector(*output, *input, *step, *giant))
        }
    }
}

/// `scale · values` in one ciphertext of a layout, all replicas, zero elsewhere; `[c]` is broadcast over `[c, …]`.
fn tensor_slots(values: &Tensor, layout: &Layout, ciphertext: u32, scale: f64) -> Result<Vec<f64>, MapError> {
    layout.check()?;
    let elements = layout.elements();
    let leading = layout.shape.first().map_or(1, |c| *c as usize);
    let repeat = match values.values.len() {
        n if n == elements => 1,
        n if n == leading && values.shape.len() == 1 => elements / leading,
        _ => {
            let (tensor, layout) = (values.shape.clone(), layout.shape.clone());
            return Err(MapError::PlainShape { name: values.name.clone(), tensor, layout });
        }
    };
    let value = |_image: usize, element: usize| scale * f64::from(values.values[element / repeat]);
    Ok(layout.fill(ciphertext, value))
}
