//! `cassmount mount`.

use super::daemon::Readiness;
use super::options::{self, BackupArgs, LiveIdArgs, LogFileArgs, OwnerArgs};
use super::runtime_state::{self, RunningMount};
use super::terminal::say;
use super::{confinement, daemon, logging, mount_helper, own_paths, session, unmount};
use cassmount::config::{CommandLine, Settings, parse_duration, parse_size};
use cassmount::supervisor::{self, Plan};
use cassmount::{Error, Kind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Mounts SOURCE on MOUNTPOINT and returns once it is ready, or with the reason why not.
#[derive(clap::Args, Debug)]
#[command(allow_missing_positional = true)]
pub(super) struct MountArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: Option<String>,
    /// An existing directory, best an empty one
    #[arg(required = true)]
    mountpoint: PathBuf,
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    pub(super) foreground: bool,
    /// Serve metrics for Prometheus at http://ADDR/metrics and a page about all backups at
    /// http://ADDR/, e.g. 127.0.0.1:9464. For that, all hosts are listed
    #[arg(long, value_name = "ADDR", hide_short_help = true)]
    pub(super) metrics: Option<std::net::SocketAddr>,
    /// Give the mount up when the process that serves it dies more often than this in a minute;
    /// until then it is started again
    #[arg(long, value_name = "N", default_value_t = 100, hide_short_help = true)]
    restart_limit: usize,
    /// Let reads of files that live tables link to (`restore instant`) wait this long for a store
    /// that is away, instead of failing
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = parse_duration, hide_short_help = true)]
    pub(super) live_timeout: Duration,
    /// Let the process that reads backups reach all that its user can; a last resort, where the
    /// sandbox is in the way
    #[arg(long, hide_short_help = true)]
    pub(super) no_sandbox: bool,
    #[command(flatten)]
    pub(super) view: ViewArgs,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    #[cfg(feature = "fault-injection")]
    #[command(flatten)]
    pub(super) trouble: options::TroubleArgs,
    #[command(flatten)]
    pub(super) log_file: LogFileArgs,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// What the mount shows.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "What is shown")]
pub(super) struct ViewArgs {
    /// Show only this host, as the root of the mount
    #[arg(long, value_name = "HOST")]
    pub(super) source_host: Option<String>,
    /// Show only what was there then: a date, a minute (2026-11-21-03-15), RFC 3339, unix seconds,
    /// `yesterday`, or a time ago: 6h, 2d
    #[arg(long, value_name = "TIME", value_parser = options::parse_moment, allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) live_ids: LiveIdArgs,
}

/// Who may do what.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArgs {
    /// Refuse every change (EROFS); sstableloader and nodetool import need the scratch layer and
    /// fail then
    #[arg(long)]
    pub(super) read_only: bool,
    /// Most bytes that programs may write into the mount's private scratch layer
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub(super) scratch_size: u64,
    /// Let other users than the one who mounts in (needs user_allow_other in /etc/fuse.conf, or
    /// root)
    #[arg(long)]
    pub(super) allow_other: bool,
    #[command(flatten)]
    pub(super) owner: OwnerArgs,
}

pub(super) fn run(args: &MountArgs) -> Result<()> {
    if args.backups.source.show_config {
        return session::show(&options::resolve(&args.command_line())?);
    }
    let mut readiness = Readiness::of_this_process();
    let prepared = prepare(args, !readiness.in_background());
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
    pub(super) fn command_line(&self) -> CommandLine {
        let mut given = self.backups.command_line(self.source_place.as_deref());
        given.options.extend(self.view.live_ids.given());
        given
    }

    /// Where its log is, if it has a file.
    pub(super) fn log(&self) -> Option<&LogFileArgs> {
        (!self.foreground).then_some(&self.log_file)
    }

    /// The file at whose reads the worker is to crash.
    #[cfg(feature = "fault-injection")]
    pub(super) fn crash_on(&self) -> Option<String> {
        self.trouble.crash_on.clone()
    }

    #[cfg(not(feature = "fault-injection"))]
    #[allow(clippy::unused_self, reason = "as in builds with faults")]
    pub(super) fn crash_on(&self) -> Option<String> {
        None
    }

    /// The directory for what a worker makes that tries what one would that was taken over.
    #[cfg(feature = "fault-injection")]
    pub(super) fn taken_over(&self) -> Option<PathBuf> {
        self.trouble.taken_over.clone()
    }

    /// Whether to act as on a kernel that cannot send requests again.
    #[cfg(feature = "fault-injection")]
    pub(super) fn no_resend(&self) -> bool {
        self.trouble.no_resend
    }

    #[cfg(not(feature = "fault-injection"))]
    #[allow(clippy::unused_self, reason = "as in builds with faults")]
    pub(super) fn no_resend(&self) -> bool {
        false
    }
}

/// Checks what can be checked without the source; returns the mount point, absolute. `is_told`:
/// somebody reads what is said.
fn prepare(args: &MountArgs, is_told: bool) -> Result<PathBuf> {
    if args.source_place.is_none() && args.mountpoint.to_string_lossy().contains("://") {
        let source = args.mountpoint.display();
        return Err(Error::invalid(format!(
            "{source} is a source, and the directory to mount it on is missing: cassmount mount {source} /mnt/backups"
        )));
    }
    if args.source_place.is_none()
        && let Err(error) = options::resolve(&args.command_line()).and_then(|settings| settings.source().map(drop))
        && error.kind() == Kind::Invalid
    {
        let place = args.mountpoint.display();
        return Err(Error::invalid(format!(
            "{error}; {place} was taken for the directory to mount on: cassmount mount SOURCE {place}, or, if the backups \
             are in it, cassmount mount {place} /mnt/backups"
        )));
    }
    let mountpoint = std::path::absolute(&args.mountpoint).map_err(|e| Error::io("find the current directory", e))?;
    if runtime_state::is_ours(&mountpoint) {
        let place = mountpoint.display();
        if !is_dead(&mountpoint) {
            return Err(Error::new(
                Kind::Busy,
                format!("{place} is mounted already; unmount it first: cassmount unmount {place}"),
            ));
        }
        say!("cassmount: the processes that served {place} are gone: what is left of that mount is detached");
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
    own_paths::refuse_above(&mountpoint, &args.command_line(), args.log())?;
    if is_told && !is_empty(&mountpoint)? {
        let place = mountpoint.display();
        say!("cassmount: warning: {place} is not empty: what is in it is hidden until it is unmounted");
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(Error::new(
            Kind::Unsupported,
            "there is no /dev/fuse here: load the kernel module (modprobe fuse), or give the container --device /dev/fuse",
        ));
    }
    Ok(mountpoint)
}

fn is_empty(directory: &Path) -> Result<bool> {
    let entries = directory.read_dir().map_err(|e| Error::io(format_args!("read {}", directory.display()), e))?;
    Ok(entries.take(1).count() == 0)
}

/// Whether nobody serves what is mounted there, nor ever will: its processes were killed, so that
/// none could take it away.
fn is_dead(mountpoint: &Path) -> bool {
    // One that is served may take its time to answer, and is not asked.
    RunningMount::find(mountpoint).is_none_or(|mount| !mount.is_alive())
        && mountpoint.metadata().is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
}

/// The arguments with the time that --at came to: `2d` must mean the same moment to each worker of
/// the mount.
fn with_fixed_time(arguments: impl Iterator<Item = OsString>, at: Option<&str>) -> Vec<OsString> {
    let Some(at) = at else { return arguments.collect() };
    let mut is_value = false;
    let fixed = |argument: OsString| {
        if std::mem::replace(&mut is_value, argument == "--at") {
            OsString::from(at)
        } else if argument.to_string_lossy().starts_with("--at=") {
            OsString::from(format!("--at={at}"))
        } else {
            argument
        }
    };
    arguments.map(fixed).collect()
}

/// Where no program may lie that is to go on with the mount, without symbolic links: its workers
/// write there.
pub(super) fn not_for_programs(args: &MountArgs, settings: &Settings, mountpoint: &Path) -> Result<Vec<PathBuf>> {
    let mut written = vec![mountpoint.to_owned()];
    if !args.no_sandbox {
        // What is not there yet will be made without links.
        let places = confinement::written(settings, args.log())?;
        written.extend(places.into_iter().map(|place| place.canonicalize().unwrap_or(place)));
    }
    Ok(written)
}

/// Becomes the mount's supervisor: from here on nothing is done that needs much memory, or the
/// mount.
fn supervise(args: &MountArgs, mountpoint: &Path, readiness: &mut Readiness) -> Result<()> {
    let in_background = readiness.in_background();
    let mut arguments = vec!["worker".into()];
    // Behind the name of this program and of the command.
    let given = mount_helper::expand(std::env::args_os().collect()).into_iter().skip(2);
    arguments.extend(with_fixed_time(given, args.view.at.as_deref()));
    let written = not_for_programs(args, &options::resolve(&args.command_line())?, mountpoint)?;
    let plan = Plan { arguments, mountpoint: mountpoint.to_owned(), restart_limit: args.restart_limit, written };
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
    // Nobody serves it any more: whoever has something open there gets errors, and the directory is
    // free for the next mount.
    let detached = if runtime_state::is_ours(mountpoint) { unmount::detach(mountpoint, true) } else { Ok(()) };
    if has_served && in_background {
        // Nobody reads what this process prints.
        logging::to_file(&args.backups.log, &args.log_file, mountpoint)?;
        tracing::error!("{error}");
        detached.unwrap_or_else(|error| tracing::error!("{error}"));
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_moment_and_not_the_time_ago() {
        let fixed = |arguments: &[&str]| {
            let fixed = with_fixed_time(arguments.iter().map(OsString::from), Some("2026-11-27T02:00:00Z"));
            fixed.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            fixed(&["s3://b", "/m", "--at", "2d", "--read-only"]),
            "s3://b /m --at 2026-11-27T02:00:00Z --read-only"
        );
        assert_eq!(fixed(&["--at=-6h", "s3://b"]), "--at=2026-11-27T02:00:00Z s3://b");
    }
}
