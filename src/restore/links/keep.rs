//! What a table held before a restore: kept in a snapshot of Cassandra's, and brought back from it.

use super::live;
use super::same::{self, Inode};
use crate::restore::journal::state::{Before, State};
use crate::restore::journal::{Journal, sync_directory};
use crate::restore::look;
use crate::restore::node::Node;
use crate::restore::sstables::DATA;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Takes the snapshot, if there is anything to keep, and notes what is in it.
pub(in crate::restore) fn keep(journal: &mut Journal, node: &Node) -> Result<()> {
    let plan = &journal.state.plan;
    let places = places(&journal.state);
    let mut is_left = false;
    for (_, snapshot) in &places {
        is_left |= look::exists(snapshot)?;
    }
    if is_left {
        // Of a run that was killed before it could note it. Nobody else gives such a name.
        node.clear_snapshot(&plan.snapshot, &plan.table.keyspace)?;
    }
    let mut before = Before::default();
    for directory in &plan.directories {
        before.snapshot |= plan.truncate || !live::sstables(directory)?.is_empty();
    }
    if before.snapshot {
        node.snapshot(&plan.snapshot, &plan.table)?;
    }
    // Not what is in the live directories: compaction may have replaced that a moment before.
    for (directory, snapshot) in &places {
        if look::is_directory(snapshot)? {
            before.sstables.extend(live::sstables(snapshot)?.into_iter().map(|name| (directory.clone(), name)));
        }
    }
    journal.before(before)
}

/// Has Cassandra remove the snapshot. Where the journal tells that none was taken, it is not asked:
/// each question takes a JVM.
pub(in crate::restore) fn clear(state: &State, node: &Node) -> Result<()> {
    // A run that was killed may have taken it before it could note it. One that was never taken is
    // no error to nodetool.
    if state.before.as_ref().is_some_and(|before| !before.snapshot) {
        return Ok(());
    }
    node.clear_snapshot(&state.plan.snapshot, &state.plan.table.keyspace)
}

/// Which Data.db files in the live directories are what was there before.
pub(in crate::restore) fn inodes(state: &State) -> Result<BTreeSet<Inode>> {
    let mut inodes = BTreeSet::new();
    for (_, snapshot) in places(state) {
        if look::is_directory(&snapshot)? {
            inodes.extend(same::data_files(&snapshot)?.into_keys());
        }
    }
    Ok(inodes)
}

/// Checks that all that was kept is still there.
pub(in crate::restore) fn check(state: &State) -> Result<()> {
    for (directory, sstable) in state.before.iter().flat_map(|before| &before.sstables) {
        let snapshot = snapshot(state, directory);
        if !look::exists(&snapshot.join(format!("{sstable}-{DATA}")))? {
            return Err(Error::not_found(format!(
                "{sstable} is not in {} any more, which kept what {} held before. Nothing was changed",
                snapshot.display(),
                state.plan.table
            )));
        }
    }
    Ok(())
}

/// Links what was kept, and is not there, into the live directories again. Returns how many
/// SSTables that were.
pub(in crate::restore) fn bring_back(state: &State) -> Result<usize> {
    let mut brought = 0;
    for (directory, sstable) in state.before.iter().flat_map(|before| &before.sstables) {
        brought += usize::from(same::link_sstable(&snapshot(state, directory), sstable, directory)?);
    }
    for directory in &state.plan.directories {
        sync_directory(directory)?;
    }
    Ok(brought)
}

/// Removes the snapshot from the disk, without Cassandra.
pub(in crate::restore) fn forget(state: &State) -> Result<()> {
    for (_, snapshot) in places(state) {
        match fs::remove_dir_all(&snapshot) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", snapshot.display()), e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each live directory, and where its part of the snapshot is.
fn places(state: &State) -> Vec<(PathBuf, PathBuf)> {
    state.plan.directories.iter().map(|directory| (directory.clone(), snapshot(state, directory))).collect()
}

fn snapshot(state: &State, directory: &Path) -> PathBuf {
    directory.join("snapshots").join(&state.plan.snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::testing::{Table, names};

    /// A table with two SSTables, which a snapshot keeps.
    fn kept() -> (Table, State) {
        let table = Table::new();
        table.put("nb-1-big", "one");
        table.put("nb-2-big", "two");
        let mut state = table.state(0);
        table.snapshot(&mut state);
        (table, state)
    }

    #[test]
    fn what_is_gone_comes_back_once() {
        let (table, state) = kept();
        assert_eq!(bring_back(&state).unwrap(), 0);
        live::remove_sstable(&table.live, "nb-2-big").unwrap();
        assert_eq!(bring_back(&state).unwrap(), 1);
        assert_eq!(bring_back(&state).unwrap(), 0);
        assert_eq!(
            names(&table.live),
            ["nb-1-big-Data.db", "nb-1-big-Statistics.db", "nb-2-big-Data.db", "nb-2-big-Statistics.db"]
        );
        // Cassandra gives another name to what it is asked to open.
        for component in ["Data.db", "Statistics.db"] {
            fs::rename(
                table.live.join(format!("nb-2-big-{component}")),
                table.live.join(format!("nb-9-big-{component}")),
            )
            .unwrap();
        }
        assert_eq!(bring_back(&state).unwrap(), 0);
    }

    #[test]
    fn a_name_that_another_has_by_now_is_left_to_it() {
        let (table, state) = kept();
        live::remove_sstable(&table.live, "nb-1-big").unwrap();
        table.put("nb-1-big", "written since");
        for _ in 0..2 {
            bring_back(&state).unwrap();
            let mut contents: Vec<String> = live::sstables(&table.live)
                .unwrap()
                .iter()
                .map(|name| fs::read_to_string(table.live.join(format!("{name}-{DATA}"))).unwrap())
                .collect();
            contents.sort();
            assert_eq!(contents, ["one", "two", "written since"]);
        }
        assert_eq!(fs::read_to_string(table.live.join("nb-1-big-Data.db")).unwrap(), "written since");
    }

    #[test]
    fn a_snapshot_that_was_never_taken_is_not_cleared() {
        let table = Table::new();
        let nobody = Node::new(crate::restore::Program::parse("false").unwrap());
        let clear = |before| clear(&State { before, ..table.state(0) }, &nobody);
        clear(Some(Before::default())).unwrap();
        clear(Some(Before { snapshot: true, ..Before::default() })).unwrap_err();
        clear(None).unwrap_err();
    }

    #[test]
    fn a_snapshot_that_somebody_cleared_is_noticed() {
        let (_table, state) = kept();
        check(&state).unwrap();
        assert_eq!(inodes(&state).unwrap().len(), 2);
        forget(&state).unwrap();
        assert!(check(&state).unwrap_err().to_string().contains("nb-1-big is not in "));
        forget(&state).unwrap();
    }
}
