//! `cassmount restore status`: what became of every restore that was begun and not undone.

use super::journal::journals::Journals;
use super::journal::state::{Origin, Plan, State, Step};
use super::links::{live, losses};
use super::look;
use super::open_files;
use super::sstables::DATA;
use super::whole::{self, NodeStatus};
use crate::Result;
use crate::cassandra::TableName;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    #[serde(flatten)]
    pub table: TableName,
    pub from: Vec<Origin>,
    pub directory: PathBuf,
    /// The node's data directory: it tells nodes of one machine apart.
    pub data_directory: PathBuf,
    pub mountpoint: PathBuf,
    /// What is to be mounted there.
    pub source: String,
    /// RFC 3339.
    pub started: String,
    pub step: Step,
    /// SSTables of the backup.
    pub sstables: usize,
    /// Those that are links, all or in part.
    pub linked: usize,
    /// Those that lack a file that Cassandra had made, so that it cannot open them.
    pub broken: usize,
    /// Those that are local by now.
    pub hydrated: usize,
    /// Those that compaction has read and removed, or that were truncated.
    pub compacted: usize,
    pub bytes: u64,
    /// Of files that are links.
    pub remote_bytes: u64,
    /// Links below the table's directories that are not live: in `backups/`.
    pub links_in_backups: usize,
    /// Snapshots that hold links: a backup of them would be one of links.
    pub snapshots_with_links: Vec<String>,
    /// The snapshot that keeps what the table held before.
    pub snapshot: Option<String>,
    /// Whether the table was dropped, and its directories are gone.
    pub is_dropped: bool,
    /// The process that has files of the mount open, if one can be seen: it needs the mount until
    /// it is restarted.
    pub reader: Option<String>,
}

/// A journal of which nothing, or not all, can be told.
#[derive(Clone, Debug, Serialize)]
pub struct JournalError {
    pub journal: PathBuf,
    pub table: String,
    pub error: String,
}

/// All restores that were begun and not undone.
#[derive(Clone, Debug, Serialize)]
pub struct Statuses {
    pub tables: Vec<TableStatus>,
    /// Whole nodes.
    pub nodes: Vec<NodeStatus>,
    pub errors: Vec<JournalError>,
}

/// Of all tables that have a journal. What cannot be told of one hides no other.
pub fn status(journals: &Journals) -> Result<Statuses> {
    let mut all = Statuses { tables: Vec::new(), nodes: Vec::new(), errors: Vec::new() };
    for (journal, status) in whole::statuses(journals.state_dir())? {
        match status {
            Ok(status) => all.nodes.push(status),
            Err(error) => {
                all.errors.push(JournalError { journal, table: "a whole node".to_owned(), error: error.to_string() });
            }
        }
    }
    for file in journals.all()? {
        let table = file.table();
        match file.state.and_then(|state| of(&state)) {
            Ok(status) => all.tables.push(status),
            Err(error) => {
                all.errors.push(JournalError {
                    journal: file.path,
                    table: table.to_string(),
                    error: error.to_string(),
                });
            }
        }
    }
    Ok(all)
}

pub(super) fn of(state: &State) -> Result<TableStatus> {
    let plan = &state.plan;
    let there = look::live_directories(plan)?;
    let is_dropped = there.is_empty();
    let state_there = State { plan: Plan { directories: there, ..plan.clone() }, ..state.clone() };
    let ours = live::ours(&state_there)?;
    let numbers = live::by_target(plan);
    let mut remote = 0;
    let mut in_backups = 0;
    let mut snapshots = BTreeSet::new();
    let (mut linked, mut linked_indexes) = (BTreeSet::new(), BTreeSet::new());
    let indexes: HashMap<(&Path, &str), usize> =
        plan.index_sstables.iter().enumerate().map(|(number, of)| ((&*of.directory, &*of.name), number)).collect();
    for directory in &state_there.plan.directories {
        for link in live::links(directory, &plan.mountpoint)? {
            let number = live::number_of(&numbers, &link.target);
            match link.below.split('/').collect::<Vec<_>>()[..] {
                ["backups", ..] => in_backups += 1,
                ["snapshots", tag, ..] => drop(snapshots.insert(tag.to_owned())),
                _ => {
                    let component = link.target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    let of_index = live::number_of(&indexes, &link.target);
                    let sstable = number.map(|number| &plan.sstables[number]);
                    if let Some(sstable) = sstable.or(of_index.map(|number| &plan.index_sstables[number])) {
                        let component = component.strip_prefix(&format!("{}-", sstable.name)).unwrap_or_default();
                        remote += sstable.components.get(component).copied().unwrap_or(0);
                        linked.extend(number);
                        linked_indexes.extend(of_index);
                    }
                }
            }
        }
    }
    let mut hydrated = ours.hydrated.keys().filter(|number| !linked.contains(number)).count();
    for (number, sstable) in plan.index_sstables.iter().enumerate() {
        let below = sstable.directory.file_name().unwrap_or_default();
        let data = plan.live.join(below).join(format!("{}-{DATA}", sstable.staged));
        hydrated += usize::from(!linked_indexes.contains(&number) && look::exists(&data)?);
    }
    let (all, linked) = (plan.sstables.len() + plan.index_sstables.len(), linked.len() + linked_indexes.len());
    let broken = losses::broken(&state_there, &ours)?.len();
    let reader = open_files::reader_of(&plan.sstables.iter().map(|of| &*of.directory).collect::<BTreeSet<_>>());
    Ok(TableStatus {
        table: plan.table.clone(),
        from: plan.from.clone(),
        directory: plan.live.clone(),
        data_directory: data_directory(&plan.live).to_owned(),
        mountpoint: plan.mountpoint.clone(),
        source: plan.source.clone(),
        started: plan.started.to_string(),
        step: state.step,
        sstables: all,
        linked,
        broken,
        hydrated,
        compacted: all.saturating_sub(linked + hydrated),
        bytes: plan.sstables.iter().chain(&plan.index_sstables).flat_map(|sstable| sstable.components.values()).sum(),
        remote_bytes: remote,
        links_in_backups: in_backups,
        snapshots_with_links: snapshots.into_iter().collect(),
        snapshot: state.snapshot().map(str::to_owned),
        is_dropped,
        reader: reader.map(|(pid, program)| format!("{program} (pid {pid})")),
    })
}

/// The data directory that a table's live directory lies in.
pub(super) fn data_directory(live: &Path) -> &Path {
    live.parent().and_then(Path::parent).unwrap_or(live)
}
