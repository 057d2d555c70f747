//! A table's live directory: which links of a mount are in it, under which names Cassandra has the
//! SSTables of a restore, putting links in, taking SSTables out.
//!
//! Cassandra renames links, replaces components by files of its own, and deletes SSTables that
//! compaction has read. So an SSTable is known by where the links of its components point to; one
//! that is local by now, by what the journal noted of it.

use crate::cassandra::SstableName;
use crate::restore::journal::state::{Plan, State};
use crate::restore::journal::sync_directory;
use crate::restore::look;
use crate::restore::sstables::{DATA, file_names, reading};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Deepest that links lie below a table's directory: `snapshots/<tag>/.<index>/`.
const DEPTH: usize = 3;

/// A link into a mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::restore) struct Link {
    pub(in crate::restore) path: PathBuf,
    pub(in crate::restore) target: PathBuf,
    /// Where it is below the table's directory: `""` for the live SSTables, `backups`,
    /// `snapshots/<tag>`, …
    pub(in crate::restore) below: String,
    /// When it got its inode's last change: of several, the one that was put in first is the
    /// oldest.
    pub(in crate::restore) changed: SystemTime,
}

/// Which names in the live directories belong to which SSTable of the plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::restore) struct Ours {
    /// Number in the plan to where its Data.db is, linked or local.
    pub(in crate::restore) linked: BTreeMap<usize, (PathBuf, String)>,
    pub(in crate::restore) hydrated: BTreeMap<usize, (PathBuf, String)>,
    /// Numbers of those with any component that is a link, Data.db or another.
    pub(in crate::restore) remote: BTreeSet<usize>,
    /// Names that components of ours have, Data.db there or not.
    pub(in crate::restore) names: BTreeSet<(PathBuf, String)>,
    /// How many of these are still those that the links were given: Cassandra changes them when it
    /// is asked to open what is there.
    pub(in crate::restore) staged: usize,
}

impl Ours {
    /// Those with a Data.db: the ones that Cassandra has open, or opens when it starts.
    pub(in crate::restore) fn whole(&self) -> impl Iterator<Item = (usize, &(PathBuf, String))> {
        self.linked.iter().chain(&self.hydrated).map(|(number, place)| (*number, place))
    }

    /// Numbers of those that are nowhere, and were not taken out by the restore. Once all links
    /// were put in, Cassandra must have opened these, and compaction has read and removed them.
    pub(in crate::restore) fn missing(&self, state: &State) -> Vec<usize> {
        let there = |number: &usize| self.linked.contains_key(number) || self.hydrated.contains_key(number);
        let all = 0..state.plan.sstables.len();
        all.filter(|number| !there(number) && !state.removed.contains(number)).collect()
    }
}

/// Every link below a table's directory that leads into the mount.
pub(in crate::restore) fn links(table: &Path, mountpoint: &Path) -> Result<Vec<Link>> {
    let mut found = Vec::new();
    walk(table, "", DEPTH, &mut |path, below| {
        let Some(target) = look::link_target(path)?.filter(|target| target.starts_with(mountpoint)) else {
            return Ok(());
        };
        if let Some(metadata) = look::metadata(path)? {
            let since = Duration::new(metadata.ctime().max(0).cast_unsigned(), metadata.ctime_nsec() as u32);
            let changed = SystemTime::UNIX_EPOCH + since;
            found.push(Link { path: path.to_owned(), target, below: below.to_owned(), changed });
        }
        Ok(())
    })?;
    found.sort_by(|a, b| (a.changed, &a.path).cmp(&(b.changed, &b.path)));
    Ok(found)
}

/// Calls `each` with every symlink and its directory below `table`.
fn walk(directory: &Path, below: &str, depth: usize, each: &mut impl FnMut(&Path, &str) -> Result<()>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        // Cassandra clears snapshots meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !below.is_empty() => return Ok(()),
        entries => entries.map_err(|e| reading(directory, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| reading(directory, e))?;
        let kind = match entry.file_type() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            kind => kind.map_err(|e| reading(&entry.path(), e))?,
        };
        if kind.is_symlink() {
            each(&entry.path(), below)?;
        } else if kind.is_dir() && depth > 0 {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let below = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
            walk(&entry.path(), &below, depth - 1, each)?;
        }
    }
    Ok(())
}

/// Names of the SSTables with a Data.db in a directory, however it is there.
pub(in crate::restore) fn sstables(directory: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for name in file_names(directory)? {
        if let Some(parsed) = SstableName::parse_component(&name)
            && parsed.component == DATA
        {
            found.insert(parsed.sstable.to_string());
        }
    }
    Ok(found)
}

/// Where the SSTables of a restore are now.
pub(in crate::restore) fn ours(state: &State) -> Result<Ours> {
    find(state, &state.plan.directories)
}

/// Where they are in `backups/`, into which Cassandra links what it opens if it is configured so.
pub(in crate::restore) fn ours_in_backups(state: &State) -> Result<Ours> {
    let mut there = Vec::new();
    for backups in state.plan.directories.iter().map(|directory| directory.join("backups")) {
        if look::is_directory(&backups)? {
            there.push(backups);
        }
    }
    find(state, &there)
}

fn find(state: &State, directories: &[PathBuf]) -> Result<Ours> {
    let plan = &state.plan;
    let numbers = by_target(plan);
    let staged: HashSet<&str> = plan.sstables.iter().map(|sstable| &*sstable.staged).collect();
    let mut ours = Ours::default();
    for directory in directories {
        for name in file_names(directory)? {
            let Some(parsed) = SstableName::parse_component(&name) else { continue };
            let sstable = (directory.clone(), parsed.sstable.to_string());
            let target = look::link_target(&directory.join(&name))?;
            let number = target.and_then(|target| number_of(&numbers, &target));
            ours.remote.extend(number);
            if let (Some(number), DATA) = (number, parsed.component) {
                ours.linked.insert(number, sstable.clone());
            }
            let is_staged = staged.contains(&*sstable.1);
            if (number.is_some() || is_staged) && ours.names.insert(sstable) {
                ours.staged += usize::from(is_staged);
            }
        }
    }
    for (number, hydrated) in &state.hydrated {
        for directory in directories {
            let metadata = look::metadata(&directory.join(format!("{}-{DATA}", hydrated.name)))?;
            if metadata.is_some_and(|metadata| metadata.is_file() && metadata.ino() == hydrated.inode) {
                ours.hydrated.insert(*number, (directory.clone(), hydrated.name.clone()));
                ours.names.insert((directory.clone(), hydrated.name.clone()));
                break;
            }
        }
    }
    Ok(ours)
}

/// By directory in the mount and SSTable, the number in the plan.
pub(in crate::restore) fn by_target(plan: &Plan) -> HashMap<(&Path, &str), usize> {
    let numbered = plan.sstables.iter().enumerate();
    numbered.map(|(number, sstable)| ((&*sstable.directory, &*sstable.name), number)).collect()
}

/// The SSTable of the plan that a link's target is a component of.
pub(in crate::restore) fn number_of(numbers: &HashMap<(&Path, &str), usize>, target: &Path) -> Option<usize> {
    let name = SstableName::parse_component(target.file_name()?.to_str()?)?.sstable.to_string();
    numbers.get(&(target.parent()?, &*name)).copied()
}

/// Puts the links of a plan into its live directory, but for those SSTables that are there by now,
/// under whatever name. Data.db comes last of each: Cassandra, should it start in between, takes an
/// SSTable without one for a leftover, and removes the links.
pub(in crate::restore) fn put_links(state: &State) -> Result<()> {
    let plan = &state.plan;
    let owner = fs::metadata(&plan.live).map_err(|e| reading(&plan.live, e))?;
    let there = ours(state)?.linked;
    for (_, sstable) in plan.sstables.iter().enumerate().filter(|(number, _)| !there.contains_key(number)) {
        let others = sstable.components.keys().map(String::as_str).filter(|component| *component != DATA);
        for component in others.chain([DATA]) {
            let target = sstable.directory.join(format!("{}-{component}", sstable.name));
            let link = plan.live.join(format!("{}-{component}", sstable.staged));
            let put = match symlink(&target, &link) {
                // An earlier run was killed at this SSTable.
                Err(_) if fs::read_link(&link).is_ok_and(|to| to == target) => Ok(()),
                done => done,
            };
            // Cassandra makes hard links of them, which the kernel allows to the owner alone.
            put.and_then(|()| lchown(&link, Some(owner.uid()), Some(owner.gid())))
                .map_err(|e| Error::io(format_args!("put the link {} in place", link.display()), e))?;
        }
    }
    sync_directory(&plan.live)
}

/// Takes an SSTable out of a directory: Data.db first, so that what a crash leaves is a leftover.
pub(in crate::restore) fn remove_sstable(directory: &Path, sstable: &str) -> Result<()> {
    for name in components(directory, sstable)?.into_iter().rev() {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", path.display()), e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names of the files that an SSTable has in a directory, Data.db last.
pub(in crate::restore) fn components(directory: &Path, sstable: &str) -> Result<Vec<String>> {
    let prefix = format!("{sstable}-");
    let mut names = file_names(directory)?;
    names.retain(|name| name.starts_with(&prefix));
    names.sort_by_key(|name| name[prefix.len()..] == *DATA);
    Ok(names)
}
