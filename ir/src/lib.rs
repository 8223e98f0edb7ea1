//! The contract between Cipherloom's compiler and runtime: circuits, their laws and file formats.
//!
//! # The specification
//!
//! A [`Circuit`] is a list of nodes in topological order over *values*. A value is a ciphertext whose slots hold
//! a vector of `slots = N / 2` (complex, here real) numbers; it has a **level** (primes left), a **degree** (1,
//! or 2 after a product) and an exact **scale** ([`scheme::Scale`]). `Δ_l` is the canonical scale of level l.
//!
//! | op | slots | level | degree | scale | condition |
//! |---|---|---|---|---|---|
//! | input | client's data in the input's layout | top | 1 | Δ_top | |
//! | add, sub | x ± y | l | larger | S | same level, same scale |
//! | neg | −x | l | same | S | |
//! | add_plain | x + p | l | same | S | p is encoded at S |
//! | mul_plain | x · p | l | 1 | Δ_l² | l ≥ 1, degree 1; p is encoded at Δ_l² / S |
//! | mul_scalar | x · c | l | same | Δ_l² | l ≥ 1; c is rounded at Δ_l² / S |
//! | mul, sum_of_products | Σ x · y | l | 2 | S_x · S_y | l ≥ 1, degree 1, same level; all products of one scale |
//! | relinearize | x | l | 1 | S | degree 2; a relinearization key at level ≥ l |
//! | rescale | x | l − 1 | same | S / q_l | l ≥ 1 |
//! | relinearize_rescale | x | l − 1 | 1 | S / q_l | both of the above |
//! | drop_level k | x | k | same | S | k < l |
//! | adjust k | x | k | same | Δ_k | k < l; S = Δ_l; integer factor round(Δ_k · q_{k+1} / S) at level k + 1, then rescale |
//! | rotate d | x\[(s + d) mod slots\] | l | 1 | S | degree 1; key of that step at level ≥ l |
//! | conjugate | conj(x) | l | 1 | S | degree 1 |
//! | bootstrap | x | top | 1 | Δ_top | degree 1; S = Δ_l; l ≥ the input level of the circuit's bootstrapping, to which a value above is adjusted first; \|Re x\|, \|Im x\| ≤ 1; the keys of its plan |
//! | activation | f(x) | l | 1 | S | drafts only |
//! | linear | see [`LinearPlan`] | l, or l − 1 with rescale | 1 | Δ_l², or Δ_{l−1} with rescale | l ≥ 1, degree 1; inputs at one level and scale S; diagonals encoded at Δ_l² / S; with pairing, halved pairs of them, and a conjugation key at level ≥ l |
//!
//! A value that reaches an output or an op that needs the canonical scale must have it exactly. Plaintext scales
//! therefore follow from the law and are never stored.
//!
//! # Errors
//!
//! Encryption, rounding and key switching leave an error in every slot. Three figures are known of it:
//!
//! | figure | by | for |
//! |---|---|---|
//! | drawn: errors of these deviations, added to the slots of each value | [`Noisy`] | answers on a data set before anything is encrypted |
//! | average: standard deviations, typical values | [`Trace`] | choice of the scale; precision in the [`Forecast`], for secret-key and for public-key encryption |
//! | worst case: a bound for every input inside its range, except with probability 2^-128 | [`output_bounds`] | [`ManifestOutput::worst_error`]; whatever must hide or outgrow the error |
//!
//! The worst case counts encryption (either way), encoding of plaintexts, key switching, rescaling, adjusting and
//! products of errors, propagated through intervals of the exact values, and is infinite where these do not prove that
//! the output fits the modulus, and behind a bootstrap. Neither figure counts how far the circuit's exact meaning is from the
//! model (polynomials in place of activations, weights as float32). Intervals grow by the largest values that any input in range could cause,
//! far above those that images cause, so that for deep networks nothing is proved.
//!
//! # Forms
//!
//! | form | made by | read by |
//! |---|---|---|
//! | in memory, checked node by node | [`CircuitBuilder`] | everyone |
//! | verified | [`Verified::new`] | the runtime, which takes nothing else |
//! | draft (exact functions, no real modulus) | [`verify_draft`] | exact meaning |
//! | file | [`Circuit::to_bytes`] | [`Circuit::from_bytes`]; its digest is [`Circuit::digest`] |
//! | text | [`Circuit::to_text`] | [`Circuit::from_text`], beside the weights |
//! | manifest, without the model | [`Manifest::of`] | the client; [`Manifest::verify`] |
//! | summary, JSON | [`Summary::of`], [`Circuit::to_json`] | people and tools |
#![forbid(unsafe_code)]

mod builder;
mod circuit;
pub mod container;
mod digest;
mod expand;
mod format;
mod interpret;
mod json;
mod layout;
mod manifest;
mod map;
mod op;
mod plaintexts;
pub mod printable;
pub mod scheme;
mod summary;
mod text;
mod verify;
pub mod wire;

pub use builder::CircuitBuilder;
pub use circuit::{
    Circuit, ClientStep, Forecast, InputSpec, Node, OutputSpec, Preprocessing, RangeCertificate,
};
pub use digest::Digest;
pub use expand::expand_plans;
pub use format::FormatError;
pub use interpret::{
    Draw, Encryption, Exact, ExactError, ExactRun, Interpretation, LARGEST_ERROR_DEVIATIONS, Magnitudes,
    MapNorms, Noisy, NoisyError, NoisyRun, OutputBound, SlotVector, Trace, TraceError, Traced, WorstError,
    interpret, output_bounds,
};
pub use layout::{Digit, Gap, Layout, LayoutError, LayoutId, MAX_LAYOUT_SLOTS, digit_span};
pub use manifest::{Manifest, ManifestInput, ManifestOutput};
pub use map::{
    Diagonal, Diagonals, LinearMap, MAX_ELEMENTS, MAX_ENTRIES, MapError, MapId, Operator, PlacedMap,
    Residues, RowNorms, SparseRows, Support, Tensor, TensorId, ViewAxis, Window, feature_map, matrix_rows,
    plain_values, plain_values_with, volume_of,
};
pub use op::{
    Activation, Hoisting, KeyId, KeyedStep, LinearPlan, Op, Pairing, Plain, Product, Read, RealDiagonal,
    Source, Step, Switches, ValueId,
};
pub use plaintexts::{PLAINTEXT_BYTES, Place as PlaintextPlace, PlaintextBudget, prepared_plaintext_bytes};
pub use summary::{Bootstrapping, Layer, Port, Summary};
pub use text::{INLINE_VALUES, TextError, TextProblem, tensor_digest};
pub use verify::{
    Degree, LawError, MAX_FACTOR_DIAGONALS, MAX_PRODUCT_TERMS, MAX_SCALE_EXPONENT, MAX_VIOLATIONS, Place,
    ValueType, Verified, VerifyError, Violation, bounds, check_key_spec, result_types, value_types,
    verify_draft,
};
