//! Puts a node's tables into its data directory: everything in a hidden directory first, then each
//! table's directory gets its name. Whatever is killed in between is done by the same command run
//! again.

use super::journal::{NodeJournal, NodeStep, PlacedDirectory, PlacedSstable, PlacedTable, Work};
use crate::cassandra::TableName;
use crate::restore::journal::journals::Journals;
use crate::restore::journal::state::{Linked, Plan, Step};
use crate::restore::journal::{Journal, sync_directory};
use crate::restore::look;
use crate::task::{self, lock};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown, fchown, lchown, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables that are put together at a time.
const WORKERS: usize = 4;

/// Is told of every file that was put together, with its bytes if they were copied. Its error ends
/// the work.
pub(super) type Tell<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// User and group of what is made.
#[derive(Clone, Copy, Debug)]
struct Owner(u32, u32);

impl Owner {
    fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|e| Error::io(format_args!("look at {}", path.display()), e))?;
        Ok(Self(metadata.uid(), metadata.gid()))
    }

    /// Makes a directory that belongs to it, if there is none.
    fn make(self, directory: &Path) -> Result<()> {
        let made = match fs::create_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made,
        };
        made.and_then(|()| chown(directory, Some(self.0), Some(self.1)))
            .map_err(|e| Error::io(format_args!("create {}", directory.display()), e))
    }
}

/// Puts all tables together in the staging directory.
pub(super) fn stage(journal: &mut NodeJournal, tell: Tell<'_>) -> Result<()> {
    let work = journal.state.work.clone();
    let (staging, owner) = (work.staging(), Owner::of(&work.data_dir)?);
    owner.make(&staging)?;
    for keyspace in work.tables.iter().map(|table| &table.keyspace).collect::<BTreeSet<_>>() {
        owner.make(&staging.join(keyspace))?;
    }
    let (journal, has_failed) = (Mutex::new(journal), AtomicBool::new(false));
    let staged = task::side_by_side(&work.tables, WORKERS, |table| {
        if has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let staged = stage_table(&journal, table, &staging, owner, tell);
        has_failed.fetch_or(staged.is_err(), Ordering::Relaxed);
        staged
    });
    staged.into_iter().collect()
}

fn stage_table(
    journal: &Mutex<&mut NodeJournal>,
    table: &PlacedTable,
    staging: &Path,
    owner: Owner,
    tell: Tell<'_>,
) -> Result<()> {
    let directory = staging.join(&table.place);
    if look::exists(&directory)? {
        if lock(journal).state.files.contains_key(&table.place) {
            // An earlier run has brought it to the disk.
            return Ok(());
        }
        fs::remove_dir_all(&directory).map_err(|e| Error::io(format_args!("remove {}", directory.display()), e))?;
    }
    owner.make(&directory)?;
    for below in table.directories.iter().map(|of| &of.below).filter(|below| !below.is_empty()) {
        owner.make(&directory.join(below))?;
    }
    let mut inodes = BTreeMap::new();
    for (file, size) in table.files() {
        let (from, to) = (table.from.join(&file), directory.join(&file));
        if table.as_files {
            let inode = if table.is_made() {
                copy((&from, &mut &*made_file(journal, table, &file)?), &to, size, owner)?
            } else {
                let mut source =
                    File::open(&from).map_err(|e| Error::io(format_args!("read {}", from.display()), e))?;
                copy((&from, &mut source), &to, size, owner)?
            };
            inodes.insert(file.to_string_lossy().into_owned(), inode);
            tell(size)?;
        } else {
            symlink(&from, &to)
                .and_then(|()| lchown(&to, Some(owner.0), Some(owner.1)))
                .map_err(|e| Error::io(format_args!("put the link {} in place", to.display()), e))?;
            tell(0)?;
        }
    }
    for of in &table.directories {
        sync_directory(&directory.join(&of.below))?;
    }
    sync_directory(directory.parent().unwrap_or(staging))?;
    if table.as_files { lock(journal).files(&table.place, inodes) } else { Ok(()) }
}

/// The contents of a file that the backup has not.
fn made_file(journal: &Mutex<&mut NodeJournal>, table: &PlacedTable, file: &Path) -> Result<Vec<u8>> {
    let name = format!("{}/{}", table.place, file.display());
    let made = lock(journal).state.made.files.get(&name).cloned();
    made.ok_or_else(|| Error::corrupt(format!("the journal of this restore has no contents of {name}")))
}

/// Copies a file and brings it to the disk. Returns its inode.
fn copy((from, source): (&Path, &mut dyn io::Read), to: &Path, size: u64, owner: Owner) -> Result<u64> {
    let writing = |e| Error::io(format_args!("write {}", to.display()), e);
    let mut target = File::create_new(to).map_err(writing)?;
    let copied = io::copy(source, &mut target)
        .map_err(|e| Error::io(format_args!("copy {} to {}", from.display(), to.display()), e))?;
    if copied != size {
        return Err(Error::corrupt(format!("{} has {size} bytes, and {copied} were read", from.display())));
    }
    target
        .flush()
        .and_then(|()| fchown(&target, Some(owner.0), Some(owner.1)))
        .and_then(|()| target.sync_all())
        .map_err(writing)?;
    Ok(target.metadata().map_err(writing)?.ino())
}

/// Gives every table's directory its name in the data directory.
pub(super) fn place(journal: &mut NodeJournal, journals: &Journals, tell: Tell<'_>) -> Result<()> {
    if journal.state.step < NodeStep::Placing {
        journal.step(NodeStep::Placing)?;
    }
    let work = journal.state.work.clone();
    let owner = Owner::of(&work.data_dir)?;
    for table in &work.tables {
        let known = if table.as_files { None } else { Some(table_journal(&work, table, journals)?) };
        rename(&work, table, owner)?;
        tell(0)?;
        if let Some(mut known) = known
            && known.state.step < Step::Open
        {
            known.step(Step::Open)?;
        }
    }
    remove_staging(&work)?;
    journal.step(NodeStep::Placed)
}

fn rename(work: &Work, table: &PlacedTable, owner: Owner) -> Result<()> {
    let (from, to) = (work.staging().join(&table.place), work.data_dir.join(&table.place));
    if !look::exists(&from)? {
        if look::is_directory(&to)? {
            // An earlier run was killed behind this.
            return Ok(());
        }
        let message = format!("{} has gone: `cassmount restore abort --all`, then begin anew", from.display());
        return Err(Error::new(Kind::Changed, message));
    }
    if look::exists(&to)? {
        let message = format!("{} is there, and was not a moment ago: was Cassandra started?", to.display());
        return Err(Error::new(Kind::Exists, message));
    }
    let keyspace = work.data_dir.join(&table.keyspace);
    owner.make(&keyspace)?;
    fs::rename(&from, &to).map_err(|e| Error::io(format_args!("put {} in place", to.display()), e))?;
    sync_directory(&keyspace)?;
    sync_directory(&work.data_dir)
}

/// What is left of the staging directory once all was put in place, or is not wanted any more.
pub(super) fn remove_staging(work: &Work) -> Result<()> {
    let staging = work.staging();
    match fs::remove_dir_all(&staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", staging.display()), e))
        }
        _ => sync_directory(&work.data_dir),
    }
}

/// The journal of a table with links: by it, `hydrate`, `status`, `guard` and `abort` know them.
fn table_journal(work: &Work, table: &PlacedTable, journals: &Journals) -> Result<Journal> {
    let name = TableName::new(&*table.keyspace, &*table.table);
    let live = work.data_dir.join(&table.place);
    if let Some(journal) = journals.open(&name, std::slice::from_ref(&live))? {
        if journal.state.plan.started == work.started {
            return Ok(journal);
        }
        let message = format!(
            "{name} in {} has a journal of another restore: `cassmount restore abort --table {name}` first",
            live.display()
        );
        return Err(Error::new(Kind::Busy, message));
    }
    let linked = |of: &PlacedDirectory| -> Vec<Linked> {
        let directory = if of.below.is_empty() { table.from.clone() } else { table.from.join(&of.below) };
        let link = |sstable: &PlacedSstable| Linked {
            directory: directory.clone(),
            name: sstable.name.clone(),
            staged: sstable.name.clone(),
            components: sstable.components.clone(),
        };
        of.sstables.iter().map(link).collect()
    };
    let (own, indexes): (Vec<_>, Vec<_>) = table.directories.iter().partition(|of| of.below.is_empty());
    let mut journal = journals.begin(Plan {
        table: name,
        directories: vec![live.clone()],
        live,
        mountpoint: work.mountpoint.clone(),
        source: work.source.clone(),
        from: vec![work.from.clone()],
        started: work.started,
        snapshot: format!("cassmount-before-{}", work.started.0),
        truncate: false,
        indexes: Vec::new(),
        // The one that `abort` asks if nobody says otherwise.
        nodetool: "nodetool".to_owned(),
        sstables: own.into_iter().flat_map(linked).collect(),
        index_sstables: indexes.into_iter().flat_map(linked).collect(),
    })?;
    journal.step(Step::Linking)?;
    Ok(journal)
}
