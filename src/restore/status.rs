//! `cassmount restore status`: what became of every restore that was begun and not undone.

use super::state::{Origin, Plan, State, Step};
use super::{journal, live};
use crate::Result;
use crate::cassandra::TableName;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    #[serde(flatten)]
    pub table: TableName,
    pub from: Vec<Origin>,
    pub directory: PathBuf,
    pub mountpoint: PathBuf,
    /// RFC 3339.
    pub started: String,
    pub step: Step,
    /// SSTables of the backup.
    pub sstables: usize,
    /// Those that are links, all or in part.
    pub linked: usize,
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
}

/// Of all tables whose journals are beside this cache.
pub fn status(cache_dir: &Path) -> Result<Vec<TableStatus>> {
    journal::look_at_all(cache_dir)?.iter().map(|(_, state)| of(state)).collect()
}

pub(super) fn of(state: &State) -> Result<TableStatus> {
    let plan = &state.plan;
    // A dropped table's directories are gone, or nobody's.
    let there: Vec<&PathBuf> = plan.directories.iter().filter(|directory| directory.is_dir()).collect();
    let state_there =
        State { plan: Plan { directories: there.into_iter().cloned().collect(), ..plan.clone() }, ..state.clone() };
    let ours = live::ours(&state_there)?;
    let numbers = live::by_target(plan);
    let mut remote = 0;
    let mut in_backups = 0;
    let mut snapshots = BTreeSet::new();
    let mut linked = BTreeSet::new();
    for directory in &state_there.plan.directories {
        for link in live::links(directory, &plan.mountpoint)? {
            let number = live::number_of(&numbers, &link.target);
            match link.below.split('/').collect::<Vec<_>>()[..] {
                ["backups", ..] => in_backups += 1,
                ["snapshots", tag, ..] => drop(snapshots.insert(tag.to_owned())),
                _ => {
                    let component = link.target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    if let Some(number) = number {
                        let sstable = &plan.sstables[number];
                        let component = component.strip_prefix(&format!("{}-", sstable.name)).unwrap_or_default();
                        remote += sstable.components.get(component).copied().unwrap_or(0);
                        linked.insert(number);
                    }
                }
            }
        }
    }
    let hydrated = ours.hydrated.keys().filter(|number| !linked.contains(number)).count();
    Ok(TableStatus {
        table: plan.table.clone(),
        from: plan.from.clone(),
        directory: plan.live.clone(),
        mountpoint: plan.mountpoint.clone(),
        started: plan.started.to_string(),
        step: state.step,
        sstables: plan.sstables.len(),
        linked: linked.len(),
        hydrated,
        compacted: plan.sstables.len() - linked.len() - hydrated,
        bytes: plan.sstables.iter().flat_map(|sstable| sstable.components.values()).sum(),
        remote_bytes: remote,
        links_in_backups: in_backups,
        snapshots_with_links: snapshots.into_iter().collect(),
        snapshot: state.snapshot().map(str::to_owned),
    })
}
