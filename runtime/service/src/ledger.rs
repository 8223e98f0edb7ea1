//! The records of keys and jobs: what is promised to clients, in a transactional database, and the queue made from it.
//!
//! Relies on redb: a transaction that has been committed survives kill -9 and loss of power. Promises, in this order: a
//! record is committed before it is acknowledged or seen by anyone; a job is in the queue exactly if its record says
//! *queued* and no evaluation has it; a job leaves *queued* once. Which job is running is not on disk: after a restart it
//! is queued again, and since evaluation is a pure function its result is the same. Above the soft cap of lines: all that one
//! lock protects stands together.

use crate::clock::now_ms;
use crate::queue::FairQueue;
use crate::record::{Accepted, Job, JobId, KeyRecord, Outcome, QueueLimits, Request, Work};
use cipherloom_ir::Digest;
use cipherloom_ir::wire::JobState;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

const JOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("jobs");
const KEYS: TableDefinition<'_, (&str, &[u8]), &[u8]> = TableDefinition::new("keys");
/// Memory of the database's page cache; the records are in memory anyway.
const CACHE_BYTES: usize = 8 << 20;

/// The database refuses, which is a fault of disk or program.
#[derive(Debug, thiserror::Error)]
#[error("the database: {0}")]
pub(crate) struct LedgerError(pub(crate) String);

fn wrong(e: impl Into<redb::Error>) -> LedgerError {
    LedgerError(e.into().to_string())
}

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
}

/// The records.
pub(crate) struct Ledger {
    database: Database,
    /// Held by whoever changes the database, through to the change in memory.
    writing: Mutex<()>,
    memory: Mutex<Memory>,
    /// Signals work, or the end, to the evaluating thread.
    work: Condvar,
    changes: watch::Sender<u64>,
}

impl Ledger {
    /// Opens or makes the database; jobs that were not finished are queued again, in the order of their acceptance.
    /// `seconds` forecasts the evaluation of a model.
    pub(crate) fn open(path: &Path, seconds: impl Fn(&Digest) -> f64) -> Result<Ledger, LedgerError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(wrong)?;
        let start = database.begin_write().map_err(wrong)?;
        start.open_table(JOBS).map_err(wrong)?;
        start.open_table(KEYS).map_err(wrong)?;
        start.commit().map_err(wrong)?;
        let mut memory = read(&database)?;
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
            database,
            writing: Mutex::new(()),
            memory: Mutex::new(memory),
            work: Condvar::new(),
            changes: watch::channel(0).0,
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Counts changes of jobs' states.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Commits jobs, `None` for those that go.
    fn commit_jobs(&self, jobs: &[(JobId, Option<&Job>)]) -> Result<(), LedgerError> {
        let write = self.database.begin_write().map_err(wrong)?;
        {
            let mut table = write.open_table(JOBS).map_err(wrong)?;
            for (id, job) in jobs {
                match job {
                    Some(job) => {
                        let bytes = encode(job)?;
                        table.insert(&id.0[..], &bytes[..]).map_err(wrong)?;
                    }
                    None => drop(table.remove(&id.0[..]).map_err(wrong)?),
                }
            }
        }
        write.commit().map_err(wrong)
    }

    /// Commits keys, `None` for those that go.
    fn commit_keys(&self, keys: &[(&KeyName, Option<&KeyRecord>)]) -> Result<(), LedgerError> {
        let write = self.database.begin_write().map_err(wrong)?;
        {
            let mut table = write.open_table(KEYS).map_err(wrong)?;
            for ((client, digest), record) in keys {
                let name = (client.as_str(), &digest.0[..]);
                match record {
                    Some(record) => {
                        let bytes = encode(record)?;
                        table.insert(name, &bytes[..]).map_err(wrong)?;
                    }
                    None => drop(table.remove(name).map_err(wrong)?),
                }
            }
        }
        write.commit().map_err(wrong)
    }

    /// Whether a request would wait too long in line to be worth its upload.
    pub(crate) fn is_full(&self, client: &str, limits: QueueLimits) -> bool {
        let mut memory = self.memory();
        memory.queue().len() >= limits.all || memory.waiting(client) >= limits.per_client
    }

    /// Accepts a job whose input is durable as that of `id`; when it returns `New`, so is the job.
    pub(crate) fn accept(
        &self,
        id: JobId,
        request: Request,
        limits: QueueLimits,
    ) -> Result<Accepted, LedgerError> {
        let _writing = self.writing();
        let name = request.idempotency.clone().map(|name| (request.client.clone(), name));
        let sequence = {
            let mut memory = self.memory();
            if let Some(known) = name.as_ref().and_then(|n| memory.requests.get(n)).copied() {
                let job = &memory.jobs[&known];
                let same = (job.model, job.keys, job.input) == (request.model, request.keys, request.input);
                return Ok(if same { Accepted::Repeated(known) } else { Accepted::Reused });
            }
            if memory.queue().len() >= limits.all || memory.waiting(&request.client) >= limits.per_client {
                return Ok(Accepted::Full);
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
        self.commit_jobs(&[(id, Some(&job))])?;
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
        let _writing = self.writing();
        let job = {
            let memory = self.memory();
            match memory.jobs.get(&id).filter(|j| j.state == from) {
                Some(job) => Job { state: to, finished_ms: Some(now_ms()), outcome, ..job.clone() },
                None => return Ok(false),
            }
        };
        self.commit_jobs(&[(id, Some(&job))])?;
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
        let _writing = self.writing();
        let ids: Vec<JobId> =
            self.memory().jobs.iter().filter(|(_, j)| which(j)).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        self.commit_jobs(&ids.iter().map(|id| (*id, None)).collect::<Vec<_>>())?;
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

    /// Announces or completes keys.
    pub(crate) fn put_keys(&self, name: &KeyName, record: KeyRecord) -> Result<(), LedgerError> {
        let _writing = self.writing();
        self.commit_keys(&[(name, Some(&record))])?;
        self.memory().keys.insert(name.clone(), record);
        Ok(())
    }

    /// Notes that keys are used; that reaches the disk with the next sweep.
    pub(crate) fn touch_keys(&self, name: &KeyName) {
        if let Some(record) = self.memory().keys.get_mut(name) {
            record.used_ms = now_ms();
        }
    }

    /// Drops keys, and returns which; the times of use of the others are committed with it.
    pub(crate) fn drop_keys(
        &self,
        which: impl Fn(&KeyName, &KeyRecord) -> bool,
    ) -> Result<Vec<KeyName>, LedgerError> {
        let _writing = self.writing();
        let all: Vec<(KeyName, KeyRecord)> =
            self.memory().keys.iter().map(|(n, r)| (n.clone(), r.clone())).collect();
        if all.is_empty() {
            return Ok(vec![]);
        }
        let kept = |(n, r): &'_ (KeyName, KeyRecord)| !which(n, r);
        self.commit_keys(
            &all.iter().map(|both| (&both.0, kept(both).then_some(&both.1))).collect::<Vec<_>>(),
        )?;
        let gone: Vec<KeyName> = all.iter().filter(|both| !kept(both)).map(|(n, _)| n.clone()).collect();
        let mut memory = self.memory();
        memory.keys.retain(|name, _| !gone.contains(name));
        memory.keys_went |= !gone.is_empty();
        drop(memory);
        self.work.notify_all();
        Ok(gone)
    }

    /// Bytes that a client's records stand for.
    pub(crate) fn stored_bytes(&self, client: &str) -> u64 {
        let memory = self.memory();
        let keys: u64 = memory.keys.iter().filter(|((c, _), _)| c == client).map(|(_, r)| r.bytes).sum();
        let jobs = memory.jobs.values().filter(|j| j.client == client).map(|j| match &j.outcome {
            Some(Outcome::Result { bytes, .. }) => *bytes,
            Some(Outcome::Failure { .. }) => 0,
            None => j.input_bytes,
        });
        keys + jobs.sum::<u64>()
    }
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(record).map_err(|e| LedgerError(e.to_string()))
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(bytes).map_err(|e| LedgerError(format!("a record is damaged: {e}")))
}

/// Everything in the database.
fn read(database: &Database) -> Result<Memory, LedgerError> {
    let mut memory = Memory::default();
    let read = database.begin_read().map_err(wrong)?;
    for entry in read.open_table(JOBS).map_err(wrong)?.iter().map_err(wrong)? {
        let (id, job) = entry.map_err(wrong)?;
        let id = id.value().try_into().map_err(|_| LedgerError("a job's name is damaged".into()))?;
        let job: Job = decode(job.value())?;
        memory.sequence = memory.sequence.max(job.sequence + 1);
        if let Some(name) = &job.idempotency {
            memory.requests.insert((job.client.clone(), name.clone()), JobId(id));
        }
        memory.jobs.insert(JobId(id), job);
    }
    for entry in read.open_table(KEYS).map_err(wrong)?.iter().map_err(wrong)? {
        let (name, record) = entry.map_err(wrong)?;
        let (client, digest) = name.value();
        let digest = digest.try_into().map_err(|_| LedgerError("a key's name is damaged".into()))?;
        memory.keys.insert((client.to_owned(), Digest(digest)), decode(record.value())?);
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(client: &str, name: Option<&str>, input: u8) -> Request {
        let digest = Digest([7; 32]);
        Request {
            client: client.into(),
            model: digest,
            keys: digest,
            idempotency: name.map(str::to_owned),
            input: Digest([input; 32]),
            input_bytes: 10,
            seconds: 1.0,
        }
    }

    const LIMITS: QueueLimits = QueueLimits { all: 4, per_client: 3 };

    fn accept(ledger: &Ledger, client: &str, name: Option<&str>, input: u8) -> Accepted {
        ledger.accept(JobId::random().unwrap(), request(client, name, input), LIMITS).unwrap()
    }

    #[test]
    fn accepted_jobs_outlive_the_process_and_end_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let done = Outcome::Result { digest: Digest([1; 32]), bytes: 5, evaluation_ms: 1.0 };
        let (first, second);
        {
            let ledger = Ledger::open(&path, |_| 1.0).unwrap();
            let Accepted::New(a) = accept(&ledger, "a", Some("x"), 1) else { panic!("accepted") };
            let Accepted::New(b) = accept(&ledger, "a", None, 2) else { panic!("accepted") };
            (first, second) = (a, b);
            assert!(matches!(accept(&ledger, "a", Some("x"), 1), Accepted::Repeated(id) if id == a));
            assert!(matches!(accept(&ledger, "a", Some("x"), 9), Accepted::Reused));
            assert!(matches!(accept(&ledger, "b", Some("x"), 9), Accepted::New(_)), "names are per client");
            assert!(matches!(accept(&ledger, "a", None, 3), Accepted::New(_)));
            assert!(matches!(accept(&ledger, "a", None, 4), Accepted::Full));
            assert!(!ledger.finish(a, done.clone()).unwrap(), "a job that nobody took cannot end");
            assert!(matches!(ledger.next(), Work::Evaluate(id, _) if id == a));
            assert!(ledger.job("b", a).is_none(), "another client's job is none");
        }
        let ledger = Ledger::open(&path, |_| 1.0).unwrap();
        assert_eq!(ledger.queued(), 4, "the one that was running waits again");
        assert!(matches!(accept(&ledger, "a", Some("x"), 1), Accepted::Repeated(id) if id == first));
        assert!(matches!(ledger.next(), Work::Evaluate(id, _) if id == first));
        assert!(ledger.finish(first, done.clone()).unwrap());
        assert!(!ledger.finish(first, done.clone()).unwrap(), "once");
        assert!(ledger.cancel(second).unwrap() && !ledger.cancel(second).unwrap());
        assert_eq!(ledger.expire_jobs(u64::MAX).unwrap().len(), 2);
        drop(ledger);
        let ledger = Ledger::open(&path, |_| 1.0).unwrap();
        assert_eq!((ledger.queued(), ledger.jobs("a").len(), ledger.jobs("b").len()), (2, 1, 1));
    }

    #[test]
    fn keys_come_and_go_with_their_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let record =
            KeyRecord { model: Digest([1; 32]), bytes: 9, complete: true, created_ms: 1, used_ms: 1 };
        let name = |client: &str| (client.to_owned(), Digest([2; 32]));
        {
            let ledger = Ledger::open(&path, |_| 1.0).unwrap();
            ledger.put_keys(&name("a"), record.clone()).unwrap();
            ledger.put_keys(&name("b"), record).unwrap();
            ledger.touch_keys(&name("b"));
            assert_eq!(ledger.drop_keys(|_, r| r.used_ms < 2).unwrap(), [name("a")]);
        }
        let ledger = Ledger::open(&path, |_| 1.0).unwrap();
        assert!(ledger.keys(&name("a")).is_none() && ledger.keys(&name("b")).unwrap().used_ms > 1);
        assert_eq!((ledger.stored_bytes("a"), ledger.stored_bytes("b")), (0, 9));
    }
}
