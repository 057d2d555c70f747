//! What supervisor and worker tell each other.

use super::restarts::Death;
use crate::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a worker must have in common with the supervisor, and with the worker before it: these
/// messages, what is recorded on disk of the kernel's knowledge and of the scratch layer, and how
/// inode numbers and directory offsets are made. Every change of any of it counts this up
/// (`docs/formats.md`).
pub const PROTOCOL: u32 = 6;

/// What happened to a mount so far.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When it was mounted, microseconds since 1970.
    pub since: i64,
    /// Workers that were started because one died.
    pub restarts: u64,
    /// How the last one died.
    pub last: Option<LastDeath>,
    /// How often the mount was handed over to another program.
    pub upgrades: u64,
    /// How the last of these programs died, if the one before it had to go on.
    pub failed_upgrade: Option<String>,
}

/// How a worker died.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LastDeath {
    pub death: Death,
    /// What it said before, if anything.
    pub said: Option<String>,
    pub pid: u32,
    /// Microseconds since 1970.
    pub at: i64,
    /// For how long it had answered requests, if it came to that.
    pub served: Option<Duration>,
}

impl fmt::Display for LastDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.death)?;
        self.said.as_ref().map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

/// The supervisor's first message to a worker.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// [`PROTOCOL`] of the supervisor.
    pub protocol: u32,
    /// Absolute, without symbolic links, as bytes.
    pub mountpoint: Vec<u8>,
    pub history: History,
    /// The kernel's greeting, if there is a mount; the device comes with it. Else the worker has to
    /// make one.
    pub greeting: Option<Vec<u8>>,
    /// Workers crash one after the other: for how long each request that was in flight is to be
    /// tried alone.
    pub trial: Option<Duration>,
    /// Fingerprints of requests that workers died of while they tried them.
    pub condemned: Vec<u64>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each worker")]
pub(super) enum ToWorker {
    Start(Start),
    /// Unmount and end; said again, even while programs use the mount.
    Stop,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) enum FromWorker {
    /// Mounted; the device comes with it. From here on the supervisor holds the connection.
    /// `resend`: requests outlive who took them.
    Hold { greeting: Vec<u8>, resend: bool },
    /// Requests are being answered.
    Ready,
    /// This is the end, and why. The kind decides the exit status of `cassmount mount`.
    Failed { kind: Kind, reason: String },
    /// The request of this fingerprint is being tried alone; `None`: none is any more.
    Trying(Option<u64>),
    /// End this worker, and go on with another program, whose file comes with it.
    Upgrade,
    /// End this worker, and go on with another one: what it may use has been replaced.
    Renew,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::channel::Channel;
    use std::os::fd::AsFd;

    #[test]
    fn messages_stay_apart_and_carry_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::from_fd(theirs);
        let file = std::fs::File::open("/dev/null").unwrap();
        let hold = FromWorker::Hold { greeting: vec![7; 104], resend: true };
        theirs.send(&hold, Some(file.as_fd())).unwrap();
        theirs.send(&FromWorker::Ready, None).unwrap();
        drop(theirs);
        let (first, fd) = ours.receive::<FromWorker>().unwrap().unwrap();
        assert!(first == hold && fd.is_some());
        let (second, fd) = ours.receive::<FromWorker>().unwrap().unwrap();
        assert!(second == FromWorker::Ready && fd.is_none());
        assert!(ours.receive::<FromWorker>().unwrap().is_none());
        assert!(ours.send(&ToWorker::Stop, None).is_err());
    }

    #[test]
    fn last_words_are_heard_of_one_that_listened_no_more() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::from_fd(theirs);
        ours.send(&ToWorker::Stop, None).unwrap();
        theirs.send(&FromWorker::Trying(Some(7)), None).unwrap();
        drop(theirs);
        assert_eq!(ours.receive::<FromWorker>().unwrap().unwrap().0, FromWorker::Trying(Some(7)));
        assert!(ours.receive::<FromWorker>().unwrap().is_none());
    }
}
