//! The files that the kernel has open, per inode: what keeps their content, and who reads it.
//!
//! The kernel refuses to open an inode through passthrough while it is open otherwise, and the other way round, and
//! wants one backing id per inode. So how an inode is read is decided by its first open and kept until its last close.
//! No handle has state of its own: after a restart, a read of an inode that is not known here just opens it again.

use crate::scratch::Lease;
use crate::{Error, Kind, Result};
use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an open for writing waits for the last close of a reader that goes past us: closes are reported late.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Every handle is this one: reads and writes are told apart by inode.
const HANDLE: FileHandle = FileHandle(0);

struct Opened {
    lease: Lease,
    handles: usize,
    /// Where the kernel reads the content itself.
    backing: Option<BackingId>,
}

pub(super) struct OpenFiles {
    opened: Mutex<HashMap<u64, Opened>>,
    closed: Notify,
    /// Cleared for good when the kernel refuses.
    passthrough: AtomicBool,
}

impl OpenFiles {
    pub(super) fn new() -> Self {
        Self { opened: Mutex::default(), closed: Notify::new(), passthrough: AtomicBool::new(false) }
    }

    pub(super) fn allow_passthrough(&self) {
        self.passthrough.store(true, Ordering::Relaxed);
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<u64, Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease of an open inode.
    pub(super) fn lease(&self, ino: u64) -> Option<Lease> {
        self.opened().get(&ino).map(|opened| opened.lease.clone())
    }

    /// Waits until nobody reads the inode past us, for its content is about to change. [`Kind::Busy`] if someone goes
    /// on reading.
    pub(super) async fn wait_for_change(&self, ino: u64) -> Result<()> {
        let is_free = || self.opened().get(&ino).is_none_or(|opened| opened.backing.is_none());
        let wait = async {
            loop {
                let closed = self.closed.notified();
                if is_free() {
                    return;
                }
                closed.await;
            }
        };
        let busy = |_| Error::new(Kind::Busy, "the file is being read and cannot be changed");
        tokio::time::timeout(CLOSE_GRACE, wait).await.map_err(busy)
    }

    /// Answers an open. `write`: it may change the content.
    pub(super) fn open(&self, lease: Lease, ino: u64, write: bool, reply: ReplyOpen) {
        let mut opened = self.opened();
        let entry = opened.entry(ino).or_insert_with(|| {
            let backing = if write { None } else { self.open_backing(&lease, &reply) };
            Opened { lease, handles: 0, backing }
        });
        match &entry.backing {
            // Someone opened it for reading since this open looked.
            Some(_) if write => reply.error(super::errno::errno(Kind::Busy)),
            Some(backing) => {
                entry.handles += 1;
                // No other flag: there are no cached pages to keep, and the kernel refuses to be told of them.
                reply.opened_passthrough(HANDLE, FopenFlags::empty(), backing);
            }
            None => {
                entry.handles += 1;
                reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
            }
        }
    }

    /// Counts a file that was made and opened at once.
    pub(super) fn created(&self, lease: Lease, ino: u64) -> FileHandle {
        self.opened().entry(ino).or_insert(Opened { lease, handles: 0, backing: None }).handles += 1;
        HANDLE
    }

    fn open_backing(&self, lease: &Lease, reply: &ReplyOpen) -> Option<BackingId> {
        if !self.passthrough.load(Ordering::Relaxed) {
            return None;
        }
        let file = lease.backup()?.backing()?;
        match reply.open_backing(file) {
            Ok(backing) => Some(backing),
            Err(error) => {
                // No permission, or a file system it cannot read through (overlayfs): reads come to us instead.
                tracing::debug!(%error, "the kernel does not read cached files itself");
                self.passthrough.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    pub(super) fn close(&self, ino: u64) {
        let last = {
            let mut opened = self.opened();
            // Unknown: opened by a process before this one.
            let Some(entry) = opened.get_mut(&ino) else { return };
            entry.handles -= 1;
            if entry.handles == 0 { opened.remove(&ino) } else { None }
        };
        drop(last);
        self.closed.notify_waiters();
    }
}

/// Directory handles, each with the listing it is being read from.
pub(super) struct OpenDirectories<T>(Mutex<HashMap<u64, Arc<T>>>);

impl<T> OpenDirectories<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, handle: u64) -> Option<Arc<T>> {
        self.opened().get(&handle).cloned()
    }

    pub(super) fn pin(&self, handle: u64, listing: Arc<T>) {
        self.opened().insert(handle, listing);
    }

    pub(super) fn close(&self, handle: u64) {
        self.opened().remove(&handle);
    }
}
