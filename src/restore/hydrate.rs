//! `cassmount restore hydrate`: links become local files while Cassandra runs, oldest first. May be killed at any moment and run again.
//!
//! Links below the table's directory that are not live (in `backups/`, where incremental_backups put them, and in snapshots) become other names of the
//! same copies, so that nothing below the data directory depends on the mount when all is done.

use super::copy::{self, Copy, Pace, Replaced};
use super::journal::{self, Journal, sync_directory};
use super::live::{self, Link};
use super::sstables::DATA;
use super::state::{Hydrated, Origin, Step};
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

/// The tables of one cache directory's journals that are to become local.
#[derive(Debug)]
pub struct Hydration {
    tables: Vec<Journal>,
    options: HydrationOptions,
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
    /// Snapshots that held links, which are files now: a backup that was taken of one before holds links.
    pub snapshots: Vec<String>,
    /// Links that are left.
    pub left: u64,
    pub error: Option<String>,
}

impl Hydration {
    /// Takes over what is restored and not local: all, or these tables. Nobody else works on them then.
    ///
    /// # Errors
    /// `Kind::Busy` where somebody does, or where a restore is not at its end.
    pub fn open(cache_dirs: &[PathBuf], tables: &[TableName], options: HydrationOptions) -> Result<Self> {
        let mut taken = Vec::new();
        // Looked at first: of the others, no lock is wanted.
        let found = cache_dirs.iter().map(|directory| journal::look_at_all(directory)).collect::<Result<Vec<_>>>()?;
        for (path, state) in found.into_iter().flatten() {
            if !tables.is_empty() && !tables.contains(&state.plan.table) {
                continue;
            }
            let Some(journal) = Journal::open(&path)? else { continue };
            let table = &journal.state.plan.table;
            match journal.state.step {
                Step::Open => taken.push(journal),
                Step::Aborting | Step::Replacing | Step::Undone => {
                    return Err(Error::new(
                        Kind::Busy,
                        format!("{table} is being taken back: run `cassmount restore abort` again"),
                    ));
                }
                _ => {
                    return Err(Error::new(
                        Kind::Busy,
                        format!(
                            "the restore of {table} did not come to its end: run `cassmount restore instant` again"
                        ),
                    ));
                }
            }
        }
        let found = |table: &&TableName| taken.iter().any(|journal| journal.state.plan.table == **table);
        if let Some(table) = tables.iter().find(|table| !found(table)) {
            return Err(Error::not_found(format!(
                "{table} was not restored through links, as far as the journals know"
            )));
        }
        Ok(Self { tables: taken, options })
    }

    /// Bytes behind links, each counted once.
    pub fn remote_bytes(&self) -> Result<u64> {
        self.tables.iter().map(|journal| Ok(super::status::of(&journal.state)?.remote_bytes)).sum()
    }

    /// Checks that all of it fits.
    ///
    /// # Errors
    /// `Kind::NoSpace`, with the numbers.
    pub fn check_space(&self) -> Result<()> {
        let mut needed: BTreeMap<u64, (u64, &Path)> = BTreeMap::new();
        for journal in &self.tables {
            let status = super::status::of(&journal.state)?;
            let device = fs::metadata(&status.directory).map_or(0, |metadata| metadata.dev());
            needed.entry(device).or_insert((0, &journal.state.plan.live)).0 += status.remote_bytes;
        }
        needed.into_values().try_for_each(|(bytes, directory)| self.room(directory, bytes))
    }

    fn room(&self, directory: &Path, bytes: u64) -> Result<()> {
        let free = rustix::fs::statvfs(directory)
            .map_err(|e| Error::io(format_args!("ask {} for its free space", directory.display()), e.into()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
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
        let mut tables = std::mem::take(&mut self.tables);
        tables.iter_mut().map(|journal| self.table(journal, &mut pace, progress)).collect()
    }

    fn table(&self, journal: &mut Journal, pace: &mut Pace, progress: &mut dyn FnMut(u64)) -> HydrationReport {
        let plan = &journal.state.plan;
        let mut report = HydrationReport {
            table: plan.table.clone(),
            from: plan.from.clone(),
            directory: plan.live.clone(),
            files: 0,
            copied_bytes: 0,
            gone: 0,
            in_backups: 0,
            snapshots: Vec::new(),
            left: 0,
            error: None,
        };
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
        let (directories, mountpoint) = (journal.state.plan.directories.clone(), journal.state.plan.mountpoint.clone());
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
        // Each round sees what Cassandra renamed or linked since; a round in which nothing could be done ends it.
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
            } else if !copy::leads_to(&link.path, target) {
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

/// Links by the file that they lead to, in the order of the oldest of each; the live link of a file comes first.
fn by_target(links: Vec<Link>) -> Vec<(PathBuf, Vec<Link>)> {
    let mut grouped: Vec<(PathBuf, Vec<Link>)> = Vec::new();
    let mut places: std::collections::HashMap<PathBuf, usize> = std::collections::HashMap::new();
    for link in links {
        let place = *places.entry(link.target.clone()).or_insert_with(|| {
            grouped.push((link.target.clone(), Vec::new()));
            grouped.len() - 1
        });
        grouped[place].1.push(link);
    }
    for (_, links) in &mut grouped {
        links.sort_by_key(|link| !link.below.is_empty());
    }
    // Of an SSTable, Data.db comes last: until then its link tells which one it is.
    grouped.sort_by_key(|(target, _)| is_data(target));
    grouped
}

fn is_data(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(&format!("-{DATA}")))
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
