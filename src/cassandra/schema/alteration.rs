//! What ALTER TABLE, CREATE INDEX and DROP INDEX did to tables, and when.
//!
//! Each statement's rows carry its time. So the moments of change are the times of rows about a
//! table between its CREATE and its DROP, and what changed is the difference of the schema around
//! them.

use super::definition::{Column, Table};
use super::facts::{Facts, Row, SchemaTable};
use super::timeline::Timeline;
use crate::Result;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A change of a table's definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alteration {
    pub at: Timestamp,
    pub table: TableName,
    /// What changed, a phrase each: `+ phone text`.
    pub changes: Vec<String>,
}

/// The tables of system_schema whose first clustering column is the name of a table.
const ABOUT_TABLES: [SchemaTable; 4] =
    [SchemaTable::Tables, SchemaTable::Columns, SchemaTable::DroppedColumns, SchemaTable::Indexes];

impl Timeline {
    /// Changes of tables, by time; of very many only the `most` newest moments.
    ///
    /// # Errors
    /// `Corrupt` where a row makes no sense.
    pub fn alterations(&self, most: usize) -> Result<Vec<Alteration>> {
        let mut moments: BTreeMap<Timestamp, BTreeSet<TableName>> = BTreeMap::new();
        for (table, at) in written(self.facts()) {
            let lived = |at: Timestamp| {
                self.incarnations(&table)
                    .iter()
                    .any(|life| life.created < at && life.dropped.is_none_or(|dropped| at < dropped))
            };
            if lived(at) {
                moments.entry(at).or_default().insert(table);
            }
        }
        // A statement deletes what it replaces a microsecond before it writes: that is no moment of
        // its own.
        let written_at: BTreeSet<Timestamp> = moments.keys().copied().collect();
        moments.retain(|at, _| !written_at.contains(&Timestamp(at.0.saturating_add(1))));
        let mut alterations = Vec::new();
        let skipped = moments.len().saturating_sub(most);
        for (at, tables) in moments.into_iter().skip(skipped) {
            let (before, after) = (self.schema_at(Timestamp(at.0.saturating_sub(2)))?, self.schema_at(at)?);
            for table in tables {
                let of = |schema: &super::Schema| schema.keyspace(&table.keyspace)?.table(&table.table).cloned();
                let (Some(before), Some(after)) = (of(&before), of(&after)) else { continue };
                let changes = changes(&before, &after);
                if !changes.is_empty() {
                    alterations.push(Alteration { at, table, changes });
                }
            }
        }
        Ok(alterations)
    }
}

/// Each table with each time at which something was written about it.
fn written(facts: &Facts) -> BTreeSet<(TableName, Timestamp)> {
    let mut written = BTreeSet::new();
    for (keyspace, partitions) in &facts.keyspaces {
        for partition in ABOUT_TABLES.iter().filter_map(|table| partitions.get(table)) {
            for (key, row) in &partition.rows {
                let Some(name) = key.first().and_then(|name| std::str::from_utf8(name).ok()) else { continue };
                let table = TableName::new(keyspace.clone(), name);
                written.extend(times(row).map(|at| (table.clone(), at)));
            }
        }
    }
    written
}

fn times(row: &Row) -> impl Iterator<Item = Timestamp> {
    let cells = row.cells.values().flat_map(|values| values.keys());
    row.deletions.iter().chain(&row.inserts).chain(cells).copied()
}

fn changes(before: &Table, after: &Table) -> Vec<String> {
    let column = |column: &Column| format!("{} {}", column.name, column.data_type);
    let mut changes = Vec::new();
    for new in &after.columns {
        match before.columns.iter().find(|old| old.name == new.name) {
            None => changes.push(format!("+ {}", column(new))),
            Some(old) if old.data_type != new.data_type => {
                changes.push(format!("{}: was {}", column(new), old.data_type));
            }
            Some(old) if old.mask != new.mask => changes.push(format!("mask of {}", new.name)),
            Some(_) => {}
        }
    }
    let gone = before.columns.iter().filter(|old| after.columns.iter().all(|new| new.name != old.name));
    changes.extend(gone.map(|old| format!("- {}", column(old))));
    for new in after.indexes.iter().filter(|new| !before.indexes.contains(new)) {
        changes.push(format!("+ index {}", new.name));
    }
    let gone = before.indexes.iter().filter(|old| after.indexes.iter().all(|new| new.name != old.name));
    changes.extend(gone.map(|old| format!("- index {}", old.name)));
    let options = after.options.iter().filter(|option| !before.options.contains(option)).map(|(name, _)| *name);
    changes.extend(options.map(|name| format!("WITH {name}")));
    changes
}
