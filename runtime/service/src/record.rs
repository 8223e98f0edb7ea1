//! The words of the ledger: jobs, keys, what is asked of it and what it answers.
//!
//! Records are JSON in the database: a field that is added later must have a default, so that old records are read.

use crate::ledger::LedgerError;
use cipherloom_ir::Digest;
use cipherloom_ir::wire::JobState;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names a job: random, so that nobody guesses another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) [u8; 16]);

impl JobId {
    pub(crate) fn random() -> Result<JobId, LedgerError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| LedgerError::Other(e.to_string()))?;
        Ok(JobId(id))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

impl FromStr for JobId {
    type Err = ();
    fn from_str(text: &str) -> Result<JobId, ()> {
        let padded = format!("{text}{:032}", 0);
        let digest: Digest = if text.len() == 32 { padded.parse()? } else { return Err(()) };
        digest.0.first_chunk().map(|id| JobId(*id)).ok_or(())
    }
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Order of acceptance.
    pub(crate) sequence: u64,
    pub(crate) client: String,
    pub(crate) model: Digest,
    pub(crate) keys: Digest,
    /// What the client calls the request, so that it can be repeated.
    pub(crate) idempotency: Option<String>,
    pub(crate) input: Digest,
    pub(crate) input_bytes: u64,
    pub(crate) accepted_ms: u64,
    pub(crate) state: JobState,
    pub(crate) finished_ms: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
}

/// How a job ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Result { digest: Digest, bytes: u64, evaluation_ms: f64 },
    Failure { reason: String },
}

/// Evaluation keys of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) model: Digest,
    /// Announced, and once complete actual, size.
    pub(crate) bytes: u64,
    pub(crate) complete: bool,
    pub(crate) created_ms: u64,
    pub(crate) used_ms: u64,
}

/// A job to be accepted.
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) model: Digest,
    pub(crate) keys: Digest,
    pub(crate) idempotency: Option<String>,
    pub(crate) input: Digest,
    pub(crate) input_bytes: u64,
    /// Forecast of its evaluation.
    pub(crate) seconds: f64,
}

/// What bounds new jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobLimits {
    /// Most waiting jobs.
    pub(crate) all: usize,
    /// Most unfinished jobs of one client.
    pub(crate) per_client: usize,
    /// Most bytes that one client stores.
    pub(crate) quota_bytes: u64,
}

/// What the evaluating thread does next.
pub(crate) enum Work {
    Evaluate(JobId, Box<Job>),
    /// Keys without a record leave the memory.
    DropKeys,
    Stop,
}

/// What became of a request.
pub(crate) enum Accepted {
    New(JobId),
    /// The same request had been accepted before.
    Repeated(JobId),
    Not(Refused),
}

/// Why a request becomes no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its name was used for another request.
    Reused,
    /// Too many wait.
    Full,
    /// The client would store too much.
    OverQuota,
}

/// What became of an announcement of keys.
pub(crate) enum Announced {
    New(KeyRecord),
    /// They were announced before, with this record.
    Known(KeyRecord),
    /// The client would store too much.
    OverQuota,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_jobs_are_read_back() {
        let id = JobId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "00", &"g".repeat(32), &"0".repeat(64), &"é".repeat(16)] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }
}
