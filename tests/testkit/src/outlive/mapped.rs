//! A file mapped into memory, as Java reads SSTables.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

pub struct Mapped {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    /// Maps the first `length` bytes, which must not be 0; the file must have them, and keep them.
    pub fn new(file: &File, length: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, of a descriptor that is
        // open.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, length }) }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is this long, readable, and lives as long as this value; files of a
        // backup do not change.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference into it any more.
        unsafe { libc::munmap(self.start, self.length) };
    }
}
