//! Progress events and the per-op trace of an evaluation. Events carry times and names, never values.

use std::sync::Mutex;
use std::time::Duration;

/// A node that has been evaluated.
#[derive(Clone, Copy, Debug)]
pub struct NodeEvent<'a> {
    /// Index of the node in the circuit.
    pub node: usize,
    /// Name of its op.
    pub op: &'static str,
    /// Layer of the model.
    pub origin: &'a str,
    /// Nodes in the circuit.
    pub nodes: usize,
    /// Wall-clock time of this node.
    pub elapsed: Duration,
}

/// Receives events, from any thread.
pub trait Observer: Sync {
    /// Called once per node, after it.
    fn node_done(&self, event: &NodeEvent<'_>);
}

/// Ignores all events.
pub struct Silent;

impl Observer for Silent {
    fn node_done(&self, _: &NodeEvent<'_>) {}
}

/// One line of a [`Trace`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct TraceRow {
    /// Index of the node.
    pub node: usize,
    /// Name of its op.
    pub op: &'static str,
    /// Layer of the model.
    pub origin: String,
    /// Wall-clock time, milliseconds.
    pub elapsed_ms: f64,
}

/// Collects one row per node.
#[derive(Default)]
pub struct Trace(Mutex<Vec<TraceRow>>);

impl Trace {
    /// Rows in node order.
    pub fn rows(&self) -> Vec<TraceRow> {
        let mut rows = self.0.lock().expect("no observer panics while it holds the lock").clone();
        rows.sort_by_key(|r| r.node);
        rows
    }
}

impl Observer for Trace {
    fn node_done(&self, event: &NodeEvent<'_>) {
        let row = TraceRow {
            node: event.node,
            op: event.op,
            origin: event.origin.to_owned(),
            elapsed_ms: event.elapsed.as_secs_f64() * 1e3,
        };
        self.0.lock().expect("no observer panics while it holds the lock").push(row);
    }
}
