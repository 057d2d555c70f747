//! What is kept of a node beside its directories.

use super::address::Endpoint;
use super::files::Versioned;
use super::process::ProcessId;
use crate::Result;
use crate::restore::Origin;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Of the record's form.
pub(super) const VERSION: u32 = 1;

/// A node, from the moment when its directory is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub(super) version: u32,
    /// Of the node, and of its directory.
    pub name: String,
    pub source: String,
    /// The time that was asked for.
    pub at: String,
    /// Whose backups, and which.
    pub points: Vec<Origin>,
    pub started: Timestamp,
    pub endpoint: Endpoint,
    /// Version of the Cassandra.
    pub cassandra: String,
    /// What its links lead into.
    pub mountpoint: PathBuf,
    /// Whether that mount is the node's own, and ends with it.
    pub has_own_mount: bool,
    /// The command that starts it.
    pub(super) starter: ProcessId,
    /// Whether it is of no use without that command: a drill's.
    #[serde(default)]
    pub(super) ends_with_starter: bool,
    pub server: Option<ProcessId>,
    /// Whether it has answered, with every SSTable open.
    pub(super) is_ready: bool,
}

impl Versioned for Record {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Running,
    /// Its Cassandra has ended, or its mount, or the command that started it was killed.
    Dead,
}

/// Whether nobody serves the mount any more: what is not read yet cannot be read.
fn is_disconnected(mountpoint: &Path) -> bool {
    // What the kernel remembers of attributes would not tell.
    rustix::fs::statvfs(mountpoint).is_err_and(|error| error == rustix::io::Errno::NOTCONN)
}

impl Record {
    pub fn state(&self) -> Result<State> {
        let serves = match &self.server {
            Some(server) => server.is_alive()?,
            None => false,
        };
        Ok(match (self.is_ready, serves) {
            (true, true) if self.has_own_mount && is_disconnected(&self.mountpoint) => State::Dead,
            (true, true) if !self.ends_with_starter || self.starter.is_alive()? => State::Running,
            (false, _) if self.starter.is_alive()? => State::Starting,
            _ => State::Dead,
        })
    }
}
