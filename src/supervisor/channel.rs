//! A socket pair between two of our processes that keeps messages apart and carries descriptors.

use crate::{Error, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest message, bytes.
pub const LONGEST: usize = 16 << 10;

/// One end of a socket pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Ours, and the other end, for another process.
    pub fn pair() -> Result<(Self, OwnedFd)> {
        let made = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = made.map_err(|e| Error::io("make a socket pair", e.into()))?;
        Ok((Self(ours), theirs))
    }

    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The end that the process was given as its standard input, which then is empty.
    pub fn of_stdin() -> Result<Self> {
        let taken = || -> std::io::Result<OwnedFd> {
            let channel = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
            nix::unistd::dup2_stdin(&std::fs::File::open("/dev/null")?)?;
            Ok(channel)
        };
        taken().map(Self).map_err(|e| Error::io("take over from the process that started this one", e))
    }

    /// Sends a message, with a descriptor if need be. It may be [`LONGEST`] bytes long.
    pub fn send<M: Serialize>(&self, message: &M, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(|e| Error::invalid("encode a message").with_source(e))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => {
                    return other.map(drop).map_err(|e| Error::io("send a message between our processes", e.into()));
                }
            }
        }
    }

    /// The next message and the descriptor that came with it; `None` once the other end is closed.
    /// Blocks.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Option<OwnedFd>)>> {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                // Reset: it died with a message of ours unread. That is told once, before what it
                // said last.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other.map_err(|e| Error::io("receive a message between our processes", e.into()))?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = postcard::from_bytes(&bytes[..received.bytes])
            .map_err(|e| Error::invalid("a message between our processes makes no sense").with_source(e))?;
        Ok(Some((message, fd)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
