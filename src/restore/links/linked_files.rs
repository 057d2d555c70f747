//! Which files of a mount live tables read, as the journals tell.

use crate::Result;
use crate::restore::journal;
use crate::restore::journal::journals::Journals;
use crate::restore::journal::state::{State, Step};
use crate::restore::sstables::SstableNames;
use crate::task::lock;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// Journals that were looked at this long ago are looked at again.
const FRESH: Duration = Duration::from_secs(2);

/// The files of one mount that are linked to. Asked only while the store is away.
#[derive(Debug)]
pub struct LinkedFiles {
    journals: Journals,
    mountpoint: PathBuf,
    known: Mutex<LinkIndex>,
}

#[derive(Debug, Default)]
struct LinkIndex {
    looked: Option<Instant>,
    journals: HashMap<PathBuf, IndexedJournal>,
}

#[derive(Debug)]
struct IndexedJournal {
    /// Length and time of the journal when it was read.
    version: (u64, Option<SystemTime>),
    /// By directory in the mount.
    sstables: HashMap<PathBuf, SstableNames>,
}

impl LinkedFiles {
    pub fn new(journals: Journals, mountpoint: &Path) -> Self {
        Self { journals, mountpoint: mountpoint.to_owned(), known: Mutex::default() }
    }

    /// Whether a live table links to a file, given its path from the root of the mount.
    pub fn contains(&self, path: &Path) -> bool {
        let mut known = lock(&self.known);
        if known.looked.is_none_or(|looked| looked.elapsed() >= FRESH) {
            self.look(&mut known);
            known.looked = Some(Instant::now());
        }
        let path = self.mountpoint.join(path.strip_prefix("/").unwrap_or(path));
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return false;
        };
        let of = |journal: &IndexedJournal| journal.sstables.get(directory).is_some_and(|names| names.have(name));
        known.journals.values().any(of)
    }

    /// What cannot be read now is as it was.
    fn look(&self, known: &mut LinkIndex) {
        let files = match self.journals.files() {
            Ok(files) => files,
            Err(error) => return tracing::warn!("which files live tables link to is not known: {error}"),
        };
        known.journals.retain(|path, _| files.contains(path));
        for path in files {
            let version = std::fs::metadata(&path).map(|metadata| (metadata.len(), metadata.modified().ok()));
            let version = match version {
                Ok(version) => version,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    known.journals.remove(&path);
                    continue;
                }
                Err(error) => {
                    tracing::warn!("cannot look at {}: {error}", path.display());
                    continue;
                }
            };
            if known.journals.get(&path).is_some_and(|journal| journal.version == version) {
                continue;
            }
            match journal::look(&path) {
                Ok(state) => {
                    let sstables = state.map(|state| self.sstables(state)).unwrap_or_default();
                    known.journals.insert(path, IndexedJournal { version, sstables });
                }
                Err(error) => tracing::warn!("which files of {} are linked is not known: {error}", path.display()),
            }
        }
    }

    fn sstables(&self, state: State) -> HashMap<PathBuf, SstableNames> {
        let mut sstables: HashMap<PathBuf, SstableNames> = HashMap::new();
        if state.step != Step::Undone && state.plan.mountpoint == self.mountpoint {
            for sstable in state.plan.sstables.into_iter().chain(state.plan.index_sstables) {
                sstables.entry(sstable.directory).or_default().insert(sstable.name);
            }
        }
        sstables
    }
}

/// The directories of a mount that live tables link into, by their paths from its root. Of a
/// journal that cannot be read, none: `restore status` and `mount` say so.
pub fn linked_directories(journals: &Journals, mountpoint: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut directories = BTreeSet::new();
    for file in journals.all()? {
        let state = match file.state {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!("which directories {} links into is not known: {error}", file.path.display());
                continue;
            }
        };
        if state.step != Step::Undone {
            let of = state.plan.sstables.iter().filter_map(|sstable| sstable.directory.strip_prefix(mountpoint).ok());
            directories.extend(of.map(Path::to_owned));
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::testing::Table;

    #[test]
    fn what_a_journal_tells_is_linked_until_it_is_gone() {
        let table = Table::new();
        let journals = Journals::new(table.work.path(), &[]);
        let linked = LinkedFiles::new(journals.clone(), &table.mount);
        let contains = |name: &str| {
            linked.known.lock().unwrap().looked = None;
            linked.contains(Path::new(name))
        };
        assert!(!contains("/nb-1-big-Data.db"));
        let journal = journals.begin(table.state(1).plan).unwrap();
        assert!(contains("/nb-1-big-Data.db") && contains("/nb-1-big-Index.db"));
        assert!(!contains("/nb-2-big-Data.db") && !contains("/other/nb-1-big-Data.db") && !contains("/"));
        // One that cannot be read hides no other.
        let damaged = table.work.path().join("restore/a.b-1.journal");
        std::fs::write(&damaged, "damaged").unwrap();
        assert!(contains("/nb-1-big-Data.db"));
        journal.remove().unwrap();
        assert!(!contains("/nb-1-big-Data.db"));
    }

    #[test]
    fn other_mounts_are_others() {
        let table = Table::new();
        let journals = Journals::new(table.work.path(), &[]);
        let mut plan = table.state(2).plan;
        plan.sstables[0].directory = table.mount.join("a/restore-points/p/shop/users-1");
        drop(journals.begin(plan).unwrap());
        let of = |mountpoint: &Path| linked_directories(&journals, mountpoint).unwrap();
        assert_eq!(of(&table.mount), ["", "a/restore-points/p/shop/users-1"].map(PathBuf::from).into());
        assert!(of(Path::new("/mnt")).is_empty());
        assert!(!LinkedFiles::new(journals, Path::new("/mnt")).contains(Path::new("/nb-1-big-Data.db")));
    }
}
