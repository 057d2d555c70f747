//! Which tables a restore point has.

use super::candidates::{Candidate, Candidates};
use super::evidence::Evidence;
use crate::cassandra::{TableId, TableName};
use crate::catalog::{BackupSet, Knowledge, RestorePoint, SetKind};
use crate::time::Timestamp;
use serde::Serialize;

/// A table of a restore point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PointTable {
    pub table: TableName,
    /// The incarnation that lived then; `None`: nothing tells.
    pub id: Option<TableId>,
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// The tables of a restore point, as far as is known without reading any of their archives.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PointTables {
    /// Sorted by table.
    pub tables: Vec<PointTable>,
    /// Tables with archives in its chain that had been dropped by then.
    pub dropped: Vec<TableName>,
    /// Tables that lived then and have no archive in its chain: they were empty, or their archives
    /// are missing.
    pub without_archive: Vec<TableName>,
}

/// The tables that `point` has.
///
/// A full has exactly those it holds archives of, each in the incarnation of its snapshot, which
/// was taken between the set's start and its end. An incremental has those that lived at its time.
pub fn tables_at(point: &RestorePoint, knowledge: &Knowledge) -> PointTables {
    let mut found = PointTables::default();
    let archived = point.tables();
    for table in &archived {
        let candidates = Candidates::new(table, knowledge);
        let alive = match point.kind() {
            SetKind::Full => candidates.of_archive(point.set()),
            SetKind::Incremental => candidates.at(point.time()).map(|c| (c.id, c.evidence.clone())),
        };
        match alive {
            Some((id, evidence)) => found.tables.push(PointTable { table: table.clone(), id: Some(id), evidence }),
            None if point.kind() == SetKind::Incremental && candidates.dropped_by(point.time()) => {
                found.dropped.push(table.clone());
            }
            None => {
                let evidence = Evidence::Nothing;
                found.tables.push(PointTable { table: table.clone(), id: None, evidence });
            }
        }
    }
    let moment = knowledge.moment_of(point);
    let lives = knowledge.timeline().tables();
    let lives = lives.filter(|(_, lives)| lives.iter().any(|life| life.lives_at(moment)));
    found.without_archive =
        lives.map(|(table, _)| table).filter(|table| archived.binary_search(table).is_err()).cloned().collect();
    found
}

impl Candidates {
    /// The incarnation that a set's archive of the table holds, as far as that can be told without
    /// reading it: what it says itself if it was read before; else, of a full, the first that lived
    /// while the set was made, and of an incremental the last one created by then, which may have
    /// been dropped since.
    pub fn of_archive(&self, set: &BackupSet) -> Option<(TableId, Evidence)> {
        if let Some(id) = self.named.get(&set.tag) {
            return Some((*id, Evidence::DirectoryName { tag: set.tag.clone() }));
        }
        if let Some(id) = self.declared.get(&set.tag) {
            return Some((*id, Evidence::OwnSchema { tag: set.tag.clone() }));
        }
        let found = match set.kind() {
            SetKind::Full => self.at_snapshot(set),
            SetKind::Incremental => self.last_created(set.time),
        };
        found.map(|candidate| (candidate.id, candidate.evidence.clone()))
    }

    fn at_snapshot(&self, set: &BackupSet) -> Option<&Candidate> {
        // Tags are cut to the minute: the snapshot comes after that.
        let start = Timestamp(set.start().0.saturating_add(59_999_999)).min(set.time);
        let lived = |candidate: &&Candidate| {
            candidate.created.is_none_or(|created| created <= set.time)
                && candidate.dropped.is_none_or(|dropped| start < dropped)
        };
        self.at(start).or_else(|| self.list.iter().find(lived)).or_else(|| self.at(set.start()))
    }
}
