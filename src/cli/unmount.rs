//! `cassmount unmount`: unmounts and waits until the daemon has gone.

use super::holders::{copies, describe, holders};
use super::runtime_state::{RunningMount, is_ours, mounted_device};
use super::{state_dir, waits, words};
use cassmount::restore::{HangingTable, Journals};
use cassmount::{Error, Kind, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::mount::UnmountFlags;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How long the daemon may take to clean up once the kernel has let go of the mount.
const GRACE_MS: u16 = 30_000;
const SHORT_GRACE_MS: u16 = 1_000;

#[derive(clap::Args, Debug)]
pub(super) struct UnmountArgs {
    mountpoint: PathBuf,
    /// Detach it even if programs still use it; it goes away with the last of them
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &UnmountArgs) -> Result<()> {
    // Not canonicalize: that would ask the mount itself, which may not answer.
    end(&super::places::absolute(&args.mountpoint)?, args.force)
}

/// Unmounts what is at an absolute path, and waits until its daemon has gone; `force`: detaches it,
/// and does not wait.
pub(super) fn end(mountpoint: &Path, force: bool) -> Result<()> {
    let Some(device) = mounted_device(mountpoint) else { return finish(mountpoint, force) };
    if !is_ours(mountpoint) {
        return Err(Error::new(
            Kind::Invalid,
            format!("what is mounted at {} is not cassmount's", mountpoint.display()),
        ));
    }
    let running = match RunningMount::read(mountpoint) {
        Err(_) if force => None,
        running => running?,
    };
    if !force {
        let cache_dirs: Vec<PathBuf> = running.iter().map(|mount| mount.cache_dir.clone()).collect();
        refuse_while_tables_hang(&state_dir::journals(&cache_dirs)?, mountpoint)?;
    }
    let daemon = running.and_then(|mount| rustix::process::Pid::from_raw(mount.pid.cast_signed()));
    // Opened before unmounting, so that the pid cannot come to mean another process.
    let daemon = daemon.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    detach(mountpoint, force)?;
    if let Some(daemon) = daemon.filter(|_| !force) {
        // Mounted elsewhere, it will not end however long one waits.
        let grace = if copies(device).is_empty() { GRACE_MS } else { SHORT_GRACE_MS };
        let gone = poll(&mut [PollFd::new(daemon.as_fd(), PollFlags::POLLIN)], PollTimeout::from(grace))
            .map_err(|e| Error::io("wait for the daemon", e.into()))?;
        if gone == 0 {
            return Err(still_running(mountpoint, Some(device)));
        }
    }
    Ok(())
}

/// Goes on where an earlier `unmount` left off: nothing is mounted here any more, but the daemon
/// may still serve copies of the mount.
fn finish(mountpoint: &Path, force: bool) -> Result<()> {
    let nothing = || Error::new(Kind::NotFound, format!("nothing is mounted at {}", mountpoint.display()));
    let running = RunningMount::read(mountpoint)?.filter(RunningMount::is_alive).ok_or_else(nothing)?;
    if !force {
        return Err(still_running(mountpoint, running.device));
    }
    // The supervisor first: it would start another worker.
    for pid in [running.pid, running.worker_pid] {
        let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) else { continue };
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(Error::io("end the mount's daemon", error.into())),
        }
    }
    RunningMount::forget(mountpoint);
    Ok(())
}

/// Why the daemon does not end although its mount is gone from here: it is mounted elsewhere as
/// well.
fn still_running(mountpoint: &Path, device: Option<(u32, u32)>) -> Error {
    let place = mountpoint.display();
    let copies: Vec<String> = device.map(copies).unwrap_or_default().iter().map(ToString::to_string).collect();
    let (kind, why) = match &copies[..] {
        [] => (Kind::TimedOut, format!("its daemon is still running after {} s", GRACE_MS / 1000)),
        copies => (Kind::Busy, format!("it is still mounted elsewhere: {}", copies.join(", "))),
    };
    let message = format!(
        "{place} is unmounted here, but {why}. Unmount it there, or end it everywhere with: cassmount unmount --force {place}"
    );
    Error::new(kind, message)
}

/// Live tables that read through links lose their rows with the mount, also when nobody has
/// anything open at the moment.
fn refuse_while_tables_hang(journals: &Journals, mountpoint: &Path) -> Result<()> {
    let hanging = cassmount::restore::hanging(journals, mountpoint).map_err(|error| {
        let place = mountpoint.display();
        Error::new(error.kind(), format!("{error}. If none does: cassmount unmount --force {place}"))
    })?;
    if hanging.is_empty() {
        return Ok(());
    }
    let shown = |of: &HangingTable| match of.broken {
        0 => format!("{} ({})", of.table, words::count(of.sstables, "SSTable")),
        broken => {
            format!("{} ({} SSTables, {broken} BROKEN: `cassmount restore repair` first)", of.table, of.sstables)
        }
    };
    let tables: Vec<String> = hanging.iter().map(shown).collect();
    let place = mountpoint.display();
    let mut waiting = String::new();
    for line in waits::at(mountpoint) {
        waiting += "\n  waiting for the store: ";
        waiting += &line;
    }
    let message = format!(
        "{place} is what live tables read from: {}. `cassmount restore hydrate` makes them local, `cassmount restore abort` takes them back; or: cassmount unmount --force {place}{waiting}",
        tables.join(", ")
    );
    Err(Error::new(Kind::Busy, message))
}

/// Takes the mount out of the tree; `lazily` even while it is in use.
pub(super) fn detach(mountpoint: &Path, lazily: bool) -> Result<()> {
    let flags = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err(busy(mountpoint)),
        // Only root may unmount(2); everybody may ask fusermount3 for their own.
        Err(rustix::io::Errno::PERM) => ask_fusermount(mountpoint, lazily),
        Err(error) => Err(Error::io(format_args!("unmount {}", mountpoint.display()), error.into())),
    }
}

fn ask_fusermount(mountpoint: &Path, lazily: bool) -> Result<()> {
    let output = Command::new("fusermount3")
        .arg(if lazily { "-uz" } else { "-u" })
        .arg("--")
        .arg(mountpoint)
        .output()
        .map_err(|e| Error::io("run fusermount3 (package fuse3)", e))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else if said.contains("busy") {
        Err(busy(mountpoint))
    } else {
        Err(Error::new(Kind::Io, said.trim().to_owned()))
    }
}

fn busy(mountpoint: &Path) -> Error {
    let place = mountpoint.display();
    let elsewhere = if rustix::process::geteuid().is_root() { "it may be in a container" } else { "try as root" };
    let message = match describe(&holders(mountpoint)) {
        Some(who) => format!(
            "{place} is busy: in use by {who}. Stop them, or detach it all the same with: cassmount unmount --force {place}"
        ),
        None => format!(
            "{place} is busy, and who uses it cannot be seen from here ({elsewhere}). --force detaches it all the same"
        ),
    };
    Error::new(Kind::Busy, message)
}
