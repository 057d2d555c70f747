//! `cassmount restore hydrate`: links become local files while Cassandra runs, oldest first. May be
//! killed at any moment and run again.
//!
//! Links below the table's directory that are not live (in `backups/`, where incremental_backups
//! put them, and in snapshots) become other names of the same copies, so that nothing below the
//! data directory depends on the mount when all is done.

use super::journal::journals::{Journals, of_tables};
use super::journal::state::{Hydrated, Origin, Plan, State, Step};
use super::journal::{Journal, sync_directory};
use super::links::copy::{self, Copy, Pace, Replaced};
use super::links::live::{self, Link};
use super::links::order::by_target;
use super::look;
use super::repair;
use super::sstables::DATA;
use crate::cassandra::{SstableName, TableName};
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How links are replaced.
#[derive(Clone, Debug)]
pub struct HydrationOptions {
    /// Bytes per second.
    pub rate: Option<u64>,
    /// So much stays free on the disk.
    pub keep_free: u64,
}

/// The tables that are to become local.
#[derive(Debug)]
pub struct Hydration {
    tables: Vec<RemoteTable>,
    /// Of tables of which nothing can be done: they keep no other from becoming local.
    lost: Vec<HydrationReport>,
    options: HydrationOptions,
}

/// A table with links, and what they lead to.
#[derive(Debug)]
struct RemoteTable {
    journal: Journal,
    bytes: u64,
}

/// What became of the links of a table.
#[derive(Clone, Debug, Serialize)]
pub struct HydrationReport {
    #[serde(flatten)]
    pub table: TableName,
    pub from: Vec<Origin>,
    pub directory: PathBuf,
    /// Links that became files.
    pub files: u64,
    pub copied_bytes: u64,
    /// Links that Cassandra removed before their turn came.
    pub gone: u64,
    /// Links in `backups/` that became files.
    pub in_backups: u64,
    /// Snapshots that held links, which are files now: a backup that was taken of one before holds
    /// links.
    pub snapshots: Vec<String>,
    /// Links that are left.
    pub left: u64,
    pub error: Option<String>,
}

impl HydrationReport {
    /// Before anything was done, and before the journal at `path` could be read.
    fn of(table: TableName, path: &Path) -> Self {
        Self {
            table,
            from: Vec::new(),
            directory: path.to_owned(),
            files: 0,
            copied_bytes: 0,
            gone: 0,
            in_backups: 0,
            snapshots: Vec::new(),
            left: 0,
            error: None,
        }
    }

    fn describe(&mut self, plan: &Plan) {
        self.table.clone_from(&plan.table);
        self.from.clone_from(&plan.from);
        self.directory.clone_from(&plan.live);
    }
}

impl RemoteTable {
    /// Takes a journal over. `None` where its restore came to its end meanwhile.
    ///
    /// # Errors
    /// Where the table was not opened, somebody is at work on it, or its directories cannot be
    /// read.
    fn open(path: &Path) -> Result<Option<Self>> {
        let Some(journal) = Journal::open(path)? else { return Ok(None) };
        check_step(&journal.state)?;
        repair::put_back(&journal)?;
        let bytes = super::status::of(&journal.state)?.remote_bytes;
        Ok(Some(Self { journal, bytes }))
    }
}

impl Hydration {
    /// Takes over what is restored and not local: all, or these tables. Nobody else works on them
    /// then.
    ///
    /// # Errors
    /// `Kind::NotFound` for a table that was not restored. What keeps single tables from it is in
    /// [`Self::lost`].
    pub fn open(journals: &Journals, tables: &[TableName], options: HydrationOptions) -> Result<Self> {
        let mut hydration = Self { tables: Vec::new(), lost: Vec::new(), options };
        for file in of_tables(journals.all()?, tables)? {
            // Looked at first: of the others, no lock is wanted.
            let mut report = HydrationReport::of(file.table(), &file.path);
            // One that cannot be read, or is at work, keeps no other from becoming local.
            let opened = file.state.and_then(|state| {
                report.describe(&state.plan);
                RemoteTable::open(&file.path)
            });
            match opened {
                Ok(table) => hydration.tables.extend(table),
                Err(error) => hydration.lost.push(HydrationReport { error: Some(error.to_string()), ..report }),
            }
        }
        Ok(hydration)
    }

    /// Bytes behind links, each counted once.
    pub fn remote_bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    /// Whether there is anything to do.
    ///
    /// # Errors
    /// Where a table's directories cannot be read.
    pub fn has_links(&self) -> Result<bool> {
        for RemoteTable { journal, .. } in &self.tables {
            for directory in look::live_directories(&journal.state.plan)? {
                if !live::links(&directory, &journal.state.plan.mountpoint)?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Tables that cannot be hydrated, and why.
    pub fn lost(&self) -> impl Iterator<Item = (&TableName, &str)> {
        self.lost.iter().map(|report| (&report.table, report.error.as_deref().unwrap_or_default()))
    }

    /// Checks that all of it fits.
    ///
    /// # Errors
    /// `Kind::NoSpace`, with the numbers.
    pub fn check_space(&self) -> Result<()> {
        let mut needed: BTreeMap<u64, (u64, &Path)> = BTreeMap::new();
        for RemoteTable { journal, bytes } in self.tables.iter().filter(|table| table.bytes > 0) {
            let live = &journal.state.plan.live;
            let metadata = fs::metadata(live).map_err(|e| Error::io(format_args!("look at {}", live.display()), e))?;
            needed.entry(metadata.dev()).or_insert((0, live)).0 += bytes;
        }
        needed.into_values().try_for_each(|(bytes, directory)| self.room(directory, bytes))
    }

    fn room(&self, directory: &Path, bytes: u64) -> Result<()> {
        let free = look::free_bytes(directory)?;
        if bytes.saturating_add(self.options.keep_free) <= free {
            return Ok(());
        }
        Err(Error::new(
            Kind::NoSpace,
            format!(
                "{} has {free} bytes free; {bytes} are to be copied there and {} to stay free (--keep-free)",
                directory.display(),
                self.options.keep_free
            ),
        ))
    }

    /// Replaces links until none is left. `progress` is told of every piece that was copied.
    pub fn run(mut self, progress: &mut dyn FnMut(u64)) -> Vec<HydrationReport> {
        let mut pace = Pace::new(self.options.rate);
        let mut reports = std::mem::take(&mut self.lost);
        for mut table in std::mem::take(&mut self.tables) {
            reports.push(self.table(&mut table.journal, &mut pace, progress));
        }
        reports
    }

    fn table(&self, journal: &mut Journal, pace: &mut Pace, progress: &mut dyn FnMut(u64)) -> HydrationReport {
        let mut report = HydrationReport::of(journal.state.plan.table.clone(), &journal.state.plan.live);
        report.describe(&journal.state.plan);
        let done = self.links(journal, pace, &mut |bytes| progress(bytes), &mut report);
        report.error = done.err().map(|error| error.to_string());
        report
    }

    fn links(
        &self,
        journal: &mut Journal,
        pace: &mut Pace,
        progress: &mut dyn FnMut(u64),
        report: &mut HydrationReport,
    ) -> Result<()> {
        let directories = look::live_directories(&journal.state.plan)?;
        let mountpoint = journal.state.plan.mountpoint.clone();
        let all = |report: &mut HydrationReport| -> Result<Vec<Link>> {
            let mut links = Vec::new();
            for directory in &directories {
                links.extend(live::links(directory, &mountpoint)?);
            }
            report.left = links.len() as u64;
            Ok(links)
        };
        let places = all(report)?.into_iter().filter_map(|link| link.path.parent().map(Path::to_owned));
        // Where a killed run left a copy, there may be no link any more.
        for place in places.chain(directories.iter().cloned()).collect::<BTreeSet<_>>() {
            copy::sweep(&place)?;
        }
        let mut snapshots = BTreeSet::new();
        // Each round sees what Cassandra renamed or linked since; a round in which nothing could be
        // done ends it.
        loop {
            let links = all(report)?;
            if links.is_empty() {
                break;
            }
            let before = (report.files, report.gone);
            for (target, links) in by_target(links) {
                for link in &links {
                    if let Some(tag) = link.below.strip_prefix("snapshots/") {
                        snapshots.insert(tag.split('/').next().unwrap_or(tag).to_owned());
                    }
                }
                self.target(journal, &target, &links, pace, progress, report)?;
            }
            if (report.files, report.gone) == before {
                break;
            }
        }
        report.snapshots = snapshots.into_iter().collect();
        Ok(())
    }

    /// All links to one file of the mount: the first gets a copy, the others become names of it.
    fn target(
        &self,
        journal: &mut Journal,
        target: &Path,
        links: &[Link],
        pace: &mut Pace,
        progress: &mut dyn FnMut(u64),
        report: &mut HydrationReport,
    ) -> Result<()> {
        let mut local: Option<PathBuf> = None;
        let mut touched = BTreeSet::new();
        for link in links {
            let replaced = if let Some(local) = &local {
                copy::link_instead(&link.path, target, local)?
            } else if !copy::leads_to(&link.path, target)? {
                // Compaction was faster: nothing to fetch.
                Replaced::Gone
            } else {
                let size = fs::metadata(target).map_err(|e| cannot_read(target, e))?.len();
                self.room(&journal.state.plan.live, size)?;
                let mut copied = 0;
                let copy = Copy::make(&link.path, target, pace, &mut |bytes| {
                    copied += bytes;
                    progress(bytes);
                })?;
                report.copied_bytes += copied;
                note(journal, link, target, copy.inode)?;
                copy.replace(&link.path, target)?
            };
            match replaced {
                Replaced::Copied => {
                    local.get_or_insert_with(|| link.path.clone());
                    report.files += 1;
                    report.in_backups += u64::from(link.below == "backups" || link.below.starts_with("backups/"));
                }
                Replaced::Gone => report.gone += 1,
            }
            touched.extend(link.path.parent().map(Path::to_owned));
        }
        touched.iter().try_for_each(|directory| sync_directory(directory))
    }
}

/// Only one that Cassandra has opened is hydrated.
fn check_step(state: &State) -> Result<()> {
    let table = &state.plan.table;
    let message = match state.step {
        Step::Open => return Ok(()),
        Step::Aborting | Step::Replacing | Step::Undone => {
            format!("{table} is being taken back: run `cassmount restore abort` again")
        }
        _ => format!("the restore of {table} did not come to its end: run `cassmount restore instant` again"),
    };
    Err(Error::new(Kind::Busy, message))
}

/// A Data.db is about to become a file, from which nobody could tell whose it is.
fn note(journal: &mut Journal, link: &Link, target: &Path, inode: u64) -> Result<()> {
    let name = link.path.file_name().and_then(|name| name.to_str()).and_then(SstableName::parse_component);
    let Some(name) = name.filter(|name| name.component == DATA && link.below.is_empty()) else { return Ok(()) };
    let Some(sstable) = live::number_of(&live::by_target(&journal.state.plan), target) else { return Ok(()) };
    journal.hydrated(Hydrated { sstable, name: name.sstable.to_string(), inode })
}

fn cannot_read(target: &Path, error: std::io::Error) -> Error {
    Error::io(format_args!("read {}, which a live table links to: is the mount there?", target.display()), error)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Table, unreadable};
    use super::*;

    const OPTIONS: HydrationOptions = HydrationOptions { rate: None, keep_free: 0 };

    fn restored(table: &Table, journals: &Journals, name: &str) {
        let mut state = table.state(2);
        state.plan.table = TableName::new("shop", name);
        let mut journal = journals.begin(state.plan.clone()).unwrap();
        live::put_links(&state).unwrap();
        journal.step(Step::Open).unwrap();
    }

    #[test]
    fn what_was_killed_after_data_knows_its_sstables() {
        let table = Table::new();
        let journals = Journals::new(table.work.path(), &[]);
        restored(&table, &journals, "users");
        // As a run that is killed when it comes to the next component.
        fs::rename(table.mount.join("nb-1-big-Statistics.db"), table.work.path().join("away")).unwrap();
        let hydration = Hydration::open(&journals, &[], OPTIONS).unwrap();
        assert!(hydration.run(&mut |_| {})[0].error.is_some());
        let (_, state) = journals.states().unwrap().remove(0);
        let ours = live::ours(&state).unwrap();
        assert_eq!((ours.linked.len(), ours.hydrated.len()), (0, 2));
        assert!(!ours.remote.is_empty() && ours.missing(&state).is_empty());
        fs::rename(table.work.path().join("away"), table.mount.join("nb-1-big-Statistics.db")).unwrap();
        let hydration = Hydration::open(&journals, &[], OPTIONS).unwrap();
        assert!(hydration.has_links().unwrap());
        let report = hydration.run(&mut |_| {}).remove(0);
        assert_eq!((report.left, report.error), (0, None));
    }

    #[test]
    fn one_lost_directory_stops_no_other_table() {
        let (lost, sound) = (Table::new(), Table::new());
        let journals = Journals::new(sound.work.path(), &[]);
        restored(&lost, &journals, "lost");
        restored(&sound, &journals, "sound");
        fs::remove_dir_all(&lost.live).unwrap();
        unreadable(&lost.live);
        let hydration = Hydration::open(&journals, &[], OPTIONS).unwrap();
        assert_eq!(hydration.lost().map(|(table, _)| &*table.table).collect::<Vec<_>>(), ["lost"]);
        let reports = hydration.run(&mut |_| {});
        assert!(reports.iter().any(|of| &*of.table.table == "lost" && of.error.is_some()));
        assert!(live::links(&sound.live, &sound.mount).unwrap().is_empty());
        let statuses = super::super::status(&journals).unwrap();
        assert_eq!((statuses.tables.len(), statuses.errors.len()), (1, 1));
        // One that was dropped is no error.
        fs::remove_file(&lost.live).unwrap();
        let reports = Hydration::open(&journals, &[], OPTIONS).unwrap().run(&mut |_| {});
        assert!(reports.iter().all(|of| of.error.is_none()), "{reports:?}");
    }
}
