//! From arguments to the opened parts that every command works with.

use super::args::{AccessArgs, CacheArgs, KeyArgs, SourceArgs};
use crate::cache::Cache;
use crate::catalog::{Catalog, CatalogOptions};
use crate::keys::{KeyRing, KeySources};
use crate::store::{Source, Store, StoreOptions};
use crate::{Error, Kind, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the nodes have their configuration.
const NODE_CONFIG: &str = "/etc/backup/config.json";
/// Default of --cache-size where the disk has room, bytes.
const CACHE_SIZE: u64 = 10_000_000_000;

/// Opens the source and makes sure that it is there and lets us in.
///
/// `place` is what the user wrote; without it, or with `-`, the configuration's bucket is meant.
pub(super) async fn store(place: Option<&str>, args: &SourceArgs) -> Result<Store> {
    let place = match place.filter(|place| *place != "-") {
        Some(place) => place.to_owned(),
        None => return Err(Error::invalid(format!("no SOURCE given, and no bucket in {NODE_CONFIG}"))),
    };
    let options = StoreOptions {
        region: args.region.clone(),
        endpoint_url: args.endpoint_url.clone(),
        profile: args.profile.clone(),
        no_sign_request: args.no_sign_request,
        force_path_style: args.force_path_style,
        ca_bundle: args.ca_bundle.clone(),
        throttle: args.throttle,
        timeout: args.timeout,
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        ..StoreOptions::default()
    };
    let store = Store::open(&Source::parse(&place)?, &options)?;
    store.check().await?;
    Ok(store)
}

/// All passphrases that were named, in the order flag or environment, command, configuration; warns on standard error and in the log.
pub(super) fn key_ring(args: &KeyArgs) -> Result<KeyRing> {
    let sources =
        KeySources { files: args.key_file.clone(), command: args.key_command.clone(), ..KeySources::default() };
    let loaded = sources.load()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.ring)
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
    let size = match args.cache_size {
        Some(size) => size,
        None => {
            let free = rustix::fs::statvfs(directory);
            let free =
                free.map_err(|e| Error::io(format_args!("ask {} for its free space", directory.display()), e.into()))?;
            CACHE_SIZE.min(free.f_bavail.saturating_mul(free.f_frsize) / 4)
        }
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

pub(super) fn catalog(store: &Store, cache_dir: &Path) -> Arc<Catalog> {
    let options = CatalogOptions { directory: Some(cache_dir.join("catalog")), ..CatalogOptions::default() };
    Catalog::open(Arc::new(store.clone()), options)
}

/// Owner and group of everything in the mount.
pub(super) fn owner(args: &AccessArgs) -> Result<(u32, u32)> {
    let uid = match &args.uid {
        None => rustix::process::getuid().as_raw(),
        Some(name) => match name.parse() {
            Ok(uid) => uid,
            Err(_) => {
                nix::unistd::User::from_name(name).ok().flatten().ok_or_else(|| no_such("user", name))?.uid.as_raw()
            }
        },
    };
    let gid = match &args.gid {
        None => rustix::process::getgid().as_raw(),
        Some(name) => match name.parse() {
            Ok(gid) => gid,
            Err(_) => {
                nix::unistd::Group::from_name(name).ok().flatten().ok_or_else(|| no_such("group", name))?.gid.as_raw()
            }
        },
    };
    Ok((uid, gid))
}

fn no_such(what: &str, name: &str) -> Error {
    Error::new(Kind::Invalid, format!("there is no {what} called {name:?} on this machine"))
}
