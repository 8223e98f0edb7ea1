//! The one thread that evaluates: takes the next job, brings circuit and keys into memory, evaluates on all cores, makes the
//! result durable, records it.
//!
//! Promises: nothing that a client sent ends the thread (errors and panics fail the job, with the reason); a job that took the
//! whole process with it [`TRIES_MAX`] times is failed instead of being tried again.

use crate::ledger::LedgerError;
use crate::record::{Job, JobId, Outcome, Work};
use crate::service::Service;
use crate::{disk, log, pages::Pages};
use cipherloom_ir::Digest;
use cipherloom_runtime::Silent;
use cipherloom_runtime::files::{read_inputs, write_outputs};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Evaluations of a job that may end with the process.
pub(crate) const TRIES_MAX: u64 = 3;

/// Works until the server stops.
pub(crate) fn work(service: &Service, pool: &rayon::ThreadPool) {
    let mut pages = Pages::new(service.settings.memory_bytes);
    loop {
        match service.ledger.next() {
            Work::Evaluate(id, job) => one(service, pool, &mut pages, id, &job),
            Work::DropKeys => pages.retain_keys(|name| service.ledger.keys(name).is_some()),
            Work::Stop => return,
        }
        service.metrics.resident_bytes.store(pages.bytes(), Ordering::Relaxed);
    }
}

/// One job, from its turn to its record.
fn one(service: &Service, pool: &rayon::ThreadPool, pages: &mut Pages, id: JobId, job: &Job) {
    let evaluated = catch_unwind(AssertUnwindSafe(|| pool.install(|| evaluate(service, pages, id, job))));
    let evaluated = evaluated.unwrap_or_else(|_| {
        // What was being changed when it happened is not trusted any more.
        *pages = Pages::new(service.settings.memory_bytes);
        Err("internal error of the server".into())
    });
    let outcome = evaluated.unwrap_or_else(|reason| Outcome::Failure { reason });
    settle(service, id, job, &outcome);
}

/// The result of a job, already durable; or the reason why there is none.
fn evaluate(service: &Service, pages: &mut Pages, id: JobId, job: &Job) -> Result<Outcome, String> {
    count_try(service, id)?;
    let model = service.models.get(&job.model).ok_or("the server no longer has this model")?;
    let name = (job.client.clone(), job.keys);
    if service.ledger.keys(&name).is_none_or(|k| !k.complete) {
        return Err("the evaluation keys were removed before the job's turn; register them again".into());
    }
    service.ledger.touch_keys(&name);
    let path = service.files.keys(&job.client, &job.keys);
    let loaded = pages.load(model, &name, &path).map_err(|e| e.to_string())?;
    if loaded.paged_in {
        service.metrics.key_pages.fetch_add(1, Ordering::Relaxed);
    }
    let program = &loaded.program;
    let input = std::fs::read(service.files.input(id)).map_err(|e| format!("the input: {}", e.kind()))?;
    let input = read_inputs(&input, program.circuit(), &job.model, program.ring())
        .map_err(|e| format!("the input: {e}"))?;
    let start = Instant::now();
    let answer = program.run(&loaded.keys, &input, &Silent).map_err(|e| e.to_string())?;
    let evaluation_ms = start.elapsed().as_secs_f64() * 1e3;
    service.metrics.evaluated(start.elapsed());
    let bytes = write_outputs(Cursor::new(Vec::new()), &job.model, program.ring(), &answer)
        .map_err(|e| e.to_string())?
        .into_inner();
    disk::write(&service.files.output(id), &bytes).map_err(|e| format!("the result: {}", e.kind()))?;
    Ok(Outcome::Result { digest: Digest::of(&bytes), bytes: bytes.len() as u64, evaluation_ms })
}

/// Counts the beginnings of an evaluation. Not synchronised: the count is about ends of this process, not of the machine.
fn count_try(service: &Service, id: JobId) -> Result<(), String> {
    let path = service.files.tries(id);
    let count = |path| -> std::io::Result<u64> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(b"+")?;
        Ok(file.metadata()?.len())
    };
    match count(&path).map_err(|e| format!("storage: {}", e.kind()))? {
        tries if tries > TRIES_MAX => Err(format!("the server ended {TRIES_MAX} times during this job")),
        _ => Ok(()),
    }
}

/// Records how a job ended, however long the database refuses: other jobs' ends could not be recorded either.
fn settle(service: &Service, id: JobId, job: &Job, outcome: &Outcome) {
    let failed = matches!(outcome, Outcome::Failure { .. });
    let mut facts = vec![("job", json!(id.to_string())), ("client", json!(job.client))];
    match outcome {
        Outcome::Result { evaluation_ms, bytes, .. } => {
            facts.extend([("evaluation_ms", json!(evaluation_ms)), ("bytes", json!(bytes))]);
        }
        Outcome::Failure { reason } => facts.push(("reason", json!(reason))),
    }
    let unrecorded = |e: LedgerError| {
        log::event("job_not_recorded", &[("job", json!(id.to_string())), ("error", json!(e.to_string()))]);
    };
    // A server that stops leaves the record at queued: the job is evaluated again after the restart.
    let Some(wanted) = service.ledger.finish_at_last(id, outcome, unrecorded) else { return };
    let files = &service.files;
    let mut gone = vec![files.input(id), files.tries(id)];
    if !wanted {
        gone.push(files.output(id));
    }
    for path in gone {
        let _ = disk::remove(&path); // what stays is removed at the next start
    }
    service.metrics.job(if !wanted {
        "dropped"
    } else if failed {
        "failed"
    } else {
        "done"
    });
    log::event(if failed { "job_failed" } else { "job_done" }, &facts);
}
