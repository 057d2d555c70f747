//! The mounts that run, and the journals beside their caches.

use super::args::JournalArgs;
use crate::cli::args::CacheArgs;
use crate::cli::open;
use crate::cli::runtime_state::{self, RunningMount};
use crate::cli::status::absolute;
use crate::restore::Mount;
use crate::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// The mount that was named, or the only one that runs.
pub(super) fn find(named: Option<&Path>) -> Result<Mount> {
    let mut running: Vec<RunningMount> =
        RunningMount::all()?.into_iter().filter(|mount| runtime_state::is_ours(&mount.mountpoint)).collect();
    if let Some(named) = named {
        let named = absolute(named)?;
        running.retain(|mount| mount.mountpoint == named);
    }
    match &running[..] {
        [one] => Ok(Mount {
            mountpoint: one.mountpoint.clone(),
            source: one.source.clone(),
            cache_dir: one.cache_dir.clone(),
        }),
        [] => {
            let place = named.map(|named| format!(" at {}", named.display())).unwrap_or_default();
            Err(Error::not_found(format!(
                "no mount of this user runs{place}: first mount the backups for Cassandra to read, e.g. cassmount mount s3://BUCKET /mnt --key-file K --allow-other"
            )))
        }
        several => {
            let places: Vec<String> = several.iter().map(|mount| mount.mountpoint.display().to_string()).collect();
            Err(Error::new(Kind::Invalid, format!("several mounts run: choose with --mount ({})", places.join(", "))))
        }
    }
}

/// The cache directories whose journals are meant.
pub(super) fn cache_dirs(args: &JournalArgs) -> Result<Vec<PathBuf>> {
    if let Some(named) = &args.cache_dir {
        return Ok(vec![std::path::absolute(named).map_err(|e| Error::io("find the current directory", e))?]);
    }
    let mut directories: Vec<PathBuf> = RunningMount::all()?.into_iter().map(|mount| mount.cache_dir).collect();
    directories.extend(open::cache_dir(&CacheArgs::default()).ok());
    directories.sort();
    directories.dedup();
    Ok(directories)
}
