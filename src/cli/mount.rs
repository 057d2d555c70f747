//! `cassmount mount`.

use super::args::MountArgs;
use super::daemon::Readiness;
use super::parts::Parts;
use super::runtime_state::{self, RunningMount};
use super::{control, daemon, logging, metrics, open, unmount};
use crate::config::Settings;
use crate::fs::Mounted;
use crate::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(args: &MountArgs) -> Result<()> {
    if args.backups.source.show_config {
        open::show_settings(&args.settings()?);
        return Ok(());
    }
    let mut readiness = Readiness::of_this_process();
    let prepared = prepare(args);
    if !args.foreground && !readiness.in_background() {
        // What is plainly wrong is said here, before a daemon exists.
        prepared?;
        return daemon::start();
    }
    match prepared.and_then(|mountpoint| serve(args, &mountpoint, &mut readiness)) {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::error!("{error}");
            readiness.failed(error)
        }
    }
}

impl MountArgs {
    pub(super) fn settings(&self) -> Result<Settings> {
        let place = self.places.first().filter(|_| self.places.len() == 2);
        open::settings(place.map(String::as_str), &self.backups, self.view.live_ids.live_data_dir.as_ref())
    }
}

/// Checks what can be checked without the source; returns the mount point, absolute.
fn prepare(args: &MountArgs) -> Result<PathBuf> {
    let Some(mountpoint) = args.places.last() else { return Err(Error::invalid("where to mount is missing")) };
    let mountpoint = std::path::absolute(mountpoint).map_err(|e| Error::io("find the current directory", e))?;
    if runtime_state::is_ours(&mountpoint) {
        let place = mountpoint.display();
        return Err(Error::new(
            Kind::Busy,
            format!("{place} is mounted already; unmount it first: cassmount unmount {place}"),
        ));
    }
    let mountpoint =
        mountpoint.canonicalize().map_err(|e| Error::io(format_args!("mount on {}", mountpoint.display()), e))?;
    if !mountpoint.is_dir() {
        return Err(Error::new(
            Kind::NotDirectory,
            format!("{} is not a directory: nothing can be mounted on it", mountpoint.display()),
        ));
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(Error::new(
            Kind::Unsupported,
            "there is no /dev/fuse here: load the kernel module (modprobe fuse), or give the container --device /dev/fuse",
        ));
    }
    Ok(mountpoint)
}

fn serve(args: &MountArgs, mountpoint: &Path, readiness: &mut Readiness) -> Result<()> {
    let log = if readiness.in_background() {
        Some(logging::to_file(&args.backups.log, mountpoint)?)
    } else {
        logging::to_stderr(&args.backups.log);
        None
    };
    crate::keys::forbid_core_dumps()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cassmount")
        .max_blocking_threads(64)
        .build()
        .map_err(|e| Error::io("start the runtime's threads", e))?;
    let served = runtime.block_on(async {
        let parts = Parts::open(args, mountpoint).await?;
        let state = RunningMount {
            pid: std::process::id(),
            mountpoint: mountpoint.to_owned(),
            source: parts.store.name().to_owned(),
            cache_dir: parts.cache_dir.clone(),
            log,
        };
        let mounted = Arc::new(parts.mount(mountpoint)?);
        let handler = parts.handler(&state, &mounted);
        let _scraped = match args.metrics {
            Some(address) => Some(metrics::serve(address, Arc::clone(&handler)).await?),
            None => None,
        };
        let _answering = control::serve(RunningMount::socket(mountpoint)?, handler)?;
        let _announced = state.announce()?;
        tracing::info!("{} is mounted on {}", state.source, mountpoint.display());
        readiness.ready()?;
        // Of a unit with Type=notify; nobody listens otherwise.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        until_unmounted(&mounted, mountpoint).await
    });
    // A pass or a fetch may still be under way; nobody waits for it any more.
    runtime.shutdown_background();
    served
}

/// Waits until somebody unmounts, or a signal asks us to.
async fn until_unmounted(mounted: &Mounted, mountpoint: &Path) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|e| Error::io("listen for signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    // A closed terminal or session must not end a mount.
    let _hangup = listen(SignalKind::hangup())?;
    let mut asked_before = false;
    loop {
        tokio::select! {
            ended = mounted.wait() => return ended,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
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
