//! Fetches, decrypts, inflates and verifies each archive once for everybody who waits for it.
//!
//! What is read of an archive for the first time costs one *pass* over all of it: gzip cannot be entered in the middle. The pass lands the
//! archive's files in the cache and leaves its seek index, so that later reads of files that the cache no longer holds cost spans only.
//! Whoever asks for the same thing at the same time waits for the same work. Nothing is served that was not verified:
//! files of a pass when the whole archive was right to its last byte, spans by their BLAKE3 in the index.
//!
//! Uses `store` (ranges), `archive` (pure functions over bytes) and `cache`; knows nothing of sets, chains or mounts.

mod listing;
mod options;
mod stats;

pub use listing::{ListedFile, Listing};
pub use options::ReaderOptions;
pub use stats::StatsSnapshot;

use crate::Result;
use crate::cache::Cache;
use crate::keys::KeyRing;
use crate::store::{ObjectMeta, Store};
use crate::tree::OpenFile;
use bytes::Bytes;
use std::sync::Arc;

/// Reads archives and plain objects of one store.
#[derive(Debug)]
pub struct Reader {
    _private: (),
}

impl Reader {
    /// Must be called within a Tokio runtime, which does its work. Blocks for a moment on the cache directory.
    pub fn new(_store: Store, _keys: KeyRing, _cache: Cache, _options: ReaderOptions) -> Result<Arc<Self>> {
        todo!()
    }

    /// What is in the archive. The first time ever, this costs a pass over it; then it is kept on disk.
    pub async fn listing(&self, _object: &Arc<ObjectMeta>) -> Result<Arc<Listing>> {
        todo!()
    }

    /// The listing, if it is known without asking the store: from memory or from the cache directory.
    pub async fn known_listing(&self, _object: &ObjectMeta) -> Option<Arc<Listing>> {
        todo!()
    }

    /// Opens file number `file` of the archive's listing. Its bytes are fetched when they are read.
    pub async fn open(&self, _object: &Arc<ObjectMeta>, _file: usize) -> Result<Arc<dyn OpenFile>> {
        todo!()
    }

    /// All of one file; `Kind::Invalid` when it is longer than `max` bytes.
    pub async fn read_file(&self, _object: &Arc<ObjectMeta>, _file: usize, _max: u64) -> Result<Bytes> {
        todo!()
    }

    /// All of a plain object such as a manifest; `Kind::Invalid` when it is longer than `max` bytes.
    pub async fn fetch_object(&self, _object: &Arc<ObjectMeta>, _max: u64) -> Result<Bytes> {
        todo!()
    }

    /// What it did so far.
    pub fn stats(&self) -> StatsSnapshot {
        todo!()
    }
}
