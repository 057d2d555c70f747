//! An open file of the source, and what it must still be.

use super::{Root, changed, failed, metadata};
use crate::descriptors::Permit;
use crate::store::ObjectMeta;
use crate::{Error, Result};
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A file of a local source, opened for reading and nothing else: no lock, no time of access that
/// would have to be kept.
#[derive(Debug)]
pub struct LocalFile {
    /// `None` while very many files are open: then it is opened for each read.
    file: Option<(File, Permit)>,
    root: Arc<Root>,
    object: ObjectMeta,
}

impl LocalFile {
    /// Opens a file that was listed.
    pub(super) fn open(root: Arc<Root>, object: ObjectMeta) -> Result<Self> {
        let file = root.open_listed(&object)?;
        let file = Permit::to_read().map(|permit| (file, permit));
        Ok(Self { file, root, object })
    }

    /// For whoever reads it without asking: the kernel. `None` while very many files are open.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref().map(|(file, _)| file)
    }

    /// Bytes `range`, of the version that was listed. Blocks.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let reopened;
        let file = if let Some(file) = self.file() {
            file
        } else {
            reopened = self.root.open_listed(&self.object)?;
            &reopened
        };
        self.check_file(file)?;
        let read = read_exact(file, &range);
        // Again: it may have been written to meanwhile.
        self.check_file(file)?;
        match read {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::corrupt(format!("the file ends within {}..{}", range.start, range.end)))
            }
            Err(error) => Err(failed("read it", &error)),
        }
    }

    /// Whether it still is what was listed. Blocks.
    pub(super) fn check(&self) -> Result<()> {
        match self.file() {
            Some(file) => self.check_file(file),
            None => self.check_file(&self.root.open_listed(&self.object)?),
        }
    }

    fn check_file(&self, file: &File) -> Result<()> {
        let stat = rustix::fs::fstat(file).map_err(|errno| failed("look at it", &errno.into()))?;
        let now = metadata(Arc::clone(&self.object.key), &stat);
        if now.size != self.object.size {
            return Err(changed(format!("it had {} bytes and has {}", self.object.size, now.size)));
        }
        if self.object.e_tag.is_some() && now.e_tag != self.object.e_tag {
            return Err(changed("it was modified"));
        }
        Ok(())
    }
}

/// Bytes `range`, into memory that nobody has cleared before.
fn read_exact(file: &File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let len = (range.end - range.start) as usize;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = range.start + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            // What is longer has room for more than was asked for.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
