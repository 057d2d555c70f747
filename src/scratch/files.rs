//! The scratch directory on disk: the lock that keeps it to one process, and one file per changed content.

use crate::{Error, Kind, Result};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
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
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path.join("files")).map_err(context)?;
        // The directory may be older than this mount; what is in it is nobody else's to read all the same.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(context)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(context)?;
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
        open_rw(&self.content(ino)).map_err(|e| Error::io("open a file of the scratch directory", e))
    }

    /// A file to copy content into, published by [`Self::publish`].
    pub(super) fn create_copy(&self, ino: u64) -> Result<File> {
        let path = self.content(ino).with_extension("copy");
        let create = || {
            let file = open_rw(&path)?;
            file.set_len(0)?;
            Ok(file)
        };
        create().map_err(|e| Error::io("create a file in the scratch directory", e))
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

fn open_rw(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the scratch directory");
    }
}
