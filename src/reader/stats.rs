//! Counters, for `status` and for tests.

use crate::{Error, Kind};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a reader did; counted as it happens.
#[derive(Debug, Default)]
pub(super) struct ReaderStats {
    pub(super) bytes_fetched: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) requests_in_flight: AtomicU64,
    pub(super) passes: AtomicU64,
    pub(super) passes_running: AtomicU64,
    pub(super) published_used: AtomicU64,
    pub(super) plain_bytes: AtomicU64,
    pub(super) spans_read: AtomicU64,
    pub(super) span_hits: AtomicU64,
    pub(super) file_hits: AtomicU64,
    pub(super) file_misses: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) no_key: AtomicU64,
    pub(super) changed: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) unreachable: AtomicU64,
    pub(super) other_errors: AtomicU64,
}

/// [`ReaderStats`] at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StatsSnapshot {
    /// Object bytes fetched from the store.
    pub bytes_fetched: u64,
    /// Ranges asked for, retries not counted.
    pub requests: u64,
    pub requests_in_flight: u64,
    /// Passes over whole archives that were started.
    pub passes: u64,
    pub passes_running: u64,
    /// Passes that were spared because a seek index was found beside the backups.
    pub published_used: u64,
    /// Plain bytes inflated, in passes and spans.
    pub plain_bytes: u64,
    /// Spans fetched and inflated.
    pub spans_read: u64,
    /// Spans found in memory or in the cache.
    pub span_hits: u64,
    /// Files opened that were whole in the cache.
    pub file_hits: u64,
    pub file_misses: u64,
    /// Errors of passes and spans by kind; everybody who waits for one pass counts once in all.
    pub corrupt: u64,
    pub no_key: u64,
    pub changed: u64,
    pub timed_out: u64,
    pub unreachable: u64,
    pub other_errors: u64,
}

impl ReaderStats {
    pub(super) fn count_error(&self, error: &Error) {
        let counter = match error.kind() {
            Kind::Corrupt => &self.corrupt,
            Kind::NoKey => &self.no_key,
            Kind::Changed => &self.changed,
            Kind::TimedOut => &self.timed_out,
            Kind::Unreachable => &self.unreachable,
            _ => &self.other_errors,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> StatsSnapshot {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        StatsSnapshot {
            bytes_fetched: get(&self.bytes_fetched),
            requests: get(&self.requests),
            requests_in_flight: get(&self.requests_in_flight),
            passes: get(&self.passes),
            passes_running: get(&self.passes_running),
            published_used: get(&self.published_used),
            plain_bytes: get(&self.plain_bytes),
            spans_read: get(&self.spans_read),
            span_hits: get(&self.span_hits),
            file_hits: get(&self.file_hits),
            file_misses: get(&self.file_misses),
            corrupt: get(&self.corrupt),
            no_key: get(&self.no_key),
            changed: get(&self.changed),
            timed_out: get(&self.timed_out),
            unreachable: get(&self.unreachable),
            other_errors: get(&self.other_errors),
        }
    }
}

/// Counts something under way for as long as it lives.
pub(super) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(super) fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
