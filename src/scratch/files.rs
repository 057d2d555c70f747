//! The scratch directory on disk: the lock that keeps it to one process, and one file per changed
//! content.

use crate::private::{self, Open};
use crate::{Error, Kind, Result};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A scratch directory, held by one process at a time.
#[derive(Debug)]
pub(super) struct ScratchDir {
    path: PathBuf,
    /// Locked as long as this lives.
    _lock: File,
}

impl ScratchDir {
    /// Makes or takes over the directory. [`Kind::Busy`] if another process uses it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let context = |e| Error::io(format!("open the scratch directory {}", path.display()), e);
        private::directory(path)?;
        private::directory(&path.join("files"))?;
        let lock = private::open(&path.join("lock"), Open::Create).map_err(context)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                let message = format!("the scratch directory {} is in use by another mount", path.display());
                Err(Error::new(Kind::Busy, message))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(context(error)),
        }
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn content(&self, ino: u64) -> PathBuf {
        self.path.join("files").join(format!("{ino:016x}"))
    }

    /// Opens the content of an inode, empty if it was never written.
    pub(super) fn open_content(&self, ino: u64) -> Result<File> {
        self.make_content(&self.content(ino)).map_err(|e| Error::io("open a file of the scratch directory", e))
    }

    /// A file to copy content into, published by [`Self::publish`].
    pub(super) fn create_copy(&self, ino: u64) -> Result<File> {
        let path = self.content(ino).with_extension("copy");
        let create = || {
            let file = self.make_content(&path)?;
            file.set_len(0)?;
            Ok(file)
        };
        create().map_err(|e| Error::io("create a file in the scratch directory", e))
    }

    /// Opens a file of content, and makes it where there is none; with its directory, if somebody
    /// has deleted the cache meanwhile.
    fn make_content(&self, path: &Path) -> std::io::Result<File> {
        match private::open(path, Open::Create) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                private::directory(&self.path.join("files")).map_err(std::io::Error::other)?;
                private::open(path, Open::Create)
            }
            opened => opened,
        }
    }

    pub(super) fn publish(&self, ino: u64) -> Result<()> {
        let path = self.content(ino);
        std::fs::rename(path.with_extension("copy"), path)
            .map_err(|e| Error::io("rename a file in the scratch directory", e))
    }

    pub(super) fn remove_content(&self, ino: u64) {
        remove(&self.content(ino));
    }

    pub(super) fn remove_copy(&self, ino: u64) {
        remove(&self.content(ino).with_extension("copy"));
    }

    /// Every content file and its inode; other names (half-made copies) with `None`.
    pub(super) fn contents(&self) -> Result<Vec<(Option<u64>, PathBuf)>> {
        let context = |e| Error::io("list the scratch directory", e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.path.join("files")).map_err(context)? {
            let entry = entry.map_err(context)?;
            let ino = entry.file_name().to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            found.push((ino, entry.path()));
        }
        Ok(found)
    }

    /// Removes every content file.
    pub(super) fn clear(&self) -> Result<()> {
        for (_, path) in self.contents()? {
            remove(&path);
        }
        Ok(())
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the scratch directory");
    }
}
