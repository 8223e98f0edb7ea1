//! The wall clock: it decides expiry alone, and never reaches a result.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The time so long ago.
pub(crate) fn before_now_ms(age: Duration) -> u64 {
    now_ms().saturating_sub(age.as_millis() as u64)
}
