//! The parts of one mount, put together, and what it answers to `status` and its like.

use super::args::MountArgs;
use super::control::{Handler, Request};
use super::open;
use super::runtime_state::RunningMount;
use crate::cache::Cache;
use crate::catalog::{Catalog, Host};
use crate::fs::{MountOptions, Mounted};
use crate::reader::{Reader, ReaderOptions};
use crate::scratch::{Overlay, ScratchOptions};
use crate::store::Store;
use crate::time::Timestamp;
use crate::tree::{BackupTree, TreeOptions};
use crate::{Error, Result};
use futures::FutureExt;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often a running mount looks for new sets.
const REFRESH: Duration = Duration::from_mins(5);
/// How long one operation may wait for the pass over a large archive, which goes on meanwhile. A store that stalls fails after --timeout.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// Everything that serves one mount.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) cache_dir: PathBuf,
    cache: Cache,
    catalog: Arc<Catalog>,
    reader: Arc<Reader>,
    overlay: Arc<Overlay<BackupTree>>,
    options: MountOptions,
}

impl Parts {
    /// Opens the source, the keys, the cache and the scratch layer.
    pub(super) async fn open(args: &MountArgs, mountpoint: &Path) -> Result<Self> {
        let (uid, gid) = open::owner(&args.access.owner)?;
        let settings = args.settings()?;
        let timeout = settings.timeout.value;
        let store = open::store(&settings).await?;
        let keys = open::key_ring(&settings)?;
        if keys.is_empty() {
            tracing::warn!(
                "no key was given: archives cannot be read, only listed (--key-file, --key-command, encryption_key of the configuration)"
            );
        }
        let cache_dir = open::cache_dir(&args.backups.cache)?;
        let cache = open::cache(&args.backups.cache, &cache_dir)?;
        let catalog = open::catalog(&store, &cache_dir);
        let options = ReaderOptions {
            timeout,
            wait_limit: LONGEST_WAIT,
            memory_limit: args.backups.cache.memory_limit,
            ..ReaderOptions::default()
        };
        let reader = Reader::new(store.clone(), keys, cache.clone(), options)?;
        let tree = TreeOptions {
            source_host: args.view.source_host.clone().map(Host::new),
            at: args.view.at.clone(),
            live_data_dir: open::live_data_dir(&args.view.live_ids, &settings)?,
            directory: Some(cache_dir.join("catalog")),
            ..TreeOptions::default()
        };
        let tree = BackupTree::new(Arc::clone(&catalog), Arc::clone(&reader), tree)?;
        let overlay = if args.access.read_only {
            Overlay::read_only(tree)
        } else {
            let name = blake3::hash(mountpoint.as_os_str().as_bytes()).to_hex();
            let mut scratch = ScratchOptions::new(cache_dir.join("scratch").join(&name[..16]));
            scratch.limit_bytes = args.access.scratch_size;
            Overlay::new(tree, &scratch)?
        };
        let options = MountOptions {
            uid: uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
            gid: gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
            file_mode: args.access.owner.file_mode,
            dir_mode: args.access.owner.dir_mode,
            read_only: args.access.read_only,
            allow_other: args.access.allow_other,
            fsname: store.name().to_owned(),
            deadline: LONGEST_WAIT + timeout,
            ..MountOptions::default()
        };
        Ok(Self { store, cache_dir, cache, catalog, reader, overlay: Arc::new(overlay), options })
    }

    /// Mounts, and begins to look for new sets in the background.
    pub(super) fn mount(&self, mountpoint: &Path) -> Result<Mounted> {
        let mounted = crate::fs::mount(Arc::clone(&self.overlay), mountpoint, self.options.clone())?;
        // Ends with the catalog, that is with the mount.
        drop(self.catalog.keep_fresh(REFRESH));
        Ok(mounted)
    }

    /// Answers requests about this mount.
    pub(super) fn handler(&self, state: &RunningMount, mounted: &Arc<Mounted>) -> Handler {
        let (store, cache, reader) = (self.store.clone(), self.cache.clone(), Arc::clone(&self.reader));
        let (overlay, mounted) = (Arc::clone(&self.overlay), Arc::downgrade(mounted));
        let state = state.clone();
        let since = Timestamp::from(SystemTime::now());
        Arc::new(move |request| {
            let (store, cache, reader, overlay) =
                (store.clone(), cache.clone(), Arc::clone(&reader), Arc::clone(&overlay));
            let (state, mounted) = (state.clone(), mounted.clone());
            async move {
                match request {
                    Request::Status => {
                        let used = blocking(move || Ok(cache.status())).await?;
                        Ok(json!({
                            "mountpoint": state.mountpoint, "source": state.source, "pid": state.pid, "since": since.to_string(),
                            "log": state.log, "cache_dir": state.cache_dir, "cache": used, "scratch": scratch(&overlay),
                            "reader": reader.stats(), "warnings": warnings(&store),
                        }))
                    }
                    Request::CacheClear => blocking(move || cache.clear()).await.map(|freed| json!({ "freed_bytes": freed })),
                    Request::ScratchReset => {
                        let forgotten = overlay.reset().await?;
                        if let Some(mounted) = mounted.upgrade() {
                            mounted.forget(forgotten).await?;
                        }
                        Ok(json!({ "scratch": scratch(&overlay) }))
                    }
                }
            }
            .boxed()
        })
    }
}

fn scratch(overlay: &Overlay<BackupTree>) -> Value {
    let usage = overlay.usage();
    json!({ "bytes": usage.bytes, "limit_bytes": usage.limit_bytes, "names": usage.names, "limit_names": usage.limit_names })
}

fn warnings(store: &Store) -> Vec<String> {
    let skipped = store.skipped_names();
    skipped.iter().map(|name| format!("{} is not shown: {}", name.name, name.reason)).collect()
}

/// Runs file I/O where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(crate::Kind::Io, "a helper thread failed").with_source(e))?
}
