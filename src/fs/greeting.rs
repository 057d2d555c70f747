//! The kernel's greeting (FUSE_INIT): sent once for each mount, kept, and shown again to every
//! process that serves it.
//!
//! fuser wants to be greeted on the descriptor that it then serves. So it is greeted over a socket,
//! where the kept message can be put before it, and the device takes the socket's place afterwards.

use crate::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The kernel gives no request to a reader with less room than this, bytes.
const ROOM: usize = 8192;
/// `opcode` of FUSE_INIT in `fuse_in_header`.
const INIT: u32 = 26;
/// Offsets in the message: after `fuse_in_header` (40 bytes)
/// `major, minor, max_readahead, flags, flags2`, four bytes each.
const OPCODE: usize = 4;
const FLAGS: usize = 40 + 12;
const MORE_FLAGS: usize = 40 + 16;
/// Offsets in the answer: after `fuse_out_header` (16 bytes), in `fuse_init_out`.
const AGREED_FLAGS: usize = 16 + 12;
const AGREED_MORE_FLAGS: usize = 16 + 32;
/// FUSE_INIT_EXT: there are more flags.
const HAS_MORE: u32 = 1 << 30;
/// FUSE_HAS_RESEND, the 40th flag: the kernel can send requests again that a process took and never
/// answered (Linux 6.9).
const HAS_RESEND: u32 = 1 << (39 - 32);

/// The kernel's first message on a connection, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting(Vec<u8>);

impl Greeting {
    /// Takes it from a device that was just mounted. Blocks.
    pub fn receive(device: impl AsFd) -> Result<Self> {
        let mut message = vec![0; ROOM];
        let length = loop {
            match rustix::io::read(device.as_fd(), &mut *message) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                other => break other.map_err(|e| Error::io("read the kernel's greeting", e.into()))?,
            }
        };
        message.truncate(length);
        Self::from_bytes(message)
    }

    /// One that [`Self::as_bytes`] gave.
    pub fn from_bytes(message: Vec<u8>) -> Result<Self> {
        if message.len() <= FLAGS + 4 || word(&message, OPCODE) != INIT {
            return Err(Error::new(Kind::Unsupported, "the kernel's first message is no greeting that is understood"));
        }
        Ok(Self(message))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether requests survive the process that took them.
    pub fn has_resend(&self) -> bool {
        self.more_flags() & HAS_RESEND != 0
    }

    /// The same, of a kernel that cannot send requests again: for trying what happens then.
    #[must_use]
    pub fn without_resend(mut self) -> Self {
        let flags = self.more_flags() & !HAS_RESEND;
        if self.0.len() >= MORE_FLAGS + 4 {
            put(&mut self.0, MORE_FLAGS, flags);
        }
        self
    }

    fn more_flags(&self) -> u32 {
        let is_there = self.0.len() >= MORE_FLAGS + 4 && word(&self.0, FLAGS) & HAS_MORE != 0;
        if is_there { word(&self.0, MORE_FLAGS) } else { 0 }
    }

    /// The greeting as the next process has to see it: it offers nothing but what this `answer`
    /// took, for that holds as long as the mount.
    fn settled(&self, answer: &[u8]) -> Self {
        let mut message = self.0.clone();
        if answer.len() >= AGREED_MORE_FLAGS + 4 {
            let flags = word(&message, FLAGS) & (word(answer, AGREED_FLAGS) | HAS_MORE);
            put(&mut message, FLAGS, flags);
            if message.len() >= MORE_FLAGS + 4 {
                let flags = word(&message, MORE_FLAGS) & word(answer, AGREED_MORE_FLAGS);
                put(&mut message, MORE_FLAGS, flags);
            }
        }
        Self(message)
    }
}

/// What answers a greeting, and the greeting as it is settled by the answer.
pub(super) struct Answered {
    answer: Vec<u8>,
    pub(super) settled: Greeting,
}

/// Has `greet` greeted on a descriptor that stands in for the device, and returns what it made of
/// it.
pub(super) fn exchange<S>(greeting: &Greeting, greet: impl FnOnce(OwnedFd) -> Result<S>) -> Result<(S, Answered)> {
    let failed = |what: &'static str| move |e: Errno| Error::io(what, e.into());
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(failed("make a socket pair"))?;
    rustix::io::write(&ours, &greeting.0).map_err(failed("hand the kernel's greeting on"))?;
    let session = greet(theirs)?;
    let mut answer = vec![0; ROOM];
    let length = rustix::io::read(&ours, &mut *answer).map_err(failed("take the answer to the kernel's greeting"))?;
    answer.truncate(length);
    let settled = greeting.settled(&answer);
    Ok((session, Answered { answer, settled }))
}

impl Answered {
    /// Answers the kernel, unless an earlier process did, and puts the device in the place of
    /// `stand_in`.
    pub(super) fn deliver(&self, device: impl AsFd, stand_in: BorrowedFd<'_>) -> Result<()> {
        match rustix::io::write(device.as_fd(), &self.answer) {
            // Nobody waits for it: an earlier process' answer was taken.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("answer the kernel's greeting", error.into())),
        }
        // SAFETY: the descriptor is open as long as the borrow lasts, and is not closed here.
        let mut stand_in = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(stand_in.as_raw_fd()) });
        rustix::io::dup3(device.as_fd(), &mut stand_in, rustix::io::DupFlags::CLOEXEC)
            .map_err(|e| Error::io("put the device in its place", e.into()))
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(flags: u32, more: u32) -> Greeting {
        let mut message = vec![0; 104];
        put(&mut message, OPCODE, INIT);
        put(&mut message, FLAGS, flags);
        put(&mut message, MORE_FLAGS, more);
        Greeting::from_bytes(message).unwrap()
    }

    #[test]
    fn older_kernels_have_no_resend() {
        assert!(greeting(HAS_MORE, HAS_RESEND).has_resend());
        assert!(!greeting(HAS_MORE, HAS_RESEND).without_resend().has_resend());
        assert!(!greeting(HAS_MORE, 0).has_resend());
        // What stands there means nothing then.
        assert!(!greeting(0, HAS_RESEND).has_resend());
        assert!(Greeting::from_bytes(vec![0; 104]).is_err() && Greeting::from_bytes(vec![]).is_err());
    }

    #[test]
    fn the_next_process_is_offered_what_the_first_one_took() {
        let mut answer = vec![0; 80];
        put(&mut answer, AGREED_FLAGS, 0b0011 | HAS_MORE);
        put(&mut answer, AGREED_MORE_FLAGS, HAS_RESEND | 1);
        let settled = greeting(0b0110 | HAS_MORE, HAS_RESEND | 2).settled(&answer);
        assert_eq!(settled, greeting(0b0010 | HAS_MORE, HAS_RESEND));
    }
}
