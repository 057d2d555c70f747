//! Files that the kernel reads by itself (passthrough), by the numbers under which it knows them.
//!
//! A number belongs to the connection, not to the process that had it made, so it is kept raw and
//! handed on to the next process; fuser's own type would close it with this one.

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `FUSE_DEV_IOC_BACKING_CLOSE`: `_IOW(229, 2, uint32_t)` of `linux/fuse.h`.
const BACKING_CLOSE: libc::Ioctl = 0x4004_e502;

/// Who registers the backing files of a mount. Blocks for a moment at most.
pub trait Registrar: Send + Sync + Debug {
    /// Lets the kernel read `file`; it keeps the file open until [`Self::close`], or the end of the
    /// connection.
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<u32>;

    fn close(&self, id: u32) -> io::Result<()>;
}

/// The device of a mount, on which backing files are registered by whoever has CAP_SYS_ADMIN.
#[derive(Debug)]
pub struct Backings(OwnedFd);

impl Backings {
    pub fn on(device: OwnedFd) -> Self {
        Self(device)
    }
}

impl Registrar for Backings {
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        BackingId::create_raw(&self.0, file)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the kernel reads four bytes from the pointer, which
        // are there.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), BACKING_CLOSE, &raw const id) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Answers an open: the kernel reads backing file `id`, which must be one of the connection's.
pub(super) fn opened(reply: ReplyOpen, handle: FileHandle, id: u32) {
    // SAFETY: `id` is open and of this connection, and the wrapper gives up its claim on it below.
    let backing = unsafe { reply.wrap_backing(id) };
    // No other flag: there are no cached pages to keep, and the kernel refuses to be told of them.
    reply.opened_passthrough(handle, FopenFlags::empty(), &backing);
    backing.into_raw();
}
