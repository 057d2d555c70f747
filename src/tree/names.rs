//! The names that a host's directories were shown under before and after better evidence came, kept
//! for the process that takes the mount over: programs and the kernel hold on to all of them
//! (`docs/formats.md`).

use super::attribution::Refined;
use super::model::{Former, HostModel};
use crate::catalog::Host;
use crate::catalog::kept::{self, Format};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"cassmnam", version: 1 };
const EXTENSION: &str = "names";

/// What the names of one host's tree depend on and its sets do not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) refined: Arc<Refined>,
    pub(super) former: Former,
}

impl Names {
    pub(super) fn of(model: &HostModel) -> Self {
        Self { refined: model.from.refined.clone(), former: model.former().clone() }
    }

    /// What was kept, if anything. Blocks.
    pub(super) fn load(path: &Path) -> Self {
        FORMAT
            .read(path)
            .unwrap_or_else(|error| {
                tracing::warn!("names that programs use may be lost, {}: {error}", path.display());
                None
            })
            .unwrap_or_default()
    }

    /// Blocks.
    pub(super) fn keep(&self, path: &Path) {
        if let Err(error) = FORMAT.write(path, self) {
            tracing::warn!("a restart would not know all names that programs use: {error}");
        }
    }
}

pub(super) fn path(directory: &Path, source: &str, host: &Host) -> PathBuf {
    kept::path(directory, source, host, EXTENSION)
}

/// Forgets what an earlier mount has kept in the directory.
pub fn forget(directory: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("clear {}", directory.display()), e);
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}
