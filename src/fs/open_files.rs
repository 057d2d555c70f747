//! The files that the kernel has open: what keeps their content, and who reads it. On disk as well,
//! for the process that takes over.
//!
//! The kernel refuses to open an inode through passthrough while it is open otherwise, and the
//! other way round, and wants one backing id per inode. So how an inode is read is decided by its
//! first open and kept until its last close.
//!
//! A handle is the number of the request that opened it. So an open that the kernel sends again,
//! because the process that did it was killed before its answer, gets the same handle, and a close
//! that is sent again finds nothing left to do.

use super::backing::{self, Registrar};
use super::record::{Record, Recording};
use crate::scratch::{Lease, Overlay};
use crate::task::lock;
use crate::view::View;
use crate::{Error, Kind, Result};
use fuser::{FileHandle, FopenFlags, ReplyOpen};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// Name of the record.
const RECORD: &str = "open";
/// How long an open for writing waits for the last close of a reader that goes past us: closes are
/// reported late.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

struct OpenedFile {
    /// `None`: it was opened by a process before this one, and its content has been removed.
    lease: Option<Lease>,
    handles: usize,
    /// Where the kernel reads the content itself.
    backing: Option<u32>,
}

/// Variants and fields are part of the on-disk format: append, never reorder.
#[derive(Serialize, Deserialize)]
enum Change {
    Opened { handle: u64, ino: u64, backing: Option<u32> },
    Closed { handle: u64 },
}

#[derive(Default)]
struct Table {
    handles: HashMap<u64, u64>,
    opened: HashMap<u64, OpenedFile>,
    record: Option<Record<Change>>,
}

pub(super) struct OpenFiles {
    table: Mutex<Table>,
    closed: Notify,
    registrar: Arc<dyn Registrar>,
    /// Cleared for good when the kernel refuses.
    passthrough: Arc<AtomicBool>,
}

impl OpenFiles {
    /// With what an earlier process of the same mount had open: its content stays in use.
    pub(super) fn new<V: View>(
        overlay: &Overlay<V>,
        registrar: Arc<dyn Registrar>,
        recording: &Recording,
    ) -> Result<Self> {
        let (record, changes) = Record::open(recording, RECORD)?;
        let mut table = Table { record, ..Table::default() };
        for change in changes {
            match change {
                Change::Opened { handle, ino, backing } => table.add(handle, ino, backing, || {
                    let held = overlay.hold(ino);
                    if let Err(error) = &held {
                        tracing::warn!("inode {ino:x}, which is open, is looked for anew: {error}");
                    }
                    held.ok()
                }),
                Change::Closed { handle } => drop(table.remove(handle)),
            }
        }
        Ok(Self { table: Mutex::new(table), closed: Notify::new(), registrar, passthrough: Arc::default() })
    }

    pub(super) fn allow_passthrough(&self) {
        self.passthrough.store(true, Ordering::Relaxed);
    }

    /// Whether the kernel reads cached files itself, as far as is known now.
    pub(super) fn passthrough(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.passthrough)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// The lease of an open inode.
    pub(super) fn lease(&self, ino: u64) -> Option<Lease> {
        self.table().opened.get(&ino).and_then(|opened| opened.lease.clone())
    }

    /// Waits until nobody reads the inode past us, for its content is about to change.
    /// [`Kind::Busy`] if someone goes on reading.
    pub(super) async fn wait_for_change(&self, ino: u64) -> Result<()> {
        let is_free = || self.table().opened.get(&ino).is_none_or(|opened| opened.backing.is_none());
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

    /// Answers an open by request `handle`. `write`: it may change the content.
    pub(super) fn open(&self, lease: Lease, ino: u64, handle: u64, write: bool, reply: ReplyOpen) {
        let mut table = self.table();
        let backing = match table.opened.get(&ino) {
            Some(opened) => opened.backing,
            None if write => None,
            None => self.open_backing(&lease),
        };
        if write && backing.is_some() {
            // Someone opened it for reading since this open looked.
            return reply.error(super::errno::errno(Kind::Busy));
        }
        table.open(handle, ino, backing, lease);
        match backing {
            Some(id) => backing::opened(reply, FileHandle(handle), id),
            None => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    /// Counts a file that was made and opened at once.
    pub(super) fn created(&self, lease: Lease, ino: u64, handle: u64) -> FileHandle {
        self.table().open(handle, ino, None, lease);
        FileHandle(handle)
    }

    fn open_backing(&self, lease: &Lease) -> Option<u32> {
        if !self.passthrough.load(Ordering::Relaxed) {
            return None;
        }
        let file = lease.backup()?.backing()?;
        match self.registrar.open(file.as_fd()) {
            Ok(backing) => Some(backing),
            Err(error) => {
                // No permission, or a file system it cannot read through (overlayfs): reads come to
                // us instead.
                tracing::debug!(%error, "the kernel does not read cached files itself");
                self.passthrough.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    pub(super) fn close(&self, handle: u64) {
        let last = {
            let mut table = self.table();
            let last = table.remove(handle);
            table.note(Change::Closed { handle });
            // After it is noted: an id that is closed must not be found by a later process.
            if let Some(id) = last.as_ref().and_then(|opened| opened.backing)
                && let Err(error) = self.registrar.close(id)
            {
                tracing::debug!(id, %error, "the kernel keeps a cached file open");
            }
            last
        };
        drop(last);
        self.closed.notify_waiters();
    }
}

impl Table {
    fn open(&mut self, handle: u64, ino: u64, backing: Option<u32>, lease: Lease) {
        self.add(handle, ino, backing, || Some(lease));
        self.note(Change::Opened { handle, ino, backing });
    }

    fn add(&mut self, handle: u64, ino: u64, backing: Option<u32>, lease: impl FnOnce() -> Option<Lease>) {
        if self.handles.insert(handle, ino).is_none() {
            self.opened.entry(ino).or_insert_with(|| OpenedFile { lease: lease(), handles: 0, backing }).handles += 1;
        }
    }

    /// The file, if this was its last handle.
    fn remove(&mut self, handle: u64) -> Option<OpenedFile> {
        // Unknown: its close was done already, by a process that was killed before it could say so.
        let ino = self.handles.remove(&handle)?;
        let entry = self.opened.get_mut(&ino)?;
        entry.handles -= 1;
        if entry.handles == 0 { self.opened.remove(&ino) } else { None }
    }

    fn note(&mut self, change: Change) {
        let Self { handles, opened, record } = self;
        if let Some(record) = record {
            let all = handles.iter().map(|(&handle, ino)| {
                let backing = opened.get(ino).and_then(|opened| opened.backing);
                Change::Opened { handle, ino: *ino, backing }
            });
            record.append(&[change], || all);
        }
    }
}

/// Directory handles, each with the listing it is being read from.
pub(super) struct OpenDirectories<T>(Mutex<HashMap<u64, Arc<T>>>);

impl<T> OpenDirectories<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        lock(&self.0)
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
