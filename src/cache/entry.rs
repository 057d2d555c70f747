//! One entry's file: opening, checking, reading.

use super::key::EntryName;
use super::{Shared, charge};
use crate::descriptors::Permit;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    /// No name leads to it any more.
    pub(super) unlinked: bool,
}

impl Stamp {
    pub(super) fn of(file: &File) -> Result<Self> {
        let meta = file.metadata().map_err(|error| Error::io("stat a cache entry", error))?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            unlinked: meta.nlink() == 0,
        })
    }
}

/// Opens an entry, if it is a file of ours. The way to it was checked when the cache was opened.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    crate::private::check_file(&rustix::fs::fstat(&file)?).or_else(|error| match file.metadata()?.nlink() {
        // It was evicted meanwhile.
        0 => Ok(()),
        _ => Err(error),
    })?;
    Ok(file)
}

/// Whether the file holds what its name says; reads all of it.
pub(super) fn check(file: &File, name: &EntryName, size: u64) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    loop {
        let read = match file.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io(format_args!("read the cache entry {name}"), error)),
        };
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
    if offset != size || hasher.finalize() != name.digest {
        return Err(Error::corrupt(format!("cache entry {name} is damaged ({offset} of {size} bytes)")));
    }
    Ok(())
}

/// Records the use of a file in its atime, so that the order of eviction outlives the process. The
/// modification time stays as it is.
pub fn touch(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    // Only an order of eviction is lost if this fails.
    let _ = futimens(file, &Timestamps { last_access: now, last_modification: keep });
}

/// An entry in use: never evicted by this process, and by no other while it has its descriptor.
#[derive(Debug)]
pub(super) struct Pinned {
    shared: Arc<Shared>,
    name: EntryName,
    /// None when too many are open already: then each read opens it.
    file: Option<(File, Permit)>,
    stamp: Stamp,
}

impl Pinned {
    pub(super) fn new(shared: Arc<Shared>, name: EntryName, file: Option<(File, Permit)>, stamp: Stamp) -> Self {
        Self { shared, name, file, stamp }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.shared.pinned_bytes.fetch_sub(charge(self.stamp.size), Ordering::Relaxed);
    }
}

/// A verified entry, pinned while this lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheFile(Arc<Pinned>);

impl CacheFile {
    pub(super) fn new(pinned: Arc<Pinned>) -> Self {
        Self(pinned)
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.0.stamp.size
    }

    /// The local file with exactly this content; `None` while very many entries are open.
    pub fn file(&self) -> Option<&File> {
        self.0.file.as_ref().map(|(file, _)| file)
    }

    /// Up to `len` bytes at `offset`; fewer only at the end.
    ///
    /// # Errors
    /// `Kind::CacheLost` when another process evicted it (possible only where [`Self::file`] is
    /// `None`): it has to be fetched again.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let reopened;
        let file = if let Some(file) = self.file() {
            file
        } else {
            reopened = self.reopen()?;
            &reopened
        };
        let len = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let mut buffer = vec![0; len];
        file.read_exact_at(&mut buffer, offset)
            .map_err(|error| Error::io(format_args!("read the cache entry {}", self.0.name), error))?;
        Ok(buffer.into())
    }

    fn reopen(&self) -> Result<File> {
        let gone = || Error::new(Kind::CacheLost, format!("cache entry {} was evicted", self.0.name));
        let file = open(&self.0.shared.path_of(&self.0.name)).map_err(|_| gone())?;
        // Another file of the same name was never checked here.
        if Stamp::of(&file)? == self.0.stamp { Ok(file) } else { Err(gone()) }
    }
}
