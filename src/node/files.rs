//! Directories, files and records that only their user may look into.

use crate::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
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

/// Writes a record as JSON, whole or not at all. `temporary` is a name beside it that nobody else
/// uses.
pub(super) fn write_record<T: Serialize>(path: &Path, temporary: &Path, record: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(record)
        .map_err(|e| Error::new(Kind::Io, format!("cannot encode {}", path.display())).with_source(e))?;
    write_private(temporary, &text)?;
    fs::rename(temporary, path).map_err(|e| Error::io(format_args!("write {}", path.display()), e))
}

/// A record of the program's own, with the number of its form.
pub(super) trait Versioned {
    const VERSION: u32;

    fn version(&self) -> u32;
}

/// Reads a record of at most `longest` bytes; `None` where there is none. `hint` says what to do
/// about one that cannot be read.
pub(super) fn read_record<T: DeserializeOwned + Versioned>(path: &Path, longest: u64, hint: &str) -> Result<Option<T>> {
    let failed = |e| Error::io(format_args!("read {}", path.display()), e);
    let mut text = Vec::new();
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.and_then(|file| file.take(longest).read_to_end(&mut text)).map_err(failed)?,
    };
    let record: T = serde_json::from_slice(&text)
        .map_err(|e| Error::corrupt(format!("{} is damaged: {hint}", path.display())).with_source(e))?;
    if record.version() != T::VERSION {
        let message = format!("{} is of another version of cassmount: {hint}", path.display());
        return Err(Error::new(Kind::Unsupported, message));
    }
    Ok(Some(record))
}
