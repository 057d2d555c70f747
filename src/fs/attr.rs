//! From the overlay's attributes to the kernel's, and how long it may keep them.

use super::MountOptions;
use crate::scratch::Attr;
use crate::view::NodeKind;
use fuser::{FileAttr, FileType, INodeNo};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes that programs should read at once.
const BLOCK_SIZE: u32 = 1 << 20;

/// Names that are not there may appear with the next backup.
pub(super) const ABSENT_TTL: Duration = Duration::from_secs(1);

/// How long the kernel may keep a node's name and attributes without asking.
///
/// Files are immutable but for changes made through the kernel itself. Directories fill with new
/// backup sets, and links to the latest one move on.
pub(super) fn ttl(kind: NodeKind) -> Duration {
    match kind {
        NodeKind::File => Duration::from_hours(1),
        NodeKind::Directory => Duration::from_secs(10),
        NodeKind::Symlink => Duration::from_secs(1),
    }
}

pub(super) fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Directory => FileType::Directory,
        NodeKind::File => FileType::RegularFile,
        NodeKind::Symlink => FileType::Symlink,
    }
}

pub(super) fn file_attr(attr: &Attr, options: &MountOptions) -> FileAttr {
    let default = match attr.kind {
        NodeKind::Directory => options.dir_mode,
        NodeKind::File => options.file_mode,
        NodeKind::Symlink => 0o777,
    };
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        // In units of 512 bytes, whatever the block size.
        blocks: attr.size.div_ceil(512),
        atime: attr.atime,
        mtime: attr.mtime,
        ctime: attr.ctime,
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.mode.unwrap_or(default),
        nlink: attr.nlink,
        uid: attr.uid.unwrap_or(options.uid),
        gid: attr.gid.unwrap_or(options.gid),
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Attributes in place of ones that could not be had; sent with a lifetime of zero, so that whoever
/// needs them asks.
pub(super) fn placeholder(ino: u64, kind: NodeKind, options: &MountOptions) -> FileAttr {
    let (mode, uid, gid) = (None, None, None);
    let (atime, mtime, ctime) = (UNIX_EPOCH, UNIX_EPOCH, UNIX_EPOCH);
    file_attr(&Attr { ino, kind, size: 0, nlink: 1, mode, uid, gid, atime, mtime, ctime }, options)
}
