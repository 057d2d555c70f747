//! The parts of one mount, put together, and what it answers to `status` and its like.

use super::broker::Outside;
use super::control::{Handler, Request};
use super::mount::{MountArgs, ViewArgs};
use super::options;
use super::remembered::OfMount;
use super::runtime_state::RunningMount;
use super::session::Session;
use super::terminal::say;
use super::watched_hosts::WatchedHosts;
use super::{glance, key_check, mixed, session, state_dir};
use cassmount::cache::Cache;
use cassmount::catalog::cluster::Meant;
use cassmount::catalog::{Catalog, Host};
use cassmount::config::Settings;
use cassmount::fs::{Aftermath, Device, Greeting, MountOptions, Mounted, Recording, Waits};
use cassmount::keys::KeyRing;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::restore::{LinkedFiles, linked_directories};
use cassmount::scratch::{Overlay, ScratchOptions};
use cassmount::store::{self, Store};
use cassmount::supervisor::{History, Link, check_program};
use cassmount::task::blocking;
use cassmount::time::Timestamp;
use cassmount::tree::{BackupTree, TreeOptions};
use cassmount::{Error, Kind, Result};
use futures::FutureExt;
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a running mount looks for new sets.
const REFRESH: Duration = Duration::from_mins(5);
/// How long one operation may wait for the pass over a large archive, which goes on meanwhile. A
/// store that stalls fails after --timeout.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// What is said at mount time on a kernel before Linux 6.9.
const NO_RESEND: &str = "this kernel cannot send requests again that a process took and never answered (Linux 6.9 can): \
    if the mount's daemon dies, the mount ends with it, and whoever uses it gets errors";

/// How long a mount waits until it is known whether its keys are right.
const KEY_PATIENCE: Duration = Duration::from_secs(5);

/// Layouts whose backups are archives, which mostly are encrypted.
const OF_ARCHIVES: [&str; 3] = ["cass_ops", "scripts", "node_archives"];
const NO_KEY: &str = "no key was given: encrypted archives cannot be read, only listed (--key-file, --key-command, encryption_key of the configuration)";

/// What is read before the process is locked up.
pub(super) struct Given {
    settings: Settings,
    keys: KeyRing,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Given {
    /// Resolves the settings; reads keys, which may take a program; looks up users.
    pub(super) fn read(args: &MountArgs) -> Result<Self> {
        let (uid, gid) = args.access.owner.ids()?;
        let mut settings = options::resolve(&args.command_line())?;
        let is_set = |(name, value): &(String, String)| name == "HOME" && !value.is_empty();
        // Neither systemd nor fstab sets it, and later the list of users cannot be read.
        if let Some(home) = std::env::home_dir().filter(|_| !settings.store.environment.iter().any(is_set)) {
            settings.store.environment.push(("HOME".into(), home.to_string_lossy().into_owned()));
        }
        let keys = session::keys(&settings)?;
        Ok(Self { settings, keys, uid, gid })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Has the store ask `outside` for what this process may not do.
    pub(super) fn ask(&mut self, outside: Arc<dyn store::Outside>) {
        self.settings.store.outside = Some(outside);
    }
}

/// Everything that serves one mount.
pub(super) struct Parts {
    pub(super) session: Session,
    cache: Cache,
    reader: Arc<Reader>,
    overlay: Arc<Overlay<BackupTree>>,
    options: MountOptions,
    no_resend: bool,
    say: Warnings,
}

/// Warnings of a mount that begins: for its log, and for the person who mounts.
#[derive(Clone, Copy)]
struct Warnings {
    /// Whether standard error is not the log, and somebody reads it still.
    on_stderr: bool,
}

impl Warnings {
    fn warning(self, text: &str) {
        tracing::warn!("{text}");
        if self.on_stderr {
            say!("cassmount: warning: {text}");
        }
    }
}

impl Parts {
    /// Opens the source, the cache and the scratch layer. `resumed`: of a mount that programs use
    /// already, so what its store cannot answer now it may answer later.
    pub(super) async fn open(
        args: &MountArgs,
        given: Given,
        mountpoint: &Path,
        resumed: bool,
        aftermath: Aftermath,
    ) -> Result<Self> {
        let Given { settings, keys, uid, gid } = given;
        let say = Warnings { on_stderr: !args.foreground && !resumed };
        if say.on_stderr {
            settings.warnings.iter().for_each(|warning| say!("cassmount: warning: {warning}"));
        }
        let timeout = settings.store.timeout;
        let live_data_dir = settings.live_data_dir()?;
        let session = Session::open_unchecked(settings, Some(keys.clone()))?;
        // The mount's own catalog keeps fresh what somebody looked at. To list what lies in archives
        // of whole nodes means to read them.
        let looked_at = (!resumed && session.unpacked.is_none()).then(|| session.catalog.apart());
        if !resumed {
            session.check().await?;
            // A wrong --layout is told now, and not by an empty mount.
            let layout = session.catalog.layout().await?;
            if keys.is_empty() && OF_ARCHIVES.contains(&layout) {
                say.warning(NO_KEY);
            }
            for odd in what_is_odd(&session, looked_at.as_ref(), args).await? {
                say.warning(&odd);
            }
        }
        let cache = session.cache()?;
        let options = ReaderOptions { wait_limit: LONGEST_WAIT, ..ReaderOptions::default() };
        let reader = session.reader(keys.clone(), cache.clone(), options)?;
        if let Some(catalog) = looked_at.filter(|_| !keys.is_empty()) {
            let reader = Arc::clone(&reader);
            let check = tokio::spawn(async move {
                match key_check::unopened(&catalog, &reader, &keys).await {
                    Ok(told) => told.iter().for_each(|told| say.warning(told)),
                    Err(error) => tracing::warn!("whether the keys are right is not known: {error}"),
                }
            });
            // It goes on in the background where the store is slow, and tells the log.
            if let Ok(Err(error)) = tokio::time::timeout(glance::wanted_patience(KEY_PATIENCE), check).await {
                tracing::warn!("whether the keys are right is not known: {error}");
            }
        }
        let known = session.cache_dir.known(mountpoint);
        if !resumed {
            cassmount::tree::forget_names(&known)?;
        }
        let journals = state_dir::journals(&[session.cache_dir.path().to_owned()])?;
        let tree = TreeOptions {
            linked: linked_directories(&journals, mountpoint)?,
            source_host: args.view.source_host.clone().map(Host::new),
            at: args.view.at.clone(),
            live_data_dir,
            names: Some(known.clone()),
            ..session.tree_options()
        };
        let tree = BackupTree::new(Arc::clone(&session.catalog), Arc::clone(&reader), tree)?;
        let mut scratch = ScratchOptions::new(session.cache_dir.scratch(mountpoint));
        scratch.limit_bytes = args.access.scratch_size;
        let overlay = match (args.access.read_only, resumed) {
            (true, _) => Overlay::read_only(tree),
            (false, false) => Overlay::new(tree, &scratch)?,
            (false, true) => Overlay::resume(tree, &scratch)?,
        };
        let linked = LinkedFiles::new(journals, mountpoint);
        let waits = Waits::new(Arc::new(move |path| linked.contains(path)), args.live_timeout);
        let options = MountOptions {
            uid: uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
            gid: gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
            file_mode: args.access.owner.file_mode,
            dir_mode: args.access.owner.dir_mode,
            read_only: args.access.read_only,
            allow_other: args.access.allow_other,
            fsname: session.store.name().to_owned(),
            deadline: LONGEST_WAIT + timeout,
            waits,
            recording: if resumed { Recording::Resumed(known) } else { Recording::New(known) },
            aftermath,
            ..MountOptions::default()
        };
        let (overlay, no_resend) = (Arc::new(overlay), args.no_resend());
        Ok(Self { session, cache, reader, overlay, options, no_resend, say })
    }

    /// Mounts, and gives the connection to the supervisor to hold.
    pub(super) fn mount(&self, mountpoint: &Path, outside: &Outside, supervisor: &Link) -> Result<Mounted> {
        let device = Device { fd: outside.mount(self.options.fsname.clone())?, mountpoint: mountpoint.to_owned() };
        let mut greeting = Greeting::receive(&device.fd)?;
        if self.no_resend {
            greeting = greeting.without_resend();
        }
        let resend = greeting.has_resend();
        if !resend {
            self.say.warning(NO_RESEND);
        }
        let held = device.fd.try_clone().map_err(|e| Error::io("duplicate the device's descriptor", e))?;
        let settled = |settled: &Greeting| supervisor.hold(held.as_fd(), settled.as_bytes(), resend);
        self.serve(device, outside, &greeting, settled)
    }

    /// Goes on with a mount that another process served until now.
    pub(super) fn resume(
        &self,
        mountpoint: &Path,
        outside: &Outside,
        device: OwnedFd,
        greeting: Vec<u8>,
    ) -> Result<Mounted> {
        let device = Device { fd: device, mountpoint: mountpoint.to_owned() };
        self.serve(device, outside, &Greeting::from_bytes(greeting)?, |_| Ok(()))
    }

    fn serve(
        &self,
        device: Device,
        outside: &Outside,
        greeting: &Greeting,
        settled: impl FnOnce(&Greeting) -> Result<()>,
    ) -> Result<Mounted> {
        let options = MountOptions { registrar: outside.registrar(&device.fd)?, ..self.options.clone() };
        let mounted = cassmount::fs::serve(Arc::clone(&self.overlay), device, greeting, options, settled)?;
        // Looks for new sets in the background; ends with the catalog, that is with the mount.
        drop(self.session.catalog.keep_fresh(REFRESH));
        Ok(mounted)
    }

    /// Begins to keep what the mount finds damaged.
    pub(super) fn remember(&self) -> Arc<OfMount> {
        let session = &self.session;
        OfMount::watch(&self.overlay, session.cache_dir.verify(), session.catalog.source().to_owned())
    }

    /// Begins to look at all hosts, for metrics and the page.
    pub(super) fn watch(&self, only: Option<Host>) -> WatchedHosts {
        let (catalog, reader) = (Arc::clone(&self.session.catalog), Arc::clone(&self.reader));
        WatchedHosts::watch(catalog, only, reader, self.session.cache_dir.verify())
    }

    /// Answers requests about this mount.
    pub(super) fn handler(
        &self,
        state: &RunningMount,
        history: &History,
        mounted: &Arc<Mounted>,
        supervisor: &Link,
        not_for_programs: Vec<PathBuf>,
    ) -> Handler {
        let (store, cache, reader) = (self.session.store.clone(), self.cache.clone(), Arc::clone(&self.reader));
        let (overlay, mounted) = (Arc::clone(&self.overlay), Arc::downgrade(mounted));
        let (state, history, supervisor) = (state.clone(), history.clone(), supervisor.clone());
        let waits = self.options.waits.clone();
        let source: Arc<str> = self.session.catalog.source().into();
        Arc::new(move |request| {
            let (store, cache, reader, overlay) =
                (store.clone(), cache.clone(), Arc::clone(&reader), Arc::clone(&overlay));
            let (state, history, mounted) = (state.clone(), history.clone(), mounted.clone());
            let (supervisor, waits) = (supervisor.clone(), waits.clone());
            let not_for_programs = not_for_programs.clone();
            let source = Arc::clone(&source);
            async move {
                match request {
                    Request::Status => {
                        let used = blocking(move || Ok(cache.status())).await?;
                        let passthrough = mounted.upgrade().is_some_and(|mounted| mounted.has_passthrough());
                        Ok(json!({
                            "mountpoint": state.mountpoint, "source": state.source, "version": super::version(),
                            "pid": state.pid, "worker_pid": state.worker_pid,
                            "since": Timestamp(history.since).to_string(), "restarts": history.restarts, "last_death": last_death(&history),
                            "upgrades": history.upgrades, "failed_upgrade": history.failed_upgrade,
                            "log": state.log, "cache_dir": state.cache_dir, "cache": used, "passthrough": passthrough, "scratch": scratch(&overlay),
                            "reader": reader.stats(), "waiting": waits.now(), "hosts": overlay.view().judgements(), "warnings": warnings(&store, &overlay),
                        }))
                    }
                    Request::MixedRuns { hosts, at, is_for_all } => {
                        let hosts: Vec<Host> = hosts.into_iter().map(Host::new).collect();
                        let meant = if is_for_all { Meant::Cluster } else { Meant::Host };
                        let mixed = overlay.view().mixed_runs(&hosts, &at, meant).await?;
                        Ok(mixed.iter().map(|mixed| mixed::sentence(&at, mixed, &source)).collect())
                    }
                    Request::CacheClear => blocking(move || cache.clear()).await.map(|freed| json!({ "freed_bytes": freed })),
                    Request::Upgrade(successor) => {
                        if !mounted.upgrade().is_some_and(|mounted| mounted.outlives_us()) {
                            return Err(Error::new(Kind::Unsupported, NO_RESEND));
                        }
                        let program = successor.accept()?;
                        check_program(&program, &not_for_programs)?;
                        supervisor.upgrade(program.as_fd())?;
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

/// Why the mount will show nothing, as far as what was asked for tells: a host or a time for which
/// there is no backup. Else what is odd about the hosts that it shows, looked at in that catalog.
async fn what_is_odd(session: &Session, looked_at: Option<&Arc<Catalog>>, args: &MountArgs) -> Result<Vec<String>> {
    let ViewArgs { source_host, at, .. } = &args.view;
    let at_hosts = || async {
        match looked_at {
            Some(catalog) => glance::at_hosts(catalog, &args.view).await,
            None => Vec::new(),
        }
    };
    if source_host.is_none() && at.is_none() {
        return Ok(at_hosts().await);
    }
    let hosts = match source_host {
        None => session.catalog.hosts().await?.hosts.clone(),
        Some(name) => match session.host(name).await {
            Ok(host) => vec![host],
            // It may come later: a new host's first backup.
            Err(error) if error.kind() == Kind::NotFound => return Ok(vec![format!("--source-host: {error}")]),
            Err(error) => return Err(error),
        },
    };
    let Some(at) = at else { return Ok(at_hosts().await) };
    let mut why = None;
    // The first that has a restore point ends this.
    for host in hosts {
        let sets = session.catalog.host(&host).await?;
        match sets.find_point(at) {
            Err(error) if error.kind() == Kind::NotFound => {
                // What is no time will be none later either.
                sets.points_until(at)?;
                why = why.or(Some(error));
            }
            Err(error) => return Err(error),
            Ok(_) => {
                let mut odd = Vec::new();
                if source_host.is_some() {
                    // The others are not shown: that they made sets then is all there is to know of them.
                    let judged = session.catalog.host_judged(&host).await?;
                    let mixed = judged.mixed_runs(at, Meant::Host)?;
                    let source = session.catalog.source();
                    odd.extend(mixed::newest_missing(&judged, at)?);
                    odd.extend(mixed.map(|mixed| format!("--{}", mixed::sentence(at, &mixed, source))));
                }
                odd.extend(at_hosts().await);
                return Ok(odd);
            }
        }
    }
    Ok(why.map(|error| format!("--at {at} shows no restore point: {error}")).into_iter().collect())
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
