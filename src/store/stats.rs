//! Counters: what was asked of the store, for `status` and for tests that bound it.

use crate::task::lock;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many names are remembered of those left out; the rest is only counted.
const REMEMBERED: usize = 100;
/// … and of those that may be part of a backup.
const LOST_REMEMBERED: usize = 10_000;

/// What was asked of a store since it was opened. Requests count every attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Pages of listings.
    pub list_requests: u64,
    pub head_requests: u64,
    /// Ranges.
    pub get_requests: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Names that listings left out, each time they met them.
    pub skipped_names: u64,
}

impl StoreStats {
    pub fn requests(&self) -> u64 {
        self.list_requests + self.head_requests + self.get_requests
    }
}

/// A name in the source that cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedName {
    /// Printable.
    pub name: String,
    /// Why, and what to do about it where something can be done.
    pub reason: Cow<'static, str>,
    /// It may be part of a backup.
    pub may_hold_backups: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    list: AtomicU64,
    head: AtomicU64,
    get: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
    skipped: AtomicU64,
    names: Mutex<SkippedNames>,
}

#[derive(Debug, Default)]
struct SkippedNames {
    list: Vec<SkippedName>,
    known: HashSet<String>,
    /// Of names that hold no backups, and of those that may.
    counts: [usize; 2],
}

impl Counters {
    pub(super) fn list(&self) {
        self.list.fetch_add(1, Relaxed);
    }

    pub(super) fn head(&self) {
        self.head.fetch_add(1, Relaxed);
    }

    pub(super) fn get(&self) {
        self.get.fetch_add(1, Relaxed);
    }

    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// A listing leaves `name` out, which no backup would have.
    pub(super) fn skip(&self, name: &str, reason: &'static str) {
        self.leave_out(name, reason.into(), false);
    }

    /// A listing leaves `name` out, though it may be part of a backup.
    pub(super) fn lose(&self, name: &str, reason: Cow<'static, str>) {
        self.leave_out(name, reason, true);
    }

    fn leave_out(&self, name: &str, reason: Cow<'static, str>, may_hold_backups: bool) {
        self.skipped.fetch_add(1, Relaxed);
        let name = name.escape_debug().to_string();
        let mut names = lock(&self.names);
        let most = if may_hold_backups { LOST_REMEMBERED } else { REMEMBERED };
        if names.counts[usize::from(may_hold_backups)] < most && names.known.insert(name.clone()) {
            // What to do about it, who needs all names says in the end.
            let what = reason.split(": ").next().unwrap_or_default();
            tracing::warn!("{name} in the source cannot be shown: {what}");
            names.counts[usize::from(may_hold_backups)] += 1;
            names.list.push(SkippedName { name, reason, may_hold_backups });
        }
    }

    pub(super) fn skipped_names(&self) -> Vec<SkippedName> {
        lock(&self.names).list.clone()
    }

    pub(super) fn snapshot(&self) -> StoreStats {
        StoreStats {
            list_requests: self.list.load(Relaxed),
            head_requests: self.head.load(Relaxed),
            get_requests: self.get.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            retries: self.retries.load(Relaxed),
            skipped_names: self.skipped.load(Relaxed),
        }
    }
}
