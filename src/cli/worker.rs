//! `cassmount worker`: what answers a mount's requests, started by its supervisor, for the first
//! time or in place of one that died.

use super::broker::{Broker, Outside};
use super::mount::MountArgs;
use super::parts::{Given, Parts};
use super::runtime_state::{RunningMount, mounted_device};
use super::terminal::say;
use super::unconfined::Unconfined;
use super::{confinement, control, crash_report, daemon, exit, logging, memory, metrics};
use cassmount::catalog::Host;
use cassmount::fs::{Aftermath, Mounted, Trials};
use cassmount::sandbox::{self, Watched};
use cassmount::store::Store;
use cassmount::supervisor::{History, Link, Order, Start};
use cassmount::task::blocking;
use cassmount::{Error, Kind, Result};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

/// How often it is looked whether what may be used was replaced.
const LOOK: Duration = Duration::from_secs(5);

pub(super) fn run(args: &MountArgs) -> ExitCode {
    let (supervisor, start, device) = match Link::open() {
        Ok(opened) => opened,
        Err(error) => return exit::end(&Err(error)),
    };
    let of_panics = supervisor.clone();
    crash_report::end_on_panic(move |error| of_panics.failed(error));
    let is_first = device.is_none();
    let mut has_served = false;
    let ended = serve(args, &supervisor, start, device, &mut has_served);
    if let Err(error) = &ended {
        // While it does not serve yet, the supervisor says this to the person who mounts: in the
        // foreground once is enough.
        if has_served || !is_first || !args.foreground {
            tracing::error!("{error}");
        }
        supervisor.failed(error);
    }
    exit::status(&ended)
}

fn serve(
    args: &MountArgs,
    supervisor: &Link,
    start: Start,
    device: Option<OwnedFd>,
    has_served: &mut bool,
) -> Result<()> {
    let mountpoint = PathBuf::from(OsString::from_vec(start.mountpoint.clone()));
    let log = if args.foreground {
        logging::to_stderr(&args.backups.log);
        None
    } else {
        Some(logging::to_file(&args.backups.log, &args.log_file, &mountpoint)?)
    };
    let aftermath = aftermath(args, supervisor, &start, log.as_deref(), &mountpoint);
    let Locked { given, outside, socket, watched } = lock_up(args, &mountpoint)?;
    let not_for_programs = super::mount::not_for_programs(args, given.settings(), &mountpoint)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cassmount")
        .max_blocking_threads(64)
        .build()
        .map_err(|e| Error::io("start the runtime's threads", e))?;
    let served = runtime.block_on(async {
        let parts = Parts::open(args, given, &mountpoint, device.is_some(), aftermath).await?;
        let mut state = RunningMount {
            pid: std::os::unix::process::parent_id(),
            worker_pid: std::process::id(),
            mountpoint: mountpoint.clone(),
            source: parts.session.store.name().to_owned(),
            cache_dir: parts.session.cache_dir.path().to_owned(),
            log,
            device: None,
        };
        let resumed = device.is_some();
        let mounted = Arc::new(match device.zip(start.greeting) {
            Some((device, greeting)) => parts.resume(&mountpoint, &outside, device, greeting)?,
            None => parts.mount(&mountpoint, &outside, supervisor)?,
        });
        state.device = mounted_device(&mountpoint);
        let handler = parts.handler(&state, &start.history, &mounted, supervisor, not_for_programs);
        // What serves programs must not end with what only tells of it, but whoever mounts should
        // know what does not work.
        let optional = |done: Result<()>| match done {
            Err(error) if resumed => {
                tracing::warn!("{error}");
                Ok(())
            }
            other => other,
        };
        let (mut scraped, mut answering, mut announced) = (None, None, None);
        if let Some(address) = args.metrics {
            let only = args.view.source_host.clone().map(Host::new);
            let watched = metrics::Watched {
                handler: Arc::clone(&handler),
                hosts: parts.watch(only),
                source: state.source.clone(),
                outside: Arc::clone(&outside),
            };
            optional(metrics::serve(address, watched).await.map(|done| scraped = Some(done)))?;
        }
        optional(socket.and_then(|socket| control::serve(socket, handler)).map(|done| answering = Some(done)))?;
        optional(state.announce().map(|done| announced = Some(done)))?;
        tracing::info!("{} is mounted on {}", state.source, mountpoint.display());
        if !resumed && let Some(said) = outside.live_tables() {
            tracing::warn!("{said}");
            say!("cassmount: {said}");
        }
        if !args.foreground {
            daemon::let_go()?;
        }
        supervisor.ready()?;
        *has_served = true;
        #[cfg(feature = "fault-injection")]
        if let Some(place) = args.taken_over() {
            std::thread::spawn(move || super::taken_over::try_everything(&place));
        }
        let renewing = watched.map(|watched| tokio::spawn(renew(watched, Arc::clone(&mounted), supervisor.clone())));
        let giving_back = tokio::spawn(memory::give_back());
        let found = parts.remember();
        let ended = until_unmounted(&mounted, &mountpoint, &outside, supervisor.orders()?).await;
        if let Some(renewing) = renewing {
            renewing.abort();
        }
        giving_back.abort();
        found.keep_news().await;
        drop((scraped, answering, announced));
        ended
    });
    // A pass or a fetch may still be under way; nobody waits for it any more.
    runtime.shutdown_background();
    served
}

/// A worker that can reach what it needs, and no more.
struct Locked {
    given: Given,
    outside: Arc<Outside>,
    /// Where it answers `status` and its like.
    socket: Result<control::Socket>,
    /// What it was given, which may be replaced; `None`: it can reach everything.
    watched: Option<Watched>,
}

/// Does all that takes the whole system, then locks this process up. To be called while it has one
/// thread.
fn lock_up(args: &MountArgs, mountpoint: &Path) -> Result<Locked> {
    let mut given = Given::read(args)?;
    let socket = RunningMount::socket(mountpoint).and_then(control::Socket::bind);
    let settings = given.settings();
    let runs_programs = Store::runs_programs(&settings.source()?, &settings.store);
    if args.no_sandbox || runs_programs {
        let why = if runs_programs { "the Azure CLI has to be run" } else { "--no-sandbox" };
        tracing::warn!("this process can reach all that its user can: {why}");
        let outside = Arc::new(Outside::Here(Box::new(Unconfined::new(args, mountpoint)?)));
        return Ok(Locked { given, outside, socket, watched: None });
    }
    let needs = confinement::needs(settings, args.log(), args.metrics.map(|address| address.port()))?;
    let broker = Arc::new(Broker::start(mountpoint)?);
    given.ask(Arc::clone(&broker) as _);
    let sandbox = sandbox::enter(&needs)?;
    for lack in &sandbox.lacks {
        tracing::warn!("the sandbox is weaker than it should be: {lack}");
    }
    Ok(Locked { given, outside: Arc::new(Outside::Broker(broker)), socket, watched: Some(sandbox.watched) })
}

/// Has another worker go on when files or directories were replaced: this one may use only those
/// that were there when it began.
async fn renew(watched: Watched, mounted: Arc<Mounted>, supervisor: Link) {
    let watched = Arc::new(watched);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = Arc::clone(&watched);
        let Ok(Some(replaced)) = blocking(move || Ok(now.replaced().map(Path::to_owned))).await else { continue };
        let replaced = replaced.display();
        if !mounted.outlives_us() {
            tracing::warn!("{replaced} is another one now, which this process may not use: mount again");
            return;
        }
        tracing::info!("{replaced} is another one now: another process goes on, which may use it");
        if let Err(error) = supervisor.renew() {
            return tracing::warn!("{replaced} is another one now, which this process may not use: {error}");
        }
    }
}

/// What there is to do about the end of the process before this one.
fn aftermath(args: &MountArgs, supervisor: &Link, start: &Start, log: Option<&Path>, mountpoint: &Path) -> Aftermath {
    let History { restarts, last, .. } = &start.history;
    let note = last.as_ref().and_then(|last| {
        tracing::error!("the process that served this mount {last}; this is restart {restarts}");
        let begun = crash_report::begin(log, mountpoint, last);
        begun.inspect_err(|error| tracing::warn!("{error}")).ok()
    });
    let trials = start.trial.map(|patience| {
        let supervisor = supervisor.clone();
        Trials { patience, tell: Arc::new(move |request| supervisor.trying(request)) }
    });
    Aftermath { condemned: start.condemned.clone(), trials, note, crash_on: args.crash_on() }
}

/// Waits until somebody unmounts, or asks us to.
async fn until_unmounted(
    mounted: &Mounted,
    mountpoint: &Path,
    outside: &Arc<Outside>,
    mut orders: UnboundedReceiver<Order>,
) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|e| Error::io("listen for signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    // A closed terminal or session must not end a mount.
    let _hangup = listen(SignalKind::hangup())?;
    let (mut is_alone, mut asked_before) = (false, false);
    loop {
        tokio::select! {
            ended = mounted.wait() => return ended,
            order = orders.recv(), if !is_alone => {
                if order != Some(Order::Stop) {
                    is_alone = true;
                    tracing::error!("the supervisor of this mount has died: if this process does, too, the mount is lost");
                    continue;
                }
            }
            // They are the supervisor's to act upon, as long as there is one.
            _ = terminate.recv() => if !is_alone { continue },
            _ = interrupt.recv() => if !is_alone { continue },
        }
        let outside = Arc::clone(outside);
        match blocking(move || outside.detach(asked_before)).await {
            Ok(()) => tracing::info!("{} is unmounted", mountpoint.display()),
            Err(error) => {
                tracing::error!("still mounted: {error}. A second signal detaches it all the same");
                asked_before = error.kind() == Kind::Busy;
            }
        }
    }
}
