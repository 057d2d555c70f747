//! Takes out of a stopped node exactly what its restore has put there.

use super::config;
use super::journal::{NodeJournal, NodeState, NodeStep, PlacedTable, Work};
use super::lacking;
use super::place::remove_staging;
use crate::restore::journal::sync_directory;
use crate::restore::links::live;
use crate::restore::look;
use crate::restore::sstables::reading;
use crate::{Error, Kind, Result};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Whether Cassandra was started on what was put there.
pub(super) fn was_started(work: &Work) -> Result<bool> {
    let system = work.data_dir.join("system");
    if !look::is_directory(&work.data_dir)? {
        return Err(not_there(work));
    }
    Ok(has_entry(&system, "local-")? || has_entry(&work.commitlog, "")?)
}

fn not_there(work: &Work) -> Error {
    let message = format!(
        "nothing of what was put there is in {}: is the disk mounted? Nothing was changed",
        work.data_dir.display()
    );
    Error::new(Kind::NotRunning, message)
}

fn has_entry(directory: &Path, prefix: &str) -> Result<bool> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(|e| reading(directory, e))?,
    };
    for entry in entries {
        let name = entry.map_err(|e| reading(directory, e))?.file_name();
        if name != "lost+found" && name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes all back. Returns the directories in which something else is left.
///
/// # Errors
/// The journal stays then; run again, it goes on.
pub(super) fn undo(mut journal: NodeJournal) -> Result<Vec<PathBuf>> {
    if journal.state.step == NodeStep::Placed {
        // The journal is the only way back: it does not go because a disk is away.
        let mut is_there = false;
        for table in &journal.state.work.tables {
            is_there = is_there || look::is_directory(&journal.state.work.data_dir.join(&table.place))?;
        }
        if !is_there {
            return Err(not_there(&journal.state.work));
        }
    }
    if journal.state.step < NodeStep::Undoing {
        journal.step(NodeStep::Undoing)?;
    }
    config::undo(&journal.state.config)?;
    remove_staging(&journal.state.work)?;
    let started = was_started(&journal.state.work)?;
    let mut left = Vec::new();
    for table in &journal.state.work.tables {
        let directory = journal.state.work.data_dir.join(&table.place);
        if look::is_directory(&directory)? {
            take_out(&journal.state, table, &directory, started)?;
            let below = table.directories.iter().map(|of| directory.join(&of.below));
            let mut all: Vec<PathBuf> = below.collect();
            all.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
            let mut is_gone = true;
            for path in all {
                is_gone = remove_empty(&path)?;
            }
            if !is_gone {
                left.push(directory);
            }
        }
    }
    let keyspaces: std::collections::BTreeSet<&str> =
        journal.state.work.tables.iter().map(|table| &*table.keyspace).collect();
    for keyspace in keyspaces {
        remove_empty(&journal.state.work.data_dir.join(keyspace))?;
    }
    lacking::remove(&journal.state.work)?;
    sync_directory(&journal.state.work.data_dir)?;
    journal.remove()?;
    Ok(left)
}

fn take_out(state: &NodeState, table: &PlacedTable, directory: &Path, started: bool) -> Result<()> {
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(format_args!("remove {}", path.display()), e)),
        _ => Ok(()),
    };
    let inodes = state.files.get(&table.place);
    for (file, _) in table.files() {
        let path = directory.join(&file);
        let Some(metadata) = look::metadata(&path)? else { continue };
        let inode = inodes.and_then(|inodes| inodes.get(&*file.to_string_lossy()));
        // A name that Cassandra wrote to since is Cassandra's.
        if metadata.is_file() && (!started || inode == Some(&metadata.ino())) {
            remove(&path)?;
        }
    }
    // Also what Cassandra has linked on: it would lead nowhere.
    live::links(directory, &state.work.mountpoint)?.iter().try_for_each(|link| remove(&link.path))?;
    sync_directory(directory)
}

/// Removes a directory if nothing is in it. Returns whether it is gone.
fn remove_empty(directory: &Path) -> Result<bool> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => Ok(false),
        Err(e) => Err(Error::io(format_args!("remove {}", directory.display()), e)),
    }
}

/// # Errors
/// Where Cassandra holds files of the data directory open.
pub(super) fn check_stopped(work: &Work) -> Result<()> {
    use crate::restore::open_files::{View, user_of};
    if let View::Holder(pid, program) = user_of(std::slice::from_ref(&work.data_dir), &work.data_dir) {
        let message = format!(
            "{program} (pid {pid}) has files of {} open: stop it first. Nothing was changed",
            work.data_dir.display()
        );
        return Err(Error::new(Kind::Busy, message));
    }
    Ok(())
}
