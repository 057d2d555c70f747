//! `cassmount upgrade`: hands a mount over to this version of the program, without unmounting.
//!
//! Nothing is handed over before both sides know that it will fit: the mount compares how both
//! versions keep things on disk, and this program reads the arguments that the mount was started
//! with. Should it not come to serve the mount all the same, the supervisor goes back to the
//! program before.

use super::control::{self, Request};
use super::options::OutputArgs;
use super::places::{absolute, not_mounted};
use super::runtime_state::RunningMount;
use super::successor::Successor;
use super::{output, version};
use cassmount::{Error, Kind, Result};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it may take until the mount is served by whichever program.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(10);

type StartsWorker = fn(Vec<OsString>) -> Result<bool, clap::Error>;

/// Lets this program go on with a mount that another version of it serves, without unmounting:
/// whatever programs have open there stays open, and they wait for a moment at most. Refuses,
/// before anything is handed over, where the two versions keep what they would share on disk in
/// different ways; if this one does not come to serve the mount, the one before it goes on.
#[derive(clap::Args, Debug)]
pub(super) struct UpgradeArgs {
    mountpoint: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// `starts_worker`: whether a command line is one of a worker in this version; the reason where it
/// is none.
pub(super) fn run(args: &UpgradeArgs, starts_worker: StartsWorker) -> Result<()> {
    let mountpoint = absolute(&args.mountpoint)?;
    if RunningMount::find(&mountpoint).is_none() {
        return Err(not_mounted(&mountpoint));
    }
    let socket = RunningMount::socket(&mountpoint)?;
    let before = control::ask(&socket, Request::Status)?;
    understands(&before, starts_worker)?;
    let start = Instant::now();
    match control::ask(&socket, Request::Upgrade(Successor::this_program()?)) {
        // Ended by the supervisor before it could answer.
        Err(error) if error.kind() == Kind::NotRunning => {}
        answer => drop(answer.map_err(|error| {
            Error::new(
                error.kind(),
                format!("{error}. The mount goes on as it was; to change over, unmount it and mount it again"),
            )
        })?),
    }
    let upgrades = |status: &Value| status["upgrades"].as_u64().unwrap_or(0);
    let after = loop {
        let status = control::ask(&socket, Request::Status);
        match status {
            Ok(status) if upgrades(&status) > upgrades(&before) => break status,
            Ok(status) if status["worker_pid"] != before["worker_pid"] && status["failed_upgrade"].is_string() => {
                let reason = status["failed_upgrade"].as_str().unwrap_or_default();
                let message = format!(
                    "version {} did not come to serve the mount ({reason}): the one before it goes on",
                    version()
                );
                return Err(Error::new(Kind::Io, message));
            }
            _ if start.elapsed() > PATIENCE => {
                let message =
                    format!("nothing was handed over within {} s; see `cassmount status`", PATIENCE.as_secs());
                return Err(Error::new(Kind::TimedOut, message));
            }
            _ => std::thread::sleep(RETRY),
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let (from, to) = (&before["version"], &after["version"]);
    if args.output.json {
        return output::json(&json!({ "mountpoint": mountpoint, "from": from, "to": to, "seconds": seconds }));
    }
    let named = |version: &Value| version.as_str().unwrap_or("?").to_owned();
    println!("{}: handed over from version {} to {} in {seconds:.2} s", mountpoint.display(), named(from), named(to));
    Ok(())
}

/// Whether this version understands how the mount was started: its workers are always started like
/// that.
fn understands(status: &Value, starts_worker: StartsWorker) -> Result<()> {
    let process = format!("/proc/{}/cmdline", status["worker_pid"]);
    let line = std::fs::read(&process).map_err(|e| Error::io(format_args!("read {process}"), e))?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let arguments = line.split(|&byte| byte == 0).map(|argument| OsString::from_vec(argument.to_vec()));
    let why = match starts_worker(arguments.collect()) {
        Ok(true) => return Ok(()),
        Ok(false) => "not as a mount".to_owned(),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let message =
        format!("version {} does not understand how the mount was started ({why}); it goes on as it was", version());
    Err(Error::new(Kind::Unsupported, message))
}
