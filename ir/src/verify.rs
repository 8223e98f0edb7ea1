//! The verifier: the laws of circuits, one function per law.

mod error;
mod plan;
mod value;

pub use error::LawError;
pub(crate) use value::check_output_values;
pub use value::{Degree, MAX_PRODUCT_TERMS, MAX_SCALE_EXPONENT, ValueType, result_types};
