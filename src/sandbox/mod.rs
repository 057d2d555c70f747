//! Locks this process up: from then on it reaches the files that it needs and no others, starts no
//! program, and has no privilege but those that it names.
//!
//! A leaf. It knows nothing of mounts or backups: the caller says what is needed. What is taken
//! away never comes back, and threads that are there already keep some of it: therefore it is done
//! while there is one thread.

mod capabilities;
mod files;
mod system_calls;

#[cfg(test)]
mod tests;

pub use caps::Capability;
pub use files::Watched;

use crate::{Error, Kind, Result};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a process needs of the system.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Files and directories that are read. What is not there is left out.
    pub read: Vec<PathBuf>,
    /// Directories in which anything may be made, changed and removed, and files that may be
    /// written.
    pub write: Vec<PathBuf>,
    /// A TCP port to listen on.
    pub listen: Option<u16>,
    /// Privileges to keep, where the process has them.
    pub capabilities: Vec<Capability>,
}

/// How much of the sandbox this kernel could put up.
#[derive(Debug)]
pub struct Sandbox {
    /// What of it is missing, a sentence for each.
    pub lacks: Vec<String>,
    /// What the files and directories were that may be used.
    pub watched: Watched,
}

/// Longest wait for threads that have ended.
const LEAVING: Duration = Duration::from_secs(2);

/// Puts the sandbox up. To be called while this is the only thread.
///
/// # Errors
/// Where there are other threads, which would stay outside. What the kernel lacks is no error, but
/// in [`Sandbox::lacks`].
pub fn enter(needs: &Needs) -> Result<Sandbox> {
    // One that has ended and was joined is counted until the kernel has done with it.
    let until = Instant::now() + LEAVING;
    let threads = loop {
        let tasks = std::fs::read_dir("/proc/self/task");
        let threads = tasks.map_err(|e| Error::io("count this process's threads", e))?.count();
        if threads == 1 || Instant::now() >= until {
            break threads;
        }
        sleep(Duration::from_millis(5));
    };
    if threads != 1 {
        let message = format!("{threads} threads run already: those would stay outside of the sandbox");
        return Err(Error::new(Kind::Io, message));
    }
    let watched = Watched::new(needs);
    let mut lacks = Vec::new();
    let mut note = |done: std::result::Result<Option<String>, String>| match done {
        Ok(lack) => lacks.extend(lack),
        Err(error) => lacks.push(error),
    };
    note(capabilities::keep(&needs.capabilities));
    note(files::restrict(needs));
    note(system_calls::restrict());
    Ok(Sandbox { lacks, watched })
}
