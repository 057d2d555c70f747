//! Into the background and back: readiness, or the reason why not, travels through a pipe to the
//! process that the user started.
//!
//! The daemon is the same binary started again (`mount --foreground` with [`READY_VARIABLE`] set)
//! in a session of its own, not a fork of a process that may have threads.

use super::{exit, mount_helper};
use cassmount::{Error, Kind, Result};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Set in the daemon's environment, to the process that waits for it: its standard output is the
/// readiness pipe.
const READY_VARIABLE: &str = "CASSMOUNT_READY_PIPE";
/// First byte on the pipe once the mount serves.
const READY: u8 = b'+';

/// Starts this same command line as a daemon, which becomes the mount's supervisor, and waits until
/// the mount serves.
///
/// # Errors
/// What the daemon says is wrong; or that it died without a word.
pub(super) fn start() -> Result<()> {
    let program = std::env::current_exe().map_err(|e| Error::io("find the cassmount binary", e))?;
    let mut daemon = Command::new(program)
        // As the mount command: the name that mount(8) called this program by is not passed on.
        .args(mount_helper::expand(std::env::args_os().collect()).into_iter().skip(1))
        .env(READY_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Error::io("start the daemon", e))?;
    let mut said = Vec::new();
    // Bounded: the daemon says one character or one error. The read ends when it closes its end or
    // dies.
    if let Some(pipe) = daemon.stdout.take() {
        let _ = pipe.take(64 << 10).read_to_end(&mut said);
    }
    match said.split_first() {
        Some((&READY, _)) => Ok(()),
        _ if said.is_empty() => {
            let status = daemon.wait().map_err(|e| Error::io("wait for the daemon", e))?;
            // It has printed its reason on the standard error that it shares with us.
            Err(Error::new(Kind::Io, format!("the daemon did not start ({status})")))
        }
        _ => {
            let _ = daemon.wait();
            Err(Error::new(exit::kind_of(said[0]), String::from_utf8_lossy(&said[1..]).into_owned()))
        }
    }
}

/// Lets go of the terminal and of the directory where the process was started: a daemon must keep
/// neither busy.
pub(super) fn let_go() -> Result<()> {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| Error::io("open /dev/null", e))?;
    let detached = nix::unistd::dup2_stdin(&null)
        .and_then(|()| nix::unistd::dup2_stdout(&null))
        .and_then(|()| nix::unistd::dup2_stderr(&null));
    detached.map_err(|e| Error::io("let go of the terminal", e.into()))?;
    std::env::set_current_dir("/").map_err(|e| Error::io("change to /", e))
}

/// The daemon's side of the pipe.
pub(super) struct Readiness {
    piped: bool,
}

impl Readiness {
    /// In a daemon, leaves the session of the process that started it; in the foreground does
    /// nothing.
    pub(super) fn of_this_process() -> Self {
        let waiting = std::env::var(READY_VARIABLE);
        if let Ok(waiting) = &waiting {
            // Fails only for a process-group leader, which a spawned child is not.
            let _ = rustix::process::setsid();
            // Until the mount serves, it is given up along with the command that waits for it, e.g.
            // by Ctrl-C.
            let followed = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
            if followed.is_err() || std::os::unix::process::parent_id().to_string() != *waiting {
                std::process::exit(1);
            }
        }
        Self { piped: waiting.is_ok() }
    }

    pub(super) fn in_background(&self) -> bool {
        self.piped
    }

    /// Tells that the mount serves, and lets go of the terminal. Relative paths have been used by
    /// then.
    pub(super) fn ready(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.piped) {
            return Ok(());
        }
        rustix::process::set_parent_process_death_signal(None)
            .map_err(|e| Error::io("let go of the command that mounts", e.into()))?;
        let told = std::io::stdout().write_all(&[READY]).and_then(|()| std::io::stdout().flush());
        let_go()?;
        told.map_err(|e| Error::io("report readiness", e))
    }

    /// Tells why there is no mount; in the foreground the caller prints it.
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
        if !std::mem::take(&mut self.piped) {
            return Err(error);
        }
        let mut said = vec![exit::number(Some(error.kind()))];
        said.extend_from_slice(error.to_string().as_bytes());
        let told = std::io::stdout().write_all(&said).and_then(|()| std::io::stdout().flush());
        told.map_err(|_| error)
    }
}
