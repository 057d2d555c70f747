//! Files that Cassandra made of links: kept beside the journal, and put back when they are gone.
//!
//! Cassandra puts a Statistics.db of its own in the place of the link when it opens an SSTable.
//! Started while the mount is not there, it sees a Data.db of no length, takes the SSTable for a
//! leftover, and removes what it can: its own files. The links stay, but from then on the SSTable
//! lacks what nothing opens without, also when the mount is back.

use super::copy::create;
use super::live::{self, Ours};
use crate::cassandra::{Effect, SstableName, lacking};
use crate::restore::journal::state::State;
use crate::restore::journal::sync_directory;
use crate::restore::look;
use crate::restore::sstables::{DATA, file_names};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

/// How files begin that are not in their place yet.
const TEMPORARY: &str = "cassmount-hydrate-";
/// Longest file that is kept, bytes. What Cassandra makes of links has a few KB, or 1/100 of an
/// index.
const MAX_LEN: u64 = 256 << 20;

/// An SSTable of a restore without a component that nothing opens it without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::restore) struct BrokenSstable {
    /// Number in the plan.
    pub(in crate::restore) number: usize,
    pub(in crate::restore) directory: PathBuf,
    pub(in crate::restore) name: String,
    /// All components of the backup that are nowhere.
    pub(in crate::restore) missing: BTreeSet<String>,
}

/// How files came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::restore) struct Healed {
    pub(in crate::restore) sstables: usize,
    /// Files as Cassandra had made them.
    pub(in crate::restore) files: usize,
    /// Links, where no copy had been kept.
    pub(in crate::restore) links: usize,
}

/// The SSTables of a restore that are there but cannot be opened.
pub(in crate::restore) fn broken(state: &State, ours: &Ours) -> Result<Vec<BrokenSstable>> {
    let mut present: BTreeMap<&Path, BTreeSet<String>> = BTreeMap::new();
    for (_, (directory, _)) in ours.whole() {
        if !present.contains_key(&**directory) {
            present.insert(directory, file_names(directory)?.into_iter().collect());
        }
    }
    let mut found = Vec::new();
    for (number, (directory, name)) in ours.whole() {
        let data = format!("{name}-{DATA}");
        let Some(parsed) = SstableName::parse_component(&data) else { continue };
        let files = &present[&**directory];
        let is_there = |component: &&String| files.contains(&format!("{name}-{component}"));
        let components = &state.plan.sstables[number].components;
        let there: Vec<&str> = components.keys().filter(is_there).map(String::as_str).collect();
        let was: Vec<&str> = components.keys().map(String::as_str).collect();
        let lacks = |present: &[&str]| {
            let lacks = lacking(parsed.sstable.format, present, None).into_iter();
            lacks.filter(|lack| lack.effect == Effect::Unreadable).map(|lack| lack.component).collect::<BTreeSet<_>>()
        };
        // Compaction removes Data.db before the others: an SSTable that is on its way out is not
        // broken.
        if lacks(&there) != lacks(&was) && look::exists(&directory.join(&data))? {
            let missing = components.keys().filter(|component| !is_there(component)).cloned().collect();
            found.push(BrokenSstable { number, directory: directory.clone(), name: name.clone(), missing });
        }
    }
    Ok(found)
}

/// Keeps copies of what Cassandra has made of links, in `copies`. Those that are kept already and
/// have not changed stay.
pub(in crate::restore) fn keep(state: &State, copies: &Path) -> Result<()> {
    for (number, (directory, name)) in &live::ours(state)?.linked {
        for file in live::components(directory, name)? {
            let path = directory.join(&file);
            let component = &file[name.len() + 1..];
            let Some(metadata) = look::metadata(&path)?.filter(std::fs::Metadata::is_file) else { continue };
            if metadata.len() > MAX_LEN || !state.plan.sstables[*number].components.contains_key(component) {
                continue;
            }
            let copy = copies.join(format!("{number}-{component}"));
            let kept = look::metadata(&copy)?;
            let same = |kept: &fs::Metadata| {
                (kept.len(), kept.mtime(), kept.mtime_nsec())
                    == (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
            };
            if !kept.as_ref().is_some_and(same) {
                make_directory(copies)?;
                match copy_file(&path, &copy, None) {
                    // Compaction was faster.
                    Err(error) if look::metadata(&path)?.is_none() => tracing::debug!("not kept: {error}"),
                    done => done?,
                }
            }
        }
    }
    Ok(())
}

/// Gives SSTables back what they lack: the copies that were kept, and links in the place of all
/// others.
pub(in crate::restore) fn put_back(state: &State, broken: &[BrokenSstable], copies: &Path) -> Result<Healed> {
    let mut healed = Healed::default();
    for sstable in broken {
        let directory = &sstable.directory;
        let owner =
            fs::metadata(directory).map_err(|e| Error::io(format_args!("look at {}", directory.display()), e))?;
        let of_backup = &state.plan.sstables[sstable.number];
        for component in &sstable.missing {
            let path = directory.join(format!("{}-{component}", sstable.name));
            let copy = copies.join(format!("{}-{component}", sstable.number));
            if look::exists(&copy)? {
                copy_file(&copy, &path, Some((owner.uid(), owner.gid())))?;
                healed.files += 1;
            } else {
                let target = of_backup.directory.join(format!("{}-{component}", of_backup.name));
                symlink(&target, &path)
                    .and_then(|()| lchown(&path, Some(owner.uid()), Some(owner.gid())))
                    .map_err(|e| Error::io(format_args!("put the link {} in place", path.display()), e))?;
                healed.links += 1;
            }
        }
        sync_directory(directory)?;
        healed.sstables += 1;
    }
    Ok(healed)
}

/// Copies a file with its time, and gives the copy its name when all of it is on the disk.
fn copy_file(from: &Path, to: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let failed = |e| Error::io(format_args!("copy {} to {}", from.display(), to.display()), e);
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temporary = to.with_file_name(format!("{TEMPORARY}{name}"));
    let copied = (|| {
        let mut source = File::open(from)?;
        let modified = source.metadata()?.modified()?;
        let mut copy = create(&temporary)?;
        io::copy(&mut source, &mut copy)?;
        copy.set_modified(modified)?;
        if let Some((uid, gid)) = owner {
            fchown(&copy, Some(uid), Some(gid))?;
        }
        copy.sync_all()?;
        fs::rename(&temporary, to)
    })();
    if let Err(error) = copied {
        // What is left of it is swept away, or written over.
        if let Err(worse) = fs::remove_file(&temporary)
            && worse.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {worse}", temporary.display());
        }
        return Err(failed(error));
    }
    sync_directory(to.parent().unwrap_or(Path::new("/")))
}

fn make_directory(path: &Path) -> Result<()> {
    crate::private::directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::testing::Table;

    /// A restored table whose first SSTable has a Statistics.db of Cassandra's, as a refresh leaves
    /// it.
    fn refreshed() -> (Table, State, PathBuf) {
        let table = Table::new();
        let state = table.state(2);
        live::put_links(&state).unwrap();
        let statistics = table.live.join("nb-1001-big-Statistics.db");
        fs::remove_file(&statistics).unwrap();
        fs::write(&statistics, "Cassandra's").unwrap();
        (table, state, statistics)
    }

    fn broken_now(state: &State) -> Vec<BrokenSstable> {
        broken(state, &live::ours(state).unwrap()).unwrap()
    }

    #[test]
    fn what_cassandra_removed_comes_back_as_it_was() {
        let (table, state, statistics) = refreshed();
        let copies = table.work.path().join("copies");
        assert!(broken_now(&state).is_empty());
        keep(&state, &copies).unwrap();
        let modified = fs::metadata(&statistics).unwrap().modified().unwrap();
        fs::remove_file(&statistics).unwrap();
        let found = broken_now(&state);
        assert_eq!((found.len(), found[0].number), (1, 0));
        assert_eq!(put_back(&state, &found, &copies).unwrap(), Healed { sstables: 1, files: 1, links: 0 });
        assert_eq!(fs::read_to_string(&statistics).unwrap(), "Cassandra's");
        assert_eq!(fs::metadata(&statistics).unwrap().modified().unwrap(), modified);
        assert!(broken_now(&state).is_empty());
    }

    #[test]
    fn without_a_copy_the_backup_s_own_file_is_linked() {
        let (table, state, statistics) = refreshed();
        fs::remove_file(&statistics).unwrap();
        let healed = put_back(&state, &broken_now(&state), &table.work.path().join("none")).unwrap();
        assert_eq!(healed, Healed { sstables: 1, files: 0, links: 1 });
        assert_eq!(fs::read_link(&statistics).unwrap(), table.mount.join("nb-1-big-Statistics.db"));
    }

    #[test]
    fn the_newest_of_what_cassandra_made_is_kept() {
        let (table, state, statistics) = refreshed();
        let copies = table.work.path().join("copies");
        keep(&state, &copies).unwrap();
        fs::write(&statistics, "newer and longer").unwrap();
        keep(&state, &copies).unwrap();
        assert_eq!(fs::read_to_string(copies.join("0-Statistics.db")).unwrap(), "newer and longer");
        assert_eq!(fs::read_dir(&copies).unwrap().count(), 1);
    }

    #[test]
    fn what_compaction_removes_is_not_broken() {
        let (table, state, _) = refreshed();
        live::remove_sstable(&table.live, "nb-1001-big").unwrap();
        fs::remove_file(table.live.join("nb-1002-big-Data.db")).unwrap();
        fs::remove_file(table.live.join("nb-1002-big-Statistics.db")).unwrap();
        assert!(broken_now(&state).is_empty());
    }
}
