//! What a read-only tree of files is: the contract between who shows one and who serves it.
//!
//! `tree` implements [`View`]; `reader` opens files ([`OpenFile`]); `scratch` and `fs` serve any
//! view, and know no other part.

use crate::Result;
use crate::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::sync::Arc;

/// What a directory entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum NodeKind {
    Directory,
    File,
    Symlink,
}

/// Attributes of a node; owner and mode are the mount's to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// A function of the path and, for files, of the content's identity; never 0, 1 only for the
    /// root, bit 63 clear (scratch uses it).
    pub ino: u64,
    pub kind: NodeKind,
    /// Bytes; 0 for directories.
    pub size: u64,
    pub mtime: Timestamp,
    /// 2 + sub-directories for directories where known without I/O, else 1.
    pub nlink: u32,
}

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct DirEntry<N> {
    pub name: OsString,
    pub node: N,
}

/// A read-only tree. Nodes are cheap to clone and stay valid when the tree is refreshed.
pub trait View: Send + Sync + 'static {
    type Node: Clone + Send + Sync + std::fmt::Debug + 'static;

    fn root(&self) -> Self::Node;

    /// Inode number without I/O.
    fn ino(&self, node: &Self::Node) -> u64;

    fn kind(&self, node: &Self::Node) -> NodeKind;

    /// `Kind::NotFound` only if the name truly is not there. Finds some names that `list` does not
    /// show.
    fn lookup(&self, dir: &Self::Node, name: &OsStr) -> impl Future<Output = Result<Self::Node>> + Send;

    /// Without `.` and `..`; sorted by name, so that offsets are a function of the content.
    fn list(&self, dir: &Self::Node) -> impl Future<Output = Result<Arc<[DirEntry<Self::Node>]>>> + Send;

    fn attr(&self, node: &Self::Node) -> impl Future<Output = Result<Attr>> + Send;

    /// Target of a symlink.
    fn read_link(&self, node: &Self::Node) -> impl Future<Output = Result<OsString>> + Send;

    /// Opens a file for reading.
    fn open(&self, node: &Self::Node) -> impl Future<Output = Result<Arc<dyn OpenFile>>> + Send;
}

/// An open file of a [`View`]: its content is pinned as long as this lives.
pub trait OpenFile: Send + Sync {
    /// Up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: u32) -> futures::future::BoxFuture<'_, Result<Bytes>>;

    /// A local file with exactly this content, already verified, where there is one: for FUSE
    /// passthrough.
    fn backing(&self) -> Option<&File> {
        None
    }
}
