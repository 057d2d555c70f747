//! A file on its way into staging, whose bytes go to the disk while the next ones are inflated.
//!
//! A table gets its name only when all of it is on the disk. By itself the kernel begins to write
//! when a tenth of the memory is dirty: less than that would all be written in the end, while
//! nothing else is done.

use super::target::touch;
use crate::time::Timestamp;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// Written to the page cache before the kernel is told to begin, bytes.
const STEP: u64 = 8 << 20;

pub(super) struct StagedFile {
    file: File,
    written: u64,
    /// Up to where the kernel was told.
    begun: u64,
}

impl StagedFile {
    pub(super) fn new(file: File) -> Self {
        Self { file, written: 0, begun: 0 }
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.written - self.begun >= STEP {
            self.begin_write_back();
        }
        Ok(())
    }

    /// Has the kernel begin to write what it has. Waits for nothing.
    fn begin_write_back(&mut self) {
        let (from, length) = (self.begun, self.written - self.begun);
        let (Ok(from), Ok(length)) = (from.try_into(), length.try_into()) else { return };
        // What cannot be begun now is written in the end, and an error of the disk is met there.
        // SAFETY: the descriptor is open, and no memory of ours is touched.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
        self.begun = self.written;
    }

    /// The file is whole.
    pub(super) fn end(self, modified: Timestamp) -> io::Result<()> {
        touch(&self.file, modified)
    }
}
