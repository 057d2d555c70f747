//! What a node was put together without, told beside its tables: INCOMPLETE.txt in its data
//! directory, which Cassandra passes over.

use super::journal::Work;
use crate::incomplete::{self, FILE_NAME};
use crate::{Error, Result};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

/// How the text begins: what begins in another way is somebody else's.
const BEGINNING: &str = "This node was put together from ";

fn place(work: &Work) -> PathBuf {
    work.data_dir.join(FILE_NAME)
}

/// Writes it, if something is missing.
pub(super) fn write(work: &Work, lacks: &[String]) -> Result<()> {
    if lacks.is_empty() {
        return Ok(());
    }
    let mut text = format!("{BEGINNING}{}, which is incomplete. It lacks:\n\n", work.from);
    for lack in lacks {
        let _ = writeln!(text, "{}", incomplete::line(None, lack));
    }
    let place = place(work);
    fs::write(&place, text).map_err(|e| Error::io(format_args!("write {}", place.display()), e))
}

/// Takes it away with what was put there.
pub(super) fn remove(work: &Work) -> Result<()> {
    let place = place(work);
    let failed = |what: &str, e| Err(Error::io(format_args!("{what} {}", place.display()), e));
    match fs::read(&place) {
        Ok(text) if !text.starts_with(BEGINNING.as_bytes()) => Ok(()),
        Ok(_) => fs::remove_file(&place).or_else(|e| failed("remove", e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => failed("read", e),
    }
}
