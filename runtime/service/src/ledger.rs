//! The records of keys and jobs: what is promised to clients, in a transactional database, and the queue made from it.
//!
//! Relies on `database.rs`: a transaction that has been committed survives kill -9 and loss of power. Promises, in this order: a
//! record is committed before it is acknowledged or seen by anyone; a job is in the queue exactly if its record says
//! *queued* and no evaluation has it; a job leaves *queued* once. Which job is running is not on disk: after a restart it
//! is queued again, and since evaluation is a pure function its result is the same. Above the soft cap of lines: all that one
//! lock protects stands together.

mod database;

use crate::clock::now_ms;
use crate::queue::FairQueue;
use crate::record::{Accepted, Announced, Job, JobId, JobLimits, KeyRecord, Outcome, Refused, Request, Work};
use cipherloom_ir::Digest;
use cipherloom_ir::wire::JobState;
pub(crate) use database::LedgerError;
use database::Store;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, TryLockError};
use std::time::Duration;
use tokio::sync::watch;

/// What a record counts at least against its client's quota: it takes memory and space in the database without any payload.
const RECORD_BYTES_MIN: u64 = 64 << 10;
/// Until an end that could not be recorded is tried again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A client's keys by digest.
pub(crate) type KeyName = (String, Digest);

#[derive(Default)]
struct Memory {
    jobs: BTreeMap<JobId, Job>,
    requests: BTreeMap<(String, String), JobId>,
    keys: BTreeMap<KeyName, KeyRecord>,
    queue: Option<FairQueue<JobId>>,
    /// Keys went, which the evaluating thread may have in memory.
    keys_went: bool,
    stopping: bool,
    sequence: u64,
}

impl Memory {
    fn queue(&mut self) -> &mut FairQueue<JobId> {
        self.queue.get_or_insert_with(FairQueue::new)
    }

    fn waiting(&self, client: &str) -> usize {
        self.jobs.values().filter(|j| j.client == client && !j.state.is_final()).count()
    }

    /// Bytes that a client's records stand for.
    fn stored_bytes(&self, client: &str) -> u64 {
        let counted = |bytes: u64| bytes.max(RECORD_BYTES_MIN);
        let keys = self.keys.iter().filter(|((c, _), _)| c == client).map(|(_, r)| counted(r.bytes));
        let jobs = self.jobs.values().filter(|j| j.client == client).map(|j| {
            counted(match &j.outcome {
                Some(Outcome::Result { bytes, .. }) => *bytes,
                None if !j.state.is_final() => j.input_bytes,
                _ => 0,
            })
        });
        keys.sum::<u64>() + jobs.sum::<u64>()
    }

    fn exceeds(&self, client: &str, more_bytes: u64, quota_bytes: u64) -> bool {
        let more_bytes = more_bytes.max(RECORD_BYTES_MIN);
        self.stored_bytes(client).saturating_add(more_bytes) > quota_bytes
    }

    /// Why a new job of this client is not taken.
    fn refuses(&mut self, client: &str, input_bytes: u64, limits: JobLimits) -> Option<Refused> {
        if self.queue().len() >= limits.all || self.waiting(client) >= limits.per_client {
            return Some(Refused::Full);
        }
        self.exceeds(client, input_bytes, limits.quota_bytes).then_some(Refused::OverQuota)
    }
}

/// The records.
pub(crate) struct Ledger {
    /// Held by whoever changes the database, through to the change in memory.
    writing: Mutex<Store>,
    memory: Mutex<Memory>,
    /// Signals work, or the end, to the evaluating thread.
    work: Condvar,
    changes: watch::Sender<u64>,
}

impl Ledger {
    /// Opens or makes the database; jobs that were not finished are queued again, in the order of their acceptance.
    /// `seconds` forecasts the evaluation of a model.
    pub(crate) fn open(path: &Path, seconds: impl Fn(&Digest) -> f64) -> Result<Ledger, LedgerError> {
        let (store, records) = Store::open(path)?;
        let mut memory = Memory { keys: records.keys.into_iter().collect(), ..Memory::default() };
        for (id, job) in records.jobs {
            memory.sequence = memory.sequence.max(job.sequence + 1);
            if let Some(name) = &job.idempotency {
                memory.requests.insert((job.client.clone(), name.clone()), id);
            }
            memory.jobs.insert(id, job);
        }
        let mut waiting: Vec<(u64, JobId)> = memory
            .jobs
            .iter()
            .filter(|(_, j)| !j.state.is_final())
            .map(|(id, j)| (j.sequence, *id))
            .collect();
        waiting.sort_unstable();
        for (_, id) in waiting {
            let job = memory.jobs[&id].clone();
            memory.queue().push(&job.client, id, seconds(&job.model));
        }
        Ok(Ledger {
            writing: Mutex::new(store),
            memory: Mutex::new(memory),
            work: Condvar::new(),
            changes: watch::channel(0).0,
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn writing(&self) -> MutexGuard<'_, Store> {
        self.writing.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Counts changes of jobs' states.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Whether no record has failed since one was written; one that is being written now has not.
    pub(crate) fn is_open(&self) -> bool {
        self.writing
            .try_lock()
            .map_or_else(|e| matches!(e, TryLockError::WouldBlock), |store| store.is_open())
    }

    /// Whether records can be written now.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        self.writing().check()
    }

    /// Whether a request would be refused after its upload: `name` says that it may be a repetition, `input_bytes` what it
    /// brings at most.
    pub(crate) fn foresees(
        &self,
        client: &str,
        name: Option<&str>,
        input_bytes: u64,
        limits: JobLimits,
    ) -> Option<Refused> {
        let mut memory = self.memory();
        let known = |n: &str| memory.requests.contains_key(&(client.to_owned(), n.to_owned()));
        match name.is_some_and(known) {
            true => None,
            false => memory.refuses(client, input_bytes, limits),
        }
    }

    /// Accepts a job whose input is durable as that of `id`; when it returns `New`, so is the job.
    pub(crate) fn accept(
        &self,
        id: JobId,
        request: Request,
        limits: JobLimits,
    ) -> Result<Accepted, LedgerError> {
        let mut store = self.writing();
        let name = request.idempotency.clone().map(|name| (request.client.clone(), name));
        let sequence = {
            let mut memory = self.memory();
            if let Some(known) = name.as_ref().and_then(|n| memory.requests.get(n)).copied() {
                let job = &memory.jobs[&known];
                let same = (job.model, job.keys, job.input) == (request.model, request.keys, request.input);
                return Ok(if same { Accepted::Repeated(known) } else { Accepted::Not(Refused::Reused) });
            }
            if let Some(refused) = memory.refuses(&request.client, request.input_bytes, limits) {
                return Ok(Accepted::Not(refused));
            }
            memory.sequence
        };
        let job = Job {
            sequence,
            client: request.client,
            model: request.model,
            keys: request.keys,
            idempotency: request.idempotency,
            input: request.input,
            input_bytes: request.input_bytes,
            accepted_ms: now_ms(),
            state: JobState::Queued,
            finished_ms: None,
            outcome: None,
        };
        store.add_job(id, &job)?;
        let mut memory = self.memory();
        memory.sequence = sequence + 1;
        if let Some(name) = name {
            memory.requests.insert(name, id);
        }
        memory.queue().push(&job.client, id, request.seconds);
        memory.jobs.insert(id, job);
        self.work.notify_one();
        Ok(Accepted::New(id))
    }

    /// Waits for what the evaluating thread is to do next; a job is taken by it.
    pub(crate) fn next(&self) -> Work {
        let mut memory = self.memory();
        loop {
            if memory.stopping {
                return Work::Stop;
            }
            if std::mem::take(&mut memory.keys_went) {
                return Work::DropKeys;
            }
            if let Some(id) = memory.queue().pop() {
                if let Some(job) = memory.jobs.get_mut(&id) {
                    job.state = JobState::Running;
                    let job = job.clone();
                    drop(memory);
                    self.changed();
                    return Work::Evaluate(id, Box::new(job));
                }
                continue;
            }
            memory = self.work.wait(memory).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// Tells the evaluating thread to end after its job.
    pub(crate) fn stop(&self) {
        self.memory().stopping = true;
        self.work.notify_all();
        self.changed(); // whoever waits for a job hears that it will not be now
    }

    /// Records how a running job ended; says whether anybody still wants it.
    pub(crate) fn finish(&self, id: JobId, outcome: Outcome) -> Result<bool, LedgerError> {
        let state = match outcome {
            Outcome::Result { .. } => JobState::Done,
            Outcome::Failure { .. } => JobState::Failed,
        };
        self.end(id, JobState::Running, state, Some(outcome))
    }

    /// [`Ledger::finish`], tried again and again where the database fails, for the client was promised an end; `None` where
    /// the server stops before: then the record still says *queued*.
    pub(crate) fn finish_at_last(
        &self,
        id: JobId,
        outcome: &Outcome,
        failed: impl Fn(LedgerError),
    ) -> Option<bool> {
        let (mut pause, longest) = RETRY;
        loop {
            match self.finish(id, outcome.clone()) {
                Ok(wanted) => return Some(wanted),
                Err(e) => failed(e),
            }
            let waited = self.work.wait_timeout_while(self.memory(), pause, |m| !m.stopping);
            if waited.unwrap_or_else(|e| e.into_inner()).0.stopping {
                return None;
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Cancels a job that is not final; says whether that changed anything.
    pub(crate) fn cancel(&self, id: JobId) -> Result<bool, LedgerError> {
        if self.end(id, JobState::Queued, JobState::Cancelled, None)? {
            return Ok(true);
        }
        self.end(id, JobState::Running, JobState::Cancelled, None)
    }

    fn end(
        &self,
        id: JobId,
        from: JobState,
        to: JobState,
        outcome: Option<Outcome>,
    ) -> Result<bool, LedgerError> {
        let mut store = self.writing();
        let job = {
            let memory = self.memory();
            match memory.jobs.get(&id).filter(|j| j.state == from) {
                Some(job) => Job { state: to, finished_ms: Some(now_ms()), outcome, ..job.clone() },
                None => return Ok(false),
            }
        };
        store.commit_jobs(&[(id, Some(&job))])?;
        let mut memory = self.memory();
        memory.queue().remove(&job.client, &id);
        memory.jobs.insert(id, job);
        drop(memory);
        self.changed();
        Ok(true)
    }

    /// A job of this client.
    pub(crate) fn job(&self, client: &str, id: JobId) -> Option<Job> {
        self.memory().jobs.get(&id).filter(|j| j.client == client).cloned()
    }

    /// Jobs of a client, in the order of acceptance.
    pub(crate) fn jobs(&self, client: &str) -> Vec<(JobId, Job)> {
        let memory = self.memory();
        let mut own: Vec<_> =
            memory.jobs.iter().filter(|(_, j)| j.client == client).map(|(id, j)| (*id, j.clone())).collect();
        own.sort_by_key(|(_, j)| j.sequence);
        own
    }

    /// Whether a job has a record.
    pub(crate) fn has_job(&self, id: JobId) -> bool {
        self.memory().jobs.contains_key(&id)
    }

    /// Waiting jobs of all clients.
    pub(crate) fn queued(&self) -> usize {
        self.memory().queue().len()
    }

    /// Drops final jobs that ended before a time, and returns them.
    pub(crate) fn expire_jobs(&self, before_ms: u64) -> Result<Vec<JobId>, LedgerError> {
        self.drop_jobs(|j| j.state.is_final() && j.finished_ms.is_some_and(|t| t < before_ms))
    }

    /// Drops jobs, final or not, and returns them.
    pub(crate) fn drop_jobs(&self, which: impl Fn(&Job) -> bool) -> Result<Vec<JobId>, LedgerError> {
        let mut store = self.writing();
        let ids: Vec<JobId> =
            self.memory().jobs.iter().filter(|(_, j)| which(j)).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        store.commit_jobs(&ids.iter().map(|id| (*id, None)).collect::<Vec<_>>())?;
        let mut memory = self.memory();
        for id in &ids {
            if let Some(job) = memory.jobs.remove(id) {
                memory.queue().remove(&job.client, id);
                job.idempotency.and_then(|name| memory.requests.remove(&(job.client, name)));
            }
        }
        drop(memory);
        self.changed();
        Ok(ids)
    }

    /// A client's keys.
    pub(crate) fn keys(&self, name: &KeyName) -> Option<KeyRecord> {
        self.memory().keys.get(name).cloned()
    }

    /// All keys of a client.
    pub(crate) fn keys_of(&self, client: &str) -> Vec<(Digest, KeyRecord)> {
        let memory = self.memory();
        memory.keys.iter().filter(|((c, _), _)| c == client).map(|((_, d), r)| (*d, r.clone())).collect()
    }

    /// Announces keys, unless there are such or the quota is used up. `begin` runs before anybody sees new ones.
    pub(crate) fn announce_keys(
        &self,
        name: &KeyName,
        record: KeyRecord,
        quota_bytes: u64,
        begin: impl FnOnce(),
    ) -> Result<Announced, LedgerError> {
        let mut store = self.writing();
        {
            let memory = self.memory();
            if let Some(known) = memory.keys.get(name) {
                return Ok(Announced::Known(known.clone()));
            }
            if memory.exceeds(&name.0, record.bytes, quota_bytes) {
                return Ok(Announced::OverQuota);
            }
        }
        begin();
        store.commit_keys(&[(name, Some(&record))])?;
        self.memory().keys.insert(name.clone(), record.clone());
        Ok(Announced::New(record))
    }

    /// Records that announced keys are whole; `None` where they were dropped meanwhile.
    pub(crate) fn complete_keys(
        &self,
        name: &KeyName,
        announced: &KeyRecord,
    ) -> Result<Option<KeyRecord>, LedgerError> {
        let mut store = self.writing();
        // Dropped and announced again, they are others, whose bytes are yet to come.
        let same = |r: &&KeyRecord| !r.complete && r.created_ms == announced.created_ms;
        let Some(known) = self.memory().keys.get(name).filter(same).cloned() else { return Ok(None) };
        let record = KeyRecord { complete: true, used_ms: now_ms(), ..known };
        store.commit_keys(&[(name, Some(&record))])?;
        self.memory().keys.insert(name.clone(), record.clone());
        Ok(Some(record))
    }

    /// Notes that keys are used; that reaches the disk with the next sweep.
    pub(crate) fn touch_keys(&self, name: &KeyName) {
        if let Some(record) = self.memory().keys.get_mut(name) {
            record.used_ms = now_ms();
        }
    }

    /// Drops keys, and returns which; the times of use of the others are committed with it. `remove` takes their files before
    /// anybody can announce the same keys again.
    pub(crate) fn drop_keys(
        &self,
        which: impl Fn(&KeyName, &KeyRecord) -> bool,
        remove: impl Fn(&KeyName),
    ) -> Result<Vec<KeyName>, LedgerError> {
        let mut store = self.writing();
        let all: Vec<(KeyName, KeyRecord)> =
            self.memory().keys.iter().map(|(n, r)| (n.clone(), r.clone())).collect();
        if all.is_empty() {
            return Ok(vec![]);
        }
        let kept = |(n, r): &'_ (KeyName, KeyRecord)| !which(n, r);
        store.commit_keys(
            &all.iter().map(|both| (&both.0, kept(both).then_some(&both.1))).collect::<Vec<_>>(),
        )?;
        let gone: Vec<KeyName> = all.iter().filter(|both| !kept(both)).map(|(n, _)| n.clone()).collect();
        let mut memory = self.memory();
        memory.keys.retain(|name, _| !gone.contains(name));
        memory.keys_went |= !gone.is_empty();
        drop(memory);
        gone.iter().for_each(remove);
        self.work.notify_all();
        Ok(gone)
    }

    /// Bytes that a client's records stand for.
    pub(crate) fn stored_bytes(&self, client: &str) -> u64 {
        self.memory().stored_bytes(client)
    }
}

#[cfg(test)]
mod tests;
