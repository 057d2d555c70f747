//! Requests that outlast an outage of the store, and requests that nobody waits for any more.
//!
//! A live database that gets an error for a file of its tables may end itself. So what it asks of
//! such a file is asked of the store again until there is an answer, for hours if need be; all
//! other requests fail when the store does. A process in the midst of a request cannot be killed
//! until it has an answer, and fuser passes no interrupts on: so the process is looked at, and a
//! killed one gets its answer at once.

use crate::task::lock;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

/// The store itself is patient in each attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the process that waits is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Said again in the log after this long.
const REMIND: Duration = Duration::from_mins(5);
/// Of SIGKILL in a mask of signals.
const SIGKILL: u64 = 1 << 8;

/// Whether live tables read a file; given its path from the root of the mount.
pub type IsLive = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Which requests wait for how long, and those that do now.
#[derive(Clone, Default)]
pub struct Waits(Option<Arc<Inner>>);

struct Inner {
    is_live: IsLive,
    limit: Duration,
    /// From one attempt to the next.
    pause: Duration,
    next: AtomicU64,
    now: Mutex<BTreeMap<u64, Wait>>,
}

/// A request that waits.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    pub operation: &'static str,
    /// From the root of the mount.
    pub path: String,
    /// The thread that asked, and the program that it belongs to.
    pub pid: u32,
    pub program: String,
    /// Unix seconds.
    pub since: u64,
    /// Why the last attempt failed.
    pub error: String,
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waits").field(&self.0.as_ref().map(|inner| inner.limit)).finish()
    }
}

impl Waits {
    /// Requests for files that `is_live` says so of wait up to `limit`.
    pub fn new(is_live: IsLive, limit: Duration) -> Self {
        Self::with_pause(is_live, limit, PAUSE)
    }

    fn with_pause(is_live: IsLive, limit: Duration, pause: Duration) -> Self {
        Self(Some(Arc::new(Inner { is_live, limit, pause, next: AtomicU64::new(0), now: Mutex::default() })))
    }

    /// The requests that wait now, oldest first.
    pub fn now(&self) -> Vec<Wait> {
        self.0.as_ref().map_or_else(Vec::new, |inner| inner.now().values().cloned().collect())
    }

    /// Makes attempts until one does not fail for want of the store; of a file that no live table
    /// reads, one.
    pub(super) async fn outlast<T, F>(
        &self,
        operation: &'static str,
        pid: u32,
        path: impl Fn() -> String,
        attempt: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let mut entry: Option<Entry<'_>> = None;
        loop {
            let error = match attempt().await {
                Err(error) if may_pass(error.kind()) => error,
                result => {
                    if let Some(entry) = &entry {
                        tracing::info!(operation, path = entry.path, "answered after {} s", began.elapsed().as_secs());
                    }
                    return result;
                }
            };
            let Some(inner) = &self.0 else { return Err(error) };
            let path = path();
            if began.elapsed() >= inner.limit || !(inner.is_live)(Path::new(&path)) {
                return Err(error);
            }
            entry.get_or_insert_with(|| inner.enter(operation, pid, path)).failed(&error, began, inner.limit);
            tokio::time::sleep(inner.pause).await;
        }
    }
}

impl Inner {
    fn now(&self) -> MutexGuard<'_, BTreeMap<u64, Wait>> {
        lock(&self.now)
    }

    fn enter(&self, operation: &'static str, pid: u32, path: String) -> Entry<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let wait = Wait { operation, path: path.clone(), pid, program: program(pid), since, error: String::new() };
        self.now().insert(number, wait);
        Entry { inner: self, number, path, said: None }
    }
}

/// A request in the list; taken out when dropped.
struct Entry<'a> {
    inner: &'a Inner,
    number: u64,
    path: String,
    said: Option<Instant>,
}

impl Entry<'_> {
    fn failed(&mut self, error: &Error, began: Instant, limit: Duration) {
        let mut now = self.inner.now();
        let Some(wait) = now.get_mut(&self.number) else { return };
        wait.error = error.to_string();
        if self.said.is_none_or(|said| said.elapsed() >= REMIND) {
            self.said = Some(Instant::now());
            tracing::warn!(
                operation = wait.operation,
                path = self.path,
                "a live table reads this file: {} (thread {}) has waited for {} s, and waits up to {} s for the store: {error}",
                wait.program,
                wait.pid,
                began.elapsed().as_secs(),
                limit.as_secs()
            );
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.inner.now().remove(&self.number);
    }
}

/// Whether the store may answer later what it did not now.
fn may_pass(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::TimedOut | Kind::Denied)
}

/// The name of a thread's program, or of the thread where that cannot be told.
fn program(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let leader = field("Tgid:").and_then(|tgid| std::fs::read_to_string(format!("/proc/{tgid}/comm")).ok());
    leader.as_deref().map(str::trim).or_else(|| field("Name:")).unwrap_or("?").to_owned()
}

/// Ends once the thread that asked has been killed. Never where it cannot be seen.
pub(super) async fn killed(pid: u32) {
    let mut was_seen = false;
    loop {
        tokio::time::sleep(LOOK).await;
        match std::fs::read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) if has_sigkill(&status) => return,
            Ok(_) => was_seen = true,
            // A process in the midst of a request does not go; but the kernel also reads ahead for
            // it.
            Err(_) if was_seen => return,
            Err(_) => return std::future::pending().await,
        }
    }
}

/// Whether SIGKILL is pending for a thread, or its process.
fn has_sigkill(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & SIGKILL != 0)
}

/// What a killed process is told.
pub(super) fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "the process that asked was killed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const LIMIT: Duration = Duration::from_hours(1);

    fn waits() -> Waits {
        Waits::with_pause(Arc::new(|path| path.starts_with("/live")), LIMIT, Duration::from_millis(1))
    }

    /// Fails so many times.
    async fn read(waits: &Waits, path: &str, kind: Kind, failures: usize) -> (Result<()>, usize) {
        let attempts = AtomicUsize::new(0);
        let attempt = || async {
            match attempts.fetch_add(1, Ordering::Relaxed) {
                made if made < failures => Err(Error::new(kind, "away")),
                _ => Ok(()),
            }
        };
        let result = waits.outlast("read", std::process::id(), || path.to_owned(), attempt).await;
        (result, attempts.into_inner())
    }

    #[tokio::test]
    async fn files_of_live_tables_outlast_an_outage() {
        for kind in [Kind::Unreachable, Kind::TimedOut, Kind::Denied] {
            let (result, attempts) = read(&waits(), "/live/Data.db", kind, 50).await;
            assert!(result.is_ok() && attempts == 51);
        }
    }

    #[tokio::test]
    async fn nothing_else_waits() {
        for (waits, path, kind) in [
            (waits(), "/other/Data.db", Kind::Unreachable),
            (waits(), "/live/Data.db", Kind::Corrupt),
            (waits(), "/live/Data.db", Kind::NotFound),
            (waits(), "/live/Data.db", Kind::Changed),
            (Waits::default(), "/live/Data.db", Kind::Unreachable),
        ] {
            let (result, attempts) = read(&waits, path, kind, 1).await;
            assert_eq!((result.unwrap_err().kind(), attempts), (kind, 1), "{path}");
        }
    }

    #[tokio::test]
    async fn there_is_a_limit_and_a_list() {
        let waits = Waits::with_pause(Arc::new(|_| true), Duration::from_millis(20), Duration::from_millis(1));
        let (result, attempts) = read(&waits, "/live/Data.db", Kind::TimedOut, usize::MAX).await;
        assert!(result.is_err() && attempts > 1 && waits.now().is_empty());
        let waits = self::waits();
        {
            let waiting = read(&waits, "/live/Data.db", Kind::TimedOut, usize::MAX);
            tokio::pin!(waiting);
            assert!(futures::poll!(&mut waiting).is_pending());
            let now = waits.now();
            assert_eq!((now.len(), &*now[0].path, &*now[0].error), (1, "/live/Data.db", "away"));
            assert_ne!(now[0].program, "?");
        }
        assert!(waits.now().is_empty(), "whoever was killed waits no more");
    }

    #[test]
    fn a_pending_kill_is_seen() {
        for (mask, expected) in [
            ("SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000", false),
            ("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000", true),
            ("SigPnd:\t0000000000000000\nShdPnd:\t0000000000000100", true),
            // SIGTERM: a JVM that ends in its own time reads on.
            ("SigPnd:\t0000000000004000\nShdPnd:\t0000000000000000", false),
            ("", false),
        ] {
            assert_eq!(has_sigkill(mask), expected, "{mask}");
        }
        assert!(!has_sigkill(&std::fs::read_to_string("/proc/self/status").unwrap()));
    }
}
