//! Which incarnations of its tables each restore point has, worked out from one point to the next.
//! Pure.

use super::attribution::Attribution;
use crate::cassandra::{TableId, TableName};
use crate::catalog::incarnation::Candidates;
use crate::catalog::{BackupSet, RestorePoint, SetKind};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// The archives of a chain while it grows: per table the incarnations that they hold, the newest
/// archive's last.
#[derive(Default)]
pub(super) struct Chain {
    base: Option<Arc<BackupSet>>,
    tables: HashMap<TableName, Vec<Option<TableId>>>,
    /// Whether `tables` holds more than the base full.
    grown: bool,
}

impl Chain {
    /// `point` comes right after the last one: with the same base it has the same sets and its own.
    pub(super) fn advance(&mut self, point: &RestorePoint, attribution: &Attribution) {
        let same = self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, point.base()));
        if same && self.grown {
            self.add(point.set(), attribution);
            return;
        }
        self.base = Some(point.base().clone());
        self.grown = point.kind() == SetKind::Incremental;
        self.tables.clear();
        for set in point.sets() {
            self.add(set, attribution);
        }
        for table in attribution.archived_tables() {
            for (set, _) in attribution.since_older_full(point, table).unwrap_or_default() {
                self.add_table(table, attribution.archive_id(&set, table));
            }
        }
    }

    fn add(&mut self, set: &BackupSet, attribution: &Attribution) {
        for table in set.tables() {
            self.add_table(table, attribution.archive_id(set, table));
        }
    }

    fn add_table(&mut self, table: &TableName, id: Option<TableId>) {
        let held = self.tables.entry(table.clone()).or_default();
        held.retain(|other| *other != id);
        held.push(id);
    }

    /// The incarnations that the point has: of a full what it holds, else what lives then and has
    /// files in the chain.
    pub(super) fn each_alive(
        &self,
        point: &RestorePoint,
        attribution: &Attribution,
        mut each: impl FnMut(&TableName, Option<TableId>),
    ) {
        for (table, held) in &self.tables {
            if point.kind() == SetKind::Full {
                for id in held {
                    each(table, *id);
                }
                continue;
            }
            let Some(candidates) = attribution.candidates(table) else { continue };
            let alive = match candidates.at(point.time()) {
                // Nothing weak outlives an archive of which only an unknown incarnation can be the
                // source.
                Some(candidate) if candidate.evidence.is_weak() && held.last() == Some(&None) => None,
                Some(candidate) => Some(candidate.id),
                None if is_dropped(candidates, point.time()) => continue,
                None => None,
            };
            // Of what certainly lives, also nothing: its archives proved to be an older one's, or
            // it was made anew and not yet written.
            if held.contains(&alive) || (alive.is_some() && candidates.in_history()) {
                each(table, alive);
            }
        }
    }
}

/// Whether the last incarnation created by then is known to have been dropped.
fn is_dropped(candidates: &Candidates, time: Timestamp) -> bool {
    candidates.list().iter().any(|candidate| candidate.dropped.is_some_and(|dropped| dropped <= time))
}
