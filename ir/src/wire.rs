//! What the service's server and client say to each other in JSON beside ciphertexts: refusals, and where a job stands.
//!
//! Relies on serde alone and knows no HTTP. Promises: both sides use these types, so that neither spells a word differently.

use serde::{Deserialize, Serialize};

/// Kind of a refusal; the command's exit code follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Arguments or credentials.
    Usage,
    /// Bytes that are not what they should be.
    BadInput,
    /// Things that do not belong together, or that this client does not have.
    Mismatch,
    /// Network, memory, disk, quota, load.
    Resources,
    /// A bug.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Usage, Kind::BadInput, Kind::Mismatch, Kind::Resources, Kind::Internal];
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Kind.
    pub kind: Kind,
    /// Which part of the request.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    #[serde(default)]
    pub remedy: String,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted and on disk.
    Queued,
    /// Being evaluated.
    Running,
    /// The result can be fetched.
    Done,
    /// It cannot be evaluated; the reason stands beside it.
    Failed,
    /// The client does not want it any more.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 5] =
        [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled];

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}
