//! `cassmount mount`.

use super::args::MountArgs;
use super::daemon::Readiness;
use super::runtime_state::{self, RunningMount};
use super::{daemon, logging, mount_helper, open, unmount};
use crate::config::Settings;
use crate::supervisor::{self, Plan};
use crate::{Error, Kind, Result};
use std::path::{Path, PathBuf};

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
    prepared
        .and_then(|mountpoint| supervise(args, &mountpoint, &mut readiness))
        .or_else(|error| readiness.failed(error))
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
        if !is_dead(&mountpoint) {
            return Err(Error::new(
                Kind::Busy,
                format!("{place} is mounted already; unmount it first: cassmount unmount {place}"),
            ));
        }
        eprintln!("cassmount: the processes that served {place} are gone: what is left of that mount is detached");
        unmount::detach(&mountpoint, true)?;
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

/// Whether nobody serves what is mounted there, nor ever will: its processes were killed, so that none could take it away.
fn is_dead(mountpoint: &Path) -> bool {
    // One that is served may take its time to answer, and is not asked.
    RunningMount::find(mountpoint).is_none_or(|mount| !mount.is_alive())
        && mountpoint.metadata().is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
}

/// Becomes the mount's supervisor: from here on nothing is done that needs much memory, or the mount.
fn supervise(args: &MountArgs, mountpoint: &Path, readiness: &mut Readiness) -> Result<()> {
    let in_background = readiness.in_background();
    let mut arguments = vec!["worker".into()];
    // Behind the name of this program and of the command.
    arguments.extend(mount_helper::expand(std::env::args_os().collect()).into_iter().skip(2));
    let plan = Plan { arguments, mountpoint: mountpoint.to_owned(), restart_limit: args.restart_limit };
    let mut has_served = false;
    let ended = supervisor::supervise(plan, &mut || {
        has_served = true;
        readiness.ready()?;
        // Of a unit with Type=notify; nobody listens otherwise.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        Ok(())
    });
    let Err(error) = &ended else { return ended };
    RunningMount::forget(mountpoint);
    // Nobody serves it any more: whoever has something open there gets errors, and the directory is free for the next mount.
    let detached = if runtime_state::is_ours(mountpoint) { unmount::detach(mountpoint, true) } else { Ok(()) };
    if has_served && in_background {
        // Nobody reads what this process prints.
        logging::to_file(&args.backups.log, mountpoint)?;
        tracing::error!("{error}");
        detached.unwrap_or_else(|error| tracing::error!("{error}"));
    }
    ended
}
