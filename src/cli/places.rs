//! Mount points and directories, as commands are given them.

use cassmount::{Error, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// Without asking the file system there, which may not answer.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|e| Error::io("find the current directory", e))?;
    Ok(path.components().collect())
}

/// Of an option: what is noted and compared later holds in any directory.
pub(super) fn parse_absolute() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| absolute(&path))
}

pub(super) fn not_mounted(place: &Path) -> Error {
    Error::not_found(format!("no running mount of this user at {}; `cassmount status` lists them", place.display()))
}
