//! What is there. A name that is absent is told apart from one that cannot be looked at: an error
//! that is taken for an absence would take a table for dropped, a link for local, or a running
//! Cassandra for a stopped one.

use super::journal::state::Plan;
use crate::{Error, Kind, Result};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// The metadata of a name itself, not of what a link leads to. `None` where there is no such name.
pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>> {
    present(fs::symlink_metadata(path), path)
}

/// Whether a directory has this name, or a link to one.
pub(super) fn is_directory(path: &Path) -> Result<bool> {
    Ok(present(fs::metadata(path), path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Bytes that are free where a directory is, for whom this process runs as.
pub(super) fn free_bytes(directory: &Path) -> Result<u64> {
    let free = rustix::fs::statvfs(directory)
        .map_err(|e| Error::io(format_args!("ask {} for its free space", directory.display()), e.into()))?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}

/// Whether there is such a name.
pub(super) fn exists(path: &Path) -> Result<bool> {
    Ok(metadata(path)?.is_some())
}

/// Where a link leads. `None` where there is no such name, or something else has it.
pub(super) fn link_target(path: &Path) -> Result<Option<PathBuf>> {
    match fs::read_link(path) {
        // What is no link.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(None),
        read => present(read, path),
    }
}

/// Whether something is mounted there. Does not ask what is mounted, which may not answer.
pub(super) fn is_mount_point(place: &Path) -> Result<bool> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(MOUNTS).map_err(|e| Error::io(format_args!("read {MOUNTS}"), e))?;
    // As the table writes it.
    let mut escaped = place.to_string_lossy().replace('\\', "\\134");
    for (blank, code) in [(' ', "\\040"), ('\t', "\\011"), ('\n', "\\012")] {
        escaped = escaped.replace(blank, code);
    }
    Ok(table.lines().any(|line| line.split(' ').nth(4) == Some(&*escaped)))
}

fn present<T>(looked: io::Result<T>, path: &Path) -> Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format_args!("look at {}", path.display()), e)),
    }
}

/// Those of a table's live directories that are there; none of a table that was dropped.
///
/// # Errors
/// Where one of them cannot be looked at, or the disk that it lay on is not there.
pub(super) fn live_directories(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut there = Vec::new();
    for directory in &plan.directories {
        if is_directory(directory)? {
            there.push(directory.clone());
        } else if !is_dropped(directory)? {
            let message = format!(
                "{} is not there, nor is anything else below its data directory: is the disk mounted?",
                directory.display()
            );
            return Err(Error::new(Kind::NotRunning, message));
        }
    }
    Ok(there)
}

/// Whether only this directory is gone. A data directory in which there is nothing at all is a disk
/// that is not mounted.
fn is_dropped(directory: &Path) -> Result<bool> {
    let Some(keyspace) = directory.parent() else { return Ok(false) };
    if is_directory(keyspace)? {
        return Ok(true);
    }
    let Some(data) = keyspace.parent() else { return Ok(false) };
    if !is_directory(data)? {
        return Ok(false);
    }
    let failed = |e| Error::io(format_args!("read {}", data.display()), e);
    for entry in fs::read_dir(data).map_err(failed)? {
        if entry.map_err(failed)?.file_name() != "lost+found" {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Table, unreadable};
    use super::*;

    #[test]
    fn an_error_is_no_absence() {
        let work = tempfile::tempdir().unwrap();
        let (absent, broken) = (work.path().join("absent"), work.path().join("broken"));
        unreadable(&broken);
        let below = broken.join("below");
        assert!(metadata(&absent).unwrap().is_none() && !is_directory(&absent).unwrap());
        assert!(link_target(&absent).unwrap().is_none() && link_target(work.path()).unwrap().is_none());
        assert!(metadata(&below).is_err() && is_directory(&below).is_err() && link_target(&below).is_err());
        assert!(is_directory(&broken).is_err() && exists(&below).is_err());
    }

    #[test]
    fn mount_points_are_told_from_directories() {
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(tempfile::tempdir().unwrap().path()).unwrap());
    }

    #[test]
    fn a_dropped_table_is_told_from_a_lost_disk() {
        let table = Table::new();
        let plan = table.state(0).plan;
        assert_eq!(live_directories(&plan).unwrap(), std::slice::from_ref(&table.live));
        fs::remove_dir(&table.live).unwrap();
        assert!(live_directories(&plan).unwrap().is_empty());
        let keyspace = table.live.parent().unwrap();
        fs::remove_dir(keyspace).unwrap();
        assert_eq!(live_directories(&plan).unwrap_err().kind(), Kind::NotRunning);
        fs::create_dir(keyspace.with_file_name("system")).unwrap();
        assert!(live_directories(&plan).unwrap().is_empty());
        unreadable(keyspace);
        assert!(live_directories(&plan).is_err());
    }
}
