//! What the reader knows of archives and files without asking the store: their listings and seek
//! indexes, and which of them were found right, wrong or unreadable.

use super::listing::Listing;
use super::{Archive, Archives, load, prune};
use crate::archive::Member;
use crate::cache::Cache;
use crate::reader::checked::VersionSet;
use crate::reader::identity::Identity;
use crate::reader::options::ReaderOptions;
use crate::reader::stats::ReaderStats;
use crate::task::lock;
use crate::{Error, Kind, Result, private};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A failed reading of an archive.
struct Failure {
    error: Error,
    when: Instant,
    /// Whether the time before came to an error of this kind, too.
    again: bool,
}

/// How long an archive's failure is taken for granted. A replaced object is another one at once.
fn remembered_for(failure: &Failure) -> Duration {
    match failure.error.kind() {
        // What was damaged on its way only is right the next time.
        Kind::Corrupt if !failure.again => Duration::from_secs(30),
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

/// Seek indexes may take an eighth of the cache's size besides it, or this many bytes if that is
/// more.
const MIN_INDEX_BYTES: u64 = 1 << 30;

/// The memory of a reader, partly on disk.
pub(in crate::reader) struct Knowledge {
    pub(in crate::reader) index_dir: PathBuf,
    pub(in crate::reader) archives: Archives,
    /// Versions of files that were read to their end and found right.
    pub(in crate::reader) checked: VersionSet,
    /// Files that were not what their checksums say: all of one has to be right before any of it is
    /// read again.
    pub(in crate::reader) condemned: VersionSet,
    failures: Mutex<LruCache<Identity, Failure>>,
    /// Whether the log has that an archive is locked.
    said_locked: AtomicBool,
    stats: Arc<ReaderStats>,
    /// As [`ReaderOptions`] has it.
    whole_trees: bool,
}

impl Knowledge {
    /// Keeps its part on disk in a directory of the cache's. Blocks for a moment on that.
    pub(in crate::reader) fn new(cache: &Cache, stats: Arc<ReaderStats>, options: &ReaderOptions) -> Result<Self> {
        let index_dir = cache.root().join("index");
        private::directory(&index_dir)?;
        prune(&index_dir, (cache.limit() / 8).max(MIN_INDEX_BYTES));
        Ok(Self {
            index_dir,
            archives: Archives::default(),
            checked: VersionSet::default(),
            condemned: VersionSet::default(),
            failures: Mutex::new(LruCache::new(FAILURES)),
            said_locked: AtomicBool::new(false),
            stats,
            whole_trees: options.whole_trees,
        })
    }

    /// The archive, if it is known without asking the store.
    pub(in crate::reader) async fn archive(self: &Arc<Self>, identity: Identity) -> Option<Arc<Archive>> {
        if let Some(archive) = self.archives.get(&identity) {
            return Some(archive);
        }
        let known = Arc::clone(self);
        let archive = tokio::task::spawn_blocking(move || load(&known.index_dir, &identity)).await.ok()??;
        let archive = Arc::new(archive);
        self.archives.put(Arc::clone(&archive));
        Some(archive)
    }

    /// What an archive with these members holds, and where in the plain stream.
    pub(in crate::reader) fn listing(
        &self,
        members: &[Member],
        plain_size: u64,
        warnings: &[String],
    ) -> (Listing, Vec<u64>) {
        let listing = if self.whole_trees { Listing::of_tree } else { Listing::build };
        listing(members, plain_size, warnings)
    }

    /// Drops what is known of the archive.
    pub(in crate::reader) fn forget(&self, identity: &Identity) {
        self.archives.remove(identity);
        super::forget(&self.index_dir, identity);
    }

    pub(in crate::reader) fn remembered_failure(&self, identity: &Identity) -> Option<Error> {
        let mut failures = lock(&self.failures);
        let failure = failures.get(identity)?;
        (failure.when.elapsed() < remembered_for(failure)).then(|| failure.error.clone())
    }

    /// Whatever another try could not change is not tried again for every stat of a file, and
    /// nothing is logged again and again.
    pub(in crate::reader) fn remember_failure(&self, identity: Identity, error: &Error) {
        self.stats.count_error(error);
        let mut failures = lock(&self.failures);
        let before = failures.pop(&identity).filter(|before| before.error.kind() == error.kind());
        failures.put(identity, Failure { error: error.clone(), when: Instant::now(), again: before.is_some() });
        let is_news = before.is_none_or(|before| before.when.elapsed() > SAY_AGAIN);
        // Where one archive is locked, most are: whoever asked tells of each, the log of the first.
        let is_locked = error.kind() == Kind::NoKey;
        let is_known = is_locked && self.said_locked.swap(true, Relaxed);
        if is_news && !is_known && is_locked {
            tracing::error!(target: crate::keys::LOCKED, "{error}");
        } else if is_news && !is_known {
            tracing::error!("{error}");
        }
    }

    /// All of the object was read, and it is not what is known of it.
    pub(in crate::reader) fn condemn(&self, identity: Identity, error: &Error) {
        self.condemned.insert(identity);
        self.remember_failure(identity, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectMeta;
    use crate::time::Timestamp;

    #[test]
    fn damage_that_was_seen_once_is_looked_at_again_soon() {
        let failure = |error: Error, again| Failure { error, when: Instant::now(), again };
        let soon = remembered_for(&failure(Error::corrupt("a bit"), false));
        let late = remembered_for(&failure(Error::corrupt("a bit"), true));
        assert!(soon <= Duration::from_mins(1) && late >= Duration::from_hours(1));
        assert_eq!(remembered_for(&failure(Error::new(Kind::Io, "away"), true)), Duration::ZERO);
    }

    #[test]
    fn a_full_disk_is_tried_again_after_five_seconds() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory.path().join("cache"), 1 << 20).unwrap();
        let known = Knowledge::new(&cache, Arc::default(), &ReaderOptions::default()).unwrap();
        let object = ObjectMeta {
            key: "h/t/ks/t.tar.gz".into(),
            size: 7,
            e_tag: None,
            modified: Timestamp::default(),
            archived: false,
        };
        let identity = Identity::new("memory://", &object);
        let failed = |seconds_ago| {
            let when = Instant::now().checked_sub(Duration::from_secs(seconds_ago)).unwrap();
            let failure = Failure { error: Error::new(Kind::NoSpace, "full"), when, again: true };
            lock(&known.failures).put(identity, failure);
            known.remembered_failure(&identity).map(|error| error.kind())
        };
        assert_eq!(failed(0), Some(Kind::NoSpace), "each try costs the reading of an archive");
        assert_eq!(failed(6), None);
    }
}
