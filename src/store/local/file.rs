//! An open file of the source, and what it must still be.

use super::{changed, failed, metadata};
use crate::store::ObjectMeta;
use crate::{Error, Result};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file of a local source, opened for reading and nothing else: no lock, no time of access that would have to be kept.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    object: ObjectMeta,
}

impl LocalFile {
    pub(super) fn new(file: File, object: ObjectMeta) -> Self {
        Self { file, object }
    }

    /// For whoever reads it without asking: the kernel.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes `range`, of the version that was listed. Blocks.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.check()?;
        let mut buffer = vec![0; (range.end - range.start) as usize];
        let read = self.file.read_exact_at(&mut buffer, range.start);
        // Again: it may have been written to meanwhile.
        self.check()?;
        match read {
            Ok(()) => Ok(buffer.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::corrupt(format!("the file ends within {}..{}", range.start, range.end)))
            }
            Err(error) => Err(failed("read it", &error)),
        }
    }

    /// Whether it still is what was listed. Blocks.
    pub(super) fn check(&self) -> Result<()> {
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| failed("look at it", &errno.into()))?;
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
