//! The writable layer above the tree: private to one mount, bounded, gone at unmount.
//!
//! Cassandra's tools link, write, rename and delete beside the SSTables they read. [`Overlay`] lets
//! them: it merges a read-only [`View`] with names, attributes and contents of its own, as
//! overlayfs does, and never asks the view for anything but reads. What it holds is in a scratch
//! directory: contents as files, names in a journal, so that a new process can go on where another
//! was killed ([`Overlay::resume`]).
//!
//! - An inode keeps its number and its open handles when its content is copied up.
//! - A hard link to a backup file is one more name of the same inode; no content is copied.
//! - A directory of the backup cannot be renamed ([`Kind::CrossDevice`](crate::Kind)): `mv` then
//!   copies and deletes.

mod budget;
mod change;
mod content;
mod files;
mod journal;
mod lease;
mod node;
mod overlay;
mod record;
mod state;
mod upper;

pub use journal::MAGIC as JOURNAL_FORMAT;
pub use lease::Lease;
pub use node::{Attr, Caller, Entry, New, Node, SetAttr, Shadowed, Usage};
pub use overlay::Overlay;

use std::path::PathBuf;

/// Where the scratch layer lives and how much it may hold.
#[derive(Clone, Debug)]
pub struct ScratchOptions {
    /// Made with mode 0700. `files/`, `journal` and `lock` in it belong to the layer; nothing else
    /// is touched.
    pub dir: PathBuf,
    /// Bytes: the sum of the sizes of all files that were created, or copied because they were
    /// changed.
    pub limit_bytes: u64,
    /// Names and inodes, hidden names of the backup included. Each takes some 200 bytes of memory.
    pub limit_names: usize,
}

impl ScratchOptions {
    pub const DEFAULT_LIMIT_BYTES: u64 = 10 << 30;
    pub const DEFAULT_LIMIT_NAMES: usize = 500_000;

    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), limit_bytes: Self::DEFAULT_LIMIT_BYTES, limit_names: Self::DEFAULT_LIMIT_NAMES }
    }
}
