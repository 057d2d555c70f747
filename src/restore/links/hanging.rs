//! Which live tables hang on a mount: those whose directories hold links into it.

use super::live;
use super::losses;
use crate::cassandra::TableName;
use crate::restore::journal::journals::Journals;
use crate::restore::journal::state::State;
use crate::restore::look;
use crate::{Error, Result};
use std::path::Path;

/// A live table that reads a mount through links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HangingTable {
    pub table: TableName,
    /// SSTables with links.
    pub sstables: usize,
    /// Those that lack a file, so that Cassandra cannot open them.
    pub broken: usize,
}

/// The tables with links into the mount at `mountpoint`, as far as the journals know of them. The
/// mount itself is not asked.
///
/// # Errors
/// Where a journal, or a table's directory, cannot be read: it may be one of them.
pub fn hanging(journals: &Journals, mountpoint: &Path) -> Result<Vec<HangingTable>> {
    let mut found = Vec::new();
    for (path, state) in journals.states()? {
        if state.plan.mountpoint == mountpoint {
            found.extend(of(&state).map_err(|error| {
                let what = format!(
                    "whether {} still reads {} cannot be told: {error} ({})",
                    state.plan.table,
                    mountpoint.display(),
                    path.display()
                );
                Error::new(error.kind(), what)
            })?);
        }
    }
    Ok(found)
}

fn of(state: &State) -> Result<Option<HangingTable>> {
    let mut there = state.clone();
    there.plan.directories = look::live_directories(&state.plan)?;
    let ours = live::ours(&there)?;
    let broken = losses::broken(&there, &ours)?.len();
    let table = state.plan.table.clone();
    Ok((!ours.remote.is_empty()).then_some(HangingTable { table, sstables: ours.remote.len(), broken }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::testing::{Table, unreadable};
    use std::fs;

    #[test]
    fn a_directory_that_cannot_be_read_is_not_taken_for_one_without_links() {
        let table = Table::new();
        let state = table.state(2);
        let journals = Journals::new(table.work.path(), &[]);
        drop(journals.begin(state.plan.clone()).unwrap());
        live::put_links(&state).unwrap();
        let hangs = |mountpoint: &Path| hanging(&journals, mountpoint);
        let expected = HangingTable { table: TableName::new("shop", "users"), sstables: 2, broken: 0 };
        assert_eq!(hangs(&table.mount).unwrap(), [expected]);
        assert!(hangs(Path::new("/elsewhere")).unwrap().is_empty());
        // Its Data.db is local by now, another component is not.
        fs::remove_file(table.live.join("nb-1001-big-Data.db")).unwrap();
        assert_eq!(hangs(&table.mount).unwrap()[0].sstables, 2);
        fs::remove_dir_all(&table.live).unwrap();
        assert!(hangs(&table.mount).unwrap().is_empty(), "the table was dropped");
        unreadable(&table.live);
        assert!(hangs(&table.mount).unwrap_err().to_string().contains("shop.users"));
    }
}
