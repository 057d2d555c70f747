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
//! Uses `store` (ranges), `archive` (pure functions over bytes) and `cache`; knows nothing of sets, chains or mounts.

mod budget;
mod bundle;
mod checked;
mod digest;
mod fetch;
mod flight;
mod identity;
mod known;
mod options;
mod pass;
mod readahead;
mod seal;
mod stats;
mod sums;

pub use known::Archive;
pub use known::listed_file::ListedFile;
pub use known::listing::Listing;
pub use known::published::Published;
pub use options::ReaderOptions;
pub use pass::pipeline::{Broken, Stage};
pub use pass::stream::Examined;
pub use seal::ends::Seal;
pub use stats::StatsSnapshot;

use crate::archive::armor::Armor;
use crate::cache::Cache;
use crate::keys::KeyRing;
use crate::private;
use crate::store::{ObjectMeta, Store};
use crate::task::{blocking, lock};
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use budget::Budget;
use bundle::loose::LooseFile;
use bundle::pieces::PieceMaps;
use bytes::Bytes;
use checked::Checked;
use flight::Flights;
use futures::TryStreamExt;
use futures::stream::StreamExt;
use identity::Identity;
use known::Archives;
use lru::LruCache;
use readahead::file::ArchiveFile;
use readahead::lander::Landers;
use readahead::spans::Spans;
use readahead::wanted::WantedFiles;
use seal::unlock::Unlocker;
use stats::ReaderStats;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long an archive's failure is taken for granted. A replaced object is another one at once.
fn remembered_for(kind: Kind) -> Duration {
    match kind {
        Kind::Corrupt | Kind::NoKey | Kind::Unsupported => Duration::from_hours(1),
        // There may be room again at any time, but each try costs a pass.
        Kind::NoSpace => Duration::from_secs(5),
        // An outage: the next read tries again.
        _ => Duration::ZERO,
    }
}

/// The same failure of the same archive is logged no more often.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// Archives whose failure is remembered.
const FAILURES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Objects in base64 whose layout is remembered.
const ARMORS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Seek indexes may take an eighth of the cache's size besides it, or this many bytes if that is more.
const MIN_INDEX_BYTES: u64 = 1 << 30;

/// After this, what a killed pass left of an index is not worth keeping.
const JOURNAL_AGE: Duration = Duration::from_hours(30 * 24);

/// Reads archives and plain objects of one store. Dropping it breaks off what is under way.
#[derive(Debug)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    cache: Cache,
    index_dir: PathBuf,
    unlocker: Unlocker,
    options: ReaderOptions,
    stats: ReaderStats,
    /// Object bytes in memory that are not inflated yet, and spans being inflated.
    fetch_memory: Budget,
    cores: usize,
    /// Spans being inflated: one for each core.
    cpu: Semaphore,
    pass_turns: Semaphore,
    passes: Arc<Flights<Identity, Arc<Archive>>>,
    wanted: WantedFiles,
    objects: Arc<Flights<Identity, Bytes>>,
    /// Files of bundles on their way into the cache.
    landings: Arc<Flights<Identity, ()>>,
    checked: Checked,
    /// Files that were not what their checksums say: all of one has to be right before any of it is read again.
    condemned: Checked,
    piece_maps: PieceMaps,
    archives: Archives,
    /// Layouts of objects in base64.
    armors: Mutex<LruCache<Identity, Armor>>,
    plaintext: seal::plaintext::Neighbours,
    failures: Mutex<LruCache<Identity, (Error, Instant)>>,
    /// Whether the log has that an archive is locked.
    said_locked: AtomicBool,
    spans: Spans,
    landers: Landers,
    published: known::published::Presence,
    cancel: CancellationToken,
}

impl Reader {
    /// Must be called within a Tokio runtime, which does its work. Blocks for a moment on the cache directory.
    pub fn new(store: Store, keys: KeyRing, cache: Cache, options: ReaderOptions) -> Result<Arc<Self>> {
        let index_dir = cache.root().join("index");
        private::directory(&index_dir)?;
        pass::journal::sweep(&index_dir, JOURNAL_AGE);
        known::prune(&index_dir, (cache.limit() / 8).max(MIN_INDEX_BYTES));
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let inner = Inner {
            store,
            cache,
            index_dir,
            unlocker: Unlocker::new(keys, options.envelope),
            armors: Mutex::new(LruCache::new(ARMORS)),
            plaintext: seal::plaintext::Neighbours::default(),
            stats: ReaderStats::default(),
            // Half for what is on its way, a quarter for spans that are ready; the rest is what the
            // stages of passes have in hand.
            fetch_memory: Budget::new(options.memory_limit / 2),
            spans: Spans::new((options.memory_limit / 4) as usize),
            cores,
            cpu: Semaphore::new(cores),
            pass_turns: Semaphore::new(options.max_passes.max(1)),
            passes: Arc::default(),
            wanted: WantedFiles::default(),
            objects: Arc::default(),
            landings: Arc::default(),
            checked: Checked::default(),
            condemned: Checked::default(),
            piece_maps: PieceMaps::default(),
            archives: Archives::default(),
            failures: Mutex::new(LruCache::new(FAILURES)),
            said_locked: AtomicBool::new(false),
            landers: Landers::default(),
            published: known::published::Presence::default(),
            cancel: CancellationToken::new(),
            options,
        };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// What is in the archive. The first time ever, this costs a pass over it; then it is kept on disk.
    pub async fn listing(&self, object: &Arc<ObjectMeta>) -> Result<Arc<Listing>> {
        let archive = self.inner.archive(object).await?;
        Ok(Arc::clone(&archive.listing))
    }

    /// The listing, if it is known without asking the store: from memory or from the cache directory.
    pub async fn known_listing(&self, object: &ObjectMeta) -> Option<Arc<Listing>> {
        let archive = self.inner.known(self.inner.identity(object)).await?;
        Some(Arc::clone(&archive.listing))
    }

    /// Opens file number `file` of the archive's listing. Its bytes are fetched when they are read.
    /// One that cannot be read is not opened: its length may not be known, and 0 bytes are read
    /// without asking anybody.
    pub async fn open(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<Arc<dyn OpenFile>> {
        let archive = self.inner.archive(object).await?;
        if let Some(damage) = archive.listing.files.get(file).and_then(|file| file.damage.as_deref()) {
            return Err(Error::corrupt(damage).with_object(&object.key));
        }
        if object.is_bundle() {
            return Ok(Arc::new(self.open_loose(object, file).await?));
        }
        Ok(self.open_file(object, file).await?)
    }

    async fn open_loose(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<LooseFile> {
        let bundle = self.inner.archive(object).await?;
        LooseFile::open(Arc::clone(&self.inner), bundle, file, object).await
    }

    async fn open_file(&self, object: &Arc<ObjectMeta>, file: usize) -> Result<Arc<ArchiveFile>> {
        let archive = self.inner.archive(object).await?;
        let file = ArchiveFile::new(Arc::clone(&self.inner), Arc::clone(object), archive, file)?;
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

    /// All of a plain object such as a manifest; `Kind::Invalid` when it is longer than `max` bytes.
    pub async fn fetch_object(&self, object: &Arc<ObjectMeta>, max: u64) -> Result<Bytes> {
        if object.size > max {
            let message = format!("it is {} bytes long, more than {max}", object.size);
            return Err(Error::invalid(message).with_object(&object.key));
        }
        let identity = self.inner.identity(object);
        let flight = self.inner.objects.join(&identity, || {
            let (inner, object) = (Arc::clone(&self.inner), Arc::clone(object));
            async move { inner.fetch_plain(&object, identity).await }
        });
        flight.await
    }

    /// Names exactly this version of the object in this store, in everything that is kept about it.
    pub fn version(&self, object: &ObjectMeta) -> [u8; 32] {
        *self.inner.identity(object).bytes()
    }

    /// What it did so far.
    pub fn stats(&self) -> StatsSnapshot {
        self.inner.stats.snapshot()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.inner.cancel.cancel();
    }
}

impl Inner {
    fn identity(&self, object: &ObjectMeta) -> Identity {
        Identity::new(self.store.name(), object)
    }

    /// The archive, known or read now.
    async fn archive(self: &Arc<Self>, object: &Arc<ObjectMeta>) -> Result<Arc<Archive>> {
        let identity = self.identity(object);
        if let Some(archive) = self.known(identity).await {
            return Ok(archive);
        }
        self.pass(object, identity).await
    }

    /// Reads the archive again, because what is known of it is not enough any more.
    async fn archive_anew(self: &Arc<Self>, object: &Arc<ObjectMeta>, identity: Identity) -> Result<Arc<Archive>> {
        // Whoever comes second joins the pass, or finds what it left.
        if self.passes.get(&identity).is_none() && !known::index_path(&self.index_dir, &identity).exists() {
            self.forget(&identity);
        }
        self.pass(object, identity).await
    }

    /// Waits for the pass over the archive, which goes on if that takes too long.
    async fn pass(self: &Arc<Self>, object: &Arc<ObjectMeta>, identity: Identity) -> Result<Arc<Archive>> {
        if let Some(error) = self.remembered_failure(&identity) {
            return Err(error);
        }
        let flight = self.passes.join(&identity, || {
            let (inner, object) = (Arc::clone(self), Arc::clone(object));
            async move {
                let result = if object.is_bundle() {
                    inner.list_bundle(&object, identity).await
                } else {
                    pass::run(Arc::clone(&inner), object, identity).await
                };
                result.inspect_err(|error| inner.remember_failure(identity, error))
            }
        });
        tokio::time::timeout(self.options.wait_limit, flight).await.unwrap_or_else(|_| {
            let message = format!("still being read after {} s; that goes on", self.options.wait_limit.as_secs());
            Err(Error::new(Kind::TimedOut, message).with_object(&object.key))
        })
    }

    /// Drops what is known of the archive.
    fn forget(&self, identity: &Identity) {
        self.archives.remove(identity);
        known::forget(&self.index_dir, identity);
    }

    fn remembered_failure(&self, identity: &Identity) -> Option<Error> {
        let mut failures = lock(&self.failures);
        let (error, when) = failures.get(identity)?;
        (when.elapsed() < remembered_for(error.kind())).then(|| error.clone())
    }

    /// Whatever another try could not change is not tried again for every stat of a file, and
    /// nothing is logged again and again.
    fn remember_failure(&self, identity: Identity, error: &Error) {
        self.stats.count_error(error);
        let mut failures = lock(&self.failures);
        let before = failures.put(identity, (error.clone(), Instant::now()));
        let is_news = before.is_none_or(|(before, when)| before.kind() != error.kind() || when.elapsed() > SAY_AGAIN);
        // Where one archive is locked, most are: whoever asked tells of each, the log of the first.
        let is_known = error.kind() == Kind::NoKey && self.said_locked.swap(true, Relaxed);
        if is_news && !is_known {
            tracing::error!("{error}");
        }
    }

    /// All of the object was read, and it is not what is known of it.
    fn condemn(&self, identity: Identity, error: &Error) {
        self.condemned.insert(identity);
        self.remember_failure(identity, error);
    }

    async fn fetch_plain(self: &Arc<Self>, object: &ObjectMeta, identity: Identity) -> Result<Bytes> {
        const RANGE: u64 = 8 << 20;
        let (key, size) = (identity.object(), object.size);
        let cache = self.cache.clone();
        let cached = tokio::task::spawn_blocking(move || {
            let file = cache.get(&key).filter(|file| file.size() == size)?;
            file.read_at(0, size as usize).ok()
        });
        if let Ok(Some(bytes)) = cached.await {
            return Ok(bytes);
        }
        let starts = (0..size).step_by(RANGE as usize);
        let parts = starts.map(|start| fetch::range(self, object, start..size.min(start + RANGE)));
        let mut parts: Vec<Bytes> = futures::stream::iter(parts).buffered(4).try_collect().await?;
        let bytes = if parts.len() == 1 { parts.remove(0) } else { parts.concat().into() };
        let (cache, content) = (self.cache.clone(), bytes.clone());
        let kept = blocking(move || {
            let Some(mut writer) = cache.create(key, size)? else { return Ok(()) };
            writer.write(&content)?;
            writer.seal()?.publish()
        });
        if let Err(error) = kept.await {
            tracing::warn!("{error}: {} is not cached", object.key);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("store", &self.store.name()).finish_non_exhaustive()
    }
}
