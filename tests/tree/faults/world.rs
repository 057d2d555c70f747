//! What is in the store, what went wrong with it, and what may come of that.

use super::store::{Aim, Fault, FaultStore, OF_LISTINGS, OF_OBJECTS, Trouble};
use super::{Finding, Operation};
use bytes::Bytes;
use cassmount::cache::Cache;
use cassmount::catalog::{Catalog, CatalogOptions, Host};
use cassmount::keys::{Key, KeyRing, Passphrase};
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Backend, Store, StoreOptions};
use cassmount::tree::{BackupTree, TreeOptions};
use cassmount::view::View;
use cassmount::{Error, Kind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use testkit::bucket::{HOST, PASSPHRASE, Tar, crc_db, encrypt, gzip, index_db, statistics_db};
use testkit::walk::node_at;

/// A full and an incremental.
const TAGS: [&str; 2] = ["2026-11-20-03-00", "2026-11-21-03-00"];
const TABLES: [&str; 2] = ["carts", "users"];

/// One version of one archive: the files in it, and the object.
struct Archive {
    files: BTreeMap<String, Bytes>,
    object: Bytes,
}

impl Archive {
    /// Sizes differ: what somebody puts in place of another object of its size, with its ETag, and
    /// sealed with the key, no format tells.
    fn new(set: usize, table: usize, version: usize) -> Self {
        let mut files = BTreeMap::new();
        let mut tar = Tar::new();
        for sstable in 1..=2 {
            let generation = 10 * set + sstable;
            let mut random = testkit::outlive::random::Random::new((generation * 4 + table * 2 + version) as u64);
            let data = random.bytes(5000 + 700 * set + 3000 * table + 300 * version);
            let components = [
                ("Data.db", data.clone()),
                ("Digest.crc32", crc32fast::hash(&data).to_string().into_bytes()),
                ("Index.db", index_db([&random.bytes(100)[..]])),
                ("Statistics.db", statistics_db(1)),
                ("CRC.db", crc_db(&data)),
            ];
            for (component, content) in components {
                let name = format!("nb-{generation}-big-{component}");
                tar = tar.file(format!("./{name}"), &content);
                files.insert(name, content.into());
            }
        }
        Self { files, object: encrypt(&gzip(&tar.end())).into() }
    }
}

/// By set, table and version.
static ARCHIVES: LazyLock<Vec<Archive>> =
    LazyLock::new(|| (0..8).map(|index| Archive::new(index >> 2, index >> 1 & 1, index & 1)).collect());

fn archive(set: usize, table: usize, version: usize) -> &'static Archive {
    &ARCHIVES[set << 2 | table << 1 | version]
}

fn archive_key(set: usize, table: usize) -> String {
    format!("{HOST}/{}/ks/{}.tar.gz.enc", TAGS[set], TABLES[table])
}

fn manifest_key(set: usize) -> String {
    format!("{HOST}/{}/backup_manifest.json", TAGS[set])
}

/// A process that shows the store.
struct Process {
    tree: BackupTree,
    catalog: Arc<Catalog>,
}

pub(super) struct World<'a> {
    store: FaultStore,
    deadline: Duration,
    /// What the store is called: of another one nothing is known.
    name: String,
    cache: &'a Path,
    process: Option<Process>,
    /// Versions of each archive that a reader may see, by set and table.
    versions: BTreeMap<(usize, usize), Vec<usize>>,
    /// Kinds of errors that what went wrong explains: of faults that are there, and of those that
    /// were.
    active: Vec<Kind>,
    remembered: Vec<Kind>,
    /// Names may be missing, if that is told.
    may_lack: bool,
    /// Reads with the right bytes, and errors.
    pub(super) right: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl<'a> World<'a> {
    /// A cache directory is made of many, so it is used again.
    pub(super) fn new(cache: &'a Path, deadline: Duration) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let store = FaultStore::default();
        let mut versions = BTreeMap::new();
        for (set, tag) in TAGS.iter().enumerate() {
            let kind = ["full", "incremental"][set];
            let time = format!("{}T03:00:09Z", &tag[..10]);
            let manifest = format!(
                r#"{{"backup_id":"{tag}","backup_type":"{kind}","timestamp_utc":"{time}","tables_backed_up":["ks/carts","ks/users"],
                    "tables_backed_up_count":2}}"#
            );
            store.put(&manifest_key(set), manifest.into());
            for table in 0..TABLES.len() {
                store.put(&archive_key(set, table), archive(set, table, 0).object.clone());
                versions.insert((set, table), vec![0]);
            }
        }
        let mut world = Self {
            store,
            deadline,
            name: format!("memory://{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            cache,
            process: None,
            versions,
            active: Vec::new(),
            remembered: Vec::new(),
            may_lack: false,
            right: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        world.restart();
        world.evict();
        world
    }

    fn open_cache(&self) -> Cache {
        // Less than all the files need.
        Cache::open(self.cache, 64 << 10).unwrap()
    }

    fn evict(&self) {
        self.open_cache().clear().unwrap();
    }

    fn restart(&mut self) {
        self.process = None;
        let options = StoreOptions { timeout: self.deadline, ..StoreOptions::default() };
        let store = Store::with_backend(&*self.name, Arc::new(self.store.clone()) as Arc<dyn Backend>, &options);
        let passphrase = Passphrase::new(PASSPHRASE.as_bytes().to_vec());
        let keys = KeyRing::new(vec![Key { label: "key".into(), passphrase }]);
        let catalog = Catalog::open(Arc::new(store.clone()), CatalogOptions::default());
        let options = ReaderOptions {
            timeout: self.deadline,
            spacing: Some(cassmount::archive::compression::Spacing::every(4096)),
            ..ReaderOptions::default()
        };
        let reader = Reader::new(store, keys, self.open_cache(), options).unwrap();
        let tree = BackupTree::new(Arc::clone(&catalog), reader, TreeOptions::default()).unwrap();
        self.process = Some(Process { tree, catalog });
        // It knows what there is now, and remembers no failure.
        for versions in self.versions.values_mut() {
            versions.drain(..versions.len() - 1);
        }
        self.remembered.clear();
        self.may_lack = !self.active.is_empty();
    }

    fn tree(&self) -> &BackupTree {
        &self.process.as_ref().expect("a process").tree
    }

    /// The files of both restore points: path, and what it may hold.
    fn files(&self) -> Vec<(String, Vec<Bytes>)> {
        let mut files = Vec::new();
        for (point, tag) in TAGS.iter().enumerate() {
            for ((set, table), versions) in self.versions.iter().filter(|((set, _), _)| *set <= point) {
                for name in archive(*set, *table, 0).files.keys() {
                    let contents = versions.iter().map(|version| archive(*set, *table, *version).files[name].clone());
                    files.push((
                        format!("{HOST}/restore-points/{tag}/ks/{}/{name}", TABLES[*table]),
                        contents.collect(),
                    ));
                }
            }
        }
        files
    }

    /// Directories and the names in them that have to be shown.
    fn directories(&self) -> Vec<(String, Vec<String>)> {
        let mut directories = BTreeMap::<String, Vec<String>>::new();
        for (path, _) in self.files() {
            for (at, _) in path.match_indices('/') {
                let rest = &path[at + 1..];
                let name = rest.split('/').next().unwrap().to_owned();
                let names = directories.entry(path[..at].to_owned()).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        directories.into_iter().collect()
    }

    /// Whether an error is one that what went wrong explains.
    fn explains(&self, error: &Error) -> bool {
        let kind = error.kind();
        self.active.contains(&kind) || self.remembered.contains(&kind)
    }

    /// Whether what is missing is told to whoever looks: as what the point lacks, or as a set that
    /// is in none.
    async fn tells(&self) -> bool {
        let catalog = &self.process.as_ref().expect("a process").catalog;
        let Ok(sets) = catalog.host(&Host::new(HOST)).await else { return false };
        let points = sets.chains.points().len();
        !sets.completeness.outside().is_empty() || (0..points).any(|point| !sets.completeness.is_whole(point))
    }

    /// An error on the way to `path`: one that is explained, or a name that is told to be missing.
    async fn judge(&self, what: &str, path: &str, error: &Error) -> Result<(), Finding> {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let is_told = || async { error.to_string().contains("is no restore point: ") || self.tells().await };
        if error.kind() == Kind::NotFound {
            return self.judge_missing(is_told().await, || format!("{what} {path}: {error}"));
        }
        // A set whose manifest does not come may be a restore point.
        let is_manifest = self.may_lack && error.kind() == Kind::Unreachable && is_told().await;
        if is_manifest || self.explains(error) {
            return Ok(());
        }
        let why = format!("{what} {path}: nothing explains {error:?}");
        Err(match error.kind() {
            Kind::TimedOut | Kind::Unreachable => Finding::Late(why),
            _ => Finding::Wrong(why),
        })
    }

    /// Something is missing that the store has.
    fn judge_missing(&self, is_told: bool, what: impl Fn() -> String) -> Result<(), Finding> {
        match (is_told, self.may_lack) {
            (true, true) => Ok(()),
            // A listing or a manifest that came too late is told, too.
            (true, false) => Err(Finding::Late(format!("{}: missing, and nothing is wrong", what()))),
            (false, _) => Err(Finding::Wrong(format!("{}: missing without a word", what()))),
        }
    }

    async fn read(&self, file: usize, part: Option<(u16, u16)>) -> Result<(), Finding> {
        let files = self.files();
        let (path, contents) = &files[file % files.len()];
        let read = async {
            let tree = self.tree();
            let node = node_at(tree, path).await?;
            let file = tree.open(&node).await?;
            let (at, len) = part.map_or((0, 100_000), |(at, len)| (u64::from(at) % 9000, u32::from(len)));
            Ok((at, len, file.read_at(at, len).await?))
        };
        match read.await {
            Err(error) => self.judge("read", path, &error).await,
            Ok((at, len, bytes)) => {
                let is_of = |content: &Bytes| {
                    let from = (at as usize).min(content.len());
                    bytes == content.slice(from..(from + len as usize).min(content.len()))
                };
                self.right.fetch_add(1, Ordering::Relaxed);
                if contents.iter().any(is_of) {
                    Ok(())
                } else {
                    Err(Finding::Wrong(format!("{path}: wrong bytes at {at}")))
                }
            }
        }
    }

    async fn list(&self, directory: usize) -> Result<(), Finding> {
        let directories = self.directories();
        let (path, names) = &directories[directory % directories.len()];
        let listed = async {
            let tree = self.tree();
            tree.list(&node_at(tree, path).await?).await
        };
        match listed.await {
            Err(error) => self.judge("list", path, &error).await,
            Ok(listed) => {
                let is_there = |name: &&String| listed.iter().any(|entry| *entry.name == ***name);
                match names.iter().find(|name| !is_there(name)) {
                    None => Ok(()),
                    Some(name) => self.judge_missing(self.tells().await, || format!("{path} does not show {name}")),
                }
            }
        }
    }

    /// Whether nobody could tell what is missing then: of a set that is nowhere in the listings, and
    /// of an archive that a manifest may not name any more.
    fn is_beyond_telling(&self, set: usize, key: &str, trouble: Trouble) -> bool {
        let (archives, manifest) = ([archive_key(set, 0), archive_key(set, 1)], manifest_key(set));
        let hides = |other: &String| *other != key && self.store.has(other, Trouble::Hidden);
        match trouble {
            Trouble::Hidden if *key == manifest => archives.iter().all(hides),
            Trouble::Hidden => {
                self.store.has(&manifest, Trouble::Flipped) || (hides(&manifest) && archives.iter().any(hides))
            }
            Trouble::Flipped => *key == manifest && archives.iter().any(hides),
            _ => false,
        }
    }

    fn order(&mut self, fault: Fault) {
        self.active.extend(fault.trouble.kinds());
        // Listings and manifests decide what there is.
        self.may_lack = true;
        self.store.order(fault);
    }

    pub(super) async fn act(&mut self, operation: &Operation) -> Result<(), Finding> {
        match *operation {
            Operation::Read { file, at, len } => return self.read(file, Some((at, len))).await,
            Operation::ReadWhole { file } => return self.read(file, None).await,
            Operation::List { directory } => return self.list(directory).await,
            Operation::Break { object, trouble, times, at } => {
                let (set, key) = match object {
                    0..4 => (object >> 1, archive_key(object >> 1, object & 1)),
                    _ => (object & 1, manifest_key(object & 1)),
                };
                if self.is_beyond_telling(set, &key, OF_OBJECTS[trouble]) {
                    return Ok(());
                }
                self.order(Fault { aim: Aim::Object(key), trouble: OF_OBJECTS[trouble], times, at });
            }
            Operation::BreakListings { trouble, times } => {
                self.order(Fault { aim: Aim::Listings, trouble: OF_LISTINGS[trouble], times, at: 0 });
            }
            Operation::Heal => {
                self.store.heal();
                // What an archive was found to be is believed for a while; what a listing said,
                // until the next.
                self.remembered.append(&mut self.active);
            }
            Operation::Evict => self.evict(),
            Operation::Restart => self.restart(),
            Operation::Refresh => {
                let catalog = Arc::clone(&self.process.as_ref().expect("a process").catalog);
                if let Err(error) = catalog.refresh().await {
                    return self.judge("refresh", HOST, &error).await;
                }
            }
            Operation::Replace { set, table } => {
                let versions = self.versions.get_mut(&(set, table)).expect("an archive");
                let next = 1 - versions.last().expect("a version");
                versions.push(next);
                self.store.put(&archive_key(set, table), archive(set, table, next).object.clone());
                self.remembered.push(Kind::Changed);
            }
        }
        Ok(())
    }

    /// With the store in order, a new process shows everything.
    pub(super) async fn recover(&mut self) -> Result<(), Finding> {
        self.store.heal();
        self.active.clear();
        self.restart();
        for file in 0..self.files().len() {
            self.read(file, None).await?;
        }
        for directory in 0..self.directories().len() {
            self.list(directory).await?;
        }
        Ok(())
    }
}
