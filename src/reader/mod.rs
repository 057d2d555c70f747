//! Fetches, decrypts, inflates and verifies each archive once for everybody who waits for it.
//!
//! What is read of an archive for the first time costs one *pass* over all of it: a compressed
//! stream cannot be entered just anywhere. The pass lands the archive's files in the cache and
//! leaves its seek index, so that later reads of files that the cache no longer holds cost spans
//! only. Whoever asks for the same thing at the same time waits for the same work. Nothing is
//! served that was not verified: files of a pass when the whole archive was right to its last byte,
//! spans by their BLAKE3 in the index.
//!
//! A table's files may also be a *bundle* of objects: then each is fetched whole and checked
//! against what is known of it, or, where it lies on this machine, read from there. A long
//! `Data.db` is read in spans too, each checked by the checksums that Cassandra keeps of its
//! chunks.
//!
//! Uses `store` (ranges), `archive` (pure functions over bytes) and `cache`; knows nothing of sets,
//! chains or mounts.

mod budget;
mod bundle;
mod checked;
mod chunk_lists;
mod contradiction;
mod digest;
mod fetch;
mod flight;
mod identity;
mod known;
mod lookups;
mod options;
mod pass;
mod plain;
mod published;
mod readahead;
mod seal;
mod stats;
mod sums;
mod verdicts;

pub use known::Archive;
pub use known::listed_file::ListedFile;
pub use known::listing::Listing;
pub use options::ReaderOptions;
pub use pass::pipeline::{Broken, Stage};
pub use pass::stream::Examined;
pub use published::Published;
pub use seal::ends::{Seal, directory_of_set};
pub use stats::StatsSnapshot;

use crate::cache::Cache;
use crate::keys::KeyRing;
use crate::store::{ObjectMeta, Store};
use crate::view::OpenFile;
use crate::{Error, Result};
use bundle::LooseFiles;
use bundle::loose::LooseFile;
use bytes::Bytes;
use fetch::Fetcher;
use identity::Identity;
use known::Knowledge;
use pass::Passes;
use plain::PlainObjects;
use published::PublishedIndexes;
use readahead::file::ArchiveFile;
use readahead::lander::Landers;
use readahead::spans::SpanReader;
use seal::Seals;
use stats::ReaderStats;
use std::fmt;
use std::sync::Arc;

/// Reads archives and plain objects of one store. Dropping it breaks off what is under way.
///
/// Each part uses those before it only: `fetcher` asks the store; `seals` opens envelopes; `known`
/// remembers; [`SpanReader`] reads spans, [`Landers`] lands files of them; `files` reads bundles;
/// `passes` makes passes.
pub struct Reader {
    fetcher: Arc<Fetcher>,
    seals: Arc<Seals>,
    known: Arc<Knowledge>,
    files: Arc<LooseFiles>,
    passes: Arc<Passes>,
    objects: Arc<PlainObjects>,
}

impl Reader {
    /// Must be called within a Tokio runtime, which does its work. Blocks for a moment on the cache
    /// directory.
    pub fn new(store: Store, keys: KeyRing, cache: Cache, options: ReaderOptions) -> Result<Arc<Self>> {
        let stats = Arc::new(ReaderStats::default());
        let known = Arc::new(Knowledge::new(&cache, Arc::clone(&stats), &options)?);
        let fetcher = Arc::new(Fetcher::new(store, stats, &options));
        let seals = Arc::new(Seals::new(Arc::clone(&fetcher), keys, &options));
        let objects = Arc::new(PlainObjects::new(Arc::clone(&fetcher), cache.clone()));
        let spans = SpanReader::new(Arc::clone(&seals), Arc::clone(&known), cache, &options);
        let landers = Arc::new(Landers::new(Arc::new(spans)));
        let files = Arc::new(LooseFiles::new(Arc::clone(&landers), &options));
        let published = PublishedIndexes::new(Arc::clone(&seals), Arc::clone(&known));
        let passes = Passes::new(Arc::clone(&seals), landers, Arc::clone(&files), published, options);
        Ok(Arc::new(Self { fetcher, seals, known, files, passes: Arc::new(passes), objects }))
    }

    /// What is in the archive. The first time ever, this costs a pass over it; then it is kept on
    /// disk.
    pub async fn listing(&self, object: &Arc<ObjectMeta>) -> Result<Arc<Listing>> {
        let archive = self.passes.archive(object).await?;
        Ok(Arc::clone(&archive.listing))
    }

    /// The listing, if it is known without asking the store: from memory or from the cache
    /// directory.
    pub async fn known_listing(&self, object: &ObjectMeta) -> Option<Arc<Listing>> {
        let archive = self.known.archive(self.fetcher.identity(object)).await?;
        Some(Arc::clone(&archive.listing))
    }

    /// Opens file number `file` of the archive's listing. Its bytes are fetched when they are read.
    /// One that cannot be read is not opened: its length may not be known, and 0 bytes are read
    /// without asking anybody.
    pub async fn open(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<Arc<dyn OpenFile>> {
        let archive = self.passes.archive(object).await?;
        if let Some(damage) = archive.listing.files.get(file).and_then(|file| file.damage.as_deref()) {
            return Err(Error::corrupt(damage).with_object(&object.key));
        }
        if object.is_bundle() {
            return Ok(Arc::new(self.open_loose(object, file).await?));
        }
        Ok(self.open_file(object, file).await?)
    }

    async fn open_loose(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<LooseFile> {
        let bundle = self.passes.archive(object).await?;
        LooseFile::open(Arc::clone(&self.files), bundle, file, object).await
    }

    async fn open_file(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<Arc<ArchiveFile>> {
        let archive = self.passes.archive(object).await?;
        let file = ArchiveFile::new(Arc::clone(&self.passes), Arc::clone(object), archive, file)?;
        file.look_into_cache().await;
        Ok(Arc::new(file))
    }

    /// All of one file; `Kind::Invalid` when it is longer than `max` bytes.
    pub async fn read_file(&self, object: &Arc<ObjectMeta>, file: usize, max: u64) -> Result<Bytes> {
        let fits = |size: u64, file: &dyn fmt::Debug| {
            let message = || format!("{file:?} is {size} bytes long, more than {max}");
            if size > max { Err(Error::invalid(message())) } else { Ok(size) }
        };
        if object.is_bundle() {
            let file = self.open_loose(object, file).await?;
            return file.read(0, fits(file.size(), &file)?).await;
        }
        let file = self.open_file(object, file).await?;
        file.read(0, fits(file.size(), &file)?).await
    }

    /// All of a plain object such as a manifest; `Kind::Invalid` when it is longer than `max`
    /// bytes.
    pub async fn fetch_object(&self, object: &Arc<ObjectMeta>, max: u64) -> Result<Bytes> {
        self.objects.fetch(object, max).await
    }

    /// Names exactly this version of the object in this store, in everything that is kept about it.
    pub fn version(&self, object: &ObjectMeta) -> [u8; 32] {
        *self.fetcher.identity(object).bytes()
    }

    /// The version of an object of the source of that name, as [`Self::version`] has it where tables'
    /// archives are read.
    pub fn version_in(source: &str, object: &ObjectMeta) -> [u8; 32] {
        *Identity::new(source, object).bytes()
    }

    /// What it did so far.
    pub fn stats(&self) -> StatsSnapshot {
        self.fetcher.stats.snapshot()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fetcher.cancel.cancel();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("store", &self.fetcher.store.name()).finish_non_exhaustive()
    }
}
