//! What SSTables of `system_schema` tell: writes and deletions, each with its time. Nothing is ever
//! resolved away here.
//!
//! A set of facts is a grow-only set: [`Facts::merge`] is a union, so it is commutative,
//! associative and idempotent. What the node saw at a moment follows from the facts up to that
//! moment by Cassandra's own rule: the latest write wins, and a deletion hides every write that is
//! not later than itself.

use crate::time::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The tables of `system_schema`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum SchemaTable {
    Keyspaces,
    Tables,
    Columns,
    ColumnMasks,
    DroppedColumns,
    Indexes,
    Views,
    Types,
    Functions,
    Aggregates,
    Triggers,
}

impl SchemaTable {
    pub const ALL: [Self; 11] = [
        Self::Keyspaces,
        Self::Tables,
        Self::Columns,
        Self::ColumnMasks,
        Self::DroppedColumns,
        Self::Indexes,
        Self::Views,
        Self::Types,
        Self::Functions,
        Self::Aggregates,
        Self::Triggers,
    ];

    /// The table's name in keyspace `system_schema`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyspaces => "keyspaces",
            Self::Tables => "tables",
            Self::Columns => "columns",
            Self::ColumnMasks => "column_masks",
            Self::DroppedColumns => "dropped_columns",
            Self::Indexes => "indexes",
            Self::Views => "views",
            Self::Types => "types",
            Self::Functions => "functions",
            Self::Aggregates => "aggregates",
            Self::Triggers => "triggers",
        }
    }

    /// `None` for a table that the history does not need.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// A row's clustering values.
pub(super) type RowKey = Vec<Vec<u8>>;

/// Writes and deletions of rows of `system_schema`, except those about Cassandra's own keyspaces.
///
/// Serialises to any format whose map keys may be compound (postcard; not JSON).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The tables whose SSTables were read, also where they were empty.
    pub(super) read: BTreeSet<SchemaTable>,
    /// By the keyspace that the rows are about, the partition key of all these tables.
    pub(super) keyspaces: BTreeMap<Arc<str>, BTreeMap<SchemaTable, Partition>>,
}

/// The facts of one partition of one table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Partition {
    /// When all of it was deleted: DROP KEYSPACE.
    pub(super) deletions: BTreeSet<Timestamp>,
    /// Nothing in Cassandra writes these; an operator's own repair of a schema does.
    pub(super) ranges: BTreeSet<RangeDeletion>,
    pub(super) rows: BTreeMap<RowKey, Row>,
}

/// A deletion of all rows between two bounds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct RangeDeletion {
    pub(super) start: RangeEnd,
    pub(super) end: RangeEnd,
    pub(super) at: Timestamp,
}

/// One end of a range of rows: the first clustering values of a row, which stand for every row that
/// has them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct RangeEnd {
    pub(super) prefix: RowKey,
    pub(super) inclusive: bool,
}

/// The facts of one row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) deletions: BTreeSet<Timestamp>,
    /// When it was inserted, its values aside.
    pub(super) inserts: BTreeSet<Timestamp>,
    /// Every value that a column was given, by time; `None` where it was deleted.
    pub(super) cells: BTreeMap<Arc<str>, BTreeMap<Timestamp, Option<Vec<u8>>>>,
}

impl Facts {
    /// Whether SSTables of the table were read, even if nothing was in them.
    pub fn has_read(&self, table: SchemaTable) -> bool {
        self.read.contains(&table)
    }

    /// Adds what another set of facts tells.
    pub fn merge(&mut self, other: &Self) {
        self.read.extend(&other.read);
        for (keyspace, tables) in &other.keyspaces {
            let mine = self.keyspaces.entry(keyspace.clone()).or_default();
            for (&table, partition) in tables {
                mine.entry(table).or_default().merge(partition);
            }
        }
    }

    /// When any of it was last written or deleted, not later than `by`.
    pub fn last_change(&self, by: Timestamp) -> Option<Timestamp> {
        let partitions = self.keyspaces.values().flat_map(BTreeMap::values);
        partitions.flat_map(Partition::changes).filter(|at| *at <= by).max()
    }

    pub(super) fn partition(&self, keyspace: &str, table: SchemaTable) -> Option<&Partition> {
        self.keyspaces.get(keyspace)?.get(&table)
    }
}

impl Partition {
    fn merge(&mut self, other: &Self) {
        self.deletions.extend(&other.deletions);
        self.ranges.extend(other.ranges.iter().cloned());
        for (key, row) in &other.rows {
            // Sets mostly tell what is known already: nothing is copied then.
            match self.rows.get_mut(key) {
                Some(mine) => mine.merge(row),
                None => {
                    self.rows.insert(key.clone(), row.clone());
                }
            }
        }
    }

    /// The times of all writes and deletions, in no order.
    fn changes(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let rows = self.rows.values().flat_map(|row| {
            let cells = row.cells.values().flat_map(BTreeMap::keys);
            row.deletions.iter().chain(&row.inserts).chain(cells).copied()
        });
        self.deletions.iter().copied().chain(self.ranges.iter().map(|range| range.at)).chain(rows)
    }

    /// Every deletion that hides earlier writes of the row, in no order.
    pub(super) fn deletions_of<'a>(&'a self, key: &'a RowKey, row: &'a Row) -> impl Iterator<Item = Timestamp> + 'a {
        let ranges = self.ranges.iter().filter(|range| range.covers(key)).map(|range| range.at);
        self.deletions.iter().chain(&row.deletions).copied().chain(ranges)
    }

    /// The rows as of a moment.
    pub(super) fn rows_at(&self, at: Timestamp) -> impl Iterator<Item = LiveRow<'_>> {
        self.rows.iter().filter_map(move |(key, row)| self.live(key, row, at))
    }

    /// The rows whose first clustering value is `first`: those about one table.
    pub(super) fn rows_below(&self, first: &[u8]) -> impl Iterator<Item = (&RowKey, &Row)> {
        let rows = self.rows.range(vec![first.to_vec()]..);
        rows.take_while(move |(key, _)| key.first().is_some_and(|value| value == first))
    }

    /// The same as of a moment.
    pub(super) fn rows_below_at(&self, first: &[u8], at: Timestamp) -> impl Iterator<Item = LiveRow<'_>> {
        self.rows_below(first).filter_map(move |(key, row)| self.live(key, row, at))
    }

    /// A row as of a moment.
    pub(super) fn row_at<'a>(&'a self, key: &RowKey, at: Timestamp) -> Option<LiveRow<'a>> {
        let (key, row) = self.rows.get_key_value(key)?;
        self.live(key, row, at)
    }

    fn live<'a>(&'a self, key: &'a RowKey, row: &'a Row, at: Timestamp) -> Option<LiveRow<'a>> {
        let deleted = self.deletions_of(key, row).filter(|&deleted| deleted <= at).max();
        let visible = |written: Timestamp| written <= at && deleted.is_none_or(|deleted| deleted < written);
        let mut cells = BTreeMap::new();
        for (column, values) in &row.cells {
            if let Some((&written, Some(value))) = values.range(..=at).next_back()
                && visible(written)
            {
                cells.insert(&**column, &value[..]);
            }
        }
        let inserted = row.inserts.range(..=at).next_back().is_some_and(|&inserted| visible(inserted));
        let written = row.writes().filter(|&written| visible(written)).max();
        (inserted || !cells.is_empty()).then_some(LiveRow { key, cells, written: written? })
    }
}

impl RangeDeletion {
    /// Clustering columns of schema tables sort by their bytes (texts) as far as a range can name
    /// them.
    fn covers(&self, key: &RowKey) -> bool {
        let compare = |end: &RangeEnd| key[..end.prefix.len().min(key.len())].cmp(&end.prefix[..]);
        let (after_start, before_end) = (compare(&self.start), compare(&self.end));
        (after_start.is_gt() || after_start.is_eq() && self.start.inclusive)
            && (before_end.is_lt() || before_end.is_eq() && self.end.inclusive)
    }
}

impl Row {
    fn merge(&mut self, other: &Self) {
        self.deletions.extend(&other.deletions);
        self.inserts.extend(&other.inserts);
        for (column, values) in &other.cells {
            for (&at, value) in values {
                if self.cells.get(column).and_then(|mine| mine.get(&at)) != Some(value) {
                    self.write(column, at, value.clone());
                }
            }
        }
    }

    /// Two writes at one time are resolved as Cassandra does: a deletion wins, else the greater
    /// value.
    pub(super) fn write(&mut self, column: &Arc<str>, at: Timestamp, value: Option<Vec<u8>>) {
        let values = match self.cells.get_mut(column) {
            Some(values) => values,
            None => self.cells.entry(column.clone()).or_default(),
        };
        match values.entry(at) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(value);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let wins = match (&value, entry.get()) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(new), Some(old)) => new > old,
                };
                if wins {
                    entry.insert(value);
                }
            }
        }
    }

    /// The times at which the row or any of its values was written.
    pub(super) fn writes(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let cells = self.cells.values().flatten().filter(|(_, value)| value.is_some()).map(|(&at, _)| at);
        self.inserts.iter().copied().chain(cells)
    }
}

/// A row as a query would have shown it.
#[derive(Clone, Debug)]
pub(super) struct LiveRow<'a> {
    key: &'a RowKey,
    cells: BTreeMap<&'a str, &'a [u8]>,
    written: Timestamp,
}

impl<'a> LiveRow<'a> {
    /// The clustering value of this number.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8]> {
        self.key.get(index).map(Vec::as_slice).ok_or_else(|| Error::corrupt("a schema row lacks a clustering value"))
    }

    /// When any of it was last written.
    pub(super) fn written(&self) -> Timestamp {
        self.written
    }

    /// A column's value; `None` if it is null.
    pub(super) fn get(&self, column: &str) -> Option<&'a [u8]> {
        self.cells.get(column).copied()
    }

    /// A column's value, where a row without it makes no sense.
    pub(super) fn require(&self, column: &str) -> Result<&'a [u8]> {
        self.get(column).ok_or_else(|| Error::corrupt(format!("a schema row has no {column}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn the_latest_write_wins_and_a_deletion_hides_what_is_not_later() {
        let column: Arc<str> = "comment".into();
        let mut row = Row::default();
        row.write(&column, Timestamp(10), Some(text("a")));
        row.write(&column, Timestamp(20), Some(text("b")));
        row.write(&column, Timestamp(20), Some(text("B")));
        row.deletions.insert(Timestamp(30));
        row.write(&column, Timestamp(30), Some(text("hidden")));
        row.write(&column, Timestamp(40), Some(text("c")));
        row.write(&column, Timestamp(50), None);
        let key = vec![text("t")];
        let partition = Partition { rows: [(key.clone(), row)].into(), ..Partition::default() };
        let value = |at| {
            let row = partition.row_at(&key, Timestamp(at))?;
            row.get("comment").map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        let seen = [9, 10, 19, 20, 29, 30, 39, 40, 49, 50].map(value);
        let expected = [None, Some("a"), Some("a"), Some("b"), Some("b"), None, None, Some("c"), Some("c"), None];
        assert_eq!(seen, expected.map(|value| value.map(str::to_owned)));
    }

    #[test]
    fn ranges_cover_the_rows_between_their_bounds() {
        let end = |prefix: &[&str], inclusive| RangeEnd { prefix: prefix.iter().map(|p| text(p)).collect(), inclusive };
        let covers = |start: RangeEnd, end: RangeEnd, row: [&str; 2]| {
            RangeDeletion { start, end, at: Timestamp(1) }.covers(&row.map(text).to_vec())
        };
        assert!(covers(end(&["b"], true), end(&["b"], true), ["b", "x"]));
        assert!(!covers(end(&["b"], true), end(&["b"], true), ["c", "x"]));
        assert!(!covers(end(&["b"], false), end(&["c"], true), ["b", "x"]));
        assert!(covers(end(&["b"], false), end(&["c"], true), ["c", "x"]));
        assert!(!covers(end(&[], true), end(&["b", "m"], false), ["b", "m"]));
        assert!(covers(end(&[], true), end(&[], true), ["b", "m"]));
    }
}
