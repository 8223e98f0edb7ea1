//! Why an evaluation cannot be set up or fails. No variant carries slot values or key material.

use cipherloom_ckks::CkksError;
use cipherloom_ir::scheme::KeyKind;

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Keys that were made for another circuit, or not all of them.
    #[error(
        "the circuit needs {wanted} evaluation keys, {found} were given; make keys from this circuit's manifest"
    )]
    KeyCount {
        /// Keys the circuit lists.
        wanted: usize,
        /// Keys given.
        found: usize,
    },
    /// A key that does not fit its place in the circuit's key table.
    #[error("evaluation key {index} should be {wanted:?} but {what}; make keys from this circuit's manifest")]
    WrongKey {
        /// Position in the key table.
        index: usize,
        /// What the circuit lists there.
        wanted: KeyKind,
        /// What differs.
        what: String,
    },
    /// The wrong number of input ciphertexts.
    #[error("input {name} is {wanted} ciphertexts, {found} were given")]
    InputCount {
        /// Name of the input.
        name: String,
        /// Ciphertexts of its layout.
        wanted: usize,
        /// Ciphertexts given.
        found: usize,
    },
    /// An input ciphertext at another level or ring than a fresh encryption for this circuit.
    #[error("ciphertext {index} of input {name}: {what}; encrypt with this circuit's manifest")]
    WrongInput {
        /// Name of the input.
        name: String,
        /// Which ciphertext.
        index: usize,
        /// What differs.
        what: String,
    },
    /// A described plaintext cannot be materialised: its weights are too large for its scale. The laws bound scales alone.
    #[error("node {node} ({origin}): plaintext cannot be made: {what}")]
    Plaintext {
        /// Node index.
        node: usize,
        /// Layer of the model.
        origin: String,
        /// Why.
        what: String,
    },
    /// A paged key cannot be read again.
    #[error("node {node} ({origin}): evaluation key {index} cannot be read: {what}")]
    KeyPage {
        /// Node index.
        node: usize,
        /// Layer of the model.
        origin: String,
        /// Position in the key table.
        index: usize,
        /// Why.
        what: String,
    },
    /// An operation of the engine failed.
    #[error("node {node} ({origin}): {source}")]
    Engine {
        /// Node index.
        node: usize,
        /// Layer of the model.
        origin: String,
        /// Why.
        source: CkksError,
    },
    /// The circuit's parameters do not make a ring.
    #[error("the circuit's parameters are not usable: {0}")]
    Parameters(#[source] CkksError),
    /// The circuit holds an op that has no encrypted meaning.
    #[error("node {node} ({origin}): {op} has no encrypted meaning; the circuit is a draft")]
    Draft {
        /// Node index.
        node: usize,
        /// Layer of the model.
        origin: String,
        /// The op.
        op: &'static str,
    },
}
