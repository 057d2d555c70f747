//! How many descriptors this process may have, and who may hold them for long.
//!
//! A leaf. A file that a program has open needs a descriptor of ours only while it is read; holding
//! one spares an open for each read. So half of what the system allows may be held for readers, and
//! a quarter for files that programs write. The rest is for what has to work whatever programs have
//! open: the store's connections, listings, the cache.

use crate::{Error, Kind, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the system sets no limit.
const MOST: u64 = 1 << 20;

/// Takes all that the system allows. The limit that processes begin with (mostly 1,024) is for
/// programs that use `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it cannot be had, fewer are held.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// A share of the process's descriptors.
#[derive(Debug)]
struct Share {
    held: AtomicUsize,
    /// What the limit is divided by.
    part: u64,
}

static READERS: Share = Share { held: AtomicUsize::new(0), part: 2 };
static WRITERS: Share = Share { held: AtomicUsize::new(0), part: 4 };

/// The right to hold one descriptor, until this is dropped.
#[derive(Debug)]
pub struct Permit(&'static Share);

impl Permit {
    /// For a file that can be opened again for each read. `None`: so many are held that it should
    /// be.
    pub fn to_read() -> Option<Self> {
        READERS.take(limit())
    }

    /// For a file that is written.
    ///
    /// # Errors
    /// [`Kind::TooManyFiles`].
    pub fn to_write() -> Result<Self> {
        WRITERS.take(limit()).ok_or_else(|| {
            let held = limit() / WRITERS.part;
            let message = format!("programs have {held} changed files open; more descriptors: ulimit -n, LimitNOFILE=");
            Error::new(Kind::TooManyFiles, message)
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    fn take(&'static self, limit: u64) -> Option<Permit> {
        let most = usize::try_from(limit / self.part).unwrap_or(usize::MAX);
        let more = |held: usize| (held < most).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Permit(self))
    }
}

/// Descriptors that the process may have. Asked once, after [`raise_limit`].
fn limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_exceeded_and_is_given_back() {
        static SHARE: Share = Share { held: AtomicUsize::new(0), part: 4 };
        let mut held: Vec<Permit> = std::iter::from_fn(|| SHARE.take(40)).take(100).collect();
        assert_eq!(held.len(), 10);
        held.pop();
        assert!(SHARE.take(40).is_some());
        drop(held);
        assert_eq!(SHARE.held.load(Ordering::Relaxed), 0);
    }
}
