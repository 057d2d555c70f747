//! Entries on their way in: written to the staging area, sealed, and published by one rename.

use super::directory;
use super::entry::Stamp;
use super::key::{CacheKey, EntryName};
use super::{CacheFile, Shared, charge, now_micros};
use crate::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest write, bytes. A longer one has the kernel look for longer pages, and move others out of
/// the way: with the memory full of cached pages, as on a node, that takes longer than the writing
/// (for a GiB, in turns: 0.3 s of CPU; in writes of 2 MiB 0.2 to 1.6 s).
const LONGEST_WRITE: usize = 32 << 10;

/// A file in the staging area and the space reserved for it; both are given up on drop.
#[derive(Debug)]
struct Staged {
    shared: Arc<Shared>,
    path: PathBuf,
    key: CacheKey,
    size: u64,
    published: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_file(&self.path);
        }
        self.shared.lock().table.release(charge(self.size));
    }
}

/// A new entry being written, in order. Nobody else sees it; drop discards it.
#[derive(Debug)]
pub struct CacheWriter {
    staged: Staged,
    file: Arc<File>,
    written: u64,
    hasher: blake3::Hasher,
}

/// An entry that is written completely but not visible yet: whoever made it may still have
/// something to wait for. Drop discards it.
#[derive(Debug)]
pub struct SealedEntry {
    staged: Staged,
    digest: blake3::Hash,
    stamp: Stamp,
}

impl CacheWriter {
    /// `size` bytes are reserved already.
    pub(super) fn new(shared: Arc<Shared>, key: CacheKey, size: u64) -> Result<Self> {
        // The reservation is given up with this, also on an error.
        let mut staged = Staged { shared, path: PathBuf::new(), key, size, published: false };
        staged.path = staged.shared.staging_path()?;
        let file = directory::create_file(&staged.path)?;
        Ok(Self { staged, file: Arc::new(file), written: 0, hasher: blake3::Hasher::new() })
    }

    /// Appends. More than the size announced is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.written + bytes.len() as u64;
        if end > self.staged.size {
            return Err(Error::invalid(format!("cache entry {} is longer than announced", self.staged.key)));
        }
        let failed = |error| Error::io(format_args!("write to the cache at {}", self.staged.path.display()), error);
        for part in bytes.chunks(LONGEST_WRITE) {
            self.file.write_all_at(part, self.written).map_err(failed)?;
            self.written += part.len() as u64;
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The file being written, for readers of what is there already.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Closes the complete entry without showing it to anybody.
    pub fn seal(self) -> Result<SealedEntry> {
        if self.written != self.staged.size {
            let Self { written, staged: Staged { key, size, .. }, .. } = &self;
            return Err(Error::invalid(format!("cache entry {key} has {written} of {size} bytes")));
        }
        let stamp = Stamp::of(&self.file)?;
        Ok(SealedEntry { digest: self.hasher.finalize(), stamp, staged: self.staged })
    }

    /// Makes the complete entry visible, and pins it. `None`: another process evicted it at once.
    pub fn commit(self) -> Result<Option<CacheFile>> {
        let (shared, key) = (self.staged.shared.clone(), self.staged.key);
        self.seal()?.publish()?;
        Ok(shared.pin(&key))
    }
}

impl SealedEntry {
    /// Makes the entry visible. It replaces one of the same key.
    pub fn publish(mut self) -> Result<()> {
        let name = EntryName { key: self.staged.key, digest: self.digest };
        let shared = self.staged.shared.clone();
        let path = shared.path_of(&name);
        let mut state = shared.lock();
        let published = std::fs::rename(&self.staged.path, &path).or_else(|error| {
            // The first of its shard; or somebody has deleted the whole cache, and this one with it.
            directory::make_shard(&shared.root, &name.key).map_err(std::io::Error::other)?;
            std::fs::rename(&self.staged.path, &path).map_err(|_| error)
        });
        published.map_err(|error| Error::io(format_args!("move a cache entry to {}", path.display()), error))?;
        self.staged.published = true;
        if let Some(old) = state.table.insert(&name, self.staged.size, now_micros()) {
            let _ = std::fs::remove_file(shared.path_of(&old));
        }
        state.table.mark_checked(&name.key, self.stamp);
        // The lock goes before the reservation does, which takes it again.
        drop(state);
        Ok(())
    }
}
