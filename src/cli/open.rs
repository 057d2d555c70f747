//! From arguments to the opened parts that every command works with.

use super::args::{BackupArgs, CacheArgs, LiveIdArgs, OwnerArgs};
use super::logging;
use crate::cache::Cache;
use crate::catalog::{Catalog, CatalogOptions, Host};
use crate::config::{Environment, Flags, Settings};
use crate::keys::KeyRing;
use crate::reader::{Reader, ReaderOptions};
use crate::store::{Bundles, Store};
use crate::tree::{BackupTree, TreeOptions};
use crate::{Error, Kind, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many hosts an error names that has to say which there are.
const HOSTS_NAMED: usize = 20;
/// How long a command that is done waits for what it keeps on disk.
const FINISH: Duration = Duration::from_secs(10);
/// Default of --cache-size where the disk has room, bytes.
const CACHE_SIZE: u64 = 10_000_000_000;

/// Begins a command: messages go to the terminal, and the settings are resolved. `None` when they were to be shown and nothing else done.
pub(super) fn begin(place: Option<&str>, args: &BackupArgs) -> Result<Option<Settings>> {
    logging::to_terminal(&args.log);
    let settings = settings(place, args, None)?;
    if args.source.show_config {
        show_settings(&settings);
        return Ok(None);
    }
    Ok(Some(settings))
}

/// What flags, environment and configuration say, in this order of precedence. `place` is the SOURCE that the user wrote; without it, or with `-`, the
/// configuration's bucket is meant. Warnings go to the log.
pub(super) fn settings(place: Option<&str>, args: &BackupArgs, live_data_dir: Option<&PathBuf>) -> Result<Settings> {
    let BackupArgs { source, keys, .. } = args;
    let flags = Flags {
        config: source.config.clone(),
        source: place.filter(|place| *place != "-").map(str::to_owned),
        region: source.region.clone(),
        endpoint_url: source.endpoint_url.clone(),
        profile: source.profile.clone(),
        no_sign_request: source.no_sign_request,
        force_path_style: source.force_path_style,
        ca_bundle: source.ca_bundle.clone(),
        throttle: source.throttle,
        timeout: source.timeout,
        layout: source.layout.clone(),
        rename_hosts: source.rename_host.iter().map(ToString::to_string).collect(),
        key_files: keys.key_file.clone(),
        key_command: keys.key_command.clone(),
        live_data_dir: live_data_dir.cloned(),
    };
    let settings = Settings::resolve(flags, Environment::of_process())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// Opens the source and makes sure that it is there and lets us in.
pub(super) async fn store(settings: &Settings) -> Result<Store> {
    let store = unchecked_store(settings)?;
    store.check().await?;
    Ok(store)
}

/// The same without asking it anything.
pub(super) fn unchecked_store(settings: &Settings) -> Result<Store> {
    Store::open(&settings.source()?, &settings.store_options())
}

/// All passphrases that were named; warnings go to the log.
pub(super) fn key_ring(settings: &Settings) -> Result<KeyRing> {
    let loaded = settings.key_sources().load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.ring)
}

/// `--show-config`: a table of what is set and where it comes from.
pub(super) fn show_settings(settings: &Settings) {
    let rows: Vec<Vec<String>> = settings
        .show()
        .into_iter()
        .map(|shown| vec![shown.name.to_owned(), shown.value, shown.origin.to_string()])
        .collect();
    print!("{}", super::table::render(&["SETTING", "VALUE", "FROM"], &[], &rows));
}

/// The cache directory as an absolute path, made if need be.
pub(super) fn cache_dir(args: &CacheArgs) -> Result<PathBuf> {
    let path = match &args.cache_dir {
        Some(path) => std::path::absolute(path).map_err(|e| Error::io("find the current directory", e))?,
        None if rustix::process::getuid().is_root() => "/var/cache/cassmount".into(),
        None => {
            let home = std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
            home.ok_or_else(|| Error::invalid("there is no home directory for the cache: name one with --cache-dir"))?
                .join("cassmount")
        }
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|e| Error::io(format_args!("create the cache directory {}", path.display()), e))?;
    Ok(path)
}

/// The cache as a mount uses it, bounded.
pub(super) fn cache(args: &CacheArgs, directory: &Path) -> Result<Cache> {
    let size = if let Some(size) = args.cache_size {
        size
    } else {
        let free = rustix::fs::statvfs(directory);
        let free =
            free.map_err(|e| Error::io(format_args!("ask {} for its free space", directory.display()), e.into()))?;
        CACHE_SIZE.min(free.f_bavail.saturating_mul(free.f_frsize) / 4)
    };
    Cache::open(&data_dir(directory), size)
}

/// The cache as it stands, to look at: no limit of ours may evict what a mount with another one keeps.
pub(super) fn whole_cache(directory: &Path) -> Result<Cache> {
    Cache::open(&data_dir(directory), u64::MAX)
}

fn data_dir(directory: &Path) -> PathBuf {
    directory.join("data")
}

pub(super) fn catalog(settings: &Settings, store: &Store, cache_dir: &Path) -> Result<Arc<Catalog>> {
    let layout = settings.layout.value.parse()?;
    let renames = settings.rename_hosts.iter().map(|rename| rename.parse()).collect::<Result<_>>()?;
    let directory = Some(cache_dir.join("catalog"));
    let options = CatalogOptions { directory, layout, renames, ..CatalogOptions::default() };
    Ok(Catalog::open(Arc::new(store.clone()), options))
}

/// The host of that name; `Kind::NotFound` with the names that there are.
pub(super) async fn host(catalog: &Arc<Catalog>, name: &str) -> Result<Host> {
    let known = catalog.hosts().await?;
    if let Some(host) = known.hosts.iter().find(|host| &*host.0 == name) {
        return Ok(host.clone());
    }
    let names: Vec<String> = known.hosts.iter().take(HOSTS_NAMED).map(ToString::to_string).collect();
    let source = catalog.source();
    Err(Error::not_found(format!("{source} has no backups of a host {name:?}; it has: {}", names.join(", "))))
}

/// What a command works with that reads backups.
pub(super) struct Reading {
    pub(super) catalog: Arc<Catalog>,
    pub(super) reader: Arc<Reader>,
    pub(super) keys: KeyRing,
    /// The cache directory.
    pub(super) directory: PathBuf,
}

/// Opens the source, the keys and the cache; `passes` archives are read at a time.
pub(super) async fn reading(settings: &Settings, args: &CacheArgs, passes: Option<usize>) -> Result<Reading> {
    crate::keys::forbid_core_dumps()?;
    let store = store(settings).await?;
    let keys = key_ring(settings)?;
    let directory = cache_dir(args)?;
    let catalog = catalog(settings, &store, &directory)?;
    let mut options = ReaderOptions {
        timeout: settings.timeout.value,
        memory_limit: args.memory_limit,
        bundles: Some(Arc::clone(&catalog) as Arc<dyn Bundles>),
        ..ReaderOptions::default()
    };
    options.max_passes = passes.unwrap_or(options.max_passes);
    let reader = Reader::new(store, keys.clone(), cache(args, &directory)?, options)?;
    Ok(Reading { catalog, reader, keys, directory })
}

/// What a command works with that looks at one host.
pub(super) struct OneHost {
    /// The source's name.
    pub(super) source: String,
    pub(super) host: Host,
    /// As a mount would show it.
    pub(super) tree: BackupTree,
    pub(super) catalog: Arc<Catalog>,
}

/// Opens everything, and lists the host's sets now.
pub(super) async fn one_host(settings: &Settings, cache: &CacheArgs, host: &str) -> Result<OneHost> {
    let Reading { catalog, reader, directory, .. } = reading(settings, cache, None).await?;
    let host = self::host(&catalog, host).await?;
    catalog.host_now(&host).await?;
    let source = catalog.source().to_owned();
    let options = TreeOptions { directory: Some(directory.join("catalog")), ..TreeOptions::default() };
    Ok(OneHost { source, host, tree: BackupTree::new(Arc::clone(&catalog), reader, options)?, catalog })
}

/// Runs a command's work on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Runtime::new().map_err(|e| Error::io("start the runtime's threads", e))?;
    let done = runtime.block_on(work);
    // What goes on in the background after an error may hang in the store; only what is being kept on disk is worth a wait.
    runtime.shutdown_timeout(FINISH);
    done
}

/// The owner and group that were named.
pub(super) fn owner(args: &OwnerArgs) -> Result<(Option<u32>, Option<u32>)> {
    let number = |name: &String| name.parse().ok();
    let user = |name: &String| Some(nix::unistd::User::from_name(name).ok().flatten()?.uid.as_raw());
    let group = |name: &String| Some(nix::unistd::Group::from_name(name).ok().flatten()?.gid.as_raw());
    let named = |what: &str, name: &Option<String>, find: &dyn Fn(&String) -> Option<u32>| {
        let found = |name| number(name).or_else(|| find(name)).ok_or_else(|| no_such(what, name));
        name.as_ref().map(found).transpose()
    };
    Ok((named("user", &args.uid, &user)?, named("group", &args.gid, &group)?))
}

/// The data directory whose tables give their ids, if any is to.
pub(super) fn live_data_dir(args: &LiveIdArgs, settings: &Settings) -> Result<Option<PathBuf>> {
    if !args.match_live_ids && args.live_data_dir.is_none() {
        return Ok(None);
    }
    let directory = settings.cassandra_data_dir.as_ref().map(|setting| setting.value.clone());
    directory.map(Some).ok_or_else(|| {
        Error::invalid("--match-live-ids needs cassandra_data_dir in the configuration, or --live-data-dir")
    })
}

fn no_such(what: &str, name: &str) -> Error {
    Error::new(Kind::Invalid, format!("there is no {what} called {name:?} on this machine"))
}
