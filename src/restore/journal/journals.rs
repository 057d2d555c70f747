//! Where the journals of this machine's restores are: in one place, so that a restore is found
//! whatever cache its mount had.

use super::state::{Plan, State};
use crate::cache_dir::CacheDir;
use crate::cassandra::TableName;
use crate::restore::journal::{self, Journal};
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where root's journals are, if the variable does not name another place.
pub const STATE_DIR: &str = "/var/lib/cassmount";
pub const STATE_DIR_VARIABLE: &str = "CASSMOUNT_STATE_DIR";
/// The directory of journals in a state directory; earlier versions had it in their cache
/// directories.
const DIRECTORY: &str = "restore";

/// The places of journals: one where new ones are put, and those where earlier versions put theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journals {
    place: PathBuf,
    older: BTreeSet<PathBuf>,
}

/// A journal that was found, and what it says.
#[derive(Debug)]
pub(in crate::restore) struct JournalFile {
    pub(in crate::restore) path: PathBuf,
    pub(in crate::restore) state: Result<State>,
}

impl Journals {
    /// `cache_dirs`: those of the mounts that earlier versions may have linked to.
    pub fn new(state_dir: &Path, cache_dirs: &[PathBuf]) -> Self {
        let older = cache_dirs.iter().map(|directory| CacheDir::new(directory).restore()).collect();
        Self { place: state_dir.join(DIRECTORY), older }
    }

    /// The directory that it was made with.
    pub(in crate::restore) fn state_dir(&self) -> &Path {
        self.place.parent().unwrap_or(&self.place)
    }

    fn places(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.place).chain(self.older.iter().filter(|older| **older != self.place))
    }

    /// The files of all journals.
    pub(in crate::restore) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for place in self.places() {
            files.extend(journal::all(place)?);
        }
        Ok(files)
    }

    /// All journals. One that cannot be read is among them, with the reason.
    pub(in crate::restore) fn all(&self) -> Result<Vec<JournalFile>> {
        let mut found = Vec::new();
        for path in self.files()? {
            match journal::look(&path) {
                Ok(Some(state)) => found.push(JournalFile { path, state: Ok(state) }),
                // Its restore came to its end since the directory was read.
                Ok(None) => {}
                Err(error) => found.push(JournalFile { path, state: Err(error) }),
            }
        }
        Ok(found)
    }

    /// All journals that can be read.
    ///
    /// # Errors
    /// Where one cannot be: whatever depends on all of them must not go on.
    pub(in crate::restore) fn states(&self) -> Result<Vec<(PathBuf, State)>> {
        self.all()?.into_iter().map(|file| Ok((file.path, file.state?))).collect()
    }

    /// Takes over the journal of a table that has these live directories, if there is one.
    pub(in crate::restore) fn open(&self, table: &TableName, directories: &[PathBuf]) -> Result<Option<Journal>> {
        for place in self.places() {
            if let Some(journal) = Journal::open(&journal::path(place, table, directories))? {
                return Ok(Some(journal));
            }
        }
        Ok(None)
    }

    /// Begins the journal of a new restore.
    ///
    /// # Errors
    /// `Kind::Busy` where there is one by now.
    pub(in crate::restore) fn begin(&self, plan: Plan) -> Result<Journal> {
        Journal::begin(&self.place, plan)
    }
}

impl JournalFile {
    /// The name of its table, as far as the file's name tells.
    pub(in crate::restore) fn table(&self) -> TableName {
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let table = name.rsplit_once('-').map_or(&*name, |(table, _)| table);
        let (keyspace, table) = table.split_once('.').unwrap_or(("?", table));
        TableName::new(keyspace, table)
    }
}

/// Which of the journals are meant: those of some tables, or all.
///
/// # Errors
/// `Kind::NotFound` for a table that has none.
pub(in crate::restore) fn of_tables(found: Vec<JournalFile>, tables: &[TableName]) -> Result<Vec<JournalFile>> {
    let is_of = |file: &JournalFile, table: &TableName| match &file.state {
        Ok(state) => state.plan.table == *table,
        Err(_) => file.table() == *table,
    };
    if let Some(table) = tables.iter().find(|table| !found.iter().any(|file| is_of(file, table))) {
        let message = format!("{table} was not restored through links, as far as the journals know");
        return Err(Error::new(Kind::NotFound, message));
    }
    let is_meant = |file: &JournalFile| tables.is_empty() || tables.iter().any(|table| is_of(file, table));
    Ok(found.into_iter().filter(is_meant).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::testing::Table;
    use std::fs;

    #[test]
    fn journals_of_every_place_are_found() {
        let table = Table::new();
        let plan = table.state(0).plan;
        let cache = table.work.path().join("cache");
        fs::create_dir_all(&cache).unwrap();
        drop(Journal::begin(&cache.join(DIRECTORY), plan.clone()).unwrap());
        let journals = Journals::new(&table.work.path().join("state"), std::slice::from_ref(&cache));
        assert!(journals.open(&plan.table, &plan.directories).unwrap().is_some());
        let other = Plan { directories: vec!["/other/shop/users-1".into()], ..plan.clone() };
        fs::create_dir_all(table.work.path().join("state")).unwrap();
        drop(journals.begin(other).unwrap());
        assert_eq!(journals.states().unwrap().len(), 2);
        assert_eq!(Journals::new(&cache, std::slice::from_ref(&cache)).states().unwrap().len(), 1);
    }

    #[test]
    fn one_that_is_damaged_hides_no_other() {
        let table = Table::new();
        let plan = table.state(0).plan;
        let state_dir = table.work.path();
        let journals = Journals::new(state_dir, &[]);
        drop(journals.begin(plan.clone()).unwrap());
        fs::write(state_dir.join("restore/shop.orders-0.journal"), "damaged").unwrap();
        let found = journals.all().unwrap();
        assert_eq!(found.iter().filter(|file| file.state.is_ok()).count(), 1);
        assert!(journals.states().is_err());
        let orders = of_tables(found, &[TableName::new("shop", "orders")]).unwrap();
        assert!(orders.len() == 1 && orders[0].state.is_err());
        let none = of_tables(journals.all().unwrap(), &[TableName::new("shop", "none")]).unwrap_err();
        assert_eq!(none.kind(), Kind::NotFound);
    }
}
