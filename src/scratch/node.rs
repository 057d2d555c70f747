//! What the overlay hands out: nodes, attributes, entries.

use crate::view::NodeKind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::SystemTime;

/// Where a node of the backup is, so that a later process can find it again.
#[derive(Debug, Default)]
pub(super) struct Place {
    parent: Option<Arc<Place>>,
    name: OsString,
}

impl Place {
    pub(super) fn child(self: &Arc<Self>, name: OsString) -> Arc<Self> {
        Arc::new(Self { parent: Some(self.clone()), name })
    }

    pub(super) fn is_named(&self, name: &OsStr) -> bool {
        self.name == name
    }

    /// The names from the root down.
    pub(super) fn path(&self) -> Vec<Vec<u8>> {
        let mut path = Vec::new();
        let mut place = self;
        while let Some(parent) = &place.parent {
            path.push(place.name.as_bytes().to_vec());
            place = parent;
        }
        path.reverse();
        path
    }
}

/// A node of the backup and where it is.
pub(super) type Backup<N> = (N, Arc<Place>);

/// A node of the merged tree; `N` is the view's.
#[derive(Clone, Debug)]
pub struct Node<N> {
    pub(super) ino: u64,
    pub(super) kind: NodeKind,
    /// What is behind it, unless it is the scratch layer's own.
    pub(super) backup: Option<Backup<N>>,
}

impl<N> Node<N> {
    /// A node of the scratch layer's own.
    pub(crate) fn own(ino: u64, kind: NodeKind) -> Self {
        Self { ino, kind, backup: None }
    }

    /// Never changes while the node exists; bit 63 tells nodes of the scratch layer.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    pub fn kind(&self) -> NodeKind {
        self.kind
    }
}

/// One name in a merged directory.
#[derive(Clone, Debug)]
pub struct Entry<N> {
    pub name: OsString,
    pub node: Node<N>,
}

/// Attributes of a merged node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    pub ino: u64,
    pub kind: NodeKind,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// Hard links; for directories 2 + sub-directories, or 1 where that is not known.
    pub nlink: u32,
    /// Permission bits (0..=0o7777), uid and gid: `None` where the mount's own apply.
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: SystemTime,
    pub mtime: SystemTime,
    pub ctime: SystemTime,
}

impl Attr {
    /// Attributes of a node that the scratch layer knows nothing of.
    pub(super) fn of_backup(attr: &crate::view::Attr) -> Self {
        let time = attr.mtime.system_time();
        let (mode, uid, gid) = (None, None, None);
        let (ino, kind, size, nlink) = (attr.ino, attr.kind, attr.size, attr.nlink);
        Self { ino, kind, size, nlink, mode, uid, gid, atime: time, mtime: time, ctime: time }
    }
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// The kernel's number of the request, 0 for none: kept in the journal to recognise a request
    /// sent again.
    pub request: u64,
    pub uid: u32,
    pub gid: u32,
}

/// What to create.
#[derive(Clone, Debug)]
pub enum New {
    /// Permission bits, after the umask.
    File {
        mode: u16,
    },
    /// Permission bits, after the umask.
    Directory {
        mode: u16,
    },
    Symlink {
        target: OsString,
    },
}

/// Attributes to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Truncates or extends with zeros.
    pub size: Option<u64>,
    pub atime: Option<SystemTime>,
    pub mtime: Option<SystemTime>,
}

/// How full the scratch layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    pub limit_bytes: u64,
    pub names: u64,
    pub limit_names: u64,
}

/// What a kernel may have cached of a layer that was emptied.
#[derive(Clone, Debug, Default)]
pub struct Shadowed {
    /// Directory and name of every entry that differed from the backup's.
    pub names: Vec<(u64, OsString)>,
    /// Every inode that had attributes or content of its own.
    pub inodes: Vec<u64>,
}
