//! The verifier: the laws of circuits, one function per law.

mod error;
mod plan;
mod value;

pub use error::LawError;
pub(crate) use value::check_output_values;
pub use value::{Degree, MAX_PRODUCT_TERMS, MAX_SCALE_EXPONENT, ValueType, result_types};

use crate::circuit::Circuit;

/// Types of all values of a circuit in order, or the first broken op law.
pub fn value_types(circuit: &Circuit) -> Result<Vec<ValueType>, LawError> {
    let mut types: Vec<ValueType> = vec![];
    for node in &circuit.nodes {
        let operands = node
            .op
            .operands()
            .into_iter()
            .map(|v| types.get(v.0 as usize).ok_or(LawError::Undefined(v)))
            .collect::<Result<Vec<_>, _>>()?;
        let results = result_types(circuit, &node.op, &operands)?;
        types.extend(results);
    }
    Ok(types)
}
