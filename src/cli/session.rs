//! From options to the opened parts that commands work with.

use super::options::{self, BackupArgs, TablePatternArgs};
use super::{logging, remembered, table, wait};
use cassmount::cache::Cache;
use cassmount::cache_dir::CacheDir;
use cassmount::cassandra::TableName;
use cassmount::catalog::layout::NodeArchives;
use cassmount::catalog::{Catalog, CatalogOptions, Host, LayoutChoice, Objects};
use cassmount::config::{CacheSettings, CommandLine, Settings};
use cassmount::keys::KeyRing;
use cassmount::private;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Bundles, Store};
use cassmount::task::lock;
use cassmount::tree::{BackupTree, Damage, LackLog, TreeOptions};
use cassmount::unpacked::{Unpacked, with_plain_logs};
use cassmount::verify::FoundBefore;
use cassmount::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many hosts an error names that has to say which there are.
const HOSTS_NAMED: usize = 20;
/// How long a command that is done waits for what it keeps on disk.
const FINISH: Duration = Duration::from_secs(10);
/// How long a listing waits for an archive that is read to know what it holds.
const LONGEST_LISTING: Duration = Duration::from_hours(48);
/// Default of --cache-size where the disk has room, bytes.
const CACHE_SIZE: u64 = 10 << 30;

/// Begins a command: sends messages to the terminal, and resolves the settings. `None` when they
/// were to be shown and nothing else done.
pub(super) fn begin(source: Option<&str>, args: &BackupArgs) -> Result<Option<Settings>> {
    begin_with(&args.command_line(source), args)
}

/// Begins a command that has more settings than every command has.
pub(super) fn begin_with(given: &CommandLine, args: &BackupArgs) -> Result<Option<Settings>> {
    logging::to_terminal(&args.log);
    let settings = options::resolve(given)?;
    if args.source.show_config {
        show(&settings)?;
        return Ok(None);
    }
    Ok(Some(settings))
}

/// Prints a table of what is set and where it comes from.
pub(super) fn show(settings: &Settings) -> Result<()> {
    let row =
        |shown: &cassmount::config::Shown| vec![shown.name.to_owned(), shown.value.clone(), shown.origin.to_string()];
    let mut rows: Vec<Vec<String>> = settings.shown().iter().map(row).collect();
    if let Ok(source) = settings.source() {
        match Store::identity(&source, &settings.store) {
            Ok(identity) => rows.extend(identity.into_iter().map(Vec::from)),
            Err(error) => rows.push(vec!["identity".to_owned(), format!("cannot be told: {error}"), String::new()]),
        }
    }
    super::output::write(table::render(&["SETTING", "VALUE", "FROM"], &[], &rows).as_bytes())
}

/// A source that is open, and what lies beside it on disk.
pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) cache_dir: CacheDir,
    /// What lies in archives of many tables, where the layout is theirs, and what opens them.
    pub(super) unpacked: Option<Unpacked>,
    /// Once they were read: a program that tells them may cost, and what is odd is said once.
    keys: Mutex<Option<KeyRing>>,
    /// All that were made.
    readers: Mutex<Vec<Arc<Reader>>>,
    /// Of a command, for as long as it works; a daemon has a log.
    silence: Option<wait::Teller>,
}

impl Session {
    /// Opens the source, and makes sure that it is there and lets us in.
    pub(super) async fn open(settings: Settings) -> Result<Self> {
        Self::checked(Self::open_unchecked(settings, None)?).await
    }

    /// As [`Self::open`], and lists every set: somebody relies on what is there now.
    pub(super) async fn open_anew(settings: Settings) -> Result<Self> {
        Self::checked(Self::open_with(settings, None, true)?).await
    }

    async fn checked(mut session: Self) -> Result<Self> {
        session.silence = Some(wait::tell_of_silence(&session.store, session.settings.store.timeout));
        session.store.check().await?;
        Ok(session)
    }

    /// Opens the source without asking it anything. `keys`: where somebody has read them already.
    pub(super) fn open_unchecked(settings: Settings, keys: Option<KeyRing>) -> Result<Self> {
        Self::open_with(settings, keys, false)
    }

    fn open_with(settings: Settings, keys: Option<KeyRing>, lists_all: bool) -> Result<Self> {
        let store = with_plain_logs(&Store::open(&settings.source()?, &settings.store)?, &settings.store);
        let cache_dir = cache_dir(&settings.cache)?;
        let (mut layout, mut keys, mut unpacked) = (settings.layout.clone(), keys, None);
        let mut objects: Arc<dyn Objects> = Arc::new(store.clone());
        if layout.to_string() == NodeArchives::NAME {
            let ring = keys.take().map_or_else(|| self::keys(&settings), Ok)?;
            let found = unpack(&settings, &store, cache(&settings.cache, &cache_dir)?, ring.clone())?;
            objects = Arc::new(found.clone());
            (keys, unpacked) = (Some(ring), Some(found));
            // Nothing but what is in the archives tells a layout.
            layout = LayoutChoice::Certain(Arc::new(NodeArchives));
        }
        let (directory, renames) = (Some(cache_dir.catalog()), settings.rename_hosts.clone());
        let verified = Some(Arc::new(FoundBefore::new(cache_dir.verify(), store.name())) as _);
        let options = CatalogOptions { directory, layout, renames, lists_all, verified, ..CatalogOptions::default() };
        let catalog = Catalog::open(objects, options);
        let keys = Mutex::new(keys);
        Ok(Self { settings, store, catalog, cache_dir, unpacked, keys, readers: Mutex::default(), silence: None })
    }

    /// Keeps what archives were found not to give out, so that later commands know it.
    pub(super) async fn remember(&self, host: &Host, damages: Vec<Damage>) -> Result<()> {
        remembered::keep(&self.cache_dir.verify(), self.catalog.source(), host, damages).await
    }

    /// Makes sure that the source is there and lets us in.
    pub(super) async fn check(&self) -> Result<()> {
        let _teller = wait::tell_of_silence(&self.store, self.settings.store.timeout);
        self.store.check().await
    }

    /// All passphrases that were named; warnings go to the log.
    pub(super) fn keys(&self) -> Result<KeyRing> {
        let mut known = lock(&self.keys);
        if let Some(keys) = &*known {
            return Ok(keys.clone());
        }
        let keys = self::keys(&self.settings)?;
        *known = Some(keys.clone());
        Ok(keys)
    }

    /// The cache as a mount uses it, bounded.
    pub(super) fn cache(&self) -> Result<Cache> {
        cache(&self.settings.cache, &self.cache_dir)
    }

    /// A reader of the source's archives. What the settings say goes before `options`.
    pub(super) fn reader(&self, keys: KeyRing, cache: Cache, options: ReaderOptions) -> Result<Arc<Reader>> {
        let bundles = Some(Arc::clone(&self.catalog) as Arc<dyn Bundles>);
        let options = ReaderOptions { bundles, ..reader_options(&self.settings, options) };
        let store = self.unpacked.as_ref().map_or(&self.store, Unpacked::store);
        let reader = Reader::new(store.clone(), keys, cache, options)?;
        lock(&self.readers).push(Arc::clone(&reader));
        Ok(reader)
    }

    /// The readers that were made until now.
    pub(super) fn readers(&self) -> Vec<Arc<Reader>> {
        lock(&self.readers).clone()
    }

    /// Options of a tree that remembers what it learns.
    pub(super) fn tree_options(&self) -> TreeOptions {
        TreeOptions { directory: Some(self.cache_dir.catalog()), ..TreeOptions::default() }
    }

    /// The source's backups as a mount would show them.
    pub(super) fn tree(&self) -> Result<BackupTree> {
        self.tree_of(TreeOptions { lack_log: LackLog::Count, ..self.tree_options() })
    }

    /// As [`Self::tree`], for who reports by itself what restore points lack.
    pub(super) fn unlogged_tree(&self) -> Result<BackupTree> {
        self.tree_of(TreeOptions { lack_log: LackLog::Nothing, ..self.tree_options() })
    }

    fn tree_of(&self, options: TreeOptions) -> Result<BackupTree> {
        let reader = self.reader(self.keys()?, self.cache()?, ReaderOptions::default())?;
        BackupTree::new(Arc::clone(&self.catalog), reader, options)
    }

    /// Makes sure that some key opens the host's archives, before anything else of them is fetched.
    ///
    /// # Errors
    /// `NoKey`, in one sentence.
    pub(super) async fn check_keys(&self, reader: &Reader, host: &Host) -> Result<()> {
        let sets = self.catalog.host(host).await?;
        // Of the newest sets, where today's key is most likely, and of the oldest.
        let sampled = sets.sets.iter().rev().take(2).chain(sets.sets.first());
        let archives: Vec<_> =
            sampled.flat_map(|set| set.archives().take(4).collect::<Vec<_>>()).map(|archive| archive.object).collect();
        reader.check_keys(archives).await
    }

    /// The tables that are meant, of those that these hosts have; none: all are.
    pub(super) async fn tables(&self, only: &TablePatternArgs, hosts: &[Host]) -> Result<Vec<TableName>> {
        if let Some(names) = only.names() {
            return Ok(names);
        }
        let mut tables = BTreeSet::new();
        for host in hosts {
            match self.catalog.host(host).await {
                Ok(sets) => tables.extend(sets.tables()),
                // A directory beside the hosts that has nothing in it.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        only.among(&tables)
    }

    /// As [`Self::tables`], among those that a restore point has, or lacks.
    pub(super) async fn tables_at(&self, only: &TablePatternArgs, host: &Host, point: &str) -> Result<Vec<TableName>> {
        if let Some(names) = only.names() {
            return Ok(names);
        }
        let tree = self.unlogged_tree()?;
        let point = tree.point_info(host, point).await?;
        let there = tree.point_tables(host, &point.tag).await?;
        let lacking = point.lacks.iter().filter_map(|lack| lack.subject.table().cloned());
        only.among(&there.into_iter().map(|table| table.table).chain(lacking).collect())
    }

    /// The host that is named, or all of them.
    pub(super) async fn hosts(&self, name: Option<&str>) -> Result<Vec<Host>> {
        match name {
            Some(name) => Ok(vec![self.host(name).await?]),
            None => Ok(self.catalog.hosts().await?.hosts.clone()),
        }
    }

    /// The host of that name, listed now; `Kind::NotFound` with the names that there are.
    pub(super) async fn host(&self, name: &str) -> Result<Host> {
        let known = self.catalog.hosts().await?;
        let Some(host) = known.hosts.iter().find(|host| &*host.0 == name) else {
            let names: Vec<String> = known.hosts.iter().take(HOSTS_NAMED).map(ToString::to_string).collect();
            let source = self.catalog.source();
            let has = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
            return Err(Error::not_found(format!("{source} has no backups of a host {name:?}; it has: {has}")));
        };
        self.catalog.host_now(host).await?;
        self.catalog.host_judged(host).await?;
        Ok(host.clone())
    }
}

/// What lies in the source's archives of many tables.
fn unpack(settings: &Settings, store: &Store, cache: Cache, keys: KeyRing) -> Result<Unpacked> {
    let options = ReaderOptions { whole_trees: true, wait_limit: LONGEST_LISTING, ..ReaderOptions::default() };
    let reader = Reader::new(store.clone(), keys, cache, reader_options(settings, options))?;
    Ok(Unpacked::new(store.clone(), reader))
}

fn reader_options(settings: &Settings, options: ReaderOptions) -> ReaderOptions {
    ReaderOptions {
        timeout: settings.store.timeout,
        memory_limit: settings.cache.memory_limit,
        envelope: settings.envelope,
        allow_plaintext: settings.allow_plaintext,
        ..options
    }
}

fn cache(settings: &CacheSettings, directory: &CacheDir) -> Result<Cache> {
    let size = match settings.size {
        Some(size) => size,
        None => CACHE_SIZE.min(free_space(directory.path())? / 4),
    };
    Cache::open(&directory.data(), size).map_err(|error| unusable(&error))
}

/// All passphrases that were named; warnings go to the log.
pub(super) fn keys(settings: &Settings) -> Result<KeyRing> {
    cassmount::keys::forbid_core_dumps()?;
    let loaded = settings.keys.load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.ring)
}

/// The cache directory as an absolute path.
pub(super) fn cache_path(settings: &CacheSettings) -> Result<PathBuf> {
    Ok(match &settings.directory {
        Some(path) => std::path::absolute(path).map_err(|e| Error::io("find the current directory", e))?,
        None if rustix::process::geteuid().is_root() => "/var/cache/cassmount".into(),
        None => {
            let home = std::env::var_os("XDG_CACHE_HOME")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
                .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            home.ok_or_else(|| Error::invalid("there is no home directory for the cache: name one with --cache-dir"))?
                .join("cassmount")
        }
    })
}

/// The cache directory, made if need be.
///
/// # Errors
/// Where it is not this user's alone, or holds other things.
pub(super) fn cache_dir(settings: &CacheSettings) -> Result<CacheDir> {
    let directory = CacheDir::new(cache_path(settings)?);
    let adopted = cassmount::cache::adopt(&directory).and_then(|()| private::directory(directory.path()));
    adopted.map_err(|error| unusable(&error))?;
    Ok(directory)
}

/// The cache as it stands, to look at: no limit of ours may evict what a mount with another one
/// keeps.
pub(super) fn whole_cache(directory: &CacheDir) -> Result<Cache> {
    Cache::open(&directory.data(), u64::MAX).map_err(|error| unusable(&error))
}

/// Also a disk that is full, or mounted read-only, is the cause that a person can only see where
/// the option is named.
fn unusable(error: &Error) -> Error {
    Error::new(error.kind(), format!("the cache directory cannot be used (--cache-dir names another): {error}"))
}

fn free_space(directory: &Path) -> Result<u64> {
    let free = rustix::fs::statvfs(directory);
    let free = free.map_err(|e| Error::io(format_args!("ask {} for its free space", directory.display()), e.into()))?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

/// Runs a command's work on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Runtime::new().map_err(|e| Error::io("start the runtime's threads", e))?;
    let done = runtime.block_on(work);
    // What goes on in the background after an error may hang in the store; only what is being kept
    // on disk is worth a wait.
    runtime.shutdown_timeout(FINISH);
    done
}
