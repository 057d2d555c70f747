//! `cassmount worker`: what answers a mount's requests, started by its supervisor, for the first time or in place of one that died.

use super::mount::MountArgs;
use super::parts::Parts;
use super::runtime_state::{RunningMount, mounted_device};
use super::watched_hosts::WatchedHosts;
use super::{control, crash_report, daemon, exit, logging, metrics, state_dir, unmount};
use cassmount::catalog::Host;
use cassmount::fs::{Aftermath, Mounted, Trials};
use cassmount::supervisor::{History, Link, Order, Start};
use cassmount::{Error, Kind, Result};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

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
        // While it does not serve yet, the supervisor says this to the person who mounts: in the foreground once is enough.
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
    cassmount::keys::forbid_core_dumps()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cassmount")
        .max_blocking_threads(64)
        .build()
        .map_err(|e| Error::io("start the runtime's threads", e))?;
    let served = runtime.block_on(async {
        let parts = Parts::open(args, &mountpoint, device.is_some(), aftermath).await?;
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
            Some((device, greeting)) => parts.resume(&mountpoint, device, greeting)?,
            None => parts.mount(&mountpoint, supervisor)?,
        });
        state.device = mounted_device(&mountpoint);
        let handler = parts.handler(&state, &start.history, &mounted, supervisor);
        // What serves programs must not end with what only tells of it, but whoever mounts should know what does not work.
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
                hosts: WatchedHosts::watch(Arc::clone(&parts.session.catalog), only),
                source: state.source.clone(),
                mountpoint: mountpoint.clone(),
                journals: state_dir::journals(&[parts.session.cache_dir.path().to_owned()])?,
            };
            optional(metrics::serve(address, watched).await.map(|done| scraped = Some(done)))?;
        }
        let socket = RunningMount::socket(&mountpoint);
        optional(socket.and_then(|path| control::serve(path, handler)).map(|done| answering = Some(done)))?;
        optional(state.announce().map(|done| announced = Some(done)))?;
        tracing::info!("{} is mounted on {}", state.source, mountpoint.display());
        if !resumed {
            tell_of_live_tables(&mountpoint, &state.cache_dir);
        }
        if !args.foreground {
            daemon::let_go()?;
        }
        supervisor.ready()?;
        *has_served = true;
        let ended = until_unmounted(&mounted, &mountpoint, supervisor.orders()?).await;
        drop((scraped, answering, announced));
        ended
    });
    // A pass or a fetch may still be under way; nobody waits for it any more.
    runtime.shutdown_background();
    served
}

/// Says which live tables read from a mount that has just come: Cassandra may have been started without it.
fn tell_of_live_tables(mountpoint: &Path, cache_dir: &Path) {
    let place = mountpoint.display();
    let journals = state_dir::journals(&[cache_dir.to_owned()]);
    let said = match journals.and_then(|journals| cassmount::restore::hanging(&journals, mountpoint)) {
        Ok(tables) if tables.is_empty() => return,
        Ok(tables) => {
            let names: Vec<String> = tables.iter().map(|of| of.table.to_string()).collect();
            let broken: usize = tables.iter().map(|of| of.broken).sum();
            let what = match broken {
                0 => "if Cassandra was started while it was not mounted".to_owned(),
                _ => format!("{broken} SSTables lack files, because Cassandra was started while it was not mounted"),
            };
            format!(
                "live tables read from {place} through links: {}; {what}: cassmount restore repair",
                names.join(", ")
            )
        }
        Err(error) => format!("whether live tables read from {place} is not known: {error}"),
    };
    tracing::warn!("{said}");
    eprintln!("cassmount: {said}");
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
async fn until_unmounted(mounted: &Mounted, mountpoint: &Path, mut orders: UnboundedReceiver<Order>) -> Result<()> {
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
        let place = mountpoint.to_owned();
        let done = tokio::task::spawn_blocking(move || unmount::detach(&place, asked_before)).await;
        match done {
            Ok(Ok(())) => tracing::info!("{} is unmounted", mountpoint.display()),
            Ok(Err(error)) => {
                tracing::error!("still mounted: {error}. A second signal detaches it all the same");
                asked_before = error.kind() == Kind::Busy;
            }
            Err(error) => tracing::error!("cannot unmount: {error}"),
        }
    }
}
