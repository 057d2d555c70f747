//! Which tables a name stood for, one after the other: derived from the facts of one keyspace.

use super::facts::{Facts, Partition, Row, SchemaTable};
use crate::cassandra::TableId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a data directory belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TableKind {
    Table,
    /// A materialized view: a table of its own on disk.
    View,
}

/// One life of a table name, from a CREATE to the DROP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Incarnation {
    pub id: TableId,
    pub kind: TableKind,
    /// The time of the CREATE; exact unless every set that held it is gone (then the first time at
    /// which it is known).
    pub created: Timestamp,
    /// The time of the DROP, or, where no set holds the DROP itself, the first time at which the
    /// table is known to be gone. Compare [`Self::known_alive`].
    pub dropped: Option<Timestamp>,
    /// The last time at which something shows that it existed. Same as `dropped` where that is
    /// exact.
    pub known_alive: Timestamp,
}

impl Incarnation {
    /// Whether `dropped` is the time of a DROP, not only a bound.
    ///
    /// It is this table's own DROP, but for one case: where the name was dropped, made and dropped
    /// again between two sets, and compaction came before the second, only the last DROP is known.
    pub fn drop_is_exact(&self) -> bool {
        self.dropped == Some(self.known_alive)
    }

    /// Whether it existed at this time; between [`Self::known_alive`] and a `dropped` that is not
    /// exact it may have.
    pub fn lives_at(&self, at: Timestamp) -> bool {
        self.created <= at && self.dropped.is_none_or(|dropped| at < dropped)
    }
}

/// What the sets tell beside the rows' own times.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sightings {
    /// The times of the sets that held all of `system_schema`.
    pub(super) complete: BTreeSet<Timestamp>,
    /// The last set that held an id's row, not deleted.
    pub(super) present: BTreeMap<TableId, Timestamp>,
}

impl Sightings {
    pub(super) fn merge(&mut self, other: &Self) {
        self.complete.extend(&other.complete);
        for (&id, &seen) in &other.present {
            let last = self.present.entry(id).or_insert(seen);
            *last = seen.max(*last);
        }
    }

    /// The first complete set after `known_alive` that lacks the table.
    fn missing_by(&self, known_alive: Timestamp) -> Option<Timestamp> {
        self.complete.range(Timestamp(known_alive.0.saturating_add(1))..).next().copied()
    }
}

/// All incarnations of all tables and views of a keyspace, by name, each list by creation.
pub(super) fn of_keyspace(
    facts: &Facts,
    keyspace: &str,
    sightings: &Sightings,
) -> BTreeMap<Arc<str>, Vec<Incarnation>> {
    let mut names = BTreeMap::<Arc<str>, Vec<Incarnation>>::new();
    let keyspace_drops = keyspace_drops(facts, keyspace);
    let columns = ColumnHistory::of(facts, keyspace);
    for (table, kind) in [(SchemaTable::Tables, TableKind::Table), (SchemaTable::Views, TableKind::View)] {
        let Some(partition) = facts.partition(keyspace, table) else { continue };
        for (key, row) in &partition.rows {
            let Some(name) = key.first().and_then(|name| std::str::from_utf8(name).ok()) else { continue };
            let evidence = Evidence {
                kind,
                writes: id_writes(row),
                deletions: partition.deletions_of(key, row).chain(keyspace_drops.iter().copied()).collect(),
                columns: columns.of_table(name),
                sightings,
            };
            names.entry(name.into()).or_default().extend(evidence.incarnations());
        }
    }
    for incarnations in names.values_mut() {
        incarnations
            .sort_by_key(|incarnation| (incarnation.created, incarnation.dropped.is_none(), incarnation.dropped));
    }
    names.retain(|_, incarnations| !incarnations.is_empty());
    names
}

/// Ids of all tables and views that the facts show to exist at last.
pub(super) fn live_ids(facts: &Facts) -> impl Iterator<Item = TableId> + '_ {
    let partitions = facts.keyspaces.values().flat_map(|tables| {
        [SchemaTable::Tables, SchemaTable::Views].into_iter().filter_map(|table| tables.get(&table))
    });
    partitions
        .flat_map(|partition| partition.rows_at(Timestamp(i64::MAX)))
        .filter_map(|row| Some(TableId(row.get("id")?.try_into().ok()?)))
}

/// Only DROP KEYSPACE deletes a whole partition, and it does so in every schema table, so any of
/// them tells.
fn keyspace_drops(facts: &Facts, keyspace: &str) -> BTreeSet<Timestamp> {
    let partitions = facts.keyspaces.get(keyspace).into_iter().flat_map(BTreeMap::values);
    partitions.flat_map(|partition| partition.deletions.iter().copied()).collect()
}

fn id_writes(row: &Row) -> Vec<(Timestamp, TableId)> {
    let values = row.cells.get("id").into_iter().flatten();
    values.filter_map(|(&at, value)| Some((at, TableId(value.as_deref()?.try_into().ok()?)))).collect()
}

/// What table `columns` tells of each table: its rows are written once, at the CREATE, and deleted
/// by the DROP, while ALTER TABLE writes the whole row of table `tables` anew.
struct ColumnHistory<'a> {
    partition: Option<&'a Partition>,
}

#[derive(Default)]
struct ColumnEvidence {
    writes: BTreeSet<Timestamp>,
    deletions: BTreeSet<Timestamp>,
}

impl<'a> ColumnHistory<'a> {
    fn of(facts: &'a Facts, keyspace: &str) -> Self {
        Self { partition: facts.partition(keyspace, SchemaTable::Columns) }
    }

    fn of_table(&self, table: &str) -> ColumnEvidence {
        let mut evidence = ColumnEvidence::default();
        for (_, row) in self.partition.into_iter().flat_map(|partition| partition.rows_below(table.as_bytes())) {
            evidence.writes.extend(row.writes());
            evidence.deletions.extend(&row.deletions);
        }
        evidence
    }
}

/// All that is known of one name among the tables or among the views.
struct Evidence<'a> {
    kind: TableKind,
    /// Every write of the row's id, by time.
    writes: Vec<(Timestamp, TableId)>,
    /// Every deletion of the row.
    deletions: BTreeSet<Timestamp>,
    columns: ColumnEvidence,
    sightings: &'a Sightings,
}

impl Evidence<'_> {
    fn incarnations(&self) -> Vec<Incarnation> {
        let mut lives: Vec<Incarnation> = Vec::new();
        // When the name was last known to stand for nothing.
        let mut free = Timestamp(i64::MIN);
        let mut last_write = Timestamp(i64::MIN);
        for &(at, id) in &self.writes {
            // CREATE and ALTER first delete what was there, one microsecond before they write.
            let replaced = Timestamp(at.0.saturating_sub(1));
            let mut drops = self.deletions.range(last_write..at).copied().filter(|&deleted| deleted != replaced);
            if let Some(life) = lives.last_mut().filter(|life| life.dropped.is_none()) {
                match drops.next() {
                    Some(dropped) => {
                        life.dropped = Some(dropped);
                        life.known_alive = dropped;
                    }
                    None if life.id == id => {
                        life.known_alive = at;
                        last_write = at;
                        continue;
                    }
                    None => {}
                }
                free = life.dropped.unwrap_or(life.known_alive);
            }
            free = drops.next_back().unwrap_or(free).max(free);
            let created = self.created(at, id, free);
            if let Some(life) = lives.last_mut().filter(|life| life.dropped.is_none()) {
                self.replace(life, created);
            }
            lives.push(Incarnation { id, kind: self.kind, created, dropped: None, known_alive: at });
            last_write = at;
        }
        if let Some(life) = lives.last_mut() {
            self.end(life, last_write);
        }
        lives
    }

    /// The CREATE that the first known write of an id stems from: itself, or an earlier one of
    /// which only the columns are left, if an ALTER TABLE rewrote the row.
    fn created(&self, first_write: Timestamp, id: TableId, free: Timestamp) -> Timestamp {
        // An id is made by the CREATE (or given to it, in a restore, and then older).
        let earliest = id.created_at().unwrap_or(free).max(Timestamp(free.0.saturating_add(1)));
        if earliest > first_write {
            return first_write;
        }
        self.columns.writes.range(earliest..=first_write).next().copied().unwrap_or(first_write)
    }

    /// Ends a life of which no deletion is known, because another id took its name at `by`.
    fn replace(&self, life: &mut Incarnation, by: Timestamp) {
        let after = Timestamp(life.known_alive.0.saturating_add(1));
        // The DROP deleted all columns, which the new table need not have. It came after every
        // ALTER.
        if after < by
            && let Some(&dropped) = self.columns.deletions.range(after..by).next_back()
            && dropped.0 + 1 < by.0
        {
            life.dropped = Some(dropped);
            life.known_alive = dropped;
            return;
        }
        self.see(life);
        life.known_alive = life.known_alive.min(by);
        life.dropped = Some(self.sightings.missing_by(life.known_alive).unwrap_or(by).min(by));
    }

    /// Ends the last life, if anything tells that it ended.
    fn end(&self, life: &mut Incarnation, last_write: Timestamp) {
        if let Some(&dropped) = self.deletions.range(last_write..).next() {
            life.dropped = Some(dropped);
            life.known_alive = dropped;
            return;
        }
        self.see(life);
        life.dropped = self.sightings.missing_by(life.known_alive);
    }

    fn see(&self, life: &mut Incarnation) {
        let seen = self.sightings.present.get(&life.id).copied().unwrap_or(life.known_alive);
        life.known_alive = life.known_alive.max(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TableId = TableId([1; 16]);
    const B: TableId = TableId([2; 16]);

    fn lives(
        writes: &[(i64, TableId)],
        deletions: &[i64],
        columns: (&[i64], &[i64]),
        sightings: &Sightings,
    ) -> Vec<(TableId, i64, Option<i64>, i64)> {
        let times = |times: &[i64]| times.iter().map(|&at| Timestamp(at)).collect();
        let evidence = Evidence {
            kind: TableKind::Table,
            writes: writes.iter().map(|&(at, id)| (Timestamp(at), id)).collect(),
            deletions: times(deletions),
            columns: ColumnEvidence { writes: times(columns.0), deletions: times(columns.1) },
            sightings,
        };
        let lives = evidence.incarnations().into_iter();
        lives.map(|life| (life.id, life.created.0, life.dropped.map(|at| at.0), life.known_alive.0)).collect()
    }

    #[test]
    fn create_alter_drop_create() {
        // Every CREATE and ALTER deletes at its time - 1.
        let found = lives(
            &[(100, A), (200, A), (400, B)],
            &[99, 199, 300, 399],
            (&[100, 200, 400], &[300]),
            &Sightings::default(),
        );
        assert_eq!(found, [(A, 100, Some(300), 300), (B, 400, None, 400)]);
    }

    #[test]
    fn creation_survives_an_alter_through_its_columns() {
        let found = lives(&[(200, A)], &[199], (&[100, 200], &[200]), &Sightings::default());
        assert_eq!(found, [(A, 100, None, 200)]);
    }

    #[test]
    fn a_drop_that_compaction_hid_under_the_next_create_is_told_by_the_columns() {
        let columns: (&[i64], &[i64]) = (&[100, 400], &[300]);
        let found = lives(&[(100, A), (400, B)], &[99, 399], columns, &Sightings::default());
        assert_eq!(found, [(A, 100, Some(300), 300), (B, 400, None, 400)]);
        // Without them it is bounded by what took its place.
        let found = lives(&[(100, A), (400, B)], &[99, 399], (&[100, 400], &[]), &Sightings::default());
        assert_eq!(found, [(A, 100, Some(400), 100), (B, 400, None, 400)]);
    }

    #[test]
    fn one_id_can_live_twice() {
        let found = lives(&[(100, A), (400, A)], &[99, 300, 399], (&[100, 400], &[300]), &Sightings::default());
        assert_eq!(found, [(A, 100, Some(300), 300), (A, 400, None, 400)]);
    }

    #[test]
    fn a_complete_set_without_the_table_bounds_a_drop_whose_tombstone_is_gone() {
        let sightings = Sightings {
            complete: [50, 150, 250, 350, 450].map(Timestamp).into(),
            present: [(A, Timestamp(250))].into(),
        };
        let found = lives(&[(100, A)], &[99], (&[100], &[]), &sightings);
        assert_eq!(found, [(A, 100, Some(350), 250)]);
        let found = lives(&[(100, A), (300, B)], &[99, 299], (&[100, 300], &[]), &sightings);
        assert_eq!(found, [(A, 100, Some(300), 250), (B, 300, Some(350), 300)]);
    }

    #[test]
    fn a_write_at_the_time_of_a_deletion_is_hidden() {
        assert_eq!(lives(&[(100, A)], &[100], (&[], &[]), &Sightings::default()), [(A, 100, Some(100), 100)]);
    }
}
