//! What a server tells of models, keys and jobs, and what it is asked to evaluate.

use cipherloom_ir::Digest;
use cipherloom_ir::wire::JobState;
use serde::Deserialize;

/// A model as the server describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelFacts {
    /// Digest of the circuit.
    pub id: Digest,
    /// Name.
    pub name: String,
}

/// Keys as the server knows them.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyFacts {
    /// Digest of the file.
    pub digest: Digest,
    /// Bytes that have arrived.
    pub offset: u64,
    /// Whether they can be used.
    pub complete: bool,
}

/// A job as the server knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct JobFacts {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// The model.
    pub model: Digest,
    /// The keys.
    pub keys: Digest,
    /// The input.
    pub input: Digest,
    /// Why it failed.
    pub reason: Option<String>,
}

/// What to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The model.
    pub model: Digest,
    /// The registered keys.
    pub keys: Digest,
    /// The encrypted input's file.
    pub input: &'a [u8],
    /// Names the request: a repeated one is answered with the job of the first.
    pub idempotency: &'a str,
}
