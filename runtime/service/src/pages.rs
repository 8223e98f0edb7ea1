//! What is in memory: prepared circuits and clients' keys, paged by a budget.
//!
//! Relies on the circuits' forecasts. One evaluation runs at a time, so what is in use is one circuit and one set of keys;
//! the least recently used others make room. Promises: the sum of forecasts in memory stays within the budget.

use crate::ledger::KeyName;
use crate::models::Model;
use cipherloom_ir::Digest;
use cipherloom_runtime::files::{FileError, read_keys};
use cipherloom_runtime::{KeySet, Options, Program, RuntimeError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

/// Why a job cannot have its memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("the evaluation takes {needed} bytes of memory, the server's budget is {budget}")]
    Budget { needed: u64, budget: u64 },
    #[error("the evaluation keys: {0}")]
    Keys(#[from] FileError),
    #[error("the evaluation keys cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PageName {
    Program(Digest),
    Keys(KeyName),
}

enum Page {
    Program(Arc<Program>),
    Keys(Arc<KeySet>),
}

struct Entry {
    page: Page,
    bytes: u64,
    used: u64,
}

/// The pages in memory.
pub(crate) struct Pages {
    budget: u64,
    entries: BTreeMap<PageName, Entry>,
    clock: u64,
}

/// What one evaluation works with.
pub(crate) struct Loaded {
    pub(crate) program: Arc<Program>,
    pub(crate) keys: Arc<KeySet>,
    /// Whether the keys had to be read.
    pub(crate) paged_in: bool,
}

impl Pages {
    pub(crate) fn new(budget_bytes: u64) -> Pages {
        Pages { budget: budget_bytes, entries: BTreeMap::new(), clock: 0 }
    }

    /// Forecast bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.values().map(|e| e.bytes).sum()
    }

    /// Brings a circuit and keys into memory, others out where they would not fit.
    pub(crate) fn load(&mut self, model: &Model, name: &KeyName, path: &Path) -> Result<Loaded, PageError> {
        self.clock += 1;
        let program_name = PageName::Program(model.manifest.circuit);
        let keys_name = PageName::Keys(name.clone());
        let needed = model.program_memory_bytes + model.key_memory_bytes;
        if needed > self.budget {
            return Err(PageError::Budget { needed, budget: self.budget });
        }
        let mut missing = needed;
        for (page, bytes) in
            [(&program_name, model.program_memory_bytes), (&keys_name, model.key_memory_bytes)]
        {
            if let Some(entry) = self.entries.get_mut(page) {
                entry.used = self.clock;
                missing -= bytes;
            }
        }
        self.make_room(missing, &[&program_name, &keys_name]);
        let options = Options::default();
        let program = match self.entries.get(&program_name) {
            Some(Entry { page: Page::Program(program), .. }) => program.clone(),
            _ => {
                let context = Program::context(&model.circuit, &options)?;
                let mut program = Program::new(model.circuit.clone(), context, options);
                program.prepare()?;
                let program = Arc::new(program);
                self.keep(program_name, Page::Program(program.clone()), model.program_memory_bytes);
                program
            }
        };
        let paged_in = !self.entries.contains_key(&keys_name);
        let keys = match self.entries.get(&keys_name) {
            Some(Entry { page: Page::Keys(keys), .. }) => keys.clone(),
            _ => {
                let file = BufReader::with_capacity(1 << 20, File::open(path)?);
                let (circuit, context) = (program.circuit(), program.ring());
                let keys = read_keys(file, circuit, &model.manifest.circuit, context)?;
                let keys = Arc::new(KeySet::new(context, &circuit.keys, keys)?);
                self.keep(keys_name, Page::Keys(keys.clone()), model.key_memory_bytes);
                keys
            }
        };
        Ok(Loaded { program, keys, paged_in })
    }

    /// Drops keys that have no record any more.
    pub(crate) fn retain_keys(&mut self, exists: impl Fn(&KeyName) -> bool) {
        self.entries.retain(|name, _| match name {
            PageName::Keys(name) => exists(name),
            PageName::Program(_) => true,
        });
    }

    fn keep(&mut self, name: PageName, page: Page, bytes: u64) {
        self.entries.insert(name, Entry { page, bytes, used: self.clock });
    }

    fn make_room(&mut self, bytes: u64, pinned: &[&PageName]) {
        while self.bytes().saturating_add(bytes) > self.budget {
            let others = self.entries.iter().filter(|(name, _)| !pinned.contains(name));
            let Some(oldest) = others.min_by_key(|(_, e)| e.used).map(|(name, _)| name.clone()) else {
                break;
            };
            self.entries.remove(&oldest);
        }
    }
}
