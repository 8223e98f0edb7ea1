//! Whose job is next: fair between clients, first come first served within one.
//!
//! Start-time fair queueing over predicted seconds: every client has a virtual time, which grows by the forecast of each of
//! its jobs that is taken; the waiting client with the smallest is next. A client that comes back starts no earlier than the
//! one served last, so nobody saves up time, and one with a thousand jobs delays another one's first by one evaluation.

use std::collections::{BTreeMap, VecDeque};

/// The order of waiting jobs; `J` names a job.
#[derive(Debug)]
pub(crate) struct FairQueue<J> {
    clients: BTreeMap<String, Line<J>>,
    /// Virtual time of the job taken last.
    now: f64,
}

#[derive(Debug)]
struct Line<J> {
    time: f64,
    jobs: VecDeque<(J, f64)>,
}

impl<J: PartialEq> FairQueue<J> {
    pub(crate) fn new() -> FairQueue<J> {
        FairQueue { clients: BTreeMap::new(), now: 0.0 }
    }

    /// Appends a job that is predicted to take so many seconds.
    pub(crate) fn push(&mut self, client: &str, job: J, seconds: f64) {
        let now = self.now;
        let line = self
            .clients
            .entry(client.to_owned())
            .or_insert_with(|| Line { time: now, jobs: VecDeque::new() });
        if line.jobs.is_empty() {
            line.time = line.time.max(now);
        }
        line.jobs.push_back((job, seconds));
    }

    /// Takes the next job.
    pub(crate) fn pop(&mut self) -> Option<J> {
        let waiting = self.clients.values_mut().filter(|l| !l.jobs.is_empty());
        let line = waiting.min_by(|a, b| a.time.total_cmp(&b.time))?;
        let (job, seconds) = line.jobs.pop_front()?;
        self.now = line.time;
        // A damaged forecast must not turn the time back.
        line.time += seconds.max(0.0);
        // A client whose time has passed is as good as new.
        let now = self.now;
        self.clients.retain(|_, l| !l.jobs.is_empty() || l.time > now);
        Some(job)
    }

    /// Takes a waiting job out; says whether it was there.
    pub(crate) fn remove(&mut self, client: &str, job: &J) -> bool {
        let Some(line) = self.clients.get_mut(client) else { return false };
        let before = line.jobs.len();
        line.jobs.retain(|(j, _)| j != job);
        line.jobs.len() != before
    }

    /// Waiting jobs.
    pub(crate) fn len(&self) -> usize {
        self.clients.values().map(|l| l.jobs.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_client_delays_another_by_one_job() {
        let mut queue = FairQueue::new();
        (0..1000).for_each(|k| queue.push("flood", k, 1.0));
        assert_eq!(queue.pop(), Some(0));
        queue.push("other", 5000, 1.0);
        queue.push("other", 5001, 1.0);
        let next: Vec<i32> = (0..4).filter_map(|_| queue.pop()).collect();
        assert!(next.contains(&5000) && next.contains(&5001), "{next:?}");
        assert!(next.iter().filter(|k| **k < 1000).eq([1, 2].iter()), "in order within a client");
    }

    #[test]
    fn time_is_shared_by_seconds_not_by_jobs() {
        let mut queue = FairQueue::new();
        (0..100).for_each(|k| queue.push("short", k, 1.0));
        (100..200).for_each(|k| queue.push("long", k, 10.0));
        let first: Vec<i32> = (0..44).filter_map(|_| queue.pop()).collect();
        assert_eq!(first.iter().filter(|k| **k >= 100).count(), 4, "{first:?}");
    }

    #[test]
    fn a_negative_forecast_gives_no_turn_before_others() {
        let mut queue = FairQueue::new();
        (0..10).for_each(|k| queue.push("negative", k, -1e9));
        (10..20).for_each(|k| queue.push("other", k, 1.0));
        let first: Vec<i32> = (0..15).filter_map(|_| queue.pop()).collect();
        assert!(queue.now >= 0.0 && first.iter().any(|k| *k >= 10), "{first:?}");
    }

    #[test]
    fn idleness_is_not_saved_up_and_removal_works() {
        let mut queue = FairQueue::new();
        (0..10).for_each(|k| queue.push("a", k, 1.0));
        (0..10).for_each(|_| assert!(queue.pop().is_some()));
        (0..3).for_each(|k| queue.push("b", k, 1.0));
        assert!(queue.remove("b", &1) && !queue.remove("b", &1) && !queue.remove("c", &1));
        assert_eq!((queue.len(), queue.pop(), queue.pop(), queue.pop()), (2, Some(0), Some(2), None));
    }
}
