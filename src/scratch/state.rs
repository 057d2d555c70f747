//! The names and attributes of the scratch layer as a plain value: no I/O, changed only by
//! [`Record`]s.
//!
//! What a process knows is exactly what its journal says, so replaying the journal gives the same
//! state.

use super::record::{Change, Moment, NewBody, Record};
use crate::view::NodeKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Set in the inode numbers that this layer gives out, never in those of the backup.
pub(crate) const SCRATCH_BIT: u64 = 1 << 63;

/// What is behind an inode that this layer knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    /// Content in a file of the scratch directory. `freed`: unlinked and no longer open, the
    /// content is gone.
    File {
        size: u64,
        freed: bool,
    },
    /// Still the backup's content, with attributes or names of our own; `path` leads from the root
    /// of the tree to it.
    Backup {
        kind: NodeKind,
        path: Vec<Vec<u8>>,
        size: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inode {
    pub(super) body: Body,
    /// `None` where the mount's own mode, uid or gid applies.
    pub(super) mode: Option<u16>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) atime: Moment,
    pub(super) mtime: Moment,
    pub(super) ctime: Moment,
    /// Names that lead here; for directories 1 while it exists.
    pub(super) names: u32,
}

impl Inode {
    pub(super) fn kind(&self) -> NodeKind {
        match &self.body {
            Body::Directory => NodeKind::Directory,
            Body::Symlink { .. } => NodeKind::Symlink,
            Body::File { .. } => NodeKind::File,
            Body::Backup { kind, .. } => *kind,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.body {
            Body::Directory => 0,
            Body::Symlink { target } => target.len() as u64,
            Body::File { size, .. } | Body::Backup { size, .. } => *size,
        }
    }
}

/// A name in the upper layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Name {
    /// The backup's entry of this name is hidden.
    Whiteout,
    /// `shadows`: the backup has this name too, so removing it must leave a whiteout.
    Node { ino: u64, shadows: bool },
}

/// What the upper layer has to say about one directory, of the backup or of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<Vec<u8>, Name>,
    /// Nothing of the backup shows through.
    pub(super) opaque: bool,
    /// Removed; someone may still be in it, but nothing can be created there.
    pub(super) removed: bool,
    pub(super) subdirectories: u32,
    /// Time of the last change of names, for directories without an [`Inode`].
    pub(super) changed: Option<Moment>,
}

/// What the upper layer knows of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpperEntry {
    Node {
        ino: u64,
        shadows: bool,
    },
    /// Not there; `whiteout`: because the backup's was removed.
    Absent {
        whiteout: bool,
    },
    /// Ask the backup.
    Below,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) inodes: HashMap<u64, Inode>,
    pub(super) dirs: HashMap<u64, Dir>,
    /// Inode numbers are never given twice, so the kernel can never take one node for another.
    given: u64,
    /// All names of all directories, whiteouts included.
    entries: usize,
}

impl State {
    pub(super) fn seen(&self, dir: u64, name: &[u8]) -> UpperEntry {
        let Some(dir) = self.dirs.get(&dir) else { return UpperEntry::Below };
        match dir.names.get(name) {
            Some(&Name::Node { ino, shadows }) => UpperEntry::Node { ino, shadows },
            Some(Name::Whiteout) => UpperEntry::Absent { whiteout: true },
            None if dir.opaque => UpperEntry::Absent { whiteout: false },
            None => UpperEntry::Below,
        }
    }

    /// The inode a name leads to, given what the backup has there (`below`).
    pub(super) fn resolve(&self, dir: u64, name: &[u8], below: Option<u64>) -> Option<u64> {
        match self.seen(dir, name) {
            UpperEntry::Node { ino, .. } => Some(ino),
            UpperEntry::Absent { .. } => None,
            UpperEntry::Below => below,
        }
    }

    /// Whether removing this name must leave a whiteout.
    pub(super) fn needs_whiteout(&self, dir: u64, name: &[u8]) -> bool {
        match self.seen(dir, name) {
            UpperEntry::Node { shadows, .. } => shadows,
            UpperEntry::Absent { whiteout } => whiteout,
            UpperEntry::Below => true,
        }
    }

    pub(super) fn is_removed(&self, dir: u64) -> bool {
        self.dirs.get(&dir).is_some_and(|dir| dir.removed)
    }

    /// Whether a directory shows nothing, when the backup shows `below` in it.
    pub(super) fn is_empty<'a>(&self, dir: u64, mut below: impl Iterator<Item = &'a [u8]>) -> bool {
        let Some(upper) = self.dirs.get(&dir) else { return below.next().is_none() };
        let has_own = upper.names.values().any(|name| matches!(name, Name::Node { .. }));
        !has_own && (upper.opaque || below.all(|name| upper.names.contains_key(name)))
    }

    /// Names and inodes kept in memory: what the limit on names counts.
    pub(super) fn weight(&self) -> usize {
        self.entries + self.inodes.len()
    }

    pub(super) fn next_ino(&self) -> u64 {
        SCRATCH_BIT | (self.given + 1)
    }

    /// An empty layer that goes on counting inode numbers where this one stopped.
    pub(super) fn emptied(&self) -> Self {
        Self { given: self.given, ..Self::default() }
    }

    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Snapshot(state) => *self = (**state).clone(),
            Record::Adopt { ino, kind, path, size, mtime } => {
                let body = Body::Backup { kind: *kind, path: path.clone(), size: *size };
                let (mode, uid, gid) = (None, None, None);
                let inode = Inode { body, mode, uid, gid, atime: *mtime, mtime: *mtime, ctime: *mtime, names: 1 };
                self.inodes.entry(*ino).or_insert(inode);
            }
            Record::Create { dir, name, shadows, ino, body, mode, uid, gid, at } => {
                self.given = self.given.max(ino & !SCRATCH_BIT);
                let body = match body {
                    NewBody::File => Body::File { size: 0, freed: false },
                    NewBody::Directory => Body::Directory,
                    NewBody::Symlink(target) => Body::Symlink { target: target.clone() },
                };
                if body == Body::Directory {
                    self.dirs.insert(*ino, Dir { opaque: true, ..Dir::default() });
                }
                let (uid, gid) = (Some(*uid), *gid);
                let inode = Inode { body, mode: Some(*mode), uid, gid, atime: *at, mtime: *at, ctime: *at, names: 1 };
                self.inodes.insert(*ino, inode);
                self.put(*dir, name, Name::Node { ino: *ino, shadows: *shadows }, *at);
            }
            Record::Link { dir, name, shadows, ino, at } => {
                if let Some(inode) = self.inodes.get_mut(ino) {
                    inode.names += 1;
                    inode.ctime = *at;
                }
                self.put(*dir, name, Name::Node { ino: *ino, shadows: *shadows }, *at);
            }
            Record::Remove { dir, name, ino, whiteout, is_dir, at } => {
                self.take(*dir, name, *whiteout, *at);
                self.unname(*ino, *is_dir, *at);
            }
            Record::Rename { from, from_name, to, to_name, ino, whiteout, shadows, replaced, at } => {
                self.take(*from, from_name, *whiteout, *at);
                if let Some((ino, is_dir)) = replaced {
                    self.unname(*ino, *is_dir, *at);
                }
                self.put(*to, to_name, Name::Node { ino: *ino, shadows: *shadows }, *at);
                if let Some(inode) = self.inodes.get_mut(ino) {
                    inode.ctime = *at;
                }
            }
            Record::SetAttr { ino, change, at } => self.set_attr(*ino, change, *at),
            Record::CopiedUp { ino, size } => {
                if let Some(inode) = self.inodes.get_mut(ino) {
                    inode.body = Body::File { size: *size, freed: false };
                }
            }
            Record::Forget { ino } => {
                if self.inodes.get(ino).is_some_and(|inode| inode.names == 0) {
                    self.inodes.remove(ino);
                    if ino & SCRATCH_BIT != 0
                        && let Some(dir) = self.dirs.remove(ino)
                    {
                        self.entries -= dir.names.len();
                    }
                }
            }
        }
    }

    fn set_attr(&mut self, ino: u64, change: &Change, at: Moment) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        inode.mode = change.mode.or(inode.mode);
        inode.uid = change.uid.or(inode.uid);
        inode.gid = change.gid.or(inode.gid);
        inode.atime = change.atime.unwrap_or(inode.atime);
        inode.mtime = change.mtime.unwrap_or(inode.mtime);
        inode.ctime = at;
    }

    fn put(&mut self, dir: u64, name: &[u8], entry: Name, at: Moment) {
        let is_dir = self.leads_to_directory(entry);
        let upper = self.dirs.entry(dir).or_default();
        let old = upper.names.insert(name.to_vec(), entry);
        self.entries += usize::from(old.is_none());
        upper.subdirectories += u32::from(is_dir);
        if let Some(old) = old
            && self.leads_to_directory(old)
        {
            self.lose_subdirectory(dir);
        }
        self.touch(dir, at);
    }

    fn take(&mut self, dir: u64, name: &[u8], whiteout: bool, at: Moment) {
        let upper = self.dirs.entry(dir).or_default();
        let old = if whiteout { upper.names.insert(name.to_vec(), Name::Whiteout) } else { upper.names.remove(name) };
        match (whiteout, old.is_some()) {
            (true, false) => self.entries += 1,
            (false, true) => self.entries -= 1,
            _ => {}
        }
        if let Some(old) = old
            && self.leads_to_directory(old)
        {
            self.lose_subdirectory(dir);
        }
        self.touch(dir, at);
    }

    fn leads_to_directory(&self, name: Name) -> bool {
        match name {
            Name::Node { ino, .. } => self.inodes.get(&ino).is_some_and(|inode| inode.kind() == NodeKind::Directory),
            Name::Whiteout => false,
        }
    }

    fn lose_subdirectory(&mut self, dir: u64) {
        if let Some(upper) = self.dirs.get_mut(&dir) {
            upper.subdirectories = upper.subdirectories.saturating_sub(1);
        }
    }

    /// One name less leads to `ino`.
    fn unname(&mut self, ino: u64, is_dir: bool, at: Moment) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.names = inode.names.saturating_sub(1);
            inode.ctime = at;
        }
        if is_dir {
            // Whiteouts in it are of no use any more; what remains says that nothing is there.
            let old = self.dirs.insert(ino, Dir { opaque: true, removed: true, ..Dir::default() });
            self.entries -= old.map_or(0, |dir| dir.names.len());
        }
    }

    /// The directory's names changed.
    fn touch(&mut self, dir: u64, at: Moment) {
        if let Some(inode) = self.inodes.get_mut(&dir) {
            inode.mtime = at;
            inode.ctime = at;
        } else if let Some(upper) = self.dirs.get_mut(&dir) {
            upper.changed = Some(at);
        }
    }
}
