//! `cassmount upgrade`: hands a mount over to this version of the program, without unmounting.
//!
//! Nothing is handed over before both sides know that it will fit: the mount compares how both versions keep things on disk, and this
//! program reads the arguments that the mount was started with. Should it not come to serve the mount all the same, the supervisor goes back to
//! the program before.

use super::command::{Cli, Command};
use super::control::{self, Request};
use super::options::OutputArgs;
use super::runtime_state::RunningMount;
use super::{output, status, version};
use cassmount::{Error, Kind, Result, cache, fs, scratch, supervisor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it may take until the mount is served by whichever program.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(10);

/// The program that is to go on with a mount.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Successor {
    version: String,
    program: PathBuf,
    /// How it keeps what it would take over.
    formats: BTreeMap<String, String>,
}

/// Everything that one version takes over from another, and its format.
fn formats() -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let formats = [
        ("worker protocol", supervisor::PROTOCOL.to_string()),
        ("record of what the kernel holds", text(&fs::RECORD_FORMAT)),
        ("scratch journal", text(&scratch::JOURNAL_FORMAT)),
        ("cache directory", text(cache::FORMAT.as_bytes())),
    ];
    formats.map(|(what, format)| (what.to_owned(), format)).into()
}

impl Successor {
    fn this_program() -> Result<Self> {
        let program = std::env::current_exe().map_err(|e| Error::io("find the cassmount binary", e))?;
        Ok(Self { version: version().to_owned(), program, formats: formats() })
    }

    /// The mount's side: the program's file, if it can go on where this one stops.
    pub(super) fn accept(&self) -> Result<File> {
        let ours = formats();
        for what in ours.keys().chain(self.formats.keys()) {
            let (ours, theirs) = (ours.get(what), self.formats.get(what));
            if ours != theirs {
                let named = |format: Option<&String>| format.map_or("none", String::as_str).to_owned();
                let message = format!(
                    "version {} cannot go on with this mount: its {what} is of format {}, that of version {} is {}",
                    self.version,
                    named(theirs),
                    version(),
                    named(ours)
                );
                return Err(Error::new(Kind::Unsupported, message));
            }
        }
        let failed = |e| Error::io(format_args!("open {}", self.program.display()), e);
        let program = File::open(&self.program).map_err(failed)?;
        let metadata = program.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(Error::invalid(format!("{} is no program", self.program.display())));
        }
        tracing::info!("handing over to version {} ({})", self.version, self.program.display());
        Ok(program)
    }
}

/// Lets this program go on with a mount that another version of it serves, without unmounting: whatever programs have open there stays open, and
/// they wait for a moment at most. Refuses, before anything is handed over, where the two versions keep what they would share on disk in
/// different ways; if this one does not come to serve the mount, the one before it goes on.
#[derive(clap::Args, Debug)]
pub(super) struct UpgradeArgs {
    mountpoint: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &UpgradeArgs) -> Result<()> {
    let mountpoint = status::absolute(&args.mountpoint)?;
    if RunningMount::find(&mountpoint).is_none() {
        return Err(status::not_mounted(&mountpoint));
    }
    let socket = RunningMount::socket(&mountpoint)?;
    let before = control::ask(&socket, Request::Status)?;
    understands(&before)?;
    let start = Instant::now();
    match control::ask(&socket, Request::Upgrade(Successor::this_program()?)) {
        // Ended by the supervisor before it could answer.
        Err(error) if error.kind() == Kind::Unreachable => {}
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

/// Whether this version understands how the mount was started: its workers are always started like that.
fn understands(status: &Value) -> Result<()> {
    let process = format!("/proc/{}/cmdline", status["worker_pid"]);
    let line = std::fs::read(&process).map_err(|e| Error::io(format_args!("read {process}"), e))?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let arguments = line.split(|&byte| byte == 0).map(|argument| OsString::from_vec(argument.to_vec()));
    let why = match Cli::read(arguments.collect()) {
        Ok(Cli { command: Command::Worker(_) }) => return Ok(()),
        Ok(_) => "not as a mount".to_owned(),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let message =
        format!("version {} does not understand how the mount was started ({why}); it goes on as it was", version());
    Err(Error::new(Kind::Unsupported, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_everything_alike_is_accepted() {
        let this = Successor::this_program().unwrap();
        assert!(this.accept().is_ok());
        let refused = |successor: &Successor| successor.accept().unwrap_err().to_string();
        for what in formats().keys() {
            let mut other = this.clone();
            other.formats.insert(what.clone(), "another".into());
            assert!(refused(&other).contains(&format!("its {what} is of format another")), "{}", refused(&other));
            other.formats.remove(what);
            assert!(refused(&other).contains(&format!("its {what} is of format none")), "{}", refused(&other));
        }
        let mut more = this.clone();
        more.formats.insert("something new".into(), "1".into());
        assert!(refused(&more).contains("something new"));
        let text = Successor { program: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(), ..this };
        assert!(refused(&text).contains("is no program"));
    }
}
