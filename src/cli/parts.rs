//! The parts of one mount, put together, and what it answers to `status` and its like.

use super::args::MountArgs;
use super::control::{Handler, Request};
use super::open;
use super::runtime_state::RunningMount;
use crate::cache::Cache;
use crate::catalog::{Catalog, Host};
use crate::fs::{Aftermath, Device, Greeting, MountOptions, Mounted, Recording};
use crate::reader::{Reader, ReaderOptions};
use crate::scratch::{Overlay, ScratchOptions};
use crate::store::{Bundles, Store};
use crate::supervisor::{History, Link};
use crate::time::Timestamp;
use crate::tree::{BackupTree, TreeOptions};
use crate::{Error, Kind, Result};
use futures::FutureExt;
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a running mount looks for new sets.
const REFRESH: Duration = Duration::from_mins(5);
/// How long one operation may wait for the pass over a large archive, which goes on meanwhile. A store that stalls fails after --timeout.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// What is said at mount time on a kernel before Linux 6.9.
const NO_RESEND: &str = "this kernel cannot send requests again that a process took and never answered (Linux 6.9 can): \
    if the mount's daemon dies, the mount ends with it, and whoever uses it gets errors";

/// Everything that serves one mount.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) cache_dir: PathBuf,
    cache: Cache,
    catalog: Arc<Catalog>,
    reader: Arc<Reader>,
    overlay: Arc<Overlay<BackupTree>>,
    options: MountOptions,
    no_resend: bool,
}

impl Parts {
    /// Opens the source, the keys, the cache and the scratch layer. `resumed`: of a mount that programs use already, so what its store
    /// cannot answer now it may answer later.
    pub(super) async fn open(args: &MountArgs, mountpoint: &Path, resumed: bool, aftermath: Aftermath) -> Result<Self> {
        let (uid, gid) = open::owner(&args.access.owner)?;
        let settings = args.settings()?;
        let timeout = settings.timeout.value;
        let store = open::unchecked_store(&settings)?;
        if !resumed {
            store.check().await?;
        }
        let keys = open::key_ring(&settings)?;
        if keys.is_empty() {
            tracing::warn!(
                "no key was given: archives cannot be read, only listed (--key-file, --key-command, encryption_key of the configuration)"
            );
        }
        let cache_dir = open::cache_dir(&args.backups.cache)?;
        let cache = open::cache(&args.backups.cache, &cache_dir)?;
        let catalog = open::catalog(&settings, &store, &cache_dir)?;
        if !resumed {
            // A wrong --layout is told now, and not by an empty mount.
            catalog.layout().await?;
        }
        let options = ReaderOptions {
            timeout,
            wait_limit: LONGEST_WAIT,
            memory_limit: args.backups.cache.memory_limit,
            bundles: Some(Arc::clone(&catalog) as Arc<dyn Bundles>),
            ..ReaderOptions::default()
        };
        let reader = Reader::new(store.clone(), keys, cache.clone(), options)?;
        let name = blake3::hash(mountpoint.as_os_str().as_bytes()).to_hex();
        let of_this_mount = |directory: &str| cache_dir.join(directory).join(&name[..16]);
        let known = of_this_mount("known");
        if !resumed {
            crate::tree::forget_names(&known)?;
        }
        let tree = TreeOptions {
            source_host: args.view.source_host.clone().map(Host::new),
            at: args.view.at.clone(),
            live_data_dir: open::live_data_dir(&args.view.live_ids, &settings)?,
            directory: Some(cache_dir.join("catalog")),
            names: Some(known.clone()),
            ..TreeOptions::default()
        };
        let tree = BackupTree::new(Arc::clone(&catalog), Arc::clone(&reader), tree)?;
        let mut scratch = ScratchOptions::new(of_this_mount("scratch"));
        scratch.limit_bytes = args.access.scratch_size;
        let overlay = match (args.access.read_only, resumed) {
            (true, _) => Overlay::read_only(tree),
            (false, false) => Overlay::new(tree, &scratch)?,
            (false, true) => Overlay::resume(tree, &scratch)?,
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
            recording: if resumed { Recording::Resumed(known) } else { Recording::New(known) },
            aftermath,
            ..MountOptions::default()
        };
        let (overlay, no_resend) = (Arc::new(overlay), args.trouble.no_resend);
        Ok(Self { store, cache_dir, cache, catalog, reader, overlay, options, no_resend })
    }

    /// Mounts, and gives the connection to the supervisor to hold.
    pub(super) fn mount(&self, mountpoint: &Path, supervisor: &Link) -> Result<Mounted> {
        let device = Device::mount(mountpoint, &self.options)?;
        let mut greeting = Greeting::receive(&device.fd)?;
        if self.no_resend {
            greeting = greeting.without_resend();
        }
        let resend = greeting.has_resend();
        if !resend {
            tracing::warn!("{NO_RESEND}");
            eprintln!("cassmount: warning: {NO_RESEND}");
        }
        let held = device.fd.try_clone().map_err(|e| Error::io("duplicate the device's descriptor", e))?;
        self.serve(device, &greeting, |settled| supervisor.hold(held.as_fd(), settled.as_bytes(), resend))
    }

    /// Goes on with a mount that another process served until now.
    pub(super) fn resume(&self, mountpoint: &Path, device: OwnedFd, greeting: Vec<u8>) -> Result<Mounted> {
        let device = Device { fd: device, mountpoint: mountpoint.to_owned() };
        self.serve(device, &Greeting::from_bytes(greeting)?, |_| Ok(()))
    }

    fn serve(
        &self,
        device: Device,
        greeting: &Greeting,
        settled: impl FnOnce(&Greeting) -> Result<()>,
    ) -> Result<Mounted> {
        let mounted = crate::fs::serve(Arc::clone(&self.overlay), device, greeting, self.options.clone(), settled)?;
        // Looks for new sets in the background; ends with the catalog, that is with the mount.
        drop(self.catalog.keep_fresh(REFRESH));
        Ok(mounted)
    }

    /// Answers requests about this mount.
    pub(super) fn handler(
        &self,
        state: &RunningMount,
        history: &History,
        mounted: &Arc<Mounted>,
        supervisor: &Link,
    ) -> Handler {
        let (store, cache, reader) = (self.store.clone(), self.cache.clone(), Arc::clone(&self.reader));
        let (overlay, mounted) = (Arc::clone(&self.overlay), Arc::downgrade(mounted));
        let (state, history, supervisor) = (state.clone(), history.clone(), supervisor.clone());
        Arc::new(move |request| {
            let (store, cache, reader, overlay) =
                (store.clone(), cache.clone(), Arc::clone(&reader), Arc::clone(&overlay));
            let (state, history, mounted) = (state.clone(), history.clone(), mounted.clone());
            let supervisor = supervisor.clone();
            async move {
                match request {
                    Request::Status => {
                        let used = blocking(move || Ok(cache.status())).await?;
                        Ok(json!({
                            "mountpoint": state.mountpoint, "source": state.source, "version": super::version(),
                            "pid": state.pid, "worker_pid": state.worker_pid,
                            "since": Timestamp(history.since).to_string(), "restarts": history.restarts, "last_death": last_death(&history),
                            "upgrades": history.upgrades, "failed_upgrade": history.failed_upgrade,
                            "log": state.log, "cache_dir": state.cache_dir, "cache": used, "scratch": scratch(&overlay),
                            "reader": reader.stats(), "warnings": warnings(&store, &overlay),
                        }))
                    }
                    Request::CacheClear => blocking(move || cache.clear()).await.map(|freed| json!({ "freed_bytes": freed })),
                    Request::Upgrade(successor) => {
                        if !mounted.upgrade().is_some_and(|mounted| mounted.outlives_us()) {
                            return Err(Error::new(Kind::Unsupported, NO_RESEND));
                        }
                        supervisor.upgrade(successor.accept()?.as_fd())?;
                        Ok(json!({}))
                    }
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

fn last_death(history: &History) -> Value {
    let last = history.last.as_ref();
    last.map_or(
        Value::Null,
        |last| json!({ "at": Timestamp(last.at).to_string(), "pid": last.pid, "reason": last.to_string() }),
    )
}

fn warnings(store: &Store, overlay: &Overlay<BackupTree>) -> Vec<String> {
    let skipped = store.skipped_names();
    let skipped = skipped.iter().map(|name| format!("{} is not shown: {}", name.name, name.reason));
    skipped.chain(overlay.view().warnings()).collect()
}

/// Runs file I/O where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(Kind::Io, "a helper thread failed").with_source(e))?
}
