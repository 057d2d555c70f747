//! Which incarnation each archive of a host holds, from all that is known of its sets. Pure.

use super::damage::ArchiveDamage;
use crate::cassandra::{TableId, TableName};
use crate::catalog::incarnation::{Candidates, Evidence};
use crate::catalog::{BackupSet, HostSets, Knowledge, RestorePoint, Scope, SetKind, TableArchive, Tag};
use std::collections::HashMap;
use std::sync::Arc;

/// What the files of archives told of their incarnation, where that is not what their sets' times
/// suggest.
pub(super) type Refined = HashMap<(Tag, TableName), Option<TableId>>;

/// Everything that a host's model is made of.
#[derive(Clone, Debug)]
pub(super) struct Ingredients {
    pub sets: Arc<HostSets>,
    pub visible: Visible,
    pub knowledge: Arc<Knowledge>,
    pub refined: Arc<Refined>,
    /// The ids of the node's own tables, for `--live-data-dir`.
    pub live: Arc<HashMap<TableName, TableId>>,
    /// What archives turned out not to give out; grows while they are looked into.
    pub damage: Arc<ArchiveDamage>,
}

/// The part of a host's sets that `--at` leaves visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Visible {
    /// The first so many of [`HostSets::sets`].
    pub sets: usize,
    /// The first so many of its restore points.
    pub points: usize,
}

impl Visible {
    pub(super) fn all(sets: &HostSets) -> Self {
        Self { sets: sets.sets.len(), points: sets.chains.points().len() }
    }

    /// What was there when the restore point's set was finished.
    pub(super) fn until(sets: &HostSets, point: &RestorePoint) -> Self {
        let last = (point.time(), point.tag());
        Self {
            sets: sets.sets.partition_point(|set| (set.time, &set.tag) <= last),
            points: sets.chains.points().partition_point(|point| (point.time(), point.tag()) <= last),
        }
    }

    pub(super) fn nothing() -> Self {
        Self { sets: 0, points: 0 }
    }
}

/// An archive and the set that it is in.
pub(super) type Piece = (Arc<BackupSet>, TableArchive);

/// The visible sets of a host, and whose each of their archives is.
#[derive(Debug)]
pub(super) struct Attribution {
    pub from: Ingredients,
    /// Per table with archives, all incarnations that anything tells of.
    candidates: HashMap<TableName, Candidates>,
}

impl Attribution {
    pub(super) fn new(from: Ingredients) -> Self {
        Self { candidates: candidates(&from), from }
    }

    /// The sets that are to be seen.
    pub(super) fn sets(&self) -> &[Arc<BackupSet>] {
        &self.from.sets.sets[..self.from.visible.sets]
    }

    /// The restore points that are to be seen.
    pub(super) fn points(&self) -> &[RestorePoint] {
        &self.from.sets.chains.points()[..self.from.visible.points]
    }

    /// Every table that any set has an archive of.
    pub(super) fn archived_tables(&self) -> impl Iterator<Item = &TableName> {
        self.candidates.keys()
    }

    pub(super) fn candidates(&self, table: &TableName) -> Option<&Candidates> {
        self.candidates.get(table)
    }

    /// The incarnation that an archive holds: what its files told, else what its set's time
    /// suggests.
    pub(super) fn archive_id(&self, set: &BackupSet, table: &TableName) -> Option<TableId> {
        let told = self.candidates.get(table)?.of_archive(set);
        if self.from.refined.is_empty()
            || matches!(told, Some((_, Evidence::OwnSchema { .. } | Evidence::DirectoryName { .. })))
        {
            return told.map(|(id, _)| id);
        }
        let refined = self.from.refined.get(&(set.tag.clone(), table.clone()));
        refined.copied().unwrap_or_else(|| told.map(|(id, _)| id))
    }

    /// Whether what an archive says can still change whose it is. When a set was made that did not
    /// finish is an estimate, so what the history says of that time is one, too.
    pub(super) fn is_weak(&self, set: &BackupSet, table: &TableName) -> bool {
        if !set.is_finished() {
            return true;
        }
        let told = self.candidates.get(table).and_then(|candidates| candidates.of_archive(set));
        told.is_none_or(|(_, evidence)| evidence.is_weak())
    }

    /// The table's archives from an older full on, where the point's base lacks one.
    pub(super) fn since_older_full(&self, point: &RestorePoint, table: &TableName) -> Option<Vec<Piece>> {
        if self.lacks_in_base(point, table) { point.older_archives(table) } else { None }
    }

    /// Whether the point's base full should have an archive of the table and has not: the
    /// incarnation that lives at the point lived by then, and other tables of its keyspace were
    /// backed up; or the full never was of all tables.
    pub(super) fn lacks_in_base(&self, point: &RestorePoint, table: &TableName) -> bool {
        let base = point.base();
        if point.kind() == SetKind::Full || base.has(table) {
            return false;
        }
        // A full of other tables says nothing of this one, as long as something tells that it was
        // still there.
        if base.scope() == Scope::Some
            && (!base.has_keyspace(&table.keyspace) || point.sets().skip(1).any(|set| set.has(table)))
        {
            let now = self.candidates.get(table).and_then(|candidates| candidates.at(point.time())).map(|now| now.id);
            let older = point.older_archives(table).and_then(|older| Some(Arc::clone(&older.first()?.0)));
            return older.is_some_and(|older| self.archive_id(&older, table) == now);
        }
        if !base.has_keyspace(&table.keyspace) {
            return false;
        }
        let Some(candidates) = self.candidates.get(table).filter(|candidates| candidates.in_history()) else {
            return false;
        };
        let lived = candidates.at(base.start()).filter(|one| one.created.is_some_and(|at| at < base.start()));
        lived.is_some_and(|lived| candidates.at(point.time()).is_some_and(|now| now.id == lived.id))
    }

    /// The tables that the point's full should have an archive of and has not, by name: of the
    /// incarnation that lived then and lives still some other set has one, and the full has archives
    /// of empty tables, too.
    pub(super) fn lacking_in_full(&self, point: &RestorePoint) -> Vec<&TableName> {
        let base = point.base();
        if !base.holds_empty_tables() {
            return Vec::new();
        }
        let lives = |table: &TableName, candidates: &Candidates| {
            let lived = candidates.at(base.start()).filter(|one| one.created.is_some_and(|at| at < base.start()));
            let at_the_end = candidates.at(point.time()).map(|now| now.id);
            let is_it = |set: &BackupSet| lived.is_some_and(|lived| self.archive_id(set, table) == Some(lived.id));
            lived.is_some_and(|lived| at_the_end == Some(lived.id))
                && self.from.sets.sets.iter().any(|set| set.has(table) && is_it(set))
        };
        let all = self.candidates.iter().filter(|(table, candidates)| {
            !base.has(table)
                && base.has_keyspace(&table.keyspace)
                && candidates.in_history()
                && lives(table, candidates)
        });
        let mut lacking: Vec<&TableName> = all.map(|(table, _)| table).collect();
        lacking.sort();
        lacking
    }
}

/// Of every table that has an archive in any of the sets, seen or not: a later set explains earlier
/// ones.
fn candidates(from: &Ingredients) -> HashMap<TableName, Candidates> {
    let mut candidates = HashMap::new();
    for table in from.sets.sets.iter().flat_map(|set| set.tables()) {
        if !candidates.contains_key(table) {
            candidates.insert(table.clone(), Candidates::new(table, &from.knowledge));
        }
    }
    candidates
}
