//! The worker's end: what it is told, and what it tells.

use super::channel::{Channel, LONGEST};
use super::message::{FromWorker, PROTOCOL, Start, ToWorker};
use super::system;
use crate::{Error, Kind, Result};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Set by the supervisor: what the worker's standing was when memory runs out, before the
/// supervisor changed its own.
pub(super) const OOM_SCORE_VARIABLE: &str = "CASSMOUNT_OOM_SCORE";

/// What the worker is asked for while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Unmount and end; given again, even while programs use the mount.
    Stop,
    /// The supervisor has died: there is nobody to start another worker after this one.
    Alone,
}

/// The way to the supervisor.
#[derive(Clone, Debug)]
pub struct Link(Arc<Channel>);

impl Link {
    /// Takes the channel from standard input, where the supervisor put it, and waits for its first
    /// message. With a greeting comes the device.
    ///
    /// To be called before there are other threads. [`Kind::Invalid`] in a process that was started
    /// otherwise.
    pub fn open() -> Result<(Self, Start, Option<OwnedFd>)> {
        let channel = Channel::of_stdin()?;
        system::unblock_signals().map_err(|e| Error::io("take over from the supervisor", e))?;
        let Ok(Some((ToWorker::Start(start), device))) = channel.receive() else {
            return Err(Error::invalid("this command is for cassmount itself: use `cassmount mount`"));
        };
        if start.protocol != PROTOCOL {
            let (theirs, ours) = (start.protocol, PROTOCOL);
            let message = format!("this version cannot go on with that mount (it speaks {ours}, the mount {theirs})");
            return Err(Error::new(Kind::Unsupported, message));
        }
        system::name_this_process();
        if start.greeting.is_none() {
            system::die_with_parent(true).map_err(|e| Error::io("follow the supervisor", e))?;
        }
        if let Ok(score) = std::env::var(OOM_SCORE_VARIABLE) {
            system::be_chosen_as(&score);
        }
        Ok((Self(Arc::new(channel)), start, device))
    }

    /// Gives the supervisor the connection to hold.
    ///
    /// `resend`: the kernel can send again what a dead process took.
    pub fn hold(&self, device: BorrowedFd<'_>, greeting: &[u8], resend: bool) -> Result<()> {
        self.0.send(&FromWorker::Hold { greeting: greeting.to_vec(), resend }, Some(device))
    }

    /// Requests are being answered.
    pub fn ready(&self) -> Result<()> {
        // From here on there are programs to serve, whatever becomes of the supervisor.
        system::die_with_parent(false).map_err(|e| Error::io("let go of the supervisor", e))?;
        self.0.send(&FromWorker::Ready, None)
    }

    /// This is the end of the process, and of the mount if it does not serve yet.
    pub fn failed(&self, error: &Error) {
        let reason = error.to_string().chars().take(LONGEST / 8).collect();
        let failed = FromWorker::Failed { kind: error.kind(), reason };
        // Whoever is not there any more needs no reason.
        let _ = self.0.send(&failed, None);
    }

    /// The request of this fingerprint is being tried alone; `None`: none is any more.
    pub fn trying(&self, request: Option<u64>) {
        // Without a supervisor there is nobody to draw conclusions.
        let _ = self.0.send(&FromWorker::Trying(request), None);
    }

    /// Has the supervisor end this process, and go on with another program.
    pub fn upgrade(&self, program: BorrowedFd<'_>) -> Result<()> {
        let gone = |error: Error| {
            Error::new(Kind::Io, "the mount's supervisor has died: there is nobody to start another worker")
                .with_source(error)
        };
        self.0.send(&FromWorker::Upgrade, Some(program)).map_err(gone)
    }

    /// Has the supervisor end this process, and go on with another one of the program.
    pub fn renew(&self) -> Result<()> {
        self.0.send(&FromWorker::Renew, None)
    }

    /// What the supervisor asks for from now on.
    pub fn orders(&self) -> Result<mpsc::UnboundedReceiver<Order>> {
        let (send, orders) = mpsc::unbounded_channel();
        let channel = Arc::clone(&self.0);
        let listen = move || {
            while let Ok(Some((ToWorker::Stop, _))) = channel.receive() {
                let _ = send.send(Order::Stop);
            }
            let _ = send.send(Order::Alone);
        };
        std::thread::Builder::new()
            .name("supervisor".into())
            .spawn(listen)
            .map_err(|e| Error::io("start a thread", e))?;
        Ok(orders)
    }
}
