//! Mount points, as commands are given them.

use cassmount::{Error, Result};
use std::path::{Path, PathBuf};

/// Without asking the file system there, which may not answer.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|e| Error::io("find the current directory", e))?;
    Ok(path.components().collect())
}

pub(super) fn not_mounted(place: &Path) -> Error {
    Error::not_found(format!("no running mount of this user at {}; `cassmount status` lists them", place.display()))
}
