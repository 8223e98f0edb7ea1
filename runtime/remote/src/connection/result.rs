//! Waiting for the result of a job.
//!
//! Promises: the wait ends when it should ([`Connection::wait_at_most`]), but for the last questions, which take [`GRACE`] each,
//! and a result that has begun to come; a job that is given up is cancelled, and what is said of it is what the server said.

use super::{Answer, Body, CONNECT, Connection, Kind, PATIENCE, PAUSE, RemoteError, Response, WAIT, bytes};
use cipherloom_ir::wire::{JobFacts, JobState};
use std::time::{Duration, Instant};

/// How long a request may take after the wait has ended.
const GRACE: Duration = Duration::from_secs(5);

/// A result's bytes, and the server's time of evaluation in milliseconds.
pub type Evaluated = (Vec<u8>, Option<f64>);

impl Connection {
    /// Waits for the result of a job, but not longer than this connection does: its bytes, and the server's time of evaluation
    /// in milliseconds. A job that is given up is cancelled, since nobody will ask for it any more.
    pub fn result(&self, job: &str) -> Result<Evaluated, RemoteError> {
        let start = Instant::now();
        let left = || self.result_wait.saturating_sub(start.elapsed());
        loop {
            let asked = Instant::now();
            let wait = left().min(WAIT);
            let patience = left().min(PATIENCE);
            let response = self.call(patience, &mut || self.ask_for_result(job, left()));
            match response.and_then(|mut response| self.evaluated(&mut response)) {
                Ok(Some(evaluated)) => return Ok(evaluated),
                Ok(None) if left().is_zero() => return self.give_up(job, None),
                Err(e) if left().is_zero() => return self.give_up(job, Some(e)),
                Err(e) => return Err(e),
                Ok(None) => {}
            }
            if asked.elapsed() < wait {
                std::thread::sleep(PAUSE.min(left())); // the server is stopping, or does not wait
            }
        }
    }

    /// Asks once, with so much of the wait left.
    fn ask_for_result(&self, job: &str, left: Duration) -> Answer {
        let (wait, limit) = (left.min(WAIT).as_secs_f64(), left.saturating_add(GRACE));
        let silence = Some(self.silence.min(limit));
        let request = self.agent.get(format!("{}/v1/jobs/{job}/result?wait={wait}", self.base));
        let request = self.with_token(request).config().timeout_connect(Some(CONNECT.min(limit)));
        request.timeout_recv_response(silence).timeout_per_read(silence).build().call()
    }

    /// The result in a response, unless the job has not ended.
    fn evaluated(&self, response: &mut Response<Body>) -> Result<Option<Evaluated>, RemoteError> {
        if response.status().as_u16() == 202 {
            return Ok(None);
        }
        let ms = response.headers().get("evaluation-ms").and_then(|v| v.to_str().ok());
        let ms = ms.and_then(|v| v.parse().ok());
        Ok(Some((bytes(&self.base, response)?, ms)))
    }

    /// Ends the wait: a job that has ended meanwhile has a result or a reason; any other is cancelled, if the server hears of
    /// it. `last` is what went wrong with the last request.
    fn give_up(&self, job: &str, last: Option<RemoteError>) -> Result<Evaluated, RemoteError> {
        let url = format!("{}/v1/jobs/{job}", self.base);
        let state = |request| self.json_within(GRACE, request).map(|job: JobFacts| job.state);
        // Deletion would take the result of a job that has ended.
        let state = match state(self.agent.get(&url)) {
            Ok(ended) if ended.is_final() => Ok(ended),
            _ => state(self.agent.delete(&url)),
        };
        let fate = match state {
            Ok(JobState::Done | JobState::Failed) => {
                let mut response = self.accepted(self.ask_for_result(job, Duration::ZERO))?;
                if let Some(evaluated) = self.evaluated(&mut response)? {
                    return Ok(evaluated);
                }
                "the server contradicts itself about it"
            }
            Ok(JobState::Cancelled) => "the job was cancelled",
            Ok(JobState::Queued | JobState::Running) => "the server goes on with the job",
            Err(_) => "whether the job was cancelled is not known",
        };
        let last = last.map_or(String::new(), |e| format!(" ({})", e.what));
        let waited_s = self.result_wait.as_secs_f64();
        let what = format!("has not finished job {job} within {waited_s} s{last}; {fate}");
        Err(RemoteError::new(Kind::Resources, &self.base, what)
            .remedy("wait longer (--wait SECONDS), or ask the server's operator what holds it up"))
    }
}
