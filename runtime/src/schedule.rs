//! Runs the nodes of a circuit, in parallel or one by one: a node starts when its operands are there, a value is freed at its
//! last use. Every node is a pure function, so the result does not depend on the order.

use cipherloom_ir::{Circuit, ValueId};
use rayon::Scope;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Dependences of a circuit, computed once.
pub(crate) struct Schedule {
    /// For each node, the number of different values it waits for.
    waits: Vec<u32>,
    /// For each value, the nodes that read it.
    readers: Vec<Vec<u32>>,
    /// Outputs count as one more use.
    is_output: Vec<bool>,
}

/// Which nodes run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// All whose operands are there.
    Parallel,
    /// One, in the circuit's order; it may use all threads.
    OneByOne,
}

/// What the scheduler calls for each node: operands in order to results in order.
pub(crate) type Apply<'a, V, E> = dyn Fn(usize, &[Arc<V>]) -> Result<Vec<V>, E> + Sync + 'a;

struct Run<'a, V, E> {
    circuit: &'a Circuit,
    schedule: &'a Schedule,
    apply: &'a Apply<'a, V, E>,
    values: Vec<Mutex<Option<Arc<V>>>>,
    uses: Vec<AtomicU32>,
    waits: Vec<AtomicU32>,
    failed: AtomicBool,
    error: Mutex<Option<(usize, E)>>,
}

impl Schedule {
    pub(crate) fn new(circuit: &Circuit) -> Schedule {
        let mut readers = vec![Vec::new(); circuit.values()];
        let mut is_output = vec![false; circuit.values()];
        let mut waits = Vec::with_capacity(circuit.nodes.len());
        for (node, n) in circuit.nodes.iter().enumerate() {
            let operands = distinct(n.op.operands());
            waits.push(operands.len() as u32);
            operands.iter().for_each(|v| readers[v.0 as usize].push(node as u32));
        }
        for v in circuit.outputs.iter().flat_map(|o| &o.values) {
            is_output[v.0 as usize] = true;
        }
        Schedule { waits, readers, is_output }
    }

    /// Runs all nodes on the current rayon pool. Of several failing nodes the first in circuit order that was
    /// seen is reported.
    pub(crate) fn run<V, E>(
        &self,
        circuit: &Circuit,
        order: Order,
        apply: &Apply<'_, V, E>,
    ) -> Result<Vec<Arc<V>>, (usize, E)>
    where
        V: Send + Sync,
        E: Send,
    {
        let uses = self
            .readers
            .iter()
            .zip(&self.is_output)
            .map(|(r, o)| AtomicU32::new(r.len() as u32 + u32::from(*o)));
        let run = Run {
            circuit,
            schedule: self,
            apply,
            values: (0..circuit.values()).map(|_| Mutex::new(None)).collect(),
            uses: uses.collect(),
            waits: self.waits.iter().map(|w| AtomicU32::new(*w)).collect(),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        };
        match order {
            Order::OneByOne => (0..circuit.nodes.len()).for_each(|node| drop(run.node(node))),
            Order::Parallel => rayon::scope(|scope| {
                for node in (0..circuit.nodes.len()).filter(|n| self.waits[*n] == 0) {
                    let run = &run;
                    scope.spawn(move |scope| run.node_and_readers(node, scope));
                }
            }),
        }
        if let Some(error) = run.error.into_inner().expect(LOCK) {
            return Err(error);
        }
        let value = |v: &ValueId| run.values[v.0 as usize].lock().expect(LOCK).clone().expect(ORDER);
        Ok(circuit.outputs.iter().flat_map(|o| &o.values).map(value).collect())
    }
}

const LOCK: &str = "no thread panics while it holds a value's lock";
const ORDER: &str = "a node runs after the nodes that define its operands";

impl<V: Send + Sync, E: Send> Run<'_, V, E> {
    fn node_and_readers<'s>(&'s self, node: usize, scope: &Scope<'s>) {
        // The last spawned task runs first on this thread: keep circuit order.
        for reader in self.node(node).into_iter().rev() {
            scope.spawn(move |scope| self.node_and_readers(reader, scope));
        }
    }

    /// Evaluates a node; returns the readers that waited for it alone.
    fn node(&self, node: usize) -> Vec<usize> {
        if self.failed.load(Ordering::Acquire) {
            return vec![];
        }
        let n = &self.circuit.nodes[node];
        let ids = n.op.operands();
        let operands: Vec<Arc<V>> =
            ids.iter().map(|v| self.values[v.0 as usize].lock().expect(LOCK).clone().expect(ORDER)).collect();
        let results = (self.apply)(node, &operands);
        drop(operands);
        for v in distinct(ids) {
            self.release(v);
        }
        match results {
            Ok(results) => self.publish(n.first, results),
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                let mut first = self.error.lock().expect(LOCK);
                if first.as_ref().is_none_or(|(at, _)| node < *at) {
                    *first = Some((node, error));
                }
                vec![]
            }
        }
    }

    fn release(&self, v: ValueId) {
        if self.uses[v.0 as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.values[v.0 as usize].lock().expect(LOCK) = None;
        }
    }

    fn publish(&self, first: ValueId, results: Vec<V>) -> Vec<usize> {
        let mut ready = Vec::new();
        for (k, result) in results.into_iter().enumerate() {
            let id = first.0 as usize + k;
            if self.uses[id].load(Ordering::Acquire) > 0 {
                *self.values[id].lock().expect(LOCK) = Some(Arc::new(result));
            }
            for &reader in &self.schedule.readers[id] {
                if self.waits[reader as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
                    ready.push(reader as usize);
                }
            }
        }
        ready
    }
}

fn distinct(mut values: Vec<ValueId>) -> Vec<ValueId> {
    values.sort_unstable();
    values.dedup();
    values
}
