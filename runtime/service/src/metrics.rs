//! Counters for Prometheus, in its text form. They name routes, states and sizes, and no client.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges of the evaluation histogram's buckets, seconds.
const BUCKETS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    jobs: Mutex<BTreeMap<&'static str, u64>>,
    evaluations: Mutex<Histogram>,
    /// Bytes received in bodies.
    pub(crate) received_bytes: AtomicU64,
    /// Forecast bytes of what is in memory.
    pub(crate) resident_bytes: AtomicU64,
    /// Times that keys were read from disk.
    pub(crate) key_pages: AtomicU64,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl Metrics {
    pub(crate) fn request(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(|e| e.into_inner());
        *requests.entry((route.to_owned(), status)).or_default() += 1;
    }

    pub(crate) fn job(&self, event: &'static str) {
        *self.jobs.lock().unwrap_or_else(|e| e.into_inner()).entry(event).or_default() += 1;
    }

    pub(crate) fn evaluated(&self, time: Duration) {
        let mut h = self.evaluations.lock().unwrap_or_else(|e| e.into_inner());
        let seconds = time.as_secs_f64();
        h.counts.iter_mut().zip(BUCKETS).filter(|(_, edge)| seconds <= *edge).for_each(|(n, _)| *n += 1);
        h.sum += seconds;
        h.count += 1;
    }

    /// The text form; `queued` jobs wait, `budget_bytes` bounds the memory.
    pub(crate) fn text(&self, queued: usize, budget_bytes: u64) -> String {
        let mut out = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(out, "{text}");
        };
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        line(format_args!("# TYPE cipherloom_requests_total counter"));
        for ((route, status), n) in self.requests.lock().unwrap_or_else(|e| e.into_inner()).iter() {
            line(format_args!("cipherloom_requests_total{{route=\"{route}\",status=\"{status}\"}} {n}"));
        }
        line(format_args!("# TYPE cipherloom_jobs_total counter"));
        for (event, n) in self.jobs.lock().unwrap_or_else(|e| e.into_inner()).iter() {
            line(format_args!("cipherloom_jobs_total{{event=\"{event}\"}} {n}"));
        }
        line(format_args!("# TYPE cipherloom_evaluation_seconds histogram"));
        {
            let h = self.evaluations.lock().unwrap_or_else(|e| e.into_inner());
            for (edge, n) in BUCKETS.iter().zip(h.counts) {
                line(format_args!("cipherloom_evaluation_seconds_bucket{{le=\"{edge}\"}} {n}"));
            }
            line(format_args!("cipherloom_evaluation_seconds_bucket{{le=\"+Inf\"}} {}", h.count));
            line(format_args!("cipherloom_evaluation_seconds_sum {}", h.sum));
            line(format_args!("cipherloom_evaluation_seconds_count {}", h.count));
        }
        for (name, kind, value) in [
            ("jobs_queued", "gauge", queued as u64),
            ("memory_budget_bytes", "gauge", budget_bytes),
            ("memory_forecast_bytes", "gauge", load(&self.resident_bytes)),
            ("key_pages_total", "counter", load(&self.key_pages)),
            ("received_bytes_total", "counter", load(&self.received_bytes)),
        ] {
            line(format_args!("# TYPE cipherloom_{name} {kind}\ncipherloom_{name} {value}"));
        }
        out
    }
}
