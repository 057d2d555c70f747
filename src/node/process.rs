//! A process by its number and the time of its start: a number alone may come to mean another
//! program.

use crate::{Error, Kind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// One process of one boot of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: u32,
    /// Clock ticks from the machine's start to that of the process.
    started: u64,
    /// The kernel's name of this boot.
    boot: String,
}

impl ProcessId {
    pub fn of_this_process() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this number now.
    pub fn of(pid: u32) -> Result<Self> {
        let (_, started) = stat(pid)?.ok_or_else(|| Error::not_found(format!("there is no process {pid}")))?;
        Ok(Self { pid, started, boot: boot()? })
    }

    /// Whether it still runs. One that has ended and that nobody has waited for does not.
    pub fn is_alive(&self) -> Result<bool> {
        if self.boot != boot()? {
            return Ok(false);
        }
        Ok(stat(self.pid)?.is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X')))
    }

    /// Kills it, and waits until it has ended.
    ///
    /// # Errors
    /// `Kind::TimedOut` where it has not ended after `patience`.
    pub fn kill(&self, patience: Duration) -> Result<()> {
        let failed = |e: rustix::io::Errno| Error::io(format_args!("end the process {}", self.pid), e.into());
        let Some(pid) = Pid::from_raw(self.pid.cast_signed()) else { return Ok(()) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        // Only now is it sure that the descriptor is of the process that is meant.
        if !self.is_alive()? {
            return Ok(());
        }
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(failed(error)),
        }
        let until = Instant::now() + patience;
        while self.is_alive()? {
            if Instant::now() >= until {
                let message =
                    format!("the process {} has not ended {} s after it was killed", self.pid, patience.as_secs());
                return Err(Error::new(Kind::TimedOut, message));
            }
            sleep(POLL);
        }
        Ok(())
    }
}

fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(|e| Error::io(format_args!("read {path}"), e))?;
    Ok(text.trim().to_owned())
}

/// State and time of start; `None` where there is no such process.
fn stat(pid: u32) -> Result<Option<(char, u64)>> {
    let path = format!("/proc/{pid}/stat");
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        text => text.map_err(|e| Error::io(format_args!("read {path}"), e))?,
    };
    // Behind the program's name, which may hold anything. The state is field 3, the start field 22.
    let fields: Vec<&str> = text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let state = fields.first().and_then(|field| field.chars().next());
    let started = fields.get(19).and_then(|field| field.parse().ok());
    match (state, started) {
        (Some(state), Some(started)) => Ok(Some((state, started))),
        _ => Err(Error::corrupt(format!("{path} does not read as documented"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let own = ProcessId::of_this_process().unwrap();
        assert!(own.is_alive().unwrap());
        let earlier = ProcessId { started: own.started + 1, ..own.clone() };
        let before_boot = ProcessId { boot: "x".to_owned(), ..own };
        assert!(!earlier.is_alive().unwrap() && !before_boot.is_alive().unwrap());
        // Another program has the number now: it must not be killed.
        earlier.kill(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_killed_process_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_alive().unwrap());
        id.kill(Duration::from_secs(20)).unwrap();
        assert!(!id.is_alive().unwrap());
        child.wait().unwrap();
        id.kill(Duration::from_secs(1)).unwrap();
        assert!(ProcessId::of(child.id()).is_err());
    }
}
