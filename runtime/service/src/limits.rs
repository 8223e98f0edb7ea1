//! How fast and how much: rates of requests, sizes and silences of bodies.

use crate::error::{Kind, Refusal};
use crate::service::Service;
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A body that is slower on average is given up.
const BYTES_PER_SECOND_MIN: f64 = 4096.0;
/// A client may save up requests of so many seconds.
const BURST_S: f64 = 4.0;

/// How much of a refused body is read.
const DRAINED_BYTES_MAX: usize = 64 << 20;
/// And for how long.
const DRAINED_FOR: Duration = Duration::from_secs(2);

/// Token buckets, one a client.
pub(crate) struct Rates {
    per_second: f64,
    buckets: Mutex<BTreeMap<String, (f64, Instant)>>,
}

impl Rates {
    pub(crate) fn new(per_second: f64) -> Rates {
        Rates { per_second, buckets: Mutex::default() }
    }

    /// Counts a request; seconds to wait where there are too many.
    pub(crate) fn take(&self, client: &str) -> Result<(), u32> {
        let (now, full) = (Instant::now(), self.per_second * BURST_S);
        let mut buckets = self.buckets.lock().unwrap_or_else(|e| e.into_inner());
        let (left, since) = buckets.entry(client.to_owned()).or_insert((full, now));
        *left = (*left + now.duration_since(*since).as_secs_f64() * self.per_second).min(full);
        *since = now;
        match *left >= 1.0 {
            true => {
                *left -= 1.0;
                Ok(())
            }
            false => Err(((1.0 - *left) / self.per_second).ceil() as u32),
        }
    }
}

/// Bodies that are being received, of all clients and of each.
pub(crate) struct Uploads {
    all: usize,
    per_client: usize,
    open: Mutex<BTreeMap<String, usize>>,
}

impl Uploads {
    pub(crate) fn new(all: usize, per_client: usize) -> Uploads {
        Uploads { all, per_client, open: Mutex::default() }
    }

    /// The right to one more upload, until it is dropped; `None` where there are too many.
    pub(crate) fn take<'a>(&'a self, client: &str) -> Option<Upload<'a>> {
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        let own = open.get(client).copied().unwrap_or(0);
        if own >= self.per_client || open.values().sum::<usize>() >= self.all {
            return None;
        }
        open.insert(client.to_owned(), own + 1);
        Some(Upload { uploads: self, client: client.to_owned() })
    }
}

/// The right to one upload.
pub(crate) struct Upload<'a> {
    uploads: &'a Uploads,
    client: String,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let mut open = self.uploads.open.lock().unwrap_or_else(|e| e.into_inner());
        match open.get_mut(&self.client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(open.remove(&self.client)),
        }
    }
}

/// Receives a client's body of at most `limit_bytes` piece by piece, and returns its size.
pub(crate) async fn receive(
    service: &Service,
    client: &str,
    body: Body,
    limit_bytes: u64,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, Refusal> {
    let Some(_upload) = service.uploads.take(client) else {
        drain(body).await;
        return Err(Refusal::busy("body", "too many uploads at once", 1));
    };
    let silence = service.settings.silence;
    let (start, mut received, mut body) = (Instant::now(), 0u64, body);
    loop {
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, Kind::Resources, "body", "comes too slowly");
        let Ok(frame) = tokio::time::timeout(silence, body.frame()).await else { return Err(slow()) };
        let Some(frame) = frame else { return Ok(received) };
        let frame = frame.map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, Kind::Resources, "body", "the connection broke off")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len() as u64;
        if received > limit_bytes {
            drain(body).await;
            return Err(Refusal::too_large("body", limit_bytes));
        }
        sink(&data).map_err(|e| Refusal::disk(&e))?;
        service.metrics.received_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        let allowed = silence + Duration::from_secs_f64(received as f64 / BYTES_PER_SECOND_MIN);
        if start.elapsed() > allowed {
            return Err(slow());
        }
    }
}

/// Reads on for a while what nobody wants: a connection that is closed over unread bytes is reset, and the client would never
/// read why.
pub(crate) async fn drain(mut body: Body) {
    let read = async {
        let mut left = DRAINED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len()));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DRAINED_FOR, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let rates = Rates::new(2.0);
        assert_eq!((0..20).filter(|_| rates.take("a").is_ok()).count(), 8);
        assert_eq!(rates.take("a"), Err(1));
        assert!(rates.take("b").is_ok());
    }

    #[test]
    fn one_client_cannot_take_all_uploads() {
        let uploads = Uploads::new(4, 2);
        let first: Vec<_> = (0..3).filter_map(|_| uploads.take("a")).collect();
        assert_eq!(first.len(), 2);
        let others: Vec<_> = ["b", "b", "c"].iter().filter_map(|c| uploads.take(c)).collect();
        assert_eq!(others.len(), 2, "all together are bounded too");
        drop(first);
        assert!(uploads.take("a").is_some());
        drop(others);
        assert!(uploads.open.lock().unwrap().is_empty(), "nobody who has gone is remembered");
    }
}
