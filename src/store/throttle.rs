//! A limit on bytes per second, shared by all requests of a store.

use crate::task::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// So much may come at once after a quiet time.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// When everything that was taken so far has been paid for.
    paid: Mutex<Option<Instant>>,
}

impl Throttle {
    /// `None` for no limit (0).
    pub(super) fn new(bytes_per_second: u64) -> Option<Self> {
        (bytes_per_second > 0).then(|| Self { bytes_per_second, paid: Mutex::new(None) })
    }

    /// Takes `bytes`, which have arrived, and waits until that fits the rate. Returns how long it
    /// waited.
    pub(super) async fn take(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let due = {
            let mut paid = lock(&self.paid);
            let from = paid.map_or(now, |paid| paid.max(now.checked_sub(BURST).unwrap_or(now)));
            let due = from + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            *paid = Some(due);
            due
        };
        tokio::time::sleep_until(due).await;
        now.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_to_the_rate_over_several_takers() {
        let throttle = Throttle::new(1 << 20).unwrap();
        let started = Instant::now();
        futures::future::join_all((0..8).map(|_| throttle.take(32 << 10))).await;
        let taken = started.elapsed();
        assert!(taken >= Duration::from_millis(240), "256 KiB at 1 MiB/s in {taken:?}");
        assert!(Throttle::new(0).is_none());
    }
}
