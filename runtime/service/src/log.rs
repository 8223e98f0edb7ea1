//! One JSON object a line on standard error. Promises: names, sizes, times and states; never payloads, tokens or digests of
//! tokens. A line that cannot be written is lost, not an error.

use crate::clock::now_ms;
use serde_json::{Map, Value};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing.
    Quiet,
    /// One line an event.
    Events,
}

/// Sets what is written by the whole process.
pub fn set(verbosity: Verbosity) {
    QUIET.store(verbosity == Verbosity::Quiet, Ordering::Relaxed);
}

/// Writes an event with its facts.
pub(crate) fn event(name: &str, facts: &[(&str, Value)]) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let mut line = Map::new();
    line.insert("time_ms".into(), now_ms().into());
    line.insert("event".into(), name.into());
    line.extend(facts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    let _ = writeln!(std::io::stderr().lock(), "{}", Value::Object(line));
}
