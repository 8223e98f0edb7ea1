//! What all parts of a running server share, and its housekeeping.

use crate::clock::before_now_ms;
use crate::files::DataFolder;
use crate::ledger::{KeyName, Ledger, LedgerError};
use crate::limits::{Rates, Uploads};
use crate::metrics::Metrics;
use crate::models::Models;
use crate::record::{JobId, JobLimits, KeyRecord};
use crate::server::StartError;
use crate::tokens::{TokenFile, Tokens};
use crate::{disk, log};
use cipherloom_ir::Digest;
use cipherloom_ir::scheme::SecurityPolicy;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

/// Until it is looked again whether the disk has room.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Room for records.
const RECORDS_BYTES: u64 = 1 << 20;
/// Room for one job's input and result, at most.
const TRAFFIC_BYTES_MAX: u64 = 64 << 20;

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Memory for circuits and keys, bytes, by their forecasts.
    pub memory_bytes: u64,
    /// Waiting jobs of all clients.
    pub queue: usize,
    /// Unfinished jobs of one client.
    pub queue_per_client: usize,
    /// Stored bytes of one client: keys, inputs, results.
    pub quota_bytes: u64,
    /// Keys that were not used for so long are removed.
    pub keys_kept: Duration,
    /// Jobs that ended so long ago are removed, with their results.
    pub results_kept: Duration,
    /// Requests a second of one client, on average.
    pub requests_per_second: f64,
    /// Bodies received at once.
    pub uploads: usize,
    /// The same of one client.
    pub uploads_per_client: usize,
    /// Longest silence while a body is received.
    pub silence: Duration,
    /// Longest wait that a request may ask for.
    pub wait_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        let day = Duration::from_secs(24 * 3600);
        Settings {
            memory_bytes: 4 << 30,
            queue: 1000,
            queue_per_client: 100,
            // Keys of circuits that bootstrap take more than 4 GB.
            quota_bytes: 16 << 30,
            keys_kept: 30 * day,
            results_kept: day,
            requests_per_second: 200.0,
            uploads: 64,
            uploads_per_client: 16,
            silence: Duration::from_secs(30),
            wait_max: Duration::from_secs(60),
        }
    }
}

/// A running server.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) models: Models,
    pub(crate) ledger: Ledger,
    pub(crate) tokens: Tokens,
    pub(crate) files: DataFolder,
    pub(crate) metrics: Metrics,
    pub(crate) rates: Rates,
    pub(crate) uploads: Uploads,
    /// Keys that are being received or checked: one request at a time may change them.
    receiving: Mutex<BTreeSet<KeyName>>,
    stopping: AtomicBool,
    /// Free space with which work is taken.
    room_bytes: u64,
    /// When it was last looked whether work can be taken, and whether it could.
    looked: Mutex<(Option<Instant>, bool)>,
    /// Held by whoever looks.
    looking: Mutex<()>,
}

impl Service {
    /// Opens models and data folder, and finishes what the last process left undone.
    pub(crate) fn open(
        models: &[PathBuf],
        data: &Path,
        policy: &SecurityPolicy,
        settings: Settings,
    ) -> Result<Service, StartError> {
        let models = Models::open(models, policy)?;
        for model in models.all() {
            let needed = model.program_memory_bytes + model.key_memory_bytes;
            if needed > settings.memory_bytes {
                let (name, budget) = (model.manifest.name.clone(), settings.memory_bytes);
                return Err(StartError::Memory { name, needed, budget });
            }
        }
        let tokens = Tokens::new(TokenFile::open(data)?)?;
        let files = DataFolder::open(data)?;
        let seconds = |model: &Digest| models.get(model).map_or(0.0, |m| m.manifest.forecast.seconds);
        let database = files.database();
        let ledger = Ledger::open(&database, seconds).map_err(|e| {
            let what = e.to_string();
            match e {
                LedgerError::InUse => StartError::InUse,
                LedgerError::Damaged(_) => StartError::Damaged { path: database, what },
                _ => StartError::Storage { path: database, what },
            }
        })?;
        let traffic = models.all().map(|m| &m.manifest.forecast);
        let traffic = traffic.map(|f| f.upload_bytes.saturating_add(f.download_bytes)).max();
        let service = Service {
            room_bytes: RECORDS_BYTES + traffic.unwrap_or(0).min(TRAFFIC_BYTES_MAX),
            // The database has just been written.
            looked: Mutex::new((None, true)),
            looking: Mutex::default(),
            rates: Rates::new(settings.requests_per_second),
            uploads: Uploads::new(settings.uploads, settings.uploads_per_client),
            settings,
            models,
            ledger,
            tokens,
            files,
            metrics: Metrics::default(),
            receiving: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        service.remove_orphans()?;
        Ok(service)
    }

    /// What bounds new jobs.
    pub(crate) fn job_limits(&self) -> JobLimits {
        let s = &self.settings;
        JobLimits { all: s.queue, per_client: s.queue_per_client, quota_bytes: s.quota_bytes }
    }

    /// Whether new work is taken.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether a job would find room on the disk, and a record be written. Anybody may ask, so the answer of a moment ago is
    /// given again, but for a record that has failed since; and nobody waits while another looks.
    pub(crate) fn takes_work(&self) -> bool {
        let looked = || self.looked.lock().unwrap_or_else(|e| e.into_inner());
        let (when, fine) = *looked();
        let recent = when.is_some_and(|when| when.elapsed() < LOOK_AGAIN_AFTER);
        if recent && (!fine || self.ledger.is_open()) {
            return fine;
        }
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => return fine,
        };
        let room = disk::has_room(self.files.root(), self.room_bytes).map_err(LedgerError::from);
        let found = room.and_then(|()| self.ledger.check());
        if let Err(e) = &found {
            log::event("not_ready", &[("error", json!(e.to_string()))]);
        }
        *looked() = (Some(Instant::now()), found.is_ok());
        found.is_ok()
    }

    /// No new work; the evaluating thread ends after its job.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.ledger.stop();
    }

    /// Reserves keys for one request; `None` while another has them.
    pub(crate) fn receive_keys(&self, name: &KeyName) -> Option<Receiving<'_>> {
        let fresh = self.receiving.lock().unwrap_or_else(|e| e.into_inner()).insert(name.clone());
        fresh.then(|| Receiving { service: self, name: name.clone() })
    }

    /// Removes expired keys and jobs, and commits the times at which keys were used.
    pub(crate) fn sweep(&self) -> Result<(), String> {
        let unused = before_now_ms(self.settings.keys_kept);
        let busy = self.receiving.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let keys = self
            .drop_keys(|name, record| record.used_ms < unused && !busy.contains(name))
            .map_err(|e| e.to_string())?;
        let jobs =
            self.ledger.expire_jobs(before_now_ms(self.settings.results_kept)).map_err(|e| e.to_string())?;
        if !keys.is_empty() || !jobs.is_empty() {
            log::event("expired", &[("keys", json!(keys.len())), ("jobs", json!(jobs.len()))]);
        }
        jobs.iter().for_each(|id| self.remove_job_files(*id));
        Ok(())
    }

    /// Removes keys, records and files, and returns which. A file that cannot be removed now goes at the next start.
    pub(crate) fn drop_keys(
        &self,
        which: impl Fn(&KeyName, &KeyRecord) -> bool,
    ) -> Result<Vec<KeyName>, LedgerError> {
        self.ledger.drop_keys(which, |(client, digest)| {
            let _ = disk::remove(&self.files.keys(client, digest));
            let _ = disk::remove(&self.files.partial_keys(client, digest));
        })
    }

    /// Removes the files of a job without a record.
    pub(crate) fn remove_job_files(&self, id: JobId) {
        for path in [self.files.input(id), self.files.output(id), self.files.tries(id)] {
            let _ = disk::remove(&path);
        }
    }

    /// Files without a record: what was never acknowledged, or was to be removed when the last process ended.
    fn remove_orphans(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(self.files.jobs())? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
            let known = ["in", "out", "tries"].iter().any(|e| path.extension().is_some_and(|x| x == *e));
            if !(known && stem.is_some_and(|id| self.ledger.has_job(id))) {
                disk::remove(&path)?;
            }
        }
        for client in std::fs::read_dir(self.files.all_keys())? {
            let client = client?;
            let name = client.file_name().to_string_lossy().into_owned();
            for entry in std::fs::read_dir(client.path())? {
                let path = entry?.path();
                let digest: Option<Digest> =
                    path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
                if digest.is_none_or(|d| self.ledger.keys(&(name.clone(), d)).is_none()) {
                    disk::remove(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// The right to change one set of keys.
pub(crate) struct Receiving<'a> {
    service: &'a Service,
    name: KeyName,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.service.receiving.lock().unwrap_or_else(|e| e.into_inner()).remove(&self.name);
    }
}
