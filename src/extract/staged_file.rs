//! A file on its way into staging. A long one goes to the disk past the page cache.
//!
//! A table gets its name only when all of it is on the disk, so each byte waits for the disk
//! anyway: by itself the kernel begins to write when a tenth of the memory is dirty, and most of a
//! table would be written in the end, while nothing else is done. And what Cassandra has in the
//! page cache stays there.

use super::target::touch;
use crate::time::Timestamp;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::File;
use std::io::{self, Write};

/// Of this, memory, offset and length of a direct write are multiples, whatever the disk.
const BLOCK: usize = 4096;

/// Written at once, bytes: so much that a disk far away has several requests at a time.
const PART: usize = 2 << 20;

pub(super) struct StagedFile {
    file: File,
    buffer: Buffer,
    /// Whether it is open for direct writes.
    direct: bool,
}

/// Bytes that are not written yet, aligned for a direct write.
#[derive(Default)]
pub(super) struct Buffer {
    /// Empty, or [`PART`] and as much as it takes to align it.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Buffer {
    /// Takes as many of the bytes as it has room for; returns the others.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.memory.is_empty() {
            self.memory = vec![0; PART + BLOCK];
            self.start = self.memory.as_ptr().align_offset(BLOCK);
        }
        let (taken, rest) = bytes.split_at(bytes.len().min(PART - self.filled));
        let at = self.start + self.filled;
        self.memory[at..at + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }

    fn take(&mut self) -> &[u8] {
        let filled = std::mem::take(&mut self.filled);
        &self.memory[self.start..][..filled]
    }
}

impl StagedFile {
    /// A new file; the buffer is one that [`Self::end`] gave back, or a new one.
    pub(super) fn new(file: File, buffer: Buffer) -> Self {
        Self { file, buffer, direct: false }
    }

    /// Appends.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = self.buffer.fill(bytes);
            if self.buffer.filled == PART {
                self.write_part()?;
            }
        }
        Ok(())
    }

    fn write_part(&mut self) -> io::Result<()> {
        if !self.direct {
            self.direct = set_direct(&self.file, true).is_ok();
        }
        let mut part = self.buffer.take();
        while !part.is_empty() {
            match self.file.write(part) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => part = &part[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Not all file systems that take the flag take the writes.
                Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                    set_direct(&self.file, false)?;
                    self.direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The file is whole. Returns its buffer.
    pub(super) fn end(mut self, modified: Timestamp) -> io::Result<Buffer> {
        if self.direct {
            set_direct(&self.file, false)?;
        }
        self.file.write_all(self.buffer.take())?;
        touch(&self.file, modified)?;
        Ok(self.buffer)
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_file_of_any_length_in_any_pieces_is_what_was_written() {
        // A file system in memory may not take direct writes.
        for root in [Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("/dev/shm")] {
            let work = tempfile::tempdir_in(root).unwrap();
            let mut buffer = Buffer::default();
            for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART + BLOCK + 1] {
                let path = work.path().join(length.to_string());
                let content: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
                let mut staged = StagedFile::new(File::create(&path).unwrap(), buffer);
                for piece in content.chunks(PART / 3) {
                    staged.write(piece).unwrap();
                }
                buffer = staged.end(Timestamp(7_000_000)).unwrap();
                assert!(std::fs::read(&path).unwrap() == content, "{length} bytes in {}", root.display());
            }
        }
    }
}
