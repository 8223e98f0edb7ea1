//! The text form of circuits: a line per table entry and per node.
//!
//! ```text
//! circuit "sample"
//! parameters log_n 13 log_scale 30 chain [1073692673 …] special [1099510824961]
//! key k0 relinearization level 2 gadget 1+1
//! tensor t0 "conv.weight" [5, 1, 2, 2] blake3 1f0c…
//! tensor t1 "conv.bias" [2] values 0.5 -0.25
//! layout l0 [1, 28, 28] in 1 x 4096 digits (1@784) (28@28) (28@1) copies () gaps zero
//! map m0 l0 -> l1 times 1.0 fold ()
//!   convolution [1, 28, 28] kernel 2x2 stride 2x2 dilation 1x1 pad 0x0 0x0 groups 1 weight t0
//! input i0 "image" in l0 range [-1.0, 1.0] scale 1.0 mean [0.0] std [1.0]
//! origin o0 "conv"
//! layer o0
//! v0 = input i0.0
//! v1 = linear m0(v0) babies [0 1:k1] giants [0] products [g0 0.0: 0-1] double rescale
//! output "logits" in l1 values [v1] times 1.0 range [-8.0, 8.0] labels [] steps [argmax]
//! certificate "relu" [0.0, 4.0]
//! forecast seconds 0.0 memory 0 keys 0 upload 0 download 0 precision 0.0
//! ```
//!
//! A circuit that bootstraps says `raised [1125…]` before its special primes, and after its parameters how:
//! `bootstrapping log_n 16 log_scale 40 …`, a number for each field of the request, and has nodes `v9 = bootstrap v8`.
//!
//! Tensors of up to 16 values stand inline; larger ones are named by shape and digest and found in the weight
//! table that the parser is given. Numbers are printed shortest so that they read back equal. `;` starts a
//! comment; the printer uses it for level and scale of each value. Promises: for a circuit whose values are
//! numbered in order, `parse(print(c), weights of c) = c`.

mod cursor;
mod parse;
mod plan;
mod print;

use crate::circuit::Circuit;
use crate::map::Tensor;
use crate::scheme::BootstrapRequest;
use std::fmt;
use thiserror::Error;

/// Values up to which a tensor stands inline.
pub const INLINE_VALUES: usize = 16;

/// Why a text is not a circuit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: TextProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextProblem {
    /// Something else should stand here.
    #[error("expected {expected}, found {}", if .found.is_empty() { "the end of the line" } else { .found })]
    Expected {
        /// What should stand here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// A table entry or value is not the next one.
    #[error("expected the entry numbered {expected}, found {found}")]
    Numbering {
        /// Next number.
        expected: usize,
        /// Number found.
        found: usize,
    },
    /// The weight table has no such tensor.
    #[error("the weight table has no tensor \"{name}\" of shape {shape:?} and digest {digest}")]
    UnknownTensor {
        /// Name.
        name: String,
        /// Shape.
        shape: Vec<u32>,
        /// Digest.
        digest: String,
    },
    /// A line that must be there is not.
    #[error("the text has no line \"{0}\"")]
    Missing(&'static str),
    /// A line that must be there once is there again.
    #[error("the text has a second line \"{0}\"")]
    Repeated(&'static str),
    /// An operator stands before any map.
    #[error("an operator before the first map")]
    OperatorOutsideMap,
    /// More products than a circuit may have.
    #[error("more products than a circuit may have")]
    TooManyProducts,
}

impl Circuit {
    /// The text form.
    pub fn to_text(&self) -> String {
        print::Text(self).to_string()
    }

    /// Reads the text form beside a weight table; nothing is verified yet but the form.
    pub fn from_text(text: &str, weights: &[Tensor]) -> Result<Circuit, TextError> {
        parse::circuit(text, weights)
    }
}

/// Digest of a tensor's values in the text form: 32 hexadecimal digits of BLAKE3 over the little-endian floats.
pub fn tensor_digest(tensor: &Tensor) -> String {
    let mut hasher = blake3::Hasher::new();
    for value in &tensor.values {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The numbers of a request for bootstrapping, by their names in the text form, in order.
fn request_fields(request: &mut BootstrapRequest) -> [(&'static str, &mut u32); 11] {
    [
        ("log_n", &mut request.log_n),
        ("log_scale", &mut request.log_scale),
        ("base_bits", &mut request.base_bits),
        ("prime_bits", &mut request.prime_bits),
        ("levels", &mut request.levels),
        ("to_coefficients", &mut request.to_coefficients),
        ("to_slots", &mut request.to_slots),
        ("log_degree", &mut request.log_degree),
        ("squarings", &mut request.squarings),
        ("ratio_bits", &mut request.ratio_bits),
        ("digit_limbs", &mut request.digit_limbs),
    ]
}

/// Items with one space between them.
struct Spaced<I>(I);

impl<I: Iterator<Item = T> + Clone, T: fmt::Display> fmt::Display for Spaced<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, item) in self.0.clone().enumerate() {
            write!(f, "{}{item}", if k > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
