//! Who uses which content: a lease keeps an inode's content alive and its files open, whatever
//! happens to its names.

use super::state::Body;
use super::upper::Upper;
use crate::descriptors::Permit;
use crate::task::lock;
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Content in use: what is behind an inode, opened once for all who use it.
#[derive(Default)]
pub(super) struct Slot {
    /// The content in the scratch directory, once there is one.
    pub(super) file: OnceLock<Arc<File>>,
    /// For its descriptor.
    permit: OnceLock<Permit>,
    /// The backup's content, once someone needed it.
    pub(super) backup: tokio::sync::OnceCell<Arc<dyn OpenFile>>,
    /// Held while the content changes: one copy-up, write or truncation at a time.
    pub(super) edit: Arc<tokio::sync::Mutex<()>>,
}

impl Slot {
    /// Takes what the content's descriptor needs before it is opened.
    ///
    /// # Errors
    /// [`Kind::TooManyFiles`].
    pub(super) fn permit(&self) -> Result<()> {
        if self.permit.get().is_none() {
            let _ = self.permit.set(Permit::to_write()?);
        }
        Ok(())
    }
}

/// The upper layer, if there is one, with the leases on contents.
#[derive(Default)]
pub(super) struct Leases {
    pub(super) upper: Option<Upper>,
    slots: Mutex<HashMap<u64, (Arc<Slot>, usize)>>,
}

impl Leases {
    pub(super) fn new(upper: Option<Upper>) -> Self {
        Self { upper, ..Self::default() }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Slot>, usize)>> {
        lock(&self.slots)
    }

    /// Whether someone uses content of the scratch directory.
    pub(super) fn has_own_in_use(&self) -> bool {
        self.slots().values().any(|(slot, _)| slot.file.get().is_some())
    }

    pub(super) fn is_used(&self, ino: u64) -> bool {
        self.slots().contains_key(&ino)
    }

    /// Takes a lease. [`Kind::Changed`] if the last name and user of the inode have gone.
    pub(super) fn take(self: &Arc<Self>, ino: u64) -> Result<Lease> {
        let slot = {
            let mut slots = self.slots();
            let (slot, leases) = slots.entry(ino).or_default();
            *leases += 1;
            slot.clone()
        };
        let lease = Lease { ino, slot, owner: self.clone() };
        let freed = self.upper.as_ref().is_some_and(|upper| {
            matches!(upper.state().inodes.get(&ino).map(|inode| &inode.body), Some(Body::File { freed: true, .. }))
        });
        if freed { Err(Error::new(Kind::Changed, "the file was removed")) } else { Ok(lease) }
    }

    /// Deletes the content of an inode that has no name and no user any more.
    pub(super) fn free_if_unused(&self, ino: u64) {
        let Some(upper) = &self.upper else { return };
        let slots = self.slots();
        if slots.contains_key(&ino) {
            return;
        }
        let size = {
            let mut state = upper.state_mut();
            let Some(inode) = state.inodes.get_mut(&ino).filter(|inode| inode.names == 0) else { return };
            let Body::File { size, freed: freed @ false } = &mut inode.body else { return };
            *freed = true;
            std::mem::take(size)
        };
        upper.dir.remove_content(ino);
        upper.budget.release(size);
    }
}

/// One user of an inode's content.
pub struct Lease {
    pub(super) ino: u64,
    pub(super) slot: Arc<Slot>,
    owner: Arc<Leases>,
}

impl Lease {
    /// The backup's content as far as it was opened and still is what a reader gets.
    pub fn backup(&self) -> Option<&Arc<dyn OpenFile>> {
        if self.slot.file.get().is_some() { None } else { self.slot.backup.get() }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("ino", &format_args!("{:#x}", self.ino)).finish_non_exhaustive()
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        if let Some((_, leases)) = self.owner.slots().get_mut(&self.ino) {
            *leases += 1;
        }
        Self { ino: self.ino, slot: self.slot.clone(), owner: self.owner.clone() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last = {
            let mut slots = self.owner.slots();
            let Some((_, leases)) = slots.get_mut(&self.ino) else { return };
            *leases -= 1;
            let last = *leases == 0;
            if last {
                slots.remove(&self.ino);
            }
            last
        };
        let nameless = |upper: &Upper| upper.state().inodes.get(&self.ino).is_some_and(|inode| inode.names == 0);
        if !last || !self.owner.upper.as_ref().is_some_and(nameless) {
            return;
        }
        let (owner, ino) = (self.owner.clone(), self.ino);
        // Deleting a large file takes a while: not on a thread that serves requests.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || owner.free_if_unused(ino))),
            Err(_) => owner.free_if_unused(ino),
        }
    }
}
