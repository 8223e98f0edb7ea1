//! The file of records, in redb.
//!
//! Relies on redb: a transaction that has been committed survives kill -9 and loss of power, but after an error of the disk no
//! other begins until the file is opened anew. Promises: whatever fails closes the file, and the next commit opens it again;
//! a damaged file is an error that says so, not a panic.

use super::KeyName;
use crate::files;
use crate::record::{Job, JobId, KeyRecord};
use cipherloom_ir::Digest;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const JOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("jobs");
const KEYS: TableDefinition<'_, (&str, &[u8]), &[u8]> = TableDefinition::new("keys");
/// Memory of the database's page cache; the records are in memory anyway.
const CACHE_BYTES: usize = 8 << 20;

/// The database refuses, which is a fault of disk or program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The file's lock is held.
    #[error("another server is at work in this data folder")]
    InUse,
    /// Not what redb writes.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Reading or writing.
    #[error("the database: {0}")]
    Disk(#[from] io::Error),
    /// Anything else.
    #[error("the database: {0}")]
    Other(String),
}

fn wrong(e: impl Into<redb::Error>) -> LedgerError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match e.into() {
        redb::Error::DatabaseAlreadyOpen => LedgerError::InUse,
        redb::Error::Corrupted(what) => LedgerError::Damaged(what),
        redb::Error::Io(e) if [InvalidData, UnexpectedEof].contains(&e.kind()) => {
            LedgerError::Damaged(e.to_string())
        }
        redb::Error::Io(e) => LedgerError::Disk(e),
        redb::Error::PreviousIo => LedgerError::Disk(io::Error::other("the disk failed before")),
        other => LedgerError::Other(other.to_string()),
    }
}

/// The records that a database holds.
#[derive(Default)]
pub(super) struct Records {
    pub(super) jobs: Vec<(JobId, Job)>,
    pub(super) keys: Vec<(KeyName, KeyRecord)>,
}

/// The database, open or to be opened by the next commit.
pub(super) struct Store {
    path: PathBuf,
    database: Option<Database>,
    /// Jobs that nobody was promised, whose failed commit may yet have reached the disk.
    doubtful: Vec<JobId>,
}

impl Store {
    /// Opens or makes the database, and reads it.
    pub(super) fn open(path: &Path) -> Result<(Store, Records), LedgerError> {
        let database = opened(path)?;
        let records = guarded(|| read(&database))?;
        Ok((Store { path: path.to_path_buf(), database: Some(database), doubtful: vec![] }, records))
    }

    /// One transaction, whole or not at all. On every way out but the last the database is dropped, thus closed.
    fn commit(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let database = self.database.take().map_or_else(|| self.reopened(), Ok)?;
        let write = database.begin_write().map_err(wrong)?;
        for id in &self.doubtful {
            write.open_table(JOBS).map_err(wrong)?.remove(&id.0[..]).map_err(wrong)?;
        }
        change(&write)?;
        write.commit().map_err(wrong)?;
        self.doubtful.clear();
        self.database = Some(database);
        Ok(())
    }

    /// Opens the database again; an empty one in place of a file that is gone would lose what it held.
    fn reopened(&self) -> Result<Database, LedgerError> {
        match self.path.try_exists()? {
            true => opened(&self.path),
            false => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }

    /// Commits a new job.
    pub(super) fn add_job(&mut self, id: JobId, job: &Job) -> Result<(), LedgerError> {
        self.commit_jobs(&[(id, Some(job))]).inspect_err(|_| self.doubtful.push(id))
    }

    /// Commits jobs, `None` for those that go.
    pub(super) fn commit_jobs(&mut self, jobs: &[(JobId, Option<&Job>)]) -> Result<(), LedgerError> {
        self.commit(|write| {
            let mut table = write.open_table(JOBS).map_err(wrong)?;
            for (id, job) in jobs {
                match job {
                    Some(job) => drop(table.insert(&id.0[..], &encode(job)?[..]).map_err(wrong)?),
                    None => drop(table.remove(&id.0[..]).map_err(wrong)?),
                }
            }
            Ok(())
        })
    }

    /// Commits keys, `None` for those that go.
    pub(super) fn commit_keys(&mut self, keys: &[(&KeyName, Option<&KeyRecord>)]) -> Result<(), LedgerError> {
        self.commit(|write| {
            let mut table = write.open_table(KEYS).map_err(wrong)?;
            for ((client, digest), record) in keys {
                let name = (client.as_str(), &digest.0[..]);
                match record {
                    Some(record) => drop(table.insert(name, &encode(record)?[..]).map_err(wrong)?),
                    None => drop(table.remove(name).map_err(wrong)?),
                }
            }
            Ok(())
        })
    }

    /// Whether the last transaction did not fail.
    pub(super) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Whether records can be written: after a failure this tries it, for else nothing would before the next request.
    pub(super) fn check(&mut self) -> Result<(), LedgerError> {
        match self.is_open() {
            true => Ok(()),
            false => self.commit(|_| Ok(())),
        }
    }

    /// Closes the database, as a failure does.
    #[cfg(test)]
    pub(super) fn close(&mut self) {
        self.database = None;
    }
}

fn opened(path: &Path) -> Result<Database, LedgerError> {
    files::private_file(path)?;
    guarded(|| {
        let mut builder = Database::builder();
        // Records are few: reading them all at the start is cheaper than trusting a file that was altered.
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create(path).map_err(wrong)?;
        let start = database.begin_write().map_err(wrong)?;
        start.open_table(JOBS).map_err(wrong)?;
        start.open_table(KEYS).map_err(wrong)?;
        start.commit().map_err(wrong)?;
        Ok(database)
    })
}

/// redb panics over some damaged files.
fn guarded<T>(work: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    let contradicting = |_| Err(LedgerError::Damaged("its pages contradict each other".into()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(contradicting)
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(record).map_err(|e| LedgerError::Other(e.to_string()))
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(bytes).map_err(|e| LedgerError::Damaged(format!("a record: {e}")))
}

fn read(database: &Database) -> Result<Records, LedgerError> {
    let mut records = Records::default();
    let read = database.begin_read().map_err(wrong)?;
    for entry in read.open_table(JOBS).map_err(wrong)?.iter().map_err(wrong)? {
        let (id, job) = entry.map_err(wrong)?;
        let id = id.value().try_into().map_err(|_| LedgerError::Damaged("a job's name".into()))?;
        records.jobs.push((JobId(id), decode(job.value())?));
    }
    for entry in read.open_table(KEYS).map_err(wrong)?.iter().map_err(wrong)? {
        let (name, record) = entry.map_err(wrong)?;
        let (client, digest) = name.value();
        let digest = digest.try_into().map_err(|_| LedgerError::Damaged("a key's name".into()))?;
        records.keys.push(((client.to_owned(), Digest(digest)), decode(record.value())?));
    }
    Ok(records)
}
