//! The files within archives of whole nodes or keyspaces, as objects of a store: what lies in
//! `20261121/node1.tar.gz` is listed and read below a directory for it (see
//! [`NodeArchives::directory`]), so that whoever knows Cassandra's own tree can read it.
//!
//! An archive is read whole, once, when somebody first asks what lies in it. From then on that is
//! known on disk, and files are read in spans. Knows nothing of tables.
//!
//! Commit logs that were archived through gzip are shown as they were, too.

mod contents;
mod logs;
mod pages;

pub use logs::with_plain_logs;

use crate::catalog::layout::NodeArchives;
use crate::catalog::{Host, Objects};
use crate::reader::{Broken, Reader};
use crate::store::{Backend, Chunks, Level, Listing, ObjectMeta, Pages, SkippedName, Store};
use crate::task::lock;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use contents::{Contents, Members, Placed};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use lru::LruCache;
use pages::ArchivePages;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

/// Archives whose files are kept in order of their names in memory.
const IN_ORDER: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Most archives of one source.
const MAX_ARCHIVES: usize = 1 << 18;
/// Objects beside the archives that are reported.
const BESIDE: usize = 1001;
/// Archives that are tried where no key opens one.
const KEY_SAMPLES: usize = 32;
/// Bytes that are taken out of an archive at once.
const PIECE: u32 = 4 << 20;

/// A source's archives, and the store of what lies in them.
#[derive(Clone, Debug)]
pub struct Unpacked {
    archives: Arc<Archives>,
    store: Store,
}

impl Unpacked {
    /// `reader` reads the archives of `packed`, as whole trees.
    pub fn new(packed: Store, reader: Arc<Reader>) -> Self {
        let name = packed.name().to_owned();
        let archives = Arc::new(Archives {
            packed,
            reader,
            contents: Mutex::default(),
            in_order: Mutex::new(LruCache::new(IN_ORDER)),
            lost: Mutex::default(),
            said: AtomicBool::new(false),
        });
        let store = Store::derived(name, Arc::new(Unpacking(Arc::clone(&archives))));
        Self { archives, store }
    }

    /// The store of what lies in the archives.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads all archives, or those of a host, to their ends, whatever is known of them: each that
    /// is not right, and why.
    pub async fn read_again(&self, host: Option<&Host>) -> Result<Vec<(Arc<str>, Error)>> {
        let contents = self.archives.contents(true).await?;
        let is_wanted = |placed: &&Placed| {
            host.is_none_or(|host| placed.directory.split('/').next().and_then(NodeArchives::host) == Some(&host.0))
        };
        let mut wrong = Vec::new();
        for placed in contents.archives.iter().filter(is_wanted) {
            let examined = self.archives.reader.examine(&placed.object, (), &|_| {}).await?;
            if let Err(broken) = examined.archive {
                wrong.push((Arc::clone(&placed.object.key), broken.error));
            }
        }
        Ok(wrong)
    }
}

impl Objects for Unpacked {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        self.store.list_level(prefix).boxed()
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        Objects::read(&self.store, object)
    }

    fn read_range<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        self.store.get_range(object, range).boxed()
    }

    fn name(&self) -> &str {
        self.store.name()
    }

    fn left_out(&self) -> Vec<SkippedName> {
        let mut names = Objects::left_out(&self.archives.packed);
        names.extend(lock(&self.archives.lost).values().flatten().cloned());
        names
    }

    fn is_link<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool> {
        Objects::is_link(&self.archives.packed, name)
    }
}

/// What is there, and who reads it.
#[derive(Debug)]
struct Archives {
    packed: Store,
    reader: Arc<Reader>,
    /// As they were last listed.
    contents: Mutex<Option<Arc<Contents>>>,
    in_order: Mutex<LruCache<[u8; 32], Arc<Members>>>,
    /// What archives that were looked into do not hold, by their directories.
    lost: Mutex<HashMap<Arc<str>, Vec<SkippedName>>>,
    /// Whether the log has that archives are read whole.
    said: AtomicBool,
}

impl Archives {
    /// The archives, listed now if that is wanted or if they never were.
    async fn contents(&self, anew: bool) -> Result<Arc<Contents>> {
        if let Some(contents) = lock(&self.contents).as_ref().filter(|_| !anew) {
            return Ok(Arc::clone(contents));
        }
        let mut listed = self.packed.list("");
        let (mut archives, mut beside) = (Vec::new(), Vec::new());
        while let Some(object) = listed.try_next().await? {
            match NodeArchives::directory(&object.key) {
                Some(directory) => archives.push((directory, Arc::new(object))),
                None if beside.len() < BESIDE && !object.key.starts_with(crate::store::OWN_PREFIX) => {
                    beside.push(object);
                }
                None => {}
            }
            if archives.len() > MAX_ARCHIVES {
                let message = format!("{} has more than {MAX_ARCHIVES} archives", self.packed.name());
                return Err(Error::invalid(message));
            }
        }
        let contents = Arc::new(Contents::new(archives, beside));
        let there: HashSet<&str> = contents.archives.iter().map(|placed| &*placed.directory).collect();
        lock(&self.lost).retain(|directory, _| there.contains(&**directory));
        *lock(&self.contents) = Some(Arc::clone(&contents));
        Ok(contents)
    }

    /// What lies in an archive; `None` for one that cannot be opened as it is.
    async fn members(&self, contents: &Contents, placed: &Placed) -> Result<Option<Arc<Members>>> {
        let version = self.reader.version(&placed.object);
        if let Some(members) = lock(&self.in_order).get(&version) {
            return Ok(Some(Arc::clone(members)));
        }
        if self.reader.known_listing(&placed.object).await.is_none() && !self.said.swap(true, Relaxed) {
            let bytes: u64 = contents.archives.iter().map(|placed| placed.object.size).sum();
            tracing::warn!(
                "{}: to know what lies in them, archives are read whole, once; all of them are {} MB, and some were not read yet",
                self.packed.name(),
                bytes.div_ceil(1_000_000),
            );
        }
        let listing = match self.reader.listing(&placed.object).await {
            Ok(listing) => listing,
            Err(error) => {
                return match error.kind() {
                    Kind::NoKey if self.opens_none(contents).await => Err(error),
                    Kind::NoKey | Kind::Corrupt | Kind::Unsupported | Kind::Archived | Kind::Denied => {
                        tracing::warn!("{error}: nothing in it is shown");
                        Ok(None)
                    }
                    _ => Err(error),
                };
            }
        };
        let members = Arc::new(Members::new(placed, version, listing));
        lock(&self.lost).insert(Arc::clone(&placed.directory), members.lost());
        lock(&self.in_order).put(version, Arc::clone(&members));
        Ok(Some(members))
    }

    /// Whether no key opens any of some archives, so that the keys are wrong and not one archive is
    /// old.
    async fn opens_none(&self, contents: &Contents) -> bool {
        for placed in contents.archives.iter().rev().take(KEY_SAMPLES) {
            let ends = self.reader.check_ends(&placed.object).await;
            if !matches!(ends, Err(Broken { error, .. }) if error.kind() == Kind::NoKey) {
                return false;
            }
        }
        true
    }

    /// The file of that key: in which archive, and its number there.
    async fn find(&self, key: &str) -> Result<Option<(Arc<ObjectMeta>, usize, ObjectMeta)>> {
        let contents = self.contents(false).await?;
        for placed in contents.archives.iter().filter(|placed| key.starts_with(&*placed.directory)) {
            let Some(members) = self.members(&contents, placed).await? else { continue };
            if let Some((number, meta)) = members.find(&key[placed.directory.len()..]) {
                return Ok(Some((Arc::clone(&placed.object), number, meta)));
            }
        }
        Ok(None)
    }
}

/// The store's side of it.
#[derive(Debug)]
struct Unpacking(Arc<Archives>);

impl Backend for Unpacking {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        Box::new(ArchivePages::new(Arc::clone(&self.0), listing))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        async move {
            let found = self.0.find(key).await?;
            found.map(|(_, _, meta)| meta).ok_or_else(|| Error::not_found("no archive has a file of this name"))
        }
        .boxed()
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        async move {
            let found = self.0.find(&object.key).await?.filter(|(_, _, meta)| meta.e_tag == object.e_tag);
            let Some((archive, number, _)) = found else {
                let message = "its archive was replaced or deleted since it was listed";
                return Err(Error::new(Kind::Changed, message));
            };
            let file = self.0.reader.open(&archive, number).await?;
            let pieces = stream::try_unfold((file, range), |(file, mut rest)| async move {
                if rest.is_empty() {
                    return Ok(None);
                }
                let len = u32::try_from(rest.end - rest.start).unwrap_or(PIECE).min(PIECE);
                let bytes = file.read_at(rest.start, len).await?;
                if bytes.is_empty() {
                    return Err(Error::corrupt("the file in the archive is shorter than it was listed"));
                }
                rest.start += bytes.len() as u64;
                Ok(Some((bytes, (file, rest))))
            });
            Ok(pieces.boxed())
        }
        .boxed()
    }
}
