//! Directories and files that only their user may look into.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a directory, and those above it.
pub(super) fn make_private(directory: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| Error::io(format_args!("create {}", directory.display()), e))
}

/// Writes a file, in place of one that is there.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| Error::io(format_args!("write {}", path.display()), e))
}
